//! Reading records: single values, pages of a family, counts.
//!
//! A [`View`] sees one committed state and no later one, so several pages read through it belong
//! together. Views hold old pages of the database alive: drop them when done.

use std::sync::Arc;

use redb::{ReadTransaction, ReadableTableMetadata};

use crate::batch::check_key;
use crate::engine::Table;
use crate::error::StoreError;
use crate::family::Family;
use crate::store::Inner;

/// Most rows one scan returns.
pub const SCAN_ROWS_MAX: usize = 65_536;
/// A scan ends early behind the row that brings it to this many key and value bytes (32 MiB).
pub const SCAN_BYTES_MAX: usize = 32 << 20;

/// A page of records in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Keys and values.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Key to pass as `after` for the next page; `None` when nothing follows.
    pub next: Option<Vec<u8>>,
}

/// A consistent, unchanging look at all records.
pub struct View {
    // Dropped before the handle that may close the database.
    txn: ReadTransaction,
    inner: Arc<Inner>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// The table of a family.
pub(crate) fn family_table(family: Family) -> Table {
    Table::new(family.table_name())
}

impl View {
    pub(crate) fn new(inner: &Arc<Inner>) -> Result<Self, StoreError> {
        inner.check()?;
        let txn = inner.guard(inner.engine.read())?;
        Ok(Self {
            inner: Arc::clone(inner),
            txn,
        })
    }

    /// Reads one value.
    ///
    /// # Errors
    /// [`StoreError::KeyLength`]; a fatal error when the database cannot be read.
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.check()?;
        check_key(key)?;
        let engine = &self.inner.engine;
        self.inner
            .guard(engine.get(&self.txn, family_table(family), key))
    }

    /// Reads at most `limit` rows whose key begins with `prefix`, behind the key `after`.
    ///
    /// A page can be shorter than `limit` ([`SCAN_BYTES_MAX`]); [`Scan::next`] says whether more
    /// follows.
    ///
    /// # Errors
    /// [`StoreError::ScanLimit`]; a fatal error when the database cannot be read.
    pub fn scan(
        &self,
        family: Family,
        prefix: &[u8],
        limit: usize,
        after: Option<&[u8]>,
    ) -> Result<Scan, StoreError> {
        self.inner.check()?;
        if limit == 0 || limit > SCAN_ROWS_MAX {
            return Err(StoreError::ScanLimit {
                limit,
                max: SCAN_ROWS_MAX,
            });
        }
        self.inner
            .guard(self.scan_rows(family, prefix, limit, after))
    }

    fn scan_rows(
        &self,
        family: Family,
        prefix: &[u8],
        limit: usize,
        after: Option<&[u8]>,
    ) -> Result<Scan, StoreError> {
        let engine = &self.inner.engine;
        let mut scan = Scan::default();
        let Some(table) = engine.read_table(&self.txn, family_table(family))? else {
            return Ok(scan);
        };
        let mut bytes = 0;
        let mut more = false;
        engine.visit(&table, prefix, after, |key, value| {
            // One row too many is looked at, to know whether to offer a cursor.
            if scan.rows.len() == limit || bytes >= SCAN_BYTES_MAX {
                more = true;
                return Ok(false);
            }
            bytes += key.len() + value.len();
            scan.rows.push((key.to_vec(), value.to_vec()));
            Ok(true)
        })?;
        if more {
            scan.next = scan.rows.last().map(|(key, _)| key.clone());
        }
        Ok(scan)
    }

    /// Number of records in a family; does not read them.
    ///
    /// # Errors
    /// A fatal error when the database cannot be read.
    pub fn count(&self, family: Family) -> Result<u64, StoreError> {
        self.inner.check()?;
        let engine = &self.inner.engine;
        let table = self
            .inner
            .guard(engine.read_table(&self.txn, family_table(family)))?;
        match table {
            Some(table) => self.inner.guard(
                table
                    .len()
                    .map_err(|e| StoreError::engine("count", &self.inner.dir, e.into())),
            ),
            None => Ok(0),
        }
    }
}
