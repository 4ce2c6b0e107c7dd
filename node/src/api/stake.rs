//! The account's stake: how it stands, and changing it through the outbox.

use assay_protocol::{id::Account, lane::role};
use axum::{Json, extract::State};

use super::{
    error::{ApiError, ErrorKind},
    model::{StakeAdd, StakeDone, StakeView},
    server::Shared,
    status::role_names,
};
use crate::chain::{ChainError, LaneLoss, StakeChange, StakeState};

/// How often a withdrawal is tried when an epoch was posted in between.
const TRIES_MAX: u32 = 5;

fn own(shared: &Shared) -> Result<Account, ApiError> {
    Ok(shared.node.chain().account().ok_or(ChainError::NoKey)?)
}

async fn read(shared: &Shared) -> Result<(Account, StakeState), ApiError> {
    let account = own(shared)?;
    Ok((account, shared.node.chain().stake(account).await?))
}

fn view((account, state): (Account, StakeState)) -> StakeView {
    StakeView {
        account,
        registered: state.registered,
        roles: role_names(state.roles),
        stake: state.stake,
        minimum: state.minimum,
        ready_at: state.ready_at,
        serving: state.serving,
        unbond_secs: state.unbond_secs,
        banned: state.banned,
        burned: state.burned,
        chain_time: state.now,
    }
}

async fn done(shared: &Shared, change: Option<StakeChange>) -> Result<Json<StakeDone>, ApiError> {
    Ok(Json(StakeDone {
        tx: change.map(|c| c.tx),
        gas_used: change.map_or(0, |c| c.gas_used),
        now: view(read(shared).await?),
    }))
}

pub(super) async fn show(State(shared): State<Shared>) -> Result<Json<StakeView>, ApiError> {
    Ok(Json(view(read(&shared).await?)))
}

pub(super) async fn add(
    State(shared): State<Shared>,
    Json(order): Json<StakeAdd>,
) -> Result<Json<StakeDone>, ApiError> {
    let (_, state) = read(&shared).await?;
    let target = state
        .stake
        .checked_add(order.amount)
        .filter(|_| order.amount.0 > 0)
        .ok_or_else(|| {
            ApiError::invalid(
                "this amount cannot be added to the stake",
                "name an amount above zero",
            )
        })?;
    let change = shared.node.chain().raise_stake(target).await?;
    done(&shared, change).await
}

pub(super) async fn unbond(State(shared): State<Shared>) -> Result<Json<StakeDone>, ApiError> {
    let change = shared.node.chain().unbond().await?;
    done(&shared, change).await
}

pub(super) async fn withdraw(State(shared): State<Shared>) -> Result<Json<StakeDone>, ApiError> {
    let chain = shared.node.chain();
    let mut tries = 1;
    loop {
        let (account, state) = read(&shared).await?;
        let losses = if state.roles & role::LABELER == 0 {
            Vec::new()
        } else {
            losses(&shared, account).await?
        };
        match chain.withdraw_stake(losses.clone()).await {
            Ok(change) => return done(&shared, change).await,
            // An epoch came in between: its proofs are others.
            Err(ChainError::Refused { .. })
                if tries < TRIES_MAX && behind(&shared, &losses).await?.is_some() =>
            {
                tries += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The proofs of what the account has lost, against the epochs that the chain holds now.
async fn losses(shared: &Shared, account: Account) -> Result<Vec<LaneLoss>, ApiError> {
    let lanes = shared.node.config().profile.params.lanes;
    let losses = shared
        .node
        .with_core(move |core| {
            (0..lanes)
                .filter_map(|lane| Some(LaneLoss::new(core.base(lane)?, &account)))
                .collect::<Vec<_>>()
        })
        .await?;
    if let Some((lane, here, chain)) = behind(shared, &losses).await? {
        let why = format!(
            "lane {lane} is at epoch {chain} on chain and at epoch {here} here, so the proof of what the account has lost is not up to date"
        );
        return Err(ApiError::new(
            ErrorKind::Busy,
            why,
            "wait until `assay status` shows the same epoch, then try again",
        ));
    }
    Ok(losses)
}

/// The first lane whose last epoch on chain is another than the proofs are for: lane, epoch of the proof, epoch on chain.
async fn behind(shared: &Shared, losses: &[LaneLoss]) -> Result<Option<(u32, u64, u64)>, ApiError> {
    for own in losses {
        let head = shared.node.chain().head(own.lane).await?;
        if head.epoch != own.epoch || (head.epoch != 0 && head.header != own.header) {
            return Ok(Some((own.lane, own.epoch, head.epoch)));
        }
    }
    Ok(None)
}
