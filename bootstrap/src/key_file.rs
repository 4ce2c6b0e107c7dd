//! The server's key on disk: 32 secret bytes as 64 hexadecimal digits, readable by the owner only.
//!
//! The file is written under a temporary name, synced and then renamed, so that a power cut at first start
//! leaves either no key or a whole one, and the server keeps its peer id for ever after.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libp2p::identity::ed25519;

/// Largest file read as a key, in bytes; a longer one is something else.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// Why the key could not be loaded or created.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system refused.
    #[error("cannot {doing} the key file {path}: {source}", path = path.display())]
    Io {
        /// What was being attempted, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Other users of the machine could read the secret.
    #[error(
        "the key file {path} has mode {mode:03o}, so others can read it: run `chmod 600 {path}`, or delete it to get a new identity",
        path = path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is not a key.
    #[error(
        "the key file {path} does not hold 64 hexadecimal digits: restore it from a backup, or delete it to get a new identity",
        path = path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the ed25519 seed in `path`, or creates the file with a new random seed when there is none.
///
/// # Errors
/// [`KeyFileError`]; an existing file is never overwritten.
pub fn load_or_create(path: &Path) -> Result<[u8; 32], KeyFileError> {
    match load(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(path)
        }
        loaded => loaded,
    }
}

fn load(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let failed = |doing| {
        move |source| KeyFileError::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    };
    let file = File::open(path).map_err(failed("open"))?;
    let metadata = file.metadata().map_err(failed("inspect"))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::TooOpen {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(KEY_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed("read"))?;
    parse_seed(&bytes).ok_or_else(|| KeyFileError::Malformed {
        path: path.to_owned(),
    })
}

fn create(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let failed = |doing| {
        move |source| KeyFileError::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory).map_err(failed("create the folder of"))?;
    let seed = random_seed();
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed("create"))?;
    let written = file
        .write_all(format!("{}\n", to_hex(&seed)).as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(directory)?.sync_all());
    written.map_err(failed("write"))?;
    Ok(seed)
}

fn random_seed() -> [u8; 32] {
    let secret = ed25519::SecretKey::generate();
    let mut seed = [0; 32];
    seed.copy_from_slice(secret.as_ref());
    seed
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_seed(content: &[u8]) -> Option<[u8; 32]> {
    let digits = content.strip_suffix(b"\n").unwrap_or(content);
    if digits.len() != 64 {
        return None;
    }
    let mut seed = [0; 32];
    for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_created_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/key");
        let first = load_or_create(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(load_or_create(&path).unwrap(), first);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = load_or_create(&path).unwrap_err();
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_damaged_key_is_neither_used_nor_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let _ = load_or_create(&path).unwrap();
        for damaged in [&b""[..], b"12", &[b'z'; 64], &[b'a'; 65], &[0xff; 64]] {
            fs::write(&path, damaged).unwrap();
            let refused = load_or_create(&path);
            assert!(matches!(refused, Err(KeyFileError::Malformed { .. })));
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }
}
