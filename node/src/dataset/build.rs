//! Turns terms and items into a task: manifest, secret gold, item index and shards.
//!
//! ```text
//!   items --seed--> waves (each with its share of gold) --seed--> order within the wave --> shards --> index --> manifest
//! ```
//!
//! Order: the manifest numbers items in the order in which waves show them, and that order is drawn from the seed, so neither
//! place nor shard tells gold from other items. **Names, media types and sizes are public**: a client that names its gold
//! `gold-1.png` gives it away.
//! The seed must stay secret until the task is over: the gold's blinding salts come from it. All draws also depend on terms and
//! items, so that a seed used twice does not repeat a salt; the same seed for the same task gives the same bytes again, which
//! makes publishing repeatable after a crash.
//! What it does not do: it signs, stores and sends nothing.

use std::collections::BTreeSet;

use assay_protocol::{
    amount::Amount,
    codec,
    core::GoldSecret,
    crypto::hash,
    id::{Account, Hash, NetworkId, Salt, ShardHash},
    limit,
    message::{ItemEntry, ItemSet, Manifest, ManifestError, ShardRef, WavePlan, gold_root},
    network::Params,
};

use super::{
    chance::Chance,
    items::{ITEMS_BYTES_MAX, SourceItem, check_name},
    pack::{self, SHARD_BYTES_TARGET},
    spec::{SpecError, TaskSpec},
};

/// Bytes left free in an announcement and a gold opening for what stands around manifest and entries.
const MESSAGE_MARGIN_BYTES: usize = 256;

/// A task ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Terms; passes [`Manifest::check`].
    pub manifest: Manifest,
    /// Secret gold, one per wave; a wave without gold has no entries.
    pub gold: Vec<GoldSecret>,
    /// Where each item is, in item order; the content of the first shard.
    pub index: Vec<ItemEntry>,
    /// All shards with their bytes: the item index first, then the items' shards in the manifest's order.
    pub shards: Vec<(ShardRef, Vec<u8>)>,
}

/// Why terms and items are no task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The terms are unusable.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The items are unusable.
    #[error("items: {0}")]
    Items(String),
    /// An item is unusable.
    #[error("item {name:?}: {why}")]
    Item {
        /// The item.
        name: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The manifest would not be accepted.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Builds the task of `client` on the network `network` with parameters `params`.
///
/// `seed`: 32 fresh random bytes, kept secret until the task is over.
///
/// # Errors
/// The first thing that the network would refuse.
pub fn build(
    spec: &TaskSpec,
    items: Vec<SourceItem>,
    seed: &[u8; 32],
    client: Account,
    network: &NetworkId,
    params: &Params,
) -> Result<Built, BuildError> {
    let kind = spec.task_kind()?;
    let count = check_items(&items, kind.classes())?;
    let seeds = Seeds::new(seed, spec, &items, client, network);

    let fresh = apportion(count, &spec.fresh()?);
    let gold_total = items.iter().filter(|i| i.gold.is_some()).count() as u32;
    let gold_counts = spread_gold(gold_total, &fresh);
    let items = arrange(items, &fresh, &gold_counts, &seeds);

    let mut gold = Vec::with_capacity(fresh.len());
    let mut waves = Vec::with_capacity(fresh.len());
    let mut numbered = (0u32..).zip(&items);
    for (wave, &shown) in fresh.iter().enumerate() {
        let shown_items = numbered.by_ref().take(shown as usize);
        let entries: Vec<(u32, u16)> = shown_items
            .filter_map(|(n, item)| Some((n, item.gold?)))
            .collect();
        if codec::encode(&entries).len() + MESSAGE_MARGIN_BYTES > limit::BODY_BYTES_MAX {
            let why = format!(
                "wave {wave} has {} gold items, too many to open in one message; use fewer",
                entries.len()
            );
            return Err(BuildError::Items(why));
        }
        let salt = Salt(seeds.of("salt", wave as u64).0);
        waves.push(WavePlan {
            fresh: shown,
            gold_count: entries.len() as u32,
            gold_root: gold_root(&salt, &entries),
        });
        gold.push(GoldSecret { entries, salt });
    }

    let nothing = ShardRef {
        hash: ShardHash([0; 32]),
        bytes: 0,
    };
    let mut manifest = Manifest {
        v: 1,
        network: *network,
        client,
        title: spec.title.clone(),
        guideline: spec.guideline.clone().into_iter().collect(),
        kind,
        items: ItemSet {
            count,
            index: nothing,
            shards: Vec::new(),
        },
        waves,
        assignment: spec.assignment()?,
        target_posterior_ppm: spec.target_posterior_ppm()?,
        price: spec.price(params)?,
        gold_bond: Amount::ZERO,
        full_skill_ppm: spec.full_skill_ppm()?,
        loss_cap_ppm: spec.loss_cap_ppm()?,
        labelers_min: spec.labelers_min(),
        labelers_max: spec.labelers_max,
        durations: spec.durations,
        licence: spec.licence.clone(),
        nonce: Salt(seeds.of("nonce", 0).0),
    };
    manifest.gold_bond = match spec.gold_bond(params)? {
        Some(bond) => bond,
        None if gold_total == 0 => Amount::ZERO,
        None => least_bond(&manifest, params)?,
    };
    // Before the bytes are moved, so that a wrong field is reported as such and not as a lack of room.
    manifest.check(network, params)?;

    let (index, shards) = pack_items(items, shards_max(&manifest)?)?;
    manifest.items.index = shards[0].0;
    manifest.items.shards = shards[1..].iter().map(|(shard, _)| *shard).collect();
    manifest.check(network, params)?;
    Ok(Built {
        manifest,
        gold,
        index,
        shards,
    })
}

/// The smallest bond that the network accepts for this budget.
fn least_bond(manifest: &Manifest, params: &Params) -> Result<Amount, BuildError> {
    let bond = manifest
        .label_budget()
        .and_then(|budget| Params::ppm_of(budget, params.gold_bond_ppm));
    bond.ok_or_else(|| {
        SpecError::Field {
            field: "price",
            why: "items x k_max x price is too large; lower one of them".into(),
        }
        .into()
    })
}

fn check_items(items: &[SourceItem], classes: u16) -> Result<u32, BuildError> {
    if items.is_empty() {
        return Err(BuildError::Items(
            "there are none; a task needs at least one".into(),
        ));
    }
    let count = u32::try_from(items.len())
        .ok()
        .filter(|&n| n <= limit::ITEMS_MAX);
    let count = count.ok_or_else(|| {
        BuildError::Items(format!(
            "{} items, a task has at most {}; split the data set",
            items.len(),
            limit::ITEMS_MAX
        ))
    })?;
    let mut names = BTreeSet::new();
    for item in items {
        let bad = |why: String| {
            Err(BuildError::Item {
                name: item.name.clone(),
                why,
            })
        };
        if let Err(why) = check_name(&item.name) {
            return bad(why);
        }
        if !names.insert(item.name.as_str()) {
            return bad("the name stands twice; give each item a name of its own".into());
        }
        if item.bytes.is_empty() || item.bytes.len() as u64 > limit::SHARD_BYTES_MAX {
            return bad(format!(
                "{} bytes, an item has 1 to {}",
                item.bytes.len(),
                limit::SHARD_BYTES_MAX
            ));
        }
        if let Some(gold) = item.gold.filter(|&g| g >= classes) {
            return bad(format!(
                "gold label {gold} does not exist, the task has {classes} labels"
            ));
        }
    }
    let bytes: u64 = items.iter().map(|i| i.bytes.len() as u64).sum();
    if bytes > ITEMS_BYTES_MAX {
        return Err(too_many_bytes(bytes));
    }
    Ok(count)
}

fn too_many_bytes(bytes: u64) -> BuildError {
    BuildError::Items(format!(
        "{bytes} bytes with the index; a committee holds at most {ITEMS_BYTES_MAX} for a task that is not funded yet: split the data set"
    ))
}

/// One seed per purpose, bound to terms and items.
struct Seeds(Hash);

impl Seeds {
    fn new(
        seed: &[u8; 32],
        spec: &TaskSpec,
        items: &[SourceItem],
        client: Account,
        network: &NetworkId,
    ) -> Self {
        let mut content = blake3::Hasher::new_derive_key("assay/1/dataset/items");
        for item in items {
            let gold = item
                .gold
                .map_or([0; 3], |g| [1, g.to_be_bytes()[0], g.to_be_bytes()[1]]);
            let parts = [
                item.name.as_bytes(),
                item.media.as_bytes(),
                &item.bytes,
                &gold,
            ];
            content.update(&hash("assay/1/dataset/item", &parts).0);
        }
        let content = content.finalize();
        let parts: [&[u8]; 5] = [
            seed,
            &network.0,
            &client.0,
            &codec::encode(spec),
            content.as_bytes(),
        ];
        Self(hash("assay/1/dataset/seed", &parts))
    }

    fn of(&self, purpose: &str, number: u64) -> Hash {
        hash(
            "assay/1/dataset/draw",
            &[&self.0.0, purpose.as_bytes(), &number.to_be_bytes()],
        )
    }
}

/// Splits `total` in the ratio of `parts` by largest remainder, earlier places first; the first place gets at least one.
fn apportion(total: u32, parts: &[u32]) -> Vec<u32> {
    let sum: u64 = parts.iter().map(|&p| u64::from(p)).sum::<u64>().max(1);
    let exact = |part: u32| u64::from(total) * u64::from(part);
    let mut shares: Vec<u32> = parts.iter().map(|&p| (exact(p) / sum) as u32).collect();
    let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
    by_remainder.sort_by_key(|&i| std::cmp::Reverse(exact(parts[i]) % sum));
    let left = total - shares.iter().sum::<u32>();
    for &i in by_remainder.iter().take(left as usize) {
        shares[i] += 1;
    }
    if total > 0 && shares.first() == Some(&0) {
        take_one(&mut shares, 0);
    }
    shares
}

/// Moves one from the largest place to `to`.
fn take_one(shares: &mut [u32], to: usize) {
    let largest = (0..shares.len()).max_by_key(|&i| (shares[i], std::cmp::Reverse(i)));
    if let Some(from) = largest.filter(|&from| shares[from] > 0) {
        shares[from] -= 1;
        shares[to] += 1;
    }
}

/// Gold per wave: in proportion to fresh items and at least one each; with less gold than waves, as early as possible.
fn spread_gold(total: u32, fresh: &[u32]) -> Vec<u32> {
    let showing: Vec<usize> = (0..fresh.len()).filter(|&w| fresh[w] > 0).collect();
    if (total as usize) < showing.len() {
        let mut left = total;
        return fresh
            .iter()
            .map(|&shown| {
                let here = left.min(shown);
                left -= here;
                here
            })
            .collect();
    }
    let mut gold = apportion(total, fresh);
    for wave in showing {
        if gold[wave] == 0 {
            take_one(&mut gold, wave);
        }
    }
    gold
}

/// Items in the order of the manifest: by wave, shuffled within each.
fn arrange(
    items: Vec<SourceItem>,
    fresh: &[u32],
    gold_counts: &[u32],
    seeds: &Seeds,
) -> Vec<SourceItem> {
    let (mut gold, mut plain): (Vec<_>, Vec<_>) = items.into_iter().partition(|i| i.gold.is_some());
    Chance::new(&seeds.of("gold", 0)).shuffle(&mut gold);
    Chance::new(&seeds.of("plain", 0)).shuffle(&mut plain);
    let (mut gold, mut plain) = (gold.into_iter(), plain.into_iter());
    let mut ordered = Vec::with_capacity(gold.len() + plain.len());
    for (wave, (&shown, &golden)) in fresh.iter().zip(gold_counts).enumerate() {
        let start = ordered.len();
        ordered.extend(gold.by_ref().take(golden as usize));
        ordered.extend(plain.by_ref().take((shown - golden) as usize));
        Chance::new(&seeds.of("order", wave as u64)).shuffle(&mut ordered[start..]);
    }
    ordered
}

/// How many shards this manifest can name besides the index.
fn shards_max(manifest: &Manifest) -> Result<usize, BuildError> {
    let largest = ShardRef {
        hash: ShardHash([0; 32]),
        bytes: limit::SHARD_BYTES_MAX,
    };
    // Less than one shard name of slack: the index reference is still the empty one here.
    let used = codec::encode(manifest).len() + MESSAGE_MARGIN_BYTES;
    let room = limit::MANIFEST_BYTES_MAX.saturating_sub(used) / codec::encode(&largest).len();
    if room == 0 {
        let why = format!(
            "the manifest has {used} bytes, at most {}; shorten the guideline",
            limit::MANIFEST_BYTES_MAX
        );
        return Err(SpecError::Field {
            field: "guideline",
            why,
        }
        .into());
    }
    Ok(room.min(limit::SHARDS_MAX))
}

type Packed = (Vec<ItemEntry>, Vec<(ShardRef, Vec<u8>)>);

/// Index and shards, the index shard first.
fn pack_items(items: Vec<SourceItem>, shards_max: usize) -> Result<Packed, BuildError> {
    let sizes: Vec<u64> = items.iter().map(|i| i.bytes.len() as u64).collect();
    let plan = pack::plan(&sizes, SHARD_BYTES_TARGET, shards_max);
    let plan = plan.ok_or_else(|| {
        BuildError::Items(format!(
            "do not fit into {shards_max} shards; split the data set"
        ))
    })?;
    let mut index = Vec::with_capacity(items.len());
    let mut shards = Vec::with_capacity(plan.len() + 1);
    let mut items = items.into_iter();
    for (shard, count) in (0u32..).zip(plan) {
        let mut bytes = Vec::new();
        for item in items.by_ref().take(count) {
            let (offset, length) = (bytes.len() as u64, item.bytes.len() as u64);
            index.push(ItemEntry {
                name: item.name,
                media: item.media,
                shard,
                offset,
                bytes: length,
            });
            bytes.extend_from_slice(&item.bytes);
        }
        shards.push((shard_ref(&bytes), bytes));
    }
    let bytes = codec::encode(&index);
    if bytes.len() as u64 > limit::SHARD_BYTES_MAX {
        let why = format!(
            "the index has {} bytes, at most {}; use shorter names or split the data set",
            bytes.len(),
            limit::SHARD_BYTES_MAX
        );
        return Err(BuildError::Items(why));
    }
    shards.insert(0, (shard_ref(&bytes), bytes));
    let total: u64 = shards.iter().map(|(shard, _)| shard.bytes).sum();
    if total > ITEMS_BYTES_MAX {
        return Err(too_many_bytes(total));
    }
    Ok((index, shards))
}

fn shard_ref(bytes: &[u8]) -> ShardRef {
    ShardRef {
        hash: ShardHash(*blake3::hash(bytes).as_bytes()),
        bytes: bytes.len() as u64,
    }
}

#[cfg(test)]
mod tests;
