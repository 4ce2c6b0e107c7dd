//! The result of one task or object of a kind other than class, as an object that anybody can check from itself.
//!
//! ```text
//! input and result of the engine -> trees --+--> roots
//!                                           +--> case of each item asked for -> JSON -> checked: right, or what is wrong
//! ```
//!
//! What it does not do: class, whose objects explain one answer each (`explain`). Names stand beside the objects and are proven by
//! nobody: a score knows numbers.
//! Invariants: an object whose case is too large to be checked is left out with a note, never cut.

use assay_protocol::{
    consensus::{
        ConsensusError,
        cases::{Case, Finding, Kind, Multi, Pair, Ranked, Review, Score, Shapes, Text, Value},
    },
    id::Hash,
};
use serde::{Deserialize, Serialize};

use super::{
    Context,
    error::ScoreError,
    explain::{CheckedExplanation, EXPLAINED_MAX},
    roots::Roots,
    votes::Votes,
};

/// A case, and what it is about by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckableItem {
    /// The task; for pair and ranking, the object.
    pub item: String,
    /// What can be checked.
    pub checkable: ItemCase,
}

/// Everything that the result of one item follows from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    content = "case",
    rename_all = "lowercase",
    deny_unknown_fields
)]
pub enum ItemCase {
    /// An object that was compared.
    Pair(Case<Pair>),
    /// A text.
    Text(Case<Text>),
    /// An object that was ordered.
    Ranking(Case<Ranked>),
    /// A set of labels.
    Multi(Case<Multi>),
    /// A rating or a number.
    Value(Case<Value>),
    /// Spans, segments, boxes or polygons.
    Shapes(Case<Shapes>),
    /// A proposal and the verdicts on it.
    Review(Case<Review>),
}

macro_rules! from_cases {
    ($($kind:ident: $of:ident),+) => {$(
        impl From<Case<$of>> for ItemCase {
            fn from(case: Case<$of>) -> Self {
                Self::$kind(case)
            }
        }
    )+};
}

from_cases!(Pair: Pair, Text: Text, Ranking: Ranked, Multi: Multi, Value: Value, Shapes: Shapes, Review: Review);

/// The same of a case of whatever kind.
macro_rules! of_any_kind {
    ($item:expr, $case:ident => $what:expr) => {
        match $item {
            ItemCase::Pair($case) => $what,
            ItemCase::Text($case) => $what,
            ItemCase::Ranking($case) => $what,
            ItemCase::Multi($case) => $what,
            ItemCase::Value($case) => $what,
            ItemCase::Shapes($case) => $what,
            ItemCase::Review($case) => $what,
        }
    };
}

impl ItemCase {
    /// Checks the case under `root`, or under the root that it names itself.
    pub(super) fn check(
        &self,
        name: Option<String>,
        root: &mut Option<Hash>,
    ) -> CheckedExplanation {
        of_any_kind!(self, case => check(case, name, root))
    }

    /// The root that it names.
    pub(super) fn root(&self) -> Hash {
        of_any_kind!(self, case => case.score.root())
    }
}

/// The first root under which a case holds is the one that all others must have.
fn check<K: Kind>(
    case: &Case<K>,
    name: Option<String>,
    asked: &mut Option<Hash>,
) -> CheckedExplanation {
    let own = case.score.root();
    let found = case.check(&asked.unwrap_or(own));
    let (result, wrong) = match found {
        Ok(Finding::Right) => {
            asked.get_or_insert(own);
            (serde_json::to_value(&case.claim.value).ok(), None)
        }
        Ok(Finding::Wrong(derived)) => {
            let ought = serde_json::to_string(&derived).unwrap_or_default();
            (
                None,
                Some(("the result", format!("the votes give {ought}"))),
            )
        }
        Err(error) => (None, Some((error.part(), error.to_string()))),
    };
    let (wrong, why) = wrong.unzip();
    CheckedExplanation {
        name,
        worker: None,
        right: wrong.is_none(),
        item: case.item,
        labeler: None,
        score_root: own.to_string(),
        label: None,
        posterior_ppm: None,
        result,
        wrong,
        why,
    }
}

/// What the trees over a score are asked for.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Where there is a folder.
    pub roots: Option<Roots>,
    /// One per item that is explained.
    pub items: Vec<CheckableItem>,
    /// Which are missing, and why.
    pub notes: Vec<String>,
}

impl Context<'_> {
    /// The roots of a task with these votes and what its engine made of it, where there is a folder for them, and the cases of `items`, given
    /// by name and number.
    pub fn show<'t, 'n, K: Kind>(
        &self,
        votes: &Votes,
        task: K::Task<'t>,
        result: &K::Result,
        items: impl IntoIterator<Item = (&'n str, u32)>,
    ) -> Result<Shown, ScoreError>
    where
        ItemCase: From<Case<K>>,
    {
        let mut items = items.into_iter().peekable();
        let mut shown = Shown::default();
        if !self.full && items.peek().is_none() {
            return Ok(shown);
        }
        let score = Score::<K>::new(task, result)?;
        let (input, head) = (score.input_head(), score.score_head());
        shown.roots = self
            .full
            .then(|| Roots::new(self.options.kind, votes, input, head));
        for (name, item) in items.by_ref().take(EXPLAINED_MAX) {
            match score.case(item) {
                Ok(case) => shown.items.push(CheckableItem {
                    item: name.to_owned(),
                    checkable: case.into(),
                }),
                Err(error @ ConsensusError::TooManyOnItem { .. }) => {
                    shown
                        .notes
                        .push(format!("{name:?} comes without a case: {error}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let more = items.count();
        if more > 0 {
            shown
                .notes
                .push(format!("{more} more objects come without a case"));
        }
        Ok(shown)
    }

    /// The explained task, by name and number.
    pub fn asked<'n>(&self, votes: &'n Votes) -> Option<(&'n str, u32)> {
        let task = votes.tasks.find(self.options.explain.as_deref()?)?;
        Some((votes.tasks.get(task), task))
    }
}
