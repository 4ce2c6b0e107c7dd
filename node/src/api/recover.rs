//! A task whose committee is gone, paid by its escrow: one request takes every step that is possible now.

use assay_protocol::{
    id::{Account, TaskId},
    lane::Fallback,
};
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
use crate::{
    chain::{ChainError, ClaimResult, OpenFallback, Recovery},
    runtime::NodeError,
};

fn line(payee: Account, done: ClaimResult) -> RecoverLine {
    RecoverLine {
        payee,
        amount: done.amount,
        tx: done.tx,
        gas_used: done.gas_used,
    }
}

/// Where the task stands; an error when there is nothing to recover.
async fn stand(shared: &Shared, task: TaskId, client: Account) -> Result<Recovery, ApiError> {
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
    Ok(found)
}

/// Opens the fallback if nobody has; true when it did.
async fn open(
    shared: &Shared,
    task: TaskId,
    client: Account,
) -> Result<(bool, u64, OpenFallback), ApiError> {
    let found = stand(shared, task, client).await?;
    if let Some(open) = found.open {
        return Ok((false, found.now, open));
    }
    shared.node.chain().open_fallback(task, client).await?;
    let found = stand(shared, task, client).await?;
    let lost = || ChainError::Rpc("the chain shows no fallback where one was opened".to_owned());
    let open = found.open.ok_or_else(lost)?;
    Ok((true, found.now, open))
}

pub(super) async fn recover(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(order): Json<RecoverOrder>,
) -> Result<Json<RecoverDone>, ApiError> {
    let task = task_id(&id)?;
    let client = shared.node.manifest(task).await?.client;
    let (opened, now, fallback) = open(&shared, task, client).await?;
    let mut done = RecoverDone {
        task,
        opened,
        paid: Vec::new(),
        paid_before: 0,
        returned: None,
        closes_at: fallback.closes_at,
        chain_time: now,
        left: fallback.left,
        failed: None,
    };
    if !fallback.closed
        && let Err(error) = pay(&shared, client, &fallback, order.payee, &mut done).await
    {
        if !done.opened && done.paid.is_empty() {
            return Err(error);
        }
        done.failed = Some(error.into_body());
    }
    // What is left after these payments, as the chain tells it; the list above stands without it.
    if let Ok(Some(Recovery { open: Some(o), .. })) =
        shared.node.chain().recovery(task, client).await
    {
        done.left = o.left;
    }
    Ok(Json(done))
}

/// Pays whom the last header names, then closes the fallback if its window is over.
async fn pay(
    shared: &Shared,
    client: Account,
    fallback: &OpenFallback,
    payee: Option<Account>,
    done: &mut RecoverDone,
) -> Result<(), ApiError> {
    let chain = shared.node.chain();
    let over = done.chain_time >= fallback.closes_at;
    let proofs = shared.node.fallback(done.task, client, fallback.header);
    match proofs.await {
        Ok(Fallback {
            header: Some(header),
            claims,
            ..
        }) => {
            let wanted = |p: Account| payee.is_none_or(|only| only == p);
            for claim in claims.iter().filter(|c| wanted(c.pay.payee)) {
                match chain.claim_fallback(&header, claim).await? {
                    Some(paid) => done.paid.push(line(claim.pay.payee, paid)),
                    None => done.paid_before += 1,
                }
            }
        }
        Ok(_) => {}
        // Who had the proofs had the whole window for them.
        Err(NodeError::NotFound(_)) if over => {}
        Err(error) => return Err(error.into()),
    }
    if over {
        let closed = chain.close_fallback(done.task, client).await?;
        done.returned = closed.map(|c| line(client, c));
    }
    Ok(())
}
