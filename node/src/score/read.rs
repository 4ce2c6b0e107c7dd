//! Rows of a CSV or TSV file, found in one pass over a buffer, without an allocation per row.
//!
//! What for: a million answers are read in a fraction of the time that it takes to score them.
//! What it does not do: it knows nothing about columns and does not decode text; fields are bytes.
//! Rules: the header's line decides the delimiter (tab, else comma, else semicolon); a field that starts with a quote ends at the next
//! single quote sign and may hold delimiters, line breaks and doubled quotes; quotes inside an unquoted field are plain; `\n` and `\r\n`
//! end a row; empty lines and a leading byte order mark are passed over.
//! Invariants: no bytes panic; memory is the buffer, which grows to the longest row, at most [`ROW_BYTES_MAX`].

use std::{io, ops::Range};

/// Longest row, in bytes; a quote that is never closed ends here.
pub const ROW_BYTES_MAX: usize = 16 << 20;
/// Bytes read at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// Why reading stopped; the line is the row's first.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The source failed.
    Io(io::Error),
    /// A row is too long, most likely because of a quote that is not closed.
    TooLong,
}

/// Reads rows.
#[derive(Debug)]
pub(super) struct Rows<R> {
    source: R,
    buffer: Vec<u8>,
    /// Unread bytes of the buffer.
    unread: Range<usize>,
    ended: bool,
    delimiter: u8,
    /// Whether a byte may end a field.
    special: [bool; 256],
    fields: Vec<(u32, u32)>,
    /// Line of the current row, and the first one behind it.
    line: u64,
    next_line: u64,
}

impl<R: io::Read> Rows<R> {
    /// Starts at the beginning of a file; the first row is the header.
    pub fn new(source: R) -> Result<Self, ReadError> {
        let mut rows = Self {
            source,
            buffer: vec![0; CHUNK_BYTES],
            unread: 0..0,
            ended: false,
            delimiter: b',',
            special: [false; 256],
            fields: Vec::new(),
            line: 0,
            next_line: 1,
        };
        while !rows.ended && !rows.buffer[rows.unread.clone()].contains(&b'\n') {
            rows.fill()?;
        }
        if rows.buffer[rows.unread.clone()].starts_with(b"\xEF\xBB\xBF") {
            rows.unread.start += 3;
        }
        let start = &rows.buffer[rows.unread.clone()];
        let head = start.split(|&b| b == b'\n').next().unwrap_or_default();
        rows.delimiter = *[b'\t', b',', b';']
            .iter()
            .find(|sign| head.contains(sign))
            .unwrap_or(&b',');
        for sign in [rows.delimiter, b'\n', b'"'] {
            rows.special[usize::from(sign)] = true;
        }
        Ok(rows)
    }

    /// Moves to the next row; `false` at the end.
    pub fn advance(&mut self) -> Result<bool, ReadError> {
        loop {
            self.line = self.next_line;
            match self.scan() {
                Scan::Row if self.is_blank() => {}
                Scan::Row => return Ok(true),
                Scan::End => return Ok(false),
                Scan::More => self.fill()?,
            }
        }
    }

    /// A field of the current row.
    #[inline]
    pub fn field(&self, column: usize) -> Option<&[u8]> {
        let &(from, to) = self.fields.get(column)?;
        self.buffer.get(from as usize..to as usize)
    }

    /// Fields of the current row.
    pub fn width(&self) -> usize {
        self.fields.len()
    }

    /// First line of the current row, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    fn is_blank(&self) -> bool {
        matches!(self.fields[..], [(from, to)] if from == to)
    }

    /// Reads more behind the unread bytes.
    fn fill(&mut self) -> Result<(), ReadError> {
        if self.unread.len() >= ROW_BYTES_MAX {
            return Err(ReadError::TooLong);
        }
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.buffer.len() - self.unread.end < CHUNK_BYTES / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let count = loop {
            match self.source.read(&mut self.buffer[self.unread.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result.map_err(ReadError::Io)?,
            }
        };
        self.unread.end += count;
        self.ended = count == 0;
        Ok(())
    }

    /// Finds the next row in the buffer. Rows without quoted fields need one look at each byte.
    fn scan(&mut self) -> Scan {
        self.fields.clear();
        let base = self.unread.start;
        let mut from = base;
        for (offset, &byte) in self.buffer[self.unread.clone()].iter().enumerate() {
            if !self.special[usize::from(byte)] {
                continue;
            }
            let at = base + offset;
            if byte == self.delimiter {
                self.fields.push((from as u32, at as u32));
                from = at + 1;
            } else if byte == b'\n' {
                return self.finish(from, at, at + 1);
            } else if at == from {
                return self.scan_quoted();
            }
        }
        self.at_end(from)
    }

    fn at_end(&mut self, from: usize) -> Scan {
        if !self.ended {
            return Scan::More;
        }
        if self.unread.is_empty() {
            return Scan::End;
        }
        let end = self.unread.end;
        self.finish(from, end, end)
    }

    fn finish(&mut self, from: usize, at: usize, next: usize) -> Scan {
        let to = if at > from && self.buffer[at - 1] == b'\r' {
            at - 1
        } else {
            at
        };
        self.fields.push((from as u32, to as u32));
        self.unread.start = next;
        self.next_line = self.line + 1;
        Scan::Row
    }

    /// The same for rows with quotes: first the row's end, then its fields, whose quotes are taken away in place.
    fn scan_quoted(&mut self) -> Scan {
        self.fields.clear();
        let base = self.unread.start;
        let (mut state, mut breaks, mut end) = (State::Start, 0, None);
        for (offset, &byte) in self.buffer[self.unread.clone()].iter().enumerate() {
            let (next, role) = state.step(byte, self.delimiter);
            state = next;
            if role == Role::Row {
                end = Some(base + offset);
                break;
            }
            breaks += u64::from(byte == b'\n');
        }
        let (end, next) = match end {
            Some(at) => (at, at + 1),
            None if self.ended => (self.unread.end, self.unread.end),
            None => return Scan::More,
        };
        let (mut state, mut write, mut from) = (State::Start, base, base);
        for at in base..end {
            let byte = self.buffer[at];
            let (next, role) = state.step(byte, self.delimiter);
            state = next;
            match role {
                Role::Text => {
                    self.buffer[write] = byte;
                    write += 1;
                }
                Role::Field => {
                    self.fields.push((from as u32, write as u32));
                    from = write;
                }
                Role::Quote | Role::Row => {}
            }
        }
        if state == State::Plain && write > from && self.buffer[write - 1] == b'\r' {
            write -= 1;
        }
        self.fields.push((from as u32, write as u32));
        self.unread.start = next;
        self.next_line = self.line + 1 + breaks;
        Scan::Row
    }
}

/// What [`Rows::scan`] found.
enum Scan {
    Row,
    /// The buffer ends before the row does.
    More,
    End,
}

/// Where in a field a byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Plain,
    Quoted,
    /// Behind a quote that closes the field, unless another one follows.
    Closed,
}

/// What a byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Text,
    Quote,
    Field,
    Row,
}

impl State {
    fn step(self, byte: u8, delimiter: u8) -> (Self, Role) {
        match (self, byte) {
            (Self::Quoted, b'"') => (Self::Closed, Role::Quote),
            (Self::Quoted, _) => (Self::Quoted, Role::Text),
            (Self::Start, b'"') => (Self::Quoted, Role::Quote),
            (Self::Closed, b'"') => (Self::Quoted, Role::Text),
            (_, b'\n') => (Self::Start, Role::Row),
            (_, sign) if sign == delimiter => (Self::Start, Role::Field),
            _ => (Self::Plain, Role::Text),
        }
    }
}
