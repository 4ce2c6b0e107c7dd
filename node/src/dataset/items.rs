//! Reads a client's items: a JSONL file, a CSV or TSV file, or a folder of files.
//!
//! | source | item |
//! |---|---|
//! | `.jsonl`, `.ndjson` | `{"id":"a","path":"img/a.png"}` or `{"id":"a","text":"..."}` per line, optional `"gold":"label"` |
//! | `.csv`, `.tsv` | header with `id`, `path` and/or `text`, optional `gold`; an empty cell means absent |
//! | folder | each file is an item named after the file; hidden files are skipped; no gold |
//!
//! It does not judge the content beyond size, media type by file ending, and UTF-8 of text. Every refusal names file, line,
//! field and remedy. Invariant: nothing outside the items file's own folder is ever read, not even through a symbolic link.

mod folder;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use assay_protocol::limit;
use serde::Deserialize;
use serde_json::Value;

use folder::Folder;
pub use folder::media_type;

/// Largest items file in bytes: all item bytes of a task as inline text, and half as much for names and syntax.
pub const ITEMS_FILE_BYTES_MAX: u64 = limit::UNFUNDED_SHARD_BYTES_MAX / 2 * 3;
/// Bytes of all items of one task: what a committee member holds before the task is funded.
pub const ITEMS_BYTES_MAX: u64 = limit::UNFUNDED_SHARD_BYTES_MAX;
/// Bytes of one item's name.
pub const NAME_BYTES_MAX: usize = 256;
/// Labels that an error message lists, in number.
const LABELS_LISTED: usize = 12;

/// One item as the client has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceItem {
    /// The client's own name; unique in the task, public, appears in exports.
    pub name: String,
    /// Media type, like `image/png`.
    pub media: String,
    /// Content, at least one byte.
    pub bytes: Vec<u8>,
    /// The known answer, an index into the task's labels.
    pub gold: Option<u16>,
}

/// Why items cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ItemsError {
    /// The file system refused.
    #[error("items {path}: cannot read: {source}; check the spelling and the permissions")]
    Io {
        /// The items file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The source as a whole is unusable.
    #[error("items {path}: {why}")]
    Source {
        /// The items file or folder.
        path: PathBuf,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A line is malformed.
    #[error("items {path}, line {line}: {why}")]
    Line {
        /// The items file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A field of a line is wrong.
    #[error("items {path}, line {line}, field `{field}`: {why}")]
    Field {
        /// The items file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A file of a folder is wrong.
    #[error("items {path}, file {file:?}: {why}")]
    File {
        /// The folder.
        path: PathBuf,
        /// The file's name in it.
        file: String,
        /// What is wrong and what would be right.
        why: String,
    },
}

/// Reads the items of `source`, in its order (a folder: in name order). `labels` are the task's label names, which gold refers to.
///
/// # Errors
/// The first problem, with file, line and field.
pub fn read(source: &Path, labels: &[String]) -> Result<Vec<SourceItem>, ItemsError> {
    let about = fs::metadata(source).map_err(|e| io_error(source, e))?;
    if about.is_dir() {
        return read_folder(source);
    }
    let ending = source
        .extension()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    let mut reader = Lines::new(source, labels)?;
    match ending.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" => reader.jsonl()?,
        "csv" => reader.table(b',')?,
        "tsv" => reader.table(b'\t')?,
        _ => {
            let why = "unknown kind of items file; use a folder, or a file that ends in .jsonl, .csv or .tsv";
            return Err(source_error(source, why));
        }
    }
    if reader.items.is_empty() {
        return Err(source_error(
            source,
            "holds no items; write one item per line",
        ));
    }
    Ok(reader.items)
}

/// One line of an items file; kept as values so that an error can name the field.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<Value>,
    path: Option<Value>,
    text: Option<Value>,
    gold: Option<Value>,
}

/// What is wrong with a field.
type FieldError = (&'static str, String);

impl Line {
    fn text_of(field: &'static str, value: Option<Value>) -> Result<Option<String>, FieldError> {
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err((
                field,
                format!("must be text, got {other}; put it in quotes"),
            )),
        }
    }
}

/// A file of lines under way.
struct Lines<'a> {
    path: &'a Path,
    folder: Folder,
    labels: &'a [String],
    bytes: Vec<u8>,
    /// Name -> line of its first use.
    names: BTreeMap<String, u64>,
    items: Vec<SourceItem>,
}

impl<'a> Lines<'a> {
    fn new(path: &'a Path, labels: &'a [String]) -> Result<Self, ItemsError> {
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(|e| io_error(path, e))?;
        file.take(ITEMS_FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| io_error(path, e))?;
        if bytes.len() as u64 > ITEMS_FILE_BYTES_MAX {
            let why = format!(
                "more than {ITEMS_FILE_BYTES_MAX} bytes; split the data set into several tasks"
            );
            return Err(source_error(path, why));
        }
        if bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        let parent = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let folder = Folder::open(parent).map_err(|e| io_error(parent, e))?;
        Ok(Self {
            path,
            folder,
            labels,
            bytes,
            names: BTreeMap::new(),
            items: Vec::new(),
        })
    }

    fn jsonl(&mut self) -> Result<(), ItemsError> {
        let bytes = std::mem::take(&mut self.bytes);
        for (line, raw) in (1u64..).zip(bytes.split(|&b| b == b'\n')) {
            let Ok(text) = std::str::from_utf8(raw) else {
                return Err(self.line_error(line, "not UTF-8; save the file as UTF-8"));
            };
            if text.trim().is_empty() {
                continue;
            }
            let parsed: Line = serde_json::from_str(text).map_err(|e| {
                // Our own line number is the right one; the parser counts within the line.
                let why = e.to_string();
                let what = why.split(" at line ").next().unwrap_or_default().to_owned();
                self.line_error(
                    line,
                    format!(
                        "{what} (column {}); write {{\"id\": \"...\", \"path\": \"...\"}}",
                        e.column()
                    ),
                )
            })?;
            self.add(line, parsed)?;
        }
        Ok(())
    }

    fn table(&mut self, delimiter: u8) -> Result<(), ItemsError> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .from_reader(bytes.as_slice());
        let header = reader.headers().map_err(|e| self.csv_error(&e))?.clone();
        if header.is_empty() || header.iter().all(str::is_empty) {
            return Ok(());
        }
        for (i, column) in header.iter().enumerate() {
            if !["id", "path", "text", "gold"].contains(&column) {
                let why = format!(
                    "unknown column {column:?}; columns are id, path, text, gold: rename or remove it"
                );
                return Err(self.line_error(1, why));
            }
            if header.iter().take(i).any(|c| c == column) {
                return Err(
                    self.line_error(1, format!("column {column:?} stands twice; remove one"))
                );
            }
        }
        let place = |name: &str| header.iter().position(|c| c == name);
        let (id, path, text, gold) = (place("id"), place("path"), place("text"), place("gold"));
        if id.is_none() || (path.is_none() && text.is_none()) {
            return Err(self.line_error(
                1,
                "the first line must name the columns: id, and path or text",
            ));
        }
        let mut record = csv::StringRecord::new();
        while reader
            .read_record(&mut record)
            .map_err(|e| self.csv_error(&e))?
        {
            let line = record.position().map_or(0, csv::Position::line);
            let cell = |column: Option<usize>| {
                let text = column.and_then(|c| record.get(c)).filter(|t| !t.is_empty());
                text.map(|t| Value::String(t.to_owned()))
            };
            self.add(
                line,
                Line {
                    id: cell(id),
                    path: cell(path),
                    text: cell(text),
                    gold: cell(gold),
                },
            )?;
        }
        Ok(())
    }

    fn add(&mut self, line: u64, parsed: Line) -> Result<(), ItemsError> {
        let item = self
            .item(line, parsed)
            .map_err(|(field, why)| ItemsError::Field {
                path: self.path.to_owned(),
                line,
                field,
                why,
            })?;
        if self.items.len() >= limit::ITEMS_MAX as usize {
            let why = format!(
                "more than {} items; split the data set into several tasks",
                limit::ITEMS_MAX
            );
            return Err(self.line_error(line, why));
        }
        self.items.push(item);
        Ok(())
    }

    fn item(&mut self, line: u64, parsed: Line) -> Result<SourceItem, FieldError> {
        let name = Line::text_of("id", parsed.id)?.ok_or((
            "id",
            "is missing; give each item a name of its own".to_owned(),
        ))?;
        check_name(&name).map_err(|why| ("id", why))?;
        if let Some(first) = self.names.insert(name.clone(), line) {
            return Err((
                "id",
                format!(
                    "{name:?} was used in line {first} already; give each item a name of its own"
                ),
            ));
        }
        let gold = Line::text_of("gold", parsed.gold)?
            .map(|g| self.gold(&g))
            .transpose()?;
        let path = Line::text_of("path", parsed.path)?;
        let text = Line::text_of("text", parsed.text)?;
        let (media, bytes) = match (path, text) {
            (Some(path), None) => self.folder.read(&path).map_err(|why| ("path", why))?,
            (None, Some(text)) if text.is_empty() => {
                return Err(("text", "is empty; remove the line or fill it in".into()));
            }
            (None, Some(text)) => {
                self.folder
                    .spend(text.len() as u64)
                    .map_err(|why| ("text", why))?;
                ("text/plain", text.into_bytes())
            }
            (None, None) => return Err(("path", "is missing; give a `path` or a `text`".into())),
            (Some(_), Some(_)) => {
                return Err(("path", "stands beside `text`; give one of them".into()));
            }
        };
        Ok(SourceItem {
            name,
            media: media.to_owned(),
            bytes,
            gold,
        })
    }

    fn gold(&self, label: &str) -> Result<u16, FieldError> {
        let place = self
            .labels
            .iter()
            .position(|l| l == label)
            .and_then(|i| u16::try_from(i).ok());
        place.ok_or_else(|| {
            let mut known: Vec<&str> = self
                .labels
                .iter()
                .take(LABELS_LISTED)
                .map(String::as_str)
                .collect();
            if self.labels.len() > LABELS_LISTED {
                known.push("...");
            }
            (
                "gold",
                format!(
                    "unknown label {label:?}; the task's labels are: {}",
                    known.join(", ")
                ),
            )
        })
    }

    fn line_error(&self, line: u64, why: impl Into<String>) -> ItemsError {
        ItemsError::Line {
            path: self.path.to_owned(),
            line,
            why: why.into(),
        }
    }

    fn csv_error(&self, error: &csv::Error) -> ItemsError {
        let line = error.position().map_or(1, csv::Position::line);
        self.line_error(line, csv_text(error))
    }
}

/// A sentence for what the CSV reader refused.
fn csv_text(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8; save the file as UTF-8".into(),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!(
                "{len} cells where the first line has {expected_len}; quote cells that hold the separator"
            )
        }
        _ => error.to_string(),
    }
}

fn read_folder(path: &Path) -> Result<Vec<SourceItem>, ItemsError> {
    let mut folder = Folder::open(path).map_err(|e| io_error(path, e))?;
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| io_error(path, e))? {
        let entry = entry.map_err(|e| io_error(path, e))?;
        let file_error = |why: &str| {
            let file = entry.file_name().to_string_lossy().into_owned();
            ItemsError::File {
                path: path.to_owned(),
                file,
                why: why.into(),
            }
        };
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| file_error("the name is not UTF-8; rename it"))?;
        if name.starts_with('.') {
            continue;
        }
        if names.len() >= limit::ITEMS_MAX as usize {
            let why = format!(
                "more than {} items; split the data set into several tasks",
                limit::ITEMS_MAX
            );
            return Err(source_error(path, why));
        }
        if entry.path().is_dir() {
            return Err(file_error(
                "is a folder; list files of several folders in a .jsonl file with `id` and `path`",
            ));
        }
        names.push(name);
    }
    if names.is_empty() {
        return Err(source_error(
            path,
            "the folder holds no files; put one file per item into it",
        ));
    }
    names.sort_unstable();
    let item = |name: String| {
        let file_error = |why| ItemsError::File {
            path: path.to_owned(),
            file: name.clone(),
            why,
        };
        check_name(&name).map_err(file_error)?;
        let (media, bytes) = folder.read(&name).map_err(file_error)?;
        Ok(SourceItem {
            media: media.to_owned(),
            bytes,
            gold: None,
            name,
        })
    };
    names.into_iter().map(item).collect()
}

/// Whether a text can name an item.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "a name has 1 to {NAME_BYTES_MAX} bytes, this one {}; shorten or fill it in",
            name.len()
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("{name:?} holds control characters; remove them"));
    }
    Ok(())
}

fn io_error(path: &Path, source: io::Error) -> ItemsError {
    ItemsError::Io {
        path: path.to_owned(),
        source,
    }
}

fn source_error(path: &Path, why: impl Into<String>) -> ItemsError {
    ItemsError::Source {
        path: path.to_owned(),
        why: why.into(),
    }
}

#[cfg(test)]
mod tests;
