//! The `FORMAT` file: what wrote this directory, readable before anything else is touched.
//!
//! Three lines of text: `assay-storage`, `version <n>`, `network <name>`. It is written last when a
//! directory is created, so its presence means that the creation was completed.

use std::fs;
use std::io;
use std::path::Path;

use crate::disk::Disk;
use crate::error::StoreError;

/// Newest format version this release reads, and the one it writes.
pub const FORMAT_VERSION: u32 = 1;
/// Longest network name, characters.
pub const NETWORK_NAME_MAX: usize = 64;
/// Name of the file.
pub(crate) const FORMAT_FILE: &str = "FORMAT";
/// Longest `FORMAT` file read, bytes.
const FORMAT_BYTES_MAX: u64 = 4096;

/// Refuses names that could not stand in a line of text.
pub(crate) fn check_network_name(name: &str) -> Result<(), StoreError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > NETWORK_NAME_MAX || !name.chars().all(allowed) {
        return Err(StoreError::NetworkName {
            name: name.chars().take(NETWORK_NAME_MAX).collect(),
            max: NETWORK_NAME_MAX,
        });
    }
    Ok(())
}

/// Checks a version and network read from `dir` against what this process wants.
pub(crate) fn check(
    dir: &Path,
    version: u32,
    network: &str,
    expected: &str,
) -> Result<(), StoreError> {
    if version > FORMAT_VERSION {
        return Err(StoreError::NewerFormat {
            dir: dir.to_owned(),
            found: version,
            supported: FORMAT_VERSION,
        });
    }
    if network != expected {
        return Err(StoreError::OtherNetwork {
            dir: dir.to_owned(),
            found: network.to_owned(),
            expected: expected.to_owned(),
        });
    }
    Ok(())
}

/// Reads and checks the file; `false` when there is none.
pub(crate) fn check_file(dir: &Path, expected: &str) -> Result<bool, StoreError> {
    let path = dir.join(FORMAT_FILE);
    let damaged = || StoreError::Damaged {
        what: "the format file".to_owned(),
        path: path.clone(),
    };
    match fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(StoreError::io("read", &path, e)),
        Ok(meta) if meta.len() > FORMAT_BYTES_MAX => return Err(damaged()),
        Ok(_) => {}
    }
    let bytes = fs::read(&path).map_err(|e| StoreError::io("read", &path, e))?;
    let text = String::from_utf8(bytes).map_err(|_| damaged())?;
    let mut lines = text.lines();
    let version = match (lines.next(), lines.next()) {
        (Some("assay-storage"), Some(line)) => line
            .strip_prefix("version ")
            .and_then(|n| n.parse::<u32>().ok())
            .filter(|n| *n > 0)
            .ok_or_else(damaged)?,
        _ => return Err(damaged()),
    };
    if version > FORMAT_VERSION {
        // What a newer release writes below the version is its own business.
        return check(dir, version, "", expected).map(|()| true);
    }
    let network = lines
        .next()
        .and_then(|line| line.strip_prefix("network "))
        .ok_or_else(damaged)?;
    check_network_name(network).map_err(|_| damaged())?;
    check(dir, version, network, expected)?;
    Ok(true)
}

/// Writes the file, whole or not at all.
pub(crate) fn write_file(disk: &Disk, dir: &Path, network: &str) -> Result<(), StoreError> {
    let text = format!("assay-storage\nversion {FORMAT_VERSION}\nnetwork {network}\n");
    disk.write_small_file(&dir.join(FORMAT_FILE), text.as_bytes())
}
