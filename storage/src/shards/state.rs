//! What the shard store remembers in memory: the books, the open segment, promised bytes.
//!
//! The books mirror rows of the database. A change is made on a copy, committed, and only then
//! takes the place of the original, so memory never runs ahead of the disk.

use std::collections::{BTreeMap, HashSet};

use super::ShardHash;
use super::index::{Place, Row};
use super::segment::Active;

/// Most shards remembered as checked since opening; the memory starts over when full.
const VERIFIED_MAX: usize = 100_000;

/// One segment file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Committed length, bytes; what lies behind it in the file is void.
    pub(crate) len: u64,
    /// Bytes of it that belong to shards in the index.
    pub(crate) live: u64,
}

impl Segment {
    pub(crate) fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..].copy_from_slice(&self.live.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (len, rest) = bytes.split_first_chunk()?;
        Some(Self {
            len: u64::from_le_bytes(*len),
            live: u64::from_le_bytes(rest.try_into().ok()?),
        })
    }
}

/// Sums over the index, so that opening needs no scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) shards: u64,
    pub(crate) inline_bytes: u64,
    pub(crate) file_bytes: u64,
    /// Number of the next segment file; numbers are never used twice.
    pub(crate) next_segment: u32,
}

impl Totals {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(28);
        bytes.extend(self.shards.to_le_bytes());
        bytes.extend(self.inline_bytes.to_le_bytes());
        bytes.extend(self.file_bytes.to_le_bytes());
        bytes.extend(self.next_segment.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (shards, rest) = bytes.split_first_chunk()?;
        let (inline_bytes, rest) = rest.split_first_chunk()?;
        let (file_bytes, rest) = rest.split_first_chunk()?;
        Some(Self {
            shards: u64::from_le_bytes(*shards),
            inline_bytes: u64::from_le_bytes(*inline_bytes),
            file_bytes: u64::from_le_bytes(*file_bytes),
            next_segment: u32::from_le_bytes(rest.try_into().ok()?),
        })
    }
}

/// Segments and sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) segments: BTreeMap<u32, Segment>,
    pub(crate) totals: Totals,
}

impl Books {
    /// Bytes that shards take on disk, the void parts of segments included.
    pub(crate) fn used_bytes(&self) -> u64 {
        let segments: u64 = self.segments.values().map(|segment| segment.len).sum();
        segments + self.totals.inline_bytes + self.totals.file_bytes
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.totals.shards += 1;
        match row.place {
            Place::Inline => self.totals.inline_bytes += row.size,
            Place::File => self.totals.file_bytes += row.size,
            Place::Segment { id, offset } => {
                let segment = self.segments.entry(id).or_default();
                segment.live += row.size;
                segment.len = segment.len.max(offset + row.size);
            }
        }
    }

    pub(crate) fn remove(&mut self, row: Row) {
        // Saturating: a damaged total must not stop the removal that repairs the disk.
        let totals = &mut self.totals;
        totals.shards = totals.shards.saturating_sub(1);
        match row.place {
            Place::Inline => {
                totals.inline_bytes = totals.inline_bytes.saturating_sub(row.size);
            }
            Place::File => totals.file_bytes = totals.file_bytes.saturating_sub(row.size),
            Place::Segment { id, .. } => {
                if let Some(segment) = self.segments.get_mut(&id) {
                    segment.live = segment.live.saturating_sub(row.size);
                }
            }
        }
    }
}

/// Where shards go.
#[derive(Debug, Default)]
pub(crate) struct Placing {
    pub(crate) books: Books,
    pub(crate) active: Option<Active>,
}

/// Bytes in use and promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub(crate) used: u64,
    pub(crate) reserved: u64,
}

/// Shards checked since opening.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    hashes: HashSet<ShardHash>,
}

impl Verified {
    pub(crate) fn contains(&self, hash: &ShardHash) -> bool {
        self.hashes.contains(hash)
    }

    pub(crate) fn insert(&mut self, hash: ShardHash) {
        if self.hashes.len() >= VERIFIED_MAX {
            self.hashes.clear();
        }
        self.hashes.insert(hash);
    }

    pub(crate) fn remove(&mut self, hash: &ShardHash) {
        self.hashes.remove(hash);
    }
}
