//! Where `Effect::Persist` lands, and where a restart begins: the one place that maps the core's families to storage's.

use std::{path::Path, sync::Arc};

use assay_protocol::{
    core::{Family as CoreFamily, Op, Restored},
    id::{ShardHash, TaskId},
    network::NetworkProfile,
};
use assay_storage::{Batch, Family, Store, StoreError, StoreOptions};

use crate::{chain::OutboxStore, net::Multiaddr};

/// Key and value.
type Row = (Vec<u8>, Vec<u8>);

/// The one row of the nodes that were met: an address a line.
const KNOWN_KEY: &[u8] = b"nodes";
/// Rows read at once when a family is scanned.
const SCAN_ROWS: usize = 1_024;
/// Rows read at once when only keys are wanted; their values may be large.
const KEYS_AT_ONCE: usize = 16;

/// The durable side of a node. Every method blocks; call it from a blocking thread.
#[derive(Clone, Debug)]
pub struct Disk {
    store: Arc<Store>,
}

const fn family(family: CoreFamily) -> Family {
    match family {
        CoreFamily::Snapshot => Family::Snapshot,
        CoreFamily::Record => Family::Record,
        CoreFamily::Epoch => Family::Epoch,
        CoreFamily::Promise => Family::Promise,
        CoreFamily::Own => Family::Own,
        CoreFamily::Vote => Family::Vote,
        CoreFamily::Announce => Family::Announce,
        CoreFamily::Outcome => Family::Outcome,
        CoreFamily::Payout => Family::Payout,
        CoreFamily::Flat => Family::Flat,
    }
}

impl Disk {
    /// Opens (or creates) the data directory of a node of this network.
    ///
    /// # Errors
    /// [`StoreError`]: in use, of another network, of a newer version, unreadable.
    pub fn open(dir: &Path, profile: &NetworkProfile) -> Result<Self, StoreError> {
        // The name alone could be that of another chain's network.
        let network = format!(
            "{}-{}-{}",
            profile.name,
            profile.chain_id,
            profile.id().short()
        );
        Ok(Self {
            store: Arc::new(Store::open(dir, StoreOptions::new(network))?),
        })
    }

    /// The store itself, for shards.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// One durable transaction.
    ///
    /// # Errors
    /// [`StoreError`]; the node must stop then.
    pub fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for op in ops {
            match op {
                Op::Put {
                    family: f,
                    key,
                    value,
                } => batch.put(family(*f), key.clone(), value.clone())?,
                Op::Delete { family: f, key } => batch.delete(family(*f), key.clone())?,
            };
        }
        self.store.commit(&batch)
    }

    /// One row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get(&self, of: CoreFamily, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(family(of), key)
    }

    /// All rows of a family.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn rows(&self, of: CoreFamily) -> Result<Vec<Row>, StoreError> {
        rows(&self.store, family(of))
    }

    /// The keys of a family, without keeping its values in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keys(&self, of: CoreFamily) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self
                .store
                .scan(family(of), &[], KEYS_AT_ONCE, after.as_deref())?;
            keys.extend(page.rows.into_iter().map(|(key, _)| key));
            after = page.next;
            if after.is_none() {
                return Ok(keys);
            }
        }
    }

    /// Nodes that an earlier run met; what cannot be read is as good as forgotten.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn known(&self) -> Result<Vec<Multiaddr>, StoreError> {
        let kept = self.store.get(Family::Known, KNOWN_KEY)?;
        let text = kept.map(String::from_utf8).and_then(Result::ok);
        let lines = text.iter().flat_map(|text| text.lines());
        Ok(lines.filter_map(|line| line.parse().ok()).collect())
    }

    /// Keeps the nodes that were met in place of those kept before.
    ///
    /// # Errors
    /// [`StoreError`]; the node must stop then.
    pub fn put_known(&self, known: &[Multiaddr]) -> Result<(), StoreError> {
        let lines: Vec<String> = known.iter().map(ToString::to_string).collect();
        let mut batch = Batch::new();
        batch.put(Family::Known, KNOWN_KEY.to_vec(), lines.join("\n"))?;
        self.store.commit(&batch)
    }

    /// Everything that a core continues from.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn restore(&self) -> Result<Restored, StoreError> {
        let values =
            |f| Ok::<_, StoreError>(self.rows(f)?.into_iter().map(|r| r.1).collect::<Vec<_>>());
        let mut promised = Vec::new();
        for (id, _) in self.rows(CoreFamily::Promise)? {
            promised.extend(self.get(CoreFamily::Record, &id)?);
        }
        Ok(Restored {
            snapshots: values(CoreFamily::Snapshot)?,
            flat: self.rows(CoreFamily::Flat)?,
            promised,
            announced: values(CoreFamily::Announce)?,
            own: self.rows(CoreFamily::Own)?,
            votes: self.rows(CoreFamily::Vote)?,
        })
    }

    /// Whether a shard is here, verified.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn has_shard(&self, hash: &ShardHash) -> Result<bool, StoreError> {
        self.store.shards().has(&shard(hash))
    }

    /// Keeps a shard that we made, tagged with its task.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_shard(&self, task: &TaskId, bytes: &[u8]) -> Result<(), StoreError> {
        let hash = self.store.shards().put(bytes)?;
        self.store.shards().tag(&hash, &task.0)
    }
}

/// Storage's name of a shard.
pub(super) fn shard(hash: &ShardHash) -> assay_storage::ShardHash {
    assay_storage::ShardHash(hash.0)
}

fn rows(store: &Store, family: Family) -> Result<Vec<Row>, StoreError> {
    let mut all = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(family, &[], SCAN_ROWS, after.as_deref())?;
        all.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

impl OutboxStore for Disk {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        rows(&self.store, Family::Outbox).map_err(|e| e.to_string())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let mut batch = Batch::new();
        batch
            .put(Family::Outbox, key.to_vec(), value.to_vec())
            .map_err(|e| e.to_string())?;
        self.store.commit(&batch).map_err(|e| e.to_string())
    }

    fn delete(&self, key: &[u8]) -> Result<(), String> {
        let mut batch = Batch::new();
        batch
            .delete(Family::Outbox, key.to_vec())
            .map_err(|e| e.to_string())?;
        self.store.commit(&batch).map_err(|e| e.to_string())
    }
}
