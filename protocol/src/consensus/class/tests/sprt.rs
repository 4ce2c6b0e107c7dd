use super::super::{Decision, GoldTest};

/// 2^40 stands for probability one.
const ONE: u128 = 1 << 40;
/// Items after which an undecided test is given up: less than 2^-30 of the mass is left.
const ITEMS_MAX: usize = 2_000;

/// The exact distribution of the length of a test, by dynamic programming over the number of right answers: mean length in
/// thousandths, 95th percentile, and the share of acceptances in parts per million.
fn walk(classes: u16, able_ppm: u32, right_ppm: u128) -> (u128, usize, u128) {
    let fresh = GoldTest::new(classes, able_ppm).unwrap();
    // State: every way to stand after n answers is told by the number of right ones.
    let mut alive: Vec<(GoldTest, u128)> = vec![(fresh, ONE)];
    let (mut mean, mut ended, mut accepted, mut percentile) = (0, 0, 0, 0);
    for n in 1..=ITEMS_MAX {
        let mut next: Vec<(GoldTest, u128)> = Vec::new();
        for (test, mass) in alive {
            for (answer, share) in [(false, 1_000_000 - right_ppm), (true, right_ppm)] {
                let mut test = test;
                let mass = mass * share / 1_000_000;
                match test.answer(answer) {
                    Decision::Continue => match next.iter_mut().find(|slot| slot.0 == test) {
                        Some(slot) => slot.1 += mass,
                        None => next.push((test, mass)),
                    },
                    decision => {
                        mean += mass * n as u128;
                        ended += mass;
                        accepted += if decision == Decision::Accept {
                            mass
                        } else {
                            0
                        };
                    }
                }
            }
        }
        if percentile == 0 && ended * 100 >= ONE * 95 {
            percentile = n;
        }
        alive = next;
    }
    assert!(ended > ONE - (1 << 20), "{ended}");
    (mean * 1_000 / ONE, percentile, accepted * 1_000_000 / ONE)
}

#[test]
fn the_lengths_and_errors_of_the_test_are_those_of_the_published_table() {
    // classes, able, then mean length in tenths and 95th percentile for a guesser and for an able labeler.
    let table = [
        (2, 800_000, (146, 37), (232, 49)),
        (2, 900_000, (69, 17), (123, 23)),
        (4, 750_000, (59, 15), (94, 19)),
        (4, 900_000, (34, 7), (53, 9)),
        (10, 800_000, (27, 7), (39, 8)),
    ];
    for (classes, able, guesser_says, able_says) in table {
        let guesser = walk(classes, able, 1_000_000 / u128::from(classes));
        let worker = walk(classes, able, u128::from(able));
        println!("{classes} classes, able {able}: guesser {guesser:?}, able {worker:?}");
        for (found, said) in [(guesser, guesser_says), (worker, able_says)] {
            // Within a twentieth of an item plus 2 % for the mean, one item for the percentile.
            let mean = found.0 as i64 / 100;
            assert!(
                (mean - said.0).abs() * 100 <= 200 + 2 * said.0 * 10,
                "{found:?} {said:?}"
            );
            assert!(found.1.abs_diff(said.1) <= 2, "{found:?} {said:?}");
        }
        // Wald's bounds: at most beta / (1 - alpha) accepted guessers, alpha / (1 - beta) rejected able labelers.
        assert!(guesser.2 <= 10_527, "{guesser:?}");
        assert!(1_000_000 - worker.2 <= 50_506, "{worker:?}");
    }
}

#[test]
fn a_decision_stays_and_impossible_tests_are_refused() {
    for (classes, able) in [
        (0, 900_000),
        (1, 900_000),
        (2, 500_000),
        (2, 1_000_000),
        (10, 100_000),
        (2, 500_001),
    ] {
        assert_eq!(GoldTest::new(classes, able), None, "{classes} {able}");
    }
    let mut test = GoldTest::new(4, 900_000).unwrap();
    while test.answer(false) == Decision::Continue {}
    assert!((0..100).all(|_| test.answer(true) == Decision::Reject));
    assert_eq!(test.decision(), Decision::Reject);
    let (right, wrong) = test.steps();
    assert!(right > 0 && wrong < 0 && test.evidence_bits() < 0);
}
