//! A node's disk: durable rows that survive a crash, and the content look-ups that a node's body answers without its core.
//!
//! A batch of one `Persist` is applied whole or not at all. A crash while a batch is being written may or may not keep it; everything
//! that the core ordered after it is lost with the process, so nothing was promised on an unwritten row.

use std::collections::BTreeMap;

use assay_protocol::{
    codec,
    core::{Family, Op, Restored, epoch_key},
    id::TaskId,
    limit,
    message::{Envelope, EpochBody, Request, Response},
};

/// Durable rows of one node.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    rows: BTreeMap<(Family, Vec<u8>), Vec<u8>>,
}

impl Disk {
    /// Applies one batch.
    pub fn apply(&mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::Put { family, key, value } => self.rows.insert((family, key), value),
                Op::Delete { family, key } => self.rows.remove(&(family, key)),
            };
        }
    }

    /// One value.
    pub fn get(&self, family: Family, key: &[u8]) -> Option<&Vec<u8>> {
        self.rows.get(&(family, key.to_vec()))
    }

    fn family(&self, family: Family) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.rows
            .range((family, Vec::new())..)
            .take_while(move |r| r.0.0 == family)
            .map(|((_, key), value)| (key, value))
    }

    /// Outcome of a task, as bytes.
    pub fn outcome(&self, task: &TaskId) -> Option<&Vec<u8>> {
        self.get(Family::Outcome, &task.0)
    }

    /// What a core needs to continue.
    pub fn restored(&self) -> Restored {
        let values = |family| self.family(family).map(|r| r.1.clone()).collect();
        let rows = |family| {
            self.family(family)
                .map(|r| (r.0.clone(), r.1.clone()))
                .collect()
        };
        Restored {
            snapshots: values(Family::Snapshot),
            flat: rows(Family::Flat),
            promised: self
                .family(Family::Promise)
                .filter_map(|r| self.get(Family::Record, r.0).cloned())
                .collect(),
            announced: values(Family::Announce),
            own: rows(Family::Own),
            votes: rows(Family::Vote),
        }
    }

    /// The answer to a request for content; `None` when the request is one for the core.
    pub fn answer(&self, request: &[u8]) -> Option<Response> {
        let refused = || Response::refused(true, "not held here");
        Some(
            match codec::decode::<Request>(request, limit::REQUEST_BYTES_MAX).ok()? {
                Request::GetEpoch { lane, epoch } => self
                    .get(Family::Epoch, &epoch_key(lane, epoch))
                    .and_then(|bytes| codec::decode::<EpochBody>(bytes, usize::MAX).ok())
                    .map_or_else(refused, Response::Epoch),
                Request::GetRecords { ids } => {
                    let mut bytes_left = limit::RECORDS_BYTES_MAX;
                    let mut records: Vec<Envelope> = Vec::new();
                    for id in ids.iter().take(limit::RECORDS_ASKED_MAX) {
                        let Some(bytes) = self.get(Family::Record, &id.0) else {
                            continue;
                        };
                        if bytes.len() > bytes_left && !records.is_empty() {
                            break;
                        }
                        bytes_left = bytes_left.saturating_sub(bytes.len());
                        records.extend(codec::decode(bytes, usize::MAX).ok());
                    }
                    Response::Records(records)
                }
                Request::GetAnnounce { task } => self
                    .get(Family::Announce, &task.0)
                    .and_then(|bytes| codec::decode(bytes, usize::MAX).ok())
                    .map_or_else(refused, Response::Announce),
                Request::GetShard { .. } => refused(),
                Request::Submit { .. }
                | Request::Gather { .. }
                | Request::Propose { .. }
                | Request::Overrule { .. } => return None,
            },
        )
    }
}
