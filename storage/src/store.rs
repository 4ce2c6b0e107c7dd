//! The handle to a data directory: opening it, committing batches, and the fail-stop rule.
//!
//! Opening walks through the rules of the directory in this order: mode, lock, format file,
//! database (made under a temporary name when new), format file written last, shard sweep. Nothing
//! but the mode and the lock file is touched before the format file was accepted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::batch::{Batch, Op};
use crate::disk::{Disk, DiskHook};
use crate::engine::{Engine, WriteTable};
use crate::error::StoreError;
use crate::family::Family;
use crate::format;
use crate::lock::{DirLock, LOCK_FILE};
use crate::records::{Scan, View, family_table};
use crate::shards::state::{Accounts, Placing, Verified};
use crate::shards::{SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MIN, Shards, SweepReport, sweep};

/// Default size of the database's page cache, bytes (32 MiB).
pub const CACHE_BYTES_DEFAULT: usize = 32 << 20;

/// How to open a data directory.
#[derive(Clone)]
pub struct StoreOptions {
    /// Network the directory belongs to: 1 to [`format::NETWORK_NAME_MAX`] characters out of
    /// letters, digits, `.`, `_` and `-`.
    pub network: String,
    /// Page cache of the database, bytes. Default [`CACHE_BYTES_DEFAULT`].
    pub cache_bytes: usize,
    /// Most bytes shards may take on disk; `None` (the default) means no bound.
    pub quota_bytes: Option<u64>,
    /// Size at which a segment file is full, bytes. Default 256 MiB; at least 256 KiB is used.
    pub segment_bytes: u64,
    /// Watches every change to the file system; for tests of failures. Default none.
    pub hook: Option<Arc<dyn DiskHook>>,
}

impl StoreOptions {
    /// The defaults, for `network`.
    pub fn new(network: impl Into<String>) -> Self {
        Self {
            network: network.into(),
            cache_bytes: CACHE_BYTES_DEFAULT,
            quota_bytes: None,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            hook: None,
        }
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions")
            .field("network", &self.network)
            .field("cache_bytes", &self.cache_bytes)
            .field("quota_bytes", &self.quota_bytes)
            .field("segment_bytes", &self.segment_bytes)
            .finish_non_exhaustive()
    }
}

/// What all handles to one open directory share. Fields drop in order: the lock goes last.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) engine: Engine,
    pub(crate) quota: Option<u64>,
    pub(crate) segment_bytes: u64,
    /// Where the next shard goes; held while shard files and their index change together.
    pub(crate) placing: Mutex<Placing>,
    /// Bytes in use and promised; held briefly.
    pub(crate) accounts: Mutex<Accounts>,
    /// Shards whose bytes were checked since opening.
    pub(crate) verified: Mutex<Verified>,
    pub(crate) writers: AtomicUsize,
    pub(crate) next_part: AtomicU64,
    swept: SweepReport,
    failed: OnceLock<String>,
    _lock: DirLock,
}

impl Inner {
    /// Refuses to go on after a failure.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            Some(reason) => Err(StoreError::Failed {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Passes a result on; a fatal error stops this handle for good.
    pub(crate) fn guard<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && error.is_fatal()
        {
            // Only the first failure explains anything; later ones follow from it.
            let _ = self.failed.set(error.to_string());
        }
        result
    }

    /// Locks shared state; a thread that panicked while changing it stops the handle.
    pub(crate) fn lock<'a, T>(&self, state: &'a Mutex<T>) -> Result<MutexGuard<'a, T>, StoreError> {
        self.guard(state.lock().map_err(|_| StoreError::Failed {
            reason: "a thread stopped while changing the store".to_owned(),
        }))
    }
}

/// A data directory, open. Clones share it; it is released when the last clone, view, shard handle
/// and shard writer is dropped.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Opens `dir`, creating it when missing, and sweeps what a crash left.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::NewerFormat`], [`StoreError::OtherNetwork`],
    /// [`StoreError::NetworkName`], [`StoreError::Damaged`], or a file system error.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        format::check_network_name(&options.network)?;
        let disk = Disk::new(options.hook);
        disk.create_dir_all(dir)?;
        restrict_mode(dir)?;
        let lock = DirLock::acquire(dir)?;
        let network = options.network.as_str();
        let complete = format::check_file(dir, network)?;
        let engine = Engine::open(&disk, dir, network, options.cache_bytes, complete)?;
        if !complete {
            format::write_file(&disk, dir, network)?;
        }
        let (placing, swept) = sweep::sweep(&disk, dir, &engine)?;
        let accounts = Accounts {
            used: placing.books.used_bytes(),
            reserved: 0,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                dir: dir.to_owned(),
                disk,
                engine,
                quota: options.quota_bytes,
                segment_bytes: options.segment_bytes.max(SEGMENT_BYTES_MIN),
                placing: Mutex::new(placing),
                accounts: Mutex::new(accounts),
                verified: Mutex::default(),
                writers: AtomicUsize::new(0),
                next_part: AtomicU64::new(0),
                swept,
                failed: OnceLock::new(),
                _lock: lock,
            }),
        })
    }

    /// Applies a batch in one transaction; durable when this returns `Ok`.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] or another fatal error; whether the batch survived is then known
    /// only after opening again.
    pub fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.inner.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        let engine = &self.inner.engine;
        self.inner.guard(engine.write(|txn| {
            let mut tables: BTreeMap<Family, WriteTable<'_>> = BTreeMap::new();
            for op in batch.ops() {
                let (Op::Put { family, .. } | Op::Delete { family, .. }) = op;
                if !tables.contains_key(family) {
                    tables.insert(*family, engine.table(txn, family_table(*family))?);
                }
                let table = tables.get_mut(family).expect("the table was just opened");
                match op {
                    Op::Put { key, value, .. } => engine.put(table, key, value)?,
                    Op::Delete { key, .. } => {
                        engine.remove(table, key)?;
                    }
                }
            }
            Ok(())
        }))
    }

    /// A consistent look at all records, for several reads that belong together.
    ///
    /// # Errors
    /// A fatal error when the database cannot be read.
    pub fn view(&self) -> Result<View, StoreError> {
        View::new(&self.inner)
    }

    /// Reads one value; see [`View::get`].
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.view()?.get(family, key)
    }

    /// Reads a page of a family; see [`View::scan`].
    ///
    /// # Errors
    /// As [`View::scan`].
    pub fn scan(
        &self,
        family: Family,
        prefix: &[u8],
        limit: usize,
        after: Option<&[u8]>,
    ) -> Result<Scan, StoreError> {
        self.view()?.scan(family, prefix, limit, after)
    }

    /// Number of records in a family.
    ///
    /// # Errors
    /// As [`View::count`].
    pub fn count(&self, family: Family) -> Result<u64, StoreError> {
        self.view()?.count(family)
    }

    /// The shards of this directory.
    pub fn shards(&self) -> Shards {
        Shards::new(Arc::clone(&self.inner))
    }

    /// What opening found left over and put right.
    pub fn swept(&self) -> &SweepReport {
        &self.inner.swept
    }
}

/// Closes an existing directory to other users, when it is ours to close: empty, or used before.
fn restrict_mode(dir: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let fail = |e| StoreError::io("read the mode of", dir, e);
        let mode = fs::metadata(dir).map_err(fail)?.permissions().mode();
        let empty = || fs::read_dir(dir).is_ok_and(|mut names| names.next().is_none());
        if mode & 0o077 != 0 && (dir.join(LOCK_FILE).exists() || empty()) {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
                .map_err(|e| StoreError::io("restrict the mode of", dir, e))?;
        }
    }
    #[cfg(not(unix))]
    let _ = (dir, LOCK_FILE);
    Ok(())
}
