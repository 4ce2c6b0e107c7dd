//! BIP-39: a key's entropy as English words, and the key at Ethereum's first place, m/44'/60'/0'/0/0.

use alloy::signers::local::{
    MnemonicBuilder,
    coins_bip39::{English, Entropy, Mnemonic, Wordlist},
};
use zeroize::Zeroizing;

use super::KeyError;

/// Entropy of a new key in bytes: 24 words.
pub(super) const ENTROPY_BYTES: usize = 32;
/// Word counts that BIP-39 knows.
const COUNTS: [usize; 5] = [12, 15, 18, 21, 24];
/// Bits of a word.
const WORD_BITS: u32 = 11;

/// The words of `entropy`, separated by single spaces.
pub(super) fn phrase(entropy: &[u8]) -> Result<Zeroizing<String>, KeyError> {
    // The library would cut 17 bytes to 16.
    let entropy = Some(entropy)
        .filter(|e| e.len() % 4 == 0)
        .and_then(|e| Entropy::from_slice(e).ok())
        .ok_or(KeyError::Damaged("its words have an impossible length"))?;
    Ok(Zeroizing::new(
        Mnemonic::<English>::new_from_entropy(entropy).to_phrase(),
    ))
}

/// The entropy behind words as a person typed them.
pub(super) fn entropy(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let typed = Zeroizing::new(text.to_lowercase());
    let words: Vec<&str> = typed.split_whitespace().collect();
    if !COUNTS.contains(&words.len()) {
        return Err(KeyError::Words(format!(
            "there are {} words; a backup has 24 (others have 12, 15, 18 or 21)",
            words.len()
        )));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(words.len() * 11 / 8 + 1));
    let (mut held, mut bits) = (0u32, 0);
    for (place, word) in words.iter().enumerate() {
        let index = English::get_index(word).map_err(|_| {
            KeyError::Words(format!(
                "word {} is not in the English word list of BIP-39",
                place + 1
            ))
        })?;
        held = (held << WORD_BITS) | index as u32;
        bits += WORD_BITS;
        while bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
        held &= (1 << bits) - 1;
    }
    // The last third of a word in three is checksum; all of it that fills a byte goes.
    bytes.truncate(words.len() / 3 * 4);
    if *phrase(&bytes)? != words.join(" ") {
        return Err(KeyError::Words(
            "the words do not belong together (their checksum is wrong): one is mistyped, missing or out of order".to_owned(),
        ));
    }
    Ok(bytes)
}

/// The secret key of words that were checked.
pub(super) fn key(phrase: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let signer = MnemonicBuilder::<English>::default()
        .phrase(phrase)
        .build()
        .map_err(|_| KeyError::Damaged("its words lead to no key"))?;
    Ok(Zeroizing::new(signer.to_bytes().0))
}
