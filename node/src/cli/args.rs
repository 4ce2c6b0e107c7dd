//! The command line as clap reads it: names, flags, their environment twins, examples. What the commands do stands beside this file.

use std::path::PathBuf;

use assay_protocol::id::{Account, Hash};
use clap::{Args, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};

const TOP: &str = "\
Examples:
  See the whole network work on this machine, with real images and nothing installed:
    assay demo

  Take part in a network, given its profile:
    assay init --profile profile.toml --role labeler
    assay run
    assay work
";
const INIT: &str = "\
Example:
  assay init --profile profile.toml --role labeler --stake 1000
";
const RUN: &str = "\
Example:
  assay run
";
#[cfg(feature = "devchain")]
const DEVNET: &str = "\
Example:
  assay devnet --validators-min 4
";
#[cfg(feature = "devchain")]
const DEMO: &str = "\
Example:
  assay demo --labelers 24 --items 300
";
#[cfg(feature = "devchain")]
const REPLAY: &str = "\
Example:
  assay replay labels.csv --truth truth.csv
";
const PUBLISH: &str = "\
Examples:
  assay publish images.csv --title \"Cat or dog?\" --labels cat,dog --price 0.01 --licence CC-BY-4.0 --dry-run
  assay publish images.csv --spec task.toml --wait
";
const TASK: &str = "\
Examples:
  assay task list
  assay task watch 3fa9
  assay task recover 3fa9
";
const WORK: &str = "\
Examples:
  assay work
  assay work 3fa9 --capacity 50
  assay work 3fa9 --answers answers.csv
";
const EXPORT: &str = "\
Example:
  assay export 3fa9 --format csv --out labels.csv
";
const CLAIM: &str = "\
Examples:
  assay claim
  assay claim --export proof.json
  assay claim --proof proof.json --rpc https://rpc.example --key-file evm.key
";
const SCORE: &str = "\
Examples:
  assay score class labels.csv > result.csv
  assay score class labels.csv --truth truth.csv --out scored
  assay score class labels.csv --explain t0042
  assay score class labels.csv --explain t0042 --json > why.json
  assay score --check-explanation why.json
  assay score rating ratings.tsv --scale 1:5:1 --json
";
const STATUS: &str = "\
Example:
  assay status --json
";
const VERIFY: &str = "\
Examples:
  assay verify result.json
  assay verify proof.json --rpc https://rpc.example
  assay verify profile.toml
";
const DISPUTE: &str = "\
Examples:
  assay dispute
  assay dispute --json
  assay dispute prove 0 7
  assay dispute prove 0 7 --payouts leaves.csv
  assay dispute prove 0 7 --payouts leaves.csv --audits audit.csv
";
const STAKE: &str = "\
Examples:
  assay stake show
  assay stake add 250
";
const BONUS: &str = "\
Examples:
  assay bonus lock 1f3a 500 --token 0x5fbdb2315678afecb367f032d93f642f64180aa3
  assay bonus show 1f3a
  assay bonus claim 1f3a
";
const DATASET: &str = "\
Examples:
  assay dataset publish 1f3a --licence-text LICENCE.txt
  assay dataset show 1f3a
  assay dataset pay 1f3a 25
  assay dataset claim 1f3a
";
const REPUTATION: &str = "\
Examples:
  assay reputation show
  assay reputation prove --out reputation.json
";
const WALLET: &str = "\
Examples:
  assay wallet show
  assay wallet password
  assay wallet backup --out words.txt
  assay wallet restore < words.txt
";
const CONFIG: &str = "\
Example:
  assay config set api_port 7411
";
const VERSION: &str = "\
Example:
  assay version --json
";

/// Assay: a peer-to-peer network that gets data labelled, proves how good the labels are, and pays the people who made them.
#[derive(Debug, Parser)]
#[command(name = "assay", version, before_help = TOP, propagate_version = false, disable_help_subcommand = true)]
pub struct Cli {
    /// Folder of this node: keys, settings, data [default: assay in the XDG data folder]
    #[arg(long, global = true, value_name = "FOLDER", env = "ASSAY_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Machine-readable output: JSON on standard output, errors as JSON on standard error
    #[arg(long, global = true, env = "ASSAY_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Commands. A command's arguments are put together only when it is asked for. They would describe it with their own docs then, so the
/// structures below have plain comments.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Make a node's folder: keys, settings, network profile
    #[command(before_help = INIT)]
    Init(InitArgs),
    /// Run the node until it is told to stop
    #[command(before_help = RUN)]
    Run(RunArgs),
    /// Run a development network: a chain with the contracts, and a first-contact server. No value
    #[cfg(feature = "devchain")]
    #[command(before_help = DEVNET)]
    Devnet(DevnetArgs),
    /// Watch a whole network label real images in this process, and check its every promise
    #[cfg(feature = "devchain")]
    #[command(before_help = DEMO)]
    Demo(DemoArgs),
    /// Send recorded answers through a whole network in this process
    #[cfg(feature = "devchain")]
    #[command(before_help = REPLAY)]
    Replay(ReplayArgs),
    /// Publish a task: items, terms, money
    #[command(before_help = PUBLISH)]
    Publish(Box<PublishArgs>),
    /// Look at tasks
    #[command(before_help = TASK)]
    Task(TaskArgs),
    /// Label: list open tasks, or take part in one
    #[command(before_help = WORK)]
    Work(WorkArgs),
    /// Write the labels of a finished task to a file
    #[command(before_help = EXPORT)]
    Export(ExportArgs),
    /// Collect pay, or keep the proof with which anyone can
    #[command(before_help = CLAIM)]
    Claim(ClaimArgs),
    /// Score any file of answers: the labels, and how able every worker is. Needs no node
    #[command(before_help = SCORE)]
    Score(ScoreArgs),
    /// Check a result, a claim, an explanation or a network profile from the file alone. Needs no node
    #[command(before_help = VERIFY)]
    Verify(VerifyArgs),
    /// Show how the node, its account, its lanes and the chain stand
    #[command(before_help = STATUS)]
    Status,
    /// Show anchored epochs that this node cannot derive, and how many validators are against them; or prove what is wrong with one
    #[command(before_help = DISPUTE)]
    Dispute(DisputeArgs),
    /// Bonuses in partner tokens: lock one for a task that is funded, look at it, or collect what labels earned of it
    #[command(before_help = BONUS)]
    Bonus(BonusArgs),
    /// Data sets of finished tasks: publish one, pay for using one, or collect what labels earned of its income
    #[command(before_help = DATASET)]
    Dataset(DatasetArgs),
    /// Show what the lanes say of a labeler, or write the proof that any contract can check
    #[command(before_help = REPUTATION)]
    Reputation(ReputationArgs),
    /// Show the account's stake, add to it, or leave with it
    #[command(before_help = STAKE)]
    Stake(StakeArgs),
    /// Show, protect, back up and restore the keys of this node
    #[command(before_help = WALLET)]
    Wallet(WalletArgs),
    /// Read or change settings
    #[command(before_help = CONFIG)]
    Config(ConfigArgs),
    /// Show the version
    #[command(before_help = VERSION)]
    Version,
}

/// Roles of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum RoleName {
    /// Publishes tasks.
    Client,
    /// Labels.
    Labeler,
    /// Sits on committees.
    Validator,
}

// `assay init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Network profile, as the network's operators hand it out; it is copied
    #[arg(long, value_name = "FILE", env = "ASSAY_PROFILE")]
    pub profile: PathBuf,
    /// Role to register for; repeat for several [default: none, only watch]
    #[arg(
        long = "role",
        value_name = "ROLE",
        env = "ASSAY_ROLE",
        value_delimiter = ','
    )]
    pub roles: Vec<RoleName>,
    /// Stake in whole tokens, like 1000 or 12.5 [default on development networks: 1000]
    #[arg(long, value_name = "TOKENS", env = "ASSAY_STAKE")]
    pub stake: Option<String>,
    /// Address that pay goes to [default: the node's own account]
    #[arg(long, value_name = "ADDRESS", env = "ASSAY_PAYEE")]
    pub payee: Option<Account>,
    /// Password.
    #[command(flatten)]
    pub password: PasswordArgs,
}

// `assay run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Address to listen on, instead of those in the settings; repeat for several
    #[arg(
        long,
        value_name = "MULTIADDR",
        env = "ASSAY_LISTEN",
        value_delimiter = ','
    )]
    pub listen: Vec<String>,
    /// Port of the control API on 127.0.0.1, instead of the one in the settings; 0: any
    #[arg(long, value_name = "PORT", env = "ASSAY_API_PORT")]
    pub api_port: Option<u16>,
    /// Password.
    #[command(flatten)]
    pub password: PasswordArgs,
}

// `assay devnet`.
#[cfg(feature = "devchain")]
#[derive(Debug, Args)]
pub struct DevnetArgs {
    /// Port of the chain's JSON-RPC on loopback
    #[arg(
        long,
        value_name = "PORT",
        env = "ASSAY_DEVNET_PORT",
        default_value_t = 8545
    )]
    pub port: u16,
    /// Port of the first-contact server; 0: any
    #[arg(
        long,
        value_name = "PORT",
        env = "ASSAY_DEVNET_BOOTSTRAP_PORT",
        default_value_t = 0
    )]
    pub bootstrap_port: u16,
    /// Milliseconds between blocks
    #[arg(long, value_name = "MS", env = "ASSAY_DEVNET_BLOCK_MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(20..=600_000))]
    pub block_ms: u64,
    /// Validators that must be registered before the first committee is drawn
    #[arg(long, value_name = "N", env = "ASSAY_DEVNET_VALIDATORS_MIN", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub validators_min: u32,
}

// `assay demo`.
#[cfg(feature = "devchain")]
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Number that keys, items and people are drawn from
    #[arg(long, value_name = "N", env = "ASSAY_DEMO_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Labelers, at least 16
    #[arg(
        long,
        value_name = "N",
        env = "ASSAY_DEMO_LABELERS",
        default_value_t = 16
    )]
    pub labelers: usize,
    /// Images to label
    #[arg(
        long,
        value_name = "N",
        env = "ASSAY_DEMO_ITEMS",
        default_value_t = 400
    )]
    pub items: usize,
    /// Keep the network running after the report, until Ctrl-C
    #[arg(long, env = "ASSAY_DEMO_KEEP_RUNNING", value_parser = FalseyValueParser::new())]
    pub keep_running: bool,
}

// `assay replay`.
#[cfg(feature = "devchain")]
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// CSV with the columns task, worker, label
    #[arg(value_name = "LABELS.csv")]
    pub labels: PathBuf,
    /// CSV with the columns task, label: the known truth
    #[arg(long, value_name = "TRUTH.csv", env = "ASSAY_REPLAY_TRUTH")]
    pub truth: Option<PathBuf>,
    /// Number that keys and the order of items are drawn from
    #[arg(long, value_name = "N", env = "ASSAY_REPLAY_SEED", default_value_t = 1)]
    pub seed: u64,
}

// `assay publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Items: a .jsonl, .csv or .tsv file (columns id, path or text, optional gold), or a folder of files
    #[arg(value_name = "ITEMS")]
    pub items: PathBuf,
    /// Terms as a TOML file, instead of the flags below
    #[arg(long, value_name = "FILE", env = "ASSAY_PUBLISH_SPEC", conflicts_with_all = ["title", "labels", "price", "licence", "k", "k_max", "waves", "target", "gold_bond", "guideline", "labelers_min", "labelers_max", "enrol", "commit", "reveal", "gold_time", "open"])]
    pub spec: Option<PathBuf>,
    /// One line for people
    #[arg(
        long,
        value_name = "TEXT",
        env = "ASSAY_PUBLISH_TITLE",
        required_unless_present = "spec"
    )]
    pub title: Option<String>,
    /// Names of the labels, separated by commas
    #[arg(
        long,
        value_name = "A,B,...",
        env = "ASSAY_PUBLISH_LABELS",
        value_delimiter = ',',
        required_unless_present = "spec"
    )]
    pub labels: Vec<String>,
    /// Price of one label at full skill, in whole tokens
    #[arg(
        long,
        value_name = "TOKENS",
        env = "ASSAY_PUBLISH_PRICE",
        required_unless_present = "spec"
    )]
    pub price: Option<String>,
    /// SPDX expression for the labels, like CC-BY-4.0
    #[arg(
        long,
        value_name = "SPDX",
        env = "ASSAY_PUBLISH_LICENCE",
        required_unless_present = "spec"
    )]
    pub licence: Option<String>,
    /// Labels per item at first [default: 3]
    #[arg(long, value_name = "N", env = "ASSAY_PUBLISH_K")]
    pub k: Option<u16>,
    /// Most labels per item over all waves [default: k with one wave, k + 2 with more]
    #[arg(long, value_name = "N", env = "ASSAY_PUBLISH_K_MAX")]
    pub k_max: Option<u16>,
    /// Waves [default: 2; 1 for an open task]
    #[arg(long, value_name = "N", env = "ASSAY_PUBLISH_WAVES")]
    pub waves: Option<u8>,
    /// Later waves add labels only where the certainty is below this share [default: 0.95]
    #[arg(long, value_name = "SHARE", env = "ASSAY_PUBLISH_TARGET")]
    pub target: Option<String>,
    /// Deposit against withheld gold, in whole tokens [default: the network's minimum]
    #[arg(long, value_name = "TOKENS", env = "ASSAY_PUBLISH_GOLD_BOND")]
    pub gold_bond: Option<String>,
    /// Instructions for labelers: a text file
    #[arg(long, value_name = "FILE", env = "ASSAY_PUBLISH_GUIDELINE")]
    pub guideline: Option<PathBuf>,
    /// Language of the instructions (BCP 47)
    #[arg(
        long,
        value_name = "TAG",
        env = "ASSAY_PUBLISH_LANGUAGE",
        default_value = "en"
    )]
    pub language: String,
    /// Fewest labelers to start with [default: k]
    #[arg(long, value_name = "N", env = "ASSAY_PUBLISH_LABELERS_MIN")]
    pub labelers_min: Option<u32>,
    /// Enrolment closes early when this many came [default: 1000]
    #[arg(long, value_name = "N", env = "ASSAY_PUBLISH_LABELERS_MAX")]
    pub labelers_max: Option<u32>,
    /// Time to enrol, like 90s, 10m, 12h or 2d [default: 12h]
    #[arg(long, value_name = "TIME", env = "ASSAY_PUBLISH_ENROL", value_parser = super::text::parse_secs)]
    pub enrol: Option<u32>,
    /// Time to label, per wave [default: 24h]
    #[arg(long, value_name = "TIME", env = "ASSAY_PUBLISH_COMMIT", value_parser = super::text::parse_secs)]
    pub commit: Option<u32>,
    /// Time to reveal, per wave [default: 6h]
    #[arg(long, value_name = "TIME", env = "ASSAY_PUBLISH_REVEAL", value_parser = super::text::parse_secs)]
    pub reveal: Option<u32>,
    /// Time for this node to open the gold, per wave [default: 6h]
    #[arg(long, value_name = "TIME", env = "ASSAY_PUBLISH_GOLD_TIME", value_parser = super::text::parse_secs)]
    pub gold_time: Option<u32>,
    /// Every enrolled labeler answers the items it likes; one wave
    #[arg(long, env = "ASSAY_PUBLISH_OPEN", value_parser = FalseyValueParser::new())]
    pub open: bool,
    /// Only build the task and show what it costs; needs no running node
    #[arg(long, env = "ASSAY_PUBLISH_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,
    /// Stay until the task is funded and open for labelers
    #[arg(long, env = "ASSAY_PUBLISH_WAIT", value_parser = FalseyValueParser::new())]
    pub wait: bool,
}

// `assay task`.
#[derive(Debug, Args)]
pub struct TaskArgs {
    /// What to look at
    #[command(subcommand)]
    pub what: TaskCommand,
}

// `assay task ...`.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// List the tasks known here
    List,
    /// Show one task, with everybody's result when it is finished
    Show {
        /// Task id, or the first digits of it
        #[arg(value_name = "TASK")]
        task: String,
    },
    /// Follow one task until it is finished
    Watch {
        /// Task id, or the first digits of it
        #[arg(value_name = "TASK")]
        task: String,
    },
    /// Have a task paid whose committee is gone: its escrow pays seven tenths of the price for each accepted label. Takes every step that
    /// is possible now, and can be asked again
    Recover {
        /// Task id, or the first digits of it
        #[arg(value_name = "TASK")]
        task: String,
        /// Pay every labeler of the task, from this node's account [default: the node's own payee]
        #[arg(long, env = "ASSAY_RECOVER_EVERYONE", value_parser = FalseyValueParser::new())]
        everyone: bool,
    },
}

// `assay work`.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// Task id, or the first digits of it; without it, open tasks are listed
    #[arg(value_name = "TASK")]
    pub task: Option<String>,
    /// Most labels per wave
    #[arg(long, value_name = "N", env = "ASSAY_WORK_CAPACITY", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub capacity: u32,
    /// Answers instead of a person: a CSV file with the columns item, label (names)
    #[arg(long, value_name = "FILE", env = "ASSAY_WORK_ANSWERS")]
    pub answers: Option<PathBuf>,
    /// Without TASK: take part in every task that opens, one after the other, the best paid first
    #[arg(long, env = "ASSAY_WORK_AUTO_ENROL", value_parser = FalseyValueParser::new(), conflicts_with = "task")]
    pub auto_enrol: bool,
}

/// Formats of `assay export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object per item: label, certainty, every vote
    Jsonl,
    /// Columns task, label
    Csv,
    /// Columns task, worker, label: every counted vote
    CsvVotes,
    /// One JSON object that `assay verify` checks: terms, items, votes, scores, pay, and the proof up to the anchored header
    Verifiable,
}

// `assay export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Task id, or the first digits of it
    #[arg(value_name = "TASK")]
    pub task: String,
    /// Format
    #[arg(long, value_enum, env = "ASSAY_EXPORT_FORMAT", default_value = "jsonl")]
    pub format: ExportFormat,
    /// File to write; an older one is replaced when the new one is complete [default: standard output]
    #[arg(long, value_name = "FILE", env = "ASSAY_EXPORT_OUT")]
    pub out: Option<PathBuf>,
}

// `assay claim`.
#[derive(Debug, Args)]
pub struct ClaimArgs {
    /// Whom to pay; anyone may claim for anyone [default: the node's own payee]
    #[arg(
        long,
        visible_alias = "for",
        value_name = "ADDRESS",
        env = "ASSAY_CLAIM_PAYEE",
        conflicts_with = "proof"
    )]
    pub payee: Option<Account>,
    /// Pay everybody who is due anything, up to 128 payees with one transaction, from this node's account
    #[arg(
        long,
        env = "ASSAY_CLAIM_EVERYONE",
        conflicts_with_all = ["payee", "export", "proof"]
    )]
    pub everyone: bool,
    /// Write the proof to a file instead of claiming
    #[arg(
        long,
        value_name = "FILE",
        env = "ASSAY_CLAIM_EXPORT",
        conflicts_with = "proof"
    )]
    pub export: Option<PathBuf>,
    /// Claim with an exported proof; needs no node
    #[arg(
        long,
        value_name = "FILE",
        env = "ASSAY_CLAIM_PROOF",
        requires = "key_file"
    )]
    pub proof: Option<PathBuf>,
    /// With --proof: JSON-RPC address of the chain [default: the ones in the proof file]
    #[arg(long, value_name = "URL", env = "ASSAY_CLAIM_RPC", requires = "proof")]
    pub rpc: Option<String>,
    /// With --proof: file with the key of any account that has gas, a keystore V3 or 64 hexadecimal digits
    #[arg(
        long,
        value_name = "FILE",
        env = "ASSAY_CLAIM_KEY_FILE",
        requires = "proof"
    )]
    pub key_file: Option<PathBuf>,
    /// Password.
    #[command(flatten)]
    pub password: PasswordArgs,
}

// `assay score`.
#[derive(Debug, Args)]
#[command(after_help = "\
The first line of a file names its columns, in any order; others are ignored:
  task (item), worker (performer, annotator, labeler), label (text, answer), seconds (optional, class only)
CSV or TSV, in UTF-8. The first of several answers of one worker to one task counts; otherwise the order of
the rows changes nothing. Standard output is CSV: task,label, or item,score for pair and ranking.
")]
pub struct ScoreArgs {
    /// What the answers are, and how a label is written
    #[arg(
        value_enum,
        value_name = "KIND",
        required_unless_present = "check_explanation"
    )]
    pub kind: Option<crate::score::Kind>,
    /// The answers
    #[arg(
        value_name = "LABELS.csv",
        required_unless_present = "check_explanation"
    )]
    pub labels: Option<PathBuf>,
    /// Known truth (columns task, label) to measure the result against; it does not influence the result. For pair and ranking also
    /// columns item, score and optionally group; repeat for both
    #[arg(long, value_name = "FILE", env = "ASSAY_SCORE_TRUTH")]
    pub truth: Vec<PathBuf>,
    /// Known labels (columns task, label) that the result takes as certain
    #[arg(long, value_name = "FILE", env = "ASSAY_SCORE_GOLD")]
    pub gold: Option<PathBuf>,
    /// Show why one task has its result, instead of all results. --json gives objects that anybody can check from themselves: one per
    /// answer for class, one per object for pair and ranking, one for any other task
    #[arg(long, value_name = "TASK", env = "ASSAY_SCORE_EXPLAIN")]
    pub explain: Option<String>,
    /// Explain the answer of one worker to that task only (class)
    #[arg(long, value_name = "WORKER", env = "ASSAY_SCORE_EXPLAIN_WORKER")]
    pub explain_worker: Option<String>,
    /// Check the explanations in a file that --explain TASK --json wrote: derive each again from itself, and name the field that is wrong
    #[arg(
        long,
        value_name = "FILE",
        env = "ASSAY_SCORE_CHECK_EXPLANATION",
        conflicts_with_all = ["kind", "labels", "truth", "gold", "explain", "explain_worker", "out", "scale", "frame"]
    )]
    pub check_explanation: Option<PathBuf>,
    /// The score that checked explanations must belong to, as it was published [default: that of the first one]
    #[arg(
        long,
        value_name = "HASH",
        env = "ASSAY_SCORE_ROOT",
        requires = "check_explanation"
    )]
    pub score_root: Option<Hash>,
    /// Folder for labels with posteriors, workers with skills and flags, and groups of copies, each as CSV, JSON and Parquet, and
    /// roots.json: the hashes that name the answers and the whole score, the same for every order of the rows
    #[arg(long, value_name = "FOLDER", env = "ASSAY_SCORE_OUT")]
    pub out: Option<PathBuf>,
    /// Scale of ratings and numbers [default: from the smallest to the largest number of the file]
    #[arg(long, value_name = "MIN:MAX:STEP", env = "ASSAY_SCORE_SCALE")]
    pub scale: Option<String>,
    /// Size of the items of boxes and polygons; length of the items of spans and segments [default: as far as the answers reach]
    #[arg(long, value_name = "WIDTHxHEIGHT|LENGTH", env = "ASSAY_SCORE_FRAME")]
    pub frame: Option<String>,
}

// `assay verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every check is told with what came out, and so is what was not checked. Exit code 8 when anything is wrong.
")]
pub struct VerifyArgs {
    /// What `export --format verifiable`, `claim --export` or `score --explain TASK --json` wrote, or a network profile
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// JSON-RPC address of the network's chain, to compare with: chain id, contracts, anchored header, payout root [default: offline]
    #[arg(long, value_name = "URL", env = "ASSAY_VERIFY_RPC")]
    pub rpc: Option<String>,
}

// `assay dispute`.
#[derive(Debug, Args)]
pub struct DisputeArgs {
    /// What to do; without it, disputes are listed
    #[command(subcommand)]
    pub what: Option<DisputeCommand>,
}

// `assay dispute ...`.
#[derive(Debug, Subcommand)]
pub enum DisputeCommand {
    /// Show the chain that the trees of an anchored header are wrong: its signers lose part of their stakes and are banned, half of what they
    /// lose goes to this node's account, and an epoch that does not pay yet is taken back. Nothing is sent unless a proof is found
    ///
    /// FILE lists the places of a tree from left to right, as the signers laid them out: a CSV file with the columns payee, total, before (the
    /// last one only when the sums are known), or the same as a JSON array of objects. Totals and sums are whole base units. An empty place is
    /// `-` (JSON: null); a place of which only the hash is known is that hash alone (JSON: {"node": ...}). The leaves of the epoch before
    /// are the ones that this node keeps.
    Prove(ProveArgs),
}

/// `assay dispute prove`.
#[derive(Debug, Args)]
pub struct ProveArgs {
    /// Lane
    #[arg(value_name = "LANE")]
    pub lane: u32,
    /// Epoch
    #[arg(value_name = "EPOCH")]
    pub epoch: u64,
    /// Leaves of the payout tree; without them only the header is looked at, which shows a missing audit tree
    #[arg(long, value_name = "FILE", env = "ASSAY_DISPUTE_PAYOUTS")]
    pub payouts: Option<PathBuf>,
    /// Leaves of the audit tree, if they do not repeat those of the payout tree [default: what belongs to these, or their column before]
    #[arg(
        long,
        value_name = "FILE",
        env = "ASSAY_DISPUTE_AUDITS",
        requires = "payouts"
    )]
    pub audits: Option<PathBuf>,
}

// `assay stake`.
#[derive(Debug, Args)]
pub struct StakeArgs {
    /// What to do
    #[command(subcommand)]
    pub what: StakeCommand,
}

// `assay stake ...`.
#[derive(Debug, Subcommand)]
pub enum StakeCommand {
    /// Show stake, roles, their minimum, and when the stake can be withdrawn
    Show,
    /// Add tokens to the stake
    Add {
        /// Whole tokens, like 250 or 12.5
        #[arg(value_name = "AMOUNT")]
        amount: String,
    },
    /// Start leaving: the roles end, and the whole stake waits for its time
    Unbond,
    /// Take the stake home, less what was lost, when its time has come
    Withdraw,
}

// `assay bonus`.
#[derive(Debug, Args)]
pub struct BonusArgs {
    /// What to do
    #[command(subcommand)]
    pub what: BonusCommand,
}

// `assay bonus ...`.
#[derive(Debug, Subcommand)]
pub enum BonusCommand {
    /// Lock tokens as a bonus for a task of this node's account that is funded and not settled
    Lock {
        /// Task id, or the first digits of it
        #[arg(value_name = "TASK")]
        task: String,
        /// Whole tokens, like 250 or 12.5
        #[arg(value_name = "AMOUNT")]
        amount: String,
        /// Address of the token [default: the network's reward token]
        #[arg(long, value_name = "ADDRESS", env = "ASSAY_TOKEN")]
        token: Option<Account>,
    },
    /// Show a task's bonus
    Show {
        /// Task id, or the first digits of it
        #[arg(value_name = "TASK")]
        task: String,
    },
    /// Have the chain keep how a finished task's bonus is shared, if nobody has, and collect what is due
    Claim {
        /// Task id, or the first digits of it
        #[arg(value_name = "TASK")]
        task: String,
        /// Address of the token [default: every token that was locked]
        #[arg(long, value_name = "ADDRESS", env = "ASSAY_TOKEN")]
        token: Option<Account>,
        /// Pay everybody, from this node's account [default: the node's own payee]
        #[arg(long, env = "ASSAY_CLAIM_EVERYONE", value_parser = FalseyValueParser::new())]
        everyone: bool,
    },
}

// `assay dataset`.
#[derive(Debug, Args)]
pub struct DatasetArgs {
    /// What to do
    #[command(subcommand)]
    pub what: DatasetCommand,
}

// `assay dataset ...`.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Publish version 1 of the data set of a settled task of this node's account; its labelers share the income by what the task paid them
    Publish {
        /// Task id, or the first digits of it
        #[arg(value_name = "TASK")]
        task: String,
        /// File with the full text of the licence; its hash is published
        #[arg(long, value_name = "FILE", env = "ASSAY_LICENCE_TEXT")]
        licence_text: PathBuf,
        /// Part of every sale of the data set that goes to its labelers, in hundredths of a per cent
        #[arg(long, value_name = "N", env = "ASSAY_ROYALTY_BPS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=10_000))]
        royalty_bps: u16,
    },
    /// Show a task's data set: versions, who shares, income
    Show {
        /// Task id, or the first digits of it
        #[arg(value_name = "TASK")]
        task: String,
    },
    /// Pay for using a version
    Pay {
        /// Task id, or the first digits of it
        #[arg(value_name = "TASK")]
        task: String,
        /// Whole tokens, like 250 or 12.5
        #[arg(value_name = "AMOUNT")]
        amount: String,
        /// Address of the token [default: the network's reward token]
        #[arg(long, value_name = "ADDRESS", env = "ASSAY_TOKEN")]
        token: Option<Account>,
        /// Version
        #[arg(
            long,
            value_name = "N",
            env = "ASSAY_DATASET_VERSION",
            default_value_t = 1
        )]
        version: u32,
    },
    /// Collect what is due of a version's income
    Claim {
        /// Task id, or the first digits of it
        #[arg(value_name = "TASK")]
        task: String,
        /// Address of the token [default: every token that was paid in]
        #[arg(long, value_name = "ADDRESS", env = "ASSAY_TOKEN")]
        token: Option<Account>,
        /// Version
        #[arg(
            long,
            value_name = "N",
            env = "ASSAY_DATASET_VERSION",
            default_value_t = 1
        )]
        version: u32,
        /// Pay everybody, from this node's account [default: the node's own account]
        #[arg(long, env = "ASSAY_CLAIM_EVERYONE", value_parser = FalseyValueParser::new())]
        everyone: bool,
    },
}

// `assay reputation`.
#[derive(Debug, Args)]
pub struct ReputationArgs {
    /// What to do
    #[command(subcommand)]
    pub what: ReputationCommand,
}

// `assay reputation ...`.
#[derive(Debug, Subcommand)]
pub enum ReputationCommand {
    /// Show the evidence about a labeler in each lane
    Show {
        /// Labeler [default: the node's own account]
        #[arg(value_name = "ADDRESS")]
        account: Option<Account>,
    },
    /// Write what `ReputationAnchor.prove` takes, for each lane's newest header
    Prove {
        /// Labeler [default: the node's own account]
        #[arg(value_name = "ADDRESS")]
        account: Option<Account>,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE", env = "ASSAY_REPUTATION_OUT")]
        out: Option<PathBuf>,
    },
}

// Where the password of the account key comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct PasswordArgs {
    /// File (mode 0600) with the password of the account key, if it is encrypted or is to be [default: ask at the terminal]
    #[arg(long, global = true, value_name = "FILE", env = "ASSAY_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
}

// `assay wallet`.
#[derive(Debug, Args)]
pub struct WalletArgs {
    /// Password.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// What to do
    #[command(subcommand)]
    pub what: WalletCommand,
}

// `assay wallet ...`.
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Show account, keys, balance, and how the secret keys are kept (never a secret)
    Show,
    /// Make a new account key, from 24 new words; the old one is kept beside it
    New,
    /// Show the 24 words that bring the account back, at a terminal or into a file
    Backup {
        /// File to write, with mode 0600; it must not exist
        #[arg(long, value_name = "FILE", env = "ASSAY_WALLET_OUT")]
        out: Option<PathBuf>,
    },
    /// Bring an account back from its words (24, or 12), read from standard input
    Restore,
    /// Take over a key from a file: a keystore V3 (as geth, cast and other wallets write) or 64 hexadecimal digits
    Import {
        /// The key; a keystore is opened with the password, and kept under the same one
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write the key as a keystore V3 for other wallets, under its password
    Export {
        /// File to write, with mode 0600; it must not exist
        #[arg(long, value_name = "FILE", env = "ASSAY_WALLET_OUT")]
        out: PathBuf,
    },
    /// Encrypt the account key, or change its password
    Password {
        /// File (mode 0600) with the new password [default: ask at the terminal]
        #[arg(long, value_name = "FILE", env = "ASSAY_NEW_PASSWORD_FILE")]
        new_password_file: Option<PathBuf>,
        /// Decrypt the key instead: whoever can read its file has the account
        #[arg(long, env = "ASSAY_WALLET_REMOVE", value_parser = FalseyValueParser::new(), conflicts_with = "new_password_file")]
        remove: bool,
    },
}

// `assay config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do
    #[command(subcommand)]
    pub what: ConfigCommand,
}

// `assay config ...`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show all settings
    Show,
    /// Show one setting
    Get {
        /// Name of the setting
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Change one setting; takes effect when the node starts again
    Set {
        /// Name of the setting
        #[arg(value_name = "NAME")]
        name: String,
        /// Value; several, separated by commas, for lists
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
    },
    /// Show where the settings are
    Path,
}
