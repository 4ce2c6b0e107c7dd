//! Giving disk space back: shards nobody tags, and segments that are mostly void.
//!
//! A shard is removed when it has had no tag for a given time, as observed by the collections
//! themselves: the first one that sees it without a tag notes the time it was given. So a shard
//! that just lost its last tag, or just arrived, gets the full time, and no clock is read here.

use std::sync::Arc;

use super::ShardHash;
use super::index::{self, Place, Row, ShardTables};
use super::segment::{self, SEGMENT_DIR};
use super::state::Placing;
use super::{place, read};
use crate::error::StoreError;
use crate::store::Inner;

/// Shards looked at per transaction.
const PAGE: usize = 1_000;
/// Bytes moved per transaction when a segment is emptied (8 MiB).
const MOVE_BYTES: u64 = 8 << 20;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Shards removed because no tag held them.
    pub shards_removed: u64,
    /// Their bytes.
    pub bytes_removed: u64,
    /// Shards copied out of mostly void segments.
    pub shards_moved: u64,
    /// Shards dropped because their bytes turned out damaged while being moved.
    pub shards_damaged: u64,
    /// Segment files removed.
    pub segments_removed: u64,
}

/// Runs one collection; times in milliseconds of any one clock.
pub(crate) fn gc(inner: &Arc<Inner>, now_ms: u64, age_ms: u64) -> Result<GcReport, StoreError> {
    let mut report = GcReport::default();
    let mut after = None;
    loop {
        // The lock is taken per page, so that arriving shards wait for one page at most.
        let mut placing = inner.lock(&inner.placing)?;
        inner.check()?;
        let page = inner.guard(collect_page(inner, &mut placing, after, now_ms, age_ms))?;
        report.shards_removed += page.removed;
        report.bytes_removed += page.bytes;
        after = page.last;
        if after.is_none() {
            break;
        }
    }
    loop {
        let mut placing = inner.lock(&inner.placing)?;
        inner.check()?;
        if !inner.guard(empty_one_segment(inner, &mut placing, &mut report))? {
            return Ok(report);
        }
    }
}

struct Page {
    removed: u64,
    bytes: u64,
    /// Where the next page begins; `None` after the last.
    last: Option<ShardHash>,
}

fn collect_page(
    inner: &Inner,
    placing: &mut Placing,
    after: Option<ShardHash>,
    now_ms: u64,
    age_ms: u64,
) -> Result<Page, StoreError> {
    let mut books = placing.books.clone();
    let mut files = Vec::new();
    let mut gone = Vec::new();
    let mut page = Page {
        removed: 0,
        bytes: 0,
        last: None,
    };
    inner.engine.write(|txn| {
        let mut tables = ShardTables::open(&inner.engine, txn)?;
        let idle = tables.idle(PAGE, after.as_ref())?;
        if idle.len() == PAGE {
            page.last = idle.last().map(|(hash, _)| *hash);
        }
        for (hash, noted) in idle {
            // Zero means "not seen yet", so a clock at zero counts from one.
            let since = if noted == 0 { now_ms.max(1) } else { noted };
            let old = noted != 0 || age_ms == 0;
            if !(old && now_ms.saturating_sub(since) >= age_ms) {
                if noted == 0 {
                    tables.set_idle_since(&hash, since)?;
                }
                continue;
            }
            let Some(row) = tables.row(&hash)? else {
                return Err(inner.engine.damaged("an idle row"));
            };
            tables.drop_shard(&hash, row, &mut books)?;
            page.removed += 1;
            page.bytes += row.size;
            gone.push(hash);
            if row.place == Place::File {
                files.push(hash);
            }
        }
        tables.save_books(&placing.books, &books)
    })?;
    placing.books = books;
    place::update_accounts(inner, placing)?;
    let mut verified = inner.lock(&inner.verified)?;
    gone.iter().for_each(|hash| verified.remove(hash));
    drop(verified);
    place::unlink(inner, &files)?;
    Ok(page)
}

/// Moves what is live out of one segment that is more than half void, and removes it; `false`
/// when there is none. While the move runs the segment and its copy both take space.
fn empty_one_segment(
    inner: &Inner,
    placing: &mut Placing,
    report: &mut GcReport,
) -> Result<bool, StoreError> {
    let books = &placing.books;
    let mut worth = books
        .segments
        .iter()
        .filter(|(_, s)| s.live < s.len - s.live.min(s.len));
    let Some((&id, _)) = worth.next() else {
        return Ok(false);
    };
    if placing
        .active
        .as_ref()
        .is_some_and(|active| active.id() == id)
    {
        placing.active = None;
    }
    let mut members = Vec::new();
    index::visit_rows(&inner.engine, &inner.engine.read()?, None, |hash, row| {
        if matches!(row.place, Place::Segment { id: at, .. } if at == id) {
            members.push((hash, row));
        }
        true
    })?;
    // In file order the copy reads forward.
    members.sort_by_key(|(_, row)| match row.place {
        Place::Segment { offset, .. } => offset,
        Place::Inline | Place::File => 0,
    });
    let mut rest = &members[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|(_, row)| {
                let fits = bytes == 0 || bytes + row.size <= MOVE_BYTES;
                bytes += row.size;
                fits
            })
            .count();
        let (group, behind) = rest.split_at(count);
        move_group(inner, placing, group, report)?;
        rest = behind;
    }
    let mut books = placing.books.clone();
    books.segments.remove(&id);
    inner
        .engine
        .write(|txn| ShardTables::open(&inner.engine, txn)?.save_books(&placing.books, &books))?;
    placing.books = books;
    place::update_accounts(inner, placing)?;
    // Not in the books any more: were the removal lost, the next opening would repeat it.
    inner.disk.remove_file(&segment::path(&inner.dir, id))?;
    inner.disk.sync_dir(&inner.dir.join(SEGMENT_DIR))?;
    report.segments_removed += 1;
    Ok(true)
}

fn move_group(
    inner: &Inner,
    placing: &mut Placing,
    group: &[(ShardHash, Row)],
    report: &mut GcReport,
) -> Result<(), StoreError> {
    // All reads come before the first append: a read can fail without stopping the handle, and
    // must then leave nothing half done.
    let mut copies = Vec::with_capacity(group.len());
    for (hash, row) in group {
        copies.push((*hash, *row, read::whole(inner, hash, *row)?));
    }
    let mut books = placing.books.clone();
    let mut moves = Vec::with_capacity(group.len());
    for (hash, row, bytes) in copies {
        let mut to = None;
        if let Some(bytes) = bytes {
            let (id, offset) = segment::append(
                &inner.disk,
                &inner.dir,
                &mut placing.active,
                &mut books,
                inner.segment_bytes,
                &bytes,
            )?;
            let place = Place::Segment { id, offset };
            to = Some(Row { place, ..row });
        }
        moves.push((hash, row, to));
    }
    if let Some(active) = &mut placing.active {
        active.sync(&inner.disk)?;
    }
    inner.engine.write(|txn| {
        let mut tables = ShardTables::open(&inner.engine, txn)?;
        for (hash, from, to) in &moves {
            // A tag or untag may have come between; nothing else changes rows without the lock.
            match to {
                Some(to) => tables.relocate(hash, *from, *to, &mut books)?,
                None => tables.drop_shard(hash, *from, &mut books)?,
            }
        }
        tables.save_books(&placing.books, &books)
    })?;
    placing.books = books;
    let damaged = moves.iter().filter(|(_, _, to)| to.is_none()).count() as u64;
    report.shards_damaged += damaged;
    report.shards_moved += moves.len() as u64 - damaged;
    place::update_accounts(inner, placing)
}
