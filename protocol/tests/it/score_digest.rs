//! One score on every platform: the digests over made-up crowds of every kind are the published ones, in debug and release builds, on
//! every target that runs these tests. `vectors/score_digest.txt` is the output of `--example score_digest`.

#[path = "../../examples/score_digest/crowds/mod.rs"]
mod crowds;
#[path = "../../examples/score_digest/digest.rs"]
mod digest;

const PUBLISHED: &str = include_str!("../../vectors/score_digest.txt");

#[test]
fn scores_are_the_ones_that_every_other_machine_gets() {
    assert_eq!(digest::report(digest::SMALL_CROWDS, 1, 0), PUBLISHED);
}

#[test]
fn other_orders_of_the_votes_on_two_and_eight_threads_at_once_change_no_score() {
    for (threads, order) in [(2, 20), (8, 3)] {
        assert_eq!(
            digest::report(digest::SMALL_CROWDS, threads, order),
            PUBLISHED,
            "{threads} threads"
        );
    }
}
