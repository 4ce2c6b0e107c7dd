//! The account's secret key at rest: made from words, kept plain or behind a password, read back from hostile files.
//!
//! A key file is one of two things: 64 hexadecimal digits (with the key's words on a second line, if it was made from words), or a
//! keystore V3 ("Web3 Secret Storage"), which geth, cast and other wallets read as well. No secret is ever printed: neither `Debug`
//! nor an error shows one, and memory that held one is cleared where the libraries allow it.

mod keystore;
mod words;

use assay_protocol::{crypto::EvmKey, id::Account};
use zeroize::{Zeroize, Zeroizing};

pub use keystore::Keystore;

/// Largest key file in bytes; a keystore with words has about 1,200.
pub const KEY_FILE_BYTES_MAX: usize = 64 * 1024;

/// Why a key cannot be made, read or opened. Never names a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// More than [`KEY_FILE_BYTES_MAX`].
    #[error("it is larger than {KEY_FILE_BYTES_MAX} bytes, so it is no key file")]
    TooLarge,
    /// Neither hexadecimal digits nor a keystore.
    #[error("it holds neither 64 hexadecimal digits nor a keystore V3: {0}")]
    Malformed(String),
    /// A keystore that this version does not read.
    #[error("it is a keystore that this version does not read: {0}")]
    Unsupported(String),
    /// A keystore that would take unreasonable memory or time to open.
    #[error("opening it would take too much memory or time: {0}")]
    TooCostly(String),
    /// The password does not open it, or its ciphertext was changed.
    #[error("the password does not open it")]
    WrongPassword,
    /// It was opened, and its parts contradict each other.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// Not a backup.
    #[error("{0}")]
    Words(String),
    /// No randomness.
    #[error("the system gives no randomness: {0}")]
    Random(String),
}

/// A password; shows nothing of itself.
pub struct Password(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// From its bytes, as they are typed.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Characters, as far as it is text; bytes otherwise.
    pub fn len(&self) -> usize {
        std::str::from_utf8(&self.0).map_or(self.0.len(), |text| text.chars().count())
    }

    /// Whether two are the same.
    pub fn equals(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

/// An account's secret key, and the entropy of its words when it was made from words.
#[derive(Clone)]
pub struct AccountSecret {
    key: Zeroizing<[u8; 32]>,
    entropy: Option<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for AccountSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccountSecret(of 0x{})", self.account())
    }
}

impl AccountSecret {
    /// A new key from 24 new words.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn random() -> Result<Self, KeyError> {
        let mut entropy = Zeroizing::new(vec![0; words::ENTROPY_BYTES]);
        fill(&mut entropy)?;
        Self::from_entropy(entropy)
    }

    /// The key of a backup: 12, 15, 18, 21 or 24 English words of BIP-39, at m/44'/60'/0'/0/0, without a passphrase.
    ///
    /// # Errors
    /// [`KeyError::Words`] with the place of what is wrong.
    pub fn from_words(text: &str) -> Result<Self, KeyError> {
        Self::from_entropy(words::entropy(text)?)
    }

    /// A key that was made elsewhere; it has no words.
    ///
    /// # Errors
    /// [`KeyError::Damaged`] for zero and for numbers beyond the group order.
    pub fn from_key(key: Zeroizing<[u8; 32]>) -> Result<Self, KeyError> {
        if EvmKey::from_secret(&key).is_none() {
            return Err(KeyError::Damaged(
                "it holds a number that is no secp256k1 key",
            ));
        }
        Ok(Self { key, entropy: None })
    }

    fn from_entropy(entropy: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let key = words::key(&words::phrase(&entropy)?)?;
        Ok(Self {
            entropy: Some(entropy),
            ..Self::from_key(key)?
        })
    }

    /// The words that the key was made from, separated by spaces; none for a key that was made elsewhere.
    pub fn words(&self) -> Option<Zeroizing<String>> {
        words::phrase(self.entropy.as_ref()?).ok()
    }

    /// The same key without its words, as other wallets keep it.
    #[must_use]
    pub fn without_words(mut self) -> Self {
        self.entropy = None;
        self
    }

    /// The key that signs.
    pub fn evm(&self) -> EvmKey {
        EvmKey::from_secret(&self.key).expect("checked when it was made")
    }

    /// The account.
    pub fn account(&self) -> Account {
        self.evm().account()
    }

    /// As an unprotected key file.
    pub fn to_plain(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(512));
        let mut digits = hex::encode(*self.key);
        text.push_str(&digits);
        digits.zeroize();
        text.push('\n');
        if let Some(words) = self.words() {
            text.push_str(&words);
            text.push('\n');
        }
        text
    }

    /// As a keystore V3 with the parameters that geth uses for keys of value. Takes 256 MiB and about a second, twice with words.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn to_keystore(&self, password: &Password) -> Result<String, KeyError> {
        Ok(Keystore::seal(self, password, keystore::LOG_N)?.to_json())
    }
}

/// A key file that was read and not yet opened.
#[derive(Clone, Debug)]
pub enum KeyFile {
    /// Whoever can read it has the key.
    Plain(AccountSecret),
    /// Behind a password.
    Encrypted(Box<Keystore>),
}

impl KeyFile {
    /// Reads a key file; takes little time and memory whatever the bytes are.
    ///
    /// # Errors
    /// What is wrong with it; nothing that costs more than allowed gets as far as being opened.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > KEY_FILE_BYTES_MAX {
            return Err(KeyError::TooLarge);
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| KeyError::Malformed("it is not text".to_owned()))?;
        if text.trim_start().starts_with('{') {
            return Keystore::parse(text).map(|read| Self::Encrypted(Box::new(read)));
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let digits = lines.next().unwrap_or_default();
        let mut key = Zeroizing::new([0; 32]);
        // The library's own error would show a digit of the key.
        hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), &mut *key).map_err(
            |_| KeyError::Malformed("its first line is not 64 hexadecimal digits".to_owned()),
        )?;
        let secret = AccountSecret::from_key(key)?;
        let Some(words) = lines.next() else {
            return Ok(Self::Plain(secret));
        };
        if lines.next().is_some() {
            return Err(KeyError::Malformed("it has a third line".to_owned()));
        }
        let whole = AccountSecret::from_words(words)?;
        if *whole.key != *secret.key {
            return Err(KeyError::Damaged("its words belong to another key"));
        }
        Ok(Self::Plain(whole))
    }

    /// The account, as far as it can be told without a password.
    pub fn account(&self) -> Option<Account> {
        match self {
            Self::Plain(secret) => Some(secret.account()),
            Self::Encrypted(keystore) => keystore.account(),
        }
    }

    /// Whether the key's words are kept with it.
    pub fn has_words(&self) -> bool {
        match self {
            Self::Plain(secret) => secret.entropy.is_some(),
            Self::Encrypted(keystore) => keystore.has_words(),
        }
    }

    /// How it is kept, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Plain(_) => "not encrypted".to_owned(),
            Self::Encrypted(keystore) => format!("keystore V3, {}", keystore.describe()),
        }
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), KeyError> {
    getrandom::fill(bytes).map_err(|e| KeyError::Random(e.to_string()))
}

#[cfg(test)]
mod tests;
