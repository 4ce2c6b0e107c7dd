//! Tables of results, and how they are written: CSV, JSON, Parquet.
//!
//! Invariants: a table's columns have equal length; equal tables give equal CSV and JSON bytes; numbers are written as decimals from
//! integers, never through floating point, except in Parquet, where a decimal becomes the nearest double.

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::Arc,
};

use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};

/// Digits behind the point of shares.
pub(super) const SHARE_DIGITS: u8 = 6;

/// Cells of a column; `None` is an empty cell.
#[derive(Debug)]
pub(super) enum Cells<'a> {
    Text(Vec<Cow<'a, str>>),
    Whole(Vec<Option<i64>>),
    /// Decimals as integers, with this many digits behind the point.
    Decimal(u8, Vec<Option<i64>>),
}

impl Cells<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Text(cells) => cells.len(),
            Self::Whole(cells) | Self::Decimal(_, cells) => cells.len(),
        }
    }
}

/// A table.
#[derive(Debug, Default)]
pub(super) struct Sheet<'a> {
    pub columns: Vec<(Cow<'a, str>, Cells<'a>)>,
}

/// A Q16 number in millionths.
pub(super) fn millionths(q16: u32) -> i64 {
    (i64::from(q16) * 1_000_000 + 32_768) >> 16
}

/// A decimal as text.
pub(super) fn decimal(value: i64, digits: u8) -> String {
    if digits == 0 {
        return value.to_string();
    }
    let unit = 10u64.pow(u32::from(digits));
    let sign = if value < 0 { "-" } else { "" };
    let size = value.unsigned_abs();
    let width = usize::from(digits);
    format!("{sign}{}.{:0width$}", size / unit, size % unit)
}

impl<'a> Sheet<'a> {
    /// Adds a column of names.
    pub fn text<T: Into<Cow<'a, str>>>(
        mut self,
        name: impl Into<Cow<'a, str>>,
        cells: impl IntoIterator<Item = T>,
    ) -> Self {
        let cells = cells.into_iter().map(Into::into).collect();
        self.columns.push((name.into(), Cells::Text(cells)));
        self
    }

    /// Adds a column of whole numbers.
    pub fn whole<T: Into<i64>>(
        mut self,
        name: impl Into<Cow<'a, str>>,
        cells: impl IntoIterator<Item = Option<T>>,
    ) -> Self {
        let cells = cells.into_iter().map(|cell| cell.map(Into::into)).collect();
        self.columns.push((name.into(), Cells::Whole(cells)));
        self
    }

    /// Adds a column of decimals.
    pub fn decimal<T: Into<i64>>(
        mut self,
        name: impl Into<Cow<'a, str>>,
        digits: u8,
        cells: impl IntoIterator<Item = Option<T>>,
    ) -> Self {
        let cells = cells.into_iter().map(|cell| cell.map(Into::into)).collect();
        self.columns
            .push((name.into(), Cells::Decimal(digits, cells)));
        self
    }

    /// Adds a column of shares in parts per million.
    pub fn share<T: Into<i64>>(
        self,
        name: impl Into<Cow<'a, str>>,
        cells: impl IntoIterator<Item = Option<T>>,
    ) -> Self {
        self.decimal(name, SHARE_DIGITS, cells)
    }

    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, cells)| cells.len())
    }

    /// Writes the first `columns` columns as CSV.
    pub fn csv(&self, columns: usize, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let columns = &self.columns[..columns.min(self.columns.len())];
        for (place, (name, _)) in columns.iter().enumerate() {
            out.write_all(if place == 0 { b"" } else { b"," })?;
            write_field(out, name)?;
        }
        out.write_all(b"\n")?;
        for row in 0..self.rows() {
            for (place, (_, cells)) in columns.iter().enumerate() {
                if place > 0 {
                    out.write_all(b",")?;
                }
                match cells {
                    Cells::Text(cells) => write_field(out, &cells[row])?,
                    Cells::Whole(cells) => write_number(out, cells[row], 0)?,
                    Cells::Decimal(digits, cells) => write_number(out, cells[row], *digits)?,
                }
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Writes a JSON array with one object per row.
    pub fn json(&self, out: &mut impl Write) -> io::Result<()> {
        let names: Vec<String> = self
            .columns
            .iter()
            .map(|(name, _)| serde_json::to_string(name))
            .collect::<Result<_, _>>()?;
        out.write_all(b"[")?;
        for row in 0..self.rows() {
            out.write_all(if row == 0 { b"\n{" } else { b",\n{" })?;
            for (place, ((_, cells), name)) in self.columns.iter().zip(&names).enumerate() {
                write!(out, "{}{name}:", if place == 0 { "" } else { "," })?;
                let (value, digits) = match cells {
                    Cells::Text(cells) => {
                        serde_json::to_writer(&mut *out, &cells[row])?;
                        continue;
                    }
                    Cells::Whole(cells) => (cells[row], 0),
                    Cells::Decimal(digits, cells) => (cells[row], *digits),
                };
                match value {
                    None => out.write_all(b"null")?,
                    some => write_number(out, some, digits)?,
                }
            }
            out.write_all(b"}")?;
        }
        out.write_all(b"\n]\n")
    }

    /// Writes a Parquet file with one row group: UTF-8 texts, 64-bit integers, doubles.
    pub fn parquet(&self, out: impl Write + Send) -> Result<(), ParquetError> {
        let fields = self
            .columns
            .iter()
            .map(|(name, cells)| {
                let (physical, logical, repetition) = match cells {
                    Cells::Text(_) => (
                        Physical::BYTE_ARRAY,
                        Some(LogicalType::String),
                        Repetition::REQUIRED,
                    ),
                    Cells::Whole(_) => (Physical::INT64, None, Repetition::OPTIONAL),
                    Cells::Decimal(..) => (Physical::DOUBLE, None, Repetition::OPTIONAL),
                };
                Type::primitive_type_builder(name, physical)
                    .with_logical_type(logical)
                    .with_repetition(repetition)
                    .build()
                    .map(Arc::new)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let schema = Type::group_type_builder("rows")
            .with_fields(fields)
            .build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .build();
        let mut writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        let mut group = writer.next_row_group()?;
        for (_, cells) in &self.columns {
            let Some(mut column) = group.next_column()? else {
                break;
            };
            match cells {
                Cells::Text(cells) => {
                    let values: Vec<ByteArray> = cells
                        .iter()
                        .map(|cell| ByteArray::from(cell.as_bytes().to_vec()))
                        .collect();
                    column
                        .typed::<ByteArrayType>()
                        .write_batch(&values, None, None)?;
                }
                Cells::Whole(cells) => {
                    let (values, levels) = optional(cells, |value| value);
                    column
                        .typed::<Int64Type>()
                        .write_batch(&values, Some(&levels), None)?;
                }
                Cells::Decimal(digits, cells) => {
                    let unit = 10f64.powi(i32::from(*digits));
                    let (values, levels) = optional(cells, |value| value as f64 / unit);
                    column
                        .typed::<DoubleType>()
                        .write_batch(&values, Some(&levels), None)?;
                }
            }
            column.close()?;
        }
        group.close()?;
        writer.close()?;
        Ok(())
    }
}

/// The values that are there, and for each cell whether it has one.
fn optional<T>(cells: &[Option<i64>], value: impl Fn(i64) -> T) -> (Vec<T>, Vec<i16>) {
    let values = cells.iter().flatten().map(|&cell| value(cell)).collect();
    let levels = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    (values, levels)
}

fn write_number(out: &mut (impl Write + ?Sized), value: Option<i64>, digits: u8) -> io::Result<()> {
    match value {
        None => Ok(()),
        Some(value) => out.write_all(decimal(value, digits).as_bytes()),
    }
}

/// Quotes a field only where it must be.
fn write_field(out: &mut (impl Write + ?Sized), text: &str) -> io::Result<()> {
    let special = |byte: u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !text.bytes().any(special) {
        return out.write_all(text.as_bytes());
    }
    write!(out, "\"{}\"", text.replace('"', "\"\""))
}
