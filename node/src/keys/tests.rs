//! Published vectors, the way there and back, and files that mean harm.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Test vectors of the "Web3 Secret Storage Definition", as go-ethereum keeps them: name -> file, password, key.
const VECTORS: &str = r#"{
  "scrypt": {
    "json": {"crypto": {"cipher": "aes-128-ctr", "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
      "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c", "kdf": "scrypt",
      "kdfparams": {"dklen": 32, "n": 262144, "r": 1, "p": 8, "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
      "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},
      "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3},
    "password": "testpassword", "priv": "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"},
  "pbkdf2": {
    "json": {"crypto": {"cipher": "aes-128-ctr", "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
      "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46", "kdf": "pbkdf2",
      "kdfparams": {"c": 262144, "dklen": 32, "prf": "hmac-sha256", "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
      "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
      "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3},
    "password": "testpassword", "priv": "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"},
  "31 bytes": {
    "json": {"crypto": {"cipher": "aes-128-ctr", "cipherparams": {"iv": "e0c41130a323adc1446fc82f724bca2f"},
      "ciphertext": "9517cd5bdbe69076f9bf5057248c6c050141e970efa36ce53692d5d59a3984", "kdf": "scrypt",
      "kdfparams": {"dklen": 32, "n": 2, "r": 8, "p": 1, "salt": "711f816911c92d649fb4c84b047915679933555030b3552c1212609b38208c63"},
      "mac": "d5e116151c6aa71470e67a7d42c9620c75c4d23229847dcc127794f0732b0db5"},
      "id": "fecfc4ce-e956-48fd-953b-30f8b52ed66c", "version": 3},
    "password": "foo", "priv": "fa7b3db73dc7dfdf8c5fbdb796d741e4488628c41fc4febd9160a866ba0f35"},
  "30 bytes": {
    "json": {"crypto": {"cipher": "aes-128-ctr", "cipherparams": {"iv": "3ca92af36ad7c2cd92454c59cea5ef00"},
      "ciphertext": "108b7d34f3442fc26ab1ab90ca91476ba6bfa8c00975a49ef9051dc675aa", "kdf": "scrypt",
      "kdfparams": {"dklen": 32, "n": 2, "r": 8, "p": 1, "salt": "d0769e608fb86cda848065642a9c6fa046845c928175662b8e356c77f914cd3b"},
      "mac": "75d0e6759f7b3cefa319c3be41680ab6beea7d8328653474bd06706d4cc67420"},
      "id": "a37e1559-5955-450d-8075-7b8931b392b2", "version": 3},
    "password": "foo", "priv": "81c29e8142bb6a81bef5a92bda7a8328a5c85bb2f9542e76f9b0f94fc018"}
}"#;
/// Cheap enough for hundreds of tries.
const WEAK: u8 = 1;

fn password(text: &str) -> Password {
    Password::new(text.as_bytes().to_vec())
}

fn keystore(bytes: &[u8]) -> Result<Keystore, KeyError> {
    match KeyFile::parse(bytes)? {
        KeyFile::Encrypted(keystore) => Ok(*keystore),
        KeyFile::Plain(_) => panic!("a plain key"),
    }
}

fn weak(secret: &AccountSecret) -> Value {
    let sealed = Keystore::seal(secret, &password("pw"), WEAK).unwrap();
    serde_json::from_str(&sealed.to_json()).unwrap()
}

#[test]
fn the_published_keystores_open_to_their_keys() {
    let vectors: serde_json::Map<String, Value> = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors.len(), 4);
    for (name, vector) in vectors {
        let file = keystore(vector["json"].to_string().as_bytes()).unwrap();
        let opened = file.open(&password(vector["password"].as_str().unwrap()));
        let key = opened.unwrap().evm().secret();
        let want = format!("{:0>64}", vector["priv"].as_str().unwrap());
        assert_eq!(hex::encode(key), want, "{name}");
    }
}

#[test]
fn a_wrong_password_opens_nothing() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let file = keystore(vectors["31 bytes"]["json"].to_string().as_bytes()).unwrap();
    for wrong in ["", "fo", "foo ", "Foo"] {
        let refused = file.open(&password(wrong)).expect_err(wrong);
        assert_eq!(refused, KeyError::WrongPassword);
    }
}

#[test]
fn the_words_of_every_development_chain_lead_to_its_first_account() {
    let words = "test test test test test test test test test test test junk";
    let secret = AccountSecret::from_words(words).unwrap();
    assert_eq!(
        secret.account().to_string(),
        "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"
    );
    assert_eq!(secret.words().unwrap().as_str(), words);
    let typed = "  Test test\ttest test test test\n test test test test TEST junk ";
    assert_eq!(
        AccountSecret::from_words(typed).unwrap().words(),
        secret.words()
    );
}

/// Vectors of BIP-39 itself: entropy and words.
#[test]
fn entropy_and_words_are_those_of_bip_39() {
    for (entropy, phrase) in [
        (
            "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "legal winner thank year wave sausage worth useful legal winner thank yellow",
        ),
        (
            "808080808080808080808080808080808080808080808080",
            "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter always",
        ),
        (
            "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
            "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel tennis maple dilemma loan word shrug inflict delay length",
        ),
    ] {
        assert_eq!(hex::encode(&*words::entropy(phrase).unwrap()), entropy);
        let again = words::phrase(&hex::decode(entropy).unwrap()).unwrap();
        assert_eq!(again.as_str(), phrase);
    }
}

#[test]
fn a_mistyped_backup_is_refused_and_its_words_are_not_repeated() {
    let good = "test test test test test test test test test test test junk";
    for (typed, why) in [
        (good.replace("junk", "secretword"), "word 12 is not"),
        (good.replace("junk", "test"), "checksum"),
        (good.replace(" junk", ""), "there are 11 words"),
        (format!("{good} {good}"), "checksum"),
        (String::new(), "there are 0 words"),
    ] {
        let refused = AccountSecret::from_words(&typed)
            .expect_err(why)
            .to_string();
        assert!(refused.contains(why), "{refused}");
        assert!(!refused.contains("secretword") && !refused.contains("test"));
    }
}

#[test]
fn new_keys_have_24_words_and_are_kept_at_the_strength_of_geth() {
    let secret = AccountSecret::random().unwrap();
    assert_eq!(secret.words().unwrap().split(' ').count(), 24);
    assert_ne!(AccountSecret::random().unwrap().account(), secret.account());
    let text = secret.to_keystore(&password("correct horse")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    for section in ["crypto", "x-assay-words"] {
        let params = &json[section]["kdfparams"];
        let strength = ["n", "r", "p", "dklen"].map(|name| params[name].as_u64());
        assert_eq!(strength, [Some(262_144), Some(8), Some(1), Some(32)]);
    }
    assert_ne!(
        json["crypto"]["kdfparams"]["salt"], json["x-assay-words"]["kdfparams"]["salt"],
        "each section has a salt of its own"
    );
    assert_eq!(json["address"], secret.account().to_string());
    let file = keystore(text.as_bytes()).unwrap();
    let opened = file.open_with_words(&password("correct horse")).unwrap();
    assert_eq!(
        (opened.account(), opened.words()),
        (secret.account(), secret.words())
    );
}

#[test]
fn nothing_prints_a_secret() {
    let secret = AccountSecret::random().unwrap();
    let text = format!(
        "{secret:?} {:?} {:?}",
        KeyFile::Plain(secret.clone()),
        password("hunter2")
    );
    assert!(!text.contains(&hex::encode(secret.evm().secret())) && !text.contains("hunter2"));
    let words = secret.words().unwrap();
    assert!(!text.contains(words.as_str()));
    assert!(text.contains(&secret.account().to_string()), "{text}");
}

#[test]
fn files_that_ask_for_too_much_or_make_no_sense_are_refused_unopened() {
    let good = weak(&AccountSecret::random().unwrap());
    let with = |change: &dyn Fn(&mut Value)| {
        let mut file = good.clone();
        change(&mut file);
        keystore(file.to_string().as_bytes())
            .expect_err("refused")
            .to_string()
    };
    let params = |name: &'static str, value: Value| {
        with(&move |file| file["crypto"]["kdfparams"][name] = value.clone())
    };
    for (said, why) in [
        (params("n", json!(1u64 << 40)), "too much memory"),
        (params("n", json!(u64::MAX)), "knows no n"),
        (params("n", json!(1u64 << 63)), "too much memory"),
        (params("n", json!(0)), "knows no n"),
        (params("n", json!(3)), "knows no n"),
        (params("n", json!(-2)), "invalid value"),
        (params("r", json!(1u64 << 40)), "too much memory"),
        (params("r", json!(0)), "knows no n"),
        (params("p", json!(1u64 << 30)), "too much memory"),
        (params("p", json!(u64::MAX)), "too much memory"),
        (params("dklen", json!(64)), "64 bytes"),
        (params("salt", json!("zz")), "`salt`"),
        (params("salt", json!("00".repeat(300))), "more than 256"),
        (with(&|f| f["crypto"]["mac"] = json!("00")), "`mac`"),
        (
            with(&|f| f["crypto"]["cipherparams"]["iv"] = json!("0")),
            "`iv`",
        ),
        (
            with(&|f| f["crypto"]["ciphertext"] = json!("00".repeat(33))),
            "more than 32",
        ),
        (
            with(&|f| f["crypto"]["cipher"] = json!("aes-256-cbc")),
            "aes-128-ctr",
        ),
        (with(&|f| f["crypto"]["kdf"] = json!("argon2")), "argon2"),
        (with(&|f| f["version"] = json!(4)), "version 4"),
        (with(&|f| f["address"] = json!("0x12")), "`address`"),
        (
            with(&|f| f["x-assay-words"]["kdfparams"]["n"] = json!(1u64 << 40)),
            "too much memory",
        ),
        (
            with(&|f| {
                f["crypto"]["kdf"] = json!("pbkdf2");
                f["crypto"]["kdfparams"] =
                    json!({"c": 4_000_000_000u64, "dklen": 32, "prf": "hmac-sha256", "salt": ""});
            }),
            "rounds",
        ),
    ] {
        assert!(said.contains(why), "{said:?} does not say {why:?}");
    }
}

#[test]
fn bytes_that_are_no_key_are_refused() {
    let hex = "11".repeat(32);
    let words = "test test test test test test test test test test test junk";
    for (bytes, why) in [
        (vec![b' '; KEY_FILE_BYTES_MAX + 1], "larger than"),
        (vec![0xff, 0xfe], "not text"),
        (Vec::new(), "64 hexadecimal digits"),
        (b"{".to_vec(), "EOF"),
        (b"{\"version\":3}".to_vec(), "missing field"),
        ("{\"crypto\":".repeat(5_000).into_bytes(), "recursion"),
        (hex.as_bytes()[1..].to_vec(), "64 hexadecimal digits"),
        ("zz".repeat(32).into_bytes(), "64 hexadecimal digits"),
        ("00".repeat(32).into_bytes(), "no secp256k1 key"),
        ("ff".repeat(32).into_bytes(), "no secp256k1 key"),
        (format!("{hex}\n{words}\n").into_bytes(), "another key"),
        (
            format!("{hex}\nnot words\n").into_bytes(),
            "there are 2 words",
        ),
        (
            format!("{hex}\n{words}\n{hex}\n").into_bytes(),
            "third line",
        ),
    ] {
        let refused = KeyFile::parse(&bytes).expect_err(why).to_string();
        assert!(refused.contains(why), "{refused:?} does not say {why:?}");
    }
}

#[test]
fn a_keystore_that_holds_another_key_than_it_says_is_damaged() {
    let (one, other) = (
        AccountSecret::random().unwrap(),
        AccountSecret::random().unwrap(),
    );
    let mut file = weak(&one);
    file["address"] = json!(other.account().to_string());
    let opened = keystore(file.to_string().as_bytes())
        .unwrap()
        .open(&password("pw"));
    assert!(matches!(opened, Err(KeyError::Damaged(_))), "{opened:?}");
    let mut file = weak(&one);
    file["x-assay-words"] = weak(&other)["x-assay-words"].clone();
    let file = keystore(file.to_string().as_bytes()).unwrap();
    assert_eq!(file.open(&password("pw")).unwrap().account(), one.account());
    let opened = file.open_with_words(&password("pw"));
    assert!(matches!(opened, Err(KeyError::Damaged(_))), "{opened:?}");
}

fn any_secret() -> impl Strategy<Value = AccountSecret> {
    let sizes = prop::sample::select(vec![16usize, 20, 24, 28, 32]);
    sizes
        .prop_flat_map(|n| prop::collection::vec(any::<u8>(), n))
        .prop_map(|entropy| AccountSecret::from_entropy(Zeroizing::new(entropy)).unwrap())
}

proptest! {
    #[test]
    fn every_key_survives_both_ways_of_keeping_it(secret in any_secret(), word in ".{0,40}") {
        let same = |other: &AccountSecret| other.account() == secret.account() && other.words() == secret.words();
        let KeyFile::Plain(plain) = KeyFile::parse(secret.to_plain().as_bytes()).unwrap() else { panic!("encrypted") };
        prop_assert!(same(&plain));
        let sealed = Keystore::seal(&secret, &password(&word), WEAK).unwrap();
        let read = keystore(sealed.to_json().as_bytes()).unwrap();
        prop_assert_eq!(&read, &sealed);
        prop_assert!(same(&read.open_with_words(&password(&word)).unwrap()));
        prop_assert_eq!(read.open(&password(&(word + "x"))).unwrap_err(), KeyError::WrongPassword);
    }

    #[test]
    fn whatever_parameters_are_accepted_stay_within_bounds(n in prop_oneof![any::<u64>(), (0u32..64).prop_map(|b| 1 << b)], r in prop_oneof![any::<u64>(), 0u64..64], p in prop_oneof![any::<u64>(), 0u64..64]) {
        let mut file = weak(&AccountSecret::from_key(Zeroizing::new([1; 32])).unwrap());
        file["crypto"]["kdfparams"]["n"] = json!(n);
        file["crypto"]["kdfparams"]["r"] = json!(r);
        file["crypto"]["kdfparams"]["p"] = json!(p);
        if keystore(file.to_string().as_bytes()).is_ok() {
            let (n, r, p) = (u128::from(n), u128::from(r), u128::from(p));
            prop_assert!(128 * r * (n + p) <= 512 << 20 && n * r * p <= 1 << 24);
        }
    }

    #[test]
    fn damaged_files_never_panic_and_never_open_to_another_key(secret in any_secret(), at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>()) {
        let mut bytes = Keystore::seal(&secret, &password("pw"), WEAK).unwrap().to_json().into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
        if let Ok(KeyFile::Encrypted(file)) = KeyFile::parse(&bytes)
            && let Ok(opened) = file.open_with_words(&password("pw")) {
            prop_assert_eq!(opened.account(), secret.account());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\{?.{0,200}") {
        let _ = KeyFile::parse(&bytes);
        let _ = KeyFile::parse(text.as_bytes());
        let _ = AccountSecret::from_words(&text);
    }
}
