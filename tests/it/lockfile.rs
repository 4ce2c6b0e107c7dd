//! Version floors held against `Cargo.lock`.
//!
//! Advisory scanners read the RustSec data, and several remote crashes of the network stack never reached it. The floors
//! below are the first fixed releases; this test is what keeps an older copy from coming back through any dependency.
//!
//! It does not judge licences or sources in general (`deny.toml` does) and does not look for newer releases.

use std::cmp::Ordering;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Whether a crate must be in the lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// The project is built on it: its absence means that the floor no longer guards anything.
    Required,
    /// It comes with other crates and may disappear.
    Optional,
}

/// The oldest acceptable release of one crate. Every copy in the lock file must reach it.
#[derive(Debug, Clone, Copy)]
struct Floor {
    name: &'static str,
    oldest: &'static str,
    presence: Presence,
    /// What an older release does wrong.
    because: &'static str,
}

const fn required(name: &'static str, oldest: &'static str, because: &'static str) -> Floor {
    Floor {
        name,
        oldest,
        presence: Presence::Required,
        because,
    }
}

const fn optional(name: &'static str, oldest: &'static str, because: &'static str) -> Floor {
    Floor {
        name,
        oldest,
        presence: Presence::Optional,
        because,
    }
}

const FLOORS: &[Floor] = &[
    required(
        "libp2p",
        "0.57.1",
        "the first release that takes the fixed gossipsub and yamux",
    ),
    required(
        "libp2p-gossipsub",
        "0.50.1",
        "GHSA-gc42-3jg7-rxr2, GHSA-vrx6-jcp8-vm7m: one PRUNE crashes a node",
    ),
    required(
        "libp2p-yamux",
        "0.48.0",
        "older releases bring the vulnerable yamux 0.12 as well",
    ),
    required(
        "yamux",
        "0.14.0",
        "CVE-2026-31814, CVE-2026-32314: one frame crashes a node",
    ),
    required(
        "quinn-proto",
        "0.11.15",
        "RUSTSEC-2026-0037, RUSTSEC-2026-0185: unbounded reassembly",
    ),
    required("hickory-proto", "0.26.1", "RUSTSEC-2026-0119"),
    required(
        "redb",
        "4.5.0",
        "4.2 to 4.5 fixed crashes that lost or locked a database; this one was crash-tested",
    ),
    required(
        "ed25519-dalek",
        "2.0.0",
        "RUSTSEC-2022-0093: signing with a mismatched public key leaks the secret",
    ),
    required(
        "curve25519-dalek",
        "4.1.3",
        "RUSTSEC-2024-0344: timing of scalar subtraction",
    ),
    required(
        "tracing-subscriber",
        "0.3.20",
        "RUSTSEC-2025-0055: escape sequences reach the terminal through the log",
    ),
    optional("ruint", "1.20.0", "RUSTSEC-2026-0220"),
    optional(
        "lru",
        "0.18.2",
        "older releases carry RustSec soundness advisories",
    ),
    optional(
        "alloy-dyn-abi",
        "1.4.1",
        "RUSTSEC-2025-0073: crafted typed data panics the signer",
    ),
    optional(
        "h2",
        "0.4.16",
        "older releases let a peer exhaust memory over HTTP/2",
    ),
];

/// Crates that must not come back, with the reason.
const REFUSED: &[(&str, &str)] = &[("bincode", "unmaintained, and its encoding is not canonical")];

/// The only source besides the workspace's own members.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// One `[[package]]` of the lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Locked {
    name: String,
    version: Version,
    /// `None` for a member of the workspace.
    source: Option<String>,
}

/// A version as Cargo writes it. A pre-release sorts before its release; build metadata is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    pre: Option<String>,
}

impl Version {
    fn parse(text: &str) -> Result<Self> {
        let without_build = text.split('+').next().unwrap_or(text);
        let (core, pre) = match without_build.split_once('-') {
            Some((core, pre)) => (core, Some(pre.to_owned())),
            None => (without_build, None),
        };
        let mut numbers = [0; 3];
        let mut parts = core.split('.');
        for slot in &mut numbers {
            let part = parts
                .next()
                .with_context(|| format!("version `{text}` has fewer than three numbers"))?;
            *slot = part
                .parse()
                .with_context(|| format!("version `{text}`: `{part}` is not a number"))?;
        }
        ensure!(
            parts.next().is_none(),
            "version `{text}` has more than three numbers"
        );
        Ok(Self { numbers, pre })
    }

    fn is_older_than(&self, floor: &Self) -> bool {
        match self.numbers.cmp(&floor.numbers) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => self.pre.is_some() && floor.pre.is_none(),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        self.pre.as_ref().map_or(Ok(()), |pre| write!(f, "-{pre}"))
    }
}

fn read_lock(path: &Path) -> Result<Vec<Locked>> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read {}; the lock file is part of the project, restore it",
            path.display()
        )
    })?;
    parse_lock(&text)
}

fn parse_lock(text: &str) -> Result<Vec<Locked>> {
    let document: toml::Table = text.parse().context("the lock file is not TOML")?;
    let packages = document
        .get("package")
        .and_then(toml::Value::as_array)
        .context("the lock file has no [[package]] entry")?;
    packages
        .iter()
        .map(|package| {
            let field = |key: &str| package.get(key).and_then(toml::Value::as_str);
            let name = field("name").context("a package has no name")?;
            let version =
                field("version").with_context(|| format!("package `{name}` has no version"))?;
            Ok(Locked {
                name: name.to_owned(),
                version: Version::parse(version).with_context(|| format!("package `{name}`"))?,
                source: field("source").map(str::to_owned),
            })
        })
        .collect()
}

/// Every breach as one line, so that a failing run names them all at once.
fn breaches(locked: &[Locked]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for floor in FLOORS {
        let oldest = Version::parse(floor.oldest)?;
        let mut copies = locked
            .iter()
            .filter(|package| package.name == floor.name)
            .peekable();
        if copies.peek().is_none() && floor.presence == Presence::Required {
            found.push(format!(
                "{} is gone from the lock file; drop its floor if that is meant",
                floor.name
            ));
        }
        found.extend(
            copies
                .filter(|package| package.version.is_older_than(&oldest))
                .map(|package| {
                    format!(
                        "{} {} is older than {}: {}",
                        package.name, package.version, floor.oldest, floor.because
                    )
                }),
        );
    }
    for package in locked {
        if let Some((name, because)) = REFUSED.iter().find(|(name, _)| *name == package.name) {
            found.push(format!("{name} {} is refused: {because}", package.version));
        }
        if let Some(source) = package
            .source
            .as_deref()
            .filter(|source| *source != REGISTRY)
        {
            found.push(format!(
                "{} {} comes from {source}, not from the registry",
                package.name, package.version
            ));
        }
    }
    Ok(found)
}

fn check(path: &Path) -> Result<()> {
    let found = breaches(&read_lock(path)?)?;
    if !found.is_empty() {
        bail!(
            "{} breaches the floors:\n  {}",
            path.display(),
            found.join("\n  ")
        );
    }
    Ok(())
}

#[test]
fn the_lock_file_holds_every_floor() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    if let Err(error) = check(&path) {
        panic!("{error:#}");
    }
}

/// A lock file that passes: each required crate at its floor, and one member of the workspace.
fn sound_lock() -> String {
    let mut text =
        String::from("version = 4\n\n[[package]]\nname = \"assay-tests\"\nversion = \"0.1.0\"\n");
    for floor in FLOORS
        .iter()
        .filter(|floor| floor.presence == Presence::Required)
    {
        text.push_str(&entry(floor.name, floor.oldest, REGISTRY));
    }
    text
}

fn entry(name: &str, version: &str, source: &str) -> String {
    format!("\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{source}\"\n")
}

fn breaches_with(extra: &str) -> Vec<String> {
    let text = sound_lock() + extra;
    breaches(&parse_lock(&text).expect("the sample parses")).expect("the floors parse")
}

#[test]
fn a_lock_at_the_floors_passes() {
    assert_eq!(breaches_with(""), Vec::<String>::new());
}

#[test]
fn a_second_older_copy_is_refused_beside_a_good_one() {
    let found = breaches_with(&entry("yamux", "0.13.4", REGISTRY));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("yamux 0.13.4 is older than 0.14.0"),
        "{found:?}"
    );
}

#[test]
fn an_old_optional_crate_is_refused_and_an_absent_one_is_not() {
    assert!(breaches_with(&entry("h2", "0.4.16", REGISTRY)).is_empty());
    let found = breaches_with(&entry("h2", "0.4.9", REGISTRY));
    assert_eq!(
        found.len(),
        1,
        "numbers compare as numbers, not as text: {found:?}"
    );
}

#[test]
fn a_missing_required_crate_is_refused() {
    let text = sound_lock().replace("\"redb\"", "\"another\"");
    let found = breaches(&parse_lock(&text).expect("the sample parses")).expect("the floors parse");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("redb is gone"), "{found:?}");
}

#[test]
fn a_refused_crate_and_a_git_source_are_named() {
    let git = "git+https://example.org/fork";
    let found =
        breaches_with(&(entry("bincode", "2.0.1", REGISTRY) + &entry("forked", "1.0.0", git)));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("bincode 2.0.1 is refused"),
        "{found:?}"
    );
    assert!(found[1].contains(git), "{found:?}");
}

#[test]
fn a_missing_lock_file_is_a_clear_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let error = check(&folder.path().join("Cargo.lock")).expect_err("there is no lock file");
    assert!(format!("{error:#}").contains("restore it"), "{error:#}");
}

#[test]
fn a_lock_file_without_packages_is_a_failure() {
    assert!(parse_lock("version = 4\n").is_err());
    assert!(parse_lock("[[package]]\nname = \"yamux\"\n").is_err());
    assert!(parse_lock("not toml").is_err());
}

#[test]
fn versions_order_as_cargo_orders_them() {
    let version = |text| Version::parse(text).expect("the sample parses");
    for (older, newer) in [
        ("0.9.9", "0.10.0"),
        ("1.2.3", "1.2.4"),
        ("1.0.0-rc.1", "1.0.0"),
        ("0.99.99", "1.0.0"),
    ] {
        assert!(
            version(older).is_older_than(&version(newer)),
            "{older} < {newer}"
        );
        assert!(
            !version(newer).is_older_than(&version(older)),
            "{newer} >= {older}"
        );
    }
    assert!(!version("1.2.3+build.7").is_older_than(&version("1.2.3")));
    for bad in ["", "1", "1.2", "1.2.x", "1.2.3.4"] {
        assert!(Version::parse(bad).is_err(), "`{bad}` is refused");
    }
}
