//! Where labels come from: a person at the terminal, or a file of answers.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use assay_protocol::{id::TaskId, message::ItemEntry};

use super::{
    failure::{Exit, Failure},
    folder::{self, Folder},
    picture,
    text::harmless,
};

/// Characters of a text item shown; the rest is in the copy on disk.
const TEXT_CHARS_MAX: usize = 8_000;
/// Largest answers file in bytes.
const ANSWERS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What a person typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A label, by place.
    Label(u16),
    /// Not this one now.
    Skip,
    /// The one before once more.
    Back,
    /// Commit what is answered.
    Commit,
    /// Stop; the draft is kept.
    Quit,
    /// Nothing of this.
    Unclear(String),
}

/// Reads what a person typed: a label's name, its number from 1, the beginning of a name that fits only one, or a command.
/// A name always wins over a number.
pub fn read_typed(text: &str, labels: &[String]) -> Typed {
    let text = text.trim();
    match text {
        ":skip" | ":s" => return Typed::Skip,
        ":back" | ":b" => return Typed::Back,
        ":commit" | ":c" => return Typed::Commit,
        ":quit" | ":q" => return Typed::Quit,
        "" => {
            return Typed::Unclear(
                "type a label, its number, or :skip, :back, :commit, :quit".to_owned(),
            );
        }
        _ => {}
    }
    if let Some(place) = labels.iter().position(|l| l == text) {
        return Typed::Label(place as u16);
    }
    let numbered = !labels.iter().any(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if let (true, Ok(number)) = (numbered, text.parse::<usize>())
        && (1..=labels.len()).contains(&number)
    {
        return Typed::Label((number - 1) as u16);
    }
    let lower = text.to_lowercase();
    let mut fits = labels
        .iter()
        .enumerate()
        .filter(|(_, l)| l.to_lowercase().starts_with(&lower));
    match (fits.next(), fits.next()) {
        (Some((place, _)), None) => Typed::Label(place as u16),
        (Some((_, a)), Some((_, b))) => Typed::Unclear(format!("{text:?} fits {a:?} and {b:?}")),
        (None, _) => Typed::Unclear(format!(
            "{text:?} is no label; type a name or a number from 1 to {}",
            labels.len()
        )),
    }
}

/// Answers by item name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerFile {
    by_item: BTreeMap<String, String>,
}

impl AnswerFile {
    /// Reads a CSV file with the columns `item` and `label`.
    ///
    /// # Errors
    /// The first problem with its line.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |e: &io::Error| Failure::file(Exit::Failure, "read the answers", path, e);
        let file = fs::File::open(path).map_err(|e| failed(&e))?;
        if file.metadata().map_err(|e| failed(&e))?.len() > ANSWERS_BYTES_MAX {
            return Err(Failure::new(
                Exit::Failure,
                format!(
                    "{} is larger than {ANSWERS_BYTES_MAX} bytes",
                    path.display()
                ),
            ));
        }
        Self::parse(file, &path.display().to_string())
    }

    fn parse(from: impl io::Read, name: &str) -> Result<Self, Failure> {
        let bad = |line: u64, why: String| {
            Failure::new(Exit::Failure, format!("answers {name}, line {line}: {why}"))
        };
        let mut table = csv::Reader::from_reader(from);
        let header = table.headers().map_err(|e| bad(1, e.to_string()))?.clone();
        let column = |wanted: &str| {
            header.iter().position(|h| h.trim() == wanted).ok_or_else(|| {
                bad(1, format!("there is no column `{wanted}`; the first line must name the columns: item,label"))
            })
        };
        let (item_at, label_at) = (column("item")?, column("label")?);
        let mut by_item = BTreeMap::new();
        for row in table.records() {
            let row =
                row.map_err(|e| bad(e.position().map_or(0, csv::Position::line), e.to_string()))?;
            let line = row.position().map_or(0, csv::Position::line);
            let item = row.get(item_at).unwrap_or_default();
            let label = row.get(label_at).unwrap_or_default().trim();
            if item.is_empty() || label.is_empty() {
                return Err(bad(line, "item and label must not be empty".to_owned()));
            }
            if by_item.insert(item.to_owned(), label.to_owned()).is_some() {
                return Err(bad(
                    line,
                    format!("item {item:?} stands twice; give one answer per item"),
                ));
            }
        }
        Ok(Self { by_item })
    }

    /// Whether the file has an answer to an item.
    pub fn has(&self, item: &str) -> bool {
        self.by_item.contains_key(item)
    }

    /// The answer to an item, if the file has one.
    ///
    /// # Errors
    /// A label that the task does not have.
    pub fn answer(&self, item: &str, labels: &[String]) -> Result<Option<u16>, Failure> {
        let Some(label) = self.by_item.get(item) else {
            return Ok(None);
        };
        match labels.iter().position(|l| l == label) {
            Some(place) => Ok(Some(place as u16)),
            None => Err(Failure::new(
                Exit::Failure,
                format!("answers, item {item:?}: the task has no label {label:?}"),
            )
            .next(format!("its labels are: {}", labels.join(", ")))),
        }
    }
}

/// A person at the terminal.
pub struct Person {
    copies: PathBuf,
}

impl Person {
    /// Makes room for copies of items.
    ///
    /// # Errors
    /// When nobody can type, or the folder cannot be made.
    pub fn new(folder: &Folder, task: TaskId) -> Result<Self, Failure> {
        if !io::stdin().is_terminal() {
            return Err(Failure::new(
                Exit::Usage,
                "standard input is not a terminal, so nobody can be asked",
            )
            .next("give the answers with --answers FILE.csv"));
        }
        let copies = folder.work_path().join(task.short());
        folder::make_private_folder(&copies)?;
        Ok(Self { copies })
    }

    /// Shows an item.
    ///
    /// # Errors
    /// When its copy cannot be written or the terminal is gone.
    pub fn show(
        &self,
        place: usize,
        of: usize,
        item: u32,
        entry: &ItemEntry,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "\n--- {place} of {of}: {}",
            harmless(&entry.name, false)
        )?;
        if entry.media.starts_with("text/") {
            let text = String::from_utf8_lossy(bytes);
            let shown: String = text.chars().take(TEXT_CHARS_MAX).collect();
            writeln!(out, "{}", harmless(&shown, true))?;
            if text.chars().count() <= TEXT_CHARS_MAX {
                return Ok(());
            }
        }
        // The name comes from us: the item's own name is foreign and may be any path.
        let ending = match entry.media.as_str() {
            "image/png" => "png",
            "image/jpeg" => "jpg",
            "image/gif" => "gif",
            "image/webp" => "webp",
            "audio/wav" => "wav",
            "audio/mpeg" => "mp3",
            "video/mp4" => "mp4",
            media if media.starts_with("text/") => "txt",
            _ => "bin",
        };
        let path = self.copies.join(format!("{item}.{ending}"));
        fs::write(&path, bytes).map_err(|e| Failure::file(Exit::Failure, "write", &path, &e))?;
        writeln!(
            out,
            "{} ({}, {} bytes)",
            path.display(),
            harmless(&entry.media, false),
            bytes.len()
        )?;
        if entry.media == "image/png"
            && out.is_terminal()
            && let Some(grey) = picture::preview(bytes)
        {
            writeln!(out, "{grey}")?;
        }
        Ok(())
    }

    /// Asks for a label until there is one, or a command.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub async fn ask(&self, labels: &[String]) -> Result<Typed, Failure> {
        loop {
            {
                let names: Vec<String> = labels
                    .iter()
                    .enumerate()
                    .map(|(i, l)| format!("[{}] {}", i + 1, harmless(l, false)))
                    .collect();
                let mut err = io::stderr().lock();
                write!(err, "{}\nlabel> ", names.join("  "))?;
                err.flush()?;
            }
            let read = tokio::task::spawn_blocking(|| {
                let mut line = String::new();
                io::stdin()
                    .lock()
                    .read_line(&mut line)
                    .map(|bytes| (bytes > 0).then_some(line))
            });
            let line = read.await.map_err(|e| Failure::new(Exit::Failure, e))??;
            let Some(line) = line else {
                return Ok(Typed::Quit);
            };
            match read_typed(&line, labels) {
                Typed::Unclear(why) => writeln!(io::stderr(), "{why}")?,
                typed => return Ok(typed),
            }
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // Copies that stay harm nobody; the folder is private.
        let _ = fs::remove_dir_all(&self.copies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn a_label_is_typed_by_name_number_or_beginning() {
        let pets = labels(&["cat", "dog", "Dodo"]);
        for (text, want) in [
            ("cat", 0),
            ("2", 1),
            (" 3 \n", 2),
            ("c", 0),
            ("DOG", 1),
            ("dod", 2),
        ] {
            assert_eq!(read_typed(text, &pets), Typed::Label(want), "{text}");
        }
        for text in ["", "do", "4", "0", "bird", "-1"] {
            assert!(
                matches!(read_typed(text, &pets), Typed::Unclear(_)),
                "{text}"
            );
        }
        assert_eq!(read_typed(":q", &pets), Typed::Quit);
    }

    #[test]
    fn with_digits_as_names_a_number_is_a_name_and_nothing_else() {
        let digits = labels(&["0", "1", "2"]);
        assert_eq!(read_typed("1", &digits), Typed::Label(1));
        assert_eq!(read_typed("0", &digits), Typed::Label(0));
        assert!(matches!(read_typed("3", &digits), Typed::Unclear(_)));
    }

    #[test]
    fn an_answer_file_is_read_by_column_names() {
        let file =
            AnswerFile::parse("label,x,item\ncat,1,\"a, b\"\ndog,2,c\n".as_bytes(), "f").unwrap();
        let pets = labels(&["cat", "dog"]);
        assert!(file.has("c") && !file.has("d"));
        assert_eq!(file.answer("a, b", &pets), Ok(Some(0)));
        assert_eq!(file.answer("c", &pets), Ok(Some(1)));
        assert_eq!(file.answer("d", &pets), Ok(None));
        assert!(
            file.answer("c", &labels(&["cat"]))
                .expect_err("no such label")
                .text
                .contains("dog")
        );
    }

    #[test]
    fn a_wrong_answer_file_is_refused_with_the_line() {
        for (text, line) in [
            ("a,b\nx,y\n", "line 1"),
            ("item,label\nx,\n", "line 2"),
            ("item,label\nx,cat\nx,dog\n", "line 3"),
            ("item,label\nx,cat\ny\n", "line 3"),
        ] {
            let refused = AnswerFile::parse(text.as_bytes(), "f").expect_err(text);
            assert!(refused.text.contains(line), "{}", refused.text);
        }
    }
}
