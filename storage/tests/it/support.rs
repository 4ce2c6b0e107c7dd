//! Blobs of every placement, a workload that touches every step, and the check after a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use assay_storage::shards::{INLINE_BYTES_MAX, SEGMENT_BYTES_MIN, SHARD_LIST_MAX};
use assay_storage::{
    Batch, DiskHook, Family, SCAN_ROWS_MAX, ShardHash, Store, StoreError, StoreOptions,
};

pub const NETWORK: &str = "dev";

/// Options with the smallest segments, so that a few shards fill one.
pub fn options() -> StoreOptions {
    let mut options = StoreOptions::new(NETWORK);
    options.segment_bytes = SEGMENT_BYTES_MIN;
    options
}

pub fn hooked(hook: Arc<dyn DiskHook>) -> StoreOptions {
    let mut options = options();
    options.hook = Some(hook);
    options
}

pub fn open(dir: &Path) -> Store {
    Store::open(dir, options()).unwrap()
}

/// `len` bytes that differ for every `seed`.
pub fn blob(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// All files below `dir`, relative, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}

/// Copies a directory tree.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in files(from) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(&file), target).unwrap();
    }
}

/// What the workload was told is durable, and what it had asked for when it stopped.
#[derive(Clone, Default, Debug)]
pub struct Promised {
    /// Records acknowledged.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Records of the commit under way: all of them or none may be there.
    pub record_in_flight: Option<(Vec<u8>, Vec<u8>)>,
    /// Shards acknowledged and not removed.
    pub shards: BTreeSet<ShardHash>,
    /// Shards that may be there or not: being written or being removed.
    pub shards_in_flight: BTreeSet<ShardHash>,
}

pub type Ledger = Arc<Mutex<Promised>>;

/// Opens a directory and makes every kind of change once; stops at the first error.
pub fn workload(dir: &Path, options: StoreOptions, ledger: &Ledger) -> Result<Store, StoreError> {
    let store = Store::open(dir, options)?;
    drive(&store, ledger)?;
    Ok(store)
}

/// The changes of [`workload`], on an open store.
pub fn drive(store: &Store, ledger: &Ledger) -> Result<(), StoreError> {
    let shards = store.shards();
    let commit = |key: &[u8], value: &[u8]| {
        let mut batch = Batch::new();
        batch.put(Family::Promise, key, value)?;
        // The twin row shows a transaction that was applied in half.
        batch.put(Family::Own, key, value)?;
        ledger.lock().unwrap().record_in_flight = Some((key.to_vec(), value.to_vec()));
        store.commit(&batch)?;
        let mut ledger = ledger.lock().unwrap();
        ledger.record_in_flight = None;
        ledger.records.insert(key.to_vec(), value.to_vec());
        Ok::<(), StoreError>(())
    };
    let put = |bytes: &[u8]| {
        let hash = ShardHash::of(bytes);
        ledger.lock().unwrap().shards_in_flight.insert(hash);
        shards.put(bytes)?;
        let mut ledger = ledger.lock().unwrap();
        ledger.shards_in_flight.remove(&hash);
        ledger.shards.insert(hash);
        Ok::<ShardHash, StoreError>(hash)
    };
    commit(b"first", b"receipt")?;
    put(&blob(1, 100))?;
    let small = put(&blob(2, 200_000))?;
    put(&blob(3, 20_000))?;
    let large = put(&blob(4, 300_000))?;
    // Does not fit the first segment any more.
    let kept = put(&blob(5, 150_000))?;
    commit(b"second", &[7; 5_000])?;
    shards.tag_all(&[kept, ShardHash::of(&blob(1, 100))], b"data-set")?;
    shards.tag(&ShardHash::of(&blob(3, 20_000)), b"data-set")?;
    // Removes the large file and most of the first segment, whose rest is moved.
    ledger.lock().unwrap().shards.remove(&small);
    ledger.lock().unwrap().shards.remove(&large);
    ledger
        .lock()
        .unwrap()
        .shards_in_flight
        .extend([small, large]);
    let report = shards.gc(1, 0)?;
    assert_eq!((report.shards_removed, report.segments_removed), (2, 1));
    ledger.lock().unwrap().shards_in_flight.clear();
    // A name that was removed before comes back.
    put(&blob(4, 300_000))?;
    commit(b"first", b"receipt replaced")?;
    Ok(())
}

/// Opens what a failure left and checks everything that was promised, and that nothing else is
/// readable or lying about.
pub fn check_after_failure(dir: &Path, promised: &Promised, what: &str) {
    let store = Store::open(dir, options())
        .unwrap_or_else(|e| panic!("{what}: the directory does not open: {e}"));
    check_records(&store, promised, what);
    let shards = store.shards();
    let listed = shards.list(SHARD_LIST_MAX, None).unwrap();
    for (hash, _) in &listed {
        shards
            .verify(hash)
            .unwrap_or_else(|e| panic!("{what}: an unverified shard is visible: {e}"));
    }
    let sizes: BTreeMap<ShardHash, u64> = listed.into_iter().collect();
    let listed: BTreeSet<ShardHash> = sizes.keys().copied().collect();
    let missing: Vec<_> = promised.shards.difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "{what}: promised shards are gone: {missing:?}"
    );
    let surprise: Vec<_> = listed
        .difference(&promised.shards)
        .filter(|hash| !promised.shards_in_flight.contains(hash))
        .collect();
    assert!(
        surprise.is_empty(),
        "{what}: shards nobody stored: {surprise:?}"
    );
    assert_eq!(store.swept().shards_lost, 0, "{what}");
    check_no_leftovers(dir, &store, &sizes, what);
    // And it works on: one more of each kind.
    let more = [blob(9, 10_000), blob(9, 300_001)];
    let writers = more.iter().map(|bytes| {
        let hash = ShardHash::of(bytes);
        let mut writer = shards.writer(hash, bytes.len() as u64).unwrap();
        writer.write_chunk(bytes).unwrap();
        writer
    });
    for result in shards.finish_all(writers.collect()).unwrap() {
        shards.verify(&result.unwrap()).unwrap();
    }
}

fn check_records(store: &Store, promised: &Promised, what: &str) {
    let receipts = store
        .scan(Family::Promise, b"", SCAN_ROWS_MAX, None)
        .unwrap();
    let own = store.scan(Family::Own, b"", SCAN_ROWS_MAX, None).unwrap();
    assert_eq!(receipts, own, "{what}: a transaction was applied in half");
    let found: BTreeMap<_, _> = receipts.rows.into_iter().collect();
    let mut with_last = promised.records.clone();
    if let Some((key, value)) = &promised.record_in_flight {
        with_last.insert(key.clone(), value.clone());
    }
    assert!(
        found == promised.records || found == with_last,
        "{what}: records differ: {found:?}"
    );
}

fn check_no_leftovers(dir: &Path, store: &Store, listed: &BTreeMap<ShardHash, u64>, what: &str) {
    let inline = listed.values().filter(|size| **size <= INLINE_BYTES_MAX);
    let mut bytes: u64 = inline.sum();
    for path in files(dir) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let top = path.components().next().unwrap().as_os_str();
        let len = fs::metadata(dir.join(&path)).unwrap().len();
        match top.to_str().unwrap() {
            "LOCK" | "FORMAT" | "records.redb" => {}
            "blobs" => {
                let hash: ShardHash = name.parse().unwrap();
                assert!(listed.contains_key(&hash), "{what}: orphan {name}");
                bytes += len;
            }
            "segments" => bytes += len,
            _ => panic!("{what}: {} was left over", path.display()),
        }
    }
    let usage = store.shards().usage().unwrap();
    assert_eq!(usage.used_bytes, bytes, "{what}: files and books differ");
    assert_eq!(usage.shards, listed.len() as u64, "{what}");
}
