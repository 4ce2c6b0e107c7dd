//! A task whose committee is gone, paid by its escrow: one request takes every step that is possible now.

use assay_protocol::id::{Account, TaskId};
use axum::{
    Json,
    extract::{Path, State},
};

use super::{
    error::ApiError,
    model::{RecoverDone, RecoverLine, RecoverOrder},
    server::Shared,
    tasks::task_id,
};
use crate::chain::ClaimResult;

fn line(payee: Account, done: ClaimResult) -> RecoverLine {
    RecoverLine {
        payee,
        amount: done.amount,
        tx: done.tx,
        gas_used: done.gas_used,
    }
}

/// An error when there is nothing to recover.
async fn check(shared: &Shared, task: TaskId, client: Account) -> Result<(), ApiError> {
    let found = shared.node.chain().recovery(task, client).await?;
    let found = found.ok_or_else(|| {
        ApiError::not_found(
            format!("task {task} was never funded"),
            "no money waits for anybody; nothing is left to do",
        )
    })?;
    if found.settled {
        return Err(ApiError::not_found(
            format!("task {task} was settled by its committee"),
            "its pay is in the lane's payouts: `assay claim`",
        ));
    }
    Ok(())
}

pub(super) async fn recover(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(order): Json<RecoverOrder>,
) -> Result<Json<RecoverDone>, ApiError> {
    let task = task_id(&id)?;
    let client = shared.node.manifest(task).await?.client;
    check(&shared, task, client).await?;
    let done = shared.node.recover(task, client, order.payee).await?;
    Ok(Json(RecoverDone {
        task,
        opened: done.opened,
        paid: done.paid.into_iter().map(|(p, c)| line(p, c)).collect(),
        paid_before: done.paid_before,
        returned: done.returned.map(|c| line(client, c)),
        closes_at: done.closes_at,
        chain_time: done.chain_time,
        left: done.left,
        failed: done.failed.map(|e| ApiError::from(e).into_body()),
    }))
}
