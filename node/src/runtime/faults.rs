//! Proving the fault of an anchored header from leaves that somebody hands in. The leaves of the epoch before are this node's own.

use assay_protocol::{
    lane::PayoutFile,
    settlement::fault::{
        Audit, LeavesError, Payout, Place, Tree, TreeFault, audit_of, find, places_of,
    },
};

use super::{Node, NodeError, fetch::blocking};
use crate::chain::{Accused, ChainError, ClaimResult};

/// A fault that was shown to the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The header and its signers, as they stood before.
    pub accused: Accused,
    /// What is wrong.
    pub fault: TreeFault,
    /// Our transaction, and what of the stakes it brought; none when somebody was faster.
    pub sent: Option<ClaimResult>,
    /// The lane went back to the epoch before; otherwise the epoch pays already, and stays.
    pub taken_back: bool,
}

/// Why no fault was proven.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The lane has not come so far, or the epoch was taken back.
    #[error("epoch {epoch} of lane {lane} is not anchored, or was taken back")]
    NotAnchored {
        /// Lane.
        lane: u32,
        /// Epoch.
        epoch: u64,
    },
    /// Somebody was here before.
    #[error("a fault of epoch {epoch} of lane {lane} was proven before; its signers have paid")]
    Before {
        /// Lane.
        lane: u32,
        /// Epoch.
        epoch: u64,
    },
    /// The leaves are those of something else.
    #[error(transparent)]
    Leaves(#[from] LeavesError),
    /// No leaves were handed in, and it takes some.
    #[error("the header of epoch {epoch} of lane {lane} shows no fault by itself")]
    HeaderAlone {
        /// Lane.
        lane: u32,
        /// Epoch.
        epoch: u64,
    },
    /// Everything that was looked at is as it should be.
    #[error("these leaves show no fault{}", unseen(*.audit, *.parent))]
    NoFault {
        /// The audit tree was looked at.
        audit: bool,
        /// So were the payees of the epoch before.
        parent: bool,
    },
    /// Node or chain.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl From<ChainError> for ProveError {
    fn from(error: ChainError) -> Self {
        Self::Node(error.into())
    }
}

/// What a search did not cover.
fn unseen(audit: bool, parent: bool) -> &'static str {
    match (audit, parent) {
        (true, true) => "",
        (true, false) => {
            "; whether somebody lost what the epoch before owed was not looked at, because this node does not hold the leaves of that epoch"
        }
        (false, true) => {
            "; the sums were not looked at, because the audit tree is not the one that belongs to these leaves"
        }
        (false, false) => {
            "; neither the sums (the audit tree is not the one that belongs to these leaves) nor the payees of the epoch before (this node does \
             not hold its leaves) were looked at"
        }
    }
}

/// The trees of a header as they were handed in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Laid {
    /// Payout leaves in tree order.
    pub payouts: Vec<Place<Payout>>,
    /// Audit leaves in tree order; without them, those that belong to the payout leaves.
    pub audits: Option<Vec<Place<Audit>>>,
}

/// The first fault of the header in these leaves.
fn search(
    accused: &Accused,
    laid: &Laid,
    own: Option<&PayoutFile>,
) -> Result<TreeFault, ProveError> {
    let header = &accused.header;
    let earlier = own.map(places_of);
    let known = accused.parent.as_ref().zip(earlier.as_deref());
    // Nobody is forgotten in the first epoch.
    let parent = known.is_some() || header.epoch <= 1;
    let given = |audits: Option<&[Place<Audit>]>| find(header, &laid.payouts, audits, known);
    let (found, audit) = match &laid.audits {
        Some(audits) => (given(Some(audits))?, true),
        None => match given(Some(&audit_of(&laid.payouts))) {
            Err(LeavesError::Root(Tree::Audit)) => (given(None)?, false),
            found => (found?, true),
        },
    };
    found.ok_or(ProveError::NoFault { audit, parent })
}

impl Node {
    /// Looks for a fault of the header that stands as an epoch of a lane, in the header alone or also in its leaves, and shows it to the chain.
    ///
    /// # Errors
    /// [`ProveError`].
    pub async fn prove_fault(
        &self,
        lane: u32,
        epoch: u64,
        laid: Option<Laid>,
    ) -> Result<Proven, ProveError> {
        let accused = self.chain.accused(lane, epoch).await?;
        let accused = accused.ok_or(ProveError::NotAnchored { lane, epoch })?;
        if accused.proven {
            return Err(ProveError::Before { lane, epoch });
        }
        let fault = match (TreeFault::of_header(&accused.header), laid) {
            (Some(fault), _) => fault,
            (None, Some(laid)) => {
                // Another file than the parent's says nothing about it.
                let own = self.payout_file(lane).await.ok();
                let accused = accused.clone();
                blocking(move || {
                    let root = accused.parent.as_ref().map(|p| p.payout_root);
                    let own = own.filter(|file| file.epoch + 1 == epoch);
                    let own = own.filter(|file| Some(file.root()) == root);
                    search(&accused, &laid, own.as_ref())
                })
                .await?
            }
            (None, None) => return Err(ProveError::HeaderAlone { lane, epoch }),
        };
        let sent = self.chain.prove_fault(&accused.header, &fault).await?;
        let taken_back = self.chain.head(lane).await?.epoch < epoch;
        Ok(Proven {
            accused,
            fault,
            sent,
            taken_back,
        })
    }
}
