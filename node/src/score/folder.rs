//! The folder of `--out`: `labels`, `labelers` and `clusters`, each as `.csv`, `.json` and `.parquet`, `roots.json` and
//! `summary.json`.
//!
//! Invariants: a file appears under its name only when it is complete; files of an earlier run are replaced.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Outcome, Summary, error::ScoreError, names::Names, sheet::Sheet};

/// Writes all tables and the roots.
pub(super) fn write(
    folder: &Path,
    outcome: &Outcome<'_>,
    workers: &Names,
) -> Result<Vec<PathBuf>, ScoreError> {
    fs::create_dir_all(folder).map_err(|error| ScoreError::io("write", folder, error))?;
    let mut files = Vec::new();
    let clusters = outcome.clusters.as_ref().map(|list| {
        let members = || {
            (0i64..)
                .zip(list)
                .flat_map(|(cluster, members)| members.iter().map(move |&m| (cluster, m)))
        };
        Sheet::default()
            .whole("cluster", members().map(|(cluster, _)| Some(cluster)))
            .text("worker", members().map(|(_, member)| workers.get(member)))
    });
    for (name, sheet) in [
        ("labels", Some(&outcome.items)),
        ("labelers", Some(&outcome.labelers)),
        ("clusters", clusters.as_ref()),
    ] {
        let Some(sheet) = sheet else { continue };
        let mut put = |ending: &str, write: &dyn Fn(&mut BufWriter<File>) -> io::Result<()>| {
            let path = folder.join(format!("{name}.{ending}"));
            replace(&path, write).map_err(|error| ScoreError::io("write", &path, error))?;
            files.push(path);
            Ok::<_, ScoreError>(())
        };
        put("csv", &|out| sheet.csv(usize::MAX, out))?;
        put("json", &|out| sheet.json(out))?;
        put("parquet", &|out| {
            sheet.parquet(out).map_err(io::Error::other)
        })?;
    }
    if let Some(roots) = &outcome.shown.roots {
        let path = folder.join("roots.json");
        write_json(&path, roots)?;
        files.push(path);
    }
    Ok(files)
}

/// Writes the summary, which then names itself as well.
pub(super) fn write_summary(folder: &Path, summary: &mut Summary) -> Result<(), ScoreError> {
    let path = folder.join("summary.json");
    summary.files.push(path.clone());
    write_json(&path, summary)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ScoreError> {
    replace(path, &|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    })
    .map_err(|error| ScoreError::io("write", path, error))
}

/// Writes beside the file and then renames.
fn replace(path: &Path, write: &dyn Fn(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".partial");
    let mut out = BufWriter::new(File::create(&beside)?);
    write(&mut out)?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    fs::rename(&beside, path)
}
