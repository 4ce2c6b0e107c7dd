//! `GET /v1/disputes`: anchored epochs that this node cannot derive.

use axum::{Json, extract::State};

use super::{error::ApiError, model::DisputeView, server::Shared};

pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<DisputeView>>, ApiError> {
    let found = shared.node.with_core(|core| {
        let time = |lane| core.live(lane).map_or(0, |l| l.block.time);
        let disputes = core.disputes().into_iter();
        disputes
            .map(|d| DisputeView {
                lane: d.lane,
                epoch: d.epoch,
                header: d.header,
                posted_at: d.posted_at,
                chain_time: time(d.lane),
                wrong: d.wrong,
                votes: d.votes,
                validators: d.validators,
            })
            .collect()
    });
    Ok(Json(found.await?))
}
