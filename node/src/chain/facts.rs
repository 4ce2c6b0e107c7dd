//! From contract logs to the facts that the core reads.
//!
//! Pure. Judges the form only: whether a binding fits or a task exists is decided by the core.

use alloy::{
    primitives::{B256, Bloom, BloomInput, LogData, U256},
    sol_types::SolEvent,
};
use assay_protocol::{
    amount::Amount,
    id::{Account, Blob, NodeKey, Signature, TaskId},
    message::{ChainFact, EpochHeader},
    network::Contracts,
};

use super::bindings::{EpochAnchor, Registry, TaskEscrow};

/// The events that become facts, by contract.
fn events(contracts: &Contracts) -> [(Account, Vec<B256>); 3] {
    [
        (
            contracts.registry,
            vec![
                Registry::Registered::SIGNATURE_HASH,
                Registry::StakeAdded::SIGNATURE_HASH,
                Registry::UnbondRequested::SIGNATURE_HASH,
            ],
        ),
        (
            contracts.escrow,
            vec![
                TaskEscrow::Funded::SIGNATURE_HASH,
                TaskEscrow::ToppedUp::SIGNATURE_HASH,
                TaskEscrow::Released::SIGNATURE_HASH,
                TaskEscrow::FallbackOpened::SIGNATURE_HASH,
                TaskEscrow::RecordForced::SIGNATURE_HASH,
            ],
        ),
        (
            contracts.anchor,
            vec![
                EpochAnchor::CommitteeDrawn::SIGNATURE_HASH,
                EpochAnchor::EpochPosted::SIGNATURE_HASH,
                EpochAnchor::EpochsRevoked::SIGNATURE_HASH,
            ],
        ),
    ]
}

/// Whether a block with this bloom filter may hold a fact; false is certain.
pub(super) fn may_hold_facts(bloom: &Bloom, contracts: &Contracts) -> bool {
    events(contracts).iter().any(|(contract, topics)| {
        bloom.contains_input(BloomInput::Raw(&contract.0))
            && topics
                .iter()
                .any(|topic| bloom.contains_input(BloomInput::Raw(topic.as_slice())))
    })
}

/// The fact in a log of `contract`; none for events that the core does not read.
///
/// # Errors
/// A log that says it is one of ours and does not decode.
pub(super) fn fact(
    contracts: &Contracts,
    contract: Account,
    log: &LogData,
) -> Result<Option<ChainFact>, String> {
    let Some(topic) = log.topics().first().copied() else {
        return Ok(None);
    };
    if contract == contracts.registry {
        registry(topic, log)
    } else if contract == contracts.escrow {
        escrow(topic, log)
    } else if contract == contracts.anchor {
        anchor(topic, log)
    } else {
        Ok(None)
    }
}

fn decode<E: SolEvent>(log: &LogData) -> Result<E, String> {
    E::decode_log_data_validate(log).map_err(|e| format!("event {}: {e}", E::SIGNATURE))
}

fn registry(topic: B256, log: &LogData) -> Result<Option<ChainFact>, String> {
    Ok(Some(match topic {
        Registry::Registered::SIGNATURE_HASH => {
            let e: Registry::Registered = decode(log)?;
            let binding = <[u8; 64]>::try_from(e.binding.as_ref()).map_err(|_| {
                format!(
                    "event Registered: binding of {} bytes, expected 64",
                    e.binding.len()
                )
            })?;
            ChainFact::Registered {
                account: e.account.into(),
                node_key: NodeKey(e.nodeKey.0),
                seal_key: e.sealKey.into(),
                payee: e.payee.into(),
                roles: e.roles,
                stake: Amount(e.stake),
                nonce: e.nonce,
                binding: Signature(binding),
            }
        }
        Registry::StakeAdded::SIGNATURE_HASH => {
            let e: Registry::StakeAdded = decode(log)?;
            ChainFact::StakeAdded {
                account: e.account.into(),
                stake: Amount(e.stake),
            }
        }
        Registry::UnbondRequested::SIGNATURE_HASH => {
            let e: Registry::UnbondRequested = decode(log)?;
            ChainFact::UnbondRequested {
                account: e.account.into(),
            }
        }
        _ => return Ok(None),
    }))
}

fn escrow(topic: B256, log: &LogData) -> Result<Option<ChainFact>, String> {
    Ok(Some(match topic {
        TaskEscrow::Funded::SIGNATURE_HASH => {
            let e: TaskEscrow::Funded = decode(log)?;
            ChainFact::Funded {
                task: TaskId(e.taskId.0),
                client: e.client.into(),
                lane: e.lane,
                deposit: Amount(e.deposit),
                gold_bond: Amount(e.goldBond),
            }
        }
        TaskEscrow::ToppedUp::SIGNATURE_HASH => {
            let e: TaskEscrow::ToppedUp = decode(log)?;
            ChainFact::ToppedUp {
                task: TaskId(e.taskId.0),
                client: e.client.into(),
                deposit: Amount(e.deposit),
            }
        }
        TaskEscrow::Released::SIGNATURE_HASH => {
            let e: TaskEscrow::Released = decode(log)?;
            ChainFact::Released {
                task: TaskId(e.taskId.0),
                client: e.client.into(),
                // An escrow holds at most two amounts of 112 bits.
                amount: Amount(e.amount.saturating_to()),
            }
        }
        TaskEscrow::FallbackOpened::SIGNATURE_HASH => {
            let e: TaskEscrow::FallbackOpened = decode(log)?;
            ChainFact::FallbackOpened {
                task: TaskId(e.taskId.0),
                client: e.client.into(),
                header: e.headerHash.into(),
            }
        }
        TaskEscrow::RecordForced::SIGNATURE_HASH => {
            let e: TaskEscrow::RecordForced = decode(log)?;
            ChainFact::RecordForced {
                task: TaskId(e.taskId.0),
                client: e.client.into(),
                record: Blob(e.record.to_vec()),
            }
        }
        _ => return Ok(None),
    }))
}

fn anchor(topic: B256, log: &LogData) -> Result<Option<ChainFact>, String> {
    Ok(Some(match topic {
        EpochAnchor::CommitteeDrawn::SIGNATURE_HASH => {
            let e: EpochAnchor::CommitteeDrawn = decode(log)?;
            ChainFact::CommitteeDrawn {
                lane: e.lane,
                term: e.term,
                members: e.members.into_iter().map(Account::from).collect(),
                threshold: e.threshold,
            }
        }
        EpochAnchor::EpochPosted::SIGNATURE_HASH => {
            let e: EpochAnchor::EpochPosted = decode(log)?;
            ChainFact::EpochPosted {
                header: Box::new(header(&e.header)),
                signers: seats(e.signers),
                poster: e.poster.into(),
            }
        }
        EpochAnchor::EpochsRevoked::SIGNATURE_HASH => {
            let e: EpochAnchor::EpochsRevoked = decode(log)?;
            ChainFact::EpochsRevoked {
                lane: e.lane,
                from: e.fromEpoch,
            }
        }
        _ => return Ok(None),
    }))
}

/// The members whose bits are set, in order.
pub(super) fn seats(signers: U256) -> Vec<u8> {
    (0..=u8::MAX)
        .filter(|seat| signers.bit(usize::from(*seat)))
        .collect()
}

/// A header in a contract's form. Each contract's bindings have a type of their own for it.
macro_rules! abi_header {
    ($contract:ident, $header:expr) => {{
        let h: &EpochHeader = $header;
        $contract::EpochHeader {
            lane: h.lane,
            epoch: h.epoch,
            view: h.view,
            term: h.term,
            parent: h.parent.into(),
            chainBlock: h.chain_block,
            chainBlockHash: h.chain_block_hash.into(),
            recordsRoot: h.records_root.into(),
            stateRoot: h.state_root.into(),
            payoutRoot: h.payout_root.into(),
            auditRoot: h.audit_root.into(),
            payoutCount: h.payout_count,
            lossRoot: h.loss_root.into(),
            reputationRoot: h.reputation_root.into(),
            payoutFile: h.payout_file.into(),
            totalOwed: h.total_owed.into(),
            settledHash: h.settled_hash.into(),
        }
    }};
}
pub(super) use abi_header;

/// The header in the contract's form, in ours.
pub(super) fn header(h: &EpochAnchor::EpochHeader) -> EpochHeader {
    EpochHeader {
        lane: h.lane,
        epoch: h.epoch,
        view: h.view,
        term: h.term,
        parent: h.parent.into(),
        chain_block: h.chainBlock,
        chain_block_hash: h.chainBlockHash.into(),
        records_root: h.recordsRoot.into(),
        state_root: h.stateRoot.into(),
        payout_root: h.payoutRoot.into(),
        audit_root: h.auditRoot.into(),
        payout_count: h.payoutCount,
        loss_root: h.lossRoot.into(),
        reputation_root: h.reputationRoot.into(),
        payout_file: h.payoutFile.into(),
        // More than 2^128 units exist in no deposit; such a header is refused by the contract.
        total_owed: Amount(h.totalOwed.saturating_to()),
        settled_hash: h.settledHash.into(),
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, Bytes};
    use proptest::prelude::*;

    use super::*;

    fn contracts() -> Contracts {
        let a = |n| Account([n; 20]);
        Contracts {
            token: a(1),
            registry: a(2),
            escrow: a(3),
            anchor: a(4),
            distributors: vec![a(5)],
            beacon: a(6),
        }
    }

    #[test]
    fn an_event_counts_only_when_its_own_contract_says_it() {
        let c = contracts();
        let log = TaskEscrow::ToppedUp {
            taskId: B256::repeat_byte(7),
            client: Address::repeat_byte(8),
            amount: 5,
            deposit: 9,
        }
        .encode_log_data();
        let expected = ChainFact::ToppedUp {
            task: TaskId([7; 32]),
            client: Account([8; 20]),
            deposit: Amount(9),
        };
        assert_eq!(fact(&c, c.escrow, &log), Ok(Some(expected)));
        for stranger in [c.registry, c.anchor, c.token, Account([9; 20])] {
            assert_eq!(fact(&c, stranger, &log), Ok(None));
        }
    }

    #[test]
    fn the_bloom_filter_of_a_block_with_a_fact_says_maybe() {
        let c = contracts();
        let mut bloom = Bloom::ZERO;
        assert!(!may_hold_facts(&bloom, &c));
        bloom.accrue_raw_log(
            Address::from(c.escrow),
            &[TaskEscrow::Funded::SIGNATURE_HASH],
        );
        assert!(may_hold_facts(&bloom, &c));
    }

    proptest! {
        #[test]
        fn no_log_however_malformed_panics(which in 0usize..3, topic in 0usize..3, more in prop::collection::vec(any::<[u8; 32]>(), 0..4), data in prop::collection::vec(any::<u8>(), 0..400)) {
            let c = contracts();
            let all = events(&c);
            let (contract, topics) = &all[which];
            let mut list = vec![topics[topic % topics.len()]];
            list.extend(more.into_iter().map(B256::from));
            let log = LogData::new_unchecked(list, Bytes::from(data));
            let _ = fact(&c, *contract, &log);
        }
    }
}
