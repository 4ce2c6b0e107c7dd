//! Later votes on a frozen fit: equal to one run over all of them, to a plain implementation, and to `infer_class` without any.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::model::EXPERTS;
use super::super::verdict::joint_odds;
use super::super::votes::Index;
use super::super::voting::Voting;
use super::super::{
    ClassInput, ClassScoring, GoldPrior, REFIT_PART, Vote, fit_experts, infer_class, search,
};
use super::real_sets::{REFERENCES, accuracy, folder, load};
use super::{Crowd, Habit, Plan, Rng, mixed_habits};
use crate::consensus::ConsensusError;
use crate::consensus::fixed::ONE;

/// A task whose votes and gold arrive in batches; the first is the one that is fitted.
pub(super) struct Story {
    pub items: u32,
    pub labelers: u32,
    pub classes: u16,
    pub batches: Vec<(Vec<Vote>, BTreeMap<u32, u16>)>,
    pub priors: Vec<GoldPrior>,
    /// Cluster of each labeler, where the test decides on them.
    pub cluster: Option<Vec<Option<u32>>>,
}

impl Story {
    pub fn draw(rng: &mut Rng) -> Self {
        let (items, labelers) = (1 + rng.below(9) as u32, 1 + rng.below(7) as u32);
        let classes = 2 + rng.below(6) as u16;
        let batches = 1 + rng.below(4) as usize;
        let density = 1 + rng.below(100);
        let early = 1 + rng.below(100);
        let mut story = Self {
            items,
            labelers,
            classes,
            batches: vec![Default::default(); batches],
            priors: Vec::new(),
            cluster: None,
        };
        let batch = |rng: &mut Rng| {
            if rng.percent(early) {
                0
            } else {
                rng.below(batches as u64) as usize
            }
        };
        for item in 0..items {
            let favourite = rng.below(u64::from(classes)) as u16;
            if rng.percent(20) {
                let label = rng.below(u64::from(classes)) as u16;
                let at = batch(rng);
                story.batches[at].1.insert(item, label);
            }
            for labeler in 0..labelers {
                if rng.percent(density) {
                    let label = if rng.percent(60) {
                        favourite
                    } else {
                        rng.below(u64::from(classes)) as u16
                    };
                    let at = batch(rng);
                    story.batches[at].0.push(Vote {
                        item,
                        labeler,
                        label,
                    });
                }
            }
        }
        if rng.percent(50) {
            let prior = |_| GoldPrior {
                alpha_milli: rng.below(9_000) as u32,
                beta_milli: rng.below(9_000) as u32,
            };
            story.priors = (0..labelers).map(prior).collect();
        }
        if rng.percent(50) {
            let cluster = |_| rng.percent(50).then(|| rng.below(2) as u32);
            story.cluster = Some((0..labelers).map(cluster).collect());
        }
        for (votes, _) in &mut story.batches {
            rng.shuffle(votes);
        }
        story
    }

    pub fn input<'a>(&'a self, votes: &'a [Vote], gold: &'a BTreeMap<u32, u16>) -> ClassInput<'a> {
        ClassInput {
            items: self.items,
            labelers: self.labelers,
            classes: self.classes,
            votes,
            gold,
            priors: &self.priors,
        }
    }

    /// The first batch, fitted; with the story's clusters if it has any.
    pub fn fitted(&self) -> ClassScoring {
        let (votes, gold) = &self.batches[0];
        let input = self.input(votes, gold);
        let Some(cluster) = &self.cluster else {
            return ClassScoring::fit(&input).unwrap();
        };
        let index = Index::new(&input).unwrap();
        let mut found = search(&index, &vec![false; index.labelers]);
        found.voting = Voting::clustered(&index, cluster.clone(), 2);
        (found.readings, found.excess) = fit_experts(&index, &found.voting, None);
        let fit = found.decide(&index);
        ClassScoring::assemble(index, fit, &self.priors)
    }

    /// Everything after the first batch in one.
    pub fn rest(&self) -> (Vec<Vote>, BTreeMap<u32, u16>) {
        let mut all = (Vec::new(), BTreeMap::new());
        for (votes, gold) in &self.batches[1..] {
            all.0.extend_from_slice(votes);
            all.1.extend(gold);
        }
        all
    }

    pub fn in_batches(&self) -> ClassScoring {
        let mut scoring = self.fitted();
        for (votes, gold) in &self.batches[1..] {
            scoring.extend(votes, gold).unwrap();
        }
        scoring
    }

    pub fn at_once(&self) -> ClassScoring {
        let mut scoring = self.fitted();
        let (votes, gold) = self.rest();
        scoring.extend(&votes, &gold).unwrap();
        scoring
    }
}

/// Everything that is published about a scoring.
pub(super) fn assert_same(left: &ClassScoring, right: &ClassScoring, what: &str) {
    assert_eq!(left.items(), right.items(), "{what}");
    assert_eq!(left.labelers(), right.labelers(), "{what}");
    assert_eq!(left.table(), right.table(), "{what}");
    assert_eq!(left.input_head(), right.input_head(), "{what}");
    assert_eq!(left.score_head(), right.score_head(), "{what}");
}

#[test]
fn without_later_votes_a_scoring_is_the_inference() {
    let mut rng = Rng(71);
    for case in 0..2_000 {
        let story = Story::draw(&mut rng);
        let (votes, gold) = &story.batches[0];
        let input = story.input(votes, gold);
        let result = infer_class(&input).unwrap();
        let scoring = ClassScoring::fit(&input).unwrap();
        assert_eq!(scoring.items(), result.items, "case {case}");
        assert_eq!(scoring.labelers(), result.labelers, "case {case}");
        assert_eq!(scoring.clusters(), result.clusters, "case {case}");
        assert_eq!(scoring.table(), &result.table, "case {case}");
        for item in 0..story.items {
            assert_eq!(scoring.posteriors_of(item), result.posteriors_of(item));
        }
    }
}

#[test]
fn ten_thousand_crowds_have_one_root_in_batches_and_at_once() {
    let mut rng = Rng(72);
    let (mut later, mut clustered) = (0, 0);
    for case in 0..10_000 {
        let mut story = Story::draw(&mut rng);
        let scoring = story.in_batches();
        later += scoring.late_votes();
        clustered += usize::from(story.cluster.is_some());
        assert_same(&scoring, &story.at_once(), &format!("case {case}"));
        for (votes, _) in &mut story.batches {
            rng.shuffle(votes);
        }
        let last = story.batches.len() - 1;
        story.batches[1.min(last)..].reverse();
        assert_same(&scoring, &story.in_batches(), &format!("case {case}"));
    }
    assert!(later > 20_000 && clustered > 4_000, "{later} {clustered}");
}

/// What the plain implementation says about one labeler.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plain {
    votes: u32,
    gold: (u32, u32),
    skill_ppm: i64,
    agreement_ppm: u32,
    longest_run: u32,
    margin_milli: i32,
}

/// Judges labelers by nested loops over all votes, from the fit and the table.
fn plain(story: &Story, scoring: &ClassScoring) -> Vec<Plain> {
    let (index, fit) = (&scoring.index, &scoring.fit);
    let k = usize::from(story.classes);
    let n = story.labelers as usize;
    let first = &story.batches[0];
    let (rest, rest_gold) = story.rest();
    let mut list = Vec::new();
    // Sums per labeler: weight, truth per class, own per label, agreement, items and agreement with peers.
    let mut weight = vec![0i128; n];
    let mut truth = vec![vec![0i128; k]; n];
    let mut own = vec![vec![0i128; k]; n];
    let mut agreed = vec![0i128; n];
    let mut peers = vec![(0u128, 0u128); n];
    // Answers judged, sum of P(right) and of its variance.
    let mut rights = vec![(0i128, 0i128, 0i128); n];
    let mut result: Vec<Plain> = (0..n).map(|_| Plain::default()).collect();
    for item in 0..story.items {
        let on_item = |votes: &[Vote], late: bool| {
            let mut here: Vec<(u32, u16, bool)> = votes
                .iter()
                .filter(|vote| vote.item == item)
                .map(|vote| (vote.labeler, vote.label, late))
                .collect();
            here.sort_unstable();
            here
        };
        let early = on_item(&first.0, false);
        let votes = [early.clone(), on_item(&rest, true)].concat();
        list.extend(votes.iter().map(|vote| (vote.0, item, vote.1)));
        let gold = first.1.get(&item).or(rest_gold.get(&item)).copied();
        let cluster = |labeler: u32| fit.voting.cluster_of(labeler);
        let same = |a: u32, b: u32| a == b || (cluster(a).is_some() && cluster(a) == cluster(b));
        for &(labeler, label, _) in &votes {
            let l = labeler as usize;
            result[l].votes += 1;
            let (row, w) = if let Some(gold) = gold {
                result[l].gold.0 += 1;
                result[l].gold.1 += u32::from(gold == label);
                let hot = |class| if class == usize::from(gold) { ONE } else { 0 };
                ((0..k).map(hot).collect::<Vec<u32>>(), 2)
            } else {
                if votes.iter().all(|other| same(other.0, labeler)) {
                    continue;
                }
                let mut views = [vec![0i64; k], vec![0; k], vec![0; k]];
                for (number, view) in views.iter_mut().enumerate() {
                    let expert = &fit.experts[number];
                    let mut parts = Vec::new();
                    expert.unweighted_evidence(index, &fit.voting, item as usize, view, &mut parts);
                    for (at, &(other, answer, late)) in votes.iter().enumerate() {
                        if same(other, labeler) {
                            continue;
                        }
                        let crowd = votes.iter().filter(|peer| same(peer.0, other)).count();
                        let share = i64::from(ONE / crowd as u32);
                        for class in 0..k {
                            let (_, gain, _) = scoring.table.row(other);
                            let skill = if class == usize::from(answer) {
                                gain
                            } else {
                                0
                            };
                            let part = if !late {
                                parts[at * k + class]
                            } else if number + 1 == EXPERTS {
                                skill
                            } else {
                                let logs = scoring.table.logs(other, answer);
                                logs.map_or(skill, |logs| i64::from(logs[number][class]))
                            };
                            view[class] += part * share / i64::from(ONE);
                        }
                    }
                }
                let mut row = vec![0; k];
                let [a, b, c] = &views;
                joint_odds([a, b, c], &mut vec![0; k], &mut row);
                peers[l].0 += 1;
                peers[l].1 += u128::from(row[usize::from(label)]);
                (row, 1)
            };
            let right = i128::from(scoring.common.add::<0>(
                &row,
                false,
                usize::from(label),
                (0, 1),
                1,
                &mut Default::default(),
            ));
            rights[l].0 += 1;
            rights[l].1 += right;
            rights[l].2 += right * (65_536 - right) / 65_536;
            weight[l] += w;
            own[l][usize::from(label)] += w;
            agreed[l] += w * i128::from(row[usize::from(label)]);
            for class in 0..k {
                truth[l][class] += w * i128::from(row[class]);
            }
        }
    }
    list.sort_unstable();
    for l in 0..n {
        let w = weight[l];
        let expected: i128 = (0..k).map(|class| own[l][class] * truth[l][class]).sum();
        let mut above = w * agreed[l] - expected;
        let mut below = w * w * i128::from(ONE) - expected;
        let prior = story.priors.get(l).copied().unwrap_or_default();
        let carried = i128::from(prior.alpha_milli + prior.beta_milli);
        if carried > 0 && w > 0 {
            let mass = carried.min(8_000).min(w * 1_000 / 8) * w;
            let chance = truth[l].iter().max().unwrap() / w;
            let accuracy = i128::from(prior.alpha_milli) * i128::from(ONE) / carried;
            above += mass * (accuracy - chance) / 1_000;
            below += mass * (i128::from(ONE) - chance) / 1_000;
        }
        if below > 0 {
            let skill = above * 1_000_000 / below;
            result[l].skill_ppm = skill.clamp(-1_000_000, 1_000_000) as i64;
        }
        let (judged, right, doubt) = rights[l];
        if judged > 0 {
            // The least whole number from 2 K + 3 parts in 5 K of the answers.
            let k = k as i128;
            let needed = (0..).find(|needed| needed * 5 * k >= judged * (2 * k + 3));
            let above = 1_000 * (right + 32_768 - 65_536 * needed.unwrap());
            let deviation = (65_536 * (doubt + 65_536 / 20)).isqrt();
            result[l].margin_milli = (above / deviation).clamp(-64_000, 64_000) as i32;
        }
        let (items, sum) = peers[l];
        let agreement = (sum * 1_000_000).checked_div(items).unwrap_or(0);
        result[l].agreement_ppm = (agreement >> 16) as u32;
        let labels: Vec<u16> = list
            .iter()
            .filter(|vote| vote.0 as usize == l)
            .map(|vote| vote.2)
            .collect();
        let runs = labels.chunk_by(|a, b| a == b).map(<[u16]>::len);
        result[l].longest_run = runs.max().unwrap_or(0) as u32;
    }
    result
}

#[test]
fn ten_thousand_crowds_agree_with_the_plain_implementation() {
    let mut rng = Rng(73);
    for case in 0..10_000 {
        let story = Story::draw(&mut rng);
        let scoring = story.in_batches();
        let expected = plain(&story, &scoring);
        for (labeler, (result, expected)) in scoring.labelers().iter().zip(expected).enumerate() {
            let got = Plain {
                votes: result.votes,
                gold: (result.gold_seen, result.gold_right),
                skill_ppm: result.skill_ppm,
                agreement_ppm: result.agreement_ppm,
                longest_run: result.longest_run,
                margin_milli: result.margin_milli,
            };
            assert_eq!(got, expected, "case {case}, labeler {labeler}");
        }
    }
}

#[test]
fn refitting_is_a_fresh_fit_of_all_votes() {
    let mut rng = Rng(74);
    for case in 0..1_000 {
        let mut story = Story::draw(&mut rng);
        story.cluster = None;
        let mut scoring = story.in_batches();
        scoring.refit().unwrap();
        let (mut votes, mut gold) = story.rest();
        votes.extend_from_slice(&story.batches[0].0);
        gold.extend(&story.batches[0].1);
        let fresh = ClassScoring::fit(&story.input(&votes, &gold)).unwrap();
        assert_same(&scoring, &fresh, &format!("case {case}"));
        assert_eq!(scoring.late_votes(), 0);
    }
}

/// A crowd of mixed quality in which some labelers have the votes that count as steady, and the first `percent` of its votes.
fn big_crowd(seed: u64, percent: usize) -> (Crowd, Vec<Vote>, Vec<Vote>) {
    let habits = [mixed_habits(), vec![Habit::Right(85); 4]].concat();
    let mut rng = Rng(seed);
    let plan = Plan {
        items: 1_500,
        classes: 4,
        redundancy: 5,
        majority_percent: 40,
        gold_percent: 5,
        habits: &habits,
    };
    let crowd = Crowd::draw(&plan, &mut rng);
    let mut votes = crowd.votes.clone();
    rng.shuffle(&mut votes);
    let later = votes.split_off(votes.len() * percent / 100);
    (crowd, votes, later)
}

#[test]
fn big_crowds_with_rings_have_one_root_and_nearly_the_labels_of_a_full_fit() {
    for seed in 0..6 {
        let (crowd, votes, later) = big_crowd(seed, 90);
        let (early_gold, late_gold): (BTreeMap<_, _>, BTreeMap<_, _>) =
            crowd.gold.iter().partition(|(item, _)| *item % 3 > 0);
        let input = ClassInput {
            votes: &votes,
            gold: &early_gold,
            ..crowd.input()
        };
        let fitted = || ClassScoring::fit(&input).unwrap();
        let mut once = fitted();
        assert!(!once.clusters().is_empty(), "the ring is found");
        once.extend(&later, &late_gold).unwrap();
        let mut batched = fitted();
        for batch in later.chunks(97) {
            batched.extend(batch, &BTreeMap::new()).unwrap();
        }
        batched.extend(&[], &late_gold).unwrap();
        assert_same(&once, &batched, &format!("seed {seed}"));
        let full = crowd.infer();
        let frozen = once.items().iter().map(|item| item.label);
        let differ = frozen
            .zip(&full.items)
            .filter(|(label, item)| *label != item.label)
            .count();
        println!(
            "seed {seed}: {differ} of {} labels differ from a full fit",
            crowd.items
        );
        assert!(differ * 100 < crowd.items as usize);
    }
}

#[test]
fn real_crowds_lose_little_when_the_last_ninth_of_the_votes_is_late() {
    let Some(folder) = folder() else {
        println!(
            "SKIPPED: no real crowds found; point ASSAY_DATA at a folder with one sub-folder per set"
        );
        return;
    };
    let none = BTreeMap::new();
    println!(
        "{:<12} {:>8} {:>8} {:>8} {:>8}",
        "set", "late", "without", "late", "refit"
    );
    let mut sums = [0; 3];
    for (name, _) in REFERENCES {
        let set = load(&folder.join(name));
        let mut votes = set.votes.clone();
        Rng(3).shuffle(&mut votes);
        let late = votes.split_off(votes.len() * 8 / 9);
        let mut scoring = ClassScoring::fit(&ClassInput {
            items: set.items,
            labelers: set.labelers,
            classes: set.classes,
            votes: &votes,
            gold: &none,
            priors: &[],
        })
        .unwrap();
        let of = |scoring: &ClassScoring| accuracy(&set, |item| scoring.items()[item].label);
        let without = of(&scoring);
        scoring.extend(&late, &none).unwrap();
        let frozen = of(&scoring);
        scoring.refit().unwrap();
        let figures = [without, frozen, of(&scoring)];
        let [a, b, c] = figures.map(|value| format!("{}.{}", value / 10, value % 10));
        println!("{name:<12} {:>8} {a:>8} {b:>8} {c:>8}", late.len());
        sums.iter_mut()
            .zip(figures)
            .for_each(|(sum, value)| *sum += value);
    }
    // In tenths of a per cent, summed over the sets: more is learnt from late votes than is lost by not refitting.
    assert!(sums[1] > sums[0], "{sums:?}");
    assert!(sums[1] + 5 * REFERENCES.len() as u64 >= sums[2], "{sums:?}");
}

#[test]
fn the_boundary_moves_with_the_batches_and_with_nothing_else() {
    let (crowd, votes, later) = big_crowd(9, 60);
    let none = BTreeMap::new();
    let run = |shuffle: bool| {
        let mut rng = Rng(4);
        let mut scoring = ClassScoring::fit(&ClassInput {
            votes: &[],
            gold: &none,
            ..crowd.input()
        })
        .unwrap();
        let mut moves = Vec::new();
        let mut batches = vec![votes.clone()];
        batches.extend(later.chunks(250).map(<[Vote]>::to_vec));
        for mut batch in batches {
            if shuffle {
                rng.shuffle(&mut batch);
            }
            let (within, late) = (scoring.votes() - scoring.late_votes(), scoring.late_votes());
            let due = (late + batch.len() as u64) * REFIT_PART >= within;
            let moved = scoring.take(&batch, &none).unwrap();
            assert_eq!(moved, due);
            assert_eq!(scoring.late_votes() == 0, moved);
            moves.push((moved, scoring.score_root()));
        }
        moves
    };
    let moves = run(false);
    assert_eq!(moves, run(true));
    assert!(moves.iter().filter(|step| step.0).count() >= 3);
    assert!(moves.iter().filter(|step| !step.0).count() >= 5);
}

#[test]
fn a_refused_batch_is_named_and_changes_nothing() {
    let mut rng = Rng(75);
    let mut refused = BTreeMap::new();
    for _ in 0..2_000 {
        let story = Story::draw(&mut rng);
        let mut scoring = story.in_batches();
        let before = story.in_batches();
        let (mut votes, mut gold) = (Vec::new(), BTreeMap::new());
        let vote = |item: u64, labeler: u64, label: u64| Vote {
            item: item as u32,
            labeler: labeler as u32,
            label: label as u16,
        };
        let (items, labelers) = (u64::from(story.items), u64::from(story.labelers));
        let classes = u64::from(story.classes);
        match rng.below(3) {
            0 => {
                for _ in 0..1 + rng.below(3) {
                    let (item, labeler) = (rng.below(items + 1), rng.below(labelers + 1));
                    votes.push(vote(item, labeler, rng.below(classes + 1)));
                }
            }
            1 => {
                gold.insert(rng.below(items + 1) as u32, rng.below(classes + 1) as u16);
            }
            _ => {
                let again = vote(rng.below(items), rng.below(labelers), rng.below(classes));
                votes = vec![again, again];
            }
        }
        let kind = match scoring.extend(&votes, &gold) {
            Ok(()) => continue,
            Err(ConsensusError::ItemOutOfRange { index, item, .. }) => {
                assert_eq!(votes[index].item, item);
                "item"
            }
            Err(ConsensusError::LabelerOutOfRange { index, labeler, .. }) => {
                assert_eq!(votes[index].labeler, labeler);
                "labeler"
            }
            Err(ConsensusError::LabelOutOfRange { index, label, .. }) => {
                assert_eq!(votes[index].label, label);
                "label"
            }
            Err(ConsensusError::DuplicateVote { first, second, .. }) => {
                assert!(first < second);
                assert_eq!(votes[first].labeler, votes[second].labeler);
                "duplicate"
            }
            Err(ConsensusError::AlreadyVoted {
                index,
                item,
                labeler,
            }) => {
                assert_eq!((votes[index].item, votes[index].labeler), (item, labeler));
                let known = story.batches.iter().flat_map(|batch| &batch.0);
                let mut known = known.filter(|vote| (vote.item, vote.labeler) == (item, labeler));
                assert!(known.next().is_some());
                "already"
            }
            Err(ConsensusError::GoldOutOfRange { item, .. }) => {
                assert!(gold.contains_key(&item));
                "gold range"
            }
            Err(ConsensusError::GoldTwice { item }) => {
                assert!(
                    story
                        .batches
                        .iter()
                        .any(|batch| batch.1.contains_key(&item))
                );
                "gold twice"
            }
            Err(other) => panic!("{other}"),
        };
        *refused.entry(kind).or_insert(0) += 1;
        assert_same(&scoring, &before, kind);
    }
    assert_eq!(refused.len(), 7, "{refused:?}");
}

#[test]
fn the_smallest_tasks_have_roots() {
    let none = BTreeMap::new();
    let empty = ClassInput {
        items: 0,
        labelers: 0,
        classes: 2,
        votes: &[],
        gold: &none,
        priors: &[],
    };
    let mut scoring = ClassScoring::fit(&empty).unwrap();
    let root = scoring.score_root();
    scoring.extend(&[], &none).unwrap();
    scoring.refit().unwrap();
    assert_eq!(scoring.score_root(), root);
    // One vote beyond a boundary that holds none, and its gold after it.
    let one = ClassInput {
        items: 1,
        labelers: 1,
        classes: 3,
        ..empty
    };
    let mut scoring = ClassScoring::fit(&one).unwrap();
    assert_ne!(scoring.score_root(), root);
    let vote = Vote {
        item: 0,
        labeler: 0,
        label: 1,
    };
    scoring.extend(&[vote], &none).unwrap();
    assert_eq!(scoring.items()[0].label, Some(1));
    scoring.extend(&[], &BTreeMap::from([(0, 0)])).unwrap();
    assert_eq!(scoring.items()[0].label, Some(0));
    assert_eq!(scoring.labelers()[0].gold_seen, 1);
    assert_eq!(scoring.labelers()[0].gold_right, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_changed_input_gives_another_root(seed: u64, pick: u64) {
        let mut rng = Rng(seed);
        let mut story = Story::draw(&mut rng);
        story.cluster = None;
        let scoring = story.in_batches();
        let all: usize = story.batches.iter().map(|batch| batch.0.len()).sum();
        prop_assume!(all > 0);
        let mut at = (pick % all as u64) as usize;
        let batch = story.batches.iter_mut().find(|batch| {
            let here = at < batch.0.len();
            if !here {
                at -= batch.0.len();
            }
            here
        });
        let (votes, gold) = batch.unwrap();
        match pick % 4 {
            0 => votes[at].label = (votes[at].label + 1) % story.classes,
            1 => drop(votes.remove(at)),
            2 => match gold.iter_mut().next() {
                Some((_, label)) => *label = (*label + 1) % story.classes,
                None => votes[at].label = (votes[at].label + 1) % story.classes,
            },
            _ => {
                let mut priors = vec![GoldPrior::default(); story.labelers as usize];
                priors[..story.priors.len()].copy_from_slice(&story.priors);
                priors[at % story.labelers as usize].alpha_milli += 1;
                story.priors = priors;
            }
        }
        let other = story.in_batches();
        prop_assert_ne!(scoring.input_root(), other.input_root());
        prop_assert_ne!(scoring.score_root(), other.score_root());
    }
}
