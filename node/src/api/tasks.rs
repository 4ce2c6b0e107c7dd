//! `GET /v1/tasks...`: what tasks there are, and what belongs to one.

use std::{collections::BTreeSet, sync::Arc};

use assay_protocol::{
    core::Core,
    id::TaskId,
    message::{AssignmentRule, ItemEntry, Manifest, TaskKind},
    task::TaskOutcome,
    verify::Body,
};
use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::IntoResponse,
};

use super::{error::ApiError, events::EventLog, model::TaskView, server::Shared};

/// Tasks in one list; open ones come first.
const TASKS_LISTED_MAX: usize = 2_000;

/// State of a task that its escrow pays, because its committee is gone.
const FALLBACK: &str = "fallback";

/// Reads an id out of a path.
pub(super) fn task_id(text: &str) -> Result<TaskId, ApiError> {
    text.parse()
        .map_err(|e| ApiError::invalid(e, "ids stand in `assay task list`"))
}

/// What can be said about a task from its manifest alone.
fn outline(manifest: &Manifest, lanes: u32, state: &str) -> TaskView {
    let TaskKind::Class { labels } = &manifest.kind;
    let k = match manifest.assignment {
        AssignmentRule::Drawn { k, .. } => Some(k),
        AssignmentRule::Open { .. } => None,
    };
    TaskView {
        id: manifest.id(),
        title: manifest.title.clone(),
        state: state.to_owned(),
        wave: None,
        waves: manifest.waves.len(),
        deadline: None,
        chain_time: 0,
        lane: manifest.lane(lanes),
        client: manifest.client,
        kind: manifest.kind.name().to_owned(),
        labels: labels.clone(),
        items: manifest.items.count,
        k,
        k_max: manifest.assignment.k_max(),
        price: manifest.price,
        labelers: 0,
        labelers_min: manifest.labelers_min,
        labelers_max: manifest.labelers_max,
        votes: 0,
        guideline: manifest.guideline.clone(),
        licence: manifest.licence.clone(),
        custody: None,
        custody_needed: None,
        enrolment: "none".to_owned(),
    }
}

/// A task that is announced or open.
fn under_way(core: &Core, id: &TaskId, events: &EventLog) -> Option<TaskView> {
    let lanes = core.profile().params.lanes;
    let announced = core
        .announcements()
        .find(|a| a.envelope().task == *id)
        .and_then(|a| match a.body() {
            Body::Announce(announce) => Some(&announce.manifest),
            _ => None,
        });
    let open = (0..lanes)
        .filter_map(|lane| core.live(lane)?.tasks.get(id))
        .next();
    let manifest = open.map(|o| &o.manifest).or(announced)?;
    let mut view = outline(manifest, lanes, "announced");
    let live = core.live(view.lane)?;
    view.chain_time = live.block.time;
    let own = core.own_tasks().get(id);
    let account = live
        .account_of(&core.node_key())
        .map(|(account, _)| account);
    let sent = core
        .deliveries()
        .iter()
        .any(|d| d.task == *id && d.kind == assay_protocol::message::Kind::Enrol);
    if let Some(open) = open {
        view.state = open.phase.name().to_owned();
        view.wave = open.phase.wave();
        view.deadline = open.phase.deadline();
        view.labelers = open.labelers.len() as u32;
        view.votes = open.votes.len() as u64;
        if account.is_some_and(|a| open.labeler_index(&a).is_some()) {
            view.enrolment = "enrolled".to_owned();
        }
    } else if core.lacks_fallback(id) {
        view.state = FALLBACK.to_owned();
    } else if live.escrows.keys().any(|k| k.0 == *id) {
        view.state = "funded".to_owned();
    } else if own.is_some_and(|o| o.funding) {
        view.state = "funding".to_owned();
    }
    if view.enrolment == "none" {
        if events.enrolment_received(id) {
            view.enrolment = "received".to_owned();
        } else if sent {
            view.enrolment = "sent".to_owned();
        }
    }
    if let (Some(own), None) = (own, open) {
        view.custody = Some(own.custody.len());
        view.custody_needed = live.committee.as_ref().map(|c| usize::from(c.threshold));
    }
    Some(view)
}

fn all_under_way(core: &Core, events: &EventLog) -> Vec<TaskView> {
    let announced = core.announcements().map(|a| a.envelope().task);
    let open = (0..core.profile().params.lanes)
        .filter_map(|lane| core.live(lane))
        .flat_map(|l| l.tasks.keys().copied());
    let ids: BTreeSet<TaskId> = announced.chain(open).collect();
    ids.iter()
        .take(TASKS_LISTED_MAX)
        .filter_map(|id| under_way(core, id, events))
        .collect()
}

pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<TaskView>>, ApiError> {
    let events = Arc::clone(&shared.events);
    let mut views = shared
        .node
        .with_core(move |core| all_under_way(core, &events))
        .await?;
    let known: BTreeSet<TaskId> = views.iter().map(|v| v.id).collect();
    let lanes = shared.node.config().profile.params.lanes;
    for task in shared.node.finished_tasks().await? {
        if views.len() >= TASKS_LISTED_MAX {
            break;
        }
        if !known.contains(&task)
            && let Ok(manifest) = shared.node.manifest(task).await
        {
            views.push(outline(&manifest, lanes, "finished"));
        }
    }
    for (task, _) in shared.node.fallback_tasks().await? {
        if views.len() < TASKS_LISTED_MAX
            && !known.contains(&task)
            && let Ok(manifest) = shared.node.manifest(task).await
        {
            views.push(outline(&manifest, lanes, FALLBACK));
        }
    }
    Ok(Json(views))
}

/// One task, wherever it stands.
pub(super) async fn view(shared: &Shared, task: TaskId) -> Result<TaskView, ApiError> {
    let events = Arc::clone(&shared.events);
    // The outcome first: it appears before the task leaves the lane's state.
    if let Ok(outcome) = shared.node.outcome(task).await {
        let manifest = shared.node.manifest(task).await?;
        let state = if outcome.cancelled.is_some() {
            "cancelled"
        } else {
            "settled"
        };
        let mut view = outline(&manifest, shared.node.config().profile.params.lanes, state);
        view.labelers = outcome.labelers.len() as u32;
        view.votes = outcome.votes.len() as u64;
        return Ok(view);
    }
    if let Ok(manifest) = shared.node.manifest(task).await
        && shared.node.in_fallback(task, manifest.client).await?
    {
        let lanes = shared.node.config().profile.params.lanes;
        return Ok(outline(&manifest, lanes, FALLBACK));
    }
    let found = shared
        .node
        .with_core(move |core| under_way(core, &task, &events))
        .await?;
    found.ok_or_else(|| {
        let next = "look at `assay task list`, or wait until its announcement arrives";
        ApiError::not_found(format!("task {task} is not known here"), next)
    })
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<TaskView>, ApiError> {
    view(&shared, task_id(&id)?).await.map(Json)
}

pub(super) async fn manifest(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Manifest>, ApiError> {
    Ok(Json(shared.node.manifest(task_id(&id)?).await?))
}

pub(super) async fn index(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Vec<ItemEntry>>, ApiError> {
    Ok(Json(shared.node.item_index(task_id(&id)?).await?))
}

pub(super) async fn outcome(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<TaskOutcome>, ApiError> {
    Ok(Json(shared.node.outcome(task_id(&id)?).await?))
}

/// The media type is the client's word about foreign bytes, so it is not repeated in a header that programs act on.
pub(super) async fn item(
    State(shared): State<Shared>,
    Path((id, item)): Path<(String, u32)>,
) -> Result<impl IntoResponse, ApiError> {
    let task = task_id(&id)?;
    let index = shared.node.item_index(task).await?;
    let entry = index.get(item as usize).ok_or_else(|| {
        let next = "see `GET /v1/tasks/{id}/index`";
        ApiError::not_found(
            format!(
                "task {task} has items 0 to {}",
                index.len().saturating_sub(1)
            ),
            next,
        )
    })?;
    let bytes = shared.node.item(task, entry).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes))
}
