//! Draws from a seed: unbiased integers and shuffles out of a BLAKE3 stream.
//!
//! For the order of items and the models of people; not a source of secrets beyond the seed it is given. Invariant: the
//! same key gives the same draws on any machine.

use assay_protocol::id::Hash;

/// An endless stream of draws.
pub(crate) struct Chance(blake3::OutputReader);

impl Chance {
    /// The stream of `key`, which is derived for one purpose only.
    pub(crate) fn new(key: &Hash) -> Self {
        Self(blake3::Hasher::new_keyed(&key.0).finalize_xof())
    }

    /// The next 64 bits.
    fn word(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `end`, all equally likely; 0 when `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        if end < 2 {
            return 0;
        }
        // Words of the last, incomplete round of `end` would favour small numbers: draw again.
        let fair = u64::MAX - u64::MAX % end;
        loop {
            let word = self.word();
            if word < fair {
                return word % end;
            }
        }
    }

    /// True in `ppm` of a million draws.
    pub(crate) fn happens(&mut self, ppm: u32) -> bool {
        self.below(1_000_000) < u64::from(ppm)
    }

    /// Fisher-Yates: all orders equally likely.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let pick = self.below(end as u64 + 1) as usize;
            list.swap(end, pick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_orders_of_three_are_equally_likely() {
        let mut chance = Chance::new(&Hash([7; 32]));
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..6_000 {
            let mut list = [0, 1, 2];
            chance.shuffle(&mut list);
            *seen.entry(list).or_insert(0u32) += 1;
        }
        assert_eq!(seen.len(), 6);
        // 1,000 expected each; 150 is five standard deviations, and the stream is fixed.
        assert!(seen.values().all(|n| n.abs_diff(1_000) < 150), "{seen:?}");
    }

    #[test]
    fn draws_are_the_same_on_every_machine() {
        let mut chance = Chance::new(&Hash([1; 32]));
        let draws: Vec<u64> = (0..8).map(|_| chance.below(100)).collect();
        assert_eq!(draws, [1, 20, 63, 51, 87, 97, 99, 91]);
    }

    proptest! {
        #[test]
        fn a_shuffle_keeps_every_element(mut list: Vec<u8>, key: [u8; 32]) {
            let mut sorted = list.clone();
            sorted.sort_unstable();
            Chance::new(&Hash(key)).shuffle(&mut list);
            list.sort_unstable();
            prop_assert_eq!(list, sorted);
        }

        #[test]
        fn a_draw_is_below_its_end(end: u64, key: [u8; 32]) {
            let draw = Chance::new(&Hash(key)).below(end);
            prop_assert!(draw < end.max(1));
        }
    }
}
