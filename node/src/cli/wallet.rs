//! `assay wallet`: the account's key, from its words to its file. Everything but the balance is work on files and needs no node.
//!
//! A key that is replaced is copied first, so no command loses one; new files are complete on disk before they take a name.

use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use assay_protocol::{amount::Amount, crypto::NodeKeypair, id::Account, network::NetworkProfile};
use zeroize::Zeroizing;

use super::{
    args::{WalletArgs, WalletCommand},
    claim::Memory,
    client::Api,
    failure::{Exit, Failure},
    folder::{self, Folder},
    password::Passwords,
    text::Printer,
};
use crate::{
    api::model::StatusView,
    chain::{Chain, ChainConfig},
    keys::{AccountSecret, KEY_FILE_BYTES_MAX, KeyFile, Password},
    net::PeerKey,
};

/// Largest backup that is read, in bytes; 24 words have at most 215.
const WORDS_BYTES_MAX: u64 = 4_096;
/// How long the chain may take before keys are shown without a balance.
const BALANCE_PATIENCE: Duration = Duration::from_secs(5);

/// Shows, protects, backs up or restores the keys.
///
/// # Errors
/// Missing or unusable keys, a wrong password, words that are no backup, a file system that refuses.
pub async fn run(folder: &Folder, args: &WalletArgs, printer: Printer) -> Result<(), Failure> {
    let passwords = Passwords::new(&args.password);
    match &args.what {
        WalletCommand::Show => show(folder, printer).await,
        WalletCommand::New => {
            let secret = AccountSecret::random().map_err(|e| Failure::new(Exit::Failure, e))?;
            replace_key(folder, &secret, &passwords, printer)
        }
        WalletCommand::Backup { out } => backup(folder, out.as_deref(), &passwords, printer),
        WalletCommand::Restore => {
            if io::stdin().is_terminal() {
                printer.say("Type the words of the backup in one line, separated by spaces:");
            }
            // On a thread of its own, so that an interrupt is not kept waiting for a person.
            let read = tokio::task::spawn_blocking(read_words).await;
            let words = read.map_err(|e| Failure::new(Exit::Failure, e))??;
            restore(folder, &words, &passwords, printer)
        }
        WalletCommand::Import { file } => import(folder, file, &passwords, printer),
        WalletCommand::Export { out } => export(folder, out, &passwords, printer),
        WalletCommand::Password {
            new_password_file,
            remove,
        } => {
            let new = Passwords::from_file(new_password_file.clone());
            change_password(folder, &passwords, (!remove).then_some(&new), printer)
        }
    }
}

/// What an account holds.
struct Held {
    tokens: Amount,
    wei: String,
}

async fn show(folder: &Folder, printer: Printer) -> Result<(), Failure> {
    let node = folder.node_key()?.public();
    let key_path = folder.evm_key_path();
    let key = folder::read_key_file(&key_path)?;
    let peer_id = PeerKey(node.0).to_string();
    let profile = folder.config().and_then(|config| folder.profile(&config));
    let held = match (key.account(), &profile) {
        (Some(account), Ok(profile)) => balance(folder, profile, account).await,
        (None, _) => Err("the key file does not say which account it is for".to_owned()),
        (_, Err(failure)) => Err(failure.text.clone()),
    };
    let account = key.account().map(|a| format!("0x{a}"));
    let encrypted = matches!(key, KeyFile::Encrypted(_));
    if printer.json {
        let held = held.ok();
        return printer.data(&serde_json::json!({
            "account": account, "node_key": node, "peer_id": peer_id, "key_file": key_path,
            "encrypted": encrypted, "kept": key.describe(), "words": key.has_words(),
            "node_key_file": folder.node_key_path(), "tokens": held.as_ref().map(|h| h.tokens),
            "native_wei": held.map(|h| h.wei),
        }));
    }
    let words = if key.has_words() {
        "with its words (`assay wallet backup` shows them)"
    } else {
        "without words (made elsewhere)"
    };
    let held = match (held, profile) {
        (Ok(held), Ok(profile)) => format!(
            "{} tokens, {} wei",
            held.tokens.to_decimal(profile.params.token_decimals),
            held.wei
        ),
        (Err(why), _) => format!("unknown: {why}"),
        (Ok(_), Err(_)) => "unknown".to_owned(),
    };
    printer.line(&format!(
        "account   {}",
        account.as_deref().unwrap_or("not named in the key file")
    ))?;
    printer.line(&format!("node key  {node}"))?;
    printer.line(&format!("peer id   {peer_id}"))?;
    printer.line(&format!("balance   {held}"))?;
    printer.line(&format!(
        "key file  {}: {}, {words}",
        key_path.display(),
        key.describe()
    ))?;
    printer.line(&format!(
        "node file {}: not encrypted; it names the node and holds no money",
        folder.node_key_path().display()
    ))
}

/// What the running node says, or else the chain of the profile.
async fn balance(
    folder: &Folder,
    profile: &NetworkProfile,
    account: Account,
) -> Result<Held, String> {
    if let Ok(api) = Api::open(folder)
        && let Ok(status) = api.get::<StatusView>("/v1/status").await
        && let Some(own) = status.account.filter(|own| own.account == account)
        && let (Some(tokens), Some(wei)) = (own.tokens, own.native_wei)
    {
        return Ok(Held { tokens, wei });
    }
    let config = ChainConfig::new(profile.clone(), None);
    let (chain, news) =
        Chain::start(config, Arc::new(Memory::default())).map_err(|e| e.to_string())?;
    // Without a reader the client follows no blocks; a balance needs only the newest one.
    drop(news);
    let asked = tokio::time::timeout(BALANCE_PATIENCE, chain.balances(account)).await;
    chain.shutdown().await;
    let held = asked
        .map_err(|_| {
            format!(
                "the chain has not answered for {} s",
                BALANCE_PATIENCE.as_secs()
            )
        })?
        .map_err(|e| e.to_string())?;
    Ok(Held {
        tokens: held.token,
        wei: held.native.to_string(),
    })
}

/// The key with its words, as far as it has any.
fn open_with_words(folder: &Folder, passwords: &Passwords) -> Result<AccountSecret, Failure> {
    let path = folder.evm_key_path();
    match folder::read_key_file(&path)? {
        KeyFile::Plain(secret) => Ok(secret),
        KeyFile::Encrypted(keystore) => keystore
            .open_with_words(&passwords.existing(&path)?)
            .map_err(|e| folder::key_failure(&path, &e)),
    }
}

fn backup(
    folder: &Folder,
    out: Option<&Path>,
    passwords: &Passwords,
    printer: Printer,
) -> Result<(), Failure> {
    if out.is_none() && (printer.json || !io::stdout().is_terminal()) {
        return Err(Failure::new(
            Exit::Usage,
            "the words are shown only at a terminal; a pipe or a log would keep them",
        )
        .next("name a file with --out FILE; it gets mode 0600"));
    }
    if !folder::read_key_file(&folder.evm_key_path())?.has_words() {
        return Err(Failure::new(
            Exit::Config,
            "the account key was not made from words, so it has none",
        )
        .next("keep a copy of it with `assay wallet export --out FILE`"));
    }
    let secret = open_with_words(folder, passwords)?;
    let words = secret
        .words()
        .ok_or_else(|| Failure::new(Exit::Config, "the account key has no words"))?;
    let account = secret.account();
    let Some(path) = out else {
        printer.say(&format!(
            "Whoever has these words has account 0x{account}. Write them down, in this order:"
        ));
        return printer.line(&words);
    };
    let mut text = Zeroizing::new(String::with_capacity(words.len() + 1));
    text.push_str(&words);
    text.push('\n');
    write_secret(path, text.as_bytes())?;
    if printer.json {
        return printer
            .data(&serde_json::json!({ "account": format!("0x{account}"), "file": path }));
    }
    printer.say(&format!(
        "wrote the words of account 0x{account} to {}; move it to a safe place: whoever has them has the account",
        path.display()
    ));
    Ok(())
}

/// Writes a new secret file; never overwrites.
fn write_secret(path: &Path, content: &[u8]) -> Result<(), Failure> {
    folder::write_new(path, 0o600, content).map_err(|e| {
        let failure = Failure::file(Exit::Config, "write", path, &e);
        match e.kind() {
            io::ErrorKind::AlreadyExists => {
                failure.next("name another file; nothing is overwritten")
            }
            _ => failure,
        }
    })
}

fn read_words() -> Result<Zeroizing<String>, Failure> {
    let stdin = io::stdin();
    let mut text = Zeroizing::new(String::with_capacity(WORDS_BYTES_MAX as usize));
    let read = if stdin.is_terminal() {
        stdin.read_line(&mut text)
    } else {
        stdin.lock().take(WORDS_BYTES_MAX).read_to_string(&mut text)
    };
    read.map_err(|e| Failure::new(Exit::Data, format!("the words cannot be read: {e}")))?;
    Ok(text)
}

fn restore(
    folder: &Folder,
    words: &str,
    passwords: &Passwords,
    printer: Printer,
) -> Result<(), Failure> {
    let secret = AccountSecret::from_words(words).map_err(|e| {
        Failure::new(Exit::Data, format!("this is no backup: {e}"))
            .next("compare the words with the backup; nothing was changed")
    })?;
    replace_key(folder, &secret, passwords, printer)
}

fn import(
    folder: &Folder,
    file: &Path,
    passwords: &Passwords,
    printer: Printer,
) -> Result<(), Failure> {
    match folder::read_key_file(file)? {
        KeyFile::Plain(secret) => replace_key(folder, &secret, passwords, printer),
        KeyFile::Encrypted(keystore) => {
            let password = passwords.existing(file)?;
            let secret = keystore
                .open_with_words(&password)
                .map_err(|e| folder::key_failure(file, &e))?;
            // Written anew: the parameters of the file may be weaker than ours.
            let text = encrypt(&secret, &password)?;
            install(folder, &secret, text.as_bytes(), true, printer)
        }
    }
}

fn export(
    folder: &Folder,
    out: &Path,
    passwords: &Passwords,
    printer: Printer,
) -> Result<(), Failure> {
    let path = folder.evm_key_path();
    let (secret, password) = match folder::read_key_file(&path)? {
        KeyFile::Plain(secret) => (secret, passwords.fresh()?),
        KeyFile::Encrypted(keystore) => {
            let password = passwords.existing(&path)?;
            let secret = keystore.open(&password);
            (
                secret.map_err(|e| folder::key_failure(&path, &e))?,
                password,
            )
        }
    };
    let account = secret.account();
    write_secret(out, encrypt(&secret.without_words(), &password)?.as_bytes())?;
    if printer.json {
        return printer
            .data(&serde_json::json!({ "account": format!("0x{account}"), "file": out }));
    }
    printer.say(&format!(
        "wrote the key of account 0x{account} to {}, under its password",
        out.display()
    ));
    Ok(())
}

fn change_password(
    folder: &Folder,
    old: &Passwords,
    new: Option<&Passwords>,
    printer: Printer,
) -> Result<(), Failure> {
    let path = folder.evm_key_path();
    let secret = open_with_words(folder, old)?;
    let said = match new {
        Some(new) => {
            let text = encrypt(&secret, &new.fresh()?)?;
            folder::replace(&path, 0o600, &text)?;
            "is encrypted; `assay run` asks for the password, or takes --password-file"
        }
        None => {
            folder::replace(&path, 0o600, secret.to_plain().as_bytes())?;
            "is not encrypted any more: whoever can read the file has the account"
        }
    };
    if printer.json {
        return printer.data(&serde_json::json!({
            "account": format!("0x{}", secret.account()), "key_file": path, "encrypted": new.is_some(),
        }));
    }
    printer.say(&format!("the key in {} {said}", path.display()));
    Ok(())
}

fn encrypt(secret: &AccountSecret, password: &Password) -> Result<String, Failure> {
    secret
        .to_keystore(password)
        .map_err(|e| Failure::new(Exit::Failure, e))
}

/// Keeps `secret` as the folder's account key, as encrypted as the one before or as the person says.
fn replace_key(
    folder: &Folder,
    secret: &AccountSecret,
    passwords: &Passwords,
    printer: Printer,
) -> Result<(), Failure> {
    let path = folder.evm_key_path();
    let was_encrypted =
        path.exists() && matches!(folder::read_key_file(&path), Ok(KeyFile::Encrypted(_)));
    let password = if was_encrypted {
        Some(passwords.fresh()?)
    } else {
        let value = folder
            .config()
            .and_then(|config| folder.profile(&config))
            .is_ok_and(|profile| !profile.dev);
        passwords.for_new_key(value, printer)?
    };
    let text = match &password {
        Some(password) => Zeroizing::new(encrypt(secret, password)?),
        None => secret.to_plain(),
    };
    install(folder, secret, text.as_bytes(), password.is_some(), printer)
}

/// Puts a key file in its place and says where the one before is kept.
fn install(
    folder: &Folder,
    secret: &AccountSecret,
    text: &[u8],
    encrypted: bool,
    printer: Printer,
) -> Result<(), Failure> {
    folder::make_private_folder(folder.path())?;
    folder::make_private_folder(&folder.keys_path())?;
    let path = folder.evm_key_path();
    let kept = keep_copy(&path)?;
    folder::replace(&path, 0o600, text)?;
    let account = secret.account();
    if printer.json {
        return printer.data(&serde_json::json!({
            "account": format!("0x{account}"), "key_file": path, "encrypted": encrypted, "old_key_file": kept,
        }));
    }
    printer.line(&format!("account  0x{account}"))?;
    if let Some(kept) = kept {
        printer.say(&format!(
            "The key that was there is kept in {}; its stake and pay stay with it.",
            kept.display()
        ));
    }
    if !encrypted {
        printer.say(&not_encrypted(&path));
    }
    if folder.access().is_ok() {
        printer.say("A node runs here; it goes on with the old key until it is started again.");
    }
    Ok(())
}

/// What to say of a key that anybody with the file can use.
pub fn not_encrypted(path: &Path) -> String {
    format!(
        "The account key in {} is not encrypted; `assay wallet password` encrypts it.",
        path.display()
    )
}

/// Copies a key file that is about to be replaced to the first free name beside it.
fn keep_copy(path: &Path) -> Result<Option<PathBuf>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX));
    fs::File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|e| Failure::file(Exit::Config, "read", path, &e))?;
    let mut number = 1;
    loop {
        let kept = path.with_file_name(format!("evm.key.old-{number}"));
        match folder::write_new(&kept, 0o600, &*bytes) {
            Ok(()) => return Ok(Some(kept)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(e) => return Err(Failure::file(Exit::Config, "write", &kept, &e)),
        }
    }
}

/// The keys of a new folder; ones that are there already are kept.
pub struct NewKeys {
    /// Swarm identity.
    pub node: NodeKeypair,
    /// Account.
    pub account: Account,
    /// Whether the account key is behind a password.
    pub encrypted: bool,
}

/// Finds or makes the keys of `init`. The folder is there; `password` is for an account key that is made now.
///
/// # Errors
/// An unusable key that is there, a file system that refuses.
pub fn find_or_make(
    folder: &Folder,
    password: Option<&Password>,
    passwords: &Passwords,
    printer: Printer,
) -> Result<NewKeys, Failure> {
    let keeping =
        |path: &Path| printer.say(&format!("Keeping the key that is in {}.", path.display()));
    let node_path = folder.node_key_path();
    if node_path.exists() {
        keeping(&node_path);
    } else {
        let mut digits = Zeroizing::new(hex::encode(folder::random()?));
        digits.push('\n');
        write_secret(&node_path, digits.as_bytes())?;
    }
    let path = folder.evm_key_path();
    let (account, encrypted) = if path.exists() {
        keeping(&path);
        let file = folder::read_key_file(&path)?;
        let account = match file.account() {
            Some(account) => account,
            None => folder::open_key(&path, passwords)?.account(),
        };
        (account, matches!(file, KeyFile::Encrypted(_)))
    } else {
        let secret = AccountSecret::random().map_err(|e| Failure::new(Exit::Failure, e))?;
        match password {
            Some(password) => write_secret(&path, encrypt(&secret, password)?.as_bytes())?,
            None => write_secret(&path, secret.to_plain().as_bytes())?,
        }
        (secret.account(), password.is_some())
    };
    Ok(NewKeys {
        node: folder.node_key()?,
        account,
        encrypted,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const QUIET: Printer = Printer { json: true };
    const JUNK: &str = "test test test test test test test test test test test junk";
    const JUNK_ACCOUNT: &str = "f39fd6e51aad88f6f4ce6ab8827279cfffb92266";

    struct Place {
        dir: tempfile::TempDir,
        folder: Folder,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::find(Some(dir.path().join("node"))).unwrap();
            Self { dir, folder }
        }

        fn password(&self, word: &str) -> Passwords {
            let path = self.dir.path().join(word);
            if !path.exists() {
                folder::write_new(&path, 0o600, word).unwrap();
            }
            Passwords::from_file(Some(path))
        }

        fn key(&self) -> KeyFile {
            folder::read_key_file(&self.folder.evm_key_path()).unwrap()
        }

        fn account(&self) -> String {
            self.key().account().unwrap().to_string()
        }

        fn mode(path: &Path) -> u32 {
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        }
    }

    /// Nobody is asked: there is no configuration, so nothing here has value.
    fn nobody() -> Passwords {
        Passwords::from_file(None)
    }

    #[test]
    fn a_key_that_is_replaced_is_kept_under_a_new_name_each_time() {
        let place = Place::new();
        restore(&place.folder, JUNK, &nobody(), QUIET).unwrap();
        assert_eq!(place.account(), JUNK_ACCOUNT);
        let first = fs::read(place.folder.evm_key_path()).unwrap();
        for number in 1..=2 {
            let before = fs::read(place.folder.evm_key_path()).unwrap();
            let secret = AccountSecret::random().unwrap();
            replace_key(&place.folder, &secret, &nobody(), QUIET).unwrap();
            assert_eq!(place.account(), secret.account().to_string());
            let kept = place
                .folder
                .keys_path()
                .join(format!("evm.key.old-{number}"));
            assert_eq!(fs::read(&kept).unwrap(), before);
            assert_eq!(
                (
                    Place::mode(&kept),
                    Place::mode(&place.folder.evm_key_path())
                ),
                (0o600, 0o600)
            );
        }
        let oldest = place.folder.keys_path().join("evm.key.old-1");
        assert_eq!(fs::read(oldest).unwrap(), first);
        assert_eq!(fs::read_dir(place.folder.keys_path()).unwrap().count(), 3);
    }

    #[test]
    fn a_backup_brings_the_account_back_in_another_folder() {
        let (place, other) = (Place::new(), Place::new());
        let secret = AccountSecret::random().unwrap();
        replace_key(&place.folder, &secret, &nobody(), QUIET).unwrap();
        let refused = backup(&place.folder, None, &nobody(), QUIET).expect_err("no terminal");
        assert_eq!(refused.exit, Exit::Usage);
        let out = place.dir.path().join("words.txt");
        backup(&place.folder, Some(&out), &nobody(), QUIET).unwrap();
        assert_eq!(Place::mode(&out), 0o600);
        let words = fs::read_to_string(&out).unwrap();
        assert_eq!(words.split_whitespace().count(), 24);
        let refused = backup(&place.folder, Some(&out), &nobody(), QUIET).expect_err("exists");
        assert!(
            refused.next.contains("nothing is overwritten"),
            "{refused:?}"
        );
        assert_eq!(fs::read_to_string(&out).unwrap(), words);
        restore(&other.folder, &words, &nobody(), QUIET).unwrap();
        assert_eq!(other.account(), place.account());
    }

    #[test]
    fn a_wrong_backup_changes_nothing() {
        let place = Place::new();
        restore(&place.folder, JUNK, &nobody(), QUIET).unwrap();
        let wrong = JUNK.replace("junk", "zoo");
        let refused = restore(&place.folder, &wrong, &nobody(), QUIET).expect_err("checksum");
        assert_eq!(refused.exit, Exit::Data);
        assert!(!refused.text.contains("zoo"), "{refused:?}");
        assert_eq!(place.account(), JUNK_ACCOUNT);
        assert_eq!(fs::read_dir(place.folder.keys_path()).unwrap().count(), 1);
    }

    #[test]
    fn a_password_can_be_set_changed_and_removed_and_the_words_stay() {
        let place = Place::new();
        restore(&place.folder, JUNK, &nobody(), QUIET).unwrap();
        let (old, new) = (place.password("the old one"), place.password("the new one"));
        change_password(&place.folder, &nobody(), Some(&old), QUIET).unwrap();
        let text = fs::read_to_string(place.folder.evm_key_path()).unwrap();
        assert!(!text.contains("junk") && place.key().has_words());
        assert_eq!(place.account(), JUNK_ACCOUNT);
        let refused =
            change_password(&place.folder, &new, Some(&new), QUIET).expect_err("wrong password");
        assert_eq!(refused.exit, Exit::Config);
        assert!(refused.text.contains("does not open") && refused.next.contains("restore"));
        assert_eq!(
            fs::read_to_string(place.folder.evm_key_path()).unwrap(),
            text
        );
        change_password(&place.folder, &old, Some(&new), QUIET).unwrap();
        assert!(folder::open_key(&place.folder.evm_key_path(), &old).is_err());
        change_password(&place.folder, &new, None, QUIET).unwrap();
        let KeyFile::Plain(secret) = place.key() else {
            panic!("still encrypted")
        };
        assert_eq!(secret.words().unwrap().as_str(), JUNK);
        assert_eq!(Place::mode(&place.folder.evm_key_path()), 0o600);
    }

    #[test]
    fn an_exported_keystore_is_imported_elsewhere_and_stays_encrypted() {
        let (place, other) = (Place::new(), Place::new());
        restore(&place.folder, JUNK, &nobody(), QUIET).unwrap();
        let out = place.dir.path().join("key.json");
        let password = place.password("for the export");
        export(&place.folder, &out, &password, QUIET).unwrap();
        assert_eq!(Place::mode(&out), 0o600);
        assert!(
            !fs::read_to_string(&out).unwrap().contains("x-assay"),
            "nothing but what other wallets know"
        );
        import(&other.folder, &out, &password, QUIET).unwrap();
        assert_eq!(other.account(), JUNK_ACCOUNT);
        assert!(matches!(other.key(), KeyFile::Encrypted(_)) && !other.key().has_words());
        let refused = backup(&other.folder, Some(&out), &password, QUIET).expect_err("no words");
        assert!(refused.next.contains("wallet export"), "{refused:?}");
        // Whoever had an encrypted key does not get an open one by accident.
        let nobody = Passwords::from_file(Some(place.dir.path().join("missing")));
        assert!(restore(&other.folder, JUNK, &nobody, QUIET).is_err());
        assert!(matches!(other.key(), KeyFile::Encrypted(_)));
    }
}
