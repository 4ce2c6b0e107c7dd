//! Rules of the data directory: one user, one network, one format, private, complete.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use assay_storage::{Batch, FORMAT_VERSION, Family, Store, StoreError, StoreOptions};

use crate::support::{NETWORK, files, open};

const HOLD_DIR: &str = "ASSAY_TEST_HOLD_DIR";

fn put(store: &Store, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(Family::Meta, key, value).unwrap();
    store.commit(&batch).unwrap();
}

#[test]
fn records_and_shards_are_there_after_reopening() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("new/data");
    let store = open(&dir);
    put(&store, b"key", b"value");
    let hash = store.shards().put(b"bytes").unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!(store.get(Family::Meta, b"key").unwrap().unwrap(), b"value");
    assert_eq!(store.get(Family::Announce, b"key").unwrap(), None);
    assert_eq!(store.shards().read(&hash).unwrap(), b"bytes");
}

#[test]
fn a_second_handle_is_refused_until_the_last_clone_is_dropped() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let shards = store.clone().shards();
    drop(store);
    let refused = Store::open(home.path(), StoreOptions::new(NETWORK)).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(refused, StoreError::InUse { pid: Some(found), .. } if found == pid));
    assert!(refused.to_string().contains(&format!("(pid {pid})")));
    drop(shards);
    open(home.path());
}

/// Not a test of its own: the process that the next test starts and kills.
#[test]
#[ignore = "helper process of a_killed_process_releases_the_directory"]
fn hold_the_directory() {
    let Some(dir) = std::env::var_os(HOLD_DIR) else {
        return;
    };
    let store = open(Path::new(&dir));
    put(&store, b"written by", b"the killed process");
    println!("\nholding");
    // Ends when the parent closes the pipe or kills this process.
    let _ = std::io::stdin().lines().next();
}

#[test]
fn a_killed_process_releases_the_directory_and_keeps_what_it_committed() {
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "directory::hold_the_directory"])
        .args(["--ignored", "--nocapture"])
        .env(HOLD_DIR, home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "holding"));
    let refused = Store::open(home.path(), StoreOptions::new(NETWORK)).unwrap_err();
    let pid = child.id();
    assert!(matches!(refused, StoreError::InUse { pid: Some(found), .. } if found == pid));
    child.kill().unwrap();
    child.wait().unwrap();
    let value = open(home.path()).get(Family::Meta, b"written by").unwrap();
    assert_eq!(value.unwrap(), b"the killed process");
}

#[test]
fn another_network_is_refused_and_named() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    for format_file in [true, false] {
        if !format_file {
            // The database knows its network too.
            fs::remove_file(home.path().join("FORMAT")).unwrap();
        }
        let refused = Store::open(home.path(), StoreOptions::new("other")).unwrap_err();
        assert!(
            matches!(&refused, StoreError::OtherNetwork { found, expected, .. }
                if found == NETWORK && expected == "other"),
            "{refused}"
        );
    }
    open(home.path());
}

#[test]
fn a_network_name_that_would_break_the_format_file_is_refused() {
    let home = tempfile::tempdir().unwrap();
    for name in ["", "two\nlines", "a b", &"x".repeat(65)] {
        let refused = Store::open(home.path(), StoreOptions::new(name)).unwrap_err();
        assert!(
            matches!(refused, StoreError::NetworkName { .. }),
            "{name:?}"
        );
    }
    assert!(files(home.path()).is_empty());
}

#[test]
fn a_newer_version_is_refused_with_advice_to_upgrade_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let newer = format!(
        "assay-storage\nversion {}\nsomething new\n",
        FORMAT_VERSION + 1
    );
    fs::write(home.path().join("FORMAT"), &newer).unwrap();
    let before = fs::read(home.path().join("records.redb")).unwrap();
    let refused = Store::open(home.path(), StoreOptions::new(NETWORK)).unwrap_err();
    assert!(
        matches!(refused, StoreError::NewerFormat { found, .. } if found == FORMAT_VERSION + 1)
    );
    assert!(refused.to_string().contains("upgrade"));
    assert_eq!(fs::read(home.path().join("records.redb")).unwrap(), before);
    assert_eq!(
        fs::read_to_string(home.path().join("FORMAT")).unwrap(),
        newer
    );
}

#[test]
fn a_damaged_format_file_is_an_error_and_never_a_panic() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let long = "x".repeat(5_000);
    for text in [
        "",
        "assay-storage",
        "assay-storage\nversion 0\nnetwork dev\n",
        "assay-storage\nversion 1\n",
        "assay-storage\nversion 1\nnetwork a b\n",
        "\u{0}\u{0}",
        &long,
    ] {
        fs::write(home.path().join("FORMAT"), text).unwrap();
        let refused = Store::open(home.path(), StoreOptions::new(NETWORK)).unwrap_err();
        assert!(
            matches!(refused, StoreError::Damaged { .. }),
            "{text:?}: {refused}"
        );
    }
}

#[test]
fn a_lost_or_emptied_database_is_reported_and_never_replaced_by_an_empty_one() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let database = home.path().join("records.redb");
    fs::write(&database, b"").unwrap();
    for _ in 0..2 {
        let refused = Store::open(home.path(), StoreOptions::new(NETWORK)).unwrap_err();
        assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
        let _ = fs::remove_file(&database);
    }
    assert!(!database.exists());
}

#[test]
fn a_database_whose_creation_was_cut_is_made_again() {
    let home = tempfile::tempdir().unwrap();
    // What the engine leaves when cut in its first moments: a long file without its magic number.
    fs::write(home.path().join("records.redb.new"), vec![0; 1 << 20]).unwrap();
    let store = open(home.path());
    put(&store, b"key", b"value");
    assert!(!home.path().join("records.redb.new").exists());
    drop(store);
    // The same when the directory was complete and the leftover is older.
    fs::write(home.path().join("records.redb.new"), b"cut").unwrap();
    let store = open(home.path());
    assert_eq!(store.get(Family::Meta, b"key").unwrap().unwrap(), b"value");
    assert!(!home.path().join("records.redb.new").exists());
}

#[cfg(unix)]
#[test]
fn directory_and_files_are_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let store = open(&dir);
    store.shards().put(&[1; 300_000]).unwrap();
    store.shards().put(&[1; 30_000]).unwrap();
    drop(store);
    for file in files(&dir) {
        assert_eq!(mode(&dir.join(&file)), 0o600, "{}", file.display());
    }
    for sub in ["", "segments", "blobs", "incoming"] {
        assert_eq!(mode(&dir.join(sub)), 0o700, "{sub}");
    }
    // A directory in use before is closed again; one full of other things is not ours to close.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    drop(open(&dir));
    assert_eq!(mode(&dir), 0o700);
    let shared = home.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("other"), b"").unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    drop(open(&shared));
    assert_eq!(mode(&shared), 0o755);
}
