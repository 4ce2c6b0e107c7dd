//! The manifest: everything about a task that is fixed before anyone works. Its hash is the task's id.

use serde::{Deserialize, Serialize};

use crate::{
    amount::Amount,
    codec,
    crypto::hash,
    id::{Account, Hash, NetworkId, Salt, ShardHash, TaskId},
    limit,
    network::Params,
};

/// A content-addressed piece of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRef {
    /// BLAKE3 of the bytes.
    pub hash: ShardHash,
    /// Number of bytes.
    pub bytes: u64,
}

/// What is asked about each item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TaskKind {
    /// Choose one of the named classes.
    Class {
        /// Names of the classes; a label is an index into this list.
        labels: Vec<String>,
    },
}

impl TaskKind {
    /// The kind's short name, also its gossip topic.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Class { .. } => "class",
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> u16 {
        match self {
            Self::Class { labels } => labels.len() as u16,
        }
    }
}

/// The items of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemSet {
    /// Number of items; an item is named by its index below this.
    pub count: u32,
    /// Shard with the item index: a canonical list of [`ItemEntry`].
    pub index: ShardRef,
    /// Shards with the items' bytes, in the order that the index refers to.
    pub shards: Vec<ShardRef>,
}

/// One line of the item index: where the bytes of an item are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemEntry {
    /// The client's own name of the item; appears in exports.
    pub name: String,
    /// Media type, like `image/png`.
    pub media: String,
    /// Index into [`ItemSet::shards`].
    pub shard: u32,
    /// First byte inside the shard.
    pub offset: u64,
    /// Number of bytes.
    pub bytes: u64,
}

/// Who labels which item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum AssignmentRule {
    /// Drawn by the beacon after enrolment closed.
    Drawn {
        /// Labels bought per item in the wave that first shows it.
        k: u16,
        /// Most labels per item over all waves.
        k_max: u16,
    },
    /// Every enrolled labeler answers the items it likes; past `k_max` per item the beacon draws which count. One wave only.
    Open {
        /// Most labels per item.
        k_max: u16,
    },
}

impl AssignmentRule {
    /// Most labels per item.
    pub fn k_max(&self) -> u16 {
        match *self {
            Self::Drawn { k_max, .. } | Self::Open { k_max } => k_max,
        }
    }
}

/// One wave: the items it shows first, and its own gold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WavePlan {
    /// Items shown first in this wave; waves take items in index order.
    pub fresh: u32,
    /// Gold items among them.
    pub gold_count: u32,
    /// Commitment to the gold answers (see [`gold_root`]); zero when there is none.
    pub gold_root: Hash,
}

/// How long each phase may last, in seconds of chain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durations {
    /// Enrolment; extended once when too few came.
    pub enrol_secs: u32,
    /// From the assignment beacon to the last commit.
    pub commit_secs: u32,
    /// For reveals.
    pub reveal_secs: u32,
    /// For the client to open the wave's gold.
    pub gold_secs: u32,
}

/// Terms of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format version, 1.
    pub v: u8,
    /// The network it is for.
    pub network: NetworkId,
    /// Who pays; the escrow must be funded from this account.
    pub client: Account,
    /// One line for people.
    pub title: String,
    /// (BCP 47 language, Markdown subset) pairs.
    pub guideline: Vec<(String, String)>,
    /// What is asked.
    pub kind: TaskKind,
    /// What it is asked about.
    pub items: ItemSet,
    /// The waves in order.
    pub waves: Vec<WavePlan>,
    /// Who labels what.
    pub assignment: AssignmentRule,
    /// Later waves add labels only to items whose posterior is below this, in parts per million.
    pub target_posterior_ppm: u32,
    /// Price of one label at full skill.
    pub price: Amount,
    /// Deposit that the revealers get when gold is withheld or void.
    pub gold_bond: Amount,
    /// Skill at which a label earns its full price, in parts per million.
    pub full_skill_ppm: u32,
    /// Most a label may cost its labeler's bond, in parts per million of the price.
    pub loss_cap_ppm: u32,
    /// Fewest labelers to start with.
    pub labelers_min: u32,
    /// Enrolment closes early when this many came.
    pub labelers_max: u32,
    /// Phase lengths.
    pub durations: Durations,
    /// SPDX expression for the labels.
    pub licence: String,
    /// Random bytes that make two otherwise equal tasks different.
    pub nonce: Salt,
}

/// Why a manifest cannot be a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("manifest, field `{field}`: {why}")]
pub struct ManifestError {
    /// The field.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

impl Manifest {
    /// The task's id.
    pub fn id(&self) -> TaskId {
        TaskId(hash("assay/1/manifest", &[&codec::encode(self)]).0)
    }

    /// The lane that the task belongs to.
    pub fn lane(&self, lanes: u32) -> u32 {
        let id = self.id().0;
        let head = u64::from_be_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]]);
        (head % u64::from(lanes.max(1))) as u32
    }

    /// Most that labels can cost: items x k_max x price.
    pub fn label_budget(&self) -> Option<Amount> {
        self.price
            .checked_mul(u128::from(self.items.count) * u128::from(self.assignment.k_max()))
    }

    /// Committee fee on top of the label budget.
    pub fn fee(&self, params: &Params) -> Option<Amount> {
        Params::ppm_of(self.label_budget()?, params.fee_ppm)
    }

    /// What the escrow must hold before anyone is offered the task: (deposit, gold bond).
    pub fn required(&self, params: &Params) -> Option<(Amount, Amount)> {
        Some((
            self.label_budget()?.checked_add(self.fee(params)?)?,
            self.gold_bond,
        ))
    }

    /// The wave that first shows `item`.
    pub fn first_wave(&self, item: u32) -> u8 {
        let mut end = 0u32;
        for (wave, plan) in self.waves.iter().enumerate() {
            end = end.saturating_add(plan.fresh);
            if item < end {
                return wave as u8;
            }
        }
        self.waves.len() as u8
    }

    /// Items first shown in `wave`.
    pub fn fresh_items(&self, wave: u8) -> std::ops::Range<u32> {
        let before: u32 = self
            .waves
            .iter()
            .take(usize::from(wave))
            .map(|w| w.fresh)
            .sum();
        before..before + self.waves.get(usize::from(wave)).map_or(0, |w| w.fresh)
    }

    /// Checks every range that does not depend on the chain.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self, network: &NetworkId, params: &Params) -> Result<(), ManifestError> {
        let bad = |field, why: String| Err(ManifestError { field, why });
        if self.v != 1 {
            return bad(
                "v",
                format!("format {} is unknown, this version reads 1", self.v),
            );
        }
        if self.network != *network {
            return bad("network", "belongs to another network".into());
        }
        if self.title.is_empty() || self.title.chars().count() > limit::TITLE_CHARS_MAX {
            return bad(
                "title",
                format!("1 to {} characters", limit::TITLE_CHARS_MAX),
            );
        }
        if self.guideline.len() > limit::GUIDELINES_MAX
            || self.guideline.iter().any(|(lang, text)| {
                lang.is_empty() || lang.len() > 35 || text.len() > limit::GUIDELINE_BYTES_MAX
            })
        {
            return bad(
                "guideline",
                format!(
                    "at most {} texts of {} bytes",
                    limit::GUIDELINES_MAX,
                    limit::GUIDELINE_BYTES_MAX
                ),
            );
        }
        self.check_kind()?;
        self.check_items()?;
        self.check_waves()?;
        self.check_money(params)?;
        if self.labelers_min == 0
            || self.labelers_max > limit::LABELERS_MAX
            || self.labelers_min > self.labelers_max
        {
            return bad(
                "labelers_min",
                format!(
                    "1 <= labelers_min <= labelers_max <= {}",
                    limit::LABELERS_MAX
                ),
            );
        }
        let d = &self.durations;
        for (field, secs) in [
            ("durations.enrol_secs", d.enrol_secs),
            ("durations.commit_secs", d.commit_secs),
            ("durations.reveal_secs", d.reveal_secs),
            ("durations.gold_secs", d.gold_secs),
        ] {
            if !limit::PHASE_SECS.contains(&secs) {
                return bad(field, "1 second to 30 days".into());
            }
        }
        if self.licence.is_empty() || self.licence.len() > 100 {
            return bad(
                "licence",
                "an SPDX expression of 1 to 100 characters".into(),
            );
        }
        Ok(())
    }

    fn check_kind(&self) -> Result<(), ManifestError> {
        let TaskKind::Class { labels } = &self.kind;
        let why = if labels.len() < 2 || labels.len() > limit::CLASSES_MAX {
            format!("2 to {} labels, got {}", limit::CLASSES_MAX, labels.len())
        } else if let Some(bad) = labels
            .iter()
            .find(|l| l.is_empty() || l.chars().count() > limit::LABEL_CHARS_MAX)
        {
            format!(
                "label {bad:?} must have 1 to {} characters",
                limit::LABEL_CHARS_MAX
            )
        } else if let Some((i, name)) = labels
            .iter()
            .enumerate()
            .find(|(i, l)| labels[..*i].contains(l))
        {
            format!("label {name:?} stands twice (second time at place {i})")
        } else {
            return Ok(());
        };
        Err(ManifestError {
            field: "kind.labels",
            why,
        })
    }

    fn check_items(&self) -> Result<(), ManifestError> {
        let items = &self.items;
        if items.count == 0 || items.count > limit::ITEMS_MAX {
            let why = format!("1 to {} items, got {}", limit::ITEMS_MAX, items.count);
            return Err(ManifestError {
                field: "items.count",
                why,
            });
        }
        if items.shards.len() > limit::SHARDS_MAX {
            let why = format!(
                "at most {} shards, got {}",
                limit::SHARDS_MAX,
                items.shards.len()
            );
            return Err(ManifestError {
                field: "items.shards",
                why,
            });
        }
        if let Some(shard) = items
            .shards
            .iter()
            .chain([&items.index])
            .find(|s| s.bytes > limit::SHARD_BYTES_MAX)
        {
            let why = format!(
                "shard {} has {} bytes, at most {}",
                shard.hash.short(),
                shard.bytes,
                limit::SHARD_BYTES_MAX
            );
            return Err(ManifestError {
                field: "items.shards",
                why,
            });
        }
        Ok(())
    }

    fn check_waves(&self) -> Result<(), ManifestError> {
        let bad = |field, why: String| Err(ManifestError { field, why });
        if self.waves.is_empty() || self.waves.len() > limit::WAVES_MAX {
            return bad("waves", format!("1 to {} waves", limit::WAVES_MAX));
        }
        let total: u64 = self.waves.iter().map(|w| u64::from(w.fresh)).sum();
        if total != u64::from(self.items.count) {
            return bad(
                "waves",
                format!(
                    "their fresh items add up to {total}, not to {} items",
                    self.items.count
                ),
            );
        }
        if self
            .waves
            .iter()
            .any(|w| w.gold_count > w.fresh || (w.gold_count == 0) != (w.gold_root == Hash::ZERO))
        {
            return bad(
                "waves",
                "gold_count must not exceed fresh, and gold_root is zero exactly without gold"
                    .into(),
            );
        }
        match self.assignment {
            AssignmentRule::Drawn { k, k_max } => {
                if k == 0 || k > k_max || k_max > limit::REDUNDANCY_MAX {
                    return bad(
                        "assignment",
                        format!("1 <= k <= k_max <= {}", limit::REDUNDANCY_MAX),
                    );
                }
            }
            AssignmentRule::Open { k_max } => {
                if k_max == 0 || k_max > limit::REDUNDANCY_MAX || self.waves.len() != 1 {
                    return bad(
                        "assignment",
                        "an open task has one wave and 1 <= k_max <= 255".into(),
                    );
                }
            }
        }
        if self.target_posterior_ppm > 1_000_000 {
            return bad("target_posterior_ppm", "at most 1000000".into());
        }
        Ok(())
    }

    fn check_money(&self, params: &Params) -> Result<(), ManifestError> {
        let bad = |field, why: String| Err(ManifestError { field, why });
        if self.full_skill_ppm == 0 || self.full_skill_ppm > 1_000_000 {
            return bad("full_skill_ppm", "1 to 1000000".into());
        }
        if self.loss_cap_ppm > 1_000_000 {
            return bad("loss_cap_ppm", "at most 1000000".into());
        }
        // The escrow holds 96 bits, and the fee is at most as much again.
        let Some(budget) = self.label_budget().filter(|b| b.0 < 1 << 95) else {
            return bad(
                "price",
                "items x k_max x price must stay below 2^95 base units".into(),
            );
        };
        let least = Params::ppm_of(budget, params.gold_bond_ppm).unwrap_or(budget);
        let has_gold = self.waves.iter().any(|w| w.gold_count > 0);
        if has_gold && self.gold_bond < least || self.gold_bond.0 >= 1 << 96 {
            return bad(
                "gold_bond",
                format!("at least {least} base units for this budget"),
            );
        }
        Ok(())
    }
}

/// Commitment to a wave's gold: entries sorted by item, blinded by one salt, all opened together.
pub fn gold_root(salt: &Salt, entries: &[(u32, u16)]) -> Hash {
    if entries.is_empty() {
        return Hash::ZERO;
    }
    hash("assay/1/gold", &[&salt.0, &codec::encode(entries)])
}
