//! Bonuses in partner tokens and the income of data sets: money that is shared by weight, paid in and out through the outbox.

use assay_protocol::{
    amount::Amount,
    id::{Account, TaskId},
    lane::BonusProof,
    merkle::{ShareClaim, ShareTree},
    task::TaskOutcome,
};
use axum::{
    Json,
    extract::{Path, State},
};

use super::{
    error::{ApiError, ErrorKind},
    model::{
        BonusView, DatasetDone, DatasetOrder, DatasetView, PayInDone, PayInOrder, ShareLine,
        ShareOrder, SharesDone, TillLine, VersionLine,
    },
    server::Shared,
    tasks::task_id,
};
use crate::{
    chain::{DatasetVersion, Till},
    runtime::NodeError,
};

/// A task and its client.
async fn task_of(shared: &Shared, id: &str) -> Result<(TaskId, Account), ApiError> {
    let task = task_id(id)?;
    Ok((task, shared.node.manifest(task).await?.client))
}

/// The books of every token that was paid into a till.
async fn lines(shared: &Shared, till: Till) -> Result<Vec<TillLine>, ApiError> {
    let chain = shared.node.chain();
    let mut lines = Vec::new();
    for token in chain.till_tokens(till).await? {
        let (terms, state) = (
            chain.token_terms(token).await?,
            chain.till(till, token).await?,
        );
        lines.push(TillLine {
            token,
            symbol: terms.symbol,
            decimals: terms.decimals,
            income: state.income,
            paid: state.paid,
        });
    }
    Ok(lines)
}

async fn pay_in(shared: &Shared, till: Till, order: &PayInOrder) -> Result<PayInDone, ApiError> {
    let chain = shared.node.chain();
    let reward = shared.node.config().profile.contracts.token;
    let token = order.token.unwrap_or(reward);
    let terms = chain.token_terms(token).await?;
    let amount = Amount::parse_decimal(&order.amount, terms.decimals)
        .ok()
        .filter(|amount| amount.0 > 0)
        .ok_or_else(|| {
            ApiError::invalid(
                format!("{:?} is no amount of {}", order.amount, terms.symbol),
                format!(
                    "name whole tokens above zero, with at most {} decimals",
                    terms.decimals
                ),
            )
        })?;
    let done = chain.pay_in(till, token, amount).await?;
    Ok(PayInDone {
        symbol: terms.symbol,
        decimals: terms.decimals,
        received: done.amount,
        tx: done.tx,
        gas_used: done.gas_used,
    })
}

/// Pays the leaves of a till's tree.
async fn pay_out(
    shared: &Shared,
    till: Till,
    order: &ShareOrder,
    claims: &[ShareClaim],
    done: &mut SharesDone,
) -> Result<(), ApiError> {
    let chain = shared.node.chain();
    let tokens = match order.token {
        Some(token) => vec![token],
        None => chain.till_tokens(till).await?,
    };
    for token in tokens {
        let terms = chain.token_terms(token).await?;
        let wanted = claims
            .iter()
            .filter(|c| order.payee.is_none_or(|only| only == c.payee));
        for claim in wanted {
            if let Some(paid) = chain.claim_share(till, token, claim).await? {
                done.paid.push(ShareLine {
                    payee: claim.payee,
                    symbol: terms.symbol.clone(),
                    decimals: terms.decimals,
                    amount: paid.amount,
                    tx: paid.tx,
                    gas_used: paid.gas_used,
                });
            }
        }
    }
    Ok(())
}

/// What was done counts, also when something failed after it.
fn ended(result: Result<(), ApiError>, mut done: SharesDone) -> Result<Json<SharesDone>, ApiError> {
    if let Err(error) = result {
        if done.paid.is_empty() && done.recorded.is_none() {
            return Err(error);
        }
        done.failed = Some(error.into_body());
    }
    Ok(Json(done))
}

const NOTHING_DONE: SharesDone = SharesDone {
    recorded: None,
    paid: Vec::new(),
    failed: None,
};

// ---- bonuses -------------------------------------------------------------------------------

pub(super) async fn bonus(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<BonusView>, ApiError> {
    let (task, client) = task_of(&shared, &id).await?;
    let state = shared.node.chain().bonus(task, client).await?;
    let tokens = if state.locked {
        lines(&shared, Till::Bonus { task, client }).await?
    } else {
        Vec::new()
    };
    Ok(Json(BonusView {
        task,
        locked: state.locked,
        recorded: state.shares.is_some(),
        refund_at: state.refund_at,
        tokens,
    }))
}

pub(super) async fn lock(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(order): Json<PayInOrder>,
) -> Result<Json<PayInDone>, ApiError> {
    let (task, client) = task_of(&shared, &id).await?;
    if shared.node.chain().account() != Some(client) {
        return Err(ApiError::new(
            ErrorKind::Refused,
            format!("task {task} is of client 0x{client}, and only the client locks a bonus"),
            "anybody may add to a bonus that was locked, by sending tokens to its till",
        ));
    }
    let till = Till::Bonus { task, client };
    Ok(Json(pay_in(&shared, till, &order).await?))
}

/// How a task's bonus is shared: by its scores when it is settled, at the flat rate when its escrow pays it.
async fn split(shared: &Shared, task: TaskId, client: Account) -> Result<BonusProof, ApiError> {
    let found = match shared.node.outcome(task).await {
        Ok(outcome) => outcome.bonus,
        Err(NodeError::NotFound(why)) => {
            let open = shared.node.chain().recovery(task, client).await?;
            let Some(open) = open.and_then(|found| found.open) else {
                return Err(ApiError::not_found(
                    why,
                    "a bonus is shared when its task is settled",
                ));
            };
            let fallback = shared.node.fallback(task, client, open.header).await?;
            fallback.bonus
        }
        Err(error) => return Err(error.into()),
    };
    found.map(|proof| *proof).ok_or_else(|| {
        ApiError::not_found(
            format!("no label of task {task} has a price, so nothing says how its bonus is shared"),
            "the client can have it back",
        )
    })
}

pub(super) async fn claim_bonus(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(order): Json<ShareOrder>,
) -> Result<Json<SharesDone>, ApiError> {
    let (task, client) = task_of(&shared, &id).await?;
    let chain = shared.node.chain();
    if !chain.bonus(task, client).await?.locked {
        return Err(ApiError::not_found(
            format!("no bonus was locked for task {task}"),
            "",
        ));
    }
    let proof = split(&shared, task, client).await?;
    let recorded = chain.record_split(&proof).await?;
    let mut done = SharesDone {
        recorded: recorded.map(|change| change.tx),
        ..NOTHING_DONE
    };
    let claims = proof
        .bonus
        .tree()
        .map(|tree| all(&tree))
        .unwrap_or_default();
    let till = Till::Bonus { task, client };
    let result = pay_out(&shared, till, &order, &claims, &mut done).await;
    ended(result, done)
}

fn all(tree: &ShareTree) -> Vec<ShareClaim> {
    let count = tree.shares().count as usize;
    (0..count).filter_map(|index| tree.claim(index)).collect()
}

// ---- data sets -----------------------------------------------------------------------------

/// The first version of a finished task's data set.
fn first(outcome: &TaskOutcome, licence: assay_protocol::id::Hash) -> Option<DatasetVersion> {
    Some(DatasetVersion {
        content: outcome.score.as_ref()?.root,
        licence,
        shares: outcome.contributors()?.shares(),
    })
}

async fn view(shared: &Shared, task: TaskId, publisher: Account) -> Result<DatasetView, ApiError> {
    let found = shared.node.chain().dataset(task, publisher).await?;
    let outcome = match shared.node.outcome(task).await {
        Ok(outcome) => Some(outcome),
        Err(NodeError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let mut versions = Vec::new();
    for (version, what) in (1..).zip(found) {
        let till = Till::Dataset {
            task,
            publisher,
            version,
        };
        let expected = outcome.as_ref().and_then(|o| first(o, what.licence));
        versions.push(VersionLine {
            version,
            content: what.content,
            licence: what.licence,
            contributors: what.shares.count,
            matches_task: expected == Some(what),
            tokens: lines(shared, till).await?,
        });
    }
    Ok(DatasetView {
        task,
        publisher,
        versions,
    })
}

pub(super) async fn dataset(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<DatasetView>, ApiError> {
    let (task, publisher) = task_of(&shared, &id).await?;
    Ok(Json(view(&shared, task, publisher).await?))
}

pub(super) async fn publish(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(order): Json<DatasetOrder>,
) -> Result<Json<DatasetDone>, ApiError> {
    let (task, client) = task_of(&shared, &id).await?;
    if shared.node.chain().account() != Some(client) {
        return Err(ApiError::new(
            ErrorKind::Refused,
            format!("task {task} is of client 0x{client}, who alone publishes its data set"),
            "",
        ));
    }
    let outcome = shared.node.outcome(task).await?;
    let first = first(&outcome, order.licence).ok_or_else(|| {
        ApiError::new(
            ErrorKind::Refused,
            format!(
                "task {task} paid for no label, so nobody would share the income of its data set"
            ),
            "",
        )
    })?;
    let change = shared
        .node
        .chain()
        .publish_dataset(task, first, order.royalty_bps)
        .await?;
    Ok(Json(DatasetDone {
        tx: change.map(|c| c.tx),
        gas_used: change.map_or(0, |c| c.gas_used),
        now: view(&shared, task, client).await?,
    }))
}

/// The till of a version that is published.
async fn version_till(
    shared: &Shared,
    id: &str,
    version: Option<u32>,
) -> Result<(Till, DatasetVersion), ApiError> {
    let (task, publisher) = task_of(shared, id).await?;
    let version = version.unwrap_or(1);
    let found = shared.node.chain().dataset(task, publisher).await?;
    let place = usize::try_from(version).ok().and_then(|v| v.checked_sub(1));
    let what = place.and_then(|place| found.get(place)).ok_or_else(|| {
        ApiError::not_found(
            format!("the data set of task {task} has no version {version}"),
            "`assay dataset show` lists its versions; its client publishes it",
        )
    })?;
    let till = Till::Dataset {
        task,
        publisher,
        version,
    };
    Ok((till, *what))
}

pub(super) async fn pay(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(order): Json<PayInOrder>,
) -> Result<Json<PayInDone>, ApiError> {
    let (till, _) = version_till(&shared, &id, order.version).await?;
    Ok(Json(pay_in(&shared, till, &order).await?))
}

pub(super) async fn claim_income(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(order): Json<ShareOrder>,
) -> Result<Json<SharesDone>, ApiError> {
    let (till, what) = version_till(&shared, &id, order.version).await?;
    let outcome = shared.node.outcome(task_id(&id)?).await?;
    let tree = outcome
        .contributors()
        .filter(|tree| tree.shares() == what.shares);
    let tree = tree.ok_or_else(|| {
        ApiError::not_found(
            "this version is shared by another rule than what the task paid for labels, so its leaves are not known here",
            "ask whoever published it for the proof",
        )
    })?;
    let mut done = NOTHING_DONE;
    let result = pay_out(&shared, till, &order, &all(&tree), &mut done).await;
    ended(result, done)
}
