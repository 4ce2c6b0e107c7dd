//! What the lanes say of a labeler, with proofs that any contract can check.

use assay_protocol::{id::Account, lane::LaneState};
use axum::{
    Json,
    extract::{Path, State},
};

use super::{
    error::{ApiError, ErrorKind},
    model::{ReputationLine, ReputationView},
    server::Shared,
};
use crate::runtime::NodeError;

/// The domains that tasks of the network can have.
const DOMAINS: [&str; 1] = ["class"];

pub(super) async fn show(
    State(shared): State<Shared>,
    Path(of): Path<String>,
) -> Result<Json<ReputationView>, ApiError> {
    let account: Account = of
        .parse()
        .map_err(|e| ApiError::invalid(e, "an address is 0x and 40 hexadecimal digits"))?;
    let mut lanes = Vec::new();
    for lane in 0..shared.node.config().profile.params.lanes {
        let header = match shared.node.last_header(lane).await {
            Ok(header) => header,
            Err(NodeError::NotFound(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for domain in DOMAINS {
            let name = LaneState::domain(domain);
            let proof = shared
                .node
                .with_core(move |core| core.base(lane)?.reputation_proof(&account, &name))
                .await?;
            let Some(proof) = proof else { continue };
            if !proof.is_valid(&header.reputation_root) {
                return Err(ApiError::new(
                    ErrorKind::Busy,
                    format!("lane {lane} moved on in the meantime"),
                    "ask again",
                ));
            }
            // The proof is worth having also while the endpoint is down.
            let confirmed = shared.node.chain().proves_reputation(&header, &proof);
            lanes.push(ReputationLine {
                domain: domain.to_owned(),
                confirmed: confirmed.await.ok(),
                header: header.clone(),
                proof,
            });
        }
    }
    Ok(Json(ReputationView { account, lanes }))
}
