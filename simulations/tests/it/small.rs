//! A small network for tests: twenty peers, seconds of processor time.

use assay_protocol::task::Reason;
use assay_simulations::{
    checks,
    evidence::Evidence,
    scenario::Scenario,
    sim::{Options, Simulation},
};

/// Twenty peers: four validators, a client, fifteen labelers; loss, duplicates, churn and slow disks.
pub const SMALL: &str = r#"
name = "small"
deadline_ms = 400_000

[network]
jitter_ms = 30
loss_ppm = 5_000
duplicate_ppm = 10_000
mesh_degree = 4
shard_failure_ppm = 200_000

[disk]
write_ms = 4
crash_in_write_ppm = 500_000
lose_last_write_ppm = 500_000

[checks]
# Thirty-two items without gold.
accuracy_luck = 2

[[population]]
name = "validator"
role = "validator"
count = 4
churn = { up_ms = 90_000, down_ms = 4_000 }

[[population]]
name = "client"
role = "client"
count = 1
churn = { up_ms = 60_000, down_ms = 4_000 }

[[population]]
name = "careful"
role = "labeler"
count = 10
accuracy_ppm = [850_000, 950_000]
churn = { up_ms = 60_000, down_ms = 4_000 }

[[population]]
name = "spammer"
role = "labeler"
count = 3
skill = "uniform"
must_not_profit = true

[[population]]
name = "withholder"
role = "labeler"
count = 1
actor = "withholder"
must_not_profit = true

[[population]]
name = "forger"
role = "labeler"
count = 1
actor = "forger"

[[task]]
title = "small task"
items = 40
classes = 4
waves = 2
k = 3
k_max = 5
gold_ppm = 200_000
labelers_max = 15
enrol_secs = 20
commit_secs = 60
reveal_secs = 20
"#;

pub fn scenario(text: &str) -> Scenario {
    Scenario::parse("test.toml", text).expect("the test's scenario is valid")
}

pub fn run(scenario: &Scenario, seed: u64) -> Evidence {
    Simulation::new(
        scenario,
        Options {
            seed: Some(seed),
            trace: None,
        },
    )
    .run()
    .expect("no trace file, no error")
}

pub fn run_small(seed: u64) -> Evidence {
    run(&scenario(SMALL), seed)
}

/// Names of the checks that failed.
pub fn failed(evidence: &Evidence) -> Vec<&'static str> {
    checks::all(evidence)
        .into_iter()
        .filter(|c| !c.passed)
        .map(|c| c.name)
        .collect()
}

#[test]
fn twenty_peers_with_loss_churn_and_attackers_pass_every_check() {
    for seed in 1..=3 {
        let evidence = run_small(seed);
        let broken: Vec<_> = checks::all(&evidence)
            .into_iter()
            .filter(|c| !c.passed)
            .collect();
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
        assert_eq!(evidence.nodes.len(), 20);
        let outcome = evidence
            .outcome_of(&evidence.tasks[0])
            .expect("checked above");
        assert_eq!(outcome.cancelled, None, "seed {seed}");
        assert!(
            outcome.votes.len() >= 40 * 2,
            "seed {seed}: {} votes",
            outcome.votes.len()
        );
        assert!(
            evidence.crashes > 0 && evidence.traffic.lost > 0 && evidence.traffic.duplicated > 0,
            "the faults happened"
        );
        let forger = evidence
            .nodes
            .iter()
            .find(|n| n.name == "forger-0")
            .expect("it takes part");
        assert!(
            forger.penalty_points >= 10,
            "forged signatures are penalised heavily"
        );
    }
}

#[test]
fn a_withholder_loses_and_its_honest_twin_does_not() {
    let net = |text: &str| {
        let evidence = run(&scenario(text), 5);
        let account = evidence
            .nodes
            .iter()
            .find(|n| n.name == "withholder-0")
            .expect("it takes part")
            .account;
        let outcome = evidence
            .outcome_of(&evidence.tasks[0])
            .expect("the task ends")
            .clone();
        let labeler = outcome
            .labelers
            .iter()
            .find(|l| l.account == account)
            .expect("it enrolled")
            .clone();
        (labeler.votes, labeler.earned.0, labeler.lost.0)
    };
    let (votes, earned, lost) = net(SMALL);
    assert_eq!((votes, earned), (0, 0));
    assert!(lost > 0, "withholding costs");
    let (votes, _, lost) = net(&SMALL.replace("actor = \"withholder\"", "actor = \"honest\""));
    assert!(votes > 0);
    assert_eq!(lost, 0, "revealing the same answers costs nothing");
}

#[test]
fn a_client_that_withholds_its_gold_pays_its_bond_to_the_labelers() {
    let text = SMALL.replace(
        "name = \"client\"",
        "name = \"client\"\nactor = \"gold-withholder\"",
    );
    let evidence = run(&scenario(&text), 2);
    let outcome = evidence
        .outcome_of(&evidence.tasks[0])
        .expect("the task ends");
    assert!(outcome.money.bond_shares.0 > 0, "{:?}", outcome.money);
    assert!(outcome.money.is_conserved());
}

#[test]
fn a_mute_or_lying_validator_of_four_stops_nothing() {
    for actor in ["mute", "liar"] {
        let bad = format!(
            "count = 3\n[[population]]\nname = \"bad\"\nrole = \"validator\"\ncount = 1\nactor = \"{actor}\"\n"
        );
        // All three honest members are needed now, so they stay up.
        let text = SMALL.replacen(
            "count = 4\nchurn = { up_ms = 90_000, down_ms = 4_000 }\n",
            &bad,
            1,
        );
        let evidence = run(&scenario(&text), 4);
        assert_eq!(failed(&evidence), Vec::<&str>::new(), "{actor}");
    }
}

#[test]
fn a_two_faced_validator_of_four_stops_nothing_and_loses_its_seat() {
    let bad = "count = 3\n[[population]]\nname = \"bad\"\nrole = \"validator\"\ncount = 1\nactor = \"two-faced\"\n";
    let text = SMALL.replacen(
        "count = 4\nchurn = { up_ms = 90_000, down_ms = 4_000 }\n",
        bad,
        1,
    );
    let evidence = run(&scenario(&text), 4);
    assert_eq!(failed(&evidence), Vec::<&str>::new());
    assert!(
        evidence.calls_done.contains_key("prove-equivocation"),
        "{:?}",
        evidence.calls_done
    );
}

#[test]
fn an_equivocator_never_closes_the_reveal_phase_on_an_honest_labeler() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/equivocator-race.toml");
    let scenario = Scenario::load(&path).expect("it is shipped, so it must load");
    for seed in [2, 4, 16, 17, 28, 29] {
        let evidence = run(&scenario, seed);
        let outcome = evidence
            .outcome_of(&evidence.tasks[0])
            .expect("the task ends");
        for node in evidence
            .nodes
            .iter()
            .filter(|n| n.name.starts_with("careful"))
        {
            let place = outcome
                .labelers
                .iter()
                .find(|l| l.account == node.account)
                .expect("everybody enrolled");
            assert_ne!(
                place.reason,
                Reason::Unrevealed,
                "seed {seed}: {} revealed before the deadline",
                node.name
            );
        }
    }
}
