//! Jobs in flight: from sent to mined to final, or back to the start when the chain forgets them.

use alloy::sol_types::SolEvent;
use assay_protocol::{
    amount::Amount,
    id::{Account, Hash},
};
use tokio::time::Instant;

use super::{
    super::{
        bindings::{RewardDistributor, TaskEscrow},
        endpoint::{Endpoint, ReceiptRow},
        error::ChainError,
        intent::{Intent, Job, Mined, Sent, Stage},
        pool::{Taken, cast, market, receipt_of},
        queue::Outcome,
    },
    BUMP_POLLS, BUMPS_MAX, LOST_POLLS, RESEND_POLLS, REVERTS_MAX, Sender, Side,
};

impl Sender {
    pub(super) async fn follow(
        &mut self,
        endpoint: &Endpoint,
        key: &[u8],
        job: &Job,
        sent: &Sent,
        lowest: bool,
    ) -> Result<bool, ChainError> {
        if let Some((tx, receipt)) = receipt_of(endpoint, sent).await? {
            return self.mined(key, job, sent, tx, &receipt).await;
        }
        let account = self.wallet.account();
        let count = endpoint.nonce(account, false).await?;
        if count > sent.nonce {
            // It may have been mined between the two questions.
            if let Some((tx, receipt)) = receipt_of(endpoint, sent).await? {
                return self.mined(key, job, sent, tx, &receipt).await;
            }
            return self
                .lost(key, job, "another transaction used its nonce")
                .await;
        }
        if count < sent.nonce {
            // A lower step of ours comes first; without one, the step waits for a nonce that nobody fills.
            return if lowest {
                self.lost(key, job, "a transaction before it is missing")
                    .await
            } else {
                Ok(false)
            };
        }
        let side = self.side.entry(key.to_vec()).or_default();
        side.lost = 0;
        side.polls += 1;
        let newest = sent
            .txs
            .last()
            .ok_or_else(|| ChainError::Store("a sent step without a transaction".to_owned()))?;
        if side.polls > BUMP_POLLS && sent.txs.len() <= BUMPS_MAX {
            side.polls = 1;
            let Some(now) = market(endpoint).await? else {
                return Ok(false);
            };
            let raised = self.wallet.raise(newest, now)?;
            tracing::warn!(what = job.intent.describe(), step = sent.step, nonce = sent.nonce, tx = %raised.hash, "not mined; raising the fee");
            let mut sent = sent.clone();
            sent.txs.push(raised.clone());
            self.restage(key, job, Stage::Sent(sent)).await?;
            cast(endpoint, &raised).await?;
            return Ok(false);
        }
        if side.polls % RESEND_POLLS == 1 {
            match cast(endpoint, newest).await? {
                Taken::Yes => {}
                Taken::NonceTooHigh => return self.lost(key, job, "the nonce is too high").await,
                Taken::NoFunds(why) => {
                    self.blocked(key, job, "native balance", why).await?;
                }
                Taken::No(why) => tracing::warn!(
                    step = sent.step,
                    why,
                    "the endpoint did not take a transaction"
                ),
            }
        }
        Ok(false)
    }

    /// Plans anew, unless the next polls show that an endpoint was only slow.
    async fn lost(&mut self, key: &[u8], job: &Job, why: &str) -> Result<bool, ChainError> {
        let side = self.side.entry(key.to_vec()).or_default();
        side.lost += 1;
        if side.lost < LOST_POLLS {
            return Ok(false);
        }
        self.requeue(key, job, why).await
    }

    pub(super) async fn requeue(
        &mut self,
        key: &[u8],
        job: &Job,
        why: &str,
    ) -> Result<bool, ChainError> {
        tracing::warn!(
            what = job.intent.describe(),
            why,
            "planning a transaction anew"
        );
        self.restage(key, job, Stage::Queued).await?;
        self.side.insert(
            key.to_vec(),
            Side {
                retry_at: Some(Instant::now() + self.shared.poll),
                ..Side::default()
            },
        );
        Ok(true)
    }

    async fn mined(
        &mut self,
        key: &[u8],
        job: &Job,
        sent: &Sent,
        tx: Hash,
        receipt: &ReceiptRow,
    ) -> Result<bool, ChainError> {
        self.side.remove(key);
        if !receipt.ok {
            let reverts = job.reverts + 1;
            if reverts >= REVERTS_MAX {
                let why =
                    format!("{reverts} transactions were mined and reverted, the last is 0x{tx}");
                self.fail(key, job, why).await?;
                return Ok(true);
            }
            self.shared
                .queue
                .update(
                    key,
                    Job {
                        stage: Stage::Queued,
                        reverts,
                        ..job.clone()
                    },
                )
                .await?;
            return Ok(true);
        }
        if !sent.last {
            self.restage(key, job, Stage::Queued).await?;
            return Ok(true);
        }
        let paid = self.paid(&job.intent, receipt);
        let mined = Mined {
            sent: sent.clone(),
            tx,
            block: receipt.block,
            gas_used: receipt.gas_used,
            paid,
        };
        self.restage(key, job, Stage::Mined(mined)).await?;
        self.shared
            .queue
            .tell(
                key,
                &Outcome::Included {
                    tx,
                    gas_used: receipt.gas_used,
                    paid,
                },
            )
            .await;
        Ok(true)
    }

    /// What a claim moved, from the contract's own event.
    fn paid(&self, intent: &Intent, receipt: &ReceiptRow) -> Option<Amount> {
        let contracts = &self.shared.profile.contracts;
        let contract = match intent {
            Intent::Claim(claim) => contracts.distributor(claim.lane),
            Intent::ClaimSubtree(claim) => contracts.distributor(claim.lane),
            Intent::ClaimFallback { .. } | Intent::CloseFallback { .. } => contracts.escrow,
            _ => return None,
        };
        let mut logs = receipt
            .logs
            .iter()
            .filter(|l| Account::from(l.address()) == contract)
            .map(|l| l.data());
        let amount = match intent {
            Intent::Claim(claim) => logs
                .filter_map(|l| RewardDistributor::Claimed::decode_log_data_validate(l).ok())
                .find(|e| Account::from(e.payee) == claim.payee)?
                .amount
                .saturating_to(),
            Intent::ClaimSubtree(_) => logs
                .find_map(|l| RewardDistributor::SubtreeClaimed::decode_log_data_validate(l).ok())?
                .amount
                .saturating_to(),
            Intent::ClaimFallback { claim, .. } => {
                logs.filter_map(|l| TaskEscrow::FallbackClaimed::decode_log_data_validate(l).ok())
                    .find(|e| Account::from(e.payee) == claim.pay.payee)?
                    .amount
            }
            _ => logs
                .find_map(|l| TaskEscrow::FallbackClosed::decode_log_data_validate(l).ok())?
                .amount
                .saturating_to(),
        };
        Some(Amount(amount))
    }

    /// The block of a last step is final; the step must still be in the chain.
    pub(super) async fn confirm(
        &mut self,
        endpoint: &Endpoint,
        key: &[u8],
        job: &Job,
        mined: &Mined,
        finalized: u64,
    ) -> Result<bool, ChainError> {
        match endpoint.receipt(mined.tx).await? {
            Some(receipt) if receipt.block <= finalized => {
                self.finish(key, job, mined.tx, receipt.gas_used, receipt.block)
                    .await?;
            }
            Some(receipt) => {
                let mined = Mined {
                    block: receipt.block,
                    ..mined.clone()
                };
                self.restage(key, job, Stage::Mined(mined)).await?;
            }
            None => {
                tracing::warn!(what = job.intent.describe(), tx = %mined.tx, "the chain dropped a transaction; sending it again");
                self.restage(key, job, Stage::Sent(mined.sent.clone()))
                    .await?;
            }
        }
        Ok(true)
    }
}
