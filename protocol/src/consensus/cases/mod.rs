//! Roots and cases of every kind of label but class, whose own are in `class/`: one mechanism, and per kind what its leaves hold.
//!
//! ```text
//! task, result of its engine -> leaves -> trees -> input root, score root
//!                                              \-> case of one item -> check: right, or what it ought to be
//! ```
//!
//! | tree | one leaf per | holds |
//! |---|---|---|
//! | input, items | item | gold, votes by labeler, what else the task says about the item |
//! | input, labelers | labeler | evidence carried in by reputation; no leaf where the kind reads none |
//! | table | labeler | the labeler's row |
//! | sides | item | the item's row, where the table has one (objects that are compared); its root is part of the table's head |
//! | score, items | item | the result |
//! | score, labelers | labeler | the result |
//!
//! What for: any node, and any labeler who doubts one result, checks it from the item's votes and the rows that it follows from.
//! What it does not do: it computes no result of its own - the engines' `*_from_table` functions do - and does not ask whether the table is
//! the right one for the votes, which takes a full run.
//! Invariants: a leaf is the canonical encoding of its position and its value under a key of its kind and tree, so no leaf is one of
//! another tree or place; the order of votes changes no leaf; nothing is computed from numbers that are not shown to belong to the
//! root, and each kind bounds them before it computes, so that a hostile case is an error and never a panic.

mod multi;
mod pair;
mod review;
mod shape;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::fmt::Debug;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::algorithm_id;
use super::class::{
    CASE_VOTES_MAX, CaseError, GoldPrior, MAX_ITEMS, MAX_LABELERS, check_heads, shown, sound,
};
use super::error::ConsensusError;
use super::root::{InputHead, ScoreHead};
use super::tree::{Key, ScoreTree, keyed, verify};
use crate::codec::{self, DecodeError};
use crate::id::Hash;

pub use multi::Multi;
pub use pair::{ObjectClaim, ObjectRow, Order, Pair, PairForm, PairHead, Ranked};
pub use review::{Review, ReviewInputs};
pub use shape::{ShapeForm, ShapeHead, ShapeInputs, Shapes};
pub use text::{Text, TextHead, TextRow};
pub use value::Value;

/// Name and version of the leaves; raise it with any change of bytes.
const FORMAT: &str = "assay/consensus/cases/1";
/// Most bytes of an encoded case.
pub const CASE_BYTES_MAX: usize = 8 << 20;

/// Feeds the name of the leaves to `hasher`.
pub(super) fn hash_method(hasher: &mut blake3::Hasher) {
    hasher.update(FORMAT.as_bytes());
}

/// What stands in a leaf that a case carries.
pub trait Part: Clone + Debug + PartialEq + Eq + Serialize + DeserializeOwned {}

impl<T: Clone + Debug + PartialEq + Eq + Serialize + DeserializeOwned> Part for T {}

/// A kind of label: what its leaves hold, and how an item's result follows from them.
///
/// Positions and numbers that a function gets are in range; `None` says that the result is not one of this task.
pub trait Kind: Clone + Debug + PartialEq + Eq {
    /// Name in the keys of the leaves, at most six letters.
    const NAME: &'static str;
    /// Input of the engine.
    type Task<'a>: Copy;
    /// Result of the engine.
    type Result;
    /// What the task says about all items.
    type Form: Part;
    /// Votes and gold of one item.
    type Votes: Part;
    /// What the table says about nobody in particular.
    type Head: Part;
    /// What the table says about one labeler.
    type Row: Part;
    /// What the table says about one item.
    type Side: Part;
    /// Published result of one item.
    type Claim: Part;
    /// Published result of one labeler.
    type Labeler: Serialize;
    /// What a labeler brings along.
    type Evidence: Serialize;

    /// Items and labelers of a task.
    fn sizes(task: Self::Task<'_>) -> (u32, u32);
    /// Its form.
    fn form(task: Self::Task<'_>) -> Self::Form;
    /// (item, position) of each vote, once per item that it is about.
    fn places(task: Self::Task<'_>) -> Vec<(u32, u32)>;
    /// Votes and gold of an item in canonical order, `positions` being those of its votes.
    fn votes(task: Self::Task<'_>, item: u32, positions: &[u32]) -> Self::Votes;
    /// What each labeler brings along; empty for kinds that read nothing of it.
    fn evidence(_: Self::Task<'_>) -> Vec<Self::Evidence> {
        Vec::new()
    }
    /// The table's head.
    fn head(result: &Self::Result) -> Self::Head;
    /// The table's row about a labeler.
    fn row(result: &Self::Result, labeler: u32) -> Option<Self::Row>;
    /// The table's row about an item, for kinds that have any.
    fn side(_: &Self::Result, _: u32) -> Option<Self::Side> {
        None
    }
    /// Result of an item.
    fn claim(result: &Self::Result, item: u32) -> Option<Self::Claim>;
    /// Result of a labeler.
    fn labeler(result: &Self::Result, labeler: u32) -> Option<Self::Labeler>;

    /// Labelers whose rows an item's result follows from, ascending in every honest list.
    fn voters(votes: &Self::Votes) -> Vec<u32>;
    /// Items whose rows it follows from, in the same way.
    fn sides(_: u32, _: &Self::Votes) -> Vec<u32> {
        Vec::new()
    }
    /// The result that a case gives, its parts being shown: one row per voter, in their order, and one side per item named.
    ///
    /// # Errors
    /// The part that no honest task or table holds.
    fn derive(case: &Case<Self>) -> Result<Self::Claim, &'static str>;
}

/// Key of one tree's leaves: `assay/consensus/KIND/TREE/1`, filled with spaces.
const fn key(kind: &str, tree: &str) -> Key {
    let parts = [
        b"assay/consensus/" as &[u8],
        kind.as_bytes(),
        b"/",
        tree.as_bytes(),
        b"/1",
    ];
    let (mut key, mut at, mut part) = ([b' '; 32], 0, 0);
    while part < parts.len() {
        let mut byte = 0;
        while byte < parts[part].len() {
            key[at] = parts[part][byte];
            (at, byte) = (at + 1, byte + 1);
        }
        part += 1;
    }
    key
}

/// The keys of a kind; a name that is too long does not compile.
struct Keys<K>(std::marker::PhantomData<K>);

impl<K: Kind> Keys<K> {
    const FORM: Key = key(K::NAME, "form");
    const VOTES: Key = key(K::NAME, "votes");
    const EVIDENCE: Key = key(K::NAME, "prior");
    const HEAD: Key = key(K::NAME, "head");
    const ROW: Key = key(K::NAME, "row");
    const SIDE: Key = key(K::NAME, "side");
    const CLAIM: Key = key(K::NAME, "item");
    const LABELER: Key = key(K::NAME, "labeler");
}

/// A leaf: the position and what stands there.
fn leaf<T: Serialize>(key: &Key, position: u32, value: &T) -> Hash {
    keyed(key, &codec::encode(&(position, value)))
}

/// Hash of the table's head: what it says about nobody in particular, and the root over the items' rows.
fn head<K: Kind>(head: &K::Head, sides: &Hash) -> Hash {
    keyed(&Keys::<K>::HEAD, &codec::encode(&(head, sides)))
}

fn form<K: Kind>(form: &K::Form) -> Hash {
    keyed(&Keys::<K>::FORM, &codec::encode(form))
}

/// A scored task as trees.
#[derive(Debug)]
pub struct Score<'t, 'r, K: Kind> {
    task: K::Task<'t>,
    result: &'r K::Result,
    /// Positions of votes, item by item, and where each item's begin.
    positions: Vec<u32>,
    start: Vec<usize>,
    input: InputHead,
    score: ScoreHead,
    votes: ScoreTree,
    rows: ScoreTree,
    sides: ScoreTree,
    claims: ScoreTree,
}

impl<'t, 'r, K: Kind> Score<'t, 'r, K> {
    /// The trees over a task and what its engine made of it.
    ///
    /// # Errors
    /// [`ConsensusError::ItemOutOfRange`] for a vote outside the task, [`ConsensusError::ForeignTable`] for a result of another task's size.
    pub fn new(task: K::Task<'t>, result: &'r K::Result) -> Result<Self, ConsensusError> {
        let (items, labelers) = K::sizes(task);
        // What is longer than the task belongs to another one, and so does what is shorter.
        if K::row(result, labelers).is_some() || K::claim(result, items).is_some() {
            return Err(ConsensusError::ForeignTable);
        }
        let rows = tree(&Keys::<K>::ROW, labelers, |labeler| K::row(result, labeler))?;
        let claims = tree(&Keys::<K>::CLAIM, items, |item| K::claim(result, item))?;
        let judged = tree(&Keys::<K>::LABELER, labelers, |labeler| {
            K::labeler(result, labeler)
        })?;
        let sides = (0..items)
            .filter_map(|item| Some(leaf(&Keys::<K>::SIDE, item, &K::side(result, item)?)));
        let sides = ScoreTree::new(sides.collect());
        let evidence = (0..)
            .zip(K::evidence(task))
            .map(|(labeler, own)| leaf(&Keys::<K>::EVIDENCE, labeler, &own));
        let evidence = ScoreTree::new(evidence.collect());
        let (positions, start) = by_item(K::places(task), items)?;
        let votes = (0..items).map(|item| {
            let own = &positions[start[item as usize]..start[item as usize + 1]];
            leaf(&Keys::<K>::VOTES, item, &K::votes(task, item, own))
        });
        let votes = ScoreTree::new(votes.collect());
        let input = InputHead {
            form: form::<K>(&K::form(task)),
            items,
            labelers,
            items_root: votes.root(),
            labelers_root: evidence.root(),
        };
        let score = ScoreHead {
            algorithm: Hash(algorithm_id()),
            input: input.root(),
            table: head::<K>(&K::head(result), &sides.root()),
            table_root: rows.root(),
            items_root: claims.root(),
            labelers_root: judged.root(),
        };
        Ok(Self {
            task,
            result,
            positions,
            start,
            input,
            score,
            votes,
            rows,
            sides,
            claims,
        })
    }

    /// What the input root stands for.
    #[must_use]
    pub fn input_head(&self) -> InputHead {
        self.input
    }

    /// What the score root stands for.
    #[must_use]
    pub fn score_head(&self) -> ScoreHead {
        self.score
    }

    /// The case of one item.
    ///
    /// # Errors
    /// [`ConsensusError::Missing`] for an item out of range; [`ConsensusError::TooManyOnItem`] when it takes more than [`CASE_VOTES_MAX`]
    /// rows of labelers or of items, or more than [`CASE_BYTES_MAX`] bytes.
    pub fn case(&self, item: u32) -> Result<Case<K>, ConsensusError> {
        let missing = ConsensusError::Missing {
            what: "item",
            number: item,
            count: self.input.items,
        };
        let at = item as usize;
        let (Some(&from), Some(&to)) = (self.start.get(at), self.start.get(at + 1)) else {
            return Err(missing);
        };
        let votes = K::votes(self.task, item, &self.positions[from..to]);
        let (voters, sides) = (K::voters(&votes), K::sides(item, &votes));
        at_most(item, "labelers", voters.len(), CASE_VOTES_MAX)?;
        at_most(item, "objects to compare with", sides.len(), CASE_VOTES_MAX)?;
        let rows = voters
            .into_iter()
            .map(|labeler| Shown::of(K::row(self.result, labeler), &self.rows, labeler));
        let sides = sides
            .into_iter()
            .map(|item| Shown::of(K::side(self.result, item), &self.sides, item));
        let foreign = ConsensusError::ForeignTable;
        let case = Case {
            input: self.input,
            score: self.score,
            item,
            form: K::form(self.task),
            votes: Shown::of(Some(votes), &self.votes, item).ok_or(missing.clone())?,
            claim: Shown::of(K::claim(self.result, item), &self.claims, item).ok_or(missing)?,
            head: K::head(self.result),
            sides_root: self.sides.root(),
            rows: rows.collect::<Option<_>>().ok_or(foreign.clone())?,
            sides: sides.collect::<Option<_>>().ok_or(foreign)?,
        };
        at_most(
            item,
            "bytes in its case",
            case.encode().len(),
            CASE_BYTES_MAX,
        )?;
        Ok(case)
    }
}

/// Positions of votes item by item, and where each item's begin.
fn by_item(
    mut places: Vec<(u32, u32)>,
    items: u32,
) -> Result<(Vec<u32>, Vec<usize>), ConsensusError> {
    places.sort_unstable();
    if let Some(&(item, position)) = places.last().filter(|place| place.0 >= items) {
        return Err(ConsensusError::ItemOutOfRange {
            index: position as usize,
            item,
            items,
        });
    }
    let start = (0..=items).map(|item| places.partition_point(|place| place.0 < item));
    let start = start.collect();
    Ok((places.into_iter().map(|place| place.1).collect(), start))
}

fn tree<T: Serialize>(
    key: &Key,
    count: u32,
    value: impl Fn(u32) -> Option<T>,
) -> Result<ScoreTree, ConsensusError> {
    let leaves = (0..count).map(|position| Some(leaf(key, position, &value(position)?)));
    let leaves: Option<Vec<Hash>> = leaves.collect();
    leaves
        .map(ScoreTree::new)
        .ok_or(ConsensusError::ForeignTable)
}

fn at_most(item: u32, what: &'static str, count: usize, max: usize) -> Result<(), ConsensusError> {
    let (count, max) = (count as u64, max as u64);
    if count > max {
        return Err(ConsensusError::TooManyOnItem {
            item,
            what,
            count,
            max,
        });
    }
    Ok(())
}

/// What stands in a leaf, and the leaf's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown<T> {
    /// What stands there.
    pub value: T,
    /// Siblings from the bottom up.
    pub proof: Vec<Hash>,
}

impl<T: Serialize> Shown<T> {
    fn of(value: Option<T>, tree: &ScoreTree, position: u32) -> Option<Self> {
        Some(Self {
            value: value?,
            proof: tree.proof(position)?,
        })
    }

    /// Whether it stands at `position` of `count` under `root`.
    fn stands(&self, key: &Key, root: &Hash, position: u32, count: u32) -> bool {
        let leaf = leaf(key, position, &self.value);
        verify(root, &leaf, position, count, &self.proof)
    }
}

/// Everything that the result of one item follows from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct Case<K: Kind> {
    /// What the input root stands for.
    pub input: InputHead,
    /// What the score root stands for.
    pub score: ScoreHead,
    /// The item.
    pub item: u32,
    /// What the task says about all items.
    pub form: K::Form,
    /// Votes and gold.
    pub votes: Shown<K::Votes>,
    /// The published result.
    pub claim: Shown<K::Claim>,
    /// What the table says about nobody in particular.
    pub head: K::Head,
    /// Root over what it says about items; zero for kinds without.
    pub sides_root: Hash,
    /// What it says about the voters, by labeler.
    pub rows: Vec<Shown<K::Row>>,
    /// What it says about the items that the result follows from, by item.
    pub sides: Vec<Shown<K::Side>>,
}

/// Outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding<C> {
    /// The published result follows from the votes and the table.
    Right,
    /// It does not: this does, and the score root is wrong.
    Wrong(C),
}

impl<K: Kind> Case<K> {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads canonical bytes; what they say is only checked by [`Case::check`].
    ///
    /// # Errors
    /// [`DecodeError`] for too many bytes, or bytes that are not the one spelling of a case of this kind.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, CASE_BYTES_MAX)
    }

    /// Checks the result under `root`: first that all parts of the case belong to it, then the result itself.
    ///
    /// # Errors
    /// [`CaseError`] names the part that does not belong to the root or cannot be scored; nothing is shown then.
    pub fn check(&self, root: &Hash) -> Result<Finding<K::Claim>, CaseError> {
        check_heads(&self.score, &self.input, root)?;
        let (items, labelers) = (self.input.items, self.input.labelers);
        sound(
            u64::from(items) <= MAX_ITEMS && u64::from(labelers) <= MAX_LABELERS,
            "the size of the task",
        )?;
        shown(form::<K>(&self.form) == self.input.form, "the form")?;
        shown(
            head::<K>(&self.head, &self.sides_root) == self.score.table,
            "the head of the table",
        )?;
        let (item, keys) = (self.item, (&Keys::<K>::VOTES, &Keys::<K>::CLAIM));
        let votes = &self.votes;
        shown(
            votes.stands(keys.0, &self.input.items_root, item, items),
            "the list of votes",
        )?;
        let claim = &self.claim;
        shown(
            claim.stands(keys.1, &self.score.items_root, item, items),
            "the result",
        )?;
        let voters = distinct(K::voters(&votes.value), "the list of votes")?;
        shown(voters.len() == self.rows.len(), "the number of rows")?;
        for (&labeler, row) in voters.iter().zip(&self.rows) {
            let (key, root) = (&Keys::<K>::ROW, &self.score.table_root);
            if !row.stands(key, root, labeler, labelers) {
                let what = "row";
                return Err(CaseError::RowNotShown { what, labeler });
            }
        }
        let sides = distinct(K::sides(item, &votes.value), "the list of objects")?;
        shown(sides.len() == self.sides.len(), "the number of objects")?;
        for (&item, side) in sides.iter().zip(&self.sides) {
            let holds = side.stands(&Keys::<K>::SIDE, &self.sides_root, item, items);
            shown(holds, "an object of the table")?;
        }
        let derived = K::derive(self).map_err(|what| CaseError::Malformed { what })?;
        Ok(if derived == claim.value {
            Finding::Right
        } else {
            Finding::Wrong(derived)
        })
    }
}

/// Holds a list to ascending numbers, and not more of them than a case may have.
fn distinct(list: Vec<u32>, what: &'static str) -> Result<Vec<u32>, CaseError> {
    let ascending = list.windows(2).all(|pair| pair[0] < pair[1]);
    sound(ascending && list.len() <= CASE_VOTES_MAX, what)?;
    Ok(list)
}

/// Votes on one item, one per labeler, and its gold: the input of most kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers<G, V> {
    /// The truth, if opened.
    pub gold: Option<G>,
    /// (labeler, answer) by labeler.
    pub votes: Vec<(u32, V)>,
}

impl<G, V: Ord> Answers<G, V> {
    fn new(gold: Option<G>, votes: impl Iterator<Item = (u32, V)>) -> Self {
        let mut votes: Vec<(u32, V)> = votes.collect();
        votes.sort_unstable();
        Self { gold, votes }
    }

    fn voters(&self) -> Vec<u32> {
        self.votes.iter().map(|vote| vote.0).collect()
    }
}

/// The evidence of each labeler of a task whose list of it may be left out.
fn evidence_of(priors: &[GoldPrior], labelers: u32) -> Vec<GoldPrior> {
    let mut priors = priors.to_vec();
    priors.resize(labelers as usize, GoldPrior::default());
    priors
}

/// (item, position) of votes that are about one item each.
fn places<T>(votes: &[T], item: impl Fn(&T) -> u32) -> Vec<(u32, u32)> {
    (0..)
        .zip(votes)
        .map(|(position, vote)| (item(vote), position))
        .collect()
}

/// Numbers of the labelers in a case: the place of each one's vote, so that a table of their rows alone reads them.
fn numbered<V>(votes: &[(u32, V)]) -> impl Iterator<Item = (u32, &V)> {
    (0..).zip(votes.iter().map(|vote| &vote.1))
}
