//! The client's requests: shards first, then the terms that name them.

use assay_protocol::{lane::role, message::Manifest};
use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
};
use serde::Deserialize;

use super::{
    error::{ApiError, ErrorKind},
    model::{PublishCheck, PublishOrder, ShardKept, TaskDone},
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

/// Whether a task could be published and funded now; nothing is sent.
pub(super) async fn check(
    State(shared): State<Shared>,
    Json(asked): Json<PublishCheck>,
) -> Result<Json<TaskDone>, ApiError> {
    legal(&shared, &asked.manifest)?;
    fundable(&shared, &asked.manifest).await?;
    Ok(Json(TaskDone {
        task: asked.manifest.id(),
    }))
}

/// Refuses terms that break a rule.
fn legal(shared: &Shared, manifest: &Manifest) -> Result<(), ApiError> {
    let profile = &shared.node.config().profile;
    manifest
        .check(&profile.id(), &profile.params)
        .map_err(|e| ApiError::new(ErrorKind::Refused, e, ""))
}

/// Refuses tasks that the account could not fund with the network's token.
async fn fundable(shared: &Shared, manifest: &Manifest) -> Result<(), ApiError> {
    let params = &shared.node.config().profile.params;
    let too_large = || ApiError::invalid("items x k-max x price is too large", "lower one of them");
    let (deposit, gold_bond) = manifest.required(params).ok_or_else(too_large)?;
    let (task, lane) = (manifest.id(), manifest.lane(params.lanes));
    let chain = shared.node.chain();
    Ok(chain
        .rehearse_funding(task, lane, deposit, gold_bond)
        .await?)
}

pub(super) async fn publish(
    State(shared): State<Shared>,
    Json(asked): Json<PublishOrder>,
) -> Result<Json<TaskDone>, ApiError> {
    let PublishOrder { manifest, gold } = asked;
    // Before shards are looked up: an oversized list must not cost disk reads.
    legal(&shared, &manifest)?;
    let (task, client) = (manifest.id(), manifest.client);
    let lane = manifest.lane(shared.node.config().profile.params.lanes);
    let (published, registered) = shared
        .node
        .with_core(move |core| {
            let account = core.live(lane).and_then(|l| l.accounts.get(&client));
            (
                core.own_tasks().contains_key(&task),
                account.is_some_and(|a| a.can(role::CLIENT)),
            )
        })
        .await?;
    if published {
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
    // Who is not registered hears that first.
    if registered {
        fundable(&shared, &manifest).await?;
    }
    Ok(Json(TaskDone {
        task: shared.node.publish(manifest, gold, Vec::new()).await?,
    }))
}
