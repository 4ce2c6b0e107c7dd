//! Crashes at every step: the process killed, and the power cut.
//!
//! A hook rebuilds, before each step, the exact bytes a crash at that moment would leave, opens
//! them as a directory of their own and checks it. A killed process leaves everything written; a
//! power cut leaves what was synced, and of the rest nothing or any part.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use assay_storage::{DiskHook, DiskStep, ShardHash, Store};

use crate::support::{
    Ledger, blob, check_after_failure, copy_tree, drive, hooked, open, options, workload,
};

/// Runs checks inside a hook. A panic must not unwind through the engine, whose own clean-up would
/// then abort the process: the first one is noted (its message is printed) and ends the checks.
#[derive(Default)]
struct Checks {
    failed: AtomicBool,
}

impl Checks {
    fn run(&self, check: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(check)).is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn assert_passed(&self) {
        assert!(!self.failed(), "a crash was not survived, see above");
    }
}

/// Copies the live directory before each step.
struct Killed {
    live: PathBuf,
    images: PathBuf,
    ledger: Ledger,
    checks: Checks,
    taken: Mutex<u64>,
}

impl DiskHook for Killed {
    fn before(&self, step: DiskStep<'_>) -> io::Result<()> {
        if self.checks.failed() {
            return Ok(());
        }
        let mut taken = self.taken.lock().unwrap();
        let image = self.images.join(taken.to_string());
        copy_tree(&self.live, &image);
        let promised = self.ledger.lock().unwrap().clone();
        let what = format!("killed at step {taken}, {step:?}");
        self.checks
            .run(|| check_after_failure(&image, &promised, &what));
        fs::remove_dir_all(&image).unwrap();
        *taken += 1;
        Ok(())
    }
}

#[test]
fn a_process_killed_at_any_step_loses_nothing_promised_and_shows_nothing_unverified() {
    let home = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let hook = Arc::new(Killed {
        live: home.path().join("live"),
        images: home.path().join("images"),
        ledger: Arc::clone(&ledger),
        checks: Checks::default(),
        taken: Mutex::default(),
    });
    let store = workload(&home.path().join("live"), hooked(hook.clone()), &ledger).unwrap();
    drop(store);
    hook.checks.assert_passed();
    assert!(*hook.taken.lock().unwrap() > 100);
}

/// A change to a file's content that is not durable yet.
#[derive(Clone)]
enum Pending {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

/// A file apart from its name: what is durable, and what is on its way.
#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

/// A step seen but not yet known to be made.
enum Made {
    Create(PathBuf),
    Write(PathBuf, u64, u64),
    SetLen(PathBuf, u64),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
}

/// What the disk would hold if the power went now. Paths are relative to the live directory.
#[derive(Default)]
struct Platter {
    contents: Vec<Content>,
    names_live: BTreeMap<PathBuf, usize>,
    names_durable: BTreeMap<PathBuf, usize>,
    newest_name: Option<PathBuf>,
    last: Option<Made>,
    taken: u64,
}

/// Which of the changes on their way survive.
#[derive(Clone, Copy, Debug)]
enum Survives {
    /// No content and no name.
    Nothing,
    /// All names, no content.
    Names,
    /// The newest name alone, no content: names reach the disk in any order.
    NewestName,
    /// Content and names of whole directories by chance.
    Some(u64),
}

/// A small generator (xorshift), so that a failing run comes back.
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 64 != 0
    }
}

const SECTOR: usize = 512;

impl Platter {
    /// Enters the step that has been made since the last call.
    fn settle(&mut self, live: &Path) {
        let Some(made) = self.last.take() else {
            return;
        };
        match made {
            Made::Create(path) => {
                self.contents.push(Content::default());
                self.newest_name = Some(path.clone());
                self.names_live.insert(path, self.contents.len() - 1);
            }
            Made::Write(path, offset, len) => {
                let mut bytes = vec![0; len as usize];
                let mut file = fs::File::open(live.join(&path)).unwrap();
                file.seek(SeekFrom::Start(offset)).unwrap();
                file.read_exact(&mut bytes).unwrap();
                self.content(&path)
                    .pending
                    .push(Pending::Write { offset, bytes });
            }
            Made::SetLen(path, len) => self.content(&path).pending.push(Pending::SetLen(len)),
            Made::Sync(path) => {
                let bytes = fs::read(live.join(&path)).unwrap();
                let content = self.content(&path);
                content.durable = bytes;
                content.pending.clear();
            }
            Made::Rename(from, to) => {
                let id = self.names_live.remove(&from).unwrap();
                self.newest_name = Some(to.clone());
                self.names_live.insert(to, id);
            }
            Made::Remove(path) => {
                self.names_live.remove(&path);
            }
            Made::SyncDir(dir) => {
                let inside = |path: &Path| path.parent() == Some(&dir);
                self.names_durable.retain(|path, _| !inside(path));
                let live = self.names_live.iter().filter(|(path, _)| inside(path));
                self.names_durable
                    .extend(live.map(|(path, id)| (path.clone(), *id)));
            }
        }
    }

    fn content(&mut self, path: &Path) -> &mut Content {
        let id = self.names_live[path];
        &mut self.contents[id]
    }

    /// Writes what is left to `image`.
    fn build(&self, image: &Path, survives: Survives) {
        fs::create_dir_all(image).unwrap();
        let mut coin = Coin(match survives {
            Survives::Some(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            _ => 1,
        });
        let mut names = BTreeMap::new();
        let dirs = self.names_live.keys().chain(self.names_durable.keys());
        let dirs: BTreeSet<_> = dirs
            .into_iter()
            .map(|path| path.parent().unwrap())
            .collect();
        for dir in dirs {
            let live = match survives {
                Survives::Nothing | Survives::NewestName => false,
                Survives::Names => true,
                Survives::Some(_) => coin.toss(),
            };
            let all = if live {
                &self.names_live
            } else {
                &self.names_durable
            };
            names.extend(all.iter().filter(|(path, _)| path.parent() == Some(dir)));
        }
        if let (Survives::NewestName, Some(path)) = (survives, &self.newest_name)
            && let Some(id) = self.names_live.get(path)
        {
            names.insert(path, id);
        }
        for (path, id) in names {
            let target = image.join(path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            let content = &self.contents[*id];
            let mut bytes = content.durable.clone();
            if let Survives::Some(_) = survives {
                for pending in &content.pending {
                    apply_some(&mut bytes, pending, &mut coin);
                }
            }
            fs::write(target, bytes).unwrap();
        }
    }
}

fn apply_some(file: &mut Vec<u8>, pending: &Pending, coin: &mut Coin) {
    match pending {
        Pending::SetLen(len) => {
            if coin.toss() {
                file.resize(*len as usize, 0);
            }
        }
        Pending::Write { offset, bytes } => {
            for (i, sector) in bytes.chunks(SECTOR).enumerate() {
                if coin.toss() {
                    let start = *offset as usize + i * SECTOR;
                    if file.len() < start + sector.len() {
                        file.resize(start + sector.len(), 0);
                    }
                    file[start..start + sector.len()].copy_from_slice(sector);
                }
            }
        }
    }
}

struct PowerCut {
    live: PathBuf,
    images: PathBuf,
    ledger: Ledger,
    checks: Checks,
    platter: Mutex<Platter>,
}

impl DiskHook for PowerCut {
    fn before(&self, step: DiskStep<'_>) -> io::Result<()> {
        if self.checks.failed() {
            return Ok(());
        }
        let mut platter = self.platter.lock().unwrap();
        platter.settle(&self.live);
        let promised = self.ledger.lock().unwrap().clone();
        let taken = platter.taken;
        let fixed = [Survives::Nothing, Survives::Names, Survives::NewestName];
        for survives in fixed.into_iter().chain([Survives::Some(taken)]) {
            let image = self.images.join(taken.to_string());
            platter.build(&image, survives);
            let what = format!("power cut at step {taken}, {step:?}, surviving: {survives:?}");
            self.checks
                .run(|| check_after_failure(&image, &promised, &what));
            fs::remove_dir_all(&image).unwrap();
        }
        let inside = |path: &Path| path.strip_prefix(&self.live).ok().map(Path::to_owned);
        platter.last = match step {
            DiskStep::CreateDir { .. } => None,
            DiskStep::CreateFile { path } => inside(path).map(Made::Create),
            DiskStep::Write { path, offset, len } => {
                inside(path).map(|path| Made::Write(path, offset, len))
            }
            DiskStep::SetLen { path, len } => inside(path).map(|path| Made::SetLen(path, len)),
            DiskStep::SyncFile { path } => inside(path).map(Made::Sync),
            DiskStep::Rename { from, to } => inside(from)
                .zip(inside(to))
                .map(|(from, to)| Made::Rename(from, to)),
            DiskStep::RemoveFile { path } => inside(path).map(Made::Remove),
            DiskStep::SyncDir { path } => inside(path).map(Made::SyncDir),
        };
        platter.taken += 1;
        Ok(())
    }
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_promised_and_shows_nothing_unverified() {
    let home = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let hook = Arc::new(PowerCut {
        live: home.path().join("live"),
        images: home.path().join("images"),
        ledger: Arc::clone(&ledger),
        checks: Checks::default(),
        platter: Mutex::default(),
    });
    let store = workload(&home.path().join("live"), hooked(hook.clone()), &ledger).unwrap();
    drop(store);
    hook.checks.assert_passed();
    assert!(hook.platter.lock().unwrap().taken > 100);
}

#[test]
fn the_torn_tail_of_a_segment_is_cut_and_written_over() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let first = store.shards().put(&blob(1, 10_000)).unwrap();
    drop(store);
    let path = home.path().join("segments/00000000.seg");
    let mut bytes = fs::read(&path).unwrap();
    // Half of the next shard reached the disk, its index row did not.
    bytes.extend(&blob(2, 20_000)[..9_000]);
    fs::write(&path, &bytes).unwrap();
    let store = open(home.path());
    assert_eq!(store.swept().void_bytes, 9_000);
    assert_eq!(fs::metadata(&path).unwrap().len(), 10_000);
    assert_eq!(store.shards().list(9, None).unwrap(), [(first, 10_000)]);
    let second = store.shards().put(&blob(2, 20_000)).unwrap();
    store.shards().verify(&first).unwrap();
    store.shards().verify(&second).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 30_000);
}

#[test]
fn parts_orphans_and_unknown_segments_are_swept_and_foreign_files_are_left() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let hash = store.shards().put(&blob(1, 300_000)).unwrap();
    drop(store);
    let at = |name: &str| home.path().join(name);
    let orphan = ShardHash::of(&blob(2, 300_000));
    let name = orphan.to_string();
    let orphan_dir = at("blobs").join(&name[..2]).join(&name[2..4]);
    fs::create_dir_all(&orphan_dir).unwrap();
    fs::write(orphan_dir.join(&name), blob(2, 300_000)).unwrap();
    // Markers: of the orphan, of a stored shard, of one that never got its name.
    for marked in [orphan, hash, ShardHash([9; 32])] {
        fs::write(at("incoming").join(format!("{marked}.intent")), b"").unwrap();
    }
    fs::write(at("incoming/0000000000000001.part"), b"half a shard").unwrap();
    fs::write(at("incoming/notes.txt"), b"not ours").unwrap();
    fs::write(at("segments/00000007.seg"), b"never committed").unwrap();
    let store = open(home.path());
    let swept = *store.swept();
    assert_eq!(
        (
            swept.orphans_removed,
            swept.parts_removed,
            swept.segments_removed
        ),
        (1, 1, 1)
    );
    assert!(!store.shards().has(&orphan).unwrap());
    assert!(!orphan_dir.join(&name).exists());
    store.shards().verify(&hash).unwrap();
    let incoming: Vec<_> = fs::read_dir(at("incoming")).unwrap().collect();
    assert_eq!(incoming.len(), 1);
    drop(store);
    assert_eq!(*open(home.path()).swept(), Default::default());
}

#[test]
fn two_crashes_in_a_row_while_recovering_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("first");
    let ledger = Ledger::default();
    // A directory with everything a sweep has to do, taken as a crash would leave it.
    let store = Store::open(&dir, options()).unwrap();
    drive(&store, &ledger).unwrap();
    let part = store.shards().writer(ShardHash([3; 32]), 300_000).unwrap();
    let crashed = home.path().join("crashed");
    copy_tree(&dir, &crashed);
    drop((part, store));
    fs::write(crashed.join("segments/0000000a.seg"), b"void").unwrap();
    let committed = crashed.join("segments/00000001.seg");
    let mut bytes = fs::read(&committed).unwrap();
    bytes.extend(b"torn");
    fs::write(&committed, bytes).unwrap();
    let hook = Arc::new(Killed {
        live: crashed.clone(),
        images: home.path().join("images"),
        ledger: Arc::clone(&ledger),
        checks: Checks::default(),
        taken: Mutex::default(),
    });
    let store = Store::open(&crashed, hooked(hook.clone())).unwrap();
    let swept = *store.swept();
    assert_eq!(
        (
            swept.parts_removed,
            swept.segments_removed,
            swept.void_bytes
        ),
        (1, 1, 4)
    );
    drop(store);
    hook.checks.assert_passed();
    check_after_failure(
        &crashed,
        &ledger.lock().unwrap().clone(),
        "after the second crash",
    );
}
