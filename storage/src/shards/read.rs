//! Reading shards and finding damage.
//!
//! Locations are looked up without a lock, so a segment may be emptied under a reader: the lookup
//! is repeated when the bytes are not where they were. Only when the index still points at bytes
//! that are wrong or gone is the copy damaged; it is dropped so that it can be fetched again.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::index::{self, Place, Row};
use super::{ShardHash, file, place, segment};
use crate::disk;
use crate::error::StoreError;
use crate::store::Inner;

/// Lookups made for one read before it is given up; each repeat needs a move in between.
const LOOKUPS_MAX: usize = 8;
/// Bytes hashed at a time when a file is checked (256 KiB).
const CHECK_BYTES: usize = 256 << 10;

/// The index row of a shard.
pub(crate) fn locate(inner: &Inner, hash: &ShardHash) -> Result<Option<Row>, StoreError> {
    inner.check()?;
    let engine = &inner.engine;
    inner.guard(engine.read().and_then(|txn| index::row(engine, &txn, hash)))
}

/// Reads a range; small shards are checked whole the first time since opening.
pub(crate) fn range(
    inner: &Arc<Inner>,
    hash: &ShardHash,
    offset: u64,
    len: u64,
) -> Result<Vec<u8>, StoreError> {
    with_copy(inner, hash, |row| {
        if offset.checked_add(len).is_none_or(|end| end > row.size) {
            return Err(StoreError::OutOfRange {
                hash: *hash,
                offset,
                len,
                size: row.size,
            });
        }
        let checked = inner.lock(&inner.verified)?.contains(hash);
        if checked || row.place == Place::File {
            return part(inner, hash, row, offset, len);
        }
        let Some(bytes) = whole(inner, hash, row)? else {
            return Ok(None);
        };
        inner.lock(&inner.verified)?.insert(*hash);
        let range = to_usize(offset)..to_usize(offset + len);
        Ok(bytes.get(range).map(<[u8]>::to_vec))
    })
}

/// Reads all bytes of a shard and checks them against its name.
pub(crate) fn verify(inner: &Arc<Inner>, hash: &ShardHash) -> Result<(), StoreError> {
    with_copy(inner, hash, |row| {
        let good = match row.place {
            Place::File => check_file(inner, hash, row)?,
            Place::Inline | Place::Segment { .. } => whole(inner, hash, row)?.is_some(),
        };
        if good {
            inner.lock(&inner.verified)?.insert(*hash);
        }
        Ok(good.then_some(()))
    })
}

/// Runs `read` on the current copy; `None` from it means wrong or missing bytes.
fn with_copy<T>(
    inner: &Arc<Inner>,
    hash: &ShardHash,
    mut read: impl FnMut(Row) -> Result<Option<T>, StoreError>,
) -> Result<T, StoreError> {
    for _ in 0..LOOKUPS_MAX {
        let row = locate(inner, hash)?.ok_or(StoreError::ShardMissing { hash: *hash })?;
        if let Some(value) = read(row)? {
            return Ok(value);
        }
        if place::drop_damaged(inner, hash, row)? {
            return Err(StoreError::ShardCorrupt { hash: *hash });
        }
    }
    Err(StoreError::ShardMissing { hash: *hash })
}

/// All bytes of a shard kept inline or in a segment; `None` when they are gone or wrong.
pub(crate) fn whole(
    inner: &Inner,
    hash: &ShardHash,
    row: Row,
) -> Result<Option<Vec<u8>>, StoreError> {
    let bytes = part(inner, hash, row, 0, row.size)?;
    Ok(bytes.filter(|bytes| ShardHash::of(bytes) == *hash))
}

fn part(
    inner: &Inner,
    hash: &ShardHash,
    row: Row,
    offset: u64,
    len: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let engine = &inner.engine;
    let (path, start) = match row.place {
        Place::Inline => {
            let bytes = inner.guard(
                engine
                    .read()
                    .and_then(|txn| index::inline_bytes(engine, &txn, hash)),
            )?;
            let range = to_usize(offset)..to_usize(offset + len);
            return Ok(bytes.and_then(|bytes| bytes.get(range).map(<[u8]>::to_vec)));
        }
        Place::Segment { id, offset } => (segment::path(&inner.dir, id), offset),
        Place::File => (file::path(&inner.dir, hash), 0),
    };
    let Some(from) = start.checked_add(offset) else {
        return Ok(None);
    };
    sort_read(hash, disk::read_at(&path, from, to_usize(len)))
}

fn check_file(inner: &Inner, hash: &ShardHash, row: Row) -> Result<bool, StoreError> {
    let hash_file = || -> io::Result<bool> {
        let mut file = File::open(file::path(&inner.dir, hash))?;
        if file.metadata()?.len() != row.size {
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; CHECK_BYTES];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(ShardHash(hasher.finalize().into()) == *hash),
                count => hasher.update(&buffer[..count]),
            };
        }
    };
    Ok(sort_read(hash, hash_file())?.unwrap_or(false))
}

/// Missing bytes are damage; any other failure says nothing about the copy.
fn sort_read<T>(hash: &ShardHash, result: io::Result<T>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(StoreError::ShardUnreadable {
            hash: *hash,
            source,
        }),
    }
}

/// Shards are at most 64 MiB, so their offsets fit any supported address size.
fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
