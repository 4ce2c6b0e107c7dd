//! What a settled task leaves behind: a bonus, a data set with income, evidence for a reputation. From the command line, over real processes.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use assay_tests::{Network, Process, eventually};
use serde_json::Value;

use crate::processes::{LIMIT, PROGRAM, Workers, outcome, publish, write_items};

fn units(value: &Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

/// Who was paid how much by a claim.
fn paid(done: &Value) -> BTreeMap<String, u128> {
    assert!(done["failed"].is_null(), "{done}");
    let lines = done["paid"].as_array().unwrap().iter();
    lines
        .map(|l| (l["payee"].as_str().unwrap().to_owned(), units(&l["amount"])))
        .collect()
}

fn refusal(node: &Process, args: &[&str]) -> String {
    let (exit, text) = node.fail(args).unwrap();
    assert_ne!(exit, Some(0), "{text}");
    text
}

#[test]
fn a_bonus_a_data_set_and_a_reputation_of_a_settled_task_serve_those_who_labelled() {
    let net = Network::start(Path::new(PROGRAM), 1, 3).unwrap();
    let (items, answers) = write_items(net.dir.path());
    let task = publish(&net.client, &items);
    let licence = net.dir.path().join("licence.txt");
    std::fs::write(&licence, "Anybody may use this, and says where it is from.").unwrap();
    let licence = licence.display().to_string();

    // Thirty tokens beside the reward; nothing of them moves, and no data set exists, before the task is settled.
    let (client, ann, bob) = (&net.client, &net.labelers[0], &net.labelers[1]);
    let locked = client.ask(&["bonus", "lock", &task, "30"]).unwrap();
    assert_eq!(units(&locked["received"]), 30_000_000);
    let early = refusal(ann, &["bonus", "claim", &task]);
    assert!(
        early.contains("settled") || early.contains("finished"),
        "{early}"
    );
    refusal(
        client,
        &["dataset", "publish", &task, "--licence-text", &licence],
    );

    let mut workers = Workers(BTreeMap::new());
    let begun = Instant::now();
    // Everyone who is asked below: nodes hear of the end one after another.
    while [client, ann, bob]
        .iter()
        .any(|n| outcome(n, &task).is_none())
    {
        assert!(begun.elapsed() < LIMIT, "the task did not settle");
        workers.keep_working(&net.labelers, &task, &answers);
        std::thread::yield_now();
    }
    let result = outcome(ann, &task).unwrap();
    let earned: BTreeMap<String, u128> = result["labelers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| {
            (
                l["account"].as_str().unwrap().to_owned(),
                units(&l["earned"]),
            )
        })
        .collect();
    assert!(earned.values().all(|e| *e > 0), "{earned:?}");

    // Each labeler's part of the bonus goes with its pay; what labels could have earned beyond is the client's.
    let one = paid(&ann.ask(&["bonus", "claim", &task]).unwrap());
    assert_eq!(one.len(), 1);
    let mut all = paid(&bob.ask(&["bonus", "claim", &task, "--everyone"]).unwrap());
    assert!(
        one.keys().all(|payee| !all.contains_key(payee)),
        "nobody is paid twice"
    );
    all.extend(one);
    let labelers = || all.iter().filter(|(payee, _)| earned.contains_key(*payee));
    assert_eq!(labelers().count(), earned.len());
    for ((a, part_a), (b, part_b)) in labelers().zip(labelers().skip(1)) {
        let (x, y) = (part_a * earned[b], part_b * earned[a]);
        assert!(
            x.abs_diff(y) <= earned[a].max(earned[b]),
            "{all:?} for {earned:?}"
        );
    }
    let total: u128 = all.values().sum();
    assert!((30_000_000 - 10..=30_000_000).contains(&total), "{all:?}");
    assert!(paid(&bob.ask(&["bonus", "claim", &task, "--everyone"]).unwrap()).is_empty());

    // The data set: its labelers share the income as they shared the pay.
    let args = ["dataset", "publish", &task, "--licence-text", &licence];
    let published = client.ask(&args).unwrap();
    assert!(published["tx"].is_string(), "{published}");
    assert!(client.ask(&args).unwrap()["tx"].is_null(), "once");
    let seen = eventually("the data set", Duration::from_secs(30), || {
        let view = bob.ask(&["dataset", "show", &task]).ok()?;
        (view["versions"].as_array()?.len() == 1).then_some(view)
    })
    .unwrap();
    assert_eq!(seen["versions"][0]["matches_task"], true, "{seen}");
    assert_eq!(seen["versions"][0]["contributors"], 3, "{seen}");
    bob.ask(&["dataset", "pay", &task, "12"]).unwrap();
    let income = paid(&ann.ask(&["dataset", "claim", &task, "--everyone"]).unwrap());
    assert_eq!(
        income.keys().collect::<Vec<_>>(),
        earned.keys().collect::<Vec<_>>()
    );
    let total: u128 = income.values().sum();
    assert!((12_000_000 - 3..=12_000_000).contains(&total), "{income:?}");
    assert!(paid(&ann.ask(&["dataset", "claim", &task, "--everyone"]).unwrap()).is_empty());

    // The evidence stands under the newest header, and the contract confirms the proof.
    let shown = ann.ask(&["reputation", "show"]).unwrap();
    assert_eq!(shown["lanes"][0]["confirmed"], true, "{shown}");
    assert_eq!(shown["lanes"][0]["domain"], "class", "{shown}");
    assert_eq!(ann.ask(&["dispute"]).unwrap(), Value::Array(vec![]));
}
