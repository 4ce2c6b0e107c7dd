use std::collections::BTreeMap;

use crate::consensus::{PayRule, pay};

use super::super::{ClassInput, GoldPrior, Vote, infer_class};
use super::{Crowd, Habit, Plan, Rng};

/// Full pay of one vote, in base units: large enough that rounding does not matter.
const PRICE: u128 = 1_000_000;

/// Pay of a labeler in parts per million of full pay.
fn pay_ppm(votes: u32, skill_ppm: i64) -> i64 {
    let wage = pay(&PayRule::with_price(PRICE), u64::from(votes), skill_ppm);
    if votes == 0 {
        0
    } else {
        (wage.earned as i64 - wage.lost as i64) / i64::from(votes)
    }
}

#[test]
fn laziness_earns_nothing_at_any_class_skew() {
    let lazy = [
        Habit::Constant(0),
        Habit::Constant(1),
        Habit::Uniform,
        Habit::Frequencies,
    ];
    let habits = [vec![Habit::Right(88); 12], lazy.to_vec()].concat();
    let mut grand = [0i64; 4];
    let mut cells = 0;
    for classes in [2, 4, 10] {
        for majority_percent in [50, 75, 95] {
            for (votes, crowds) in [(5, 1_000u32), (20, 300), (100, 50)] {
                let mut sum = [0i64; 4];
                let mut honest = 0i64;
                for seed in 0..crowds {
                    let plan = Plan {
                        items: votes * 4,
                        classes,
                        redundancy: 4,
                        majority_percent,
                        gold_percent: 8,
                        habits: &habits,
                    };
                    let crowd =
                        Crowd::draw(&plan, &mut Rng(u64::from(seed) * 977 + u64::from(votes)));
                    let result = crowd.infer();
                    for (slot, labeler) in sum.iter_mut().zip(&result.labelers[12..]) {
                        *slot += pay_ppm(labeler.votes, labeler.skill_ppm);
                    }
                    honest += result.labelers[..12]
                        .iter()
                        .map(|l| pay_ppm(l.votes, l.skill_ppm))
                        .sum::<i64>()
                        / 12;
                }
                let mean = sum.map(|sum| sum / i64::from(crowds));
                let honest = honest / i64::from(crowds);
                println!(
                    "{classes:>2} classes, {majority_percent} % majority, {votes:>3} votes: {mean:?}, honest {honest}"
                );
                // Full pay is 1,000,000. The spread of lazy pay is about 0.56, 0.35 and 0.15 of it, so three standard errors are
                // below 65,000 in every cell; with five votes a bias of up to 27,000 was measured over 6,000 crowds.
                let allowed = if votes == 5 { 80_000 } else { 65_000 };
                assert!(mean.iter().all(|&mean| mean <= allowed), "{mean:?}");
                assert_eq!(
                    mean[..2],
                    [0, 0],
                    "constant answers earn nothing in any crowd"
                );
                if votes >= 20 && majority_percent <= 75 {
                    assert!(honest > 600_000, "honest pay {honest}");
                }
                cells += 1;
                grand
                    .iter_mut()
                    .zip(mean)
                    .for_each(|(slot, mean)| *slot += mean);
            }
        }
    }
    let grand = grand.map(|sum| sum / cells);
    println!("over all cells: {grand:?}");
    assert!(grand.iter().all(|&mean| mean <= 20_000), "{grand:?}");
}

#[test]
fn reputation_speaks_most_where_the_wave_says_least() {
    let habits = vec![Habit::Right(100); 6];
    let plan = Plan {
        items: 40,
        classes: 3,
        redundancy: 3,
        majority_percent: 100,
        gold_percent: 0,
        habits: &habits,
    };
    let crowd = Crowd::draw(&plan, &mut Rng(1));
    assert!(
        crowd
            .infer()
            .labelers
            .iter()
            .all(|labeler| labeler.skill_ppm.abs() < 1_000)
    );
    let mut priors = vec![GoldPrior::default(); 6];
    priors[2] = GoldPrior {
        alpha_milli: 95_000,
        beta_milli: 5_000,
    };
    let skewed = infer_class(&ClassInput {
        priors: &priors,
        ..crowd.input()
    })
    .unwrap();
    assert!(skewed.labelers[2].skill_ppm.abs() <= 1_000_000);
    assert!(skewed.labelers[1].skill_ppm.abs() < 1_000);
}

#[test]
fn a_good_record_cannot_carry_random_answers_to_full_pay() {
    let habits = [vec![Habit::Right(90); 9], vec![Habit::Uniform]].concat();
    let mut priors = vec![GoldPrior::default(); 10];
    priors[9] = GoldPrior {
        alpha_milli: u32::MAX,
        beta_milli: 0,
    };
    let (mut with, mut without) = (0, 0);
    for seed in 0..100 {
        let plan = Plan {
            items: 100,
            classes: 4,
            redundancy: 4,
            majority_percent: 25,
            gold_percent: 10,
            habits: &habits,
        };
        let crowd = Crowd::draw(&plan, &mut Rng(seed));
        without += crowd.infer().labelers[9].skill_ppm;
        let result = infer_class(&ClassInput {
            priors: &priors,
            ..crowd.input()
        })
        .unwrap();
        with += result.labelers[9].skill_ppm;
    }
    assert!(without.abs() / 100 < 40_000, "{without}");
    // At most one pseudo-vote for eight real ones.
    assert!(with > without && with / 100 < 160_000, "{with}");
}

#[test]
fn a_bad_record_lowers_skill_and_a_good_one_raises_it() {
    let habits = vec![Habit::Right(80); 8];
    let plan = Plan {
        items: 60,
        classes: 4,
        redundancy: 4,
        majority_percent: 25,
        gold_percent: 10,
        habits: &habits,
    };
    let crowd = Crowd::draw(&plan, &mut Rng(9));
    let skill = |prior: GoldPrior| {
        let priors = vec![prior; 8];
        infer_class(&ClassInput {
            priors: &priors,
            ..crowd.input()
        })
        .unwrap()
        .labelers[0]
            .skill_ppm
    };
    let bad = skill(GoldPrior {
        alpha_milli: 2_000,
        beta_milli: 8_000,
    });
    let good = skill(GoldPrior {
        alpha_milli: 10_000,
        beta_milli: 0,
    });
    let none = skill(GoldPrior::default());
    assert!(bad < none && none < good, "{bad} {none} {good}");
}

#[test]
fn on_gold_alone_the_skill_is_cohens_kappa() {
    // Ten gold items, five of each class; four right answers of each five: A = 0.8, E = 0.5, kappa = 0.6.
    let gold: BTreeMap<u32, u16> = (0..10).map(|item| (item, (item % 2) as u16)).collect();
    let votes: Vec<Vote> = (0..10)
        .map(|item| Vote {
            item,
            labeler: 0,
            label: (item % 2) as u16 ^ u16::from(item < 2),
        })
        .collect();
    let input = ClassInput {
        items: 10,
        labelers: 1,
        classes: 2,
        votes: &votes,
        gold: &gold,
        priors: &[],
    };
    let labeler = infer_class(&input).unwrap().labelers[0];
    assert_eq!(
        (labeler.gold_seen, labeler.gold_right, labeler.skill_ppm),
        (10, 8, 600_000)
    );
    // A record of 9,000 right and 1,000 wrong is bounded to 20 / 8 = 2.5 pseudo-votes of skill (0.9 - 0.5):
    // (20 x 0.3 + 2.5 x 0.4) / (20 x 0.5 + 2.5 x 0.5) = 7 / 11.25.
    let priors = [GoldPrior {
        alpha_milli: 9_000_000,
        beta_milli: 1_000_000,
    }];
    let with = infer_class(&ClassInput {
        priors: &priors,
        ..input
    })
    .unwrap()
    .labelers[0]
        .skill_ppm;
    assert!((with - 622_222).abs() < 20, "{with}");
}
