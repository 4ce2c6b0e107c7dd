//! Jobs in flight: from sent to mined to final, or back to the start when the chain forgets them.

use std::sync::Arc;

use alloy::sol_types::SolEvent;
use assay_protocol::{
    amount::Amount,
    id::{Account, Hash},
};
use tokio::time::Instant;

use super::{
    super::{
        bindings::{Registry, RewardDistributor, TaskEscrow, pool::BonusPool},
        endpoint::{At, Endpoint, ReceiptRow},
        error::ChainError,
        intent::{Intent, Job, Mined, Sent, Stage},
        pool::{Taken, cast, market, receipt, receipt_of},
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
        lowest: u64,
    ) -> Result<bool, ChainError> {
        // First the count: a receipt for a nonce that the chain has not seen used would be a lie.
        let count = endpoint.nonce(self.wallet.account(), false).await?;
        if count > sent.nonce {
            if let Some((tx, receipt)) = receipt_of(endpoint, sent).await? {
                return self.mined(key, job, sent, tx, &receipt).await;
            }
            return self
                .lost(key, job, "another transaction used its nonce")
                .await;
        }
        if count < sent.nonce {
            // A lower step of ours comes first; without one, the step waits for a nonce that nobody fills.
            return if count < lowest {
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
            let now = match market(endpoint).await? {
                Ok(now) => now,
                Err(why) => {
                    self.blocked(key, job, "gas price", why).await?;
                    return Ok(false);
                }
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
            return self.reverted(key, job, tx).await;
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
            Intent::PayIn { till, .. } | Intent::ClaimShare { till, .. } => {
                till.contract(&self.shared.profile).ok()?
            }
            Intent::ProveFault { .. } => contracts.registry,
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
            // The ledgers of bonuses and of data sets have the same events.
            Intent::ClaimShare { claim, .. } => logs
                .filter_map(|l| BonusPool::Claimed::decode_log_data_validate(l).ok())
                .find(|e| Account::from(e.payee) == claim.payee)?
                .amount
                .saturating_to(),
            Intent::PayIn { till, .. } => logs.find_map(|l| till.payment(l))?.1.0,
            // The reporter is whoever sent it.
            Intent::ProveFault { .. } => logs
                .filter_map(|l| Registry::Slashed::decode_log_data_validate(l).ok())
                .fold(0, |sum: u128, e| sum.saturating_add(e.rewarded)),
            _ => logs
                .find_map(|l| TaskEscrow::FallbackClosed::decode_log_data_validate(l).ok())?
                .amount
                .saturating_to(),
        };
        Some(Amount(amount))
    }

    /// A transaction was mined and did nothing: planned anew, a few times.
    async fn reverted(&mut self, key: &[u8], job: &Job, tx: Hash) -> Result<bool, ChainError> {
        let reverts = job.reverts + 1;
        if reverts >= REVERTS_MAX {
            let why = format!("{reverts} transactions were mined and reverted, the last is 0x{tx}");
            self.fail(key, job, why).await?;
            return Ok(true);
        }
        let job = Job {
            stage: Stage::Queued,
            reverts,
            ..job.clone()
        };
        self.shared.queue.update(key, job).await?;
        Ok(true)
    }

    /// Sends again what a reorganisation took out of the chain: its nonce is free again.
    pub(super) async fn fell_out(
        &self,
        endpoint: &Endpoint,
        jobs: &[(Vec<u8>, Arc<Job>)],
        finalized: u64,
    ) -> Result<bool, ChainError> {
        let mined = |job: &Job| match &job.stage {
            Stage::Mined(mined) if mined.block > finalized => Some(mined.sent.clone()),
            _ => None,
        };
        if !jobs.iter().any(|(_, job)| mined(job).is_some()) {
            return Ok(false);
        }
        let count = endpoint.nonce(self.wallet.account(), false).await?;
        let mut any = false;
        for (key, job) in jobs {
            let Some(sent) = mined(job).filter(|sent| sent.nonce >= count) else {
                continue;
            };
            tracing::warn!(
                what = job.intent.describe(),
                nonce = sent.nonce,
                "the chain dropped a transaction; sending it again"
            );
            self.restage(key, job, Stage::Sent(sent)).await?;
            any = true;
        }
        Ok(any)
    }

    /// The block of a last step is final; the step must still be in the chain, and have worked there.
    pub(super) async fn confirm(
        &mut self,
        endpoint: &Endpoint,
        key: &[u8],
        job: &Job,
        mined: &Mined,
        finalized: u64,
    ) -> Result<bool, ChainError> {
        let Some(found) = receipt(endpoint, mined.tx).await? else {
            tracing::warn!(what = job.intent.describe(), tx = %mined.tx, "the chain dropped a transaction; sending it again");
            self.restage(key, job, Stage::Sent(mined.sent.clone()))
                .await?;
            return Ok(true);
        };
        if found.block > finalized {
            let mined = Mined {
                block: found.block,
                ..mined.clone()
            };
            self.restage(key, job, Stage::Mined(mined)).await?;
            return Ok(true);
        }
        if let Some(why) = self.contradicted(mined.tx, &found).await {
            self.doubtful(key, job, why).await?;
            return Ok(false);
        }
        if !found.ok {
            // A reorganisation mined it again, in a place where it could not work.
            return self.reverted(key, job, mined.tx).await;
        }
        self.finish(key, job, mined.tx, found.gas_used, found.block)
            .await?;
        Ok(true)
    }

    /// Why the other endpoint denies a final receipt, if it does; one that is down or behind does not.
    async fn contradicted(&self, tx: Hash, found: &ReceiptRow) -> Option<String> {
        let witness = self.shared.endpoints.witness()?;
        let row = witness.header(At::Number(found.block)).await.ok()??;
        let other = witness.receipt(tx).await.ok()?;
        let same = row.hash == found.block_hash
            && other.is_some_and(|o| (o.block_hash, o.ok) == (found.block_hash, found.ok));
        (!same).then(|| {
            format!(
                "{} does not know transaction 0x{tx} as the other endpoint shows it, in final block {}",
                witness.label, found.block
            )
        })
    }
}
