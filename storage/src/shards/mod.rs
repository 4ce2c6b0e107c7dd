//! Shards: immutable blobs of at most 64 MiB, named by the plain BLAKE3 hash of their bytes.
//!
//! ```text
//! writer / put -> checked (hash, size) -> inline row | segment | own file -> index -> readable
//!                                          <= 2 KiB   <= 256 KiB  larger
//! ```
//! Tags say why a shard is kept; a collection removes what no tag has held for a while. This
//! module does not fetch, encrypt or decide what to keep, and keeps no outboards.
//!
//! Invariants: nothing unchecked is readable; a removed or damaged shard is unreadable at once and
//! its space returns later; the quota is checked before anything is written.

mod file;
mod gc;
mod hash;
mod index;
mod inline;
mod place;
mod read;
mod segment;
pub(crate) mod state;
pub(crate) mod sweep;
mod writer;

use std::sync::Arc;

pub use self::gc::GcReport;
pub use self::hash::{ShardHash, ShardHashSyntax};
pub use self::inline::INLINE_BYTES_MAX;
pub use self::segment::{SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MIN, SEGMENT_SHARD_BYTES_MAX};
pub use self::sweep::SweepReport;
pub use self::writer::ShardWriter;
use crate::error::StoreError;
use crate::store::Inner;

/// Largest shard, bytes (64 MiB).
pub const SHARD_BYTES_MAX: u64 = 64 << 20;
/// Most shards being written at a time.
pub const WRITERS_MAX: usize = 256;
/// Longest tag, bytes.
pub const TAG_BYTES_MAX: usize = 64;
/// Most shards tagged, or listed, in one call.
pub const SHARD_LIST_MAX: usize = 65_536;
/// Shards untagged per transaction.
const UNTAG_PAGE: usize = 10_000;

/// How much the shards take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Shards stored.
    pub shards: u64,
    /// Bytes on disk, the void parts of segments included.
    pub used_bytes: u64,
    /// Bytes promised to open writers.
    pub reserved_bytes: u64,
    /// Most bytes allowed; `None` when there is no bound.
    pub quota_bytes: Option<u64>,
}

/// The shards of an open data directory. Clones share it.
#[derive(Clone, Debug)]
pub struct Shards {
    inner: Arc<Inner>,
}

impl Shards {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Begins to receive the shard `hash` of `size` bytes.
    ///
    /// # Errors
    /// [`StoreError::ShardTooLarge`], [`StoreError::QuotaExceeded`] or
    /// [`StoreError::TooManyWriters`], before anything is written; or a fatal error.
    pub fn writer(&self, hash: ShardHash, size: u64) -> Result<ShardWriter, StoreError> {
        ShardWriter::new(&self.inner, hash, size)
    }

    /// Stores `bytes` and answers their hash; nothing is written when they are here already.
    ///
    /// # Errors
    /// As [`Shards::writer`] and [`ShardWriter::finish`].
    pub fn put(&self, bytes: &[u8]) -> Result<ShardHash, StoreError> {
        let size = bytes.len() as u64;
        if size > SHARD_BYTES_MAX {
            return Err(StoreError::ShardTooLarge {
                size,
                max: SHARD_BYTES_MAX,
            });
        }
        let hash = ShardHash::of(bytes);
        if self.has(&hash)? {
            return Ok(hash);
        }
        let mut writer = self.writer(hash, size)?;
        writer.write_chunk(bytes)?;
        writer.finish()
    }

    /// Finishes several writers with one sync and one transaction, which is many times faster for
    /// small shards than one by one. The inner results say which were refused.
    ///
    /// # Errors
    /// A fatal error, after which none of them counts as stored.
    pub fn finish_all(
        &self,
        writers: Vec<ShardWriter>,
    ) -> Result<Vec<Result<ShardHash, StoreError>>, StoreError> {
        let mut ready = Vec::with_capacity(writers.len());
        let mut results = Vec::with_capacity(writers.len());
        for writer in writers {
            if !writer.belongs_to(&self.inner) {
                let hash = writer.hash();
                results.push(Err(StoreError::ForeignWriter { hash }));
                continue;
            }
            match writer.seal() {
                Ok(shard) => {
                    results.push(Ok(shard.hash));
                    ready.push(shard);
                }
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => results.push(Err(error)),
            }
        }
        place::place(&self.inner, ready)?;
        Ok(results)
    }

    /// True when a checked copy is here.
    ///
    /// # Errors
    /// A fatal error when the index cannot be read.
    pub fn has(&self, hash: &ShardHash) -> Result<bool, StoreError> {
        Ok(read::locate(&self.inner, hash)?.is_some())
    }

    /// Size in bytes; `None` when the shard is not here.
    ///
    /// # Errors
    /// A fatal error when the index cannot be read.
    pub fn size(&self, hash: &ShardHash) -> Result<Option<u64>, StoreError> {
        Ok(read::locate(&self.inner, hash)?.map(|row| row.size))
    }

    /// Reads `len` bytes at `offset`. Shards of at most 256 KiB are checked against their name
    /// at the first read since opening; larger ones only by [`Shards::verify`].
    ///
    /// # Errors
    /// [`StoreError::ShardMissing`], [`StoreError::OutOfRange`], [`StoreError::ShardUnreadable`],
    /// or [`StoreError::ShardCorrupt`], after which the shard is missing.
    pub fn read_range(
        &self,
        hash: &ShardHash,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>, StoreError> {
        read::range(&self.inner, hash, offset, len)
    }

    /// Reads a whole shard, at most 64 MiB; see [`Shards::read_range`].
    ///
    /// # Errors
    /// As [`Shards::read_range`].
    pub fn read(&self, hash: &ShardHash) -> Result<Vec<u8>, StoreError> {
        let size = self
            .size(hash)?
            .ok_or(StoreError::ShardMissing { hash: *hash })?;
        self.read_range(hash, 0, size)
    }

    /// Reads all bytes of a shard and checks them against its name.
    ///
    /// # Errors
    /// [`StoreError::ShardMissing`], [`StoreError::ShardUnreadable`], or
    /// [`StoreError::ShardCorrupt`], after which the shard is missing.
    pub fn verify(&self, hash: &ShardHash) -> Result<(), StoreError> {
        read::verify(&self.inner, hash)
    }

    /// Keeps a shard, here or still to come, until the tag is taken away. Tagging twice is
    /// tagging once.
    ///
    /// # Errors
    /// [`StoreError::TagLength`] or a fatal error.
    pub fn tag(&self, hash: &ShardHash, tag: &[u8]) -> Result<(), StoreError> {
        self.tag_all(std::slice::from_ref(hash), tag)
    }

    /// Tags several shards in one transaction.
    ///
    /// # Errors
    /// [`StoreError::TagLength`], [`StoreError::TooManyShards`] or a fatal error.
    pub fn tag_all(&self, hashes: &[ShardHash], tag: &[u8]) -> Result<(), StoreError> {
        let inner = &self.inner;
        inner.check()?;
        check_tag(tag)?;
        check_count(hashes.len())?;
        inner.guard(inner.engine.write(|txn| {
            let mut tables = index::ShardTables::open(&inner.engine, txn)?;
            hashes
                .iter()
                .try_for_each(|hash| tables.tag(hash, tag).map(|_| ()))
        }))
    }

    /// Takes a tag from every shard that has it; answers how many had. A crash half way leaves
    /// the rest tagged: call again.
    ///
    /// # Errors
    /// [`StoreError::TagLength`] or a fatal error.
    pub fn untag(&self, tag: &[u8]) -> Result<u64, StoreError> {
        let inner = &self.inner;
        check_tag(tag)?;
        let mut total = 0;
        loop {
            inner.check()?;
            let count = inner.guard(inner.engine.write(|txn| {
                index::ShardTables::open(&inner.engine, txn)?.untag(tag, UNTAG_PAGE)
            }))?;
            total += count as u64;
            if count < UNTAG_PAGE {
                return Ok(total);
            }
        }
    }

    /// Lists at most `limit` shards with a tag, here or still to come, behind `after`, by hash.
    ///
    /// # Errors
    /// [`StoreError::TagLength`], [`StoreError::TooManyShards`] or a fatal error.
    pub fn tagged(
        &self,
        tag: &[u8],
        limit: usize,
        after: Option<&ShardHash>,
    ) -> Result<Vec<ShardHash>, StoreError> {
        let inner = &self.inner;
        inner.check()?;
        check_tag(tag)?;
        check_count(limit)?;
        let engine = &inner.engine;
        inner.guard(
            engine
                .read()
                .and_then(|txn| index::tagged(engine, &txn, tag, limit, after)),
        )
    }

    /// Lists at most `limit` stored shards with their sizes, behind `after`, by hash.
    ///
    /// # Errors
    /// [`StoreError::TooManyShards`] or a fatal error.
    pub fn list(
        &self,
        limit: usize,
        after: Option<&ShardHash>,
    ) -> Result<Vec<(ShardHash, u64)>, StoreError> {
        let inner = &self.inner;
        inner.check()?;
        check_count(limit)?;
        let engine = &inner.engine;
        let mut found = Vec::new();
        inner.guard(engine.read().and_then(|txn| {
            index::visit_rows(engine, &txn, after, |hash, row| {
                if found.len() < limit {
                    found.push((hash, row.size));
                }
                found.len() < limit
            })
        }))?;
        Ok(found)
    }

    /// Removes a shard at once whether it is tagged or not (its tags stay and hold the next
    /// copy); answers whether it was here.
    ///
    /// # Errors
    /// A fatal error.
    pub fn erase(&self, hash: &ShardHash) -> Result<bool, StoreError> {
        while let Some(row) = read::locate(&self.inner, hash)? {
            // The row may have moved between the two steps; then look again.
            if place::drop_damaged(&self.inner, hash, row)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes shards that no tag has held for `age_ms`, and empties segments that are mostly
    /// void. `now_ms` is a time in milliseconds of any one clock; the time without a tag counts
    /// from the first collection that sees it, so one that runs at least every `age_ms / 2`
    /// removes in at most one and a half times the age. An age of zero removes at once.
    ///
    /// # Errors
    /// A fatal error.
    pub fn gc(&self, now_ms: u64, age_ms: u64) -> Result<GcReport, StoreError> {
        gc::gc(&self.inner, now_ms, age_ms)
    }

    /// How much the shards take.
    ///
    /// # Errors
    /// A fatal error.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let inner = &self.inner;
        inner.check()?;
        let shards = inner.lock(&inner.placing)?.books.totals.shards;
        let accounts = *inner.lock(&inner.accounts)?;
        Ok(Usage {
            shards,
            used_bytes: accounts.used,
            reserved_bytes: accounts.reserved,
            quota_bytes: inner.quota,
        })
    }
}

fn check_tag(tag: &[u8]) -> Result<(), StoreError> {
    if tag.is_empty() || tag.len() > TAG_BYTES_MAX {
        return Err(StoreError::TagLength {
            len: tag.len(),
            max: TAG_BYTES_MAX,
        });
    }
    Ok(())
}

fn check_count(count: usize) -> Result<(), StoreError> {
    if count > SHARD_LIST_MAX {
        return Err(StoreError::TooManyShards {
            count,
            max: SHARD_LIST_MAX,
        });
    }
    Ok(())
}
