//! Taking two headers that a member signed for one view to `Disputes.proveEquivocation`.

use alloy::{primitives::B256, sol_types::SolValue};
use assay_protocol::{
    crypto::{keccak, recover},
    id::{Account, EvmSignature, Hash},
    message::EpochHeader,
};
use serde::{Deserialize, Serialize};

use super::{
    bindings::Disputes,
    error::RpcFault,
    facts,
    plan::{Planner, Step, send},
};

/// What convicts a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Equivocation {
    pub account: Account,
    pub proposed: Box<EpochHeader>,
    pub signature: EvmSignature,
    pub other: Box<EpochHeader>,
    /// None: the other is posted, and the signature stands in the posting transaction.
    pub other_signature: Option<EvmSignature>,
}

impl Equivocation {
    /// The key under which `Disputes` books the punishment.
    pub(super) fn offence(&self) -> Hash {
        let h = &self.proposed;
        keccak(&(h.lane, h.epoch, h.view, h.term).abi_encode())
    }
}

impl Planner<'_> {
    pub(super) async fn prove_equivocation(&self, e: &Equivocation) -> Result<Step, RpcFault> {
        let disputes = self.disputes().await?;
        let punished = Disputes::punishedCall {
            offence: B256::from(e.offence()),
            account: e.account.into(),
        };
        if self.endpoint.view(disputes, punished).await? {
            return Ok(Step::Done);
        }
        let other_signature = match e.other_signature {
            Some(signature) => Some(signature),
            None => self.posted_signature(&e.other, &e.account).await?,
        };
        let Some(other_signature) = other_signature else {
            return Ok(Step::Fail(format!(
                "no transaction that posted the other header shows the signature of 0x{}",
                e.account
            )));
        };
        let call = Disputes::proveEquivocationCall {
            first: facts::abi_header!(Disputes, &e.proposed),
            second: facts::abi_header!(Disputes, &e.other),
            firstSignatures: e.signature.0.to_vec().into(),
            secondSignatures: other_signature.0.to_vec().into(),
            reporter: self.account.into(),
        };
        Ok(send(disputes, &call, true, "proveEquivocation"))
    }

    /// The signature of `account` that a header was posted with, whether the header was taken back since or not.
    async fn posted_signature(
        &self,
        header: &EpochHeader,
        account: &Account,
    ) -> Result<Option<EvmSignature>, RpcFault> {
        let digest = header.signing_digest(self.profile);
        for (posted, log) in self.posts_since(header).await? {
            if posted != *header {
                continue;
            }
            let signatures = self.signatures_of(&log).await?;
            let (each, _) = signatures.as_chunks();
            let own = each.iter().map(|s| EvmSignature(*s));
            let mut own = own.filter(|s| recover(&digest, s) == Some(*account));
            if let Some(signature) = own.next() {
                return Ok(Some(signature));
            }
        }
        Ok(None)
    }
}
