//! Names as numbers: each different name of a column is kept once, and numbered by its place in byte order.
//!
//! What for: the numbers that the engines see, and with them every result, do not depend on the order of the rows.
//! What it does not do: no case folding, no Unicode normalisation; two spellings are two names.
//! Invariants: names are UTF-8; numbers are dense; [`Names`] is sorted without repetition.

/// Most bytes of all names of one column together.
pub const NAMES_BYTES_MAX: usize = u32::MAX as usize;
/// Most names of one column: twice the rows of a file (a label and a proposed one each), but for what a slot cannot number.
pub const NAMES_MAX: usize = (1 << NUMBER_BITS) - 2;

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameError {
    NotUtf8,
    TooMuch,
}

/// Names up to this length stand in the table itself, in bytes: finding one costs a single access to memory.
const SHORT: usize = 8;

/// A place of the table: three words, so that large tables need less memory.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The bytes of a short name, the hash of a longer one; low word first.
    key: [u32; 2],
    /// Upper bits: [`short_length`]. Lower [`NUMBER_BITS`]: number plus one. Zero is free.
    tag: u32,
}

/// Bits of a name's number plus one in a slot.
const NUMBER_BITS: u32 = 26;

impl Slot {
    fn key(self) -> u64 {
        u64::from(self.key[1]) << 32 | u64::from(self.key[0])
    }

    fn length(self) -> u32 {
        self.tag >> NUMBER_BITS
    }

    /// The number of the name, where there is one.
    fn number(self) -> u32 {
        (self.tag & ((1 << NUMBER_BITS) - 1)).wrapping_sub(1)
    }
}

/// Length of a name as a slot keeps it: all from 63 bytes on are alike.
#[inline]
fn short_length(name: &[u8]) -> u32 {
    name.len().min((1 << (u32::BITS - NUMBER_BITS)) - 1) as u32
}

/// A name that stands in the table itself: ASCII, not empty, and at most [`SHORT`] bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortName {
    key: u64,
    length: u32,
}

impl ShortName {
    /// The name, if it is one.
    #[inline]
    pub fn of(name: &[u8]) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= SHORT && name.is_ascii();
        fits.then(|| Self {
            key: key(name).0,
            length: name.len() as u32,
        })
    }
}

/// Collects names while a file is read; numbers follow the order of appearance.
#[derive(Debug, Default)]
pub(super) struct Collector {
    text: String,
    ends: Vec<u32>,
    /// Open addressing; a power of two long.
    slots: Vec<Slot>,
    /// First places of the names at hand in [`Collector::numbers`].
    seen: Vec<Slot>,
}

impl Collector {
    /// The number of a name.
    #[inline]
    pub fn number(&mut self, name: &[u8]) -> Result<u32, NameError> {
        if (self.ends.len() + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let (key, place) = key(name);
        let mask = self.slots.len() - 1;
        let mut place = place & mask;
        loop {
            let slot = self.slots[place];
            if slot.tag == 0 {
                return self.add(name, key, place);
            }
            if slot.key() == key && slot.length() == short_length(name) {
                let number = slot.number();
                if name.len() <= SHORT || self.bytes(number) == name {
                    return Ok(number);
                }
            }
            place = (place + 1) & mask;
        }
    }

    /// The numbers of several names, in their order.
    ///
    /// All first places are read before any is looked at: a large table lies outside the caches, and reads that do not wait for each
    /// other overlap.
    pub fn numbers(
        &mut self,
        names: impl Iterator<Item = ShortName> + Clone,
        mut found: impl FnMut(u32),
    ) -> Result<(), NameError> {
        let mut seen = std::mem::take(&mut self.seen);
        seen.clear();
        let mask = self.slots.len().wrapping_sub(1);
        seen.extend(names.clone().map(|name| {
            let place = place_of(name.key, name.length) & mask;
            self.slots.get(place).copied().unwrap_or_default()
        }));
        for (name, slot) in names.zip(&seen) {
            found(if slot.key() == name.key && slot.length() == name.length {
                slot.number()
            } else {
                self.number(&name.key.to_le_bytes()[..name.length as usize])?
            });
        }
        self.seen = seen;
        Ok(())
    }

    #[cold]
    fn add(&mut self, name: &[u8], key: u64, place: usize) -> Result<u32, NameError> {
        let name = std::str::from_utf8(name).map_err(|_| NameError::NotUtf8)?;
        if self.text.len() + name.len() > NAMES_BYTES_MAX || self.ends.len() >= NAMES_MAX {
            return Err(NameError::TooMuch);
        }
        let number = self.ends.len() as u32;
        self.text.push_str(name);
        self.ends.push(self.text.len() as u32);
        self.slots[place] = Slot {
            key: [key as u32, (key >> 32) as u32],
            tag: short_length(name.as_bytes()) << NUMBER_BITS | (number + 1),
        };
        Ok(number)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Sorts; gives for each number of the collector its place among the sorted names.
    pub fn sort(mut self) -> (Names, Vec<u32>) {
        (self.slots, self.seen) = (Vec::new(), Vec::new());
        let shared = self.shared_prefix();
        let mut order: Vec<(u64, u32)> = (0..self.ends.len() as u32)
            .map(|number| {
                let bytes = self.bytes(number).get(shared..).unwrap_or_default();
                let mut head = [0; 8];
                let length = bytes.len().min(8);
                head[..length].copy_from_slice(&bytes[..length]);
                (u64::from_be_bytes(head), number)
            })
            .collect();
        order.sort_unstable_by(|a, b| {
            (a.0.cmp(&b.0)).then_with(|| self.bytes(a.1).cmp(self.bytes(b.1)))
        });
        let mut names = Names {
            text: String::with_capacity(self.text.len()),
            ends: Vec::with_capacity(self.ends.len()),
        };
        let mut place = vec![0; self.ends.len()];
        for &(_, number) in &order {
            place[number as usize] = names.ends.len() as u32;
            names.text.push_str(self.get(number));
            names.ends.push(names.text.len() as u32);
        }
        (names, place)
    }

    /// Bytes that all names start with, so that the sorting keys begin where names differ.
    fn shared_prefix(&self) -> usize {
        let mut numbers = 0..self.ends.len() as u32;
        let Some(first) = numbers.next() else {
            return 0;
        };
        let first = self.bytes(first);
        numbers.fold(first.len(), |shared, number| {
            let own = self.bytes(number);
            (first[..shared].iter().zip(own))
                .take_while(|(a, b)| a == b)
                .count()
        })
    }

    #[inline]
    fn range(&self, number: u32) -> std::ops::Range<usize> {
        let number = number as usize;
        let start = if number == 0 {
            0
        } else {
            self.ends[number - 1]
        };
        start as usize..self.ends[number] as usize
    }

    #[inline]
    fn bytes(&self, number: u32) -> &[u8] {
        &self.text.as_bytes()[self.range(number)]
    }

    fn get(&self, number: u32) -> &str {
        &self.text[self.range(number)]
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(64);
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); size]);
        for slot in old.into_iter().filter(|slot| slot.tag != 0) {
            let mut place = place_of(slot.key(), slot.length()) & (size - 1);
            while self.slots[place].tag != 0 {
                place = (place + 1) & (size - 1);
            }
            self.slots[place] = slot;
        }
    }
}

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Multiplies and folds. Not meant against people who choose names to collide: the file is the user's own.
#[inline]
fn fold(value: u64) -> u64 {
    // Two factors below 2^64 cannot overflow 128 bits.
    let product = u128::from(value) * u128::from(MULTIPLIER);
    product as u64 ^ (product >> 64) as u64
}

/// What stands in the table for a name, and where it belongs before the table's size is known.
#[inline]
fn key(name: &[u8]) -> (u64, usize) {
    let (words, rest) = name.as_chunks::<8>();
    let tail = rest
        .iter()
        .rev()
        .fold(0, |tail: u64, &byte| tail << 8 | u64::from(byte));
    let key = match words {
        [] => tail,
        [word] if rest.is_empty() => u64::from_le_bytes(*word),
        _ => words
            .iter()
            .fold(tail, |state, word| fold(state ^ u64::from_le_bytes(*word))),
    };
    (key, place_of(key, short_length(name)))
}

#[inline]
fn place_of(key: u64, length: u32) -> usize {
    fold(key ^ u64::from(length) << 57 ^ MULTIPLIER) as usize
}

/// Sorted names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    text: String,
    ends: Vec<u32>,
}

impl Names {
    /// The name with a number.
    #[inline]
    pub fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = if number == 0 {
            0
        } else {
            self.ends[number - 1]
        };
        &self.text[start as usize..self.ends[number] as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of a name.
    pub fn find(&self, name: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.ends.len() as u32);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle).cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// All names in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len() as u32).map(|number| self.get(number))
    }

    /// Sorted names of any list.
    pub fn of<'a>(list: impl IntoIterator<Item = &'a str>) -> Self {
        let sorted: std::collections::BTreeSet<&str> = list.into_iter().collect();
        let mut names = Self::default();
        for name in sorted {
            names.text.push_str(name);
            names.ends.push(names.text.len() as u32);
        }
        names
    }
}
