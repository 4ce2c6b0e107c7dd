//! `assay-sim`: runs a scenario and reports. Exit codes: 0 all checks held, 1 a check failed, 2 wrong usage, 3 the scenario is invalid.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use assay_simulations::{report::Report, run, scenario::Scenario, sim::Options};
use clap::{Parser, Subcommand};

const EXAMPLE: &str = "\
Example:
  assay-sim run scenarios/smoke.toml --seed 7

Simulates a whole Assay network from one scenario file and one seed.";

const EXITS: &str = "\
Exit codes: 0 every check held, 1 a check failed, 2 wrong usage, 3 the scenario cannot be read or is invalid.";

#[derive(Parser)]
#[command(name = "assay-sim", version, about = EXAMPLE, after_help = EXITS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a scenario, check what must hold, and report.
    #[command(before_help = "Example:\n  assay-sim run scenarios/smoke.toml --seed 7 --json > result.json", after_help = EXITS)]
    Run {
        /// Scenario file (TOML).
        scenario: PathBuf,
        /// Seed of all randomness; the scenario's own when absent.
        #[arg(long, env = "ASSAY_SIM_SEED")]
        seed: Option<u64>,
        /// Print one JSON object instead of tables.
        #[arg(long)]
        json: bool,
        /// Write every delivered event and every order as a line of JSON to this file.
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
    },
    /// Read a scenario and say what is wrong with it, without running it.
    Check {
        /// Scenario file (TOML).
        scenario: PathBuf,
    },
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const INVALID: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match cli.command {
        Command::Run {
            scenario,
            seed,
            json,
            trace,
        } => run_scenario(&scenario, seed, json, trace),
        Command::Check { scenario } => match Scenario::load(&scenario) {
            Ok(s) => say(&format!(
                "{}: {} peers, {} tasks, seed {}\n",
                s.name,
                s.peers(),
                s.task.len(),
                s.seed
            )),
            Err(error) => complain(&error, INVALID),
        },
    }
}

fn run_scenario(
    path: &std::path::Path,
    seed: Option<u64>,
    json: bool,
    trace: Option<PathBuf>,
) -> ExitCode {
    let scenario = match Scenario::load(path) {
        Ok(scenario) => scenario,
        Err(error) => return complain(&error, INVALID),
    };
    let trace: Option<Box<dyn Write>> = match trace {
        None => None,
        Some(path) => match File::create(&path) {
            Ok(file) => Some(Box::new(BufWriter::new(file))),
            Err(error) => {
                let why = format!(
                    "trace {}: {error}; name a file in a folder that exists and can be written",
                    path.display()
                );
                return complain(&why, USAGE);
            }
        },
    };
    let report = match run(&scenario, Options { seed, trace }) {
        Ok(report) => report,
        Err(error) => return complain(&error, FAILED),
    };
    let shown = say(&render(&report, json));
    if report.passed {
        shown
    } else {
        ExitCode::from(FAILED)
    }
}

fn render(report: &Report, json: bool) -> String {
    if json {
        let mut text = serde_json::to_string_pretty(report)
            .expect("a report holds only text keys and numbers");
        text.push('\n');
        return text;
    }
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    report.to_text(io::stdout().is_terminal() && !plain)
}

fn say(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that had enough, like `head`, is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => complain(&error, FAILED),
        _ => ExitCode::SUCCESS,
    }
}

fn complain(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "assay-sim: {error}");
    ExitCode::from(code)
}
