//! The record engine: one redb file, opened so that a crash at any moment leaves it openable.
//!
//! It owns the database file, the commit mode (two-phase commit and quick repair, always) and the
//! tables that describe the directory itself. It does not know what records or shards mean.
//!
//! The file is made under a temporary name and renamed when complete, because redb refuses for
//! ever a file whose first bytes were cut short.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    BackendError, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    StorageBackend, TableDefinition, TableError, WriteTransaction,
};

use crate::disk::{Disk, DiskStep};
use crate::error::StoreError;
use crate::format;

/// Name of the database file.
pub(crate) const DATABASE_FILE: &str = "records.redb";
/// Name it has while it is being made.
pub(crate) const DATABASE_TEMP_FILE: &str = "records.redb.new";

/// Bytes to bytes: every table of this crate has its layout in `DESIGN.md`, not in redb types.
pub(crate) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;
/// A table opened for writing.
pub(crate) type WriteTable<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;

/// A table opened for reading.
pub(crate) type ReadTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Facts about the directory: format version, network, shard totals.
pub(crate) const SELF: Table = TableDefinition::new("store/self");
const KEY_VERSION: &[u8] = b"version";
const KEY_NETWORK: &[u8] = b"network";

/// The open database.
#[derive(Debug)]
pub(crate) struct Engine {
    database: Database,
    path: PathBuf,
}

impl Engine {
    /// Opens the database in `dir`, making it first when `complete` is false and there is none.
    ///
    /// `complete` says that the directory was once fully made; a missing database is then a loss
    /// that must be reported, not papered over with an empty one.
    pub(crate) fn open(
        disk: &Disk,
        dir: &Path,
        network: &str,
        cache_bytes: usize,
        complete: bool,
    ) -> Result<Self, StoreError> {
        let path = dir.join(DATABASE_FILE);
        let temp = dir.join(DATABASE_TEMP_FILE);
        if temp.exists() {
            disk.remove_file(&temp)?;
        }
        match fs::metadata(&path) {
            Ok(meta) if meta.len() > 0 => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound && !complete => {
                Self::create(disk, dir, &temp, &path, network, cache_bytes)?;
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("read", &path, e));
            }
            Ok(_) | Err(_) => {
                return Err(StoreError::Damaged {
                    what: "the record database (missing or empty)".to_owned(),
                    path,
                });
            }
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| StoreError::io("open", &path, e))?;
        let engine = Self {
            database: open_database(disk, file, &path, cache_bytes)?,
            path,
        };
        engine.check_self(dir, network)?;
        Ok(engine)
    }

    fn create(
        disk: &Disk,
        dir: &Path,
        temp: &Path,
        path: &Path,
        network: &str,
        cache_bytes: usize,
    ) -> Result<(), StoreError> {
        let file = disk.create_file(temp)?;
        let engine = Self {
            database: open_database(disk, file, temp, cache_bytes)?,
            path: temp.to_owned(),
        };
        engine.write(|txn| {
            let mut table = engine.table(txn, SELF)?;
            engine.put(
                &mut table,
                KEY_VERSION,
                &format::FORMAT_VERSION.to_le_bytes(),
            )?;
            engine.put(&mut table, KEY_NETWORK, network.as_bytes())
        })?;
        let Self { database, .. } = engine;
        database
            .close()
            .map_err(|e| StoreError::engine("close", temp, e.into()))?;
        let file = File::open(temp).map_err(|e| StoreError::io("open", temp, e))?;
        disk.sync_file(&file, temp)?;
        drop(file);
        disk.rename(temp, path)?;
        disk.sync_dir(dir)
    }

    fn check_self(&self, dir: &Path, expected: &str) -> Result<(), StoreError> {
        let txn = self.read()?;
        let version = self.get(&txn, SELF, KEY_VERSION)?;
        let version = version
            .and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)))
            .ok_or_else(|| self.damaged("the version row"))?;
        let network = self
            .get(&txn, SELF, KEY_NETWORK)?
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| self.damaged("the network row"))?;
        format::check(dir, version, &network, expected)
    }

    /// An error saying that `what` in the database cannot be read.
    pub(crate) fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged {
            what: what.to_owned(),
            path: self.path.clone(),
        }
    }

    fn error(&self, action: &'static str) -> impl Fn(redb::Error) -> StoreError + '_ {
        move |e| StoreError::engine(action, &self.path, e)
    }

    /// Begins a consistent read of everything committed so far.
    pub(crate) fn read(&self) -> Result<ReadTransaction, StoreError> {
        self.database
            .begin_read()
            .map_err(|e| self.error("begin a read")(e.into()))
    }

    /// Runs `body` in one transaction, durable when this returns `Ok`; an error undoes it all.
    pub(crate) fn write<T>(
        &self,
        body: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut txn = self
            .database
            .begin_write()
            .map_err(|e| self.error("begin a write")(e.into()))?;
        // Two-phase: remote parties control the values. Quick repair: opening after a crash must
        // not read the whole file.
        txn.set_two_phase_commit(true);
        txn.set_quick_repair(true);
        let value = body(&txn)?;
        txn.commit().map_err(|e| self.error("commit")(e.into()))?;
        Ok(value)
    }

    /// Opens a table for writing, creating it when missing.
    pub(crate) fn table<'txn>(
        &self,
        txn: &'txn WriteTransaction,
        table: Table,
    ) -> Result<WriteTable<'txn>, StoreError> {
        txn.open_table(table)
            .map_err(|e| self.error("open a table")(e.into()))
    }

    /// Opens a table for reading; `None` when nothing was ever written to it.
    pub(crate) fn read_table(
        &self,
        txn: &ReadTransaction,
        table: Table,
    ) -> Result<Option<ReadTable>, StoreError> {
        match txn.open_table(table) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(self.error("open a table")(e.into())),
        }
    }

    /// Reads one value.
    pub(crate) fn get(
        &self,
        txn: &ReadTransaction,
        table: Table,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match self.read_table(txn, table)? {
            Some(table) => self.get_in(&table, key),
            None => Ok(None),
        }
    }

    /// Reads one value of an open table.
    pub(crate) fn get_in(
        &self,
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let value = table.get(key).map_err(|e| self.error("read")(e.into()))?;
        Ok(value.map(|guard| guard.value().to_vec()))
    }

    /// Stores one value.
    pub(crate) fn put(
        &self,
        table: &mut WriteTable<'_>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        table
            .insert(key, value)
            .map(|_| ())
            .map_err(|e| self.error("write")(e.into()))
    }

    /// Removes one value; answers whether it was there.
    pub(crate) fn remove(
        &self,
        table: &mut WriteTable<'_>,
        key: &[u8],
    ) -> Result<bool, StoreError> {
        table
            .remove(key)
            .map(|old| old.is_some())
            .map_err(|e| self.error("write")(e.into()))
    }

    /// Shows rows whose key begins with `prefix`, in key order, starting behind `after`, to
    /// `visit` until it answers `false`.
    pub(crate) fn visit(
        &self,
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
        prefix: &[u8],
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let fail = self.error("read");
        let rows = table
            .range::<&[u8]>((start, Bound::Unbounded))
            .map_err(|e| fail(e.into()))?;
        for row in rows {
            let (key, value) = row.map_err(|e| fail(e.into()))?;
            if !key.value().starts_with(prefix) || !visit(key.value(), value.value())? {
                break;
            }
        }
        Ok(())
    }
}

fn open_database(
    disk: &Disk,
    file: File,
    path: &Path,
    cache_bytes: usize,
) -> Result<Database, StoreError> {
    let fail = |e: redb::DatabaseError| StoreError::engine("open", path, e.into());
    let backend = HookedBackend {
        inner: FileBackend::new(file).map_err(fail)?,
        disk: disk.clone(),
        path: path.to_owned(),
    };
    Database::builder()
        .set_cache_size(cache_bytes)
        .create_with_backend(backend)
        .map_err(fail)
}

/// redb's own file backend with every change announced first (see [`crate::disk`]).
#[derive(Debug)]
struct HookedBackend {
    inner: FileBackend,
    disk: Disk,
    path: PathBuf,
}

impl StorageBackend for HookedBackend {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let path = &self.path;
        self.disk.announce(DiskStep::SetLen { path, len })?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk
            .announce(DiskStep::SyncFile { path: &self.path })?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.announce(DiskStep::Write {
            path: &self.path,
            offset,
            len: data.len() as u64,
        })?;
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
