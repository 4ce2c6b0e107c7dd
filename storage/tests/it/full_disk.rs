//! A disk that is full from some step on: a clear error, a stopped handle, nothing accepted lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use assay_storage::{Batch, DiskHook, DiskStep, Family, ShardHash, Store, StoreError};

use crate::support::{Ledger, blob, check_after_failure, hooked, open, workload};

/// Refuses every step that needs space from step `full_from` on.
struct FullDisk {
    taken: AtomicU64,
    full_from: AtomicU64,
    error: io::ErrorKind,
}

impl FullDisk {
    fn new(full_from: u64, error: io::ErrorKind) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicU64::new(0),
            full_from: AtomicU64::new(full_from),
            error,
        })
    }
}

impl DiskHook for FullDisk {
    fn before(&self, step: DiskStep<'_>) -> io::Result<()> {
        if matches!(step, DiskStep::RemoveFile { .. }) {
            return Ok(());
        }
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        if number >= self.full_from.load(Ordering::Relaxed) {
            return Err(self.error.into());
        }
        Ok(())
    }
}

#[test]
fn at_whatever_step_the_disk_fills_up_everything_accepted_before_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let never = FullDisk::new(u64::MAX, io::ErrorKind::StorageFull);
    let ledger = Ledger::default();
    let store = workload(&home.path().join("whole"), hooked(never.clone()), &ledger).unwrap();
    let steps = never.taken.load(Ordering::Relaxed);
    drop(store);
    assert!(steps > 100, "the workload takes only {steps} steps");
    for full_from in 0..steps {
        let dir = home.path().join(full_from.to_string());
        let hook = FullDisk::new(full_from, io::ErrorKind::StorageFull);
        let ledger = Ledger::default();
        let what = format!("full from step {full_from}");
        let failed =
            workload(&dir, hooked(hook), &ledger).expect_err("a step of the workload was refused");
        assert!(
            matches!(failed, StoreError::DiskFull { .. }),
            "{what}: {failed}"
        );
        check_after_failure(&dir, &ledger.lock().unwrap().clone(), &what);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

fn assert_stopped(store: &Store) {
    let shards = store.shards();
    let mut batch = Batch::new();
    batch.put(Family::Meta, *b"key", *b"value").unwrap();
    let hash = ShardHash::of(&blob(1, 50));
    let answers = [
        store.commit(&batch),
        store.get(Family::Meta, b"key").map(drop),
        store.scan(Family::Meta, b"", 1, None).map(drop),
        store.count(Family::Meta).map(drop),
        shards.has(&hash).map(drop),
        shards.read_range(&hash, 0, 1).map(drop),
        shards.verify(&hash),
        shards.put(b"more").map(drop),
        shards.tag(&hash, b"tag"),
        shards.untag(b"tag").map(drop),
        shards.list(1, None).map(drop),
        shards.erase(&hash).map(drop),
        shards.gc(1, 0).map(drop),
        shards.usage().map(drop),
    ];
    for (i, answer) in answers.into_iter().enumerate() {
        assert!(
            matches!(answer, Err(StoreError::Failed { .. })),
            "call {i}: {answer:?}"
        );
    }
}

#[test]
fn after_a_failed_write_every_call_answers_failed_even_when_there_is_space_again() {
    for error in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied] {
        let home = tempfile::tempdir().unwrap();
        let hook = FullDisk::new(u64::MAX, error);
        let store = Store::open(home.path(), hooked(hook.clone())).unwrap();
        let hash = store.shards().put(&blob(1, 50)).unwrap();
        let mut before = store.shards().writer(ShardHash([1; 32]), 10).unwrap();
        hook.full_from.store(0, Ordering::Relaxed);
        let mut batch = Batch::new();
        batch.put(Family::Meta, *b"lost", *b"value").unwrap();
        let failed = store.commit(&batch).unwrap_err();
        match error {
            io::ErrorKind::StorageFull => {
                assert!(matches!(failed, StoreError::DiskFull { .. }), "{failed}");
                assert!(failed.to_string().contains("free space"));
            }
            _ => assert!(matches!(failed, StoreError::Io { .. }), "{failed}"),
        }
        hook.full_from.store(u64::MAX, Ordering::Relaxed);
        assert_stopped(&store);
        assert!(matches!(
            before.write_chunk(b"x"),
            Err(StoreError::Failed { .. })
        ));
        drop((before, store));
        let store = open(home.path());
        assert_eq!(store.shards().read(&hash).unwrap(), blob(1, 50));
        assert_eq!(store.get(Family::Meta, b"lost").unwrap(), None);
        store.shards().put(&blob(2, 50)).unwrap();
        store.commit(&batch).unwrap();
        assert_eq!(store.get(Family::Meta, b"lost").unwrap().unwrap(), b"value");
    }
}
