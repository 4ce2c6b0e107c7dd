//! Taking a posted epoch back: the evidence that `Disputes.overrule` wants, gathered from the chain.

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::{Filter, Log},
    sol_types::{SolCall, SolEvent},
};
use assay_protocol::{
    id::{Account, EvmSignature, Hash},
    message::EpochHeader,
};
use serde::Deserialize;

use super::{
    bindings::{Disputes, EpochAnchor},
    error::RpcFault,
    facts,
    plan::{Planner, Step, send},
};

/// Why nothing can be shown against a header any more.
pub(super) const NOT_STANDING: &str = "the header is not posted, or was taken back by others";

/// What is read of a transaction.
#[derive(Debug, Deserialize)]
struct Posting {
    input: alloy::primitives::Bytes,
}

impl Planner<'_> {
    pub(super) async fn overrule(
        &self,
        header: &EpochHeader,
        votes: &[(Account, EvmSignature)],
    ) -> Result<Step, RpcFault> {
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
        let call = Disputes::overruleCall {
            e: evidence,
            votes: votes
                .iter()
                .flat_map(|(_, s)| s.0)
                .collect::<Vec<_>>()
                .into(),
        };
        Ok(send(disputes, &call, true, "overrule"))
    }

    /// What accuses a posted header: all headers from it to the lane's last, and its signatures. None when it does not stand.
    pub(super) async fn evidence(
        &self,
        header: &EpochHeader,
    ) -> Result<Option<Disputes::Evidence>, RpcFault> {
        let (anchor, lane) = (self.profile.contracts.anchor, header.lane);
        let head = self.endpoint.view(anchor, EpochAnchor::headCall { lane });
        let mut next = Hash::from(head.await?.hash);
        let posted = self.posts_since(header).await?;
        // What was taken back may stand among them, so the chain is followed from its end.
        let mut chain = Vec::new();
        for (posted, log) in posted.iter().rev() {
            if posted.hash() == next {
                next = posted.parent;
                chain.push((posted, log));
            }
        }
        chain.reverse();
        let Some((_, log)) = chain.first().filter(|(first, _)| *first == header) else {
            return Ok(None);
        };
        Ok(Some(Disputes::Evidence {
            chain: chain
                .iter()
                .map(|(h, _)| facts::abi_header!(Disputes, h))
                .collect(),
            signatures: self.signatures_of(log).await?.into(),
            reporter: self.account.into(),
        }))
    }

    /// Headers posted in the lane from this one's block on, in log order, those taken back included.
    pub(super) async fn posts_since(
        &self,
        header: &EpochHeader,
    ) -> Result<Vec<(EpochHeader, Log)>, RpcFault> {
        let filter = Filter::new()
            .address(Address::from(self.profile.contracts.anchor))
            .event_signature(EpochAnchor::EpochPosted::SIGNATURE_HASH)
            .topic1(B256::from(U256::from(header.lane)))
            .from_block(header.chain_block);
        let logs: Vec<Log> = self.endpoint.ask("eth_getLogs", (filter,)).await?;
        let read = |log: Log| {
            let posted = EpochAnchor::EpochPosted::decode_log_data_validate(log.data()).ok()?;
            (posted.header.epoch >= header.epoch).then(|| (facts::header(&posted.header), log))
        };
        Ok(logs.into_iter().filter_map(read).collect())
    }

    /// Signatures that a header was posted with; none when something stands between the sender and the anchor. Then the epoch can be taken
    /// back all the same, and who shows them later is rewarded for it (`Disputes.punish`).
    pub(super) async fn signatures_of(&self, log: &Log) -> Result<Vec<u8>, RpcFault> {
        let Some(hash) = log.transaction_hash else {
            return Ok(Vec::new());
        };
        let posting: Option<Posting> = self
            .endpoint
            .ask("eth_getTransactionByHash", (hash,))
            .await?;
        let call = posting.and_then(|p| EpochAnchor::postCall::abi_decode(&p.input).ok());
        Ok(call.map_or_else(Vec::new, |c| c.signatures.into()))
    }
}
