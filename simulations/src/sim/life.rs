//! What people do at their nodes, and nodes that go down and come back.

use assay_protocol::{
    core::{Command, CommandError, WorkStage},
    id::TaskId,
    message::Answer,
    task::Phase,
};

use super::{Event, Simulation};
use crate::{
    people::Labeler,
    rng::Stream,
    scenario::{Churn, Role},
    trace::Payload,
};

impl Simulation {
    fn labeler(&self, node: usize) -> Labeler<'_> {
        let n = &self.nodes[node];
        Labeler {
            node,
            name: &n.name,
            group: n.population,
            population: &self.scenario.population[n.population],
        }
    }

    /// Runs a command; a refusal is counted.
    fn command(&mut self, node: usize, command: Command) -> Result<TaskId, CommandError> {
        let now = self.queue.now();
        let result = match self.nodes[node].core.as_mut() {
            Some(core) => core.command(command, now),
            None => return Err(CommandError::NotRegistered("running node")),
        };
        if let Err(error) = &result {
            // The task's id would make every refusal a kind of its own.
            let text = match error {
                CommandError::UnknownTask(_) => "the task is not known here".to_owned(),
                CommandError::Answer { why, .. } => format!("an answer {why}"),
                other => other.to_string(),
            };
            *self.counts.refused_commands.entry(text).or_default() += 1;
        }
        self.perform(node);
        result
    }

    fn notice_after(&mut self, node: usize) -> u64 {
        let most = self.scenario.population[self.nodes[node].population].notice_ms;
        self.nodes[node].luck.between(most / 10, most)
    }

    /// A labeler hears of a task that takes enrolments.
    pub(super) fn consider(&mut self, node: usize, task: TaskId) {
        let Some(&place) = self.places.get(&task) else {
            return;
        };
        if self.nodes[node].role != Role::Labeler || self.nodes[node].person.decided.contains(&task)
        {
            return;
        }
        if !self.people.takes_part(&self.labeler(node), place) {
            self.nodes[node].person.decided.insert(task);
            return;
        }
        let after = self.notice_after(node);
        let life = self.nodes[node].life;
        self.queue.push(after, Event::Enrol { node, life, task });
    }

    pub(super) fn on_enrol(&mut self, node: usize, life: u32, task: TaskId) {
        if !self.nodes[node].lives(life) || self.nodes[node].person.decided.contains(&task) {
            return;
        }
        self.note(node, "enrol", &Payload::default().bytes(&task.0));
        let Some(&place) = self.places.get(&task) else {
            return;
        };
        let capacity = self.scenario.task[place].capacity;
        if self
            .command(node, Command::Enrol { task, capacity })
            .is_ok()
        {
            self.nodes[node].person.decided.insert(task);
        }
    }

    /// A labeler sees items to label: one after the other, each takes its time.
    pub(super) fn take_up(&mut self, node: usize, task: TaskId) {
        let (now, life) = (self.queue.now(), self.nodes[node].life);
        let Some(&place) = self.places.get(&task) else {
            return;
        };
        let Some(core) = &self.nodes[node].core else {
            return;
        };
        let Some((wave, items)) = core.assigned_items(&task) else {
            return;
        };
        let work = core.work().get(&(task, wave));
        if work.is_none_or(|w| w.stage != WorkStage::Drafting) {
            return;
        }
        let done: Vec<u32> = work
            .map(|w| w.answers.keys().copied().collect())
            .unwrap_or_default();
        if !self.nodes[node].person.drafting.insert((task, wave)) {
            return;
        }
        let mut at = (now + self.notice_after(node)).max(self.nodes[node].person.busy_until);
        for (nth, item) in items
            .iter()
            .enumerate()
            .filter(|(_, item)| !done.contains(item))
        {
            at += self.people.answer_ms(&self.labeler(node), place, *item);
            let event = Event::Answer {
                node,
                life,
                task,
                wave,
                item: *item,
                place: nth as u32,
            };
            self.queue.push(at - now, event);
        }
        self.nodes[node].person.busy_until = at;
    }

    pub(super) fn on_answer(
        &mut self,
        node: usize,
        life: u32,
        task: TaskId,
        wave: u8,
        item: u32,
        nth: u32,
    ) {
        if !self.nodes[node].lives(life) {
            return;
        }
        let Some(&place) = self.places.get(&task) else {
            return;
        };
        let hard_skill = self.scenario.task[place].hard_skill_ppm;
        let label = self.people.answer(
            &self.labeler(node),
            place,
            &self.plans[place],
            hard_skill,
            item,
            nth,
        );
        self.note(
            node,
            "answer",
            &Payload::default()
                .bytes(&task.0)
                .number(item.into())
                .number(label.into()),
        );
        // A late answer is refused by the core and counted there.
        let _ = self.command(
            node,
            Command::Answer {
                task,
                wave,
                answers: vec![Answer(item, label)],
            },
        );
    }

    pub(super) fn on_publish(&mut self, plan: usize) {
        let node = self.plans[plan].client;
        if self.published[plan] {
            return;
        }
        if self.nodes[node].core.is_some() {
            let payload = Payload::default().bytes(&self.plans[plan].id.0);
            self.note(node, "publish", &payload);
            let manifest = Box::new(self.plans[plan].manifest.clone());
            let gold = self.plans[plan].gold.clone();
            self.published[plan] = self
                .command(node, Command::Publish { manifest, gold })
                .is_ok();
        }
        if !self.published[plan] {
            // The client's registration may not have reached its node yet, or the node is down.
            self.queue
                .push(self.scenario.chain.block_ms, Event::Publish { plan });
        }
    }

    fn churn(&self, node: usize) -> Option<Churn> {
        self.scenario.population[self.nodes[node].population].churn
    }

    /// Draws when the node goes down next.
    pub(super) fn plan_crash(&mut self, node: usize) {
        if let Some(churn) = self.churn(node).filter(|_| !self.calm) {
            let after = self.nodes[node]
                .luck
                .between(churn.up_ms / 2, churn.up_ms / 2 + churn.up_ms);
            self.queue.push(after, Event::Crash { node });
        }
    }

    pub(super) fn on_crash(&mut self, node: usize) {
        let Some(churn) = self
            .churn(node)
            .filter(|_| !self.calm && self.nodes[node].core.is_some())
        else {
            return;
        };
        let keys = [node as u64, u64::from(self.nodes[node].life)];
        let mut luck = Stream::new(self.seed, "crash", &keys);
        let in_write = luck.chance(self.scenario.disk.crash_in_write_ppm);
        if in_write && self.nodes[node].writing.is_none() {
            self.nodes[node].doomed = true;
            return;
        }
        let lost = luck.chance(self.scenario.disk.lose_last_write_ppm);
        self.counts.crashes += 1;
        self.counts.writes_lost += u64::from(lost && self.nodes[node].writing.is_some());
        self.note(node, "crash", &Payload::default().number(lost.into()));
        self.nodes[node].crash(!lost);
        self.ports[node].forget();
        let after = self.nodes[node]
            .luck
            .between(churn.down_ms / 2, churn.down_ms / 2 + churn.down_ms);
        self.queue.push(after, Event::Revive { node });
    }

    pub(super) fn on_revive(&mut self, node: usize) {
        if self.nodes[node].core.is_some() {
            return;
        }
        self.note(node, "start", &Payload::default());
        let again = self.nodes[node].life > 0;
        self.nodes[node].start(&self.profile, self.queue.now());
        let next = self.nodes[node].core.as_ref().map_or(0, |c| c.next_block());
        self.nodes[node].next_block = self.chain.place_of(next);
        self.perform(node);
        self.notice_blocks(node);
        if again {
            self.plan_crash(node);
        }
        // A person looks at what the node shows after its start.
        let open: Vec<(TaskId, Phase)> = self.nodes[node]
            .core
            .iter()
            .flat_map(|c| c.live(0))
            .flat_map(|live| live.tasks.iter().map(|(id, t)| (*id, t.phase)))
            .collect();
        for (task, phase) in open {
            match phase {
                Phase::Enrolling { .. } => self.consider(node, task),
                Phase::Labeling { .. } => self.take_up(node, task),
                _ => {}
            }
        }
    }

    /// Whether a node has seen the end of every task.
    fn has_finished(&self, node: usize) -> bool {
        self.published.iter().all(|p| *p)
            && self
                .plans
                .iter()
                .all(|p| self.nodes[node].disk.outcome(&p.id).is_some())
    }

    /// Whether all honest nodes have; from the first of them on, nothing crashes any more and everybody comes back.
    pub(super) fn is_over(&mut self) -> bool {
        let honest: Vec<usize> = (0..self.nodes.len())
            .filter(|n| !self.nodes[*n].actor.is_hostile())
            .collect();
        if !self.calm && honest.iter().any(|n| self.has_finished(*n)) {
            self.calm = true;
            for node in 0..self.nodes.len() {
                if self.nodes[node].core.is_none() {
                    self.queue.push(1, Event::Revive { node });
                }
            }
        }
        self.calm
            && honest
                .iter()
                .all(|n| self.nodes[*n].core.is_some() && self.has_finished(*n))
    }
}
