//! The append-only file `chain.journal`.
//!
//! ```text
//! frame := length:u32 length_check[4] payload[length] checksum[16]
//! ```
//! Both checks are blake3, keyed with the hash of the first payload (whose own key is zero), so frames
//! of another journal are never valid here. Integers are little endian.
//!
//! A damaged frame with no valid frame after it is the tail of a write that a crash interrupted: it
//! is cut. A damaged frame *followed* by a valid one is corruption: opening is refused, because
//! cutting there would silently drop history. What it does not do: it knows nothing about what the
//! payloads mean; whether records follow from each other is for the reader to check.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::error::DevChainError;

/// Name of the journal inside the chain's folder.
pub(super) const FILE_NAME: &str = "chain.journal";
/// Largest payload of one record, in bytes.
pub(super) const RECORD_BYTES_MAX: usize = 1 << 20;

const HEAD_BYTES: usize = 8;
const SUM_BYTES: usize = 16;
/// Key of the first frame's checks.
const FIRST_KEY: [u8; 32] = [0; 32];

/// An open, locked journal; dropping it releases the lock.
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    len: u64,
    fsync: bool,
    key: [u8; 32],
}

fn length_check(key: &[u8; 32], length: u32) -> [u8; 4] {
    let mut out = [0; 4];
    out.copy_from_slice(&blake3::keyed_hash(key, &length.to_le_bytes()).as_bytes()[..4]);
    out
}

fn checksum(key: &[u8; 32], payload: &[u8]) -> [u8; SUM_BYTES] {
    let mut out = [0; SUM_BYTES];
    out.copy_from_slice(&blake3::keyed_hash(key, payload).as_bytes()[..SUM_BYTES]);
    out
}

fn frame(key: &[u8; 32], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("payloads are at most RECORD_BYTES_MAX");
    let mut out = Vec::with_capacity(HEAD_BYTES + payload.len() + SUM_BYTES);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&length_check(key, length));
    out.extend_from_slice(payload);
    out.extend_from_slice(&checksum(key, payload));
    out
}

/// Payload length announced by a frame head, if the head is intact.
fn read_head(key: &[u8; 32], head: &[u8; HEAD_BYTES]) -> Option<usize> {
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let size = usize::try_from(length).ok()?;
    (size <= RECORD_BYTES_MAX && head[4..] == length_check(key, length)).then_some(size)
}

impl Journal {
    /// Opens the journal in `dir`, creating it with `first()` as its first record, and hands every
    /// record to `each` with its offset. A torn tail is cut.
    ///
    /// # Errors
    /// Input/output, a lock held elsewhere, corruption before the tail, or whatever `each` returns.
    pub fn open(
        dir: &Path,
        fsync: bool,
        first: impl FnOnce() -> Vec<u8>,
        mut each: impl FnMut(&Path, u64, &[u8]) -> Result<(), DevChainError>,
    ) -> Result<Self, DevChainError> {
        let path = dir.join(FILE_NAME);
        fs::create_dir_all(dir).map_err(failed("create folder", dir))?;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        {
            // Runs hold the seed of future randomness.
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let file = options.open(&path).map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DevChainError::Locked { path }),
            Err(TryLockError::Error(e)) => return Err(failed("lock", &path)(e)),
        }
        let mut journal = Self {
            file,
            path,
            len: 0,
            fsync,
            key: FIRST_KEY,
        };
        let mut size = journal
            .file
            .metadata()
            .map_err(failed("read", &journal.path))?
            .len();
        if size == 0 || journal.creation_was_interrupted(size)? {
            size = journal.create(dir, &first())?;
        }
        journal.replay(size, &mut each)?;
        if journal.len < size {
            journal.cut_tail(size)?;
        }
        Ok(journal)
    }

    /// Appends one record; when this returns, it survives a crash of the process, and with `fsync`
    /// also a loss of power.
    ///
    /// # Errors
    /// Input/output; the record may then be half written and the caller must stop using the journal.
    pub fn append(&mut self, payload: &[u8]) -> Result<(), DevChainError> {
        if payload.len() > RECORD_BYTES_MAX {
            return Err(DevChainError::Config(format!(
                "a record of {} bytes exceeds {RECORD_BYTES_MAX}",
                payload.len()
            )));
        }
        let frame = frame(&self.key, payload);
        self.file
            .write_all(&frame)
            .map_err(failed("append to", &self.path))?;
        if self.fsync {
            self.file.sync_data().map_err(failed("sync", &self.path))?;
        }
        self.len += frame.len() as u64;
        Ok(())
    }

    /// Whether the file is the intact beginning of a first frame that was never finished.
    fn creation_was_interrupted(&mut self, size: u64) -> Result<bool, DevChainError> {
        if size < HEAD_BYTES as u64 {
            return Ok(false);
        }
        let mut head = [0; HEAD_BYTES];
        self.file
            .read_exact(&mut head)
            .map_err(failed("read", &self.path))?;
        self.file.rewind().map_err(failed("read", &self.path))?;
        Ok(
            read_head(&FIRST_KEY, &head)
                .is_some_and(|n| (HEAD_BYTES + n + SUM_BYTES) as u64 > size),
        )
    }

    /// Makes the file hold just its first record, and durable, name included; returns its length.
    fn create(&mut self, dir: &Path, first: &[u8]) -> Result<u64, DevChainError> {
        let frame = frame(&FIRST_KEY, first);
        self.file
            .set_len(0)
            .map_err(failed("shorten", &self.path))?;
        self.file
            .write_all(&frame)
            .map_err(failed("write", &self.path))?;
        self.file.sync_all().map_err(failed("sync", &self.path))?;
        self.file.rewind().map_err(failed("read", &self.path))?;
        // Makes the new name durable; folders cannot be synced on every system.
        #[cfg(unix)]
        File::open(dir)
            .and_then(|d| d.sync_all())
            .map_err(failed("sync folder", dir))?;
        #[cfg(not(unix))]
        let _ = dir;
        Ok(frame.len() as u64)
    }

    /// Lets every later append fail, as a full disk would.
    #[cfg(test)]
    pub fn break_writes(&mut self) {
        self.file = File::open(&self.path).expect("the journal exists");
    }

    /// Length of the file in bytes.
    #[cfg(test)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Reads frames until the end or the first damaged one; `self.len` ends up behind the last good frame.
    fn replay(
        &mut self,
        size: u64,
        each: &mut impl FnMut(&Path, u64, &[u8]) -> Result<(), DevChainError>,
    ) -> Result<(), DevChainError> {
        let mut input = BufReader::with_capacity(1 << 16, &self.file);
        let mut payload = Vec::new();
        while size - self.len >= (HEAD_BYTES + SUM_BYTES) as u64 {
            let mut head = [0; HEAD_BYTES];
            input
                .read_exact(&mut head)
                .map_err(failed("read", &self.path))?;
            let Some(length) = read_head(&self.key, &head) else {
                return Ok(());
            };
            let total = (HEAD_BYTES + length + SUM_BYTES) as u64;
            if size - self.len < total {
                return Ok(());
            }
            payload.resize(length, 0);
            input
                .read_exact(&mut payload)
                .map_err(failed("read", &self.path))?;
            let mut sum = [0; SUM_BYTES];
            input
                .read_exact(&mut sum)
                .map_err(failed("read", &self.path))?;
            if sum != checksum(&self.key, &payload) {
                return Ok(());
            }
            each(&self.path, self.len, &payload)?;
            if self.len == 0 {
                self.key = *blake3::hash(&payload).as_bytes();
            }
            self.len += total;
        }
        Ok(())
    }

    /// Cuts everything after the last good frame, unless another good frame follows.
    fn cut_tail(&mut self, size: u64) -> Result<(), DevChainError> {
        let mut rest = Vec::new();
        self.file
            .seek(SeekFrom::Start(self.len))
            .map_err(failed("read", &self.path))?;
        (&self.file)
            .take(size - self.len)
            .read_to_end(&mut rest)
            .map_err(failed("read", &self.path))?;
        if self.len == 0 || holds_valid_frame(&self.key, &rest) {
            let detail = if self.len == 0 {
                "the header record is unreadable"
            } else {
                "checksum mismatch, valid records follow"
            };
            return Err(DevChainError::Corrupt {
                path: self.path.clone(),
                offset: self.len,
                detail: detail.to_owned(),
            });
        }
        tracing::warn!(
            path = %self.path.display(),
            offset = self.len,
            bytes = rest.len(),
            "cut an unfinished record from the end of the development chain's journal"
        );
        self.file
            .set_len(self.len)
            .map_err(failed("shorten", &self.path))?;
        self.file.sync_all().map_err(failed("sync", &self.path))
    }
}

/// Whether a complete valid frame starts anywhere in `rest` after its first byte.
fn holds_valid_frame(key: &[u8; 32], rest: &[u8]) -> bool {
    (1..rest.len().saturating_sub(HEAD_BYTES + SUM_BYTES - 1)).any(|start| {
        let mut head = [0; HEAD_BYTES];
        head.copy_from_slice(&rest[start..start + HEAD_BYTES]);
        let Some(length) = read_head(key, &head) else {
            return false;
        };
        let body = &rest[start + HEAD_BYTES..];
        let Some((payload, tail)) = body.split_at_checked(length) else {
            return false;
        };
        tail.get(..SUM_BYTES)
            .is_some_and(|sum| sum == checksum(key, payload))
    })
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> DevChainError {
    let path = path.to_owned();
    move |source| DevChainError::Io {
        action,
        path: path.clone(),
        source,
    }
}
