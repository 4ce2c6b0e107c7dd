//! Ranges that the file format cannot say. Every refusal names the field and what would be right.

use std::collections::BTreeSet;

use super::{ActorKind, Population, Role, Scenario, Task};

type Refusal = (String, String);

/// Most nodes of a scenario: a core with its disk costs about a megabyte.
const PEERS_MAX: usize = 20_000;
/// Most validators: the ledger's committee is the whole registry up to this.
const VALIDATORS_MAX: u32 = 21;
/// Longest simulated time, milliseconds: 30 days.
const DEADLINE_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;

fn bad(field: impl Into<String>, why: impl Into<String>) -> Result<(), Refusal> {
    Err((field.into(), why.into()))
}

fn share(field: impl Into<String>, ppm: u32) -> Result<(), Refusal> {
    if ppm > 1_000_000 {
        return bad(
            field,
            format!("{ppm} is more than the whole; shares are in parts per million, 0 to 1000000"),
        );
    }
    Ok(())
}

impl Scenario {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.name.is_empty() || self.name.len() > 64 {
            return bad("name", "1 to 64 characters");
        }
        if self.deadline_ms == 0 || self.deadline_ms > DEADLINE_MS_MAX {
            return bad("deadline_ms", format!("1 to {DEADLINE_MS_MAX} (30 days)"));
        }
        if self.chain.block_ms < 100 {
            return bad("chain.block_ms", "at least 100");
        }
        if self.chain.finality_blocks > 128 {
            return bad(
                "chain.finality_blocks",
                "at most 128: the anchor takes headers of the last 256 blocks",
            );
        }
        share("disk.crash_in_write_ppm", self.disk.crash_in_write_ppm)?;
        if self.disk.crash_in_write_ppm > 0 && self.disk.write_ms < 2 {
            return bad(
                "disk.crash_in_write_ppm",
                "needs write_ms of at least 2: a write has no middle otherwise",
            );
        }
        share("disk.lose_last_write_ppm", self.disk.lose_last_write_ppm)?;
        self.check_network()?;
        self.check_populations()?;
        if self.task.is_empty() {
            return bad("task", "at least one [[task]]");
        }
        let clients = self.count(Role::Client);
        for (i, task) in self.task.iter().enumerate() {
            task.check(clients)
                .map_err(|(field, why)| (format!("task[{i}].{field}"), why))?;
            if task.at_ms >= self.deadline_ms {
                return bad(format!("task[{i}].at_ms"), "must come before deadline_ms");
            }
        }
        self.check_overrides()
    }

    fn count(&self, role: Role) -> u32 {
        self.population
            .iter()
            .filter(|p| p.role == role)
            .map(|p| p.count)
            .sum()
    }

    fn check_network(&self) -> Result<(), Refusal> {
        let n = &self.network;
        let regions = n.regions.len();
        if regions == 0
            || n.region_weights.len() != regions
            || n.region_weights.iter().all(|w| *w == 0)
        {
            return bad(
                "network.region_weights",
                format!("one weight for each of the {regions} regions, not all zero"),
            );
        }
        if n.latency_ms.len() != regions || n.latency_ms.iter().any(|row| row.len() != regions) {
            return bad(
                "network.latency_ms",
                format!("{regions} rows of {regions} numbers, one for each pair of regions"),
            );
        }
        if n.latency_ms
            .iter()
            .flatten()
            .any(|ms| *ms == 0 || *ms > 60_000)
        {
            return bad("network.latency_ms", "1 to 60000");
        }
        share("network.loss_ppm", n.loss_ppm)?;
        share("network.duplicate_ppm", n.duplicate_ppm)?;
        share("network.shard_failure_ppm", n.shard_failure_ppm)?;
        if n.mesh_degree < 2 || n.mesh_degree > 100 {
            return bad("network.mesh_degree", "2 to 100");
        }
        if self.protocol.lanes != 1 {
            return bad(
                "protocol.lanes",
                "1: the ledger draws the whole registry into every lane, so more lanes show nothing new",
            );
        }
        if self.protocol.term_epochs == 0 {
            return bad("protocol.term_epochs", "at least 1");
        }
        if self.protocol.view_timeout_ms < 100 {
            return bad("protocol.view_timeout_ms", "at least 100");
        }
        share("protocol.fee_ppm", self.protocol.fee_ppm)?;
        share("protocol.gold_bond_ppm", self.protocol.gold_bond_ppm)
    }

    fn check_populations(&self) -> Result<(), Refusal> {
        let validators = self.count(Role::Validator);
        if validators == 0 || validators > VALIDATORS_MAX {
            return bad(
                "population",
                format!("1 to {VALIDATORS_MAX} nodes with role \"validator\", got {validators}"),
            );
        }
        if self.count(Role::Client) == 0 {
            return bad("population", "at least one node with role \"client\"");
        }
        if self.peers() > PEERS_MAX {
            return bad(
                "population",
                format!("at most {PEERS_MAX} nodes, got {}", self.peers()),
            );
        }
        let mut names = BTreeSet::new();
        for (i, population) in self.population.iter().enumerate() {
            if !names.insert(&population.name) {
                return bad(
                    format!("population[{i}].name"),
                    format!("{:?} stands twice", population.name),
                );
            }
            population
                .check()
                .map_err(|(field, why)| (format!("population[{i}].{field}"), why))?;
        }
        Ok(())
    }

    fn check_overrides(&self) -> Result<(), Refusal> {
        for (i, o) in self.answer_override.iter().enumerate() {
            let field = |name: &str| format!("answer_override[{i}].{name}");
            let Some(task) = self.task.get(o.task) else {
                return bad(
                    field("task"),
                    format!("there are {} tasks, counted from 0", self.task.len()),
                );
            };
            if o.item >= task.items {
                return bad(
                    field("item"),
                    format!("the task has {} items, counted from 0", task.items),
                );
            }
            if o.label >= task.classes {
                return bad(
                    field("label"),
                    format!("the task has {} classes, counted from 0", task.classes),
                );
            }
            let known = o.labeler.rsplit_once('-').is_some_and(|(name, place)| {
                self.population.iter().any(|p| {
                    p.name == name
                        && p.role == Role::Labeler
                        && place.parse::<u32>().is_ok_and(|n| n < p.count)
                })
            });
            if !known {
                return bad(
                    field("labeler"),
                    format!(
                        "{:?} is no labeler; write population-place, like careful-0",
                        o.labeler
                    ),
                );
            }
        }
        Ok(())
    }
}

impl Population {
    fn check(&self) -> Result<(), Refusal> {
        let letters = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.bytes().all(letters) {
            return bad("name", "1 to 32 lower-case letters, digits or dashes");
        }
        if self.bandwidth_kbps == 0 {
            return bad("bandwidth_kbps", "at least 1");
        }
        if let Some(churn) = self.churn
            && (churn.up_ms < 1_000 || churn.down_ms < 100)
        {
            return bad("churn", "up_ms at least 1000, down_ms at least 100");
        }
        for ppm in self.accuracy_ppm {
            share("accuracy_ppm", ppm)?;
        }
        if self.accuracy_ppm[0] > self.accuracy_ppm[1] {
            return bad("accuracy_ppm", "the smaller one first");
        }
        share("fatigue_ppm", self.fatigue_ppm)?;
        share("slip_ppm", self.slip_ppm)?;
        share("takes_part_ppm", self.takes_part_ppm)?;
        if self.answer_ms.is_empty() || self.answer_ms.len() > 100 || !self.answer_ms.is_sorted() {
            return bad(
                "answer_ms",
                "1 to 100 quantiles in milliseconds, smallest first",
            );
        }
        if self.stake == 0 && self.role == Role::Labeler {
            return bad("stake", "a labeler needs a stake above 0");
        }
        let fits = match self.actor {
            ActorKind::Honest | ActorKind::Forger | ActorKind::Replayer | ActorKind::Oversize => {
                true
            }
            ActorKind::Withholder | ActorKind::Equivocator => self.role == Role::Labeler,
            ActorKind::GoldWithholder => self.role == Role::Client,
            ActorKind::Mute | ActorKind::Liar | ActorKind::TwoFaced => self.role == Role::Validator,
        };
        if !fits {
            return bad(
                "actor",
                "withholder and equivocator are labelers, gold-withholder is a client, mute, liar and two-faced are validators",
            );
        }
        if self.must_not_profit && self.role != Role::Labeler {
            return bad("must_not_profit", "only labelers earn; remove it here");
        }
        Ok(())
    }
}

impl Task {
    fn check(&self, clients: u32) -> Result<(), Refusal> {
        if self.title.is_empty() || self.title.len() > 100 {
            return bad("title", "1 to 100 bytes");
        }
        if self.client >= clients as usize {
            return bad(
                "client",
                format!("there are {clients} clients, counted from 0"),
            );
        }
        if self.items == 0 || self.items > 1_000_000 {
            return bad("items", "1 to 1000000");
        }
        if !(2..=256).contains(&self.classes) {
            return bad("classes", "2 to 256");
        }
        let weights = &self.class_weights;
        if !weights.is_empty()
            && (weights.len() != usize::from(self.classes) || weights.iter().all(|w| *w == 0))
        {
            return bad(
                "class_weights",
                format!("{} weights, not all zero, or none at all", self.classes),
            );
        }
        if self.waves == 0 || self.waves > 8 || u32::from(self.waves) > self.items {
            return bad("waves", "1 to 8, and no more than items");
        }
        if self.k == 0 || self.k > self.k_max || self.k_max > 255 {
            return bad("k", "1 <= k <= k_max <= 255");
        }
        for (field, ppm) in [
            ("gold_ppm", self.gold_ppm),
            ("gold_wrong_ppm", self.gold_wrong_ppm),
            ("hard_ppm", self.hard_ppm),
            ("hard_skill_ppm", self.hard_skill_ppm),
            ("target_posterior_ppm", self.target_posterior_ppm),
            ("full_skill_ppm", self.full_skill_ppm),
        ] {
            share(field, ppm)?;
        }
        if self.full_skill_ppm == 0 {
            return bad("full_skill_ppm", "at least 1");
        }
        if self.price == 0 {
            return bad("price", "at least 1 base unit");
        }
        if self.labelers_min == 0
            || self.labelers_min > self.labelers_max
            || self.labelers_max > 10_000
        {
            return bad("labelers_max", "1 <= labelers_min <= labelers_max <= 10000");
        }
        let secs = [
            ("enrol_secs", self.enrol_secs),
            ("commit_secs", self.commit_secs),
            ("reveal_secs", self.reveal_secs),
            ("gold_secs", self.gold_secs),
        ];
        for (field, value) in secs {
            if value == 0 || value > 30 * 24 * 3_600 {
                return bad(field, "1 second to 30 days");
            }
        }
        if self.shard_bytes == 0 || self.shard_bytes > 64 * 1024 * 1024 {
            return bad("shard_bytes", "1 byte to 64 MiB");
        }
        Ok(())
    }
}
