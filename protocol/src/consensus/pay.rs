//! The pay rule: from votes and skill to base units earned or lost.
//!
//! ```text
//! pay = price x votes x clip(skill / full_skill, -loss_cap, 1), and nothing for skills from 0 to least_skill
//! ```
//!
//! What for: answers that say nothing scatter around skill zero, so gains and losses in proportion cancel in expectation; a floor at zero
//! would hand a guesser a tenth of full pay. Skill too small to be told from chance earns nothing while a loss stays a loss, so a
//! guesser loses in expectation and hardly ever has a lucky wave. Splitting one labeler into two opposite ones never gains.
//! What it does not do: it knows no bond and no budget; the caller bounds a loss by the bond and scales gains down to the budget.
//! Invariants: either `earned` or `lost` is zero; gains round down towards the client, losses round down towards zero; total: amounts
//! beyond 2^128 - 1 saturate, which no manifest that fits its own escrow can reach.

/// One in parts per million.
const PPM: u128 = 1_000_000;

/// The terms of payment of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayRule {
    /// Price per label, in base units of the token.
    pub price: u128,
    /// Skill that earns the full price, in parts per million: 1 to 1,000,000; values outside are read as the nearest bound.
    pub full_skill_ppm: u32,
    /// Largest loss in parts per million of the full price; zero means that nothing can be lost.
    pub loss_cap_ppm: u32,
}

impl PayRule {
    /// Default for `full_skill_ppm`.
    pub const FULL_SKILL_PPM: u32 = 600_000;
    /// Default for `loss_cap_ppm`: at worst the full price is lost.
    pub const LOSS_CAP_PPM: u32 = 1_000_000;

    /// Skill below which nothing is earned: within the scatter of chance for any but the smallest waves.
    pub const LEAST_SKILL_PPM: u32 = 150_000;

    /// The default terms at a given price per label.
    #[must_use]
    pub fn with_price(price: u128) -> Self {
        Self {
            price,
            full_skill_ppm: Self::FULL_SKILL_PPM,
            loss_cap_ppm: Self::LOSS_CAP_PPM,
        }
    }
}

/// The result of the pay rule, in base units; at most one of the two is above zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pay {
    /// Owed to the labeler.
    pub earned: u128,
    /// Owed by the labeler, up to their bond.
    pub lost: u128,
}

/// Applies the pay rule to one labeler: `votes` paid votes at `skill_ppm`.
#[must_use]
pub fn pay(rule: &PayRule, votes: u64, skill_ppm: i64) -> Pay {
    let full = u128::from(rule.full_skill_ppm).clamp(1, PPM);
    let total = rule.price.saturating_mul(u128::from(votes));
    let size = u128::from(skill_ppm.unsigned_abs());
    if (0..i64::from(PayRule::LEAST_SKILL_PPM)).contains(&skill_ppm) {
        return Pay::default();
    }
    if skill_ppm > 0 {
        return Pay {
            earned: share(total, size.min(full), full),
            lost: 0,
        };
    }
    // The cap in skill is loss_cap x full; compared at the finer scale so that nothing is rounded twice.
    let fine = (size * PPM).min(u128::from(rule.loss_cap_ppm) * full);
    Pay {
        earned: 0,
        lost: share(total, fine, full * PPM),
    }
}

/// `floor(total * part / whole)` without the full product, saturating; `part` and `whole` stay below 2^64.
fn share(total: u128, part: u128, whole: u128) -> u128 {
    let low = (total % whole) * part / whole;
    (total / whole).saturating_mul(part).saturating_add(low)
}
