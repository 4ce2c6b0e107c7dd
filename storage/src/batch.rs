//! A bounded list of record operations that becomes durable as one transaction.
//!
//! Operations apply in the order they were added, so a later one on the same key wins. Bounds are
//! checked when an operation is added: a batch that exists can be committed.

use crate::error::StoreError;
use crate::family::Family;

/// Longest record key, bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// Longest record value, bytes (16 MiB).
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Most operations in one batch.
pub const BATCH_OPS_MAX: usize = 65_536;
/// Most key and value bytes in one batch (64 MiB).
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// One operation on one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Stores `value` under `key`, replacing what was there.
    Put {
        /// Table.
        family: Family,
        /// 1 to [`KEY_BYTES_MAX`] bytes.
        key: Vec<u8>,
        /// At most [`VALUE_BYTES_MAX`] bytes.
        value: Vec<u8>,
    },
    /// Removes `key`; nothing happens when it is absent.
    Delete {
        /// Table.
        family: Family,
        /// 1 to [`KEY_BYTES_MAX`] bytes.
        key: Vec<u8>,
    },
}

/// Operations to commit together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    ops: Vec<Op>,
    bytes: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a put.
    ///
    /// # Errors
    /// [`StoreError::KeyLength`], [`StoreError::ValueLength`], or [`StoreError::BatchFull`]; the
    /// batch is then unchanged.
    pub fn put(
        &mut self,
        family: Family,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
    ) -> Result<&mut Self, StoreError> {
        let (key, value) = (key.into(), value.into());
        check_key(&key)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(StoreError::ValueLength {
                len: value.len(),
                max: VALUE_BYTES_MAX,
            });
        }
        self.push(key.len() + value.len(), Op::Put { family, key, value })
    }

    /// Adds a delete.
    ///
    /// # Errors
    /// [`StoreError::KeyLength`] or [`StoreError::BatchFull`]; the batch is then unchanged.
    pub fn delete(
        &mut self,
        family: Family,
        key: impl Into<Vec<u8>>,
    ) -> Result<&mut Self, StoreError> {
        let key = key.into();
        check_key(&key)?;
        self.push(key.len(), Op::Delete { family, key })
    }

    fn push(&mut self, bytes: usize, op: Op) -> Result<&mut Self, StoreError> {
        if self.ops.len() >= BATCH_OPS_MAX || self.bytes + bytes > BATCH_BYTES_MAX {
            return Err(StoreError::BatchFull {
                ops: self.ops.len(),
                bytes: self.bytes,
            });
        }
        self.bytes += bytes;
        self.ops.push(op);
        Ok(self)
    }

    /// The operations, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// True when there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Key and value bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Refuses keys outside 1..=[`KEY_BYTES_MAX`] bytes.
pub(crate) fn check_key(key: &[u8]) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(StoreError::KeyLength {
            len: key.len(),
            max: KEY_BYTES_MAX,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_outside_their_bounds_are_refused() {
        let mut batch = Batch::new();
        assert!(matches!(
            batch.put(Family::Meta, Vec::new(), Vec::new()),
            Err(StoreError::KeyLength { len: 0, .. })
        ));
        assert!(matches!(
            batch.delete(Family::Meta, vec![0; KEY_BYTES_MAX + 1]),
            Err(StoreError::KeyLength { len: 129, .. })
        ));
        assert!(matches!(
            batch.put(Family::Meta, vec![1], vec![0; VALUE_BYTES_MAX + 1]),
            Err(StoreError::ValueLength { .. })
        ));
        assert!(batch.is_empty() && batch.bytes() == 0);
        batch
            .put(
                Family::Meta,
                vec![0; KEY_BYTES_MAX],
                vec![0; VALUE_BYTES_MAX],
            )
            .unwrap();
        assert_eq!(batch.bytes(), KEY_BYTES_MAX + VALUE_BYTES_MAX);
    }

    #[test]
    fn a_full_batch_refuses_one_more_operation_and_keeps_the_rest() {
        let mut batch = Batch::new();
        for i in 0..BATCH_OPS_MAX as u32 {
            batch.delete(Family::Vote, i.to_be_bytes()).unwrap();
        }
        assert!(matches!(
            batch.delete(Family::Vote, [9]),
            Err(StoreError::BatchFull { .. })
        ));
        assert_eq!(batch.len(), BATCH_OPS_MAX);

        let mut heavy = Batch::new();
        for key in 0..3u8 {
            heavy
                .put(Family::Vote, [key], vec![0; VALUE_BYTES_MAX])
                .unwrap();
        }
        // Three values of 16 MiB and their keys leave three bytes less than a fourth one needs.
        assert!(matches!(
            heavy.put(Family::Vote, [3], vec![0; VALUE_BYTES_MAX]),
            Err(StoreError::BatchFull { ops: 3, .. })
        ));
    }
}
