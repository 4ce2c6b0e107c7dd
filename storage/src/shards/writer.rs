//! Receiving one shard: bytes in order, bounded memory, nothing readable before it is checked.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file::Part;
use super::segment::SEGMENT_SHARD_BYTES_MAX;
use super::{SHARD_BYTES_MAX, ShardHash, WRITERS_MAX, place};
use crate::error::StoreError;
use crate::store::Inner;

/// Where the bytes wait until they are checked.
#[derive(Debug)]
pub(crate) enum Body {
    /// Small shards wait in memory (at most 256 KiB each).
    Memory(Vec<u8>),
    /// Larger ones in a file under `incoming`.
    Part(Part),
}

/// A checked shard, ready to be placed. Its reservation lasts until it is placed or given up.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) hash: ShardHash,
    pub(crate) size: u64,
    pub(crate) body: Body,
    promise: Promise,
}

impl Ready {
    /// Takes the shard apart.
    pub(crate) fn into_parts(self) -> (Body, Promise) {
        (self.body, self.promise)
    }
}

/// Bytes and a writer slot promised to one writer; given back when dropped.
#[derive(Debug)]
pub(crate) struct Promise {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Promise {
    fn make(inner: &Arc<Inner>, bytes: u64) -> Result<Self, StoreError> {
        let mut accounts = inner.lock(&inner.accounts)?;
        if inner.writers.load(Ordering::Relaxed) >= WRITERS_MAX {
            return Err(StoreError::TooManyWriters { max: WRITERS_MAX });
        }
        let used = accounts.used + accounts.reserved;
        if let Some(quota) = inner.quota
            && used + bytes > quota
        {
            return Err(StoreError::QuotaExceeded {
                quota,
                used,
                needed: bytes,
            });
        }
        accounts.reserved += bytes;
        // The count changes only here and in `drop`, always with the accounts locked.
        inner.writers.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            inner: Arc::clone(inner),
            bytes,
        })
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Ok(mut accounts) = self.inner.accounts.lock() {
            accounts.reserved = accounts.reserved.saturating_sub(self.bytes);
            self.inner.writers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Receives the bytes of one shard. Dropping it discards them.
#[derive(Debug)]
pub struct ShardWriter {
    inner: Arc<Inner>,
    hash: ShardHash,
    size: u64,
    written: u64,
    hasher: blake3::Hasher,
    body: Body,
    promise: Promise,
}

impl ShardWriter {
    pub(crate) fn new(inner: &Arc<Inner>, hash: ShardHash, size: u64) -> Result<Self, StoreError> {
        inner.check()?;
        if size > SHARD_BYTES_MAX {
            return Err(StoreError::ShardTooLarge {
                size,
                max: SHARD_BYTES_MAX,
            });
        }
        let promise = Promise::make(inner, size)?;
        let body = if size <= SEGMENT_SHARD_BYTES_MAX {
            Body::Memory(Vec::new())
        } else {
            let number = inner.next_part.fetch_add(1, Ordering::Relaxed);
            Body::Part(inner.guard(Part::create(&inner.disk, &inner.dir, number))?)
        };
        Ok(Self {
            inner: Arc::clone(inner),
            hash,
            size,
            written: 0,
            hasher: blake3::Hasher::new(),
            body,
            promise,
        })
    }

    /// The shard being received.
    pub fn hash(&self) -> ShardHash {
        self.hash
    }

    /// Bytes received so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// True when the bytes wait in this store's directory.
    pub(crate) fn belongs_to(&self, inner: &Arc<Inner>) -> bool {
        Arc::ptr_eq(&self.inner, inner)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`StoreError::WrongSize`] when more arrive than announced (nothing of `chunk` is taken);
    /// a fatal error when the disk refuses them.
    pub fn write_chunk(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.inner.check()?;
        let end = self.written + chunk.len() as u64;
        if end > self.size {
            return Err(self.wrong_size(end));
        }
        match &mut self.body {
            Body::Memory(bytes) => bytes.extend_from_slice(chunk),
            Body::Part(part) => self.inner.guard(part.write(self.written, chunk))?,
        }
        self.hasher.update(chunk);
        self.written = end;
        Ok(())
    }

    /// Checks hash and size, makes the shard durable and readable.
    ///
    /// # Errors
    /// [`StoreError::WrongSize`] or [`StoreError::WrongHash`]: the bytes are discarded. A fatal
    /// error when the disk refuses them.
    pub fn finish(self) -> Result<ShardHash, StoreError> {
        let inner = Arc::clone(&self.inner);
        let ready = self.seal()?;
        let hash = ready.hash;
        place::place(&inner, vec![ready])?;
        Ok(hash)
    }

    /// Checks hash and size and makes a part file durable; dropping `self` on error discards.
    pub(crate) fn seal(self) -> Result<Ready, StoreError> {
        self.inner.check()?;
        if self.written != self.size {
            return Err(self.wrong_size(self.written));
        }
        let found = ShardHash(self.hasher.finalize().into());
        if found != self.hash {
            return Err(StoreError::WrongHash {
                expected: self.hash,
                found,
            });
        }
        if let Body::Part(part) = &self.body {
            self.inner.guard(part.sync())?;
        }
        Ok(Ready {
            hash: self.hash,
            size: self.size,
            body: self.body,
            promise: self.promise,
        })
    }

    fn wrong_size(&self, found: u64) -> StoreError {
        StoreError::WrongSize {
            hash: self.hash,
            expected: self.size,
            found,
        }
    }
}
