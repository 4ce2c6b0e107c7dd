//! A second, plain implementation of shapes from the formulas of the headers: every sum from the lists, beliefs computed anew each time.
//!
//! Shared with the engine: the fixed-point primitives, and the geometry of polygons, which `forms` compares with counting. The estimate
//! of an edge and the layer of yes-or-no questions are the plain ones of their own references.

use std::collections::BTreeMap;

use super::super::polygon::Cells;
use super::super::*;
use super::plain_geometry::{Member, apart, best_pairs, carried, clusters, overlap};
use crate::consensus::fixed::{log2, normalise};
use crate::consensus::tests::plain_binary;
use crate::consensus::value::tests::reference::estimate;

const Q16: u64 = 1 << 16;
/// The gold sheet's labeler.
const GOLD: u32 = u32::MAX;

pub(super) struct Scene {
    pub item: u32,
    /// Labeler and objects, sorted; gold last.
    sheets: Vec<(u32, Vec<ShapeObject>)>,
    clusters: Vec<Vec<Member>>,
}

/// What is believed of a cluster.
#[derive(Clone)]
struct Belief {
    object: ShapeObject,
    posterior: u64,
    labels: Vec<u32>,
    votes: u32,
    error: u64,
}

pub(super) struct Plain<'a> {
    input: &'a ShapeInput<'a>,
    scenes: Vec<Scene>,
    pub table: ShapeTable,
}

impl Scene {
    fn is_gold(&self) -> bool {
        self.sheets.iter().any(|sheet| sheet.0 == GOLD)
    }

    fn weight(&self) -> u64 {
        if self.is_gold() { 2 } else { 1 }
    }

    fn object(&self, member: Member) -> &ShapeObject {
        &self.sheets[member.0].1[member.1]
    }

    fn voters(&self) -> impl Iterator<Item = u32> {
        let labelers = self.sheets.iter().map(|sheet| sheet.0);
        labelers.filter(|&labeler| labeler != GOLD)
    }

    /// Who worked on the item, and whether they drew the cluster.
    fn answers(&self, cluster: &[Member]) -> Vec<(u32, bool)> {
        let drew = |labeler: u32| cluster.iter().any(|one| self.sheets[one.0].0 == labeler);
        self.voters().map(|voter| (voter, drew(voter))).collect()
    }
}

impl<'a> Plain<'a> {
    pub fn new(input: &'a ShapeInput<'a>) -> Self {
        let mut scenes = Vec::new();
        for item in 0..input.frames.len() as u32 {
            let sorted = |objects: &[ShapeObject]| {
                let mut objects = objects.to_vec();
                objects.sort();
                objects
            };
            let mut sheets: Vec<_> = input
                .votes
                .iter()
                .filter(|vote| vote.item == item)
                .map(|vote| (vote.labeler, sorted(&vote.objects)))
                .collect();
            if sheets.is_empty() {
                continue;
            }
            sheets.extend(input.gold.get(&item).map(|gold| (GOLD, sorted(gold))));
            sheets.sort();
            let clusters = clusters(&sheets);
            scenes.push(Scene {
                item,
                sheets,
                clusters,
            });
        }
        let mut plain = Self {
            input,
            scenes,
            table: ShapeTable {
                classes: input.classes,
                density: Q16,
                coincidence: 0,
                rows: Vec::new(),
            },
        };
        plain.existence();
        for _ in 0..4 {
            plain.table.rows = plain.precision();
        }
        plain
    }

    fn existence(&mut self) {
        let (mut answers, mut gold, mut number) = (Vec::new(), BTreeMap::new(), 0);
        for scene in &self.scenes {
            for cluster in &scene.clusters {
                let of_cluster = scene.answers(cluster);
                answers.extend(of_cluster.iter().map(|&(who, drew)| (number, who, drew)));
                if scene.is_gold() {
                    let real = cluster.iter().any(|one| scene.sheets[one.0].0 == GOLD);
                    gold.insert(number, real);
                }
                number += 1;
            }
        }
        let start = plain_binary::Plain::new(number, self.input.labelers, &answers, &gold, &[]);
        self.table.coincidence = self.coincidence();
        for &(hit, alarm, group) in &start.rows {
            self.table.rows.push(ShapeRow {
                hit,
                invented: alarm,
                deviation: 3_277,
                accuracy: 52_429,
                group,
            });
        }
        self.copies();
        let mut posteriors: Vec<u64> = start.posterior.iter().map(|&p| p.into()).collect();
        for _ in 0..10 {
            self.maximise(&posteriors);
            for (question, slot) in (0u32..).zip(&mut posteriors) {
                if !gold.contains_key(&question) {
                    let own = answers.iter().filter(|answer| answer.0 == question);
                    let own: Vec<_> = own.map(|answer| (answer.1, answer.2)).collect();
                    *slot = self.real(&own);
                }
            }
        }
    }

    fn coincidence(&self) -> u32 {
        let count = self.scenes.len();
        let shifts = count.saturating_sub(1).min(4);
        let (mut matched, mut all) = (0, 0);
        for shift in 0..shifts {
            for place in 0..count {
                let own = &self.scenes[place];
                let other = &self.scenes[(place + 1 + shift * (count - 1) / shifts) % count];
                let (a, mine) = &own.sheets[place % own.sheets.len()];
                let (b, theirs) = &other.sheets[place % other.sheets.len()];
                if a == b || *a == GOLD || *b == GOLD {
                    continue;
                }
                let [from, to] = [own, other].map(|scene| self.input.frames[scene.item as usize]);
                let value = |i: usize, j: usize| {
                    let value = overlap(&carried(&mine[i].shape, from, to), &theirs[j].shape);
                    if value >= 22_938 { value } else { 0 }
                };
                matched += best_pairs(mine.len(), theirs.len(), value).len() as u64;
                all += (mine.len() * theirs.len()) as u64;
            }
        }
        (matched * Q16).checked_div(all).unwrap_or(0) as u32
    }

    /// Joins those who hand in equal boxes or polygons.
    fn copies(&mut self) {
        let labelers = self.input.labelers;
        // Clusters that two labelers share, and how many of the objects are equal.
        let shared = |a: u32, b: u32| {
            let (mut all, mut equal) = (0u64, 0u64);
            for scene in &self.scenes {
                for cluster in &scene.clusters {
                    let of = |who: u32| cluster.iter().find(|one| scene.sheets[one.0].0 == who);
                    if let (Some(&x), Some(&y)) = (of(a), of(b)) {
                        all += 1;
                        equal += u64::from(scene.object(x).shape == scene.object(y).shape);
                    }
                }
            }
            (all, equal)
        };
        if self.input.kind == ShapeKind::Span {
            return;
        }
        let pairs: Vec<(u32, u32, u64, u64)> = (0..labelers)
            .flat_map(|a| (a + 1..labelers).map(move |b| (a, b)))
            .map(|(a, b)| (a, b, shared(a, b).0, shared(a, b).1))
            .collect();
        let often = pairs.iter().filter(|pair| pair.2 >= 6);
        let mut rates: Vec<u64> = often.map(|pair| pair.3 * Q16 / pair.2).collect();
        rates.sort();
        if rates.is_empty() || rates[rates.len() / 2] > Q16 / 8 {
            return;
        }
        let numbers = self.table.rows.iter().filter_map(|row| row.group);
        let mut next = numbers.max().map_or(0, |top| top + 1);
        for (a, b, all, equal) in pairs {
            if equal < 6 || equal * 2 <= all {
                continue;
            }
            let (a, b) = (a as usize, b as usize);
            let own = [self.table.rows[a].group, self.table.rows[b].group];
            let into = own.into_iter().flatten().min().unwrap_or(next);
            next += u32::from(own == [None, None]);
            for (labeler, row) in self.table.rows.iter_mut().enumerate() {
                let joined = row.group.is_some() && own.contains(&row.group);
                if labeler == a || labeler == b || joined {
                    row.group = Some(into);
                }
            }
        }
    }

    fn maximise(&mut self, posteriors: &[u64]) {
        // Of one labeler or of all: real objects seen, of them drawn, inventions, items; Q16.
        let sums = |of: &dyn Fn(u32) -> bool| {
            let (mut sums, mut question) = ([0u64; 4], 0);
            for scene in &self.scenes {
                let voters = scene.voters().filter(|&who| of(who)).count();
                sums[3] += scene.weight() * Q16 * voters as u64;
                for cluster in &scene.clusters {
                    let p = posteriors[question];
                    question += 1;
                    for (_, drew) in scene.answers(cluster).iter().filter(|one| of(one.0)) {
                        sums[0] += scene.weight() * p;
                        sums[1] += scene.weight() * if *drew { p } else { 0 };
                        sums[2] += scene.weight() * if *drew { Q16 - p } else { 0 };
                    }
                }
            }
            sums
        };
        let crowd = sums(&|_| true);
        let hit = (2 * crowd[1] + Q16) * Q16 / (2 * crowd[0] + 2 * Q16);
        let invented = (crowd[2] + Q16) * Q16 / (crowd[3] + 10 * Q16);
        let of_labeler = |labeler: u32| {
            let own = sums(&|who| who == labeler);
            (
                ((own[1] + 4 * hit) * Q16 / (own[0] + 4 * Q16)).clamp(1, Q16 - 1) as u32,
                ((own[2] + 4 * invented) * Q16 / (own[3] + 4 * Q16)).max(1) as u32,
            )
        };
        let rows: Vec<_> = (0..self.input.labelers).map(of_labeler).collect();
        for (row, (hit, invented)) in self.table.rows.iter_mut().zip(rows) {
            (row.hit, row.invented) = (hit, invented);
        }
        let real: u64 = posteriors.iter().sum();
        self.table.density = ((real + Q16) / (self.scenes.len() as u64 + 1)).max(1);
    }

    fn group(&self, labeler: u32) -> Option<u32> {
        self.table.rows.get(labeler as usize)?.group
    }

    /// How many of `among` vote as one with `labeler`, including themselves.
    fn alike(&self, labeler: u32, among: impl Iterator<Item = u32>) -> u64 {
        let own = self.group(labeler);
        let same = among.filter(|&other| own.is_some() && self.group(other) == own);
        same.count().max(1) as u64
    }

    fn left_out(&self, labeler: u32, without: Option<u32>) -> bool {
        without.is_some_and(|own| self.alike(own, [labeler, own].into_iter()) > 1 || own == labeler)
    }

    /// Probability that a cluster is real.
    fn real(&self, answers: &[(u32, bool)]) -> u64 {
        if answers.iter().all(|answer| !answer.1) {
            return 0;
        }
        let log = |p: u64| log2(p) - (16 << 16);
        let (mut real, mut invented, mut first) = (log(self.table.density), 0, 0);
        for &(labeler, drew) in answers {
            let row = self.table.rows[labeler as usize];
            let share = self.alike(labeler, answers.iter().map(|answer| answer.0));
            let own = u64::from(row.invented);
            let matching = own * u64::from(self.table.coincidence) / Q16;
            let follow = (Q16 / 32 + matching).min(Q16 / 2);
            let hit = u64::from(row.hit);
            let (if_real, if_not) = if drew {
                first += own * Q16 / follow / share;
                (hit, follow)
            } else {
                (Q16 - hit, Q16 - follow)
            };
            real += log(if_real) / share as i64;
            invented += log(if_not) / share as i64;
        }
        let mut out = [0; 2];
        normalise(&mut [invented + log(first.max(1)), real], &mut out);
        out[1].into()
    }

    fn believe(&self, scene: &Scene, cluster: &[Member], without: Option<u32>) -> Option<Belief> {
        if scene.is_gold() {
            let real = cluster.iter().find(|one| scene.sheets[one.0].0 == GOLD)?;
            return Some(Belief {
                object: scene.object(*real).clone(),
                posterior: Q16,
                labels: Vec::new(),
                votes: 0,
                error: 0,
            });
        }
        let who = |member: &Member| scene.sheets[member.0].0;
        let kept: Vec<Member> = cluster
            .iter()
            .filter(|&member| !self.left_out(who(member), without))
            .copied()
            .collect();
        let first = kept.first()?;
        let row = |member: &Member| self.table.rows[who(member) as usize];
        let share = |member: &Member| Q16 / self.alike(who(member), kept.iter().map(who));
        // Two opposite edges, and the error of one.
        let edges = |of: &dyn Fn(&Shape) -> [u32; 2]| -> Option<([u32; 2], u64)> {
            let pairs: Vec<[u32; 2]> = kept.iter().map(|&m| of(&scene.object(m).shape)).collect();
            let lengths: u64 = pairs.iter().map(|pair| u64::from(pair[1] - pair[0])).sum();
            let side = (lengths * 256 / pairs.len() as u64).max(1);
            let (mut found, mut halves) = ([0; 2], 0);
            for edge in 0..2 {
                let seen: Vec<_> = kept
                    .iter()
                    .zip(&pairs)
                    .map(|(member, pair)| {
                        let deviation = (u64::from(row(member).deviation) * side / Q16).max(1);
                        (
                            i128::from(pair[edge]) * 256,
                            deviation.into(),
                            share(member).into(),
                        )
                    })
                    .collect();
                let (value, half) = estimate(&seen)?;
                found[edge] = ((value + 128) / 256) as u32;
                halves += half as u64;
            }
            Some((found, (halves * 50 / 246 * Q16 / side).min(Q16)))
        };
        let (shape, error) = match &scene.object(*first).shape {
            Shape::Span { .. } => {
                let ([start, end], error) = edges(&|shape| {
                    let Shape::Span { start, end } = *shape else {
                        unreachable!()
                    };
                    [start, end]
                })?;
                let end = end.max(start + 1);
                (Shape::Span { start, end }, error)
            }
            Shape::Box { .. } => {
                let side = |across: bool| {
                    edges(&move |shape| {
                        let Shape::Box { x, y, w, h } = *shape else {
                            unreachable!()
                        };
                        if across { [x, x + w] } else { [y, y + h] }
                    })
                };
                let (([x, right], e), ([y, bottom], f)) = (side(true)?, side(false)?);
                let (w, h) = (right.max(x + 1) - x, bottom.max(y + 1) - y);
                (Shape::Box { x, y, w, h }, (e + f) / 2)
            }
            Shape::Polygon(_) => {
                let points = |member: &Member| match &scene.object(*member).shape {
                    Shape::Polygon(points) => points.clone(),
                    _ => unreachable!(),
                };
                let finest = kept.iter().map(|member| row(member).deviation).min()?;
                let mut outline = None;
                if kept.len() > 2 {
                    let bounds = kept.iter().map(|&m| scene.object(m).shape.bounds());
                    let mut cells = Cells::new(bounds.reduce(geometry::Bounds::join)?);
                    for member in &kept {
                        let deviation = u64::from(row(member).deviation);
                        let weight = share(member) * u64::from(finest) / deviation;
                        cells.add(&points(member), weight.max(1));
                    }
                    outline = cells.outline();
                }
                let best = kept.iter().find(|member| row(member).deviation == finest);
                (Shape::Polygon(outline.unwrap_or(points(best?))), 0)
            }
        };
        let classes = self.table.classes;
        let mut logs = vec![0; classes.into()];
        for &member in kept.iter().filter(|_| classes > 1) {
            let right = u64::from(row(&member).accuracy);
            let gain = log2(right * u64::from(classes - 1)) - log2(Q16 - right);
            logs[usize::from(scene.object(member).label)] +=
                gain * share(&member) as i64 / Q16 as i64;
        }
        let mut labels = vec![0; logs.len()];
        normalise(&mut logs, &mut labels);
        let top = *labels.iter().max()?;
        let label = labels.iter().position(|&p| p == top)? as u16;
        let mut answers = scene.answers(cluster);
        answers.retain(|answer| !self.left_out(answer.0, without));
        Some(Belief {
            object: ShapeObject { shape, label },
            posterior: self.real(&answers),
            labels,
            votes: kept.len() as u32,
            error,
        })
    }

    fn named(&self, belief: &Belief, label: u16) -> u64 {
        match belief.labels.get(usize::from(label)) {
            _ if self.table.classes == 1 => Q16,
            Some(&p) => p.into(),
            None => u64::from(belief.object.label == label) * Q16,
        }
    }

    /// One round of precision and label accuracy.
    fn precision(&self) -> Vec<ShapeRow> {
        // Per labeler: weight, weighted right labels, deviation.
        let of_labeler = |labeler: u32| {
            let (mut weight, mut far, mut others, mut right) = (0u128, 0, 0, 0);
            for scene in &self.scenes {
                for cluster in &scene.clusters {
                    let own = cluster.iter().find(|one| scene.sheets[one.0].0 == labeler);
                    let (Some(&own), Some(belief)) =
                        (own, self.believe(scene, cluster, Some(labeler)))
                    else {
                        continue;
                    };
                    let own = scene.object(own);
                    let w = u128::from(belief.posterior * scene.weight());
                    weight += w;
                    far += w * u128::from(apart(&own.shape, &belief.object.shape));
                    others += w * u128::from(belief.error).pow(2);
                    right += w * u128::from(self.named(&belief, own.label));
                }
            }
            let Some(mean) = u128::checked_div(far, weight) else {
                return (0, 0, 0);
            };
            let pure = (mean * mean).saturating_sub(others / weight).isqrt();
            (weight, right, pure.max(mean / 4))
        };
        let own: Vec<_> = (0..self.input.labelers).map(of_labeler).collect();
        let total: u128 = own.iter().map(|one| one.0).sum();
        if total == 0 {
            return self.table.rows.clone();
        }
        let deviation = own.iter().map(|one| one.0 * one.2).sum::<u128>() / total;
        let accuracy = own.iter().map(|one| one.1).sum::<u128>() / total;
        let one = u128::from(Q16);
        let pool = |sum: u128, common: u128, weight: u128| {
            ((sum + 4 * one * common) / (weight + 4 * one)) as u32
        };
        let rows = self.table.rows.iter().zip(own);
        rows.map(|(row, (weight, right, own))| ShapeRow {
            deviation: pool(weight * own, deviation, weight).clamp(66, 1 << 16),
            accuracy: pool(right, accuracy, weight).clamp(1, (1 << 16) - 1),
            ..*row
        })
        .collect()
    }

    pub fn item(&self, item: u32) -> ShapeItem {
        let scene = self.scenes.iter().find(|scene| scene.item == item);
        let votes = scene.map_or(0, |scene| scene.voters().count()) as u32;
        if let Some(gold) = self.input.gold.get(&item) {
            let mut objects: Vec<ShapeFound> = gold
                .iter()
                .map(|object| ShapeFound {
                    object: object.clone(),
                    posterior: 1 << 16,
                    label_posterior: 1 << 16,
                    votes: 0,
                })
                .collect();
            objects.sort();
            return ShapeItem {
                objects,
                posterior: 1 << 16,
                votes,
            };
        }
        let mut result = ShapeItem {
            votes,
            ..ShapeItem::default()
        };
        let Some(scene) = scene else { return result };
        let mut product = 1u64 << 32;
        for cluster in &scene.clusters {
            let Some(belief) = self.believe(scene, cluster, None) else {
                continue;
            };
            product = product * belief.posterior.max(Q16 - belief.posterior) / Q16;
            if belief.posterior > Q16 / 2 {
                let label = self.named(&belief, belief.object.label);
                product = product * label / Q16;
                result.objects.push(ShapeFound {
                    object: belief.object,
                    posterior: belief.posterior as u32,
                    label_posterior: label as u32,
                    votes: belief.votes,
                });
            }
        }
        let overlooked = scene.voters().fold(self.table.density, |left, who| {
            left * (Q16 - u64::from(self.table.rows[who as usize].hit)) / Q16
        });
        product = product * Q16.saturating_sub(overlooked) / Q16;
        result.posterior = (product / Q16) as u32;
        result.objects.sort();
        result
    }

    /// Score of an answer against what the others believe of an item, Q16.
    fn score(&self, own: &[ShapeObject], from: Frame, others: &[Belief], to: Frame) -> u64 {
        let pairs = best_pairs(own.len(), others.len(), |i, j| {
            let place = overlap(&carried(&own[i].shape, from, to), &others[j].object.shape);
            place * self.named(&others[j], own[i].label) / Q16 * others[j].posterior / Q16
        });
        let believed: u64 = others.iter().map(|belief| belief.posterior).sum();
        let mut empty = 0;
        if own.is_empty() {
            empty = others
                .iter()
                .fold(Q16, |left, belief| left * (Q16 - belief.posterior) / Q16);
        }
        let above = 2 * pairs.iter().sum::<u64>() + empty;
        above * Q16 / (own.len() as u64 * Q16 + believed + empty).max(1)
    }

    pub fn labeler(&self, labeler: u32) -> ShapeLabeler {
        let mut result = ShapeLabeler {
            cluster: self.group(labeler),
            ..ShapeLabeler::default()
        };
        // The own answer, the item's size, what the others believe, weight.
        let mut lessons = Vec::new();
        for scene in &self.scenes {
            let Some((_, own)) = scene.sheets.iter().find(|sheet| sheet.0 == labeler) else {
                continue;
            };
            result.votes += 1;
            result.objects += own.len() as u32;
            result.gold_seen += u32::from(scene.is_gold());
            let mut voters = scene.voters();
            if voters.all(|who| self.left_out(who, Some(labeler))) && !scene.is_gold() {
                continue;
            }
            let others: Vec<Belief> = scene
                .clusters
                .iter()
                .filter_map(|cluster| self.believe(scene, cluster, Some(labeler)))
                .collect();
            let frame = self.input.frames[scene.item as usize];
            lessons.push((own, frame, others, scene.weight()));
        }
        let count = lessons.len();
        let shifts = count.saturating_sub(1).min(8);
        if shifts == 0 {
            return result;
        }
        let sum = |shift: usize| -> u64 {
            let scores = (0..count).map(|place| {
                let ((own, from, ..), (_, to, others, weight)) =
                    (&lessons[place], &lessons[(place + shift) % count]);
                weight * self.score(own, *from, others, *to)
            });
            scores.sum()
        };
        let one = Q16 * lessons.iter().map(|lesson| lesson.3).sum::<u64>();
        let other: u64 = (0..shifts)
            .map(|shift| sum(1 + shift * (count - 1) / shifts))
            .sum();
        let (own, chance) = (sum(0), other.div_ceil(shifts as u64));
        result.quality_ppm = (own * 1_000_000 / one) as u32;
        result.chance_ppm = (chance * 1_000_000 / one) as u32;
        if one > chance {
            let skill = (own as i64 - chance as i64) * 1_000_000 / (one - chance) as i64;
            result.skill_ppm = skill.clamp(-1_000_000, 1_000_000);
        }
        result
    }
}
