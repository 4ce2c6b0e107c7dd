//! The labeler's requests.

use assay_protocol::{
    core::{Command, WorkStage},
    id::TaskId,
    limit,
    message::Answer,
};
use axum::{
    Json,
    extract::{Path, State},
};

use super::{
    error::ApiError,
    model::{AnswersOrder, AssignmentView, CommitOrder, EnrolOrder, TaskDone},
    server::Shared,
    tasks::{self, task_id},
};

pub(super) async fn assignment(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<AssignmentView>, ApiError> {
    let task = task_id(&id)?;
    let found = shared.node.with_core(move |core| {
        let (wave, items) = core.assigned_items(&task)?;
        let lanes = core.profile().params.lanes;
        let (live, open) = (0..lanes)
            .filter_map(|lane| core.live(lane))
            .find_map(|live| Some((live, live.tasks.get(&task)?)))?;
        let work = core.work().get(&(task, wave));
        let stage = match work.map(|w| w.stage) {
            None | Some(WorkStage::Drafting) => "drafting",
            Some(WorkStage::Committed) => "committed",
            Some(WorkStage::Revealed) => "revealed",
        };
        Some(AssignmentView {
            task,
            wave,
            phase: open.phase.name().to_owned(),
            stage: stage.to_owned(),
            deadline: open.phase.deadline(),
            chain_time: live.block.time,
            items,
            answers: work
                .map(|w| w.answers.iter().map(|(i, l)| (*i, *l)).collect())
                .unwrap_or_default(),
        })
    });
    match found.await? {
        Some(view) => Ok(Json(view)),
        None => {
            // A task that nobody knows is another answer than a wave without work.
            let state = tasks::view(&shared, task).await?.state;
            let what =
                format!("nothing of task {task} is assigned to this node now; it is {state}");
            Err(ApiError::not_found(
                what,
                "enrol with `assay work TASK`, or wait for the next wave",
            ))
        }
    }
}

async fn order(shared: &Shared, command: Command) -> Result<Json<TaskDone>, ApiError> {
    Ok(Json(TaskDone {
        task: shared.node.command(command).await?,
    }))
}

pub(super) async fn enrol(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(asked): Json<EnrolOrder>,
) -> Result<Json<TaskDone>, ApiError> {
    let task: TaskId = task_id(&id)?;
    if asked.capacity == 0 {
        return Err(ApiError::invalid(
            "a capacity of 0 labels per wave is no enrolment",
            "give at least 1",
        ));
    }
    order(
        &shared,
        Command::Enrol {
            task,
            capacity: asked.capacity,
        },
    )
    .await
}

pub(super) async fn answers(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(asked): Json<AnswersOrder>,
) -> Result<Json<TaskDone>, ApiError> {
    let task = task_id(&id)?;
    if asked.answers.len() > limit::ANSWERS_MAX {
        return Err(ApiError::invalid(
            format!(
                "{} answers at once, at most {}",
                asked.answers.len(),
                limit::ANSWERS_MAX
            ),
            "send them in parts",
        ));
    }
    let answers = asked
        .answers
        .iter()
        .map(|&(item, label)| Answer(item, label))
        .collect();
    order(
        &shared,
        Command::Answer {
            task,
            wave: asked.wave,
            answers,
        },
    )
    .await
}

pub(super) async fn commit(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(asked): Json<CommitOrder>,
) -> Result<Json<TaskDone>, ApiError> {
    let task = task_id(&id)?;
    order(
        &shared,
        Command::Commit {
            task,
            wave: asked.wave,
        },
    )
    .await
}
