//! Giving checked shards their place, and taking places back.
//!
//! ```text
//! segment bytes appended, files renamed -> all synced -> one index transaction -> readable
//! ```
//! Everything here holds the placing lock, so files and index change together. Any error before
//! the end stops the handle: memory and disk may disagree, and opening again settles it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::index::{self, Place, Row, ShardTables};
use super::state::Placing;
use super::writer::{Body, Ready};
use super::{ShardHash, file, inline, segment};
use crate::error::StoreError;
use crate::store::Inner;

/// Makes a group of checked shards durable and readable in one transaction. Shards that are here
/// already are discarded.
pub(crate) fn place(inner: &Arc<Inner>, group: Vec<Ready>) -> Result<(), StoreError> {
    let mut placing = inner.lock(&inner.placing)?;
    inner.check()?;
    inner.guard(place_locked(inner, &mut placing, group))
}

fn place_locked(inner: &Inner, placing: &mut Placing, group: Vec<Ready>) -> Result<(), StoreError> {
    let Inner {
        dir, disk, engine, ..
    } = inner;
    let mut books = placing.books.clone();
    let mut rows: Vec<(ShardHash, Row, Option<Vec<u8>>)> = Vec::with_capacity(group.len());
    let mut parts = Vec::new();
    // Promises are kept to the end: until then the bytes are not in the accounts.
    let mut promises = Vec::with_capacity(group.len());
    let mut seen = BTreeSet::new();
    let txn = engine.read()?;
    for ready in group {
        let (hash, size) = (ready.hash, ready.size);
        let (body, promise) = ready.into_parts();
        promises.push(promise);
        if !seen.insert(hash) || index::row(engine, &txn, &hash)?.is_some() {
            continue;
        }
        let (place, bytes) = match body {
            Body::Memory(bytes) if inline::fits(size) => (Place::Inline, Some(bytes)),
            Body::Memory(bytes) => {
                let limit = inner.segment_bytes;
                let active = &mut placing.active;
                let (id, offset) = segment::append(disk, dir, active, &mut books, limit, &bytes)?;
                (Place::Segment { id, offset }, None)
            }
            Body::Part(part) => {
                parts.push((hash, part));
                (Place::File, None)
            }
        };
        rows.push((hash, Row { size, place }, bytes));
    }
    drop(txn);
    if rows.is_empty() {
        return Ok(());
    }
    if let Some(active) = &mut placing.active {
        active.sync(disk)?;
    }
    file::promote(disk, dir, &mut parts)?;
    engine.write(|txn| {
        let mut tables = ShardTables::open(engine, txn)?;
        for (hash, row, bytes) in &rows {
            tables.add(hash, *row, bytes.as_deref(), &mut books)?;
        }
        tables.save_books(&placing.books, &books)
    })?;
    file::clear_intents(disk, dir, parts.iter().map(|(hash, _)| hash));
    placing.books = books;
    let mut verified = inner.lock(&inner.verified)?;
    for (hash, ..) in &rows {
        verified.insert(*hash);
    }
    drop(verified);
    update_accounts(inner, placing)
}

/// Copies the committed books into the accounts that quotas are checked against.
pub(crate) fn update_accounts(inner: &Inner, placing: &Placing) -> Result<(), StoreError> {
    inner.lock(&inner.accounts)?.used = placing.books.used_bytes();
    Ok(())
}

/// Drops the copy described by `row`, whose bytes turned out wrong or gone. Does nothing when the
/// index has moved on meanwhile; answers whether it dropped.
pub(crate) fn drop_damaged(
    inner: &Arc<Inner>,
    hash: &ShardHash,
    row: Row,
) -> Result<bool, StoreError> {
    let mut placing = inner.lock(&inner.placing)?;
    inner.check()?;
    inner
        .guard(remove_rows(inner, &mut placing, &[(*hash, row)]))
        .map(|dropped| dropped > 0)
}

/// Removes the given shards where the index still has exactly these rows, then their files.
pub(crate) fn remove_rows(
    inner: &Inner,
    placing: &mut Placing,
    rows: &[(ShardHash, Row)],
) -> Result<usize, StoreError> {
    let mut books = placing.books.clone();
    let mut files = Vec::new();
    let removed = inner.engine.write(|txn| {
        let mut tables = ShardTables::open(&inner.engine, txn)?;
        let mut removed = 0;
        for (hash, row) in rows {
            if tables.row(hash)? != Some(*row) {
                continue;
            }
            tables.drop_shard(hash, *row, &mut books)?;
            removed += 1;
            if row.place == Place::File {
                files.push(*hash);
            }
        }
        tables.save_books(&placing.books, &books)?;
        Ok(removed)
    })?;
    placing.books = books;
    update_accounts(inner, placing)?;
    let mut verified = inner.lock(&inner.verified)?;
    for (hash, _) in rows {
        verified.remove(hash);
    }
    drop(verified);
    unlink(inner, &files)?;
    Ok(removed)
}

/// Removes the files of shards that left the index, then the notes that they were to go.
pub(crate) fn unlink(inner: &Inner, files: &[ShardHash]) -> Result<(), StoreError> {
    if files.is_empty() {
        return Ok(());
    }
    file::remove_all(&inner.disk, &inner.dir, files)?;
    inner.engine.write(|txn| {
        let mut tables = ShardTables::open(&inner.engine, txn)?;
        files.iter().try_for_each(|hash| tables.clear_doomed(hash))
    })
}
