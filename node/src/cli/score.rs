//! `assay score`: labels and a judgement of every worker from a file of answers. Needs no node, no folder and no network.

use std::{io, io::BufWriter, path::Path};

use super::{
    args::ScoreArgs,
    failure::{Exit, Failure},
    text::{self, Printer},
};
use crate::score::{self, Options, ScoreError, Summary};

/// Bytes gathered before they are written to standard output.
const OUTPUT_BYTES: usize = 64 << 10;

/// Scores: the result goes to standard output as CSV, the summary to standard error; with `--json` the summary to standard output.
///
/// # Errors
/// A file that cannot be read or written, or does not say what its kind asks for.
pub fn run(args: &ScoreArgs, printer: Printer) -> Result<(), Failure> {
    let options = Options {
        kind: args.kind,
        labels: args.labels.clone(),
        truth: args.truth.clone(),
        gold: args.gold.clone(),
        explain: args.explain.clone(),
        out: args.out.clone(),
        scale: args.scale.clone(),
        frame: args.frame.clone(),
    };
    if printer.json {
        let summary = score::run(&options, None).map_err(failure)?;
        return printer.data(&summary);
    }
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let summary = score::run(&options, Some(&mut out)).map_err(failure)?;
    drop(out);
    say(&summary, &args.labels, printer);
    Ok(())
}

fn say(summary: &Summary, file: &Path, printer: Printer) {
    let mut counts = vec![
        format!("{} answers", summary.answers),
        format!("{} tasks", summary.tasks),
        format!("{} workers", summary.workers),
    ];
    let more = [
        (summary.labels, "labels"),
        (summary.flagged, "workers flagged"),
        (summary.clusters, "groups of copies"),
        (Some(summary.gold).filter(|n| *n > 0), "known labels"),
    ];
    counts.extend(
        more.iter()
            .filter_map(|(n, what)| Some(format!("{} {what}", (*n)?))),
    );
    printer.say(&format!("{}: {}", file.display(), counts.join(", ")));
    for note in &summary.notes {
        printer.say(&format!("note: {}", text::harmless(note, false)));
    }
    if let Some(measured) = summary.measured {
        printer.say(&format!("against the truth ({measured} known):"));
    }
    for (name, value) in &summary.measures {
        printer.say(&format!("  {:24} {value:.4}", name.replace('_', " ")));
    }
    for path in &summary.files {
        printer.say(&format!("wrote {}", path.display()));
    }
}

fn failure(error: ScoreError) -> Failure {
    let text = text::harmless(&error.to_string(), false);
    match error {
        ScoreError::Io { .. } => Failure::new(Exit::Failure, text),
        ScoreError::Option(_) => Failure::new(Exit::Usage, text)
            .next("assay score --help shows how the options are written"),
        ScoreError::Line { .. } | ScoreError::Whole { .. } => Failure::new(Exit::Data, text)
            .next("correct the file; assay score --help shows how answers are written"),
        ScoreError::Engine(_) => {
            Failure::new(Exit::Data, text).next("split the file by tasks, or choose another KIND")
        }
    }
}
