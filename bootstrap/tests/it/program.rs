//! The program: what it prints, what it keeps, how it ends.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-bootstrap"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ASSAY_")) {
        command.env_remove(name);
    }
    command
}

/// Ends the program when a test fails half-way.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(key: &Path) -> (Self, serde_json::Value) {
        let mut child = command()
            .args(["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--json"])
            .arg("--key-file")
            .arg(key)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        (Self(child), serde_json::from_str(&line).unwrap())
    }

    fn signal(mut self, name: &str) -> ExitStatus {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
        self.0.wait().unwrap()
    }
}

#[test]
fn it_keeps_its_identity_and_ends_cleanly_on_both_signals() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("bootstrap.key");
    let mut identities = Vec::new();
    for signal in ["TERM", "INT"] {
        let (running, line) = Running::start(&key);
        assert_eq!(line["event"], "listening");
        let peer = line["peer_id"].as_str().unwrap().to_owned();
        let address = line["addresses"][0].as_str().unwrap();
        assert!(
            address.ends_with(&format!("/quic-v1/p2p/{peer}")),
            "{address}"
        );
        assert!(!address.contains("/udp/0/"), "{address}");
        identities.push(peer);
        assert!(running.signal(signal).success(), "{signal}");
    }
    assert_eq!(identities[0], identities[1]);
}

#[test]
fn help_shows_examples_before_the_flags() {
    let output = command().arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let examples = help.find("Examples:").unwrap();
    let flags = help.find("--external-address <MULTIADDR>").unwrap();
    assert!(examples < flags, "{help}");
}

#[test]
fn a_useless_network_name_is_refused_before_a_key_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("bootstrap.key");
    let mut child = command()
        .args(["--network", "Not A Name", "--key-file"])
        .arg(&key)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut message = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut message).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(message.contains("network name"), "{message}");
    assert!(!key.exists());
}
