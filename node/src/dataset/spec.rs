//! Terms of a task as a client writes them: a TOML file or command-line flags.
//!
//! ```
//! use assay_node::dataset::TaskSpec;
//!
//! let spec = TaskSpec::from_toml(
//!     r#"
//!     title = "Cat or dog?"
//!     labels = ["cat", "dog"]
//!     price = "0.05"
//!     licence = "CC-BY-4.0"
//!
//!     [guideline]
//!     en = "Look at the animal in the middle."
//!     "#,
//! )?;
//! assert_eq!((spec.k, spec.waves()), (3, 2));
//! # Ok::<(), assay_node::dataset::SpecError>(())
//! ```
//!
//! Shares and amounts are decimal text in quotes: a float would not survive to the last unit. Ranges that the manifest checks
//! itself are not repeated here. It reads no items and knows no account.

use std::{collections::BTreeMap, fmt};

use assay_protocol::{
    amount::Amount,
    consensus::PayRule,
    limit,
    message::{AssignmentRule, Durations, TaskKind},
    network::Params,
};
use serde::{Deserialize, Deserializer, Serialize, de};

/// Kinds of task that this version knows.
pub const KINDS: [&str; 1] = ["class"];
/// Largest part in [`TaskSpec::fresh`]; parts are ratios, so more digits say nothing.
pub const FRESH_PART_MAX: u32 = 1_000_000;
/// Decimals of a share, so that shares become parts per million.
const SHARE_DECIMALS: u8 = 6;

/// A decimal number as text, like `0.05`; kept as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Decimal(pub String);

impl From<&str> for Decimal {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl de::Visitor<'_> for V {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number in quotes, like \"0.05\"")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Decimal, E> {
                Ok(Decimal(v.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Decimal, E> {
                Ok(Decimal(v.to_string()))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Decimal, E> {
                Ok(Decimal(v.to_string()))
            }
        }
        d.deserialize_any(V)
    }
}

/// What a client asks for. Fields with a default may be left out of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// One line for people.
    pub title: String,
    /// Language (BCP 47) -> instructions in a Markdown subset. Default: none.
    #[serde(default)]
    pub guideline: BTreeMap<String, String>,
    /// Kind of task, one of [`KINDS`]. Default: `class`.
    #[serde(default = "default_kind")]
    pub kind: String,
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Labels bought per item in the wave that first shows it. Default: 3. An open task has none.
    #[serde(default = "default_k")]
    pub k: u16,
    /// Most labels per item over all waves. Default: `k` with one wave, `k` + 2 with more.
    #[serde(default)]
    pub k_max: Option<u16>,
    /// Every enrolled labeler answers the items it likes, up to `k_max` per item; one wave only. Default: false, items are drawn.
    #[serde(default)]
    pub open: bool,
    /// Number of waves. Default: 2, or 1 for an open task.
    #[serde(default)]
    pub waves: Option<u8>,
    /// Parts of the items that each wave shows first, as ratios. Default: 3 for the first wave, 1 for each later one.
    #[serde(default)]
    pub fresh: Option<Vec<u32>>,
    /// Later waves add labels only to items whose posterior is below this share. Default: 0.95.
    #[serde(default = "default_target")]
    pub target_posterior: Decimal,
    /// Price of one label at full skill, in whole tokens.
    pub price: Decimal,
    /// Deposit against withheld gold, in whole tokens. Default: the network's minimum for this budget.
    #[serde(default)]
    pub gold_bond: Option<Decimal>,
    /// Skill above chance at which a label earns its full price, as a share. Default: 0.6.
    #[serde(default)]
    pub full_skill: Option<Decimal>,
    /// Most a label may cost its labeler's bond, as a share of the price. Default: 1.
    #[serde(default)]
    pub loss_cap: Option<Decimal>,
    /// Fewest labelers to start with. Default: `k`, or 1 for an open task.
    #[serde(default)]
    pub labelers_min: Option<u32>,
    /// Enrolment closes early when this many came. Default: 1,000.
    #[serde(default = "default_labelers_max")]
    pub labelers_max: u32,
    /// Phase lengths in seconds of chain time. Default: enrolment 12 h, labels 24 h, reveals and gold 6 h each.
    #[serde(default = "default_durations")]
    pub durations: Durations,
    /// SPDX expression for the labels.
    pub licence: String,
}

fn default_kind() -> String {
    KINDS[0].to_owned()
}

fn default_k() -> u16 {
    3
}

fn default_target() -> Decimal {
    "0.95".into()
}

fn default_labelers_max() -> u32 {
    1_000
}

fn default_durations() -> Durations {
    Durations {
        enrol_secs: 12 * 3600,
        commit_secs: 24 * 3600,
        reveal_secs: 6 * 3600,
        gold_secs: 6 * 3600,
    }
}

/// Why terms are unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The file is not a task file.
    #[error("task file: {0}")]
    Syntax(String),
    /// A field is wrong.
    #[error("task, field `{field}`: {why}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
}

impl SpecError {
    fn field(field: &'static str, why: impl Into<String>) -> Self {
        Self::Field {
            field,
            why: why.into(),
        }
    }
}

impl TaskSpec {
    /// Terms with all defaults, for a caller that has flags instead of a file.
    pub fn new(title: &str, labels: Vec<String>, price: Decimal, licence: &str) -> Self {
        Self {
            title: title.to_owned(),
            guideline: BTreeMap::new(),
            kind: default_kind(),
            labels,
            k: default_k(),
            k_max: None,
            open: false,
            waves: None,
            fresh: None,
            target_posterior: default_target(),
            price,
            gold_bond: None,
            full_skill: None,
            loss_cap: None,
            labelers_min: None,
            labelers_max: default_labelers_max(),
            durations: default_durations(),
            licence: licence.to_owned(),
        }
    }

    /// Reads a task file.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn from_toml(text: &str) -> Result<Self, SpecError> {
        toml::from_str(text).map_err(|e| SpecError::Syntax(e.to_string().trim_end().to_owned()))
    }

    /// Number of waves.
    pub fn waves(&self) -> u8 {
        self.waves.unwrap_or(if self.open { 1 } else { 2 })
    }

    /// What is asked.
    ///
    /// # Errors
    /// An unknown kind.
    pub fn task_kind(&self) -> Result<TaskKind, SpecError> {
        match self.kind.as_str() {
            "class" => Ok(TaskKind::Class {
                labels: self.labels.clone(),
            }),
            other => {
                let why = format!(
                    "unknown task kind {other:?}; this version knows: {}",
                    KINDS.join(", ")
                );
                Err(SpecError::field("kind", why))
            }
        }
    }

    /// Who labels what.
    ///
    /// # Errors
    /// A combination that no task can have.
    pub fn assignment(&self) -> Result<AssignmentRule, SpecError> {
        let room = if self.waves() > 1 { 2 } else { 0 };
        let k_max = self.k_max.unwrap_or(
            self.k
                .saturating_add(room)
                .min(limit::REDUNDANCY_MAX.max(self.k)),
        );
        if self.open {
            if self.waves() != 1 {
                return Err(SpecError::field(
                    "waves",
                    "an open task has one wave; remove `waves` or set `open` to false",
                ));
            }
            return Ok(AssignmentRule::Open { k_max });
        }
        if self.labelers_min() < u32::from(self.k) {
            let why = format!(
                "{} labelers cannot give {} labels per item; raise it to k or lower k",
                self.labelers_min(),
                self.k
            );
            return Err(SpecError::field("labelers_min", why));
        }
        Ok(AssignmentRule::Drawn { k: self.k, k_max })
    }

    /// Fewest labelers to start with.
    pub fn labelers_min(&self) -> u32 {
        self.labelers_min
            .unwrap_or(if self.open { 1 } else { u32::from(self.k) })
    }

    /// Parts of the items that each wave shows first.
    ///
    /// # Errors
    /// Parts that do not fit the waves.
    pub fn fresh(&self) -> Result<Vec<u32>, SpecError> {
        let waves = usize::from(self.waves());
        if waves == 0 || waves > limit::WAVES_MAX {
            return Err(SpecError::field(
                "waves",
                format!("1 to {} waves, got {waves}", limit::WAVES_MAX),
            ));
        }
        let Some(parts) = &self.fresh else {
            return Ok((0..waves)
                .map(|wave| if wave == 0 { 3 } else { 1 })
                .collect());
        };
        if parts.len() != waves {
            return Err(SpecError::field(
                "fresh",
                format!(
                    "{} parts for {waves} waves; give one part per wave",
                    parts.len()
                ),
            ));
        }
        if parts.first() == Some(&0) || parts.iter().any(|&p| p > FRESH_PART_MAX) {
            let why = format!(
                "parts are 0 to {FRESH_PART_MAX}, and the first wave shows something; write for example [75, 25]"
            );
            return Err(SpecError::field("fresh", why));
        }
        Ok(parts.clone())
    }

    /// Target posterior in parts per million.
    ///
    /// # Errors
    /// Not a share.
    pub fn target_posterior_ppm(&self) -> Result<u32, SpecError> {
        share("target_posterior", &self.target_posterior)
    }

    /// Full skill in parts per million.
    ///
    /// # Errors
    /// Not a share.
    pub fn full_skill_ppm(&self) -> Result<u32, SpecError> {
        self.full_skill
            .as_ref()
            .map_or(Ok(PayRule::FULL_SKILL_PPM), |s| share("full_skill", s))
    }

    /// Most a label may cost, in parts per million of the price.
    ///
    /// # Errors
    /// Not a share.
    pub fn loss_cap_ppm(&self) -> Result<u32, SpecError> {
        self.loss_cap
            .as_ref()
            .map_or(Ok(PayRule::LOSS_CAP_PPM), |s| share("loss_cap", s))
    }

    /// Price of one label in base units.
    ///
    /// # Errors
    /// Not an amount of this network's token.
    pub fn price(&self, params: &Params) -> Result<Amount, SpecError> {
        amount("price", &self.price, params)
    }

    /// Gold bond in base units; `None` when the network's minimum is meant.
    ///
    /// # Errors
    /// Not an amount of this network's token.
    pub fn gold_bond(&self, params: &Params) -> Result<Option<Amount>, SpecError> {
        self.gold_bond
            .as_ref()
            .map(|bond| amount("gold_bond", bond, params))
            .transpose()
    }
}

fn amount(field: &'static str, text: &Decimal, params: &Params) -> Result<Amount, SpecError> {
    Amount::parse_decimal(&text.0, params.token_decimals)
        .map_err(|why| SpecError::field(field, why))
}

fn share(field: &'static str, text: &Decimal) -> Result<u32, SpecError> {
    let parsed = Amount::parse_decimal(&text.0, SHARE_DECIMALS).ok();
    let ppm = parsed
        .and_then(|a| u32::try_from(a.0).ok())
        .filter(|&ppm| ppm <= 1_000_000);
    ppm.ok_or_else(|| {
        let why = format!("{:?} is not a share; write a number from 0 to 1 with at most {SHARE_DECIMALS} decimals, like 0.95", text.0);
        SpecError::field(field, why)
    })
}

#[cfg(test)]
mod tests;
