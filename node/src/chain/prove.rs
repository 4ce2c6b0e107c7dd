//! Showing `Disputes` a fault of a posted header: the evidence from the chain, and the proof in the contract's form.

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::{Filter, Log},
    sol_types::{SolEvent, SolValue},
};
use assay_protocol::{
    amount::Amount,
    crypto::recover,
    id::{Account, EvmSignature, Hash},
    message::EpochHeader,
    settlement::fault::{AuditLeaf, PayoutLeaf, TreeFault},
};

use super::{
    Chain, ClaimResult,
    bindings::{
        Disputes::{self, DisputesCalls},
        EpochAnchor, Registry,
    },
    error::{ChainError, RpcFault},
    facts,
    intent::Intent,
    overrule::NOT_STANDING,
    plan::{Planner, Step, send},
};

/// The whole stake in `slashBps`.
const ALL_BPS: u128 = 10_000;

/// A header that stands, and what its signers have to lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accused {
    /// The header.
    pub header: EpochHeader,
    /// That of the epoch before; none for the first one.
    pub parent: Option<EpochHeader>,
    /// Who signed it, and what a proven fault takes from each. Nobody when the post came through a contract.
    pub signers: Vec<(Account, Amount)>,
    /// A fault of it was proven before.
    pub proven: bool,
}

fn words(proof: &[Hash]) -> Vec<B256> {
    proof.iter().map(|h| B256::from(*h)).collect()
}

fn hashes(proof: &[B256]) -> Vec<Hash> {
    proof.iter().map(|h| Hash::from(*h)).collect()
}

fn payout(leaf: &PayoutLeaf) -> Disputes::PayoutLeaf {
    Disputes::PayoutLeaf {
        payee: leaf.payee.into(),
        total: leaf.total.0,
        index: U256::from(leaf.index),
        proof: words(&leaf.proof),
    }
}

fn audit(leaf: &AuditLeaf) -> Disputes::AuditLeaf {
    Disputes::AuditLeaf {
        payee: leaf.payee.into(),
        total: leaf.total.0,
        before: leaf.before.0,
        index: U256::from(leaf.index),
        proof: words(&leaf.proof),
    }
}

fn read_payout(leaf: &Disputes::PayoutLeaf) -> PayoutLeaf {
    PayoutLeaf {
        payee: leaf.payee.into(),
        total: Amount(leaf.total),
        index: leaf.index.saturating_to(),
        proof: hashes(&leaf.proof),
    }
}

fn read_audit(leaf: &Disputes::AuditLeaf) -> AuditLeaf {
    AuditLeaf {
        payee: leaf.payee.into(),
        total: Amount(leaf.total),
        before: Amount(leaf.before),
        index: leaf.index.saturating_to(),
        proof: hashes(&leaf.proof),
    }
}

/// None for one that owes more than 128 bits, which nobody can have posted.
fn read_header(h: &Disputes::EpochHeader) -> Option<Box<EpochHeader>> {
    // Each contract's bindings have a type of their own for the same words.
    let same = EpochAnchor::EpochHeader::abi_decode(&h.abi_encode()).ok()?;
    let fits = same.totalOwed <= U256::from(u128::MAX);
    fits.then(|| Box::new(facts::header(&same)))
}

/// The step that shows `fault`.
pub(super) fn step(to: Account, e: Disputes::Evidence, fault: &TreeFault) -> Step {
    const NAME: &str = "prove a fault";
    match fault {
        TreeFault::Disorder { first, second } => {
            let (first, second) = (payout(first), payout(second));
            let call = Disputes::proveDisorderCall { e, first, second };
            send(to, &call, true, NAME)
        }
        TreeFault::Place {
            audit,
            node,
            index,
            proof,
        } => {
            let call = Disputes::provePlaceCall {
                e,
                audit: *audit,
                node: (*node).into(),
                index: U256::from(*index),
                proof: words(proof),
            };
            send(to, &call, true, NAME)
        }
        TreeFault::NoAudit => send(to, &Disputes::proveNoAuditCall { e }, true, NAME),
        TreeFault::Mismatch {
            audit: leaf,
            node,
            proof,
        } => {
            let call = Disputes::proveMismatchCall {
                e,
                audit: audit(leaf),
                payoutNode: (*node).into(),
                payoutProof: words(proof),
            };
            send(to, &call, true, NAME)
        }
        TreeFault::Edge(leaf) => {
            let leaf = audit(leaf);
            send(to, &Disputes::proveEdgeCall { e, leaf }, true, NAME)
        }
        TreeFault::Sum { first, second } => {
            let (first, second) = (audit(first), audit(second));
            let call = Disputes::proveSumCall { e, first, second };
            send(to, &call, true, NAME)
        }
        TreeFault::Shrunk {
            parent,
            earlier,
            now,
        } => {
            let call = Disputes::proveShrunkCall {
                e,
                parent: facts::abi_header!(Disputes, parent),
                earlier: payout(earlier),
                now_: payout(now),
            };
            send(to, &call, true, NAME)
        }
        TreeFault::Omitted {
            parent,
            earlier,
            around,
        } => {
            let call = Disputes::proveOmittedCall {
                e,
                parent: facts::abi_header!(Disputes, parent),
                earlier: payout(earlier),
                around: around.iter().map(payout).collect(),
            };
            send(to, &call, true, NAME)
        }
    }
}

/// What a call proves, if it proves the fault of a tree: the evidence, and the fault unless no header can have it.
pub(super) fn read(call: &DisputesCalls) -> Option<(&Disputes::Evidence, Option<TreeFault>)> {
    Some(match call {
        DisputesCalls::proveDisorder(c) => {
            let (first, second) = (read_payout(&c.first), read_payout(&c.second));
            (&c.e, Some(TreeFault::Disorder { first, second }))
        }
        DisputesCalls::provePlace(c) => {
            let fault = TreeFault::Place {
                audit: c.audit,
                node: c.node.into(),
                index: c.index.saturating_to(),
                proof: hashes(&c.proof),
            };
            (&c.e, Some(fault))
        }
        DisputesCalls::proveNoAudit(c) => (&c.e, Some(TreeFault::NoAudit)),
        DisputesCalls::proveMismatch(c) => {
            let fault = TreeFault::Mismatch {
                audit: read_audit(&c.audit),
                node: c.payoutNode.into(),
                proof: hashes(&c.payoutProof),
            };
            (&c.e, Some(fault))
        }
        DisputesCalls::proveEdge(c) => (&c.e, Some(TreeFault::Edge(read_audit(&c.leaf)))),
        DisputesCalls::proveSum(c) => {
            let (first, second) = (read_audit(&c.first), read_audit(&c.second));
            (&c.e, Some(TreeFault::Sum { first, second }))
        }
        DisputesCalls::proveShrunk(c) => {
            let fault = read_header(&c.parent).map(|parent| TreeFault::Shrunk {
                parent,
                earlier: read_payout(&c.earlier),
                now: read_payout(&c.now_),
            });
            (&c.e, fault)
        }
        DisputesCalls::proveOmitted(c) => {
            let fault = read_header(&c.parent).map(|parent| TreeFault::Omitted {
                parent,
                earlier: read_payout(&c.earlier),
                around: c.around.iter().map(read_payout).collect(),
            });
            (&c.e, fault)
        }
        _ => return None,
    })
}

impl Planner<'_> {
    pub(super) async fn disputes(&self) -> Result<Account, RpcFault> {
        let anchor = self.profile.contracts.anchor;
        let disputes = self.endpoint.view(anchor, EpochAnchor::disputesCall {});
        Ok(disputes.await?.into())
    }

    pub(super) async fn prove(
        &self,
        header: &EpochHeader,
        fault: &TreeFault,
    ) -> Result<Step, RpcFault> {
        if !fault.convicts(header) {
            return Ok(Step::Fail(
                "the leaves are not those of the header, or show no fault".to_owned(),
            ));
        }
        let disputes = self.disputes().await?;
        let call = Disputes::faultyCall {
            headerHash: header.hash().into(),
        };
        if self.endpoint.view(disputes, call).await? {
            return Ok(Step::Done);
        }
        let Some(evidence) = self.evidence(header).await? else {
            return Ok(Step::Fail(NOT_STANDING.to_owned()));
        };
        Ok(step(disputes, evidence, fault))
    }

    /// The header that stands as an epoch, with the log of its post; none when the lane has not come so far.
    async fn standing_post(
        &self,
        lane: u32,
        epoch: u64,
    ) -> Result<Option<(EpochHeader, Log)>, RpcFault> {
        let anchor = self.profile.contracts.anchor;
        let head = self.endpoint.view(anchor, EpochAnchor::headCall { lane });
        if head.await?.epoch < epoch {
            return Ok(None);
        }
        let filter = Filter::new()
            .address(Address::from(anchor))
            .event_signature(EpochAnchor::EpochPosted::SIGNATURE_HASH)
            .topic1(B256::from(U256::from(lane)))
            .topic2(B256::from(U256::from(epoch)))
            .from_block(self.profile.start_block);
        let mut logs: Vec<Log> = self.endpoint.ask("eth_getLogs", (filter,)).await?;
        // Those before it were taken back.
        let Some(log) = logs.pop() else {
            return Ok(None);
        };
        let posted = EpochAnchor::EpochPosted::decode_log_data_validate(log.data());
        Ok(posted.ok().map(|p| (facts::header(&p.header), log)))
    }

    async fn accused(&self, lane: u32, epoch: u64) -> Result<Option<Accused>, RpcFault> {
        let Some((header, log)) = self.standing_post(lane, epoch).await? else {
            return Ok(None);
        };
        let parent = match epoch.checked_sub(1).filter(|before| *before > 0) {
            Some(before) => self.standing_post(lane, before).await?.map(|p| p.0),
            None => None,
        };
        let disputes = self.disputes().await?;
        let hash = header.hash();
        let call = Disputes::faultyCall {
            headerHash: hash.into(),
        };
        let proven = self.endpoint.view(disputes, call).await?;
        let registry = self.profile.contracts.registry;
        let slash = self.endpoint.view(registry, Registry::slashBpsCall {});
        let slash = u128::from(slash.await?);
        let (digest, mut signers) = (header.signing_digest(self.profile), Vec::new());
        let bytes = self.signatures_of(&log).await?;
        for signature in bytes.as_chunks::<64>().0 {
            let Some(signer) = recover(&digest, &EvmSignature(*signature)) else {
                continue;
            };
            let account = signer.into();
            let held = self
                .endpoint
                .view(registry, Registry::accountsCall { account })
                .await?;
            signers.push((signer, Amount(held.stake.saturating_mul(slash) / ALL_BPS)));
        }
        Ok(Some(Accused {
            header,
            parent,
            signers,
            proven,
        }))
    }
}

impl Chain {
    /// The header that stands as an epoch of a lane, and who answers for it; none when the lane has not come so far.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn accused(&self, lane: u32, epoch: u64) -> Result<Option<Accused>, ChainError> {
        Ok(self.planner().accused(lane, epoch).await?)
    }

    /// Shows a fault of a posted header to the chain; anyone may. Its signers pay and are banned, and the lane goes back to the epoch before
    /// while the header's root waits. Returns when it is in a block (not final yet), with the transaction and what of the stakes went to our
    /// account; nothing when a fault of the header was proven before.
    ///
    /// # Errors
    /// [`ChainError::Refused`] when the leaves show no fault or the header does not stand, [`ChainError::Pending`], [`ChainError::Rpc`].
    pub async fn prove_fault(
        &self,
        header: &EpochHeader,
        fault: &TreeFault,
    ) -> Result<Option<ClaimResult>, ChainError> {
        let intent = Intent::ProveFault {
            header: Box::new(header.clone()),
            fault: Box::new(fault.clone()),
        };
        let sent = self.submit_and_wait(intent).await?;
        Ok(sent.map(|(tx, gas_used, paid)| ClaimResult {
            amount: paid.unwrap_or_default(),
            tx,
            gas_used,
        }))
    }
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolInterface;

    use super::*;
    use crate::chain::intent::{Job, Stage};

    fn header(epoch: u64) -> EpochHeader {
        EpochHeader {
            lane: 3,
            epoch,
            view: 1,
            term: 2,
            parent: Hash([4; 32]),
            chain_block: 5,
            chain_block_hash: Hash([6; 32]),
            records_root: Hash([7; 32]),
            state_root: Hash([8; 32]),
            payout_root: Hash([9; 32]),
            audit_root: Hash([10; 32]),
            payout_count: 11,
            loss_root: Hash([12; 32]),
            reputation_root: Hash([13; 32]),
            payout_file: Hash([14; 32]),
            total_owed: Amount(u128::MAX),
            settled_hash: Hash([15; 32]),
        }
    }

    fn every_fault() -> Vec<TreeFault> {
        let payout = |n: u8| PayoutLeaf {
            payee: Account([n; 20]),
            total: Amount(u128::MAX - u128::from(n)),
            index: u64::from(n),
            proof: vec![Hash([n; 32]); usize::from(n)],
        };
        let audit = |n: u8| AuditLeaf {
            payee: Account([n; 20]),
            total: Amount(u128::from(n)),
            before: Amount(u128::MAX),
            index: u64::MAX,
            proof: vec![Hash([n; 32])],
        };
        let parent = Box::new(header(6));
        vec![
            TreeFault::Disorder {
                first: payout(1),
                second: payout(2),
            },
            TreeFault::Place {
                audit: true,
                node: Hash([3; 32]),
                index: 4,
                proof: vec![Hash::ZERO],
            },
            TreeFault::NoAudit,
            TreeFault::Mismatch {
                audit: audit(5),
                node: Hash([6; 32]),
                proof: vec![],
            },
            TreeFault::Edge(audit(7)),
            TreeFault::Sum {
                first: audit(8),
                second: audit(9),
            },
            TreeFault::Shrunk {
                parent: parent.clone(),
                earlier: payout(10),
                now: payout(11),
            },
            TreeFault::Omitted {
                parent,
                earlier: payout(12),
                around: vec![payout(13), payout(14)],
            },
        ]
    }

    #[test]
    fn every_fault_survives_the_outbox() {
        for fault in every_fault() {
            let job = Job {
                seq: 1,
                intent: Intent::ProveFault {
                    header: Box::new(header(7)),
                    fault: Box::new(fault),
                },
                stage: Stage::Queued,
                reverts: 0,
            };
            assert_eq!(Job::decode(&job.encode()), Ok(job));
        }
    }

    #[test]
    fn every_call_reads_back_as_the_fault_that_it_proves() {
        let accused = header(7);
        for fault in every_fault() {
            let evidence = Disputes::Evidence {
                chain: vec![facts::abi_header!(Disputes, &accused)],
                signatures: vec![1; 128].into(),
                reporter: Account([2; 20]).into(),
            };
            let Step::Send { data, .. } = step(Account([1; 20]), evidence, &fault) else {
                panic!("no call for {fault:?}");
            };
            let call = DisputesCalls::abi_decode(&data).expect("a call of the contract");
            let (evidence, read) = read(&call).expect("a proof");
            assert_eq!(read, Some(fault));
            assert_eq!(
                read_header(&evidence.chain[0]),
                Some(Box::new(accused.clone()))
            );
        }
    }
}
