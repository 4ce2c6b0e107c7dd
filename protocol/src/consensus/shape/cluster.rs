//! Which objects of different labelers are the same thing.
//!
//! All pairs of objects by different labelers that overlap by at least [`MATCH_MIN`] are taken from the best overlap down; a different
//! label costs a quarter of the overlap. A pair joins the clusters of its two objects unless a labeler would then stand in the cluster
//! twice. What remains alone is a cluster of one.
//!
//! What it does not do: it does not weigh labelers, so a cluster is a function of the item's votes alone.
//! Invariants: at most one object per labeler in a cluster; the order of votes and of objects changes nothing, ties are broken by labeler
//! and then by the objects' own order (shape, then label).

use super::ShapeObject;

/// Least overlap of two objects that may be the same thing, Q16 (0.35).
pub(super) const MATCH_MIN: u32 = 22_938;

/// One labeler's objects on an item, sorted.
#[derive(Clone, Debug)]
pub(super) struct Sheet<'a> {
    /// The labeler, or [`GOLD`].
    pub labeler: u32,
    pub objects: Vec<&'a ShapeObject>,
}

/// Stands for the gold answer among the labelers of an item.
pub(super) const GOLD: u32 = u32::MAX;

/// Objects that are the same thing: (position of the sheet, position of the object), sorted.
pub(super) type Cluster = Vec<(u32, u32)>;

/// Sorts an answer into a sheet.
pub(super) fn sheet(labeler: u32, objects: &[ShapeObject]) -> Sheet<'_> {
    let mut objects: Vec<&ShapeObject> = objects.iter().collect();
    objects.sort_unstable();
    Sheet { labeler, objects }
}

/// Clusters the objects of one item; `sheets` are sorted by labeler. Clusters come sorted by their first member.
pub(super) fn clusters(sheets: &[Sheet<'_>]) -> Vec<Cluster> {
    let mut first = Vec::with_capacity(sheets.len());
    let mut members: Vec<Cluster> = Vec::new();
    for (number, sheet) in sheets.iter().enumerate() {
        first.push(members.len());
        members.extend((0..sheet.objects.len()).map(|object| vec![(number as u32, object as u32)]));
    }
    let mut pairs = Vec::new();
    for (a, left) in sheets.iter().enumerate() {
        for (b, right) in sheets.iter().enumerate().skip(a + 1) {
            for (i, x) in left.objects.iter().enumerate() {
                for (j, y) in right.objects.iter().enumerate() {
                    let overlap = x.shape.iou(&y.shape);
                    if overlap >= MATCH_MIN {
                        let rank = if x.label == y.label {
                            overlap
                        } else {
                            overlap - overlap / 4
                        };
                        pairs.push((u32::MAX - rank, first[a] + i, first[b] + j));
                    }
                }
            }
        }
    }
    pairs.sort_unstable();
    let mut of_object: Vec<usize> = (0..members.len()).collect();
    for (_, x, y) in pairs {
        let (into, from) = (
            of_object[x].min(of_object[y]),
            of_object[x].max(of_object[y]),
        );
        let clash = || {
            members[from]
                .iter()
                .any(|(sheet, _)| members[into].iter().any(|(other, _)| other == sheet))
        };
        if into == from || clash() {
            continue;
        }
        for (sheet, object) in std::mem::take(&mut members[from]) {
            of_object[first[sheet as usize] + object as usize] = into;
            members[into].push((sheet, object));
        }
    }
    members.retain(|cluster| !cluster.is_empty());
    members
        .iter_mut()
        .for_each(|cluster| cluster.sort_unstable());
    members
}

/// Pairs the objects of two answers one to one from the best overlap down; gives (position left, position right, overlap).
pub(super) fn pair_up(
    left: usize,
    right: usize,
    overlap: impl Fn(usize, usize) -> u32,
) -> Vec<(usize, usize, u32)> {
    let mut pairs = Vec::new();
    for i in 0..left {
        for j in 0..right {
            let value = overlap(i, j);
            if value > 0 {
                pairs.push((u32::MAX - value, i, j));
            }
        }
    }
    pairs.sort_unstable();
    let (mut used_left, mut used_right) = (vec![false; left], vec![false; right]);
    pairs.retain(|&(_, i, j)| {
        let free = !used_left[i] && !used_right[j];
        if free {
            (used_left[i], used_right[j]) = (true, true);
        }
        free
    });
    pairs
        .into_iter()
        .map(|(value, i, j)| (i, j, u32::MAX - value))
        .collect()
}
