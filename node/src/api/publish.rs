//! The client's requests: shards first, then the terms that name them.

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
};
use serde::Deserialize;

use super::{
    error::{ApiError, ErrorKind},
    model::{PublishOrder, ShardKept, TaskDone},
    server::Shared,
    tasks::task_id,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForTask {
    task: String,
}

pub(super) async fn shard(
    State(shared): State<Shared>,
    Query(of): Query<ForTask>,
    bytes: Bytes,
) -> Result<Json<ShardKept>, ApiError> {
    let task = task_id(&of.task)?;
    if bytes.is_empty() {
        return Err(ApiError::invalid(
            "an empty shard",
            "send the shard's bytes as the body",
        ));
    }
    Ok(Json(shared.node.keep_shard(task, bytes.into()).await?))
}

pub(super) async fn publish(
    State(shared): State<Shared>,
    Json(asked): Json<PublishOrder>,
) -> Result<Json<TaskDone>, ApiError> {
    let PublishOrder { manifest, gold } = asked;
    let profile = &shared.node.config().profile;
    // Before shards are looked up: an oversized list must not cost disk reads.
    manifest
        .check(&profile.id(), &profile.params)
        .map_err(|e| ApiError::new(ErrorKind::Refused, e, ""))?;
    let task = manifest.id();
    if shared
        .node
        .with_core(move |core| core.own_tasks().contains_key(&task))
        .await?
    {
        return Err(ApiError::new(
            ErrorKind::Refused,
            format!("task {task} is published already"),
            "see `assay task show`",
        ));
    }
    let shards = manifest
        .items
        .shards
        .iter()
        .chain([&manifest.items.index])
        .copied()
        .collect();
    if let Some(missing) = shared.node.missing_shard(shards).await? {
        let what = format!(
            "shard {} of {} bytes is not here",
            missing.hash, missing.bytes
        );
        return Err(ApiError::new(
            ErrorKind::Refused,
            what,
            format!("send it with POST /v1/shards?task={task} first"),
        ));
    }
    Ok(Json(TaskDone {
        task: shared.node.publish(manifest, gold, Vec::new()).await?,
    }))
}
