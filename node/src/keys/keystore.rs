//! Keystore V3 ("Web3 Secret Storage"): the key under AES-128-CTR, the cipher's key from the password by scrypt or PBKDF2.
//!
//! Written here and not by alloy's `signer-keystore`, which writes scrypt with n = 2^13 and opens whatever parameters a file asks
//! for. Ours are geth's for keys of value (n = 2^18, r = 8, p = 1), and a file that asks for more than [`COST_MAX`] is refused before
//! anything is computed. The key's words, if it has any, stand beside it in a second section of the same form; other wallets do not
//! read it.

use aes::Aes128;
use alloy::primitives::keccak256;
use assay_protocol::id::Account;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{AccountSecret, KeyError, Password, fill};

/// log2 of scrypt's n for keys that are written here.
pub(super) const LOG_N: u8 = 18;
/// scrypt's r for keys that are written here.
const R: u32 = 8;
/// scrypt's p for keys that are written here.
const P: u32 = 1;
/// Memory that opening a file may take, in bytes: twice what our own take.
const MEMORY_MAX: u64 = 512 * 1024 * 1024;
/// Most scrypt work, n * r * p: eight times that of our own.
const COST_MAX: u64 = 1 << 24;
/// Most PBKDF2 rounds; the usual number is 262,144.
const ROUNDS_MAX: u32 = 10_000_000;
/// Bytes derived from a password: half for the cipher, half for the MAC.
const DERIVED_BYTES: usize = 32;
/// Largest salt in bytes.
const SALT_BYTES_MAX: usize = 256;
/// A key or entropy has at most this many bytes.
const SECRET_BYTES_MAX: usize = 32;

const VERSION: u32 = 3;
const CIPHER: &str = "aes-128-ctr";
const PRF: &str = "hmac-sha256";

/// A keystore that was read and not yet opened. Its costs are within bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keystore {
    version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Section,
    /// Entropy of the BIP-39 words.
    #[serde(
        default,
        rename = "x-assay-words",
        skip_serializing_if = "Option::is_none"
    )]
    words: Option<Section>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Section {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt {
        dklen: u64,
        n: u64,
        r: u64,
        p: u64,
        salt: String,
    },
    Pbkdf2 {
        dklen: u64,
        c: u64,
        prf: String,
        salt: String,
    },
}

fn unhex(text: &str, what: &str, max: usize) -> Result<Vec<u8>, KeyError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() > 2 * max {
        return Err(KeyError::Malformed(format!(
            "`{what}` has more than {max} bytes"
        )));
    }
    hex::decode(digits).map_err(|e| KeyError::Malformed(format!("`{what}`: {e}")))
}

fn unhex_exactly<const N: usize>(text: &str, what: &str) -> Result<[u8; N], KeyError> {
    unhex(text, what, N)?
        .try_into()
        .map_err(|_| KeyError::Malformed(format!("`{what}` has not {N} bytes")))
}

/// scrypt's parameters, if they are ones that may be computed.
fn scrypt_params(n: u64, r: u64, p: u64) -> Result<scrypt::Params, KeyError> {
    let costly = || {
        KeyError::TooCostly(format!(
            "scrypt with n = {n}, r = {r}, p = {p}; this program allows {} MiB and n * r * p up to {COST_MAX}",
            MEMORY_MAX >> 20
        ))
    };
    let wrong = || KeyError::Malformed(format!("scrypt knows no n = {n}, r = {r}, p = {p}"));
    if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
        return Err(wrong());
    }
    let memory = n
        .checked_add(p)
        .and_then(|blocks| blocks.checked_mul(r)?.checked_mul(128));
    let work = n.checked_mul(r).and_then(|nr| nr.checked_mul(p));
    if memory.is_none_or(|m| m > MEMORY_MAX) || work.is_none_or(|w| w > COST_MAX) {
        return Err(costly());
    }
    let small = |x: u64| u32::try_from(x).map_err(|_| costly());
    let log_n = u8::try_from(n.ilog2()).map_err(|_| costly())?;
    scrypt::Params::new(log_n, small(r)?, small(p)?).map_err(|_| wrong())
}

fn dklen_is_right(dklen: u64) -> Result<(), KeyError> {
    if dklen == DERIVED_BYTES as u64 {
        return Ok(());
    }
    Err(KeyError::Unsupported(format!(
        "it derives {dklen} bytes from its password, not {DERIVED_BYTES}"
    )))
}

impl Kdf {
    fn new(log_n: u8) -> Result<Self, KeyError> {
        let mut salt = [0; 32];
        fill(&mut salt)?;
        Ok(Self::Scrypt {
            dklen: DERIVED_BYTES as u64,
            n: 1 << log_n,
            r: u64::from(R),
            p: u64::from(P),
            salt: hex::encode(salt),
        })
    }

    /// Refuses what may not or cannot be computed.
    fn check(&self) -> Result<(), KeyError> {
        match self {
            Self::Scrypt {
                dklen,
                n,
                r,
                p,
                salt,
            } => {
                dklen_is_right(*dklen)?;
                scrypt_params(*n, *r, *p)?;
                unhex(salt, "salt", SALT_BYTES_MAX).map(drop)
            }
            Self::Pbkdf2 {
                dklen,
                c,
                prf,
                salt,
            } => {
                dklen_is_right(*dklen)?;
                if prf != PRF {
                    return Err(KeyError::Unsupported(
                        "its `prf` is not hmac-sha256".to_owned(),
                    ));
                }
                if *c == 0 {
                    return Err(KeyError::Malformed("PBKDF2 with no rounds".to_owned()));
                }
                if *c > u64::from(ROUNDS_MAX) {
                    return Err(KeyError::TooCostly(format!(
                        "PBKDF2 with {c} rounds; this program allows {ROUNDS_MAX}"
                    )));
                }
                unhex(salt, "salt", SALT_BYTES_MAX).map(drop)
            }
        }
    }

    fn derive(&self, password: &Password) -> Result<Zeroizing<[u8; DERIVED_BYTES]>, KeyError> {
        self.check()?;
        let mut derived = Zeroizing::new([0; DERIVED_BYTES]);
        match self {
            Self::Scrypt { n, r, p, salt, .. } => {
                let salt = unhex(salt, "salt", SALT_BYTES_MAX)?;
                let params = scrypt_params(*n, *r, *p)?;
                scrypt::scrypt(&password.0, &salt, &params, &mut *derived)
                    .map_err(|e| KeyError::Unsupported(e.to_string()))?;
            }
            Self::Pbkdf2 { c, salt, .. } => {
                let salt = unhex(salt, "salt", SALT_BYTES_MAX)?;
                let rounds = u32::try_from(*c)
                    .map_err(|_| KeyError::TooCostly("too many rounds".to_owned()))?;
                pbkdf2::pbkdf2_hmac::<Sha256>(&password.0, &salt, rounds, &mut *derived);
            }
        }
        Ok(derived)
    }
}

fn mac(derived: &[u8; DERIVED_BYTES], ciphertext: &[u8]) -> [u8; 32] {
    let mut bytes = Zeroizing::new(derived[16..].to_vec());
    bytes.extend_from_slice(ciphertext);
    keccak256(&*bytes).0
}

fn crypt(derived: &[u8; DERIVED_BYTES], iv: &[u8; 16], bytes: &mut [u8]) {
    let mut key = Zeroizing::new([0; 16]);
    key.copy_from_slice(&derived[..16]);
    Ctr128BE::<Aes128>::new((&*key).into(), iv.into()).apply_keystream(bytes);
}

impl Section {
    fn seal(secret: &[u8], password: &Password, log_n: u8) -> Result<Self, KeyError> {
        let kdf = Kdf::new(log_n)?;
        let mut iv = [0; 16];
        fill(&mut iv)?;
        let derived = kdf.derive(password)?;
        let mut text = secret.to_vec();
        crypt(&derived, &iv, &mut text);
        Ok(Self {
            cipher: CIPHER.to_owned(),
            cipherparams: CipherParams {
                iv: hex::encode(iv),
            },
            mac: hex::encode(mac(&derived, &text)),
            ciphertext: hex::encode(text),
            kdf,
        })
    }

    fn check(&self) -> Result<(), KeyError> {
        if self.cipher != CIPHER {
            return Err(KeyError::Unsupported(format!("its cipher is not {CIPHER}")));
        }
        self.kdf.check()?;
        unhex_exactly::<16>(&self.cipherparams.iv, "iv")?;
        unhex_exactly::<32>(&self.mac, "mac")?;
        unhex(&self.ciphertext, "ciphertext", SECRET_BYTES_MAX).map(drop)
    }

    fn open(&self, password: &Password) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.check()?;
        let mut text = Zeroizing::new(unhex(&self.ciphertext, "ciphertext", SECRET_BYTES_MAX)?);
        let derived = self.kdf.derive(password)?;
        // Whoever could time this has the file, and with it everything the comparison could tell.
        if mac(&derived, &text) != unhex_exactly::<32>(&self.mac, "mac")? {
            return Err(KeyError::WrongPassword);
        }
        let iv = unhex_exactly(&self.cipherparams.iv, "iv")?;
        crypt(&derived, &iv, &mut text);
        Ok(text)
    }
}

impl Keystore {
    /// Encrypts a key, and its words if it has any.
    pub(super) fn seal(
        secret: &AccountSecret,
        password: &Password,
        log_n: u8,
    ) -> Result<Self, KeyError> {
        let words = secret
            .entropy
            .as_ref()
            .map(|entropy| Section::seal(entropy, password, log_n))
            .transpose()?;
        Ok(Self {
            version: VERSION,
            id: uuid()?,
            address: Some(secret.account().to_string()),
            crypto: Section::seal(&*secret.key, password, log_n)?,
            words,
        })
    }

    pub(super) fn parse(text: &str) -> Result<Self, KeyError> {
        let keystore: Self =
            serde_json::from_str(text).map_err(|e| KeyError::Malformed(e.to_string()))?;
        if keystore.version != VERSION {
            return Err(KeyError::Unsupported(format!(
                "it has version {}, not {VERSION}",
                keystore.version
            )));
        }
        keystore.crypto.check()?;
        if let Some(words) = &keystore.words {
            words.check()?;
        }
        if keystore.address.is_some() && keystore.account().is_none() {
            return Err(KeyError::Malformed(
                "its `address` is no address".to_owned(),
            ));
        }
        Ok(keystore)
    }

    pub(super) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    pub(super) fn account(&self) -> Option<Account> {
        self.address.as_ref()?.parse().ok()
    }

    pub(super) fn has_words(&self) -> bool {
        self.words.is_some()
    }

    pub(super) fn describe(&self) -> String {
        match &self.crypto.kdf {
            Kdf::Scrypt { n, r, p, .. } => format!("scrypt n = {n}, r = {r}, p = {p}"),
            Kdf::Pbkdf2 { c, .. } => format!("PBKDF2 with {c} rounds"),
        }
    }

    /// Opens the key alone; its words stay closed.
    ///
    /// # Errors
    /// [`KeyError::WrongPassword`], and [`KeyError::Damaged`] when it holds another key than it says.
    pub fn open(&self, password: &Password) -> Result<AccountSecret, KeyError> {
        let bytes = self.crypto.open(password)?;
        let mut key = Zeroizing::new([0; SECRET_BYTES_MAX]);
        // Some old wallets left leading zeros out.
        key[SECRET_BYTES_MAX - bytes.len()..].copy_from_slice(&bytes);
        let secret = AccountSecret::from_key(key)?;
        if self.account().is_some_and(|said| said != secret.account()) {
            return Err(KeyError::Damaged(
                "it holds the key of another account than it says",
            ));
        }
        Ok(secret)
    }

    /// Opens the key and its words, if it has any.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with_words(&self, password: &Password) -> Result<AccountSecret, KeyError> {
        let secret = self.open(password)?;
        let Some(words) = &self.words else {
            return Ok(secret);
        };
        let whole = AccountSecret::from_entropy(words.open(password)?)?;
        if *whole.key != *secret.key {
            return Err(KeyError::Damaged("its words belong to another key"));
        }
        Ok(whole)
    }
}

/// A random UUID (version 4), which the format wants as a name.
fn uuid() -> Result<String, KeyError> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    Ok(parts.join("-"))
}
