//! Large shards: one file each, named by hash in two levels of directories.
//!
//! A file reaches its name only when its content is checked and durable. The name appears before
//! the index row, so a crash between the two leaves a file nobody knows; a marker in `incoming`,
//! made durable first, lets the next opening find it without walking all shards.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::ShardHash;
use crate::disk::Disk;
use crate::error::StoreError;

/// Directory of the shard files.
pub(crate) const FILE_DIR: &str = "blobs";
/// Directory of what is being received, and of the markers.
pub(crate) const INCOMING_DIR: &str = "incoming";
/// Ending of files being received.
pub(crate) const PART_SUFFIX: &str = ".part";
/// Ending of markers.
pub(crate) const INTENT_SUFFIX: &str = ".intent";

/// Path of a shard's file: `blobs/ab/cd/<64 digits>`.
pub(crate) fn path(dir: &Path, hash: &ShardHash) -> PathBuf {
    let name = hash.to_string();
    dir.join(FILE_DIR)
        .join(&name[..2])
        .join(&name[2..4])
        .join(name)
}

/// Path of the marker of a shard about to get its name.
pub(crate) fn intent_path(dir: &Path, hash: &ShardHash) -> PathBuf {
    dir.join(INCOMING_DIR)
        .join(format!("{hash}{INTENT_SUFFIX}"))
}

/// A file being received; removed when dropped before it got its name.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    disk: Disk,
    kept: bool,
}

impl Part {
    /// Creates the part numbered `number` of this run.
    pub(crate) fn create(disk: &Disk, dir: &Path, number: u64) -> Result<Self, StoreError> {
        let path = dir
            .join(INCOMING_DIR)
            .join(format!("{number:016x}{PART_SUFFIX}"));
        Ok(Self {
            file: disk.create_file(&path)?,
            path,
            disk: disk.clone(),
            kept: false,
        })
    }

    /// Appends at `offset`, the number of bytes written so far.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.disk
            .write_at(&mut self.file, &self.path, offset, bytes)
    }

    /// Makes the content durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.disk.sync_file(&self.file, &self.path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort: the next opening removes what stays.
            let _ = self.disk.remove_file(&self.path);
        }
    }
}

/// Gives checked, durable parts their names: markers first, then names, both durable.
pub(crate) fn promote(
    disk: &Disk,
    dir: &Path,
    parts: &mut [(ShardHash, Part)],
) -> Result<(), StoreError> {
    if parts.is_empty() {
        return Ok(());
    }
    for (hash, _) in parts.iter() {
        let marker = intent_path(dir, hash);
        disk.remove_file(&marker)?;
        disk.create_file(&marker)?;
    }
    disk.sync_dir(&dir.join(INCOMING_DIR))?;
    let mut parents = BTreeSet::new();
    for (hash, part) in parts.iter_mut() {
        let path = path(dir, hash);
        if let Some(parent) = path.parent() {
            disk.create_dir_all(parent)?;
            parents.insert(parent.to_owned());
        }
        disk.rename(&part.path, &path)?;
        part.kept = true;
    }
    parents.iter().try_for_each(|parent| disk.sync_dir(parent))
}

/// Removes the markers of shards that are indexed now. A marker that stays harms nobody.
pub(crate) fn clear_intents<'a>(
    disk: &Disk,
    dir: &Path,
    hashes: impl Iterator<Item = &'a ShardHash>,
) {
    for hash in hashes {
        let _ = disk.remove_file(&intent_path(dir, hash));
    }
}

/// Removes shard files, durably.
pub(crate) fn remove_all(disk: &Disk, dir: &Path, hashes: &[ShardHash]) -> Result<(), StoreError> {
    let mut parents = BTreeSet::new();
    for hash in hashes {
        let path = path(dir, hash);
        if path.exists() {
            disk.remove_file(&path)?;
            parents.extend(path.parent().map(Path::to_owned));
        }
    }
    parents.iter().try_for_each(|parent| disk.sync_dir(parent))
}
