//! The tables behind the shards and the row layouts in them (`DESIGN.md`, "Shard tables").
//!
//! Only these functions change the tables, always inside one engine transaction, so that a shard,
//! its references and its place never disagree. They do not touch files.

use redb::{ReadTransaction, WriteTransaction};

use super::ShardHash;
use super::state::{Books, Segment, Totals};
use crate::engine::{Engine, SELF, Table, WriteTable};
use crate::error::StoreError;

const INDEX: Table = Table::new("shard/index");
const INLINE: Table = Table::new("shard/inline");
const REFS: Table = Table::new("shard/refs");
const TAG: Table = Table::new("shard/tag");
const IDLE: Table = Table::new("shard/idle");
const DOOMED: Table = Table::new("shard/doomed");
const SEGMENT: Table = Table::new("shard/segment");
const KEY_TOTALS: &[u8] = b"shard-totals";

/// Where the bytes of a shard are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the table `shard/inline`.
    Inline,
    /// In a segment file.
    Segment { id: u32, offset: u64 },
    /// In a file of its own.
    File,
}

/// One row of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) size: u64,
    pub(crate) place: Place,
}

impl Row {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(21);
        bytes.push(match self.place {
            Place::Inline => 0,
            Place::Segment { .. } => 1,
            Place::File => 2,
        });
        bytes.extend(self.size.to_le_bytes());
        if let Place::Segment { id, offset } = self.place {
            bytes.extend(id.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        let (size, rest) = take_u64(rest)?;
        let place = match (kind, rest.len()) {
            (0, 0) => Place::Inline,
            (1, 12) => {
                let (id, rest) = take_u32(rest)?;
                let (offset, _) = take_u64(rest)?;
                Place::Segment { id, offset }
            }
            (2, 0) => Place::File,
            _ => return None,
        };
        Some(Self { size, place })
    }
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*head), rest))
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*head), rest))
}

fn decode_u64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn decode_hash(bytes: &[u8]) -> Option<ShardHash> {
    Some(ShardHash(bytes.try_into().ok()?))
}

fn tag_prefix(tag: &[u8]) -> Vec<u8> {
    let len = u8::try_from(tag.len()).expect("tags are checked to be at most 64 bytes");
    let mut key = vec![len];
    key.extend(tag);
    key
}

/// Reads the index row of a shard.
pub(crate) fn row(
    engine: &Engine,
    txn: &ReadTransaction,
    hash: &ShardHash,
) -> Result<Option<Row>, StoreError> {
    match engine.get(txn, INDEX, hash.as_bytes())? {
        None => Ok(None),
        Some(bytes) => Row::decode(&bytes)
            .map(Some)
            .ok_or_else(|| engine.damaged("a shard index row")),
    }
}

/// Reads the bytes of an inline shard.
pub(crate) fn inline_bytes(
    engine: &Engine,
    txn: &ReadTransaction,
    hash: &ShardHash,
) -> Result<Option<Vec<u8>>, StoreError> {
    engine.get(txn, INLINE, hash.as_bytes())
}

/// Shows index rows in hash order, behind `after`, until `visit` answers `false`.
pub(crate) fn visit_rows(
    engine: &Engine,
    txn: &ReadTransaction,
    after: Option<&ShardHash>,
    mut visit: impl FnMut(ShardHash, Row) -> bool,
) -> Result<(), StoreError> {
    let Some(table) = engine.read_table(txn, INDEX)? else {
        return Ok(());
    };
    let after = after.map(|hash| hash.0);
    engine.visit(
        &table,
        &[],
        after.as_ref().map(|a| &a[..]),
        |key, value| match (decode_hash(key), Row::decode(value)) {
            (Some(hash), Some(row)) => Ok(visit(hash, row)),
            _ => Err(engine.damaged("a shard index row")),
        },
    )
}

/// Reads segment lengths and totals, as last committed.
pub(crate) fn books(engine: &Engine, txn: &ReadTransaction) -> Result<Books, StoreError> {
    let mut books = Books::default();
    if let Some(bytes) = engine.get(txn, SELF, KEY_TOTALS)? {
        books.totals =
            Totals::decode(&bytes).ok_or_else(|| engine.damaged("the shard totals row"))?;
    }
    if let Some(table) = engine.read_table(txn, SEGMENT)? {
        engine.visit(&table, &[], None, |key, value| {
            let id = key.try_into().map(u32::from_be_bytes).ok();
            match (id, Segment::decode(value)) {
                (Some(id), Some(segment)) => {
                    books.segments.insert(id, segment);
                    Ok(true)
                }
                _ => Err(engine.damaged("a segment row")),
            }
        })?;
    }
    Ok(books)
}

/// Lists at most `limit` shards with `tag`, behind `after`, in hash order.
pub(crate) fn tagged(
    engine: &Engine,
    txn: &ReadTransaction,
    tag: &[u8],
    limit: usize,
    after: Option<&ShardHash>,
) -> Result<Vec<ShardHash>, StoreError> {
    let mut found = Vec::new();
    let Some(table) = engine.read_table(txn, TAG)? else {
        return Ok(found);
    };
    let prefix = tag_prefix(tag);
    let after = after.map(|hash| [&prefix[..], hash.as_bytes()].concat());
    engine.visit(&table, &prefix, after.as_deref(), |key, _| {
        if found.len() == limit {
            return Ok(false);
        }
        found.push(decode_hash(&key[prefix.len()..]).ok_or_else(|| engine.damaged("a tag row"))?);
        Ok(true)
    })?;
    Ok(found)
}

/// Lists at most `limit` files doomed by an earlier removal.
pub(crate) fn doomed(
    engine: &Engine,
    txn: &ReadTransaction,
    limit: usize,
) -> Result<Vec<ShardHash>, StoreError> {
    let mut found = Vec::new();
    let Some(table) = engine.read_table(txn, DOOMED)? else {
        return Ok(found);
    };
    engine.visit(&table, &[], None, |key, _| {
        if found.len() == limit {
            return Ok(false);
        }
        found.push(decode_hash(key).ok_or_else(|| engine.damaged("a doomed row"))?);
        Ok(true)
    })?;
    Ok(found)
}

/// The shard tables, open in one write transaction.
pub(crate) struct ShardTables<'txn> {
    engine: &'txn Engine,
    txn: &'txn WriteTransaction,
    index: WriteTable<'txn>,
    inline: WriteTable<'txn>,
    refs: WriteTable<'txn>,
    tag: WriteTable<'txn>,
    idle: WriteTable<'txn>,
    doomed: WriteTable<'txn>,
}

impl<'txn> ShardTables<'txn> {
    pub(crate) fn open(
        engine: &'txn Engine,
        txn: &'txn WriteTransaction,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            engine,
            txn,
            index: engine.table(txn, INDEX)?,
            inline: engine.table(txn, INLINE)?,
            refs: engine.table(txn, REFS)?,
            tag: engine.table(txn, TAG)?,
            idle: engine.table(txn, IDLE)?,
            doomed: engine.table(txn, DOOMED)?,
        })
    }

    /// The index row of a shard.
    pub(crate) fn row(&self, hash: &ShardHash) -> Result<Option<Row>, StoreError> {
        match self.engine.get_in(&self.index, hash.as_bytes())? {
            None => Ok(None),
            Some(bytes) => Row::decode(&bytes)
                .map(Some)
                .ok_or_else(|| self.engine.damaged("a shard index row")),
        }
    }

    /// Enters a shard whose bytes are durable; `inline` holds them when its place is inline.
    pub(crate) fn add(
        &mut self,
        hash: &ShardHash,
        row: Row,
        inline: Option<&[u8]>,
        books: &mut Books,
    ) -> Result<(), StoreError> {
        let key = hash.as_bytes();
        self.engine.put(&mut self.index, key, &row.encode())?;
        if let Some(bytes) = inline {
            self.engine.put(&mut self.inline, key, bytes)?;
        }
        self.engine.remove(&mut self.doomed, key)?;
        if self.references(hash)? == 0 {
            self.engine.put(&mut self.idle, key, &0u64.to_le_bytes())?;
        }
        books.add(row);
        Ok(())
    }

    /// Points an existing shard at another copy of its bytes.
    pub(crate) fn relocate(
        &mut self,
        hash: &ShardHash,
        from: Row,
        to: Row,
        books: &mut Books,
    ) -> Result<(), StoreError> {
        self.engine
            .put(&mut self.index, hash.as_bytes(), &to.encode())?;
        books.remove(from);
        books.add(to);
        Ok(())
    }

    /// Removes a shard from the index; tags stay. A file of its own is marked for removal.
    pub(crate) fn drop_shard(
        &mut self,
        hash: &ShardHash,
        row: Row,
        books: &mut Books,
    ) -> Result<(), StoreError> {
        let key = hash.as_bytes();
        self.engine.remove(&mut self.index, key)?;
        self.engine.remove(&mut self.idle, key)?;
        match row.place {
            Place::Inline => {
                self.engine.remove(&mut self.inline, key)?;
            }
            Place::Segment { .. } => {}
            Place::File => self.engine.put(&mut self.doomed, key, &[])?,
        }
        books.remove(row);
        Ok(())
    }

    /// Forgets that a file was to be removed, because it now is.
    pub(crate) fn clear_doomed(&mut self, hash: &ShardHash) -> Result<(), StoreError> {
        self.engine
            .remove(&mut self.doomed, hash.as_bytes())
            .map(|_| ())
    }

    fn references(&self, hash: &ShardHash) -> Result<u64, StoreError> {
        match self.engine.get_in(&self.refs, hash.as_bytes())? {
            None => Ok(0),
            Some(bytes) => {
                decode_u64(&bytes).ok_or_else(|| self.engine.damaged("a reference count"))
            }
        }
    }

    /// Adds one tag to one shard, here or not yet here; answers `false` when it had it already.
    pub(crate) fn tag(&mut self, hash: &ShardHash, tag: &[u8]) -> Result<bool, StoreError> {
        let key = [&tag_prefix(tag)[..], hash.as_bytes()].concat();
        if self.engine.get_in(&self.tag, &key)?.is_some() {
            return Ok(false);
        }
        let count = self
            .references(hash)?
            .checked_add(1)
            .ok_or_else(|| self.engine.damaged("a reference count"))?;
        self.engine.put(&mut self.tag, &key, &[])?;
        self.engine
            .put(&mut self.refs, hash.as_bytes(), &count.to_le_bytes())?;
        self.engine.remove(&mut self.idle, hash.as_bytes())?;
        Ok(true)
    }

    /// Takes `tag` from at most `limit` shards; answers how many had it.
    pub(crate) fn untag(&mut self, tag: &[u8], limit: usize) -> Result<usize, StoreError> {
        let prefix = tag_prefix(tag);
        let mut keys = Vec::new();
        self.engine.visit(&self.tag, &prefix, None, |key, _| {
            keys.push(key.to_vec());
            Ok(keys.len() < limit)
        })?;
        for key in &keys {
            let hash = decode_hash(&key[prefix.len()..])
                .ok_or_else(|| self.engine.damaged("a tag row"))?;
            self.engine.remove(&mut self.tag, key)?;
            let left = self
                .references(&hash)?
                .checked_sub(1)
                .ok_or_else(|| self.engine.damaged("a reference count"))?;
            let key = hash.as_bytes();
            if left > 0 {
                self.engine.put(&mut self.refs, key, &left.to_le_bytes())?;
                continue;
            }
            self.engine.remove(&mut self.refs, key)?;
            if self.row(&hash)?.is_some() {
                self.engine.put(&mut self.idle, key, &0u64.to_le_bytes())?;
            }
        }
        Ok(keys.len())
    }

    /// Lists at most `limit` shards without a tag, behind `after`, each with the time it was first
    /// seen so (milliseconds; 0 = not seen yet).
    pub(crate) fn idle(
        &self,
        limit: usize,
        after: Option<&ShardHash>,
    ) -> Result<Vec<(ShardHash, u64)>, StoreError> {
        let mut found = Vec::new();
        let after = after.map(|hash| hash.0);
        let after = after.as_ref().map(|a| &a[..]);
        self.engine.visit(&self.idle, &[], after, |key, value| {
            match (decode_hash(key), decode_u64(value)) {
                (Some(hash), Some(since)) => found.push((hash, since)),
                _ => return Err(self.engine.damaged("an idle row")),
            }
            Ok(found.len() < limit)
        })?;
        Ok(found)
    }

    /// Notes when a shard without a tag was first seen so, milliseconds.
    pub(crate) fn set_idle_since(&mut self, hash: &ShardHash, at: u64) -> Result<(), StoreError> {
        self.engine
            .put(&mut self.idle, hash.as_bytes(), &at.to_le_bytes())
    }

    /// Writes what changed between two states of the books.
    pub(crate) fn save_books(&mut self, old: &Books, new: &Books) -> Result<(), StoreError> {
        if old.segments != new.segments {
            let mut table = self.engine.table(self.txn, SEGMENT)?;
            for (id, segment) in &new.segments {
                if old.segments.get(id) != Some(segment) {
                    self.engine
                        .put(&mut table, &id.to_be_bytes(), &segment.encode())?;
                }
            }
            for id in old.segments.keys() {
                if !new.segments.contains_key(id) {
                    self.engine.remove(&mut table, &id.to_be_bytes())?;
                }
            }
        }
        if old.totals != new.totals {
            let mut table = self.engine.table(self.txn, SELF)?;
            self.engine
                .put(&mut table, KEY_TOTALS, &new.totals.encode())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_row() -> impl Strategy<Value = Row> {
        let place = prop_oneof![
            Just(Place::Inline),
            Just(Place::File),
            (any::<u32>(), any::<u64>()).prop_map(|(id, offset)| Place::Segment { id, offset }),
        ];
        (any::<u64>(), place).prop_map(|(size, place)| Row { size, place })
    }

    proptest! {
        #[test]
        fn an_index_row_survives_its_encoding(row in any_row()) {
            prop_assert_eq!(Row::decode(&row.encode()), Some(row));
        }

        #[test]
        fn only_the_one_encoding_of_a_row_is_read(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            if let Some(row) = Row::decode(&bytes) {
                prop_assert_eq!(row.encode(), bytes);
            }
        }
    }
}
