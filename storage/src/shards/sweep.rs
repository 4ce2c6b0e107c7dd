//! What opening does about a crash: remove what nobody knows, cut what was not committed, drop
//! what is gone.
//!
//! The work is bounded by what was unfinished, not by what is stored: no shard is read and no
//! shard directory is walked. Only when a segment lost committed bytes is the index scanned.

use std::fs;
use std::io;
use std::path::Path;

use super::ShardHash;
use super::file::{self, FILE_DIR, INCOMING_DIR, INTENT_SUFFIX, PART_SUFFIX};
use super::index::{self, Place, ShardTables};
use super::segment::{self, Active, SEGMENT_DIR};
use super::state::Placing;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::StoreError;

/// Files handled per transaction.
const PAGE: usize = 1_000;

/// What opening put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Files of shards whose reception was cut.
    pub parts_removed: u64,
    /// Shard files that had their name but no index row, or lost their row but not their file.
    pub orphans_removed: u64,
    /// Segment files that no committed shard is in.
    pub segments_removed: u64,
    /// Bytes cut from the ends of segments, never committed.
    pub void_bytes: u64,
    /// Shards dropped because a segment lost committed bytes. Anything but zero means a failing
    /// disk or a foreign hand.
    pub shards_lost: u64,
}

/// Brings files and index into agreement and answers where to go on.
pub(crate) fn sweep(
    disk: &Disk,
    dir: &Path,
    engine: &Engine,
) -> Result<(Placing, SweepReport), StoreError> {
    for name in [SEGMENT_DIR, FILE_DIR, INCOMING_DIR] {
        disk.create_dir_all(&dir.join(name))?;
    }
    let mut report = SweepReport::default();
    sweep_incoming(disk, dir, engine, &mut report)?;
    sweep_doomed(disk, dir, engine, &mut report)?;
    let placing = sweep_segments(disk, dir, engine, &mut report)?;
    Ok((placing, report))
}

/// Names of the plain files in `dir`.
fn file_names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    };
    list().map_err(|e| StoreError::io("list", dir, e))
}

fn sweep_incoming(
    disk: &Disk,
    dir: &Path,
    engine: &Engine,
    report: &mut SweepReport,
) -> Result<(), StoreError> {
    let incoming = dir.join(INCOMING_DIR);
    let txn = engine.read()?;
    for name in file_names(&incoming)? {
        if name.ends_with(PART_SUFFIX) {
            disk.remove_file(&incoming.join(&name))?;
            report.parts_removed += 1;
            continue;
        }
        let hash = name
            .strip_suffix(INTENT_SUFFIX)
            .map(str::parse::<ShardHash>);
        let Some(Ok(hash)) = hash else {
            continue;
        };
        if index::row(engine, &txn, &hash)?.is_none() && file::path(dir, &hash).exists() {
            file::remove_all(disk, dir, &[hash])?;
            report.orphans_removed += 1;
        }
        // Last: while the marker is there the removal can be repeated.
        disk.remove_file(&incoming.join(&name))?;
    }
    Ok(())
}

fn sweep_doomed(
    disk: &Disk,
    dir: &Path,
    engine: &Engine,
    report: &mut SweepReport,
) -> Result<(), StoreError> {
    loop {
        let txn = engine.read()?;
        let doomed = index::doomed(engine, &txn, PAGE)?;
        if doomed.is_empty() {
            return Ok(());
        }
        let mut files = Vec::new();
        for hash in &doomed {
            // A row in both tables cannot be (adding clears the note); keep the shard if it is.
            if index::row(engine, &txn, hash)?.is_none() && file::path(dir, hash).exists() {
                files.push(*hash);
            }
        }
        drop(txn);
        file::remove_all(disk, dir, &files)?;
        report.orphans_removed += files.len() as u64;
        engine.write(|txn| {
            let mut tables = ShardTables::open(engine, txn)?;
            doomed.iter().try_for_each(|hash| tables.clear_doomed(hash))
        })?;
    }
}

fn sweep_segments(
    disk: &Disk,
    dir: &Path,
    engine: &Engine,
    report: &mut SweepReport,
) -> Result<Placing, StoreError> {
    let mut books = {
        let txn = engine.read()?;
        index::books(engine, &txn)?
    };
    let segments = dir.join(SEGMENT_DIR);
    for name in file_names(&segments)? {
        let path = segments.join(&name);
        match segment::parse_name(&name) {
            Some(id) if !books.segments.contains_key(&id) => {
                disk.remove_file(&path)?;
                report.segments_removed += 1;
            }
            _ => {}
        }
    }
    if report.segments_removed > 0 {
        disk.sync_dir(&segments)?;
    }
    let mut short = Vec::new();
    for (id, segment) in &books.segments {
        let path = segment::path(dir, *id);
        let found = match fs::metadata(&path) {
            Ok(meta) => Some(meta.len()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(StoreError::io("read", &path, e)),
        };
        match found {
            Some(len) if len > segment.len => {
                let file = fs::OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .map_err(|e| StoreError::io("open", &path, e))?;
                disk.set_len(&file, &path, segment.len)?;
                disk.sync_file(&file, &path)?;
                report.void_bytes += len - segment.len;
            }
            Some(len) if len == segment.len => {}
            found => short.push((*id, found)),
        }
    }
    for (id, found) in short {
        let before = books.clone();
        let lost = lost_members(engine, id, found.unwrap_or(0))?;
        engine.write(|txn| {
            let mut tables = ShardTables::open(engine, txn)?;
            for (hash, row) in &lost {
                tables.drop_shard(hash, *row, &mut books)?;
            }
            match (books.segments.get_mut(&id), found) {
                (Some(segment), Some(len)) => segment.len = len,
                _ => {
                    books.segments.remove(&id);
                }
            }
            tables.save_books(&before, &books)
        })?;
        report.shards_lost += lost.len() as u64;
    }
    let last = books.segments.iter().next_back();
    let active = last
        .map(|(id, segment)| Active::resume(dir, *id, segment.len))
        .transpose()?;
    Ok(Placing { books, active })
}

/// Shards of segment `id` that reach beyond `len`.
fn lost_members(
    engine: &Engine,
    id: u32,
    len: u64,
) -> Result<Vec<(ShardHash, index::Row)>, StoreError> {
    let mut lost = Vec::new();
    index::visit_rows(engine, &engine.read()?, None, |hash, row| {
        if let Place::Segment { id: at, offset } = row.place
            && at == id
            && offset + row.size > len
        {
            lost.push((hash, row));
        }
        true
    })?;
    Ok(lost)
}
