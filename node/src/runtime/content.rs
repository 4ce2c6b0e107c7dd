//! Questions about content, answered from storage without the core: epochs, records, announcements, shard ranges. What is served is
//! content-addressed or checked by the asker, so no rule is needed here but the limits.

use assay_protocol::{
    codec,
    core::{Family, epoch_key},
    id::Blob,
    limit,
    message::{Request, Response},
};

use super::disk::{Disk, shard};

/// The answer, or `None` when the question is for the core. Blocks.
pub(super) fn answer(disk: &Disk, request: &Request) -> Option<Response> {
    let missing = |what: &str| Response::refused(true, format!("{what} is not here"));
    // A failing disk is our own fault: "later" never penalises anybody.
    let failed = |e: assay_storage::StoreError| {
        tracing::warn!(error = %e, "content look-up failed");
        Response::refused(true, "storage failed")
    };
    Some(match request {
        Request::GetEpoch { lane, epoch } => {
            match disk.get(Family::Epoch, &epoch_key(*lane, *epoch)) {
                Ok(Some(bytes)) => codec::decode(&bytes, usize::MAX)
                    .map_or_else(|_| missing("epoch"), Response::Epoch),
                Ok(None) => missing("epoch"),
                Err(e) => failed(e),
            }
        }
        Request::GetRecords { ids } => {
            let mut found = Vec::new();
            let mut bytes_total = 0;
            for id in ids.iter().take(limit::RECORDS_ASKED_MAX) {
                match disk.get(Family::Record, &id.0) {
                    Ok(Some(bytes)) => {
                        bytes_total += bytes.len();
                        if !found.is_empty() && bytes_total > limit::RECORDS_BYTES_MAX {
                            break;
                        }
                        found.extend(codec::decode(&bytes, usize::MAX).ok());
                    }
                    Ok(None) => {}
                    Err(e) => return Some(failed(e)),
                }
            }
            Response::Records(found)
        }
        Request::GetAnnounce { task } => match disk.get(Family::Announce, &task.0) {
            Ok(Some(bytes)) => codec::decode(&bytes, usize::MAX)
                .map_or_else(|_| missing("announcement"), Response::Announce),
            Ok(None) => missing("announcement"),
            Err(e) => failed(e),
        },
        Request::GetShard {
            hash,
            offset,
            bytes,
        } => {
            let bytes = (*bytes).min(limit::SHARD_CHUNK_BYTES);
            match disk
                .store()
                .shards()
                .read_range(&shard(hash), *offset, bytes)
            {
                Ok(data) => Response::Shard(Blob(data)),
                Err(assay_storage::StoreError::ShardMissing { .. }) => missing("shard"),
                Err(e) if e.is_fatal() => failed(e),
                Err(e) => Response::refused(false, e.to_string()),
            }
        }
        Request::Submit { .. }
        | Request::Gather { .. }
        | Request::Propose { .. }
        | Request::Overrule { .. } => return None,
    })
}
