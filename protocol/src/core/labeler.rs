//! The labeler's side: enrol, answer, commit, reveal. Answers are durable before they are acknowledged; the reveal happens by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Command, CommandError, Core, Family, Notice, restore::OwnKey};
use crate::{
    codec::{self, pairs},
    crypto::hash,
    id::{Salt, TaskId},
    lane::role,
    message::{Answer, Commit, Enrol, Kind, Reveal, commit_digest},
    task::Phase,
};

/// How far our work on a wave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkStage {
    /// Answers can be added.
    Drafting,
    /// Committed; nothing can be added.
    Committed,
    /// Revealed.
    Revealed,
}

/// Our work on one wave of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Answers so far, by item.
    #[serde(with = "pairs")]
    pub answers: BTreeMap<u32, u16>,
    /// Stage.
    pub stage: WorkStage,
}

/// The draft is committed by itself when this share of the commit phase is left: 1/8, at least one second.
const COMMIT_MARGIN: u64 = 8;

impl Core {
    pub(super) fn enrol(&mut self, task: TaskId, capacity: u32) -> Result<(), CommandError> {
        let lane = self.lane_of(&task).ok_or(CommandError::UnknownTask(task))?;
        if self.own_account(lane, role::LABELER).is_none() {
            return Err(CommandError::NotRegistered("labeler"));
        }
        let open = self.live(lane).and_then(|l| l.tasks.get(&task));
        if let Some(open) = open
            && !matches!(open.phase, Phase::Enrolling { .. })
        {
            let why = "labelers can enrol only while it is enrolling".to_owned();
            return Err(CommandError::WrongPhase {
                phase: open.phase.name(),
                why,
            });
        }
        if open.is_none()
            && !self
                .live(lane)
                .is_some_and(|l| l.escrows.keys().any(|k| k.0 == task))
        {
            let why = "its escrow is not funded, so it is not offered to labelers".to_owned();
            return Err(CommandError::WrongPhase {
                phase: "announced",
                why,
            });
        }
        let envelope = self.sign(Kind::Enrol, task, 0, 0, &Enrol { capacity });
        self.deliver(lane, envelope, BTreeSet::new());
        Ok(())
    }

    /// Items assigned to us in the wave under way; every item of an open task.
    pub fn assigned_items(&self, task: &TaskId) -> Option<(u8, Vec<u32>)> {
        let lane = self.lane_of(task)?;
        let open = self.live(lane)?.tasks.get(task)?;
        let wave = open.phase.wave()?;
        let account = self.own_account(lane, role::LABELER)?;
        let mine = open.wave()?.labelers.get(&open.labeler_index(&account)?)?;
        let items = if open.is_open() {
            (0..open.manifest.items.count).collect()
        } else {
            mine.items.clone()
        };
        Some((wave, items))
    }

    pub(super) fn answer(
        &mut self,
        task: TaskId,
        wave: u8,
        answers: Vec<Answer>,
    ) -> Result<(), CommandError> {
        let (items, classes) = self.check_drafting(task, wave)?;
        for answer in &answers {
            let wrong = if items.binary_search(&answer.0).is_err() {
                "is not assigned to this node".to_owned()
            } else if answer.1 >= classes {
                format!(
                    "label {} does not exist, labels are 0 to {}",
                    answer.1,
                    classes - 1
                )
            } else {
                continue;
            };
            return Err(CommandError::Answer {
                item: answer.0,
                why: wrong,
            });
        }
        let work = self.work.entry((task, wave)).or_insert_with(|| Work {
            answers: BTreeMap::new(),
            stage: WorkStage::Drafting,
        });
        work.answers.extend(answers.iter().map(|a| (a.0, a.1)));
        let complete = work.answers.len() == items.len();
        self.persist_work(task, wave);
        if complete {
            self.commit(task, wave)
        } else {
            Ok(())
        }
    }

    fn check_drafting(&self, task: TaskId, wave: u8) -> Result<(Vec<u32>, u16), CommandError> {
        let lane = self.lane_of(&task).ok_or(CommandError::UnknownTask(task))?;
        let open =
            self.live(lane)
                .and_then(|l| l.tasks.get(&task))
                .ok_or(CommandError::WrongPhase {
                    phase: "not open",
                    why: "wait until it is labeling".into(),
                })?;
        if open.phase.wave() != Some(wave) || !matches!(open.phase, Phase::Labeling { .. }) {
            let why = format!("answers for wave {wave} are taken only while that wave is labeling");
            return Err(CommandError::WrongPhase {
                phase: open.phase.name(),
                why,
            });
        }
        let Some((_, items)) = self.assigned_items(&task) else {
            let why = "nothing is assigned to this node in this wave".to_owned();
            return Err(CommandError::WrongPhase {
                phase: open.phase.name(),
                why,
            });
        };
        if self
            .work
            .get(&(task, wave))
            .is_some_and(|w| w.stage != WorkStage::Drafting)
        {
            let why = "this wave is committed; a commit cannot be changed".to_owned();
            return Err(CommandError::WrongPhase {
                phase: open.phase.name(),
                why,
            });
        }
        Ok((items, open.manifest.kind.classes()))
    }

    pub(super) fn commit(&mut self, task: TaskId, wave: u8) -> Result<(), CommandError> {
        self.check_drafting(task, wave)?;
        let lane = self.lane_of(&task).ok_or(CommandError::UnknownTask(task))?;
        let account = self
            .own_account(lane, role::LABELER)
            .ok_or(CommandError::NotRegistered("labeler"))?;
        let salt = self.salt(&task, wave);
        let work = self.work.entry((task, wave)).or_insert_with(|| Work {
            answers: BTreeMap::new(),
            stage: WorkStage::Drafting,
        });
        work.stage = WorkStage::Committed;
        let answers: Vec<Answer> = work.answers.iter().map(|(i, l)| Answer(*i, *l)).collect();
        let digest = commit_digest(&self.network, &task, wave, &account, &answers, &salt);
        self.persist_work(task, wave);
        let envelope = self.sign(Kind::Commit, task, wave, 0, &Commit { digest });
        self.deliver(lane, envelope, BTreeSet::new());
        Ok(())
    }

    /// From our secret key, so that a restart finds the same salt and nobody else can compute it.
    fn salt(&self, task: &TaskId, wave: u8) -> Salt {
        Salt(
            hash(
                "assay/1/commit-salt",
                &[&self.config.node.seed(), &task.0, &[wave]],
            )
            .0,
        )
    }

    fn persist_work(&mut self, task: TaskId, wave: u8) {
        if let Some(work) = self.work.get(&(task, wave)) {
            let value = codec::encode(work);
            self.put(Family::Own, OwnKey::Work(task, wave).to_bytes(), value);
        }
    }

    /// Notices new assignments, commits drafts before the deadline, reveals when the time has come.
    pub(super) fn tick_labeler(&mut self) {
        let lanes: Vec<u32> = self.lanes.keys().copied().collect();
        for lane in lanes {
            let Some(account) = self.own_account(lane, role::LABELER) else {
                continue;
            };
            let Some(live) = self.live(lane) else {
                continue;
            };
            let mut assigned = Vec::new();
            let mut commit = Vec::new();
            let mut reveal = Vec::new();
            for (id, task) in &live.tasks {
                let (Some(wave), Some(index)) = (task.phase.wave(), task.labeler_index(&account))
                else {
                    continue;
                };
                let Some(mine) = task.wave().and_then(|w| w.labelers.get(&index)) else {
                    continue;
                };
                let work = self.work.get(&(*id, wave));
                match task.phase {
                    Phase::Labeling { deadline, .. } => {
                        if work.is_none() {
                            assigned.push((*id, wave, deadline));
                        }
                        let margin =
                            (u64::from(task.manifest.durations.commit_secs) / COMMIT_MARGIN).max(1);
                        let close = live.block.time + margin >= deadline;
                        let draft = work.is_some_and(|w| {
                            w.stage == WorkStage::Drafting && !w.answers.is_empty()
                        });
                        if close && draft {
                            commit.push((*id, wave));
                        }
                    }
                    Phase::Revealing { .. }
                        if mine.commit.is_some()
                            && work.is_some_and(|w| w.stage == WorkStage::Committed) =>
                    {
                        reveal.push((*id, wave));
                    }
                    _ => {}
                }
            }
            for (task, wave, deadline) in assigned {
                let work = Work {
                    answers: BTreeMap::new(),
                    stage: WorkStage::Drafting,
                };
                self.work.insert((task, wave), work);
                self.persist_work(task, wave);
                let items = self
                    .assigned_items(&task)
                    .map(|(_, items)| items)
                    .unwrap_or_default();
                self.notify(Notice::Assigned {
                    task,
                    wave,
                    items,
                    deadline,
                });
            }
            for (task, wave) in commit {
                // Whatever stands against it was checked above.
                let _ = self.command(Command::Commit { task, wave }, self.now);
            }
            for (task, wave) in reveal {
                self.reveal(lane, task, wave);
            }
        }
    }

    fn reveal(&mut self, lane: u32, task: TaskId, wave: u8) {
        let salt = self.salt(&task, wave);
        let Some(work) = self.work.get_mut(&(task, wave)) else {
            return;
        };
        work.stage = WorkStage::Revealed;
        let answers = work.answers.iter().map(|(i, l)| Answer(*i, *l)).collect();
        let envelope = self.sign(Kind::Reveal, task, wave, 0, &Reveal { answers, salt });
        self.deliver(lane, envelope, BTreeSet::new());
        self.persist_work(task, wave);
    }
}
