//! Text for terminals: foreign words made harmless, times, tables, and the one place that prints.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::failure::Failure;

/// Longest piece of foreign text shown in a table, in characters.
const CELL_CHARS_MAX: usize = 60;

/// Where a command prints: data on standard output, everything else on standard error.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    /// JSON instead of tables.
    pub json: bool,
}

impl Printer {
    /// A line of data for people.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn line(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// Data as one line of JSON.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn data(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(io::Error::from)?;
        self.line(&text)
    }

    /// A message on how things go; silent with `--json`, where only data and errors count.
    pub fn say(self, text: &str) {
        if !self.json {
            // A closed standard error must not stop the work.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// A message that matters also to scripts.
    pub fn warn(self, text: &str) {
        let line = if self.json {
            serde_json::json!({ "warning": text }).to_string()
        } else {
            format!("warning: {text}")
        };
        // As above.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// What people are told of epochs that were taken back.
pub fn revoked(lane: u32, from: u64) -> String {
    format!(
        "epoch {from} of lane {lane} and all after it were taken back before they paid; the next committee settles their tasks again, with the \
         same money"
    )
}

/// A failure on standard error.
pub fn print_failure(failure: &Failure, json: bool) {
    let mut err = io::stderr().lock();
    // Nobody is left to tell when standard error is closed.
    let _ = if json {
        let line = serde_json::json!({
            "error": failure.text, "what_next": failure.next, "exit_code": failure.exit as u8,
        });
        writeln!(err, "{line}")
    } else if failure.next.is_empty() {
        writeln!(err, "error: {}", failure.text)
    } else {
        writeln!(err, "error: {}\n  next: {}", failure.text, failure.next)
    };
}

/// Foreign text without anything that could move a cursor, hide or reorder what a person reads. Line breaks stay when `lines`.
pub fn harmless(text: &str, lines: bool) -> String {
    let reorders = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars()
        .map(|c| match c {
            '\n' if lines => c,
            '\t' => ' ',
            c if c.is_control() || reorders(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Foreign text for a table cell.
pub fn cell(text: &str) -> String {
    let text = harmless(text, false);
    if text.chars().count() <= CELL_CHARS_MAX {
        return text;
    }
    let mut cut: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

/// A table without lines.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if !io::stdout().is_terminal() {
        // Scripts that cut columns must not meet wrapped ones.
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table
}

/// Reads `90s`, `10m`, `12h`, `2d` or plain seconds.
///
/// # Errors
/// A sentence for the person who typed it.
pub fn parse_secs(text: &str) -> Result<u32, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3_600),
        Some(b'd') => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    let number = Some(digits).filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
    number
        .and_then(|d| d.parse::<u32>().ok()?.checked_mul(factor))
        .filter(|secs| *secs > 0)
        .ok_or_else(|| format!("{text:?} is not a time; write it like 90s, 10m, 12h or 2d"))
}

/// Seconds for people: the two largest units.
pub fn secs(total: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(size, _)| total >= *size) else {
        return "0s".to_owned();
    };
    let mut left = total;
    let mut text = Vec::new();
    for (size, name) in units.iter().skip(first).take(2) {
        if left >= *size {
            text.push(format!("{}{name}", left / size));
        }
        left %= size;
    }
    text.join(" ")
}

/// Time until a deadline of chain time, or a dash.
pub fn left(deadline: Option<u64>, now: u64) -> String {
    match deadline {
        None => "-".to_owned(),
        Some(at) if at <= now => "due".to_owned(),
        Some(at) => secs(at - now),
    }
}

/// Parts per million as percent with one digit.
pub fn percent(ppm: i64) -> String {
    let tenths = (ppm.unsigned_abs() + 500) / 1_000;
    let sign = if ppm < 0 && tenths > 0 { "-" } else { "" };
    format!("{sign}{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_units_and_nothing_else() {
        for (text, want) in [
            ("90", 90),
            ("90s", 90),
            ("10m", 600),
            ("12h", 43_200),
            ("2d", 172_800),
        ] {
            assert_eq!(parse_secs(text), Ok(want));
        }
        for bad in [
            "", "s", "0", "-1s", "1.5h", "10 m", "9999999d", "1w", "１m", "+5s",
        ] {
            assert!(parse_secs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_shown_in_two_units() {
        for (total, want) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_661, "1h 1m"),
            (86_400, "1d"),
            (90_061, "1d 1h"),
        ] {
            assert_eq!(secs(total), want);
        }
        assert_eq!(
            (left(None, 5), left(Some(5), 5), left(Some(95), 5)),
            ("-".into(), "due".into(), "1m 30s".into())
        );
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(
            harmless("a\x1b[2Jb\u{202e}c\r\n\td", false),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\u{fffd} d"
        );
        assert_eq!(harmless("two\nlines", true), "two\nlines");
        assert_eq!(cell(&"x".repeat(100)).chars().count(), CELL_CHARS_MAX);
    }

    #[test]
    fn shares_are_shown_rounded_with_their_sign() {
        for (ppm, want) in [
            (0, "0.0 %"),
            (956_500, "95.7 %"),
            (1_000_000, "100.0 %"),
            (-123_456, "-12.3 %"),
            (-100, "0.0 %"),
        ] {
            assert_eq!(percent(ppm), want);
        }
    }
}
