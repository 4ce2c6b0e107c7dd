//! `demo`: real images with known truth, labelled by models of people over the real swarm.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use assay_protocol::{
    core::{Command, Notice},
    crypto::hash,
    id::{Account, TaskId},
    message::{Answer, Durations, ItemEntry},
};
use tokio::sync::broadcast::error::RecvError;

use super::{
    report::{Report, claim_everything},
    swarm::{Participant, Swarm},
};
use crate::{
    dataset::{
        build::build,
        digits,
        spec::{Decimal, TaskSpec},
    },
    people::{Kind, Person},
};

/// What the demonstration shows.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Of keys, items and people.
    pub seed: u64,
    /// Labelers, at least 16.
    pub labelers: usize,
    /// Items, at most 1,797.
    pub items: usize,
    /// Stay up after the report, for a look around.
    pub keep_running: bool,
    /// One JSON document on standard output instead of tables.
    pub json: bool,
}

/// Part of the items whose answer the client knows: one in this many.
const GOLD_EVERY: usize = 10;
/// Longest wait for the end of the task.
const LIMIT: Duration = Duration::from_secs(240);

/// The people of a demonstration: most careful, some tired, three spammers, a ring of three.
fn population(labelers: usize, seed: u64) -> Vec<Person> {
    let bad = [
        Kind::Spammer,
        Kind::Spammer,
        Kind::Constant,
        Kind::Ring(1),
        Kind::Ring(1),
        Kind::Ring(1),
    ];
    let good = labelers.saturating_sub(bad.len());
    (0..good)
        .map(|i| {
            if i % 3 == 2 {
                Kind::Tired
            } else {
                Kind::Careful
            }
        })
        .chain(bad)
        .zip(0u64..)
        // A ring has one mind.
        .map(|(kind, i)| Person {
            kind,
            seed: if matches!(kind, Kind::Ring(_)) {
                seed
            } else {
                seed ^ (i << 32 | i)
            },
        })
        .collect()
}

/// Runs the demonstration; answers with the invariants that did not hold, none when all is well.
///
/// # Errors
/// When something did not work at all.
pub async fn run(options: DemoOptions) -> anyhow::Result<Vec<String>> {
    ensure!(
        options.labelers >= 16,
        "--labelers must be at least 16: ten honest people, three spammers, a ring of three"
    );
    let most = digits::load().len();
    ensure!(
        options.items >= 20 && options.items <= most,
        "--items must be between 20 and {}",
        most
    );
    let say = |text: &str| {
        if !options.json {
            eprintln!("* {text}");
        }
    };
    let seed = hash("assay/1/demo", &[&options.seed.to_be_bytes()]).0;
    let dir = std::env::temp_dir().join(format!(
        "assay-demo-{}-{}",
        options.seed,
        std::process::id()
    ));
    say(
        "Everything runs in this process on loopback; the chain is a development chain, its tokens have no value.",
    );
    say(
        "The labelers are models of people (careful, tired, spamming, a ring that copies); the images and their truth are real.",
    );
    let mut swarm = Swarm::start(dir, &seed, options.labelers, say).await?;

    let people = population(options.labelers, options.seed);
    let gold = options.items / GOLD_EVERY;
    let items = digits::items(options.items, gold, &seed);
    let spec = spec();
    let profile = swarm.devnet.profile().clone();
    let built = build(
        &spec,
        items,
        &seed,
        swarm.client.account,
        &profile.id(),
        &profile.params,
    )?;
    let truth: Vec<u16> = truth_of(&built.index)?;
    let shared = Arc::new(Task {
        truth: truth.clone(),
    });
    let workers: Vec<_> = swarm
        .labelers
        .iter()
        .cloned()
        .zip(people.clone())
        .map(|(p, person)| tokio::spawn(work(p, person, shared.clone())))
        .collect();

    say(&format!(
        "publishing {} images, {} of them gold",
        options.items, gold
    ));
    let notices = swarm.client.node.subscribe();
    let phases = swarm.client.node.subscribe();
    let task = swarm
        .client
        .node
        .publish(built.manifest.clone(), built.gold, built.shards)
        .await?;
    Swarm::wait_for(
        &swarm.client.node,
        notices,
        Duration::from_secs(60),
        "custody of the images",
        |n| matches!(n, Notice::InCustody { .. }),
    )
    .await?;
    swarm.lap("published, a quorum holds the images");
    say("a quorum of the committee holds the images; the escrow is being funded");
    follow(&mut swarm, phases, task, &say).await?;
    let outcome = swarm.finish(task, LIMIT).await?;
    for worker in workers {
        worker.abort();
    }
    swarm.lap("settled, every node agrees");

    say("claiming every payout on chain, from one relayer's proofs");
    let claims = claim_everything(&swarm).await?;
    swarm.lap("all claims paid");
    let kinds: BTreeMap<Account, Kind> = swarm
        .labelers
        .iter()
        .map(|p| p.account)
        .zip(people.iter().map(|p| p.kind))
        .collect();
    let report = Report::new(
        &swarm,
        &built.manifest,
        &outcome,
        &truth,
        &kinds,
        &claims,
        options.seed,
    )
    .await?;
    if options.json {
        println!("{}", serde_json::to_string(&report.to_json())?);
    } else {
        report.print();
    }
    let broken = report.broken();
    if options.keep_running {
        eprintln!(
            "* the network keeps running; its profile is {}",
            swarm.devnet.profile_path().display()
        );
        eprintln!("* press Ctrl-C to stop");
        tokio::signal::ctrl_c().await?;
    }
    swarm.shutdown().await;
    Ok(broken)
}

fn spec() -> TaskSpec {
    let mut spec = TaskSpec::new(
        "Which digit is this?",
        digits::labels(),
        Decimal("0.01".into()),
        "CC-BY-4.0",
    );
    spec.guideline.insert(
        "en".into(),
        "Choose the digit that the picture shows.".into(),
    );
    spec.k = 3;
    spec.k_max = Some(5);
    spec.labelers_min = Some(10);
    spec.durations = Durations {
        enrol_secs: 5,
        commit_secs: 20,
        reveal_secs: 20,
        gold_secs: 20,
    };
    spec
}

fn truth_of(index: &[ItemEntry]) -> anyhow::Result<Vec<u16>> {
    let digits = digits::load();
    index
        .iter()
        .map(|e| {
            let place =
                digits::place(&e.name).context("an item of the demonstration is not in its set")?;
            Ok(u16::from(
                digits
                    .get(place)
                    .context("an item of the demonstration is not in its set")?
                    .class,
            ))
        })
        .collect()
}

struct Task {
    truth: Vec<u16>,
}

/// A person at a node: enrols when a task opens, looks at each picture that the swarm delivers, answers.
async fn work(p: Participant, person: Person, task: Arc<Task>) -> anyhow::Result<()> {
    let mut notices = p.node.subscribe();
    loop {
        match notices.recv().await {
            Ok(Notice::Phase {
                task: id,
                phase: "enrolling",
                ..
            }) => {
                p.node
                    .command(Command::Enrol {
                        task: id,
                        capacity: 100_000,
                    })
                    .await?;
            }
            Ok(Notice::Assigned {
                task: id,
                wave,
                items,
                ..
            }) => {
                let index = p.node.item_index(id).await?;
                let mut answers = Vec::with_capacity(items.len());
                for item in items {
                    let entry = index
                        .get(item as usize)
                        .context("an assigned item is not in the index")?;
                    let picture = p.node.item(id, entry).await?;
                    let truth = task.truth.get(item as usize).copied();
                    answers.push(Answer(
                        item,
                        person.answer(entry.name.as_bytes(), &picture, truth, 10),
                    ));
                }
                p.node
                    .command(Command::Answer {
                        task: id,
                        wave,
                        answers,
                    })
                    .await?;
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

/// Shows the phases as they come, with the seconds of each.
async fn follow(
    swarm: &mut Swarm,
    mut phases: tokio::sync::broadcast::Receiver<Notice>,
    task: TaskId,
    say: &impl Fn(&str),
) -> anyhow::Result<()> {
    let bar = indicatif::ProgressBar::new_spinner();
    let followed = async {
        loop {
            match phases.recv().await {
                Ok(Notice::Phase {
                    task: t,
                    phase,
                    wave,
                }) if t == task => {
                    let what = wave
                        .map_or_else(|| phase.to_owned(), |w| format!("{phase} (wave {})", w + 1));
                    bar.suspend(|| say(&what));
                    swarm.lap(lap_name(phase, wave));
                    bar.set_message(what);
                }
                Ok(Notice::Anchored { header, signers }) => {
                    bar.suspend(|| {
                        say(&format!(
                            "  epoch {} anchored with {signers} signatures",
                            header.epoch
                        ))
                    });
                }
                Ok(Notice::Finished { .. }) => return Ok(()),
                Ok(Notice::Alarm { text }) => anyhow::bail!("alarm: {text}"),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => anyhow::bail!("the client's node stopped"),
            }
            bar.tick();
        }
    };
    let result = tokio::time::timeout(LIMIT, followed)
        .await
        .context("the task did not end in time");
    bar.finish_and_clear();
    result?
}

/// The lap that ends when this phase begins.
fn lap_name(phase: &str, wave: Option<u8>) -> &'static str {
    match (phase, wave) {
        ("enrolling", _) => "escrow funded, task opened",
        ("drawing", Some(0)) => "enrolment",
        ("labeling", Some(0)) => "wave 1: assignment drawn by the beacon",
        ("revealing", Some(0)) => "wave 1: labelled and committed",
        ("opening-gold", Some(0)) => "wave 1: revealed",
        ("drawing", _) => "gold opened, wave scored",
        ("labeling", _) => "next wave: assignment drawn by the beacon",
        ("revealing", _) => "next wave: labelled and committed",
        ("opening-gold", _) => "next wave: revealed",
        _ => "other",
    }
}
