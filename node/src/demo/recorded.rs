//! `replay`: recorded answers of a real crowd through the same swarm, one node per worker.
//!
//! The labels that come out must equal those of the scoring module run alone on the same file: the network adds signatures, commits, reveals and
//! money, and changes no result.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use assay_protocol::{
    consensus::{ClassInput, Vote, infer_class, majority},
    core::{Command, Notice},
    crypto::hash,
    id::{Account, TaskId},
    message::{Answer, Durations},
    task::TaskOutcome,
};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{
    report::claim_everything,
    swarm::{Participant, Swarm},
};
use crate::{
    dataset::{
        build::build,
        items::SourceItem,
        spec::{Decimal, TaskSpec},
    },
    score::{CrowdData, read_crowd},
};

/// What is replayed.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// `task,worker,label` rows.
    pub labels: PathBuf,
    /// `task,label` rows.
    pub truth: Option<PathBuf>,
    /// One JSON document on standard output.
    pub json: bool,
    /// Of keys and of the item order.
    pub seed: u64,
}

const LIMIT: Duration = Duration::from_secs(900);

/// Runs the replay; answers with the checks that did not hold: the labels and skills must equal the scoring module's, the money add up.
///
/// # Errors
/// When the file cannot be read or something did not work at all.
pub async fn replay(options: ReplayOptions) -> anyhow::Result<Vec<String>> {
    let data = read_crowd(&options.labels, options.truth.as_deref())?;
    let say = |text: &str| {
        if !options.json {
            eprintln!("* {text}");
        }
    };
    let most = data
        .votes
        .iter()
        .fold(BTreeMap::<u32, u16>::new(), |mut n, v| {
            *n.entry(v.0).or_default() += 1;
            n
        });
    let k_max = most
        .values()
        .copied()
        .max()
        .context("the file has no answers")?;
    ensure!(
        k_max <= 255,
        "an item has {k_max} answers, at most 255 can be replayed"
    );
    ensure!(
        data.labels.len() >= 2,
        "the file has fewer than two different labels"
    );
    say(&format!(
        "{} answers by {} workers about {} tasks; {} repeated answers left out",
        data.votes.len(),
        data.workers.len(),
        data.tasks.len(),
        data.repeats
    ));
    let seed = hash("assay/1/replay", &[&options.seed.to_be_bytes()]).0;
    let dir = std::env::temp_dir().join(format!(
        "assay-replay-{}-{}",
        options.seed,
        std::process::id()
    ));
    let mut swarm = Swarm::start(dir, &seed, data.workers.len(), say).await?;

    let profile = swarm.devnet.profile().clone();
    let items = data
        .tasks
        .iter()
        .map(|name| SourceItem {
            name: name.clone(),
            media: "text/plain".into(),
            // A recorded set has answers, not contents.
            bytes: name.clone().into_bytes(),
            gold: None,
        })
        .collect();
    let spec = spec(&data, k_max);
    let built = build(
        &spec,
        items,
        &seed,
        swarm.client.account,
        &profile.id(),
        &profile.params,
    )?;
    // The task's items are shuffled: places in the task by name of the recorded task.
    let place: BTreeMap<&str, u32> = built
        .index
        .iter()
        .map(|e| e.name.as_str())
        .zip(0..)
        .collect();
    let mut answers: Vec<Vec<Answer>> = vec![Vec::new(); data.workers.len()];
    for (task, worker, label) in &data.votes {
        let item = *place
            .get(data.tasks[*task as usize].as_str())
            .context("every recorded task is an item")?;
        answers[*worker as usize].push(Answer(item, *label));
    }
    let workers: Vec<_> = swarm
        .labelers
        .iter()
        .cloned()
        .zip(answers)
        .map(|(p, answers)| tokio::spawn(work(p, Arc::new(answers))))
        .collect();
    say("publishing");
    let task = swarm
        .client
        .node
        .publish(built.manifest.clone(), built.gold, built.shards)
        .await?;
    let outcome = swarm.finish(task, LIMIT).await?;
    for worker in workers {
        worker.abort();
    }
    swarm.lap("settled, every node agrees");
    let claims = claim_everything(&swarm).await?;
    let broken = compare(
        &data,
        &place,
        &outcome,
        &swarm,
        claims.claimed == claims.released && claims.books.is_ok(),
        &options,
    )?;
    swarm.shutdown().await;
    Ok(broken)
}

fn spec(data: &CrowdData, k_max: u16) -> TaskSpec {
    let mut spec = TaskSpec::new(
        "Recorded answers",
        data.labels.clone(),
        Decimal("0.0001".into()),
        "LicenseRef-recorded",
    );
    spec.open = true;
    spec.waves = Some(1);
    spec.k_max = Some(k_max);
    spec.labelers_min = Some(1);
    spec.labelers_max = data.workers.len() as u32;
    // Everybody takes part, so each phase ends when the last one is in; the deadlines are for machines under load.
    spec.durations = Durations {
        enrol_secs: 300,
        commit_secs: 300,
        reveal_secs: 300,
        gold_secs: 60,
    };
    spec
}

/// A node that answers what its worker once answered.
async fn work(p: Participant, answers: Arc<Vec<Answer>>) -> anyhow::Result<()> {
    let mut notices = p.node.subscribe();
    loop {
        match notices.recv().await {
            Ok(Notice::Phase {
                task,
                phase: "enrolling",
                ..
            }) => {
                p.node
                    .command(Command::Enrol {
                        task,
                        capacity: answers.len() as u32,
                    })
                    .await?;
            }
            Ok(Notice::Assigned { task, wave, .. }) => answer(&p, task, wave, &answers).await?,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

async fn answer(p: &Participant, task: TaskId, wave: u8, answers: &[Answer]) -> anyhow::Result<()> {
    p.node
        .command(Command::Answer {
            task,
            wave,
            answers: answers.to_vec(),
        })
        .await?;
    let committed = p.node.command(Command::Commit { task, wave }).await;
    // A worker who answered every item has committed with the last answer.
    if let Err(crate::runtime::NodeError::Command(
        assay_protocol::core::CommandError::WrongPhase { .. },
    )) = committed
    {
        return Ok(());
    }
    committed.map(|_| ()).map_err(Into::into)
}

fn compare(
    data: &CrowdData,
    place: &BTreeMap<&str, u32>,
    outcome: &TaskOutcome,
    swarm: &Swarm,
    all_claimed: bool,
    options: &ReplayOptions,
) -> anyhow::Result<Vec<String>> {
    // The scoring module alone, in the file's own order of tasks and workers.
    let votes: Vec<Vote> = data
        .votes
        .iter()
        .map(|&(item, labeler, label)| Vote {
            item,
            labeler,
            label,
        })
        .collect();
    let gold = BTreeMap::new();
    let input = ClassInput {
        items: data.tasks.len() as u32,
        labelers: data.workers.len() as u32,
        classes: data.labels.len() as u16,
        votes: &votes,
        gold: &gold,
        priors: &[],
    };
    let alone = infer_class(&input)?;
    let plain = majority(&input)?;
    let accounts: BTreeMap<Account, usize> = swarm
        .labelers
        .iter()
        .enumerate()
        .map(|(i, p)| (p.account, i))
        .collect();
    let mut different = 0;
    let (mut right, mut right_majority) = (0usize, 0usize);
    for (task, name) in data.tasks.iter().enumerate() {
        let network = place
            .get(name.as_str())
            .and_then(|i| outcome.items.get(*i as usize))
            .and_then(|i| i.label);
        different += usize::from(network != alone.items.get(task).and_then(|i| i.label));
        if let Some(truth) = data.truth.get(&(task as u32)) {
            right += usize::from(network == Some(*truth));
            right_majority += usize::from(plain.get(task).copied().flatten() == Some(*truth));
        }
    }
    let skills_equal = outcome.labelers.iter().all(|l| {
        let worker = accounts
            .get(&l.account)
            .and_then(|i| alone.labelers.get(*i));
        worker.is_some_and(|w| w.skill_ppm == l.skill_ppm)
    });
    let conserved = outcome.money.is_conserved() && all_claimed;
    let counted = outcome.votes.len() == data.votes.len();
    let broken: Vec<String> = [
        ("every answer is counted", counted),
        ("labels equal the scoring module's", different == 0),
        ("skills equal the scoring module's", skills_equal),
        ("money is conserved and claimed", conserved),
    ]
    .into_iter()
    .filter(|(_, held)| !held)
    .map(|(what, _)| what.to_owned())
    .collect();
    let known = data.truth.len();
    let percent = |n: usize| 100.0 * n as f64 / known.max(1) as f64;
    let document = json!({
        "answers": data.votes.len(), "tasks": data.tasks.len(), "workers": data.workers.len(),
        "labels_that_differ_from_the_scoring_module": different,
        "every_answer_counted": counted, "skills_equal": skills_equal, "money_conserved": conserved,
        "with_truth": known,
        "accuracy_percent": { "majority": percent(right_majority), "network": percent(right) },
        "seconds": swarm.seconds.iter().map(|(what, s)| json!({"what": what, "seconds": s})).collect::<Vec<_>>(),
        "held": broken.is_empty(),
    });
    if options.json {
        println!("{document}");
    } else {
        println!(
            "answers counted:            {} of {}",
            outcome.votes.len(),
            data.votes.len()
        );
        println!(
            "labels that differ from the scoring module run alone: {different} of {}",
            data.tasks.len()
        );
        println!(
            "labelers' skills equal:     {}",
            if skills_equal { "yes" } else { "NO" }
        );
        println!(
            "money conserved, claimed:   {}",
            if conserved { "yes" } else { "NO" }
        );
        if known > 0 {
            println!(
                "accuracy ({known} tasks with truth): majority {:.2} %, network {:.2} %",
                percent(right_majority),
                percent(right)
            );
        }
        for (what, s) in &swarm.seconds {
            println!("{s:>8.1} s  {what}");
        }
    }
    Ok(broken)
}
