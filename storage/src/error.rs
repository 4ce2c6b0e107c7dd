//! Every way the store can refuse or fail, in words an operator can act on.
//!
//! Two classes matter to a caller. A *refusal* (bad key, quota, wrong hash, missing shard) changes
//! nothing and the handle stays usable. A *failure* ([`StoreError::is_fatal`]) means a write may
//! be half done: the handle answers [`StoreError::Failed`] from then on, and only opening the
//! directory again, which recovers the last durable state, makes it usable.

use std::io;
use std::path::{Path, PathBuf};

use crate::shards::ShardHash;

/// What went wrong, where, and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process (or another handle of this one) holds the directory.
    #[error(
        "data directory {} is in use by another process ({}); stop that process or start with another data directory",
        .dir.display(),
        .pid.map_or_else(|| "pid unknown".to_owned(), |pid| format!("pid {pid}"))
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Process id found in the lock file, when it could be read.
        pid: Option<u32>,
    },
    /// The directory was written by a newer release.
    #[error(
        "data directory {} has format version {found}, this release reads up to {supported}; upgrade this program or use another data directory",
        .dir.display()
    )]
    NewerFormat {
        /// The data directory.
        dir: PathBuf,
        /// Format version found.
        found: u32,
        /// Newest format version this release reads.
        supported: u32,
    },
    /// The directory belongs to another network.
    #[error(
        "data directory {} belongs to network {found:?}, not {expected:?}; select that network or use another data directory",
        .dir.display()
    )]
    OtherNetwork {
        /// The data directory.
        dir: PathBuf,
        /// Network the directory was created for.
        found: String,
        /// Network asked for.
        expected: String,
    },
    /// A network name outside the allowed alphabet or length.
    #[error(
        "network name {name:?} is not usable: 1 to {max} characters out of a-z, A-Z, 0-9, '.', '_' and '-' are allowed"
    )]
    NetworkName {
        /// The name given.
        name: String,
        /// Longest name allowed, characters.
        max: usize,
    },
    /// A file of the store does not hold what this crate wrote there.
    #[error("{what} in {} is damaged; restore the data directory from a copy or start with an empty one", .path.display())]
    Damaged {
        /// What was being read.
        what: String,
        /// The file or directory concerned.
        path: PathBuf,
    },
    /// A record key outside the allowed length.
    #[error("record key of {len} bytes refused: keys have 1 to {max} bytes")]
    KeyLength {
        /// Length given, bytes.
        len: usize,
        /// Longest key, bytes.
        max: usize,
    },
    /// A record value above the allowed length.
    #[error(
        "record value of {len} bytes refused: values have at most {max} bytes; store larger bodies as shards"
    )]
    ValueLength {
        /// Length given, bytes.
        len: usize,
        /// Longest value, bytes.
        max: usize,
    },
    /// One more operation would exceed the bounds of a batch.
    #[error(
        "batch is full ({ops} operations, {bytes} bytes); commit it and continue in another one"
    )]
    BatchFull {
        /// Operations already in the batch.
        ops: usize,
        /// Key and value bytes already in the batch.
        bytes: usize,
    },
    /// A scan limit of zero or above the bound.
    #[error("scan limit of {limit} rows refused: 1 to {max} rows can be read at once")]
    ScanLimit {
        /// Limit given, rows.
        limit: usize,
        /// Largest limit, rows.
        max: usize,
    },
    /// The file system refused a write for lack of space.
    #[error(
        "the disk holding {} is full; free space (or move the data directory to a larger disk) and start again, everything accepted before is kept",
        .path.display()
    )]
    DiskFull {
        /// The file being written.
        path: PathBuf,
    },
    /// The file system failed otherwise.
    #[error("cannot {action} {}: {source}; check the disk and its permissions, then start again", .path.display())]
    Io {
        /// What was attempted, an infinitive.
        action: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The record engine failed.
    #[error(
        "record database failed to {action}: {source}; start again, and restore from a copy if it persists"
    )]
    Engine {
        /// What was attempted, an infinitive.
        action: &'static str,
        /// Cause.
        source: Box<redb::Error>,
    },
    /// An earlier write failed: this handle does nothing more.
    #[error(
        "this storage handle stopped after a failed write ({reason}); start again to recover what was accepted before it"
    )]
    Failed {
        /// The first failure, in words.
        reason: String,
    },
    /// A shard above the size bound.
    #[error("shard of {size} bytes refused: shards have at most {max} bytes; split it")]
    ShardTooLarge {
        /// Size given, bytes.
        size: u64,
        /// Largest shard, bytes.
        max: u64,
    },
    /// No verified copy of this shard is here.
    #[error("shard {hash} is not stored here; fetch it from a peer")]
    ShardMissing {
        /// The shard.
        hash: ShardHash,
    },
    /// The stored bytes no longer match the name; the copy was dropped.
    #[error(
        "the stored copy of shard {hash} was damaged and has been dropped; fetch it again and check the disk"
    )]
    ShardCorrupt {
        /// The shard.
        hash: ShardHash,
    },
    /// The file system could not read a stored shard now; the copy is kept.
    #[error(
        "cannot read shard {hash}: {source}; try again, and check open file limits and the disk if it persists"
    )]
    ShardUnreadable {
        /// The shard.
        hash: ShardHash,
        /// Cause.
        source: io::Error,
    },
    /// Received bytes do not match the announced hash; nothing was kept.
    #[error(
        "bytes received as shard {expected} hash to {found}; nothing was kept, fetch from another peer"
    )]
    WrongHash {
        /// Hash announced.
        expected: ShardHash,
        /// Hash of the bytes.
        found: ShardHash,
    },
    /// Received bytes are more or fewer than announced; nothing was kept.
    #[error(
        "shard {hash} was announced with {expected} bytes, {found} arrived; nothing was kept, fetch from another peer"
    )]
    WrongSize {
        /// The shard.
        hash: ShardHash,
        /// Size announced, bytes.
        expected: u64,
        /// Size seen, bytes.
        found: u64,
    },
    /// A range outside the shard.
    #[error("range of {len} bytes at {offset} is outside shard {hash} of {size} bytes")]
    OutOfRange {
        /// The shard.
        hash: ShardHash,
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// Size of the shard, bytes.
        size: u64,
    },
    /// The configured share of the disk is used up; nothing was written.
    #[error(
        "shard of {needed} bytes refused: {used} of the {quota} bytes set aside for shards are in use; raise the quota or release data sets"
    )]
    QuotaExceeded {
        /// Bytes allowed.
        quota: u64,
        /// Bytes in use or promised to open writers.
        used: u64,
        /// Bytes asked for.
        needed: u64,
    },
    /// Too many shards are being written at once.
    #[error("{max} shards are being written already; finish or drop one first")]
    TooManyWriters {
        /// Most writers open at a time.
        max: usize,
    },
    /// A writer of one store was handed to another.
    #[error("the writer of shard {hash} belongs to another store; finish it there")]
    ForeignWriter {
        /// The shard.
        hash: ShardHash,
    },
    /// A tag outside the allowed length.
    #[error("tag of {len} bytes refused: tags have 1 to {max} bytes")]
    TagLength {
        /// Length given, bytes.
        len: usize,
        /// Longest tag, bytes.
        max: usize,
    },
    /// More shards in one call than the bound.
    #[error("{count} shards in one call refused: at most {max}; split the call")]
    TooManyShards {
        /// Count given.
        count: usize,
        /// Largest count.
        max: usize,
    },
}

impl StoreError {
    /// True when the handle is unusable after this error (see the module header).
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::DiskFull { .. }
                | Self::Io { .. }
                | Self::Engine { .. }
                | Self::Damaged { .. }
                | Self::Failed { .. }
        )
    }

    /// Sorts a file system error: lack of space is its own variant, because the remedy differs.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                path: path.to_owned(),
            },
            _ => Self::Io {
                action,
                path: path.to_owned(),
                source,
            },
        }
    }

    /// Sorts an engine error; `path` is the database file.
    pub(crate) fn engine(action: &'static str, path: &Path, source: redb::Error) -> Self {
        match source {
            redb::Error::Io(source) => Self::io(action, path, source),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Failed {
                reason: source.to_string(),
            },
            redb::Error::Corrupted(what) => Self::Damaged {
                what,
                path: path.to_owned(),
            },
            other => Self::Engine {
                action,
                source: Box::new(other),
            },
        }
    }
}
