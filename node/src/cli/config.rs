//! Settings of a node: `config.toml`. Flat on purpose, every field documented in the file, unknown fields refused with their line.

use std::{collections::BTreeMap, path::Path};

use assay_protocol::{amount::Amount, id::Account, lane::role, network::NetworkProfile};
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use super::{
    args::RoleName,
    failure::{Exit, Failure},
};

/// Settings as they stand in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Network profile; relative paths start at the node's folder.
    pub profile: String,
    /// `client`, `labeler`, `validator`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Whole tokens as text.
    #[serde(default = "zero")]
    pub stake: String,
    /// Address that pay goes to; empty: the node's own account.
    #[serde(default)]
    pub payee: String,
    /// Multiaddresses.
    #[serde(default)]
    pub listen: Vec<String>,
    /// Port of the control API on 127.0.0.1; 0: any.
    #[serde(default)]
    pub api_port: u16,
    /// Milliseconds between two looks at the chain; 0: what fits the network.
    #[serde(default)]
    pub poll_ms: u64,
}

fn zero() -> String {
    "0".to_owned()
}

/// What stands above each field in the file, in file order.
const FIELDS: [(&str, &str); 7] = [
    (
        "profile",
        "The network: its profile file. Relative paths start at this folder.",
    ),
    (
        "roles",
        "Roles to register for: \"client\", \"labeler\", \"validator\". Empty: only watch.",
    ),
    (
        "stake",
        "Stake in whole tokens, locked when the node registers.",
    ),
    (
        "payee",
        "Address that pay goes to. Empty: the node's own account (`assay wallet show`).",
    ),
    ("listen", "Addresses to listen on for other nodes."),
    (
        "api_port",
        "Port of the control API on 127.0.0.1. 0: any free one.",
    ),
    (
        "poll_ms",
        "Milliseconds between two looks at the chain. 0: what fits the network.",
    ),
];

/// Settings in the form in which the node wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Bits of [`role`].
    pub roles: u8,
    /// Base units.
    pub stake: Amount,
    /// None: the node's own account.
    pub payee: Option<Account>,
    /// Addresses.
    pub listen: Vec<Multiaddr>,
}

/// Role bit of a name.
pub fn role_bit(name: RoleName) -> u8 {
    match name {
        RoleName::Client => role::CLIENT,
        RoleName::Labeler => role::LABELER,
        RoleName::Validator => role::VALIDATOR,
    }
}

impl Config {
    /// Reads settings; `path` only for messages.
    ///
    /// # Errors
    /// What is wrong, with the line.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|e: toml::de::Error| {
            let names = FIELDS.map(|(name, _)| name).join(", ");
            Failure::new(
                Exit::Config,
                format!("{}: {}", path.display(), e.to_string().trim_end()),
            )
            .next(format!("the settings are: {names}"))
        })
    }

    /// The file, with a line on every field.
    pub fn to_toml(&self) -> String {
        let mut text =
            "# Settings of an Assay node. Changes take effect when it starts again.\n".to_owned();
        for (name, about) in FIELDS {
            text.push_str(&format!("\n# {about}\n{name} = {}\n", self.value(name)));
        }
        text
    }

    fn value(&self, name: &str) -> toml::Value {
        let list = |items: &[String]| {
            toml::Value::Array(items.iter().cloned().map(toml::Value::String).collect())
        };
        match name {
            "profile" => toml::Value::String(self.profile.clone()),
            "roles" => list(&self.roles),
            "stake" => toml::Value::String(self.stake.clone()),
            "payee" => toml::Value::String(self.payee.clone()),
            "listen" => list(&self.listen),
            "api_port" => toml::Value::Integer(i64::from(self.api_port)),
            _ => toml::Value::Integer(i64::try_from(self.poll_ms).unwrap_or(i64::MAX)),
        }
    }

    /// One setting as text.
    ///
    /// # Errors
    /// An unknown name.
    pub fn get(&self, name: &str) -> Result<String, Failure> {
        known(name)?;
        Ok(match self.value(name) {
            toml::Value::String(text) => text,
            toml::Value::Array(items) => {
                let items: Vec<&str> = items.iter().filter_map(toml::Value::as_str).collect();
                items.join(",")
            }
            other => other.to_string(),
        })
    }

    /// All settings by name.
    pub fn all(&self) -> BTreeMap<&'static str, toml::Value> {
        FIELDS
            .iter()
            .map(|(name, _)| (*name, self.value(name)))
            .collect()
    }

    /// The same settings with one changed.
    ///
    /// # Errors
    /// An unknown name or a value of the wrong shape.
    pub fn with(&self, name: &str, value: &str) -> Result<Self, Failure> {
        known(name)?;
        let list = || {
            value
                .split(',')
                .map(str::trim)
                .filter(|v| !v.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let bad =
            |want: &str| Failure::new(Exit::Usage, format!("{name}: {value:?} is not {want}"));
        let mut new = self.clone();
        match name {
            "profile" => new.profile = value.to_owned(),
            "roles" => new.roles = list(),
            "stake" => new.stake = value.to_owned(),
            "payee" => new.payee = value.to_owned(),
            "listen" => new.listen = list(),
            "api_port" => new.api_port = value.parse().map_err(|_| bad("a port, 0 to 65535"))?,
            _ => new.poll_ms = value.parse().map_err(|_| bad("a number of milliseconds"))?,
        }
        Ok(new)
    }

    /// Checks every field against the network.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn resolve(&self, profile: &NetworkProfile) -> Result<Resolved, Failure> {
        let bad = |field: &str, why: String| {
            Failure::new(Exit::Config, format!("settings, field `{field}`: {why}"))
                .next(format!("correct it with `assay config set {field} VALUE`"))
        };
        let mut roles = 0;
        for name in &self.roles {
            roles |= <RoleName as clap::ValueEnum>::from_str(name, false)
                .map(role_bit)
                .map_err(|_| {
                    bad(
                        "roles",
                        format!("{name:?} is no role; roles are: client, labeler, validator"),
                    )
                })?;
        }
        let stake = Amount::parse_decimal(&self.stake, profile.params.token_decimals)
            .map_err(|why| bad("stake", why))?;
        let payee = match self.payee.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|e: assay_protocol::id::ParseIdError| bad("payee", e.to_string()))?,
            ),
        };
        let mut listen = Vec::new();
        for text in &self.listen {
            listen.push(
                text.parse()
                    .map_err(|e| bad("listen", format!("{text:?}: {e}")))?,
            );
        }
        if self.poll_ms != 0 && !(50..=60_000).contains(&self.poll_ms) {
            return Err(bad(
                "poll_ms",
                format!("{} is not 0 or 50 to 60000", self.poll_ms),
            ));
        }
        Ok(Resolved {
            roles,
            stake,
            payee,
            listen,
        })
    }
}

fn known(name: &str) -> Result<(), Failure> {
    if FIELDS.iter().any(|(field, _)| *field == name) {
        return Ok(());
    }
    let names = FIELDS.map(|(name, _)| name).join(", ");
    Err(
        Failure::new(Exit::Usage, format!("there is no setting {name:?}"))
            .next(format!("the settings are: {names}")),
    )
}

/// `text` with the line of `name` changed to that of `new`; the rest, with a person's own comments, stays. Falls back to writing the
/// whole file anew when the line cannot be found or stands for more than itself.
pub fn change_line(text: &str, name: &str, new: &Config) -> String {
    let line = format!("{name} = {}", new.value(name));
    let is_it = |l: &str| {
        l.trim_start()
            .strip_prefix(name)
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut changed: Vec<&str> = text.lines().collect();
    match changed.iter().position(|l| is_it(l)) {
        Some(place) => changed[place] = &line,
        None => changed.push(&line),
    }
    let mut changed = changed.join("\n");
    changed.push('\n');
    match toml::from_str::<Config>(&changed) {
        Ok(read) if read == *new => changed,
        _ => new.to_toml(),
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::network::{CodeHashes, Contracts, Extras, Params};

    use super::*;

    fn config() -> Config {
        Config {
            profile: "profile.toml".into(),
            roles: vec!["labeler".into(), "client".into()],
            stake: "12.5".into(),
            payee: String::new(),
            listen: vec!["/ip4/0.0.0.0/udp/4001/quic-v1".into()],
            api_port: 0,
            poll_ms: 0,
        }
    }

    fn profile() -> NetworkProfile {
        let zero = Account::default();
        NetworkProfile {
            name: "dev".into(),
            chain_id: 31_337,
            dev: true,
            rpc: vec!["http://127.0.0.1:1".into()],
            bootstrap: Vec::new(),
            start_block: 0,
            contracts: Contracts {
                token: zero,
                registry: zero,
                escrow: zero,
                anchor: zero,
                distributors: vec![zero],
                beacon: zero,
            },
            code: CodeHashes::none(1),
            extras: Extras::default(),
            params: Params::dev(),
        }
    }

    fn read(text: &str) -> Result<Config, Failure> {
        Config::from_toml(text, Path::new("config.toml"))
    }

    #[test]
    fn settings_survive_the_way_through_their_file() {
        assert_eq!(read(&config().to_toml()), Ok(config()));
        let odd = Config {
            profile: "a \"quoted\" \\ path".into(),
            payee: format!("0x{}", "11".repeat(20)),
            ..config()
        };
        assert_eq!(read(&odd.to_toml()), Ok(odd));
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let refused = read("profile = \"p\"\n\nrols = [\"labeler\"]\n").expect_err("misspelt");
        assert_eq!(refused.exit, Exit::Config);
        assert!(
            refused.text.contains("line 3") && refused.text.contains("rols"),
            "{}",
            refused.text
        );
        assert!(refused.next.contains("roles"));
        let refused = read("profile = \"p\"\napi_port = 70000\n").expect_err("no port");
        assert!(refused.text.contains("line 2"), "{}", refused.text);
    }

    #[test]
    fn every_field_can_be_read_and_changed_by_name() {
        for (name, value) in [
            ("profile", "other.toml"),
            ("roles", "validator"),
            ("stake", "7"),
            ("payee", "0x2222222222222222222222222222222222222222"),
            ("listen", "/ip4/127.0.0.1/tcp/1,/ip4/127.0.0.1/tcp/2"),
            ("api_port", "7411"),
            ("poll_ms", "250"),
        ] {
            let changed = config().with(name, value).unwrap();
            assert_eq!(changed.get(name).as_deref(), Ok(value));
            assert_ne!(changed, config());
        }
        assert_eq!(
            config().with("nonsense", "1").expect_err("unknown").exit,
            Exit::Usage
        );
        assert!(config().with("api_port", "65536").is_err());
    }

    #[test]
    fn changing_a_line_keeps_a_persons_comments() {
        let text = config()
            .to_toml()
            .replace("# Port of", "# my own note\n# Port of");
        let new = config().with("api_port", "7411").unwrap();
        let changed = change_line(&text, "api_port", &new);
        assert!(changed.contains("# my own note") && changed.contains("api_port = 7411"));
        assert_eq!(read(&changed), Ok(new));
    }

    #[test]
    fn a_list_over_several_lines_and_a_missing_line_are_changed_too() {
        let text = "profile = \"profile.toml\"\nroles = [\n  \"labeler\",\n  \"client\",\n]\nstake = \"12.5\"\nlisten = [\"/ip4/0.0.0.0/udp/4001/quic-v1\"]\n";
        assert_eq!(read(text), Ok(config()));
        for (name, value) in [("roles", "validator"), ("poll_ms", "250")] {
            let new = config().with(name, value).unwrap();
            assert_eq!(read(&change_line(text, name, &new)), Ok(new));
        }
    }

    #[test]
    fn wrong_values_are_named_with_the_field() {
        let resolved = config().resolve(&profile()).unwrap();
        assert_eq!(
            (resolved.roles, resolved.stake),
            (role::CLIENT | role::LABELER, Amount(12_500_000))
        );
        for (name, value) in [
            ("roles", "king"),
            ("stake", "1e3"),
            ("stake", "0.0000001"),
            ("payee", "0x12"),
            ("listen", "nowhere"),
            ("poll_ms", "1"),
        ] {
            let refused = config()
                .with(name, value)
                .unwrap()
                .resolve(&profile())
                .expect_err(value);
            assert_eq!(refused.exit, Exit::Config);
            assert!(refused.text.contains(name), "{}", refused.text);
        }
    }
}
