//! Taking chain facts in: registrations, escrows, committees, anchored headers, beacons.

use super::state::{AccountState, Committee, EscrowState, LaneState, role};
use crate::{
    amount::Amount,
    crypto::{BINDING_DOMAIN, binding_message, check_node_key, verify},
    id::{Account, TaskId},
    message::{BlockNews, ChainFact},
    network::NetworkProfile,
    task::Phase,
    verify::Decoded,
};

impl LaneState {
    /// Folds one finalised block in. Blocks come in order; one already taken in changes nothing.
    pub fn ingest(&mut self, news: &BlockNews, profile: &NetworkProfile) {
        let before_first = self.block.hash == crate::id::Hash::ZERO;
        if news.block.number <= self.block.number && !before_first {
            return;
        }
        self.block = news.block;
        for fact in &news.facts {
            self.take(fact, news, profile);
        }
        self.open_due_waves(news);
    }

    fn take(&mut self, fact: &ChainFact, news: &BlockNews, profile: &NetworkProfile) {
        match fact {
            ChainFact::Registered {
                account,
                node_key,
                seal_key,
                payee,
                roles,
                stake,
                nonce,
                binding,
            } => {
                let message = binding_message(
                    profile.chain_id,
                    profile.contracts.registry,
                    *account,
                    *nonce,
                    *node_key,
                );
                // A record without a valid binding, or with a weak key, is no participant.
                if check_node_key(node_key).is_err()
                    || verify(node_key, BINDING_DOMAIN, &message, binding).is_err()
                {
                    return;
                }
                let state = AccountState {
                    node_key: *node_key,
                    seal_key: *seal_key,
                    payee: *payee,
                    roles: *roles,
                    stake: *stake,
                    leaving: false,
                };
                self.accounts.insert(*account, state);
            }
            ChainFact::StakeAdded { account, stake } => {
                if let Some(state) = self.accounts.get_mut(account) {
                    state.stake = *stake;
                }
            }
            ChainFact::UnbondRequested { account } => {
                if let Some(state) = self.accounts.get_mut(account) {
                    state.leaving = true;
                }
            }
            ChainFact::Funded {
                task,
                client,
                lane,
                deposit,
                gold_bond,
            } if *lane == self.lane => {
                let escrow = EscrowState {
                    deposit: *deposit,
                    gold_bond: *gold_bond,
                    since: news.block.time,
                };
                self.escrows.insert((*task, *client), escrow);
            }
            ChainFact::ToppedUp {
                task,
                client,
                deposit,
            } => {
                if let Some(escrow) = self.escrows.get_mut(&(*task, *client)) {
                    escrow.deposit = *deposit;
                } else if let Some(open) = self
                    .tasks
                    .get_mut(task)
                    .filter(|t| t.manifest.client == *client)
                {
                    open.deposit = *deposit;
                }
            }
            ChainFact::CommitteeDrawn {
                lane,
                term,
                members,
                threshold,
            } if *lane == self.lane => {
                let (members, since_epoch) = (members.clone(), self.epoch);
                self.committee = Some(Committee {
                    term: *term,
                    members,
                    threshold: *threshold,
                    since_epoch,
                });
            }
            ChainFact::EpochPosted {
                header,
                signers,
                poster,
            } if header.lane == self.lane
                && header.epoch == self.epoch
                && header.hash() == self.head =>
            {
                self.head_posted = true;
                self.note_fee_shares(signers, poster);
                for task in self.tasks.values_mut() {
                    if let Phase::Drawing {
                        beacon_block: at @ None,
                        ..
                    } = &mut task.phase
                    {
                        *at = Some(news.block.number + profile.params.beacon_delay_blocks);
                    }
                }
            }
            ChainFact::Released {
                task,
                client,
                amount,
            } => self.note_released(*task, *client, *amount),
            ChainFact::FallbackOpened { task, client, .. } => {
                self.escrows.remove(&(*task, *client));
                if self
                    .tasks
                    .get(task)
                    .is_some_and(|t| t.manifest.client == *client)
                {
                    self.tasks.remove(task);
                }
            }
            ChainFact::RecordForced {
                task,
                client,
                record,
            } => self.take_forced(task, client, &record.0, news.block.time, profile),
            ChainFact::EpochsRevoked { lane, .. } if *lane == self.lane => self.committee = None,
            ChainFact::Funded { .. }
            | ChainFact::CommitteeDrawn { .. }
            | ChainFact::EpochPosted { .. }
            | ChainFact::EpochsRevoked { .. } => {}
        }
    }

    /// A record by the chain: what is not valid, not awaited or late changes nothing.
    fn take_forced(
        &mut self,
        task: &TaskId,
        client: &Account,
        bytes: &[u8],
        time: u64,
        profile: &NetworkProfile,
    ) {
        let Ok(record) = Decoded::parse(bytes).and_then(|d| d.authenticate(&profile.id())) else {
            return;
        };
        let speaker = self.speaker(&record);
        if let Some(open) = self
            .tasks
            .get_mut(task)
            .filter(|t| t.manifest.client == *client && record.envelope().task == *task)
        {
            open.force(&record, speaker, time);
        }
    }

    /// Whether this lane keeps books for the escrow of a task.
    pub fn holds(&self, task: &TaskId, client: &Account) -> bool {
        let open = self.tasks.get(task);
        self.escrows.contains_key(&(*task, *client))
            || open.is_some_and(|t| t.manifest.client == *client)
    }

    /// The money of a task that is still open here has moved: by an epoch that was revoked, or is about to be adopted. Whoever settles the
    /// task settles exactly that much, and does not ask the escrow for it again.
    fn note_released(&mut self, task: TaskId, client: Account, amount: Amount) {
        let own = |deposit: &mut Amount, bond: Amount| {
            *deposit = amount.checked_sub(bond).unwrap_or_default();
        };
        let key = (task, client);
        if let Some(escrow) = self.escrows.get_mut(&key) {
            own(&mut escrow.deposit, escrow.gold_bond);
        } else if let Some(open) = self
            .tasks
            .get_mut(&task)
            .filter(|t| t.manifest.client == client)
        {
            own(&mut open.deposit, open.gold_bond);
        } else {
            return;
        }
        self.moved.insert(key);
    }

    /// One share per signature and one for posting, in every task that is open.
    fn note_fee_shares(&mut self, signers: &[u8], poster: &Account) {
        let Some(committee) = &self.committee else {
            return;
        };
        let mut members: Vec<Account> = signers
            .iter()
            .filter_map(|i| committee.members.get(usize::from(*i)).copied())
            .collect();
        if committee.members.binary_search(poster).is_ok() {
            members.push(*poster);
        }
        for task in self.tasks.values_mut() {
            for member in &members {
                *task.fee_shares.entry(*member).or_default() += 1;
            }
        }
    }

    fn open_due_waves(&mut self, news: &BlockNews) {
        let due: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, t)| {
                matches!(t.phase, Phase::Drawing { beacon_block: Some(at), .. } if news.block.number >= at)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(mut task) = self.tasks.remove(&id) else {
                continue;
            };
            let views = self.views(&task);
            task.open_wave(news.randao, news.block.time, &views);
            self.tasks.insert(id, task);
        }
    }

    /// Whether the account behind a node key may label.
    pub fn labeler(&self, key: &crate::id::NodeKey) -> Option<Account> {
        self.account_of(key)
            .filter(|(_, a)| a.can(role::LABELER) && a.stake > Amount::ZERO)
            .map(|(account, _)| account)
    }
}
