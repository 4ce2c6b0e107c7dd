//! Randomness: one BLAKE3 output stream per (seed, purpose, keys).
//!
//! What is drawn for one purpose never shifts what is drawn for another: adding a node or a task leaves the rest of the run's luck as it
//! was. Integers only.

/// One million: the whole of a share in parts per million.
pub const PPM: u64 = 1_000_000;

/// A stream of random numbers.
pub struct Stream {
    reader: blake3::OutputReader,
    block: [u8; 64],
    at: usize,
}

impl Stream {
    /// The stream of `seed` for `purpose` and `keys`, from its start.
    pub fn new(seed: u64, purpose: &str, keys: &[u64]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("assay/simulations/1/stream");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&(purpose.len() as u64).to_le_bytes());
        hasher.update(purpose.as_bytes());
        for key in keys {
            hasher.update(&key.to_le_bytes());
        }
        Self {
            reader: hasher.finalize_xof(),
            block: [0; 64],
            at: 64,
        }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        if self.at == self.block.len() {
            self.reader.fill(&mut self.block);
            self.at = 0;
        }
        let mut word = [0; 8];
        word.copy_from_slice(&self.block[self.at..self.at + 8]);
        self.at += 8;
        u64::from_le_bytes(word)
    }

    /// The next 32 bytes.
    pub fn next_bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for part in bytes.chunks_exact_mut(8) {
            part.copy_from_slice(&self.next_u64().to_le_bytes());
        }
        bytes
    }

    /// A number below `bound`; 0 when `bound` is 0. Uneven by less than `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included; `low` when they are the wrong way round.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in `ppm` of a million cases.
    pub fn chance(&mut self, ppm: u32) -> bool {
        self.below(PPM) < u64::from(ppm)
    }

    /// A place in `weights`, each as likely as it weighs; 0 when all are 0.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let mut draw = self.below(total);
        for (place, weight) in weights.iter().enumerate() {
            if draw < u64::from(*weight) {
                return place;
            }
            draw -= u64::from(*weight);
        }
        0
    }

    /// A draw from a distribution given by evenly spaced quantiles, smallest first: linear in between.
    pub fn quantile(&mut self, quantiles: &[u64]) -> u64 {
        let Some(steps) = quantiles.len().checked_sub(1).filter(|s| *s > 0) else {
            return quantiles.first().copied().unwrap_or(0);
        };
        let draw = self.below(steps as u64 * PPM);
        let (step, part) = ((draw / PPM) as usize, draw % PPM);
        let (low, high) = (quantiles[step], quantiles[step + 1]);
        low + (u128::from(high.saturating_sub(low)) * u128::from(part) / u128::from(PPM)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_by_key_and_differ_between_keys_and_purposes() {
        let draw = |seed, purpose, key| {
            let mut s = Stream::new(seed, purpose, &[key]);
            (0..20).map(|_| s.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "a", 1), draw(1, "a", 1));
        assert_ne!(draw(1, "a", 1), draw(2, "a", 1));
        assert_ne!(draw(1, "a", 1), draw(1, "b", 1));
        assert_ne!(draw(1, "a", 1), draw(1, "a", 2));
    }

    #[test]
    fn draws_stay_in_range_and_reach_both_ends() {
        let mut s = Stream::new(7, "range", &[]);
        let draws: Vec<u64> = (0..2_000).map(|_| s.between(3, 6)).collect();
        assert_eq!(
            (draws.iter().min(), draws.iter().max()),
            (Some(&3), Some(&6))
        );
        assert_eq!(s.below(0), 0);
        assert!((0..1_000).all(|_| (10..=30).contains(&s.quantile(&[10, 20, 30]))));
        assert_eq!(s.quantile(&[5]), 5);
        assert!((0..100).all(|_| s.weighted(&[0, 3, 0]) == 1));
        let hits = (0..10_000).filter(|_| s.chance(250_000)).count();
        assert!(
            (2_200..2_800).contains(&hits),
            "{hits} of 10000 at a quarter"
        );
    }
}
