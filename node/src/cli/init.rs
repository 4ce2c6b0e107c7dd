//! `assay init`: a node's folder. Existing keys are kept (a restored backup), an existing node is never touched.

use assay_protocol::{amount::Amount, network::NetworkProfile};

use super::{
    args::{InitArgs, RoleName},
    config::Config,
    failure::{Exit, Failure},
    folder::{self, Folder},
    password::Passwords,
    text::Printer,
    wallet,
};
use crate::net::PeerKey;

/// Stake on development networks when none is named, whole tokens: above every role's minimum there.
const STAKE_DEV: &str = "1000";

/// Makes the folder.
///
/// # Errors
/// An existing node, a wrong profile or stake, a file system that refuses.
pub fn run(folder: &Folder, args: &InitArgs, printer: Printer) -> Result<(), Failure> {
    let config_path = folder.config_path();
    if config_path.exists() {
        return Err(Failure::new(
            Exit::Config,
            format!("there is a node in {} already", folder.path().display()),
        )
        .next("run it with `assay run`, or make another one with --data-dir OTHER"));
    }
    let profile = folder::read_profile(&args.profile)?;
    let config = config(args, &profile)?;
    config.resolve(&profile)?;

    let passwords = Passwords::new(&args.password);
    let password = if folder.evm_key_path().exists() {
        None
    } else {
        passwords.for_new_key(!profile.dev, printer)?
    };

    folder::make_private_folder(folder.path())?;
    folder::make_private_folder(&folder.keys_path())?;
    let keys = wallet::find_or_make(folder, password.as_ref(), &passwords, printer)?;
    let text = toml::to_string(&profile)
        .map_err(|e| Failure::new(Exit::Config, format!("the profile cannot be copied: {e}")))?;
    folder::replace(&folder.path().join(&config.profile), 0o600, &text)?;
    // Last, so that an interrupted `init` can be repeated.
    folder::replace(&config_path, 0o600, &config.to_toml())?;

    let (account, peer_id) = (keys.account, PeerKey(keys.node.public().0).to_string());
    let open = wallet::not_encrypted(&folder.evm_key_path());
    if !keys.encrypted && !profile.dev {
        printer.warn(&open);
    }
    if printer.json {
        return printer.data(&serde_json::json!({
            "folder": folder.path(), "peer_id": peer_id, "account": format!("0x{account}"), "network": profile.name,
            "encrypted": keys.encrypted,
        }));
    }
    printer.line(&format!("account  0x{account}"))?;
    printer.line(&format!("peer id  {peer_id}"))?;
    printer.say(&format!(
        "Made a node of network {:?} in {}.",
        profile.name,
        folder.path().display()
    ));
    if !keys.encrypted && profile.dev {
        printer.say(&open);
    }
    printer.say(&format!(
        "Write down the words of the account (`assay wallet backup`) and keep a copy of {}: pay and stake belong to those keys.",
        folder.keys_path().display()
    ));
    if !profile.dev && !config.roles.is_empty() {
        printer.say(&format!(
            "Send the stake ({} tokens) and some gas money to the account.",
            config.stake
        ));
    }
    printer.say(&format!(
        "Next: assay run --data-dir {}",
        folder.path().display()
    ));
    Ok(())
}

fn config(args: &InitArgs, profile: &NetworkProfile) -> Result<Config, Failure> {
    let mut roles = args.roles.clone();
    roles.sort_unstable();
    roles.dedup();
    let stake = match &args.stake {
        Some(stake) => stake.clone(),
        None if roles.is_empty() => "0".to_owned(),
        None if profile.dev => STAKE_DEV.to_owned(),
        None => {
            return Err(Failure::new(Exit::Usage, "a role needs a stake")
                .next("name it with --stake TOKENS; the network's operators publish the minimum of each role"));
        }
    };
    Amount::parse_decimal(&stake, profile.params.token_decimals)
        .map_err(|why| Failure::new(Exit::Usage, format!("--stake: {why}")))?;
    let hosts: [&str; 2] = if profile.dev {
        ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"]
    } else {
        ["/ip4/0.0.0.0/udp/4001/quic-v1", "/ip4/0.0.0.0/tcp/4001"]
    };
    let name = |role: &RoleName| match role {
        RoleName::Client => "client",
        RoleName::Labeler => "labeler",
        RoleName::Validator => "validator",
    };
    Ok(Config {
        profile: "profile.toml".to_owned(),
        roles: roles.iter().map(|r| name(r).to_owned()).collect(),
        stake,
        payee: args.payee.map(|p| format!("0x{p}")).unwrap_or_default(),
        listen: hosts.map(str::to_owned).to_vec(),
        api_port: 0,
        poll_ms: 0,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use assay_protocol::{
        id::Account,
        network::{CodeHashes, Contracts, Extras, Params},
    };

    use super::*;
    use crate::{cli::args::PasswordArgs, keys::KeyFile};

    fn profile(dev: bool) -> NetworkProfile {
        let zero = Account::default();
        NetworkProfile {
            name: "dev".into(),
            chain_id: 31_337,
            dev,
            rpc: vec!["http://127.0.0.1:1".into()],
            bootstrap: Vec::new(),
            start_block: 3,
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

    fn args(dir: &Path, dev: bool) -> InitArgs {
        let path = dir.join("given.toml");
        fs::write(&path, toml::to_string(&profile(dev)).unwrap()).unwrap();
        InitArgs {
            profile: path,
            roles: vec![RoleName::Labeler],
            stake: None,
            payee: None,
            password: PasswordArgs::default(),
        }
    }

    /// Development networks and --json ask nobody.
    fn nobody() -> Passwords {
        Passwords::from_file(None)
    }

    const QUIET: Printer = Printer { json: true };

    #[test]
    fn a_new_node_has_private_keys_settings_and_a_copy_of_the_profile() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(dir.path().join("node"))).unwrap();
        run(&folder, &args(dir.path(), true), QUIET).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(folder.path()), mode(&folder.keys_path())),
            (0o700, 0o700)
        );
        assert_eq!(
            (mode(&folder.node_key_path()), mode(&folder.evm_key_path())),
            (0o600, 0o600)
        );
        let config = folder.config().unwrap();
        assert_eq!(
            (config.roles.as_slice(), config.stake.as_str()),
            (&["labeler".to_owned()][..], STAKE_DEV)
        );
        assert_eq!(folder.profile(&config).unwrap(), profile(true));
        let keys = folder.keys(&nobody()).unwrap();
        assert_ne!(keys.node.seed(), keys.evm.secret());
    }

    #[test]
    fn an_existing_node_is_never_touched() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(dir.path().join("node"))).unwrap();
        let args = args(dir.path(), true);
        run(&folder, &args, QUIET).unwrap();
        let before = folder.keys(&nobody()).unwrap().node.seed();
        let refused = run(&folder, &args, QUIET).expect_err("a node is there");
        assert_eq!(refused.exit, Exit::Config);
        assert_eq!(folder.keys(&nobody()).unwrap().node.seed(), before);
    }

    #[test]
    fn restored_keys_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(dir.path().join("node"))).unwrap();
        let args = args(dir.path(), true);
        run(&folder, &args, QUIET).unwrap();
        let before = folder.keys(&nobody()).unwrap().evm.secret();
        fs::remove_file(folder.config_path()).unwrap();
        run(&folder, &args, QUIET).unwrap();
        assert_eq!(folder.keys(&nobody()).unwrap().evm.secret(), before);
    }

    #[test]
    fn with_a_password_the_account_key_is_encrypted_from_its_first_moment() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(dir.path().join("node"))).unwrap();
        let file = dir.path().join("password");
        fs::write(&file, "correct horse\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut args = args(dir.path(), true);
        args.password.password_file = Some(file.clone());
        run(&folder, &args, QUIET).unwrap();
        let kept = folder::read_key_file(&folder.evm_key_path()).unwrap();
        assert!(matches!(kept, KeyFile::Encrypted(_)) && kept.has_words());
        let keys = folder
            .keys(&Passwords::from_file(Some(file.clone())))
            .unwrap();
        assert_eq!(Some(keys.evm.account()), kept.account());
        fs::write(&file, "another horse").unwrap();
        let refused = folder.keys(&Passwords::from_file(Some(file)));
        let refused = refused.err().expect("a wrong password");
        assert_eq!(refused.exit, Exit::Config);
        assert!(refused.text.contains("the password does not open it"));
    }

    #[test]
    fn a_network_with_value_wants_its_stake_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(dir.path().join("node"))).unwrap();
        let mut args = args(dir.path(), false);
        assert_eq!(
            run(&folder, &args, QUIET).expect_err("no stake").exit,
            Exit::Usage
        );
        args.stake = Some("12.0000001".into());
        assert_eq!(
            run(&folder, &args, QUIET).expect_err("too fine").exit,
            Exit::Usage
        );
        assert!(
            !folder.path().exists(),
            "nothing is made before everything is checked"
        );
        args.stake = Some("250".into());
        run(&folder, &args, QUIET).unwrap();
    }
}
