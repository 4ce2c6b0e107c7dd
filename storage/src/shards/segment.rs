//! Shards appended to segment files: raw bytes end to end, located by the index.
//!
//! A segment only grows, up to its limit; then the next one is begun. Bytes behind the committed
//! length are void: they were never indexed, and opening cuts them off. Numbers are never reused,
//! so a reader holding an old location can find its file gone but never other bytes in it.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use super::state::Books;
use crate::disk::Disk;
use crate::error::StoreError;

/// Largest shard kept in a segment, bytes (256 KiB).
pub const SEGMENT_SHARD_BYTES_MAX: u64 = 256 << 10;
/// Default size at which a segment is full, bytes (256 MiB).
pub const SEGMENT_BYTES_DEFAULT: u64 = 256 << 20;
/// Smallest segment limit: one shard must fit, bytes.
pub const SEGMENT_BYTES_MIN: u64 = SEGMENT_SHARD_BYTES_MAX;
/// Directory of the segment files.
pub(crate) const SEGMENT_DIR: &str = "segments";

/// Path of segment `id` in data directory `dir`: eight lower-case hexadecimal digits, `.seg`.
pub(crate) fn path(dir: &Path, id: u32) -> PathBuf {
    dir.join(SEGMENT_DIR).join(format!("{id:08x}.seg"))
}

/// The number in a segment's file name; `None` for any other name.
pub(crate) fn parse_name(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    let id = u32::from_str_radix(digits, 16).ok()?;
    (format!("{id:08x}") == digits).then_some(id)
}

/// The segment being appended to.
#[derive(Debug)]
pub(crate) struct Active {
    id: u32,
    path: PathBuf,
    file: File,
    /// End of what was written, committed or not.
    tail: u64,
    dirty: bool,
}

impl Active {
    /// The segment's number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Goes on with a segment that has room left.
    pub(crate) fn resume(dir: &Path, id: u32, tail: u64) -> Result<Self, StoreError> {
        let path = path(dir, id);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| StoreError::io("open", &path, e))?;
        Ok(Self {
            id,
            path,
            file,
            tail,
            dirty: false,
        })
    }

    fn begin(disk: &Disk, dir: &Path, books: &mut Books) -> Result<Self, StoreError> {
        let id = books.totals.next_segment;
        let path = path(dir, id);
        books.totals.next_segment = id.checked_add(1).ok_or_else(|| StoreError::Damaged {
            what: "the segment counter".to_owned(),
            path: path.clone(),
        })?;
        let file = disk.create_file(&path)?;
        disk.sync_dir(&dir.join(SEGMENT_DIR))?;
        Ok(Self {
            id,
            path,
            file,
            tail: 0,
            dirty: false,
        })
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&mut self, disk: &Disk) -> Result<(), StoreError> {
        if self.dirty {
            disk.sync_file(&self.file, &self.path)?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// Appends `bytes` to the active segment, beginning another when it would exceed `limit`; answers
/// the segment and the offset. Durable only after [`Active::sync`].
pub(crate) fn append(
    disk: &Disk,
    dir: &Path,
    active: &mut Option<Active>,
    books: &mut Books,
    limit: u64,
    bytes: &[u8],
) -> Result<(u32, u64), StoreError> {
    let len = bytes.len() as u64;
    let current = match active {
        Some(current) if current.tail + len <= limit => current,
        _ => {
            if let Some(full) = active {
                full.sync(disk)?;
            }
            active.insert(Active::begin(disk, dir, books)?)
        }
    };
    let offset = current.tail;
    disk.write_at(&mut current.file, &current.path, offset, bytes)?;
    current.tail += len;
    current.dirty = true;
    Ok((current.id, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_this_module_writes_are_segments() {
        assert_eq!(parse_name("000000ff.seg"), Some(255));
        for other in ["ff.seg", "000000FF.seg", "000000ff", "+00000ff.seg", ".seg"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
