//! One seed, one digest.

use assay_simulations::sim::{Options, Simulation};

use crate::small::{SMALL, run, run_small, scenario};

#[test]
fn the_same_seed_twice_gives_one_digest_and_another_seed_another() {
    let (first, second, other) = (run_small(1), run_small(1), run_small(2));
    assert_eq!(first.digest, second.digest);
    assert_eq!(first.trace_entries, second.trace_entries);
    assert_ne!(first.digest, other.digest);
}

#[test]
fn a_run_is_the_same_whether_or_not_a_trace_is_written() {
    let plain = run_small(3);
    let traced = Simulation::new(
        &scenario(SMALL),
        Options {
            seed: Some(3),
            trace: Some(Box::new(std::io::sink())),
        },
    )
    .run()
    .expect("a sink takes everything");
    assert_eq!(plain.digest, traced.digest);
}

#[test]
fn one_changed_answer_of_one_labeler_changes_the_digest() {
    let base = run_small(1);
    let outcome = base.outcome_of(&base.tasks[0]).expect("the task ends");
    // A vote that was really cast, so that the change is felt.
    let node = base
        .nodes
        .iter()
        .find(|n| n.name == "careful-3")
        .expect("there are ten");
    let index = outcome
        .labelers
        .binary_search_by(|l| l.account.cmp(&node.account))
        .expect("it enrolled") as u32;
    let (item, _, label) = *outcome
        .votes
        .iter()
        .find(|v| v.1 == index)
        .expect("it voted");
    let mutated = format!(
        "{SMALL}\n[[answer_override]]\nlabeler = \"careful-3\"\nitem = {item}\nlabel = {}\n",
        (label + 1) % 4
    );
    let other = run(&scenario(&mutated), 1);
    assert_ne!(base.digest, other.digest);
    let same = format!(
        "{SMALL}\n[[answer_override]]\nlabeler = \"careful-3\"\nitem = {item}\nlabel = {label}\n"
    );
    assert_eq!(
        base.digest,
        run(&scenario(&same), 1).digest,
        "fixing the answer it gives anyway changes nothing"
    );
}
