//! Packs items into shards: in order, and never one item over two shards.
//!
//! It only plans with sizes; the bytes are moved by [`super::build`]. Shards are small by default, so that a labeler fetches
//! little more than its own items, and grow when a data set would need more shards than a manifest can name.

use assay_protocol::limit;

/// Bytes after which a shard is full, for all but large data sets.
pub const SHARD_BYTES_TARGET: u64 = 256 * 1024;

/// How many items each shard takes, in order.
///
/// An item larger than a shard's usual size has a shard of its own. `None` when the items do not fit into `shards_max` shards
/// of [`limit::SHARD_BYTES_MAX`] bytes, or one item exceeds that.
pub(super) fn plan(sizes: &[u64], target: u64, shards_max: usize) -> Option<Vec<usize>> {
    if sizes.iter().any(|&s| s > limit::SHARD_BYTES_MAX) {
        return None;
    }
    let mut target = target.clamp(1, limit::SHARD_BYTES_MAX);
    loop {
        let plan = fill(sizes, target);
        if plan.len() <= shards_max {
            return Some(plan);
        }
        if target == limit::SHARD_BYTES_MAX {
            return None;
        }
        target = (target * 2).min(limit::SHARD_BYTES_MAX);
    }
}

fn fill(sizes: &[u64], target: u64) -> Vec<usize> {
    let mut plan = Vec::new();
    let (mut items, mut bytes) = (0usize, 0u64);
    for &size in sizes {
        if items > 0 && bytes + size > target {
            plan.push(items);
            (items, bytes) = (0, 0);
        }
        items += 1;
        bytes += size;
    }
    if items > 0 {
        plan.push(items);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_item_that_would_overflow_starts_the_next_shard() {
        assert_eq!(plan(&[4, 4, 4, 20, 1, 9], 10, 99), Some(vec![2, 1, 1, 2]));
        assert_eq!(plan(&[], 10, 99), Some(vec![]));
    }

    #[test]
    fn shards_grow_when_there_would_be_too_many() {
        assert_eq!(plan(&[10; 8], 10, 2), Some(vec![4, 4]));
    }

    #[test]
    fn what_cannot_fit_is_refused() {
        assert_eq!(plan(&[limit::SHARD_BYTES_MAX + 1], 10, 99), None);
        assert_eq!(plan(&[limit::SHARD_BYTES_MAX; 3], 10, 2), None);
        assert_eq!(plan(&[1], 10, 0), None);
    }

    proptest! {
        #[test]
        fn every_item_is_placed_once_and_only_lone_items_exceed_the_target(
            sizes in proptest::collection::vec(1u64..300, 0..80),
            target in 1u64..500,
        ) {
            let plan = plan(&sizes, target, usize::MAX).expect("small items fit");
            prop_assert_eq!(plan.iter().sum::<usize>(), sizes.len());
            let mut rest = sizes.as_slice();
            for items in plan {
                let (shard, later) = rest.split_at(items);
                prop_assert!(items > 0);
                prop_assert!(items == 1 || shard.iter().sum::<u64>() <= target);
                rest = later;
            }
        }
    }
}
