//! Tasks: the manifest that a client publishes, its secret gold, and the truth that only the simulator knows.

use assay_protocol::{
    amount::Amount,
    core::GoldSecret,
    crypto::hash,
    id::{Account, Salt, ShardHash, TaskId},
    message::{
        AssignmentRule, Durations, ItemSet, Manifest, ShardRef, TaskKind, WavePlan, gold_root,
    },
    network::{NetworkProfile, Params},
};

use crate::{rng::Stream, scenario::Task};

/// A task as the simulator knows it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Terms.
    pub manifest: Manifest,
    /// Their hash.
    pub id: TaskId,
    /// Gold by wave.
    pub gold: Vec<GoldSecret>,
    /// True label by item.
    pub truth: Vec<u16>,
    /// Items on which skill counts for less.
    pub hard: Vec<bool>,
    /// Node of the client.
    pub client: usize,
    /// When it is published, simulated milliseconds.
    pub at_ms: u64,
}

impl Plan {
    /// Draws the truth and the gold, and writes the manifest.
    pub fn new(
        seed: u64,
        number: usize,
        task: &Task,
        client: usize,
        account: Account,
        profile: &NetworkProfile,
    ) -> Self {
        let key = number as u64;
        let mut truth_luck = Stream::new(seed, "truth", &[key]);
        let alike = vec![1; usize::from(task.classes)];
        let weights = if task.class_weights.is_empty() {
            &alike
        } else {
            &task.class_weights
        };
        let truth: Vec<u16> = (0..task.items)
            .map(|_| truth_luck.weighted(weights) as u16)
            .collect();
        let mut hard_luck = Stream::new(seed, "hard items", &[key]);
        let hard = (0..task.items)
            .map(|_| hard_luck.chance(task.hard_ppm))
            .collect();
        let gold = gold(seed, key, task, &truth);
        let waves = gold
            .iter()
            .zip(spread(task))
            .map(|(secret, fresh)| WavePlan {
                fresh: fresh.len() as u32,
                gold_count: secret.entries.len() as u32,
                gold_root: gold_root(&secret.salt, &secret.entries),
            })
            .collect();
        let mut data_luck = Stream::new(seed, "task data", &[key]);
        let mut shard = |bytes| ShardRef {
            hash: ShardHash(data_luck.next_bytes()),
            bytes,
        };
        let mut manifest = Manifest {
            v: 1,
            network: profile.id(),
            client: account,
            title: task.title.clone(),
            guideline: vec![("en".into(), "Choose the label that fits best.".into())],
            kind: TaskKind::Class {
                labels: (0..task.classes).map(|c| format!("class {c}")).collect(),
            },
            items: ItemSet {
                count: task.items,
                index: shard(u64::from(task.items) * 64),
                shards: vec![shard(task.shard_bytes)],
            },
            waves,
            assignment: AssignmentRule::Drawn {
                k: task.k,
                k_max: task.k_max,
            },
            target_posterior_ppm: task.target_posterior_ppm,
            price: Amount(u128::from(task.price)),
            gold_bond: Amount::ZERO,
            full_skill_ppm: task.full_skill_ppm,
            loss_cap_ppm: 1_000_000,
            labelers_min: task.labelers_min,
            labelers_max: task.labelers_max,
            durations: Durations {
                enrol_secs: task.enrol_secs,
                commit_secs: task.commit_secs,
                reveal_secs: task.reveal_secs,
                gold_secs: task.gold_secs,
            },
            licence: "CC-BY-4.0".into(),
            nonce: Salt(
                hash(
                    "assay/simulations/1/nonce",
                    &[&seed.to_le_bytes(), &key.to_le_bytes()],
                )
                .0,
            ),
        };
        let bond = manifest
            .label_budget()
            .and_then(|b| Params::ppm_of(b, profile.params.gold_bond_ppm));
        manifest.gold_bond = bond.unwrap_or_default();
        Self {
            id: manifest.id(),
            manifest,
            gold,
            truth,
            hard,
            client,
            at_ms: task.at_ms,
        }
    }

    /// Bytes that a committee member downloads before it votes for custody.
    pub fn bytes(&self) -> u64 {
        self.manifest.items.index.bytes
            + self
                .manifest
                .items
                .shards
                .iter()
                .map(|s| s.bytes)
                .sum::<u64>()
    }
}

/// Items first shown in each wave.
fn spread(task: &Task) -> Vec<std::ops::Range<u32>> {
    let waves = u64::from(task.waves);
    let end = |wave: u64| (u64::from(task.items) * wave / waves) as u32;
    (0..waves).map(|w| end(w)..end(w + 1)).collect()
}

fn gold(seed: u64, key: u64, task: &Task, truth: &[u16]) -> Vec<GoldSecret> {
    let mut luck = Stream::new(seed, "gold", &[key]);
    spread(task)
        .into_iter()
        .map(|fresh| {
            let wanted = u64::from(fresh.end - fresh.start) * u64::from(task.gold_ppm) / 1_000_000;
            let mut items: Vec<u32> = fresh.collect();
            for place in 0..wanted as usize {
                let other = luck.between(place as u64, items.len() as u64 - 1) as usize;
                items.swap(place, other);
            }
            items.truncate(wanted as usize);
            items.sort_unstable();
            let entries = items
                .into_iter()
                .map(|item| {
                    let right = truth[item as usize];
                    let wrong = luck.chance(task.gold_wrong_ppm);
                    (
                        item,
                        if wrong {
                            (right + 1) % task.classes
                        } else {
                            right
                        },
                    )
                })
                .collect();
            GoldSecret {
                entries,
                salt: Salt(luck.next_bytes()),
            }
        })
        .collect()
}
