//! A development network of real processes.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use assay_node::chain::{Audit, audit};
use serde_json::Value;
use tempfile::TempDir;

/// Pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until `condition` gives something, at most `limit`.
///
/// # Errors
/// When it never does; names `what`.
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {limit:?}");
        }
        wait_a_little();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks at a condition with a deadline"
)]
fn wait_a_little() {
    std::thread::sleep(LOOK);
}

/// One node's folder, and its process when it runs.
pub struct Process {
    /// Name, for messages.
    pub name: String,
    /// Data directory.
    pub dir: PathBuf,
    program: PathBuf,
    child: Option<Child>,
}

impl Process {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--data-dir")
            .arg(&self.dir)
            .arg("--json")
            .stdin(Stdio::null())
            .env("ASSAY_LOG", "warn");
        command
    }

    /// Runs a command of the program against this folder and gives the last JSON document on standard output.
    ///
    /// # Errors
    /// With the program's own words when it fails.
    pub fn ask(&self, args: &[&str]) -> anyhow::Result<Value> {
        let output = self.command().args(args).output()?;
        if !output.status.success() {
            bail!(
                "{} {args:?}: {}: {}",
                self.name,
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or("null");
        serde_json::from_str(&text)
            .or_else(|_| serde_json::from_str(last))
            .context("the program prints JSON")
    }

    /// Exit code and standard error of a command that is expected to fail.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn fail(&self, args: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let output = self.command().args(args).output()?;
        Ok((
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }

    /// Starts a long-running command; its standard error goes to a log file in the folder.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(&self, log: &str, args: &[&str]) -> anyhow::Result<Child> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("{log}.log")))?;
        Ok(self
            .command()
            .args(args)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?)
    }

    /// `assay init` for the network of this profile.
    ///
    /// # Errors
    /// With the program's own words.
    pub fn join(&self, profile: &Path, role: Option<&str>) -> anyhow::Result<()> {
        let profile = profile.to_string_lossy();
        let mut args = vec!["init", "--profile", &profile];
        args.extend(
            role.iter()
                .flat_map(|role| ["--role", role, "--stake", "1000"]),
        );
        self.ask(&args).map(|_| ())
    }

    /// `assay run`, until its control API answers. Returns the time that took.
    ///
    /// # Errors
    /// When it does not come up within half a minute.
    pub fn start(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.child = Some(self.spawn("run", &["run"])?);
        eventually(
            &format!("{} answers", self.name),
            Duration::from_secs(30),
            || self.ask(&["status"]).ok(),
        )?;
        Ok(begun.elapsed())
    }

    /// Process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may be dead already, which is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `assay devnet` for a network of so many validators.
fn start_chain(devnet: &mut Process, validators: usize) -> anyhow::Result<()> {
    let least = validators.to_string();
    let args = [
        "devnet",
        "--port",
        "0",
        "--block-ms",
        "250",
        "--validators-min",
        &least,
    ];
    devnet.child = Some(devnet.spawn("devnet", &args)?);
    Ok(())
}

/// A chain with a first-contact server, validators, a client, labelers: one process each.
pub struct Network {
    /// Chain and first contact.
    pub devnet: Process,
    /// Committee.
    pub validators: Vec<Process>,
    /// Who pays.
    pub client: Process,
    /// Who labels.
    pub labelers: Vec<Process>,
    /// Everything on disk.
    pub dir: TempDir,
}

impl Network {
    /// The network's profile.
    pub fn profile(&self) -> PathBuf {
        self.devnet.dir.join("devnet").join("profile.toml")
    }

    /// Starts the chain's process again after it was killed; it goes on with what it wrote.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn restart_chain(&mut self) -> anyhow::Result<()> {
        start_chain(&mut self.devnet, self.validators.len())
    }

    /// Plays the whole chain through the ledger twin; both must have kept the same books.
    ///
    /// # Errors
    /// Names the transaction, account or sum in which they differ.
    pub fn audit(&self) -> anyhow::Result<Audit> {
        let profile = toml::from_str(&std::fs::read_to_string(self.profile())?)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(audit(&profile))?)
    }

    /// A folder for one more node; nothing runs in it yet.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn newcomer(&self, name: &str) -> anyhow::Result<Process> {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(Process {
            name: name.to_owned(),
            dir,
            program: self.devnet.program.clone(),
            child: None,
        })
    }

    /// Starts everything and waits until a committee is drawn. `program` is the `assay` binary.
    ///
    /// # Errors
    /// Names what did not come up.
    pub fn start(program: &Path, validators: usize, labelers: usize) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let process = |name: String| -> anyhow::Result<Process> {
            let folder = dir.path().join(&name);
            std::fs::create_dir_all(&folder)?;
            Ok(Process {
                name,
                dir: folder,
                program: program.to_owned(),
                child: None,
            })
        };
        let mut devnet = process("devnet".into())?;
        start_chain(&mut devnet, validators)?;
        let profile = devnet.dir.join("devnet").join("profile.toml");
        eventually("the network's profile", Duration::from_secs(30), || {
            profile.exists().then_some(())
        })?;
        let join = |name: String, role: &str| -> anyhow::Result<Process> {
            let mut node = process(name)?;
            node.join(&profile, Some(role))?;
            node.start()?;
            Ok(node)
        };
        let validators = (0..validators)
            .map(|i| join(format!("validator-{i}"), "validator"))
            .collect::<Result<Vec<_>, _>>()?;
        let client = join("client".into(), "client")?;
        let labelers = (0..labelers)
            .map(|i| join(format!("labeler-{i}"), "labeler"))
            .collect::<Result<Vec<_>, _>>()?;
        let network = Self {
            devnet,
            validators,
            client,
            labelers,
            dir,
        };
        let all = network
            .validators
            .iter()
            .chain([&network.client])
            .chain(&network.labelers);
        for node in all {
            eventually(
                &format!("{} sees the committee and itself registered", node.name),
                Duration::from_secs(60),
                || {
                    let status = node.ask(&["status"]).ok()?;
                    let drawn = status["lanes"][0]["committee"].as_u64()?
                        == network.validators.len() as u64;
                    (drawn && status["account"]["registration"] == "registered").then_some(())
                },
            )?;
        }
        Ok(network)
    }
}
