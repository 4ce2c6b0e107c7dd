//! Whole tasks over real processes, with `kill -9` in the middle.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use assay_tests::{Network, Process, eventually};
use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_assay-under-test");
pub(crate) const LIMIT: Duration = Duration::from_secs(240);
const ITEMS: usize = 24;

/// Items with three classes, a quarter of them gold, and the answers that a careful labeler gives.
pub(crate) fn write_items(dir: &Path) -> (String, String) {
    let (mut items, mut answers) = (String::new(), String::from("item,label\n"));
    for i in 0..ITEMS {
        let label = ["red", "green", "blue"][i % 3];
        let gold = if i % 4 == 0 {
            format!(r#","gold":"{label}""#)
        } else {
            String::new()
        };
        items += &format!("{{\"id\":\"item-{i}\",\"text\":\"thing {i} is {label}\"{gold}}}\n");
        answers += &format!("item-{i},{label}\n");
    }
    let (items_path, answers_path) = (dir.join("items.jsonl"), dir.join("answers.csv"));
    std::fs::write(&items_path, items).unwrap();
    std::fs::write(&answers_path, answers).unwrap();
    (
        items_path.display().to_string(),
        answers_path.display().to_string(),
    )
}

/// Publishes, waits until the escrow is funded and the task open, and gives its id.
pub(crate) fn publish(client: &Process, items: &str) -> String {
    client
        .ask(&[
            "publish",
            items,
            "--title",
            "Which colour?",
            "--labels",
            "red,green,blue",
            "--price",
            "0.5",
            "--licence",
            "CC0-1.0",
            "--labelers-min",
            "3",
            "--labelers-max",
            "4",
            "--enrol",
            "20s",
            "--commit",
            "60s",
            "--reveal",
            "30s",
            "--gold-time",
            "10s",
            "--wait",
        ])
        .unwrap();
    let tasks = client.ask(&["task", "list"]).unwrap();
    let list = tasks
        .as_array()
        .or_else(|| tasks["tasks"].as_array())
        .unwrap();
    list[0]["id"].as_str().unwrap().to_owned()
}

fn show(node: &Process, task: &str) -> Option<Value> {
    node.ask(&["task", "show", task]).ok()
}

pub(crate) fn outcome(node: &Process, task: &str) -> Option<Value> {
    show(node, task)
        .map(|v| v["outcome"].clone())
        .filter(|o| !o.is_null())
}

/// People at their terminals: whoever's program ended goes on while the task is not over.
pub(crate) struct Workers(pub BTreeMap<usize, Child>);

impl Workers {
    pub fn keep_working(&mut self, labelers: &[Process], task: &str, answers: &str) {
        for (i, labeler) in labelers.iter().enumerate() {
            let running = self
                .0
                .get_mut(&i)
                .is_some_and(|c| c.try_wait().is_ok_and(|s| s.is_none()));
            if !running
                && let Ok(child) = labeler.spawn("work", &["work", task, "--answers", answers])
            {
                self.0.insert(i, child);
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for child in self.0.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether a claim paid: refused, or nothing due, is no.
fn paid_something(node: &Process, claim: &[&str]) -> bool {
    match node.ask(claim) {
        Ok(done) => {
            println!("{} claimed: {done}", node.name);
            done["paid"].as_array().is_some_and(|paid| !paid.is_empty())
        }
        Err(why) => {
            println!("{} was not paid: {why}", node.name);
            false
        }
    }
}

/// Claims until the chain has paid all that is owed, then once more, in vain. A claim that the chain has not taken yet stays in the
/// node's outbox, so the first answer may be an error.
fn assert_paid_once(node: &Process) {
    paid_something(node, &["claim"]);
    let mut account = Value::Null;
    let paid = eventually(
        &format!("{} is paid", node.name),
        Duration::from_secs(60),
        || {
            account = node.ask(&["status"]).ok()?["account"].clone();
            (account["owed"] != "0" && account["paid"] == account["owed"]).then_some(())
        },
    );
    assert!(paid.is_ok(), "{paid:?}: {account}");
    assert!(
        !paid_something(node, &["claim"]),
        "a second claim must not pay"
    );
}

/// The deposit and the gold bond went where the outcome says, in the outcome, on chain and in the ledger twin.
fn assert_conserved(net: &Network, outcome: &Value) {
    let amount = |name: &str| {
        outcome["money"][name]
            .as_str()
            .unwrap()
            .parse::<u128>()
            .unwrap()
    };
    let locked = amount("deposit") + amount("gold_bond");
    let spent = amount("paid") + amount("fees") + amount("bond_shares") + amount("refund");
    assert_eq!(locked, spent, "{outcome}");
    let audit = net.audit().unwrap();
    println!("{audit:?}");
    assert_eq!(audit.totals.released.0, locked);
}

#[test]
fn any_process_may_be_killed_in_any_phase_and_the_task_settles_with_everybody_paid() {
    let mut net = Network::start(Path::new(PROGRAM), 4, 4).unwrap();
    let (items, answers) = write_items(net.dir.path());
    let task = publish(&net.client, &items);
    let mut workers = Workers(BTreeMap::new());
    let mut killed: Vec<String> = Vec::new();
    let begun = Instant::now();
    // One validator is never killed here, to look from; every other node in turn, a new one in each phase and wave.
    let mut next = 0;
    while outcome(&net.validators[3], &task).is_none() {
        assert!(
            begun.elapsed() < LIMIT,
            "the task did not settle; killed so far: {killed:?}"
        );
        workers.keep_working(&net.labelers, &task, &answers);
        let phase = show(&net.validators[3], &task).map_or_else(String::new, |v| {
            format!("{} {}", v["task"]["state"], v["task"]["wave"])
        });
        if !phase.is_empty() && !killed.iter().any(|k| k.starts_with(&phase)) {
            let victim = match next % 8 {
                v @ 0..=2 => &mut net.validators[v],
                3 => &mut net.client,
                l => &mut net.labelers[l - 4],
            };
            next += 3;
            victim.kill();
            let back = victim.start().unwrap();
            println!("killed {} in {phase}: back after {back:?}", victim.name);
            killed.push(format!("{phase}: {}", victim.name));
        }
    }
    assert!(killed.len() >= 5, "phases seen: {killed:?}");
    let result = outcome(&net.validators[3], &task).unwrap();
    assert!(result["cancelled"].is_null(), "{result}");
    for labeler in result["labelers"].as_array().unwrap() {
        assert_eq!(labeler["lost"], "0", "{labeler}");
        assert_ne!(labeler["earned"], "0", "{labeler}");
    }
    for node in net
        .validators
        .iter()
        .chain([&net.client])
        .chain(&net.labelers)
    {
        let same =
            eventually(&node.name, Duration::from_secs(60), || outcome(node, &task)).unwrap();
        assert_eq!(same["items"], result["items"], "{}", node.name);
        assert_eq!(same["money"], result["money"], "{}", node.name);
    }
    // Paid once, and only once.
    assert_paid_once(&net.labelers[0]);
    assert_conserved(&net, &result);
}

#[test]
fn the_client_may_die_for_good_after_funding_and_claims_work_with_every_node_dead() {
    let mut net = Network::start(Path::new(PROGRAM), 3, 4).unwrap();
    let (items, answers) = write_items(net.dir.path());
    let task = publish(&net.client, &items);
    net.client.kill();
    let mut workers = Workers(BTreeMap::new());
    let result = eventually("settled without the client", LIMIT, || {
        workers.keep_working(&net.labelers, &task, &answers);
        outcome(&net.validators[0], &task)
    })
    .unwrap();
    drop(workers);
    assert_ne!(
        result["money"]["bond_shares"], "0",
        "withheld gold goes to the labelers: {result}"
    );
    assert!(
        result["labelers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|l| l["earned"] != "0" && l["lost"] == "0")
    );

    let proof = net.dir.path().join("proof.json").display().to_string();
    eventually(
        "the labeler's own node has the proof",
        Duration::from_secs(60),
        || net.labelers[1].ask(&["claim", "--export", &proof]).ok(),
    )
    .unwrap();
    for node in net.validators.iter_mut().chain(&mut net.labelers) {
        node.kill();
    }
    // Any account with gas may bring the proof.
    let key = net.validators[0]
        .dir
        .join("keys")
        .join("evm.key")
        .display()
        .to_string();
    let claim = [
        "claim",
        "--proof",
        proof.as_str(),
        "--key-file",
        key.as_str(),
    ];
    assert!(paid_something(&net.labelers[1], &claim));
    assert!(
        !paid_something(&net.labelers[1], &claim),
        "a second claim must not pay"
    );
    assert_conserved(&net, &result);
}

#[test]
fn the_chain_may_die_in_every_phase_and_nothing_is_lost_or_doubled() {
    let mut net = Network::start(Path::new(PROGRAM), 3, 3).unwrap();
    let (items, answers) = write_items(net.dir.path());
    let task = publish(&net.client, &items);
    let mut workers = Workers(BTreeMap::new());
    let mut outages: Vec<String> = Vec::new();
    let begun = Instant::now();
    while outcome(&net.validators[0], &task).is_none() {
        assert!(begun.elapsed() < LIMIT, "not settled; outages: {outages:?}");
        workers.keep_working(&net.labelers, &task, &answers);
        let phase = show(&net.validators[0], &task).map_or_else(String::new, |v| {
            format!("{} {}", v["task"]["state"], v["task"]["wave"])
        });
        if phase.is_empty() || outages.contains(&phase) {
            continue;
        }
        net.devnet.kill();
        // One node even starts while there is no chain.
        let late = outages.len() % net.labelers.len();
        net.labelers[late].kill();
        net.labelers[late].start().unwrap();
        for node in [&net.validators[0], &net.client, &net.labelers[late]] {
            eventually(
                &format!("{} says that the chain is away", node.name),
                Duration::from_secs(60),
                || {
                    let status = node.ask(&["status"]).ok()?;
                    status["chain"]["error"].is_string().then_some(())
                },
            )
            .unwrap();
        }
        net.restart_chain().unwrap();
        eventually(
            "the chain is back and everybody follows it",
            Duration::from_secs(60),
            || {
                let mut nodes = net.validators.iter().chain(&net.labelers);
                nodes
                    .all(|node| {
                        node.ask(&["status"])
                            .is_ok_and(|status| status["chain"]["error"].is_null())
                    })
                    .then_some(())
            },
        )
        .unwrap();
        outages.push(phase);
    }
    println!("outages in {outages:?}");
    assert!(outages.len() >= 5, "phases seen: {outages:?}");
    let result = outcome(&net.validators[0], &task).unwrap();
    assert!(result["cancelled"].is_null(), "{result}");
    for labeler in result["labelers"].as_array().unwrap() {
        assert_eq!(labeler["lost"], "0", "{labeler}");
        assert_ne!(labeler["earned"], "0", "{labeler}");
    }
    for labeler in &net.labelers {
        eventually(&labeler.name, Duration::from_secs(60), || {
            outcome(labeler, &task)
        })
        .unwrap();
        assert_paid_once(labeler);
    }
    assert_conserved(&net, &result);
}

#[test]
fn a_node_that_starts_while_first_contact_and_chain_are_away_finds_the_nodes_it_met_before() {
    let mut net = Network::start(Path::new(PROGRAM), 3, 1).unwrap();
    let neighbours = |node: &Process| {
        let status = node.ask(&["status"]).ok()?;
        let peers = status["peers"].as_array()?;
        Some(peers.iter().filter(|p| p["node"] == true).count())
    };
    eventually("somebody is met", Duration::from_secs(60), || {
        neighbours(&net.labelers[0]).filter(|n| *n > 0)
    })
    .unwrap();
    net.devnet.kill();
    net.labelers[0].kill();
    net.labelers[0].start().unwrap();
    eventually("somebody is met again", Duration::from_secs(60), || {
        neighbours(&net.labelers[0]).filter(|n| *n > 0)
    })
    .unwrap();
}

#[test]
fn a_data_directory_in_use_is_refused_with_what_to_do() {
    let net = Network::start(Path::new(PROGRAM), 1, 0).unwrap();
    let (code, why) = net.client.fail(&["run"]).unwrap();
    assert_eq!(code, Some(8), "{why}");
    assert!(why.contains("in use"), "{why}");
    let (code, why) = net
        .client
        .fail(&[
            "publish",
            "nowhere.jsonl",
            "--title",
            "t",
            "--labels",
            "a,b",
            "--price",
            "1",
            "--licence",
            "CC0-1.0",
        ])
        .unwrap();
    assert_ne!(code, Some(0));
    assert!(why.contains("nowhere.jsonl"), "{why}");
}
