//! Shards: nothing unverified, bounds and quota, tags and collection, damage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use assay_storage::shards::{
    INLINE_BYTES_MAX, SEGMENT_SHARD_BYTES_MAX, SHARD_BYTES_MAX, SHARD_LIST_MAX, WRITERS_MAX,
};
use assay_storage::{ShardHash, Store, StoreError};
use proptest::prelude::*;

use crate::support::{blob, files, open, options};

/// One size on each side of every border between placements.
const SIZES: [u64; 7] = [
    0,
    1,
    INLINE_BYTES_MAX,
    INLINE_BYTES_MAX + 1,
    SEGMENT_SHARD_BYTES_MAX,
    SEGMENT_SHARD_BYTES_MAX + 1,
    1 << 20,
];

fn blobs() -> Vec<Vec<u8>> {
    let sizes = SIZES.iter().enumerate();
    sizes
        .map(|(i, size)| blob(i as u8, *size as usize))
        .collect()
}

/// Files that hold shard bytes or parts of them.
fn shard_files(dir: &Path) -> usize {
    let ours = |path: &&std::path::PathBuf| path.components().count() > 1;
    files(dir).iter().filter(ours).count()
}

#[test]
fn every_size_is_read_back_whole_and_in_ranges_before_and_after_reopening() {
    let home = tempfile::tempdir().unwrap();
    let mut store = open(home.path());
    for bytes in blobs() {
        let hash = ShardHash::of(&bytes);
        assert!(!store.shards().has(&hash).unwrap());
        let mut writer = store.shards().writer(hash, bytes.len() as u64).unwrap();
        for chunk in bytes.chunks(70_001) {
            writer.write_chunk(chunk).unwrap();
            assert!(!store.shards().has(&hash).unwrap());
        }
        assert_eq!(writer.finish().unwrap(), hash);
    }
    for _ in 0..2 {
        for bytes in blobs() {
            let shards = store.shards();
            let hash = ShardHash::of(&bytes);
            let len = bytes.len() as u64;
            assert_eq!(shards.size(&hash).unwrap(), Some(len));
            assert_eq!(shards.read(&hash).unwrap(), bytes);
            shards.verify(&hash).unwrap();
            let (from, to) = (len / 3, len - len / 4);
            let part = shards.read_range(&hash, from, to - from).unwrap();
            assert_eq!(part, bytes[from as usize..to as usize]);
            assert_eq!(shards.read_range(&hash, len, 0).unwrap(), b"");
            for (offset, count) in [(0, len + 1), (len + 1, 0), (len, 1), (u64::MAX, 2)] {
                let refused = shards.read_range(&hash, offset, count).unwrap_err();
                assert!(matches!(refused, StoreError::OutOfRange { size, .. } if size == len));
            }
        }
        drop(store);
        store = open(home.path());
    }
}

#[test]
fn a_wrong_hash_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let before = files(home.path());
    for bytes in blobs() {
        let wrong = ShardHash::of(b"something else");
        let mut writer = store.shards().writer(wrong, bytes.len() as u64).unwrap();
        writer.write_chunk(&bytes).unwrap();
        let refused = writer.finish().unwrap_err();
        let found = ShardHash::of(&bytes);
        assert!(
            matches!(refused, StoreError::WrongHash { expected, found: f } if expected == wrong && f == found)
        );
        assert!(!store.shards().has(&wrong).unwrap() && !store.shards().has(&found).unwrap());
    }
    assert_eq!(files(home.path()), before);
    let usage = store.shards().usage().unwrap();
    assert_eq!(
        (usage.shards, usage.used_bytes, usage.reserved_bytes),
        (0, 0, 0)
    );
}

#[test]
fn a_wrong_size_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let before = files(home.path());
    for bytes in blobs().into_iter().filter(|bytes| bytes.len() > 1) {
        let hash = ShardHash::of(&bytes);
        let len = bytes.len() as u64;
        let mut short = store.shards().writer(hash, len).unwrap();
        short.write_chunk(&bytes[1..]).unwrap();
        assert!(matches!(short.finish(), Err(StoreError::WrongSize { .. })));
        let mut long = store.shards().writer(hash, len - 1).unwrap();
        assert!(matches!(
            long.write_chunk(&bytes),
            Err(StoreError::WrongSize { .. })
        ));
        assert_eq!(long.written(), 0);
        drop(long);
        assert!(!store.shards().has(&hash).unwrap());
    }
    assert_eq!(files(home.path()), before);
}

#[test]
fn a_group_is_stored_without_its_bad_members() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let shards = store.shards();
    let mut writers = Vec::new();
    for (i, bytes) in blobs().iter().enumerate() {
        let hash = if i == 3 {
            ShardHash([7; 32])
        } else {
            ShardHash::of(bytes)
        };
        // Twice in one group: stored once.
        for _ in 0..2 {
            let mut writer = shards.writer(hash, bytes.len() as u64).unwrap();
            writer.write_chunk(bytes).unwrap();
            writers.push(writer);
        }
    }
    let results = shards.finish_all(writers).unwrap();
    for (i, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), i / 2 == 3, "{result:?}");
    }
    assert_eq!(shards.usage().unwrap().shards, SIZES.len() as u64 - 1);
    for (i, bytes) in blobs().iter().enumerate() {
        assert_eq!(shards.has(&ShardHash::of(bytes)).unwrap(), i != 3);
    }
}

#[test]
fn a_writer_of_another_store_is_refused_and_discarded() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let stores = [open(homes[0].path()), open(homes[1].path())];
    let bytes = blob(1, 300_000);
    let hash = ShardHash::of(&bytes);
    let mut writer = stores[0].shards().writer(hash, 300_000).unwrap();
    writer.write_chunk(&bytes).unwrap();
    let results = stores[1].shards().finish_all(vec![writer]).unwrap();
    assert!(matches!(
        results[..],
        [Err(StoreError::ForeignWriter { .. })]
    ));
    for (home, store) in homes.iter().zip(&stores) {
        assert!(!store.shards().has(&hash).unwrap());
        assert_eq!(shard_files(home.path()), 0);
    }
}

#[test]
fn storing_again_takes_no_more_space() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let shards = store.shards();
    for bytes in blobs() {
        shards.put(&bytes).unwrap();
    }
    let usage = shards.usage().unwrap();
    for bytes in blobs() {
        shards.put(&bytes).unwrap();
        let mut writer = shards
            .writer(ShardHash::of(&bytes), bytes.len() as u64)
            .unwrap();
        writer.write_chunk(&bytes).unwrap();
        writer.finish().unwrap();
    }
    assert_eq!(shards.usage().unwrap(), usage);
    assert_eq!(usage.used_bytes, SIZES.iter().sum::<u64>());
}

#[test]
fn sizes_writers_and_quota_are_bounded_before_anything_is_written() {
    let home = tempfile::tempdir().unwrap();
    let mut limited = options();
    limited.quota_bytes = Some(1_000_000);
    let store = Store::open(home.path(), limited).unwrap();
    let shards = store.shards();
    let hash = ShardHash([1; 32]);
    let refused = shards.writer(hash, SHARD_BYTES_MAX + 1).unwrap_err();
    assert!(matches!(refused, StoreError::ShardTooLarge { .. }));

    let open_writer = shards.writer(hash, 600_000).unwrap();
    let before = shard_files(home.path());
    let refused = shards.put(&blob(1, 400_001)).unwrap_err();
    assert!(matches!(
        refused,
        StoreError::QuotaExceeded {
            quota: 1_000_000,
            used: 600_000,
            needed: 400_001
        }
    ));
    assert!(refused.to_string().contains("raise the quota"));
    assert_eq!(shard_files(home.path()), before);
    shards.put(&blob(1, 400_000)).unwrap();
    assert!(matches!(
        shards.put(b"x"),
        Err(StoreError::QuotaExceeded { .. })
    ));
    drop(open_writer);
    shards.put(b"x").unwrap();

    let writers: Vec<_> = (0..WRITERS_MAX)
        .map(|_| shards.writer(hash, 0).unwrap())
        .collect();
    assert!(matches!(
        shards.writer(hash, 0),
        Err(StoreError::TooManyWriters { .. })
    ));
    drop(writers);
    shards.writer(hash, 0).unwrap();

    // The quota counts what an earlier run stored.
    drop(shards);
    drop(store);
    let mut limited = options();
    limited.quota_bytes = Some(400_001);
    let store = Store::open(home.path(), limited).unwrap();
    assert!(matches!(
        store.shards().put(b"y"),
        Err(StoreError::QuotaExceeded { .. })
    ));
}

#[test]
fn a_shard_goes_only_after_its_last_tag_and_its_full_age() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let shards = store.shards();
    for bytes in blobs() {
        let hash = ShardHash::of(&bytes);
        // Tagged before it arrives: no collection in between can take it.
        shards.tag(&hash, b"task one").unwrap();
        shards.tag(&hash, b"task one").unwrap();
        shards.put(&bytes).unwrap();
        shards.tag(&hash, b"task two").unwrap();
    }
    let count = SIZES.len() as u64;
    assert_eq!(shards.gc(1, 0).unwrap().shards_removed, 0);
    assert_eq!(
        shards.tagged(b"task one", 100, None).unwrap().len(),
        SIZES.len()
    );
    assert_eq!(shards.untag(b"task").unwrap(), 0);
    assert_eq!(shards.untag(b"task one").unwrap(), count);
    assert_eq!(shards.gc(1_000, 0).unwrap().shards_removed, 0);
    assert_eq!(shards.untag(b"task two").unwrap(), count);
    assert_eq!(shards.untag(b"task two").unwrap(), 0);
    // First seen without a tag at 2,000; a hundred milliseconds are granted from then.
    assert_eq!(shards.gc(2_000, 100).unwrap().shards_removed, 0);
    assert_eq!(shards.gc(2_099, 100).unwrap().shards_removed, 0);
    let saved = ShardHash::of(&blobs()[2]);
    shards.tag(&saved, b"task three").unwrap();
    let report = shards.gc(2_100, 100).unwrap();
    assert_eq!(report.shards_removed, count - 1);
    assert_eq!(report.bytes_removed, SIZES.iter().sum::<u64>() - SIZES[2]);
    assert_eq!(shards.list(100, None).unwrap(), [(saved, SIZES[2])]);
    let usage = shards.usage().unwrap();
    assert_eq!((usage.shards, usage.used_bytes), (1, SIZES[2]));
    assert_eq!(shard_files(home.path()), 0);
    let gone = ShardHash::of(&blobs()[5]);
    assert!(matches!(shards.read(&gone), Err(StoreError::ShardMissing { hash }) if hash == gone));
}

#[test]
fn a_mostly_void_segment_is_emptied_and_its_live_shards_stay_readable() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let shards = store.shards();
    // Two segments of five shards each; every fifth shard is kept.
    let hashes: Vec<_> = (0..10)
        .map(|i| shards.put(&blob(i, 50_000)).unwrap())
        .collect();
    let kept = [hashes[2], hashes[9]];
    shards.tag_all(&kept, b"kept").unwrap();
    assert_eq!(shards.usage().unwrap().used_bytes, 500_000);
    let report = shards.gc(1, 0).unwrap();
    assert_eq!((report.shards_removed, report.shards_moved), (8, 2));
    assert_eq!(report.segments_removed, 2);
    assert_eq!(shards.usage().unwrap().used_bytes, 100_000);
    assert_eq!(shard_files(home.path()), 1);
    assert_eq!(shards.read(&kept[0]).unwrap(), blob(2, 50_000));
    drop((shards, store));
    let store = open(home.path());
    assert_eq!(store.shards().read(&kept[1]).unwrap(), blob(9, 50_000));
    store.shards().put(&blob(77, 60_000)).unwrap();
    store.shards().verify(&kept[0]).unwrap();
}

/// Changes one byte in the one file below `sub`.
fn damage(dir: &Path, sub: &str) {
    let found: Vec<_> = files(&dir.join(sub));
    assert_eq!(found.len(), 1);
    let path = dir.join(sub).join(&found[0]);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    file.seek(SeekFrom::Start(10)).unwrap();
    file.write_all(b"!!!!").unwrap();
}

#[test]
fn a_damaged_copy_is_found_dropped_and_can_be_fetched_again() {
    let home = tempfile::tempdir().unwrap();
    for (sub, len) in [("segments", 30_000), ("blobs", 300_000)] {
        let bytes = blob(3, len);
        let store = open(home.path());
        let hash = store.shards().put(&bytes).unwrap();
        store.shards().tag(&hash, b"kept").unwrap();
        drop(store);
        damage(home.path(), sub);
        let store = open(home.path());
        let shards = store.shards();
        // Small shards are checked by reading, large ones on request.
        let found = match sub {
            "segments" => shards.read_range(&hash, 100, 1).map(drop),
            _ => shards.verify(&hash),
        };
        assert!(matches!(found, Err(StoreError::ShardCorrupt { hash: h }) if h == hash));
        assert!(!shards.has(&hash).unwrap());
        assert_eq!(shards.put(&bytes).unwrap(), hash);
        assert_eq!(shards.read(&hash).unwrap(), bytes);
        assert_eq!(shards.gc(1, 0).unwrap().shards_removed, 0);
        assert_eq!(shards.tagged(b"kept", 9, None).unwrap(), [hash]);
        shards.untag(b"kept").unwrap();
        assert_eq!(shards.gc(1, 0).unwrap().shards_removed, 1);
    }
}

#[test]
fn a_lost_file_is_a_damaged_copy_and_not_a_failure_of_the_store() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let shards = store.shards();
    let hash = shards.put(&blob(1, 300_000)).unwrap();
    fs::remove_dir_all(home.path().join("blobs")).unwrap();
    assert!(matches!(
        shards.read(&hash),
        Err(StoreError::ShardCorrupt { .. })
    ));
    assert!(matches!(
        shards.read(&hash),
        Err(StoreError::ShardMissing { .. })
    ));
    shards.put(&blob(1, 300_000)).unwrap();
    shards.verify(&hash).unwrap();
}

#[test]
fn a_segment_that_lost_committed_bytes_costs_only_the_shards_in_them() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let first = store.shards().put(&blob(1, 50_000)).unwrap();
    let second = store.shards().put(&blob(2, 50_000)).unwrap();
    drop(store);
    let path = home.path().join("segments/00000000.seg");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(99_999).unwrap();
    let store = open(home.path());
    assert_eq!(store.swept().shards_lost, 1);
    assert_eq!(store.shards().list(9, None).unwrap(), [(first, 50_000)]);
    store.shards().verify(&first).unwrap();
    assert_eq!(store.shards().put(&blob(2, 50_000)).unwrap(), second);
    drop(store);
    fs::remove_file(&path).unwrap();
    let store = open(home.path());
    assert_eq!(store.swept().shards_lost, 2);
    assert_eq!(store.shards().usage().unwrap().used_bytes, 0);
}

#[test]
fn an_erased_shard_is_gone_though_tagged() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let shards = store.shards();
    for bytes in blobs() {
        let hash = shards.put(&bytes).unwrap();
        shards.tag(&hash, b"kept").unwrap();
        assert!(shards.erase(&hash).unwrap());
        assert!(!shards.erase(&hash).unwrap());
        assert!(!shards.has(&hash).unwrap());
    }
    assert_eq!(shards.gc(1, 0).unwrap().segments_removed, 2);
    assert_eq!(shards.usage().unwrap().used_bytes, 0);
    assert_eq!(shard_files(home.path()), 0);
}

#[test]
fn tags_outside_their_bounds_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let hash = ShardHash([0; 32]);
    for tag in [&[][..], &[1; 65]] {
        let refused = store.shards().tag(&hash, tag).unwrap_err();
        assert!(matches!(refused, StoreError::TagLength { .. }) && !refused.is_fatal());
    }
    let many = vec![hash; SHARD_LIST_MAX + 1];
    let refused = store.shards().tag_all(&many, b"tag").unwrap_err();
    assert!(matches!(refused, StoreError::TooManyShards { .. }));
}

#[test]
fn readers_and_writers_on_several_threads_survive_collections() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let kept: Vec<_> = (0..8).map(|i| blob(i, 40_000)).collect();
    let shards = store.shards();
    let hashes: Vec<_> = kept
        .iter()
        .map(|bytes| shards.put(bytes).unwrap())
        .collect();
    shards.tag_all(&hashes, b"kept").unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (shards, kept, hashes, done) = (store.shards(), &kept, &hashes, &done);
            scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for (hash, bytes) in hashes.iter().zip(kept) {
                        assert_eq!(shards.read_range(hash, 9, 100).unwrap(), bytes[9..109]);
                    }
                }
            });
        }
        let mut moved = 0;
        for round in 0..12u8 {
            // Two short-lived neighbours in a segment, then a collection that moves the rest.
            shards.put(&blob(100 + round, 120_000)).unwrap();
            shards.put(&blob(200 + round, 100_000)).unwrap();
            let report = shards.gc(1, 0).unwrap();
            assert_eq!(report.shards_removed, 2);
            moved += report.segments_removed;
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(moved > 0);
    });
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(usize),
    PutAll,
    Tag(usize, u8),
    Untag(u8),
    Gc,
    Erase(usize),
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    let pool = 0..POOL.len();
    prop_oneof![
        4 => pool.clone().prop_map(Step::Put),
        1 => Just(Step::PutAll),
        3 => (pool.clone(), 0..3u8).prop_map(|(i, tag)| Step::Tag(i, tag)),
        2 => (0..3u8).prop_map(Step::Untag),
        2 => Just(Step::Gc),
        1 => pool.prop_map(Step::Erase),
        1 => Just(Step::Reopen),
    ]
}

/// Sizes that fill the smallest segments quickly.
const POOL: [usize; 8] = [
    10, 2_049, 70_000, 90_000, 120_000, 200_000, 262_144, 262_145,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn shards_behave_like_a_map_with_tags_across_reopening(
        steps in prop::collection::vec(any_step(), 1..25),
    ) {
        let pool: Vec<_> = POOL.iter().enumerate().map(|(i, len)| blob(i as u8, *len)).collect();
        let names: Vec<_> = pool.iter().map(|bytes| ShardHash::of(bytes)).collect();
        let home = tempfile::tempdir().unwrap();
        let mut store = open(home.path());
        let mut here: BTreeSet<usize> = BTreeSet::new();
        let mut tags: BTreeMap<u8, BTreeSet<usize>> = BTreeMap::new();
        for step in steps {
            let shards = store.shards();
            match step {
                Step::Put(i) => {
                    shards.put(&pool[i]).unwrap();
                    here.insert(i);
                }
                Step::PutAll => {
                    let writers = pool.iter().zip(&names).map(|(bytes, name)| {
                        let mut writer = shards.writer(*name, bytes.len() as u64).unwrap();
                        writer.write_chunk(bytes).unwrap();
                        writer
                    });
                    shards.finish_all(writers.collect()).unwrap();
                    here.extend(0..pool.len());
                }
                Step::Tag(i, tag) => {
                    shards.tag(&names[i], &[tag]).unwrap();
                    tags.entry(tag).or_default().insert(i);
                }
                Step::Untag(tag) => {
                    let had = tags.remove(&tag).unwrap_or_default();
                    prop_assert_eq!(shards.untag(&[tag]).unwrap(), had.len() as u64);
                }
                Step::Gc => {
                    shards.gc(5, 0).unwrap();
                    here.retain(|i| tags.values().any(|members| members.contains(i)));
                }
                Step::Erase(i) => {
                    prop_assert_eq!(shards.erase(&names[i]).unwrap(), here.remove(&i));
                }
                Step::Reopen => {
                    drop((shards, store));
                    store = open(home.path());
                    prop_assert_eq!(*store.swept(), Default::default());
                }
            }
        }
        let shards = store.shards();
        let mut expected: Vec<_> = here.iter().map(|i| (names[*i], POOL[*i] as u64)).collect();
        expected.sort();
        prop_assert_eq!(shards.list(100, None).unwrap(), expected);
        for (i, name) in names.iter().enumerate() {
            prop_assert_eq!(shards.has(name).unwrap(), here.contains(&i));
            if here.contains(&i) {
                prop_assert_eq!(&shards.read(name).unwrap(), &pool[i]);
            }
        }
        let live: u64 = here.iter().map(|i| POOL[*i] as u64).sum();
        let usage = shards.usage().unwrap();
        prop_assert_eq!(usage.shards, here.len() as u64);
        prop_assert!(usage.used_bytes >= live);
        // After a collection at most half of each segment is void.
        shards.gc(5, u64::MAX).unwrap();
        prop_assert!(shards.usage().unwrap().used_bytes <= 2 * live);
    }
}
