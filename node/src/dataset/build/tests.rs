use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const NETWORK: NetworkId = NetworkId([9; 32]);
const CLIENT: Account = Account([3; 20]);

fn spec(more: &str) -> TaskSpec {
    let least =
        "title = \"t\"\nlabels = [\"a\", \"b\", \"c\"]\nprice = \"0.05\"\nlicence = \"CC0-1.0\"\n";
    TaskSpec::from_toml(&format!("{least}{more}")).unwrap()
}

/// Items of `sizes` bytes, those in `gold` with an answer.
fn items(sizes: &[usize], gold: impl Fn(usize) -> bool) -> Vec<SourceItem> {
    let item = |(n, &size): (usize, &usize)| SourceItem {
        name: format!("item-{n}"),
        media: "text/plain".into(),
        bytes: (0..size).map(|i| (n * 31 + i) as u8).collect(),
        gold: gold(n).then_some((n % 3) as u16),
    };
    sizes.iter().enumerate().map(item).collect()
}

fn built(spec: &TaskSpec, items: Vec<SourceItem>, seed: u8) -> Result<Built, BuildError> {
    build(spec, items, &[seed; 32], CLIENT, &NETWORK, &Params::dev())
}

/// What the rest of the network will insist on, from the bytes alone.
fn check_built(built: &Built, source: &[SourceItem]) {
    let Built {
        manifest,
        gold,
        index,
        shards,
    } = built;
    manifest.check(&NETWORK, &Params::dev()).unwrap();
    assert!(codec::encode(manifest).len() <= limit::MANIFEST_BYTES_MAX);

    let by_hash: BTreeMap<[u8; 32], &Vec<u8>> = shards.iter().map(|(s, b)| (s.hash.0, b)).collect();
    for (shard, bytes) in shards {
        assert_eq!(shard.hash.0, *blake3::hash(bytes).as_bytes());
        assert_eq!(shard.bytes, bytes.len() as u64);
    }
    let named: Vec<ShardRef> = shards.iter().map(|(s, _)| *s).collect();
    assert_eq!(named[0], manifest.items.index);
    assert_eq!(named[1..], manifest.items.shards);
    let index_bytes = by_hash[&manifest.items.index.hash.0];
    assert_eq!(
        &codec::decode::<Vec<ItemEntry>>(index_bytes, index_bytes.len()).unwrap(),
        index
    );
    assert_eq!(index.len(), source.len());

    let source: BTreeMap<&str, &SourceItem> = source.iter().map(|i| (i.name.as_str(), i)).collect();
    let known: BTreeMap<u32, u16> = gold
        .iter()
        .flat_map(|g| g.entries.iter().copied())
        .collect();
    let mut seen = BTreeSet::new();
    for (n, entry) in (0u32..).zip(index) {
        let bytes =
            &shards[entry.shard as usize + 1].1[entry.offset as usize..][..entry.bytes as usize];
        let item = source[entry.name.as_str()];
        assert_eq!(
            (bytes, entry.media.as_str()),
            (item.bytes.as_slice(), item.media.as_str())
        );
        assert_eq!(known.get(&n).copied(), item.gold, "gold of {}", entry.name);
        assert!(seen.insert(&entry.name));
    }

    assert_eq!(gold.len(), manifest.waves.len());
    for (wave, (plan, secret)) in manifest.waves.iter().zip(gold).enumerate() {
        let shown = manifest.fresh_items(wave as u8);
        assert_eq!(plan.gold_count as usize, secret.entries.len());
        assert_eq!(plan.gold_root, gold_root(&secret.salt, &secret.entries));
        assert!(secret.entries.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(secret.entries.iter().all(|e| shown.contains(&e.0)));
    }
}

#[test]
fn two_waves_show_three_quarters_then_one_quarter_with_gold_in_proportion() {
    let source = items(&[10; 80], |n| n < 8);
    let built = built(&spec(""), source.clone(), 1).unwrap();
    check_built(&built, &source);
    let waves: Vec<_> = built
        .manifest
        .waves
        .iter()
        .map(|w| (w.fresh, w.gold_count))
        .collect();
    assert_eq!(waves, [(60, 6), (20, 2)]);
    // 80 items x 5 labels x 0.05 = 20 tokens; the development network asks for 5 % of it.
    assert_eq!(built.manifest.gold_bond, Amount(1_000_000));
    assert_ne!(built.gold[0].salt, built.gold[1].salt);
}

#[test]
fn the_same_seed_gives_the_same_task_and_another_seed_another_order() {
    let source = items(&[10; 40], |n| n % 5 == 0);
    let first = built(&spec(""), source.clone(), 1).unwrap();
    assert_eq!(first, built(&spec(""), source.clone(), 1).unwrap());
    let second = built(&spec(""), source, 2).unwrap();
    assert_ne!(first.index, second.index);
    assert_ne!(first.manifest.nonce, second.manifest.nonce);
}

#[test]
fn a_seed_used_for_two_tasks_does_not_repeat_a_salt() {
    let source = items(&[10; 40], |n| n % 5 == 0);
    let first = built(&spec(""), source.clone(), 1).unwrap();
    let mut other = source.clone();
    other[0].gold = Some(2);
    for second in [
        built(&spec("k = 4"), source, 1).unwrap(),
        built(&spec(""), other, 1).unwrap(),
    ] {
        assert_ne!(first.gold[0].salt, second.gold[0].salt);
        assert_ne!(first.manifest.nonce, second.manifest.nonce);
    }
}

#[test]
fn gold_stands_at_every_place_equally_often() {
    let source = items(&[1; 8], |n| n == 3);
    let mut places = [0u32; 8];
    for seed in 0..=255u8 {
        for more in [
            "waves = 1",
            "waves = 1\nk = 4",
            "waves = 1\nk = 5",
            "waves = 1\nk = 6",
        ] {
            places[built(&spec(more), source.clone(), seed).unwrap().gold[0].entries[0].0
                as usize] += 1;
        }
    }
    // 128 expected each; 53 is five standard deviations, and the seeds are fixed.
    assert!(places.iter().all(|n| n.abs_diff(128) < 53), "{places:?}");
}

#[test]
fn gold_is_spread_by_the_size_of_waves() {
    for (total, fresh, expected) in [
        (0, vec![3, 1], vec![0, 0]),
        (1, vec![3, 1], vec![1, 0]),
        (2, vec![75, 25], vec![1, 1]),
        (10, vec![75, 25], vec![8, 2]),
        (4, vec![97, 1, 1, 1], vec![1, 1, 1, 1]),
        (2, vec![1, 5, 5], vec![1, 1, 0]),
        (1, vec![10, 0, 0], vec![1, 0, 0]),
        (3, vec![2, 0, 1], vec![2, 0, 1]),
    ] {
        assert_eq!(
            spread_gold(total, &fresh),
            expected,
            "{total} over {fresh:?}"
        );
    }
}

#[test]
fn items_are_packed_into_shards_of_a_quarter_mebibyte() {
    let mut sizes = vec![3_000; 700];
    sizes.push(600_000);
    let source = items(&sizes, |n| n % 10 == 0);
    let built = built(&spec(""), source.clone(), 1).unwrap();
    check_built(&built, &source);
    let lone = |s: &ShardRef| s.bytes == 600_000;
    assert_eq!(
        built
            .manifest
            .items
            .shards
            .iter()
            .filter(|s| lone(s))
            .count(),
        1
    );
    assert!(
        built
            .manifest
            .items
            .shards
            .iter()
            .all(|s| lone(s) || s.bytes <= SHARD_BYTES_TARGET)
    );
    assert!((9..=12).contains(&built.manifest.items.shards.len()));
}

#[test]
fn a_long_guideline_leaves_room_for_fewer_and_larger_shards() {
    let text = "x".repeat(15 * 1024);
    let guideline: String = ["de", "en", "fr"]
        .iter()
        .map(|l| format!("{l} = \"{text}\"\n"))
        .collect();
    let sizes = vec![200_000; 400];
    let source = items(&sizes, |_| false);
    let roomy = built(&spec(""), source.clone(), 1).unwrap();
    assert_eq!(roomy.manifest.items.shards.len(), 400);
    let tight = built(
        &spec(&format!("[guideline]\n{guideline}")),
        source.clone(),
        1,
    )
    .unwrap();
    check_built(&tight, &source);
    assert!(tight.manifest.items.shards.len() <= 200);
    let full = format!("[guideline]\n{guideline}it = \"{text}\"");
    let error = built(&spec(&full), source, 1).unwrap_err().to_string();
    assert!(
        error.contains("guideline") && error.contains("shorten"),
        "{error}"
    );
}

#[test]
fn wrong_terms_and_items_are_refused_with_their_place() {
    let check = |spec: &TaskSpec, items: Vec<SourceItem>, part: &str| {
        let error = built(spec, items, 1)
            .expect_err("must be refused")
            .to_string();
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    };
    let good = || items(&[5; 4], |n| n == 0);
    check(
        &spec("kind = \"boxes\""),
        good(),
        "unknown task kind \"boxes\"; this version knows: class",
    );
    check(&spec(""), Vec::new(), "at least one");
    check(
        &spec(""),
        [good(), good()].concat(),
        "\"item-0\": the name stands twice",
    );
    check(&spec(""), items(&[5, 0], |_| false), "\"item-1\": 0 bytes");
    let mut unknown = good();
    unknown[2].gold = Some(3);
    check(
        &spec(""),
        unknown,
        "\"item-2\": gold label 3 does not exist",
    );
    check(&spec("k = 0"), good(), "assignment");
    check(&spec("gold_bond = \"0\""), good(), "gold_bond");
    check(
        &TaskSpec {
            price: "99999999999999999999999999999".into(),
            ..spec("")
        },
        good(),
        "price",
    );
    check(
        &TaskSpec {
            title: String::new(),
            ..spec("")
        },
        good(),
        "title",
    );
    check(
        &TaskSpec {
            labels: vec!["a".into()],
            ..spec("")
        },
        items(&[5], |_| false),
        "labels",
    );
    check(
        &TaskSpec {
            licence: String::new(),
            ..spec("")
        },
        good(),
        "licence",
    );
}

#[test]
fn a_task_without_gold_needs_no_bond() {
    let built = built(&spec(""), items(&[5; 4], |_| false), 1).unwrap();
    assert_eq!(built.manifest.gold_bond, Amount::ZERO);
    assert!(
        built
            .manifest
            .waves
            .iter()
            .all(|w| w.gold_root == Hash::ZERO)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_built_can_be_published_and_read_back(
        sizes in proptest::collection::vec(1usize..400, 1..60),
        gold: u64,
        parts in proptest::collection::vec(0u32..100, 0..limit::WAVES_MAX),
        seed: u8,
    ) {
        let fresh: Vec<u32> = std::iter::once(40).chain(parts).collect();
        let fresh = &fresh[..fresh.len().min(limit::WAVES_MAX)];
        let spec = spec(&format!("waves = {}\nfresh = {fresh:?}", fresh.len()));
        let source = items(&sizes, |n| gold >> n & 1 == 1);
        let built = built(&spec, source.clone(), seed).expect("sound terms and items");
        check_built(&built, &source);
    }

    #[test]
    fn shares_add_up_and_gold_fits_its_wave(total in 1u32..2_000, parts in proptest::collection::vec(0u32..1_000, 1..8), gold: u32) {
        let mut parts = parts;
        parts[0] += 1;
        let fresh = apportion(total, &parts);
        prop_assert_eq!(fresh.iter().sum::<u32>(), total);
        prop_assert!(fresh[0] > 0);
        let gold = gold % (total + 1);
        let spread = spread_gold(gold, &fresh);
        prop_assert_eq!(spread.iter().sum::<u32>(), gold);
        let showing = fresh.iter().filter(|&&f| f > 0).count() as u32;
        for (&golden, &shown) in spread.iter().zip(&fresh) {
            prop_assert!(golden <= shown);
            prop_assert!(gold < showing || shown == 0 || golden > 0);
        }
    }
}
