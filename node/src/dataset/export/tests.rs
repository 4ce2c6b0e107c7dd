use super::*;
use assay_protocol::{
    amount::Amount,
    id::{Account, NetworkId},
    network::Params,
    task::{CancelReason, GoldState, LabelerOutcome, Money, Reason},
};
use tempfile::TempDir;

use crate::{
    dataset::{Built, SourceItem, TaskSpec, build},
    score::read_crowd,
};

const LABELS: [&str; 3] = ["cat", "dog, small", "\"-1\""];

/// A finished task of four items: agreed, split, gold, never answered.
fn finished() -> (Built, TaskOutcome) {
    let labels = LABELS.map(str::to_owned).to_vec();
    let mut spec = TaskSpec::new("t", labels, "0.05".into(), "CC0-1.0");
    spec.waves = Some(1);
    let item = |name: &str, gold| SourceItem {
        name: name.into(),
        media: "text/plain".into(),
        bytes: b"x".to_vec(),
        gold,
    };
    let items = vec![
        item("a.png", None),
        item("b,\"c\"", None),
        item("gold", Some(2)),
        item("\u{e9}", None),
    ];
    let mut built = build(
        &spec,
        items,
        &[1; 32],
        Account([3; 20]),
        &NetworkId([9; 32]),
        &Params::dev(),
    )
    .unwrap();
    // In name order, so that the golden files do not depend on how items are drawn.
    built.index.sort_by(|a, b| a.name.cmp(&b.name));
    built.manifest.items.index.hash.0 = *blake3::hash(&codec::encode(&built.index)).as_bytes();
    let labeler = |n: u8| LabelerOutcome {
        account: Account([n; 20]),
        votes: 3,
        gold_seen: 1,
        gold_right: 1,
        skill_ppm: 900_000,
        cluster: None,
        earned: Amount(1),
        lost: Amount::ZERO,
        reason: Reason::FullSkill,
    };
    let place = |name: &str| built.index.iter().position(|e| e.name == name).unwrap();
    let none = ItemOutcome {
        label: None,
        posterior_ppm: 333_333,
        votes: 0,
        majority: None,
        gold: false,
    };
    let mut outcome = TaskOutcome {
        task: built.manifest.id(),
        cancelled: None,
        items: vec![none; 4],
        labelers: vec![labeler(0x11), labeler(0x22), labeler(0xab)],
        votes: Vec::new(),
        waves: vec![GoldState::Counted { voided: 0 }],
        money: Money {
            deposit: Amount::ZERO,
            gold_bond: Amount::ZERO,
            paid: Amount::ZERO,
            fees: Amount::ZERO,
            bond_shares: Amount::ZERO,
            refund: Amount::ZERO,
        },
        score: None,
        bonus: None,
    };
    for (name, label, posterior_ppm, majority, gold, votes) in [
        ("a.png", 0, 999_987, Some(0), false, [0, 0, 0]),
        ("b,\"c\"", 1, 512_000, None, false, [1, 0, 2]),
        ("gold", 2, 1_000_000, Some(2), true, [2, 2, 1]),
    ] {
        let item = place(name);
        outcome.items[item] = ItemOutcome {
            label: Some(label),
            posterior_ppm,
            votes: 3,
            majority,
            gold,
        };
        // In another order than the files: the export sorts.
        outcome.votes.extend(
            (0..3u32)
                .zip(votes)
                .map(|(labeler, label)| (item as u32, labeler, label))
                .rev(),
        );
    }
    (built, outcome)
}

/// Compares with a committed file; the files are read by other programs, so a difference is a decision and not an accident.
fn check(format: Format, golden: &str, rows: u64) {
    let (built, outcome) = finished();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out");
    let export = Export::new(&built.manifest, &built.index, &outcome).unwrap();
    assert_eq!(export.write(format, &path).unwrap(), rows);
    assert_eq!(fs::read_to_string(&path).unwrap(), golden);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no temporary file stays"
    );
}

#[test]
fn jsonl_is_the_golden_file() {
    check(Format::Jsonl, include_str!("../golden/export.jsonl"), 4);
}

#[test]
fn votes_are_the_golden_file() {
    check(Format::VotesCsv, include_str!("../golden/votes.csv"), 9);
}

#[test]
fn results_are_the_golden_file() {
    check(Format::ResultsCsv, include_str!("../golden/results.csv"), 3);
}

#[test]
fn every_jsonl_line_is_json_with_all_votes() {
    let (built, outcome) = finished();
    let mut text = Vec::new();
    Export::new(&built.manifest, &built.index, &outcome)
        .unwrap()
        .render(Format::Jsonl, &mut text)
        .unwrap();
    let rows: Vec<serde_json::Value> = text
        .split(|&b| b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let row = rows.iter().find(|r| r["id"] == "b,\"c\"").unwrap();
    assert_eq!(row["label"], "dog, small");
    assert_eq!(row["posterior"], "0.512000");
    assert_eq!(row["majority"], serde_json::Value::Null);
    assert_eq!(
        row["answers"][2]["labeler"],
        format!("0x{}", "ab".repeat(20))
    );
    assert_eq!(row["answers"][2]["label"], "\"-1\"");
}

#[test]
fn exported_votes_and_results_are_read_back_as_crowd_data() {
    let (built, outcome) = finished();
    let export = Export::new(&built.manifest, &built.index, &outcome).unwrap();
    let folder = TempDir::new().unwrap();
    let file = |format, name: &str| {
        let mut bytes = Vec::new();
        export.render(format, &mut bytes).unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let votes = file(Format::VotesCsv, "votes.csv");
    let results = file(Format::ResultsCsv, "results.csv");
    let data = read_crowd(&votes, Some(&results)).unwrap();
    assert_eq!(
        (
            data.votes.len(),
            data.workers.len(),
            data.truth.len(),
            data.repeats
        ),
        (9, 3, 3, 0)
    );
}

#[test]
fn parts_of_different_tasks_are_refused() {
    let refused = |change: &dyn Fn(&mut Built, &mut TaskOutcome), part: &str| {
        let (mut built, mut outcome) = finished();
        change(&mut built, &mut outcome);
        let error = Export::new(&built.manifest, &built.index, &outcome)
            .expect_err("must be refused")
            .to_string();
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    };
    refused(&|_, o| o.task = TaskId([1; 32]), "another task");
    refused(
        &|_, o| o.cancelled = Some(CancelReason::TooFewLabelers),
        "cancelled",
    );
    refused(&|b, _| b.index[0].name.push('x'), "item index");
    refused(&|_, o| o.items.truncate(3), "different numbers");
    refused(&|_, o| o.items[0].label = Some(3), "outside the task");
    refused(&|_, o| o.votes.push((4, 0, 0)), "outside the task");
    refused(&|_, o| o.votes.push((0, 3, 0)), "outside the task");
    refused(&|_, o| o.votes.push((0, 0, 3)), "outside the task");
}

#[test]
fn a_failed_write_leaves_the_old_file_and_no_other() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.csv");
    fs::write(&path, "old").unwrap();
    let failure = write_whole(&path, |to| {
        to.write_all(b"half")?;
        Err(io::Error::other("disk full"))
    });
    assert_eq!(failure.unwrap_err().to_string(), "disk full");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let (built, outcome) = finished();
    let export = Export::new(&built.manifest, &built.index, &outcome).unwrap();
    let error = export
        .write(Format::Jsonl, &folder.path().join("no/such/out"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot write") && error.contains("permissions"),
        "{error}"
    );
}

#[test]
fn formats_have_names() {
    for (name, format) in Format::NAMES {
        assert_eq!(name.parse::<Format>().unwrap(), format);
    }
    assert!(
        "parquet"
            .parse::<Format>()
            .unwrap_err()
            .to_string()
            .contains("jsonl, votes-csv, results-csv")
    );
}
