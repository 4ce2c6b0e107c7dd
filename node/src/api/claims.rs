//! Claims: proofs for anyone to keep, and paying them through this node.

use assay_protocol::{id::Account, lane::SubtreeClaim};
use axum::{
    Json,
    extract::{Path, State},
};

use super::{
    error::ApiError,
    model::{ClaimLine, ClaimsDone, ClaimsView, PaidLine, RelayDone, RelayFailure, RelayLine},
    server::Shared,
};
use crate::{chain::ChainError, runtime::NodeError};

fn payee(text: &str) -> Result<Account, ApiError> {
    text.parse()
        .map_err(|e| ApiError::invalid(e, "an address is 0x and 40 hexadecimal digits"))
}

async fn claims(
    shared: &Shared,
    payee: Account,
) -> Result<Vec<assay_protocol::lane::Claim>, ApiError> {
    let mut claims = Vec::new();
    for lane in 0..shared.node.config().profile.params.lanes {
        match shared.node.claim_proof(lane, payee).await {
            Ok(claim) => claims.push(claim),
            Err(NodeError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(claims)
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Path(of): Path<String>,
) -> Result<Json<ClaimsView>, ApiError> {
    let payee = payee(&of)?;
    let mut lines = Vec::new();
    for claim in claims(&shared, payee).await? {
        // The proof is worth having also while the endpoint is down.
        let paid = shared.node.chain().paid(claim.lane, payee).await.ok();
        lines.push(ClaimLine { claim, paid });
    }
    Ok(Json(ClaimsView { claims: lines }))
}

/// Payees that one transaction pays when everybody is paid: 2^7.
const RELAY_HEIGHT: u32 = 7;

/// Pays everybody in every lane what is not paid yet, a subtree at a time, and says what was paid also when something fails.
pub(super) async fn relay(State(shared): State<Shared>) -> Result<Json<RelayDone>, ApiError> {
    let mut done = RelayDone::default();
    for lane in 0..shared.node.config().profile.params.lanes {
        let file = match shared.node.payout_file(lane).await {
            Ok(file) => file,
            Err(NodeError::NotFound(_)) => continue,
            Err(error) if done.paid.is_empty() => return Err(error.into()),
            Err(error) => {
                done.failed.push(RelayFailure {
                    lane,
                    payees: 0,
                    why: error.to_string(),
                });
                continue;
            }
        };
        let proofs = file.proofs();
        let subtrees = (0..proofs.file().leaves.len()).step_by(1 << RELAY_HEIGHT);
        let claims = subtrees.filter_map(|at| proofs.subtree(at, RELAY_HEIGHT));
        let relayed = shared.node.chain().relay(claims).await;
        let payees = |claim: &SubtreeClaim| claim.leaves.len() as u64;
        done.paid
            .extend(relayed.paid.iter().map(|(claim, paid)| RelayLine {
                lane,
                payees: payees(claim),
                amount: paid.amount,
                tx: paid.tx,
                gas_used: paid.gas_used,
            }));
        if let [(_, error)] = relayed.failed.as_slice()
            && done.paid.is_empty()
            && done.failed.is_empty()
        {
            return Err(error.into());
        }
        done.failed
            .extend(relayed.failed.iter().map(|(claim, error)| RelayFailure {
                lane,
                payees: payees(claim),
                why: error.to_string(),
            }));
    }
    Ok(Json(done))
}

pub(super) async fn claim(
    State(shared): State<Shared>,
    Path(of): Path<String>,
) -> Result<Json<ClaimsDone>, ApiError> {
    let payee = payee(&of)?;
    let mut paid = Vec::new();
    for claim in claims(&shared, payee).await? {
        match shared.node.chain().claim(&claim).await {
            Ok(done) => {
                paid.push(PaidLine {
                    lane: claim.lane,
                    amount: done.amount,
                    tx: done.tx,
                    gas_used: done.gas_used,
                });
            }
            Err(ChainError::NothingDue { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(ClaimsDone { payee, paid }))
}
