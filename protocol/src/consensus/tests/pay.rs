use proptest::prelude::*;

use super::super::{LabelerResult, Pay, PayRule, PayTerms, pay};
use crate::amount::Amount;

#[test]
fn full_skill_earns_the_price_and_no_more() {
    let rule = PayRule::with_price(1_000_000);
    for skill in [600_000, 600_001, 1_000_000, i64::MAX] {
        assert_eq!(
            pay(&rule, 7, skill),
            Pay {
                earned: 7_000_000,
                lost: 0
            }
        );
    }
    assert_eq!(
        pay(&rule, 7, 300_000),
        Pay {
            earned: 3_500_000,
            lost: 0
        }
    );
    assert_eq!(pay(&rule, 7, 0), Pay::default());
    assert_eq!(pay(&rule, 0, 600_000), Pay::default());
}

#[test]
fn losses_mirror_gains_down_to_the_cap() {
    let rule = PayRule::with_price(1_000_000);
    assert_eq!(
        pay(&rule, 7, -300_000),
        Pay {
            earned: 0,
            lost: 3_500_000
        }
    );
    assert_eq!(
        pay(&rule, 7, i64::MIN),
        Pay {
            earned: 0,
            lost: 7_000_000
        }
    );
    let half = PayRule {
        loss_cap_ppm: 500_000,
        ..rule
    };
    assert_eq!(
        pay(&half, 7, -600_000),
        Pay {
            earned: 0,
            lost: 3_500_000
        }
    );
    let none = PayRule {
        loss_cap_ppm: 0,
        ..rule
    };
    assert_eq!(pay(&none, 7, -600_000), Pay::default());
    let threefold = PayRule {
        loss_cap_ppm: 3_000_000,
        ..rule
    };
    assert_eq!(
        pay(&threefold, 1, -900_000),
        Pay {
            earned: 0,
            lost: 1_500_000
        }
    );
}

#[test]
fn fractions_of_a_unit_stay_with_the_payer() {
    let rule = PayRule::with_price(1);
    assert_eq!(pay(&rule, 1, 599_999), Pay::default());
    assert_eq!(pay(&rule, 1, -599_999), Pay::default());
    assert_eq!(pay(&rule, 3, 400_000), Pay { earned: 2, lost: 0 });
}

#[test]
fn skill_within_the_scatter_of_chance_earns_nothing_and_below_zero_still_costs() {
    let rule = PayRule::with_price(600);
    assert_eq!(pay(&rule, 10, 149_999), Pay::default());
    assert_eq!(
        pay(&rule, 10, 150_000),
        Pay {
            earned: 1_500,
            lost: 0
        }
    );
    assert_eq!(
        pay(&rule, 10, -1_000),
        Pay {
            earned: 0,
            lost: 10
        }
    );
}

#[test]
fn terms_out_of_range_are_read_as_the_nearest_bound_and_amounts_saturate() {
    let rule = PayRule {
        full_skill_ppm: 0,
        ..PayRule::with_price(5)
    };
    assert_eq!(pay(&rule, 1, 150_000), Pay { earned: 5, lost: 0 });
    let rule = PayRule {
        full_skill_ppm: u32::MAX,
        ..rule
    };
    assert_eq!(pay(&rule, 2, 500_000), Pay { earned: 5, lost: 0 });
    let rule = PayRule::with_price(u128::MAX);
    assert_eq!(
        pay(&rule, 1, 1_000_000),
        Pay {
            earned: u128::MAX,
            lost: 0
        }
    );
    assert_eq!(
        pay(&rule, 2, 1_000_000),
        Pay {
            earned: u128::MAX,
            lost: 0
        }
    );
    let greedy = PayRule {
        loss_cap_ppm: u32::MAX,
        ..rule
    };
    assert_eq!(
        pay(&greedy, u64::MAX, i64::MIN),
        Pay {
            earned: 0,
            lost: u128::MAX
        }
    );
}

proptest! {
    #[test]
    fn pay_is_exact_to_the_unit(price in 0u128..1 << 60, votes in 0u64..1 << 20, skill in -1_000_000i64..=1_000_000, full in 1u32..=1_000_000) {
        let rule = PayRule { price, full_skill_ppm: full, loss_cap_ppm: 1_000_000 };
        let result = pay(&rule, votes, skill);
        let total = price * u128::from(votes);
        let size = u128::from(skill.unsigned_abs()).min(u128::from(full));
        let expected = if (0..150_000).contains(&skill) { 0 } else { total * size / u128::from(full) };
        prop_assert_eq!(if skill >= 0 { (result.earned, result.lost) } else { (result.lost, result.earned) }, (expected, 0));
    }

    #[test]
    fn opposite_sybils_never_gain_together(price in 1u128..1 << 60, votes in 1u64..1 << 20, skill in 0i64..=2_000_000) {
        let rule = PayRule::with_price(price);
        let (one, other) = (pay(&rule, votes, skill), pay(&rule, votes, -skill));
        prop_assert!(one.earned <= other.lost);
    }

    #[test]
    fn more_skill_never_pays_less(price in 1u128..1 << 60, votes in 1u64..1 << 20, skill in -1_000_000i64..1_000_000) {
        let rule = PayRule::with_price(price);
        let (less, more) = (pay(&rule, votes, skill), pay(&rule, votes, skill + 1));
        prop_assert!(less.earned <= more.earned && less.lost >= more.lost);
    }
}

#[test]
fn copies_earn_nothing_what_was_withheld_costs_the_worst_loss_and_the_bond_bounds_losses() {
    let terms = |withheld, bond| PayTerms {
        price: Amount(1_000),
        full_skill_ppm: PayRule::FULL_SKILL_PPM,
        loss_cap_ppm: PayRule::LOSS_CAP_PPM,
        least_skill_ppm: PayRule::LEAST_SKILL_PPM,
        withheld,
        bond: Amount(bond),
    };
    let able = LabelerResult {
        votes: 10,
        skill_ppm: 700_000,
        ..LabelerResult::default()
    };
    let copier = LabelerResult {
        cluster: Some(0),
        ..able
    };
    let of = |pay: Pay| (pay.earned, pay.lost);
    assert_eq!(of(terms(0, 90_000).reckon(&able)), (10_000, 0));
    assert_eq!(of(terms(0, 90_000).reckon(&copier)), (0, 0));
    assert_eq!(of(terms(5, 90_000).reckon(&able)), (10_000, 5_000));
    assert_eq!(of(terms(5, 3_000).reckon(&copier)), (0, 3_000));
}
