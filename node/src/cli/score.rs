//! `assay score`: labels and a judgement of every worker from a file of answers. Needs no node, no folder and no network.

use std::{io, io::BufWriter, path::Path, time::Duration};

use assay_protocol::id::Hash;
use indicatif::{HumanCount, ProgressBar, ProgressFinish};

use super::{
    args::ScoreArgs,
    failure::{Exit, Failure},
    text::{self, Printer},
};
use crate::score::{self, Options, ScoreError, Stage, Summary};

/// Bytes gathered before they are written to standard output.
const OUTPUT_BYTES: usize = 64 << 10;
/// How often the sign moves that the inference is still at work.
const TICK: Duration = Duration::from_millis(100);

/// Checks explanations, or scores: the result goes to standard output as CSV, the summary to standard error; with `--json` the summary to standard output.
///
/// # Errors
/// A file that cannot be read or written, or does not say what its kind asks for.
pub fn run(args: &ScoreArgs, printer: Printer) -> Result<(), Failure> {
    if let Some(file) = &args.check_explanation {
        return check(file, args.score_root, printer);
    }
    let (Some(kind), Some(labels)) = (args.kind, &args.labels) else {
        return Err(Failure::new(Exit::Usage, "KIND and LABELS.csv are missing")
            .next("assay score --help shows how they are written"));
    };
    let options = Options {
        kind,
        labels: labels.clone(),
        truth: args.truth.clone(),
        gold: args.gold.clone(),
        explain: args.explain.clone(),
        explain_worker: args.explain_worker.clone(),
        out: args.out.clone(),
        scale: args.scale.clone(),
        frame: args.frame.clone(),
    };
    if printer.json {
        let summary = score::run(&options, None, &|_| ()).map_err(failure)?;
        return printer.data(&summary);
    }
    // Seen on a terminal only.
    let bar = ProgressBar::new_spinner().with_finish(ProgressFinish::AndClear);
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let summary = score::run(&options, Some(&mut out), &|stage| show(&bar, labels, stage));
    drop(bar);
    let summary = summary.map_err(failure)?;
    drop(out);
    say(&summary, labels, printer);
    Ok(())
}

/// Shows how far a run is.
fn show(bar: &ProgressBar, file: &Path, stage: Stage) {
    if bar.is_hidden() {
        return;
    }
    match stage {
        Stage::Reading { bytes, total } => {
            let done = match (bytes * 100).checked_div(total) {
                Some(percent) => format!("{percent} %"),
                None => format!("{} bytes", HumanCount(bytes)),
            };
            let name = text::harmless(&file.display().to_string(), false);
            bar.set_message(format!("reading {name}: {done}"));
            bar.tick();
        }
        Stage::Scoring { answers } => {
            bar.set_message(format!("scoring {} answers", HumanCount(answers)));
            bar.enable_steady_tick(TICK);
        }
        // The result may go to the same terminal.
        Stage::Writing => bar.finish_and_clear(),
    }
}

/// Says of each explanation whether it is right; if one is not, the command fails.
fn check(file: &Path, score_root: Option<Hash>, printer: Printer) -> Result<(), Failure> {
    let checked = score::check_explanations(file, score_root).map_err(failure)?;
    if printer.json {
        printer.data(&checked)?;
    } else {
        for one in &checked.explanations {
            let numbered = |name: &Option<String>, what: &str, number| match name {
                Some(name) => format!("{} ({what} {number})", text::harmless(name, false)),
                None => format!("{what} {number}"),
            };
            let item = numbered(&one.name, "item", one.item);
            let of = match one.labeler {
                Some(labeler) => format!("{item}, {}", numbered(&one.worker, "labeler", labeler)),
                None => item,
            };
            let said = match (&one.why, one.wrong) {
                (Some(why), Some(wrong)) => format!("WRONG in {wrong}: {why}"),
                _ => format!("right, under score root {}", one.score_root),
            };
            printer.line(&format!("{of}: {said}"))?;
        }
    }
    let wrong = checked.checked - checked.right;
    if wrong > 0 {
        let text = format!("{wrong} of {} explanations are wrong", checked.checked);
        return Err(Failure::new(Exit::Data, text)
            .next("do not rely on them; ask whoever gave you the file for its score and another explanation"));
    }
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
    if let (Some(input), Some(score)) = (summary.input_root, summary.score_root) {
        printer.say(&format!("input root {input}"));
        printer.say(&format!("score root {score}"));
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
