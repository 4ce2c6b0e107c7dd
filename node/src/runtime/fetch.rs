//! Getting shards: chunk by chunk from whoever has them, hashed while they arrive, visible only when the whole fits its name.

use std::time::Duration;

use assay_protocol::{
    codec,
    id::{NodeKey, ShardHash, TaskId},
    limit,
    message::{Request, Response, ShardRef},
};

use super::disk::{Disk, shard};
use crate::net::{NetHandle, PeerKey, Penalty};

const CHUNK_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a shard could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody asked gave the bytes.
    #[error("shard {hash} could not be had from any of {asked} nodes; last: {last}")]
    Nowhere {
        /// Shard.
        hash: ShardHash,
        /// Nodes asked.
        asked: usize,
        /// What the last one said.
        last: String,
    },
    /// Our own disk.
    #[error(transparent)]
    Disk(#[from] assay_storage::StoreError),
}

enum Try {
    Done,
    Refused(String),
    WrongBytes,
}

/// Makes sure that all `shards` of `task` are here.
///
/// # Errors
/// [`FetchError`] for the first one that cannot be had.
pub(super) async fn fetch(
    net: &NetHandle,
    disk: &Disk,
    task: TaskId,
    shards: &[ShardRef],
    from: &[NodeKey],
) -> Result<(), FetchError> {
    for wanted in shards {
        let (d, hash) = (disk.clone(), wanted.hash);
        let here = blocking(move || {
            let has = d.has_shard(&hash)?;
            if has {
                d.store().shards().tag(&shard(&hash), &task.0)?;
            }
            Ok::<_, assay_storage::StoreError>(has)
        })
        .await?;
        if !here {
            fetch_one(net, disk, task, wanted, from).await?;
        }
    }
    Ok(())
}

async fn fetch_one(
    net: &NetHandle,
    disk: &Disk,
    task: TaskId,
    wanted: &ShardRef,
    from: &[NodeKey],
) -> Result<(), FetchError> {
    let mut last = "nobody to ask".to_owned();
    for peer in from {
        match from_peer(net, disk, task, wanted, *peer).await? {
            Try::Done => return Ok(()),
            Try::Refused(why) => last = why,
            Try::WrongBytes => {
                last = "bytes that do not match the hash".into();
                tracing::warn!(peer = %peer.short(), shard = %wanted.hash.short(), "peer served bytes that do not match the shard's hash");
                let _ = net.penalise(
                    PeerKey(peer.0),
                    Penalty::fatal("shard bytes do not match their hash"),
                );
            }
        }
    }
    Err(FetchError::Nowhere {
        hash: wanted.hash,
        asked: from.len(),
        last,
    })
}

async fn from_peer(
    net: &NetHandle,
    disk: &Disk,
    task: TaskId,
    wanted: &ShardRef,
    peer: NodeKey,
) -> Result<Try, FetchError> {
    let (d, name, size) = (disk.clone(), shard(&wanted.hash), wanted.bytes);
    let mut writer = blocking(move || d.store().shards().writer(name, size)).await?;
    let mut offset = 0;
    while offset < wanted.bytes {
        let bytes = (wanted.bytes - offset).min(limit::SHARD_CHUNK_BYTES);
        let request = codec::encode(&Request::GetShard {
            hash: wanted.hash,
            offset,
            bytes,
        });
        let answer = match net.request(PeerKey(peer.0), request, CHUNK_TIMEOUT).await {
            Ok(answer) => answer,
            Err(e) => return Ok(Try::Refused(e.to_string())),
        };
        match codec::decode::<Response>(&answer, limit::RESPONSE_BYTES_MAX) {
            Ok(Response::Shard(data)) if data.0.len() as u64 == bytes => {
                offset += bytes;
                writer = blocking(move || writer.write_chunk(&data.0).map(|()| writer)).await?;
            }
            Ok(Response::Refused { why, .. }) => return Ok(Try::Refused(why)),
            Ok(_) => return Ok(Try::WrongBytes),
            Err(e) => return Ok(Try::Refused(e.to_string())),
        }
    }
    let d = disk.clone();
    let done = blocking(move || {
        let name = writer.finish()?;
        d.store().shards().tag(&name, &task.0)
    })
    .await;
    match done {
        Ok(()) => Ok(Try::Done),
        Err(assay_storage::StoreError::WrongHash { .. }) => Ok(Try::WrongBytes),
        Err(e) => Err(e.into()),
    }
}

/// Runs storage work off the event loop.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
