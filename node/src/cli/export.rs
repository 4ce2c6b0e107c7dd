//! `assay export`: a finished task's labels as a file. Manifest, index and outcome are checked to belong together before a byte is written.

use std::{
    io::{self, Write},
    path::Path,
};

use assay_protocol::message::{ItemEntry, Manifest};

use super::{
    args::{ExportArgs, ExportFormat},
    client::Api,
    failure::{Exit, Failure},
    folder::{self, Folder},
    task,
    text::Printer,
    verify::ResultFile,
};
use crate::dataset::{Export, ExportError, Format};

/// Exports.
///
/// # Errors
/// No running node, a task that is not finished, a file that cannot be written.
pub async fn run(folder: &Folder, args: &ExportArgs, printer: Printer) -> Result<(), Failure> {
    let api = Api::open(folder)?;
    let id = api.task_id(&args.task).await?;
    let outcome = task::outcome(&api, id).await?;
    let manifest: Manifest = api.get(&format!("/v1/tasks/{id}/manifest")).await?;
    let index: Vec<ItemEntry> = if outcome.cancelled.is_some() {
        // Refused below, and its data may be gone.
        Vec::new()
    } else {
        api.get(&format!("/v1/tasks/{id}/index")).await?
    };
    let export = Export::new(&manifest, &index, &outcome).map_err(failure)?;
    let format = match args.format {
        ExportFormat::Jsonl => Format::Jsonl,
        ExportFormat::Csv => Format::ResultsCsv,
        ExportFormat::CsvVotes => Format::VotesCsv,
        ExportFormat::Verifiable => {
            let profile = folder.profile(&folder.config()?)?;
            let file = ResultFile::new(profile, manifest, index, outcome);
            return verifiable(&file, args.out.as_deref(), printer);
        }
    };
    match &args.out {
        Some(path) => {
            let rows = export.write(format, path).map_err(failure)?;
            if printer.json {
                return printer
                    .data(&serde_json::json!({ "task": id, "rows": rows, "file": path }));
            }
            printer.say(&format!("wrote {rows} rows to {}", path.display()));
            Ok(())
        }
        None => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            export.render(format, &mut out)?;
            Ok(out.flush()?)
        }
    }
}

fn verifiable(file: &ResultFile, out: Option<&Path>, printer: Printer) -> Result<(), Failure> {
    let Some(path) = out else {
        return printer.data(file);
    };
    let mut text = serde_json::to_string(file).map_err(io::Error::from)?;
    text.push('\n');
    folder::replace(path, 0o644, &text)?;
    if printer.json {
        return printer.data(&serde_json::json!({ "task": file.task(), "file": path }));
    }
    printer.say(&format!(
        "wrote the result with its proof to {}; anybody can check it: assay verify FILE",
        path.display()
    ));
    Ok(())
}

fn failure(error: ExportError) -> Failure {
    let exit = match &error {
        ExportError::Mismatch { .. } => Exit::Data,
        _ => Exit::Failure,
    };
    Failure::new(exit, error)
}
