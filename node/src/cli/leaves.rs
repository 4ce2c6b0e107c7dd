//! Files of tree leaves, as a witness hands them in: CSV, or JSON with the rows of the control API. Pure but for [`read`].

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use assay_protocol::{
    amount::Amount,
    id::{Account, Hash},
};

use super::failure::{Exit, Failure};
use crate::api::model::LeafRow;

/// Largest file in bytes: more than a million leaves.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Names of the columns; a first row that says so is no leaf.
const COLUMNS: [&str; 3] = ["payee", "total", "before"];
/// How an empty place is written in CSV.
const EMPTY: &str = "-";

/// The places that a file lists, in order; none for an empty one.
///
/// # Errors
/// No such file, too large, or a row that is no leaf, by its number.
pub fn read(path: &Path) -> Result<Vec<Option<LeafRow>>, Failure> {
    let failed = |e: &io::Error| Failure::file(Exit::Failure, "read", path, e);
    let file = fs::File::open(path).map_err(|e| failed(&e))?;
    let mut bytes = Vec::new();
    let mut file = file.take(FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(|e| failed(&e))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let why = format!(
            "{} is larger than {} MiB, so it holds no leaves of a tree",
            path.display(),
            FILE_BYTES_MAX >> 20
        );
        return Err(Failure::new(Exit::Failure, why));
    }
    decode(&bytes).map_err(|why| {
        Failure::new(Exit::Failure, format!("{}: {why}", path.display())).next(
            "rows are payee,total or payee,total,before in base units; `assay dispute prove --help` tells the rest",
        )
    })
}

fn decode(bytes: &[u8]) -> Result<Vec<Option<LeafRow>>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii_start().starts_with(b"[") {
        return serde_json::from_slice(bytes).map_err(|e| e.to_string());
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let mut rows = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|e| e.to_string())?;
        let fields: Vec<&str> = record.iter().collect();
        if index == 0 && !fields.is_empty() && COLUMNS.starts_with(&fields) {
            continue;
        }
        let line = record.position().map_or(0, csv::Position::line);
        rows.push(row(&fields).map_err(|why| format!("line {line}: {why}"))?);
    }
    Ok(rows)
}

fn row(fields: &[&str]) -> Result<Option<LeafRow>, String> {
    match fields {
        [EMPTY] => Ok(None),
        [node] => Ok(Some(LeafRow {
            node: Some(node.parse::<Hash>().map_err(|e| e.to_string())?),
            ..LeafRow::default()
        })),
        [payee, total, before @ ..] if before.len() <= 1 => Ok(Some(LeafRow {
            payee: Some(payee.parse::<Account>().map_err(|e| e.to_string())?),
            total: Some(amount("total", total)?),
            before: before
                .first()
                .map(|text| amount("before", text))
                .transpose()?,
            node: None,
        })),
        _ => Err(format!("{} columns, and a leaf has 2 or 3", fields.len())),
    }
}

fn amount(column: &str, text: &str) -> Result<Amount, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let units = digits.then(|| text.parse().ok()).flatten();
    units.map(Amount).ok_or_else(|| {
        let shown: String = text.chars().take(60).collect();
        format!("{column} {shown:?} is no whole number of base units below 2^128")
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn leaf(payee: u8, total: u128, before: Option<u128>) -> Option<LeafRow> {
        Some(LeafRow {
            payee: Some(Account([payee; 20])),
            total: Some(Amount(total)),
            before: before.map(Amount),
            node: None,
        })
    }

    #[test]
    fn rows_of_both_forms_say_the_same() {
        let payee = Account([0xa1; 20]);
        let node = Hash([7; 32]);
        let csv = format!("\u{feff}payee,total,before\r\n0x{payee}, 700 ,0\n-\n0x{node}\n");
        let json = format!(
            r#" [{{"payee": "0x{payee}", "total": "700", "before": 0}}, null, {{"node": "{node}"}}]"#
        );
        let foreign = Some(LeafRow {
            node: Some(node),
            ..LeafRow::default()
        });
        let expected = vec![leaf(0xa1, 700, Some(0)), None, foreign];
        assert_eq!(decode(csv.as_bytes()), Ok(expected.clone()));
        assert_eq!(decode(json.as_bytes()), Ok(expected));
        assert_eq!(decode(b"payee,total\n"), Ok(vec![]));
        assert_eq!(decode(b""), Ok(vec![]));
    }

    #[test]
    fn a_row_that_is_no_leaf_is_named_by_its_line() {
        let payee = Account([1; 20]);
        for (text, part) in [
            (format!("{payee},5\n{payee},-3\n"), "line 2: total"),
            (format!("{payee},5,x\n"), "line 1: before"),
            (format!("{payee},1.5\n"), "whole number"),
            (
                format!("{payee},340282366920938463463374607431768211456\n"),
                "2^128",
            ),
            ("ann,5\n".to_owned(), "line 1: Account"),
            (format!("{payee},1,2,3\n"), "4 columns"),
            (format!("{payee}\n"), "line 1: Hash"),
            ("[{\"payes\": 1}]".to_owned(), "payes"),
        ] {
            let why = decode(text.as_bytes()).expect_err(&text);
            assert!(why.contains(part), "{why} for {text}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_said_so() {
        let dir = tempfile::tempdir().expect("a folder");
        let failure = read(&dir.path().join("leaves.csv")).expect_err("none");
        assert!(failure.text.contains("leaves.csv"), "{failure:?}");
        let path = dir.path().join("bad.csv");
        fs::write(&path, "x,y\n").expect("writes");
        let failure = read(&path).expect_err("bad");
        assert!(failure.next.contains("--help"), "{failure:?}");
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), json: bool) {
            let mut bytes = bytes;
            if json {
                bytes.insert(0, b'[');
            }
            let _ = decode(&bytes);
        }

        #[test]
        fn text_made_of_the_right_pieces_never_panics(text in r#"([-\[\]{}"':,\n0-9a-fx]|payee|total|before|node|null){0,60}"#) {
            let _ = decode(text.as_bytes());
        }

        #[test]
        fn written_rows_are_read_back(rows in prop::collection::vec((0u8..3, any::<u8>(), any::<u128>(), any::<Option<u128>>()), 0..20)) {
            let (mut csv, mut expected) = (String::new(), Vec::new());
            for (kind, payee, total, before) in rows {
                let row = match kind {
                    0 => None,
                    1 => Some(LeafRow { node: Some(Hash([payee; 32])), ..LeafRow::default() }),
                    _ => leaf(payee, total, before),
                };
                match &row {
                    None => csv.push('-'),
                    Some(LeafRow { node: Some(node), .. }) => write!(csv, "0x{node}").expect("writes"),
                    Some(_) => {
                        write!(csv, "0x{},{total}", Account([payee; 20])).expect("writes");
                        if let Some(before) = before {
                            write!(csv, ",{before}").expect("writes");
                        }
                    }
                }
                csv.push('\n');
                expected.push(row);
            }
            prop_assert_eq!(decode(csv.as_bytes()), Ok(expected.clone()));
            let json = serde_json::to_vec(&expected).expect("JSON");
            prop_assert_eq!(decode(&json), Ok(expected));
        }
    }
}
