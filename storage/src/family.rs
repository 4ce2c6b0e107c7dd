//! The families of records a node keeps.
//!
//! A family is one redb table; its name on disk is written here and nowhere else. Adding a family
//! needs no migration (a table that was never written reads as empty); a name is never reused for
//! something else. What keys and values mean belongs to the caller: this crate stores bytes.

/// A family of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Facts about this directory itself.
    Meta,
    /// Serialised lane states that a restart begins from.
    Snapshot,
    /// Signed records by id.
    Record,
    /// Bodies of anchored epochs.
    Epoch,
    /// Records that this node gave a receipt for and that no epoch holds yet.
    Promise,
    /// What this node itself works on: drafts, commits, records on their way, published tasks with their gold.
    Own,
    /// Header votes, so that a restart never signs twice.
    Vote,
    /// Announcements by task.
    Announce,
    /// Outcomes of finished tasks.
    Outcome,
    /// Payout leaves of the newest epoch.
    Payout,
    /// What open tasks would pay without a committee, by the newest epoch.
    Flat,
    /// Chain transactions waiting to be final.
    Outbox,
    /// Nodes that were met, to find back to after a restart.
    Known,
}

impl Family {
    /// All families, in declaration order.
    pub const ALL: [Family; 13] = [
        Family::Meta,
        Family::Snapshot,
        Family::Record,
        Family::Epoch,
        Family::Promise,
        Family::Own,
        Family::Vote,
        Family::Announce,
        Family::Outcome,
        Family::Payout,
        Family::Flat,
        Family::Outbox,
        Family::Known,
    ];

    /// Name of the table on disk; part of the format.
    pub const fn table_name(self) -> &'static str {
        match self {
            Family::Meta => "record/meta",
            Family::Snapshot => "record/snapshot",
            Family::Record => "record/record",
            Family::Epoch => "record/epoch",
            Family::Promise => "record/promise",
            Family::Own => "record/own",
            Family::Vote => "record/vote",
            Family::Announce => "record/announce",
            Family::Outcome => "record/outcome",
            Family::Payout => "record/payout",
            Family::Flat => "record/flat",
            Family::Outbox => "record/outbox",
            Family::Known => "record/known",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_family_is_listed_once_with_a_table_of_its_own() {
        let listed: BTreeSet<Family> = Family::ALL.into_iter().collect();
        let names: BTreeSet<&str> = Family::ALL.into_iter().map(Family::table_name).collect();
        assert_eq!(listed.len(), Family::ALL.len());
        assert_eq!(names.len(), Family::ALL.len());
        assert!(names.iter().all(|name| name.starts_with("record/")));
    }
}
