//! A node's folder: where things are, keys, and the way to a running node.
//!
//! ```text
//! FOLDER/config.toml  profile.toml  keys/node.key  keys/evm.key  store/  api.json (while it runs)
//! ```
//! Secret files have mode 0600 in a folder of mode 0700; a key that others can read is refused. Nothing is ever overwritten but
//! `config.toml` (by `config set`), `api.json`, and `keys/evm.key` by `wallet`, which keeps a copy of a key that it replaces.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use assay_protocol::{
    crypto::{EvmKey, NodeKeypair},
    id::Account,
    network::NetworkProfile,
};

use zeroize::Zeroizing;

use super::{
    config::Config,
    failure::{Exit, Failure},
    password::Passwords,
};
use crate::{
    api::model::Access,
    keys::{AccountSecret, KEY_FILE_BYTES_MAX, KeyError, KeyFile},
};

/// Largest key, settings, profile or access file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A node's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// Both secret keys.
pub struct Keys {
    /// Swarm identity and protocol signatures.
    pub node: NodeKeypair,
    /// Account.
    pub evm: EvmKey,
}

impl Folder {
    /// The folder that was named, or the default one.
    ///
    /// # Errors
    /// Without a name and without a home.
    pub fn find(named: Option<PathBuf>) -> Result<Self, Failure> {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
        };
        named
            .or_else(|| absolute("XDG_DATA_HOME").map(|data| data.join("assay")))
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share/assay")))
            .map(Self)
            .ok_or_else(|| {
                Failure::new(
                    Exit::Config,
                    "there is no home folder to keep the node's data in",
                )
                .next("name a folder with --data-dir")
            })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Settings.
    pub fn config_path(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// Folder of the keys.
    pub fn keys_path(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// Node key.
    pub fn node_key_path(&self) -> PathBuf {
        self.keys_path().join("node.key")
    }

    /// Account key.
    pub fn evm_key_path(&self) -> PathBuf {
        self.keys_path().join("evm.key")
    }

    /// Database and shards.
    pub fn store_path(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Copies of items under work.
    pub fn work_path(&self) -> PathBuf {
        self.0.join("work")
    }

    /// Where a running node says how to reach it.
    pub fn access_path(&self) -> PathBuf {
        self.0.join("api.json")
    }

    /// The settings.
    ///
    /// # Errors
    /// Missing or wrong settings, with the line.
    pub fn config(&self) -> Result<Config, Failure> {
        let path = self.config_path();
        let text = read_text(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Failure::new(
                Exit::Config,
                format!("there is no node in {}", self.0.display()),
            )
            .next("make one with `assay init --profile FILE`, or name its folder with --data-dir"),
            _ => Failure::file(Exit::Config, "read", &path, &e),
        })?;
        Config::from_toml(&text, &path)
    }

    /// The network profile that the settings name.
    ///
    /// # Errors
    /// A missing or wrong file.
    pub fn profile(&self, config: &Config) -> Result<NetworkProfile, Failure> {
        read_profile(&self.0.join(&config.profile))
    }

    /// The keys; a password is asked for when the account's is encrypted.
    ///
    /// # Errors
    /// A missing, open or malformed key file, or a wrong password.
    pub fn keys(&self, passwords: &Passwords) -> Result<Keys, Failure> {
        Ok(Keys {
            node: self.node_key()?,
            evm: open_key(&self.evm_key_path(), passwords)?.evm(),
        })
    }

    /// The node key.
    ///
    /// # Errors
    /// A missing, open or malformed key file.
    pub fn node_key(&self) -> Result<NodeKeypair, Failure> {
        Ok(NodeKeypair::from_seed(&read_key(&self.node_key_path())?))
    }

    /// The account, which a key file names also when it is encrypted.
    ///
    /// # Errors
    /// A missing, open or malformed key file, and a keystore of another program that names no account.
    pub fn account(&self) -> Result<Account, Failure> {
        let path = self.evm_key_path();
        read_key_file(&path)?.account().ok_or_else(|| {
            Failure::new(
                Exit::Config,
                format!(
                    "the key file {} does not say which account it is for",
                    path.display()
                ),
            )
            .next("write it anew with `assay wallet password`")
        })
    }

    /// How to reach the running node.
    ///
    /// # Errors
    /// When none runs.
    pub fn access(&self) -> Result<Access, Failure> {
        let not_running = || {
            Failure::new(
                Exit::NotRunning,
                format!("no node runs in {}", self.0.display()),
            )
            .next(
                "start it with `assay run`, or name the folder of the running one with --data-dir",
            )
        };
        let path = self.access_path();
        let text = read_text(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => not_running(),
            io::ErrorKind::PermissionDenied => Failure::file(Exit::Unauthorised, "read", &path, &e)
                .next("run this command as the user who started the node"),
            _ => Failure::file(Exit::NotRunning, "read", &path, &e),
        })?;
        serde_json::from_str(&text).map_err(|e| {
            Failure::new(
                Exit::NotRunning,
                format!("{} is unreadable: {e}", path.display()),
            )
            .next("start the node again")
        })
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Reads and checks a network profile.
///
/// # Errors
/// What is wrong, with the line.
pub fn read_profile(path: &Path) -> Result<NetworkProfile, Failure> {
    let advice = "ask the network's operators for its profile; a development network writes its own (`assay devnet`)";
    let text = read_text(path).map_err(|e| {
        Failure::file(Exit::Config, "read the network profile", path, &e).next(advice)
    })?;
    let profile: NetworkProfile = toml::from_str(&text).map_err(|e| {
        Failure::new(
            Exit::Config,
            format!(
                "network profile {}: {}",
                path.display(),
                e.to_string().trim_end()
            ),
        )
        .next(advice)
    })?;
    profile
        .check()
        .map_err(|e| Failure::new(Exit::Config, format!("{}: {e}", path.display())).next(advice))?;
    Ok(profile)
}

/// Reads a small file that only its owner can read; `what` names it in messages.
///
/// # Errors
/// A missing, open or too large file.
pub fn read_private(
    path: &Path,
    what: &str,
    bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let place = path.display();
    let failed = |e: &io::Error| Failure::file(Exit::Config, &format!("read {what}"), path, e);
    let file = fs::File::open(path).map_err(|e| failed(&e))?;
    let about = file.metadata().map_err(|e| failed(&e))?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::new(
            Exit::Config,
            format!("{what} {place} has mode {mode:03o}: others could read it"),
        )
        .next(format!("chmod 600 {place}")));
    }
    // All the room at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    let read = file.take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    if read.map_err(|e| failed(&e))? > bytes_max {
        return Err(Failure::new(
            Exit::Config,
            format!("{what} {place} is larger than {bytes_max} bytes"),
        )
        .next("is it the right file?"));
    }
    Ok(bytes)
}

/// Reads a file with 64 hexadecimal digits that only its owner can read.
///
/// # Errors
/// A missing, open or malformed file.
pub fn read_key(path: &Path) -> Result<[u8; 32], Failure> {
    let bytes = read_private(path, "the key file", KEY_FILE_BYTES_MAX)
        .map_err(|e| missing_key_advice(path, e))?;
    let digits = bytes.trim_ascii();
    let mut key = [0; 32];
    hex::decode_to_slice(digits.strip_prefix(b"0x").unwrap_or(digits), &mut key).map_err(|_| {
        Failure::new(
            Exit::Config,
            format!(
                "the key file {} does not hold 64 hexadecimal digits",
                path.display()
            ),
        )
        .next("restore it from a backup")
    })?;
    Ok(key)
}

fn missing_key_advice(path: &Path, failure: Failure) -> Failure {
    if path.exists() {
        return failure;
    }
    failure.next("keys are made by `assay init`; restore them from a backup")
}

/// Reads an account's key file without opening it.
///
/// # Errors
/// A missing, open or malformed file.
pub fn read_key_file(path: &Path) -> Result<KeyFile, Failure> {
    let bytes = read_private(path, "the key file", KEY_FILE_BYTES_MAX)
        .map_err(|e| missing_key_advice(path, e))?;
    KeyFile::parse(&bytes).map_err(|e| key_failure(path, &e))
}

/// Reads an account's key, without its words if it is encrypted.
///
/// # Errors
/// As [`read_key_file`], and a wrong password.
pub fn open_key(path: &Path, passwords: &Passwords) -> Result<AccountSecret, Failure> {
    match read_key_file(path)? {
        KeyFile::Plain(secret) => Ok(secret),
        KeyFile::Encrypted(keystore) => keystore
            .open(&passwords.existing(path)?)
            .map_err(|e| key_failure(path, &e)),
    }
}

/// What is wrong with a key file, and what to do about it.
pub fn key_failure(path: &Path, error: &KeyError) -> Failure {
    let next = match error {
        KeyError::WrongPassword => {
            "try again; if the password is lost, only the words of the key bring it back: `assay wallet restore`"
        }
        KeyError::TooCostly(_) | KeyError::Unsupported(_) => {
            "write it again with the program that made it, with ordinary parameters (scrypt, n = 262144, r = 8, p = 1)"
        }
        KeyError::Random(_) => "try again",
        _ => "restore it from a backup, or from its words with `assay wallet restore`",
    };
    Failure::new(
        Exit::Config,
        format!("the key file {}: {error}", path.display()),
    )
    .next(next)
}

/// Makes a folder that only its owner can enter, and the ones above it.
///
/// # Errors
/// Those of the file system.
pub fn make_private_folder(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Failure::file(Exit::Config, "make the folder", path, &e))
}

/// Writes a new file of the given mode, on disk when it returns; refuses to overwrite.
///
/// # Errors
/// Those of the file system; `AlreadyExists` among them.
pub fn write_new(path: &Path, mode: u32, content: &(impl AsRef<[u8]> + ?Sized)) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content.as_ref())?;
    file.sync_all()?;
    sync_folder_of(path)
}

/// Makes a new name in a folder survive a loss of power.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Replaces a file so that a crash leaves the old one or the new one.
///
/// # Errors
/// Those of the file system.
pub fn replace(
    path: &Path,
    mode: u32,
    content: &(impl AsRef<[u8]> + ?Sized),
) -> Result<(), Failure> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.part", std::process::id()));
    let partial = PathBuf::from(partial);
    let written = write_new(&partial, mode, content)
        .and_then(|()| fs::rename(&partial, path))
        .and_then(|()| sync_folder_of(path));
    written.map_err(|e| {
        // The first failure is the one to report.
        let _ = fs::remove_file(&partial);
        Failure::file(Exit::Config, "write", path, &e)
    })
}

/// 32 random bytes of the system.
///
/// # Errors
/// When the system has none.
pub fn random() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| {
        Failure::new(
            Exit::Failure,
            format!("the system gives no randomness: {e}"),
        )
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        write_new(&path, 0o600, &"ab".repeat(32)).unwrap();
        assert_eq!(read_key(&path), Ok([0xab; 32]));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = read_key(&path).expect_err("readable by the group");
        assert_eq!(refused.exit, Exit::Config);
        assert!(
            refused.text.contains("mode 640") && refused.next.starts_with("chmod 600"),
            "{refused:?}"
        );
    }

    #[test]
    fn malformed_keys_are_refused_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        write_new(&path, 0o600, "zz").unwrap();
        assert!(
            read_key(&path)
                .expect_err("no digits")
                .text
                .contains("64 hexadecimal digits")
        );
        assert_eq!(
            write_new(&path, 0o600, "other").expect_err("exists").kind(),
            io::ErrorKind::AlreadyExists
        );
        fs::remove_file(&path).unwrap();
        write_new(&path, 0o600, &"00".repeat(32)).unwrap();
        assert!(
            read_key_file(&path)
                .expect_err("zero")
                .text
                .contains("no secp256k1 key")
        );
    }

    #[test]
    fn a_key_file_of_a_gigabyte_is_refused_without_being_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        write_new(&path, 0o600, "{").unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(1 << 30).unwrap();
        let refused = read_key_file(&path).expect_err("a gigabyte");
        assert!(refused.text.contains("larger than"), "{refused:?}");
    }

    #[test]
    fn without_a_running_node_the_exit_code_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(dir.path().to_owned())).unwrap();
        let missing = folder.access().expect_err("nothing runs");
        assert_eq!(missing.exit, Exit::NotRunning);
        assert!(missing.next.contains("assay run"));
        assert_eq!(folder.config().expect_err("no node").exit, Exit::Config);
    }

    #[test]
    fn replacing_leaves_only_the_new_file_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.json");
        for text in ["old", "new"] {
            replace(&path, 0o600, text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
