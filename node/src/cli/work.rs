//! `assay work`: enrolling, answering and committing, wave by wave. Answers go to the node as they come and are durable there; the reveal
//! is the node's own business, so leaving at any time loses nothing.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::{id::TaskId, message::ItemEntry};

use super::{
    answers::{AnswerFile, Person, Typed},
    args::WorkArgs,
    client::Api,
    failure::{Exit, Failure},
    folder::Folder,
    task,
    text::{self, Printer, harmless},
};
use crate::api::model::{
    AnswersOrder, AssignmentView, CommitOrder, EnrolOrder, Event, StatusView, TaskDone, TaskView,
};

/// Seconds that one look for news may wait.
const LOOK_SECS: u64 = 2;
/// Answers sent at once.
const ANSWERS_AT_ONCE: usize = 1_000;

/// Runs `assay work`.
///
/// # Errors
/// No running node, a task that cannot be worked on.
pub async fn run(folder: &Folder, args: &WorkArgs, printer: Printer) -> Result<(), Failure> {
    let api = Api::open(folder)?;
    let decimals = task::decimals(folder)?;
    let answers = args.answers.as_deref().map(AnswerFile::read).transpose()?;
    let shift = Shift {
        api: &api,
        folder,
        answers: answers.as_ref(),
        capacity: args.capacity,
        decimals,
        printer,
    };
    match (&args.task, args.auto_enrol) {
        (Some(text), _) => {
            let id = api.task_id(text).await?;
            shift.work(id).await.map(|_| ())
        }
        (None, true) => shift.work_on_everything().await,
        (None, false) => list(&api, decimals, printer).await,
    }
}

fn is_offered(view: &TaskView) -> bool {
    matches!(view.state.as_str(), "funded" | "enrolling")
}

async fn offered(api: &Api) -> Result<Vec<TaskView>, Failure> {
    let mut tasks: Vec<TaskView> = api.get("/v1/tasks").await?;
    tasks.retain(|t| is_offered(t) || (t.enrolment != "none" && t.state != "finished"));
    tasks.sort_by(|a, b| b.price.cmp(&a.price).then(a.id.cmp(&b.id)));
    Ok(tasks)
}

async fn list(api: &Api, decimals: u8, printer: Printer) -> Result<(), Failure> {
    let tasks = offered(api).await?;
    if printer.json {
        return printer.data(&tasks);
    }
    if tasks.is_empty() {
        printer.say("No task is open for enrolment now. `assay work --auto-enrol` waits for one.");
        return Ok(());
    }
    printer.line(&task::tasks_table(&tasks, decimals))?;
    printer.say(&format!("Next: assay work {}", tasks[0].id.short()));
    Ok(())
}

/// How a task ended for this session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Finished,
    Left,
}

/// How a wave ended for this session.
enum WaveEnd {
    Committed,
    Left,
    /// The file answers none of its items.
    Nothing,
}

struct Shift<'a> {
    api: &'a Api,
    folder: &'a Folder,
    answers: Option<&'a AnswerFile>,
    capacity: u32,
    decimals: u8,
    printer: Printer,
}

impl Shift<'_> {
    async fn work_on_everything(&self) -> Result<(), Failure> {
        let mut done = BTreeSet::new();
        let mut after = self.api.events(None, 0).await?.next;
        self.printer.say("waiting for tasks; Ctrl-C stops");
        loop {
            let next = offered(self.api)
                .await?
                .into_iter()
                .find(|t| !done.contains(&t.id));
            match next {
                Some(task) => {
                    done.insert(task.id);
                    match self.work(task.id).await {
                        Ok(End::Finished) => {}
                        Ok(End::Left) => return Ok(()),
                        // One task that refuses us is no reason to miss the others.
                        Err(failure) if failure.exit == Exit::Failure => {
                            self.printer.warn(&failure.text)
                        }
                        Err(failure) => return Err(failure),
                    }
                }
                None => after = self.api.events(Some(after), LOOK_SECS).await?.next,
            }
        }
    }

    async fn view(&self, id: TaskId) -> Result<TaskView, Failure> {
        self.api.get(&format!("/v1/tasks/{id}")).await
    }

    /// Takes part in a task until it is finished.
    async fn work(&self, id: TaskId) -> Result<End, Failure> {
        let first = self.view(id).await?;
        if !self.printer.json {
            self.printer.say(&task::details(&first, self.decimals));
        }
        // Asked before enrolling: whoever cannot answer must not promise to.
        let person = match self.answers {
            Some(_) => None,
            None => Some(Person::new(self.folder, id)?),
        };
        let mut after = self.api.events(None, 0).await?.next;
        let mut index = Vec::new();
        let mut closed = BTreeSet::new();
        let mut said = String::new();
        let mut asked_to_enrol = false;
        loop {
            let view = self.view(id).await?;
            if matches!(view.state.as_str(), "settled" | "cancelled") {
                self.result(id).await?;
                return Ok(End::Finished);
            }
            if view.state == "fallback" {
                task::tell_fallback(&view, self.printer);
                return Ok(End::Finished);
            }
            if view.enrolment == "none" && !asked_to_enrol {
                if is_offered(&view) {
                    if let Some(file) = self.answers {
                        index = self.index(id).await?;
                        // Whoever enrols and then answers nothing is absent, and absence is on record.
                        if !index.iter().any(|entry| file.has(&entry.name)) {
                            return Err(Failure::new(
                                Exit::Failure,
                                format!("the answers file names no item of task {}", id.short()),
                            )
                            .next("its column `item` must hold the client's item names"));
                        }
                    }
                    let order = EnrolOrder {
                        capacity: self.capacity,
                    };
                    let _: TaskDone = self
                        .api
                        .post(&format!("/v1/tasks/{id}/enrol"), &order)
                        .await?;
                    asked_to_enrol = true;
                } else if !matches!(view.state.as_str(), "announced" | "funding") {
                    return Err(Failure::new(
                        Exit::Failure,
                        format!("task {} is {}: enrolment is closed", id.short(), view.state),
                    )
                    .next("see open tasks with `assay work`"));
                }
            } else if view.enrolment == "none" && view.wave.is_some() {
                return Err(Failure::new(
                    Exit::Failure,
                    format!(
                        "the enrolment for task {} came too late or was not counted",
                        id.short()
                    ),
                )
                .next("see open tasks with `assay work`"));
            }
            let line = state_line(&view);
            if line != said {
                self.printer.say(&line);
                said = line;
            }
            if view.state == "labeling"
                && let Some(work) = self.assignment(id).await?
                && work.stage == "drafting"
                && !closed.contains(&work.wave)
                && !work.items.is_empty()
            {
                if index.is_empty() {
                    index = self.index(id).await?;
                }
                match self.wave(&view, &work, &index, person.as_ref()).await {
                    Ok(WaveEnd::Committed) => {
                        closed.insert(work.wave);
                        self.printer.say("committed; waiting for receipts of the committee (leaving is safe now)");
                    }
                    Ok(WaveEnd::Nothing) => {
                        closed.insert(work.wave);
                    }
                    Ok(WaveEnd::Left) => {
                        self.printer.say(&format!(
                            "left; the draft is kept and is committed by itself shortly before the deadline. Go on with: assay work {}",
                            id.short()
                        ));
                        return Ok(End::Left);
                    }
                    // The wave may have closed while a person was thinking; the next look tells.
                    Err(failure)
                        if failure.exit == Exit::Failure
                            && self.view(id).await?.state != "labeling" =>
                    {
                        self.printer.warn(&failure.text);
                    }
                    Err(failure) => return Err(failure),
                }
                continue;
            }
            let news = self.api.events(Some(after), LOOK_SECS).await?;
            after = news.next;
            self.tell(id, news.events.into_iter().map(|l| l.event));
        }
    }

    fn tell(&self, id: TaskId, events: impl Iterator<Item = Event>) {
        for event in events {
            match event {
                Event::Delivered { task, kind, .. } if task == id => {
                    let what = if kind == "enrol" {
                        "enrolment"
                    } else {
                        kind.as_str()
                    };
                    self.printer.say(&format!(
                        "a quorum of the committee gave receipts for the {what}"
                    ));
                }
                Event::Forced { task, kind, .. } if task == id => self.printer.warn(&format!(
                    "the committee did not confirm the {kind} and its deadline is near: it goes to the chain, which costs the account gas"
                )),
                Event::Alarm { text } => self.printer.warn(&text),
                Event::Revoked { lane, from } => self.printer.warn(&text::revoked(lane, from)),
                _ => {}
            }
        }
    }

    async fn index(&self, id: TaskId) -> Result<Vec<ItemEntry>, Failure> {
        self.api.get(&format!("/v1/tasks/{id}/index")).await
    }

    async fn assignment(&self, id: TaskId) -> Result<Option<AssignmentView>, Failure> {
        match self.api.get(&format!("/v1/tasks/{id}/assignment")).await {
            Ok(view) => Ok(Some(view)),
            // Nothing assigned is an answer, not a failure.
            Err(failure) if failure.exit == Exit::Failure => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn send(&self, id: TaskId, wave: u8, answers: Vec<(u32, u16)>) -> Result<(), Failure> {
        let order = AnswersOrder { wave, answers };
        let _: TaskDone = self
            .api
            .post(&format!("/v1/tasks/{id}/answers"), &order)
            .await?;
        Ok(())
    }

    async fn commit(&self, id: TaskId, wave: u8) -> Result<WaveEnd, Failure> {
        let _: TaskDone = self
            .api
            .post(&format!("/v1/tasks/{id}/commit"), &CommitOrder { wave })
            .await?;
        Ok(WaveEnd::Committed)
    }

    async fn wave(
        &self,
        view: &TaskView,
        work: &AssignmentView,
        index: &[ItemEntry],
        person: Option<&Person>,
    ) -> Result<WaveEnd, Failure> {
        let answered: BTreeMap<u32, u16> = work.answers.iter().copied().collect();
        // Nobody is held to answer all of an open task.
        let room = if view.k.is_none() {
            self.capacity as usize
        } else {
            work.items.len()
        };
        let todo: Vec<u32> = work
            .items
            .iter()
            .filter(|i| !answered.contains_key(i))
            .copied()
            .collect();
        self.printer.say(&format!(
            "wave {}: {} items, {} answered, closes in {}",
            work.wave + 1,
            work.items.len().min(room),
            answered.len(),
            text::left(work.deadline, work.chain_time)
        ));
        let room = room.saturating_sub(answered.len());
        match (self.answers, person) {
            (Some(file), _) => {
                self.answer_from_file(view, work, index, file, &todo, room)
                    .await
            }
            (None, Some(person)) => {
                self.answer_by_person(view, work, index, person, &todo, room)
                    .await
            }
            (None, None) => Ok(WaveEnd::Left),
        }
    }

    async fn answer_from_file(
        &self,
        view: &TaskView,
        work: &AssignmentView,
        index: &[ItemEntry],
        file: &AnswerFile,
        todo: &[u32],
        room: usize,
    ) -> Result<WaveEnd, Failure> {
        let mut answers = Vec::new();
        for item in todo {
            if answers.len() == room {
                break;
            }
            let Some(entry) = index.get(*item as usize) else {
                continue;
            };
            if let Some(label) = file.answer(&entry.name, &view.labels)? {
                answers.push((*item, label));
            }
        }
        let complete = answers.len() == todo.len();
        if answers.is_empty() && work.answers.is_empty() {
            self.printer.warn(&format!(
                "the file has no answer for any of the {} items of this wave",
                todo.len()
            ));
            return Ok(WaveEnd::Nothing);
        }
        for part in answers.chunks(ANSWERS_AT_ONCE) {
            self.send(view.id, work.wave, part.to_vec()).await?;
        }
        if complete {
            // The node commits by itself when everything assigned is answered.
            return Ok(WaveEnd::Committed);
        }
        if view.k.is_some() {
            let missing = todo.len() - answers.len();
            self.printer.warn(&format!(
                "the file has no answer for {missing} of the items assigned; committing the rest"
            ));
        }
        self.commit(view.id, work.wave).await
    }

    async fn answer_by_person(
        &self,
        view: &TaskView,
        work: &AssignmentView,
        index: &[ItemEntry],
        person: &Person,
        todo: &[u32],
        room: usize,
    ) -> Result<WaveEnd, Failure> {
        let mut place = 0;
        let mut given: BTreeMap<u32, u16> = BTreeMap::new();
        let missing =
            |given: &BTreeMap<u32, u16>| todo.iter().filter(|i| !given.contains_key(i)).count();
        while place < todo.len() && given.len() < room {
            let item = todo[place];
            let entry = index.get(item as usize).ok_or_else(|| {
                Failure::new(
                    Exit::Data,
                    format!("item {item} is not in the task's index"),
                )
                .next("report it to the client")
            })?;
            let bytes = self
                .api
                .get_bytes(&format!("/v1/tasks/{}/items/{item}", view.id))
                .await?;
            person.show(place + 1, todo.len(), item, entry, &bytes)?;
            match person.ask(&view.labels).await? {
                Typed::Label(label) => {
                    // The node commits the wave by itself with its last answer.
                    self.send(view.id, work.wave, vec![(item, label)]).await?;
                    given.insert(item, label);
                    if missing(&given) == 0 {
                        return Ok(WaveEnd::Committed);
                    }
                    place += 1;
                }
                Typed::Skip => place += 1,
                Typed::Back => place = place.saturating_sub(1),
                Typed::Commit => return self.commit(view.id, work.wave).await,
                Typed::Quit => return Ok(WaveEnd::Left),
                Typed::Unclear(_) => {}
            }
        }
        if given.is_empty() && work.answers.is_empty() {
            return Ok(WaveEnd::Left);
        }
        self.printer.say(&format!(
            "committing {} answers; {} were skipped",
            given.len() + work.answers.len(),
            missing(&given)
        ));
        self.commit(view.id, work.wave).await
    }

    /// What the task brought this node.
    async fn result(&self, id: TaskId) -> Result<(), Failure> {
        let outcome = task::outcome(self.api, id).await?;
        let status: StatusView = self.api.get("/v1/status").await?;
        let me = status.account.map(|a| a.account);
        let mine = outcome.labelers.iter().find(|l| Some(l.account) == me);
        if self.printer.json {
            return self.printer.data(&serde_json::json!({ "task": id, "cancelled": outcome.cancelled.is_some(), "mine": mine }));
        }
        match mine {
            Some(l) => self.printer.line(&format!(
                "finished: {} votes, skill {}, earned {} tokens, lost {} ({})",
                l.votes,
                text::percent(l.skill_ppm),
                l.earned.to_decimal(self.decimals),
                l.lost.to_decimal(self.decimals),
                l.reason.text()
            ))?,
            None if outcome.cancelled.is_some() => self
                .printer
                .line("finished: the task was cancelled before anyone worked")?,
            None => self.printer.line("finished: this node had no part in it")?,
        }
        self.printer.say("Next: assay claim");
        Ok(())
    }
}

fn state_line(view: &TaskView) -> String {
    let enrolment = match view.enrolment.as_str() {
        "sent" => "; the enrolment is on its way to the committee",
        "received" => "; a quorum of the committee has the enrolment",
        "enrolled" => "; enrolled",
        _ => "",
    };
    let wave = view
        .wave
        .map(|w| format!(" wave {} of {}", w + 1, view.waves))
        .unwrap_or_default();
    format!(
        "{}: {}{wave}{enrolment}",
        harmless(&view.title, false),
        view.state
    )
}
