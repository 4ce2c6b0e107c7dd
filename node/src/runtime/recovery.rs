//! Tasks whose committee is gone, paid by their escrows: at somebody's request, and by the node itself for tasks that owe it something.
//!
//! The chain's state decides what is left to do, so nothing is done twice, and what another account did is not done again. Those whom a task
//! owes something take turns: one opens and pays for all while the others wait, and the next one steps in only if it did not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use assay_protocol::{
    amount::Amount,
    codec,
    core::{Core, Family, Notice, fallback_key},
    crypto::hash,
    id::{Account, Hash, TaskId},
    lane::{Fallback, FlatClaim, FlatFile},
    message::EpochHeader,
};
use assay_storage::StoreError;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};

use super::{CoreCall, Node, NodeError, disk::Disk, fetch::blocking};
use crate::chain::{Chain, ChainError, ClaimResult, OpenFallback, Recovery};

/// Looks at the chain for news between two looks at the lanes' silence.
const LOOK_POLLS: u32 = 50;
/// Longest turn of one account, in seconds of chain time.
const TURN_SECS_MAX: u64 = 60;
/// Gas that the dearest step may take.
const STEP_GAS: u64 = 200_000;

/// What recovering a task did.
#[derive(Debug)]
pub struct Recovered {
    /// The fallback was opened now.
    pub opened: bool,
    /// Who was paid now.
    pub paid: Vec<(Account, ClaimResult)>,
    /// Payees who were to be paid and had been.
    pub paid_before: u64,
    /// What went back to the client now.
    pub returned: Option<ClaimResult>,
    /// Unix time in seconds until which payees can be paid; then the rest can go to the client.
    pub closes_at: u64,
    /// Unix time in seconds of the newest block before the first payment.
    pub chain_time: u64,
    /// What is not paid yet, in base units.
    pub left: Amount,
    /// Why something was left out; what is listed has been done all the same.
    pub failed: Option<NodeError>,
}

/// What paying a task takes whose fallback was opened at the header with this hash, if it is here.
pub(super) fn proofs(
    disk: &Disk,
    lane: u32,
    task: &TaskId,
    client: &Account,
    header: Hash,
) -> Result<Option<Fallback>, StoreError> {
    let fits = |found: &EpochHeader| found.hash() == header;
    let kept = disk
        .get(Family::Flat, &fallback_key(task, client))?
        .and_then(|bytes| codec::decode::<Fallback>(&bytes, usize::MAX).ok())
        .filter(|f| f.header.as_ref().map_or(header == Hash::ZERO, fits));
    if kept.is_some() {
        return Ok(kept);
    }
    // The block that opened it may not be final yet; the lane's last header stands either way.
    Ok(flat_file(disk, lane)?
        .filter(|f| fits(&f.header))
        .map(|f| f.fallback(task, client)))
}

pub(super) fn flat_file(disk: &Disk, lane: u32) -> Result<Option<FlatFile>, StoreError> {
    let row = disk.get(Family::Flat, &lane.to_be_bytes())?;
    Ok(row.and_then(|bytes| codec::decode(&bytes, usize::MAX).ok()))
}

pub(super) fn not_adopted(task: TaskId, header: Hash) -> NodeError {
    NodeError::NotFound(format!(
        "this node has not adopted header {header}, at which the fallback of task {task} was opened; ask a node that followed the lane"
    ))
}

async fn stand(chain: &Chain, task: TaskId, client: Account) -> Result<Recovery, NodeError> {
    let found = chain.recovery(task, client).await?;
    let found = found.filter(|found| !found.settled);
    found.ok_or_else(|| {
        NodeError::NotFound(format!(
            "task {task} is settled or was never funded: there is nothing to recover"
        ))
    })
}

/// Takes every step that is possible now: opens the fallback, pays those whom `pick` leaves, in that order, and closes it when its window is
/// over. A payee who cannot be paid keeps nothing from the others.
async fn recover(
    chain: &Chain,
    (task, client): (TaskId, Account),
    proofs: impl AsyncFnOnce(OpenFallback) -> Result<Fallback, NodeError>,
    pick: impl FnOnce(&mut Vec<FlatClaim>),
) -> Result<Recovered, NodeError> {
    let mut found = stand(chain, task, client).await?;
    let opened = found.open.is_none();
    if opened {
        chain.open_fallback(task, client).await?;
        found = stand(chain, task, client).await?;
    }
    let lost = || ChainError::Rpc("the chain shows no fallback where one was opened".to_owned());
    let open = found.open.ok_or_else(lost)?;
    let mut done = Recovered {
        opened,
        paid: Vec::new(),
        paid_before: 0,
        returned: None,
        closes_at: open.closes_at,
        chain_time: found.now,
        left: open.left,
        failed: None,
    };
    if open.closed {
        return Ok(done);
    }
    let over = found.now >= open.closes_at;
    let ended = pay(chain, open, over, proofs, pick, &mut done).await;
    let ended = match ended {
        Ok(()) if over => chain.close_fallback(task, client).await.map(|closed| {
            done.returned = closed;
        }),
        Ok(()) => Ok(()),
        Err(error) if !done.opened && done.paid.is_empty() => return Err(error),
        Err(error) => {
            done.failed = Some(error);
            Ok(())
        }
    };
    if let Err(error) = ended {
        done.failed = Some(error.into());
    }
    // What is left after these payments, as the chain tells it; the list above stands without it.
    if let Ok(Some(Recovery { open: Some(o), .. })) = chain.recovery(task, client).await {
        done.left = o.left;
    }
    Ok(done)
}

async fn pay(
    chain: &Chain,
    open: OpenFallback,
    over: bool,
    proofs: impl AsyncFnOnce(OpenFallback) -> Result<Fallback, NodeError>,
    pick: impl FnOnce(&mut Vec<FlatClaim>),
    done: &mut Recovered,
) -> Result<(), NodeError> {
    let (header, mut claims) = match proofs(open).await {
        Ok(Fallback {
            header: Some(header),
            claims,
            ..
        }) => (header, claims),
        Ok(_) => return Ok(()),
        // Who had the proofs had the whole window for them.
        Err(NodeError::NotFound(_)) if over => return Ok(()),
        Err(error) => return Err(error),
    };
    pick(&mut claims);
    let mut left = open.left;
    for claim in claims {
        if left == Amount::ZERO {
            break;
        }
        match chain.claim_fallback(&header, &claim).await {
            Ok(Some(paid)) => {
                left = Amount(left.0.saturating_sub(paid.amount.0));
                done.paid.push((claim.pay.payee, paid));
            }
            Ok(None) => done.paid_before += 1,
            Err(error @ ChainError::Refused { .. }) => done.failed = Some(error.into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Node {
    /// Takes every step towards paying a task without its committee that is possible now; `payee` narrows whom to pay.
    ///
    /// # Errors
    /// [`NodeError`] when nothing could be done.
    pub async fn recover(
        &self,
        task: TaskId,
        client: Account,
        payee: Option<Account>,
    ) -> Result<Recovered, NodeError> {
        let proofs = async |open: OpenFallback| self.fallback(task, client, open.header).await;
        recover(&self.chain, (task, client), proofs, |claims| {
            claims.retain(|c| payee.is_none_or(|only| only == c.pay.payee));
        })
        .await
    }
}

/// Whom a node acts for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ours {
    /// The account, and where its pay goes.
    pub accounts: BTreeSet<Account>,
    /// Tasks that the account funded and no epoch has settled, behind their lanes.
    pub funded: BTreeSet<(u32, TaskId, Account)>,
}

impl Ours {
    fn read(core: &Core, account: Account, lanes: u32) -> Self {
        let mut ours = Self::default();
        ours.accounts.insert(account);
        for state in (0..lanes).filter_map(|lane| core.base(lane)) {
            ours.accounts.insert(state.payee_of(&account));
            let waiting = state.escrows.keys().copied();
            let open = state.tasks.values().map(|t| (t.id, t.manifest.client));
            let own = waiting.chain(open).filter(|(_, client)| *client == account);
            ours.funded
                .extend(own.map(|(task, _)| (state.lane, task, account)));
        }
        ours
    }
}

/// Who is owed something of a task, the client last.
type Heirs = Vec<Account>;

/// How many turns pass before one of `ours` has the first of its own, and how many turns there are.
fn turn(
    task: &TaskId,
    client: &Account,
    heirs: &Heirs,
    ours: &BTreeSet<Account>,
) -> Option<(u64, u64)> {
    let mut order: Vec<(Hash, Account)> = heirs
        .iter()
        .filter(|heir| *heir != client)
        .map(|heir| (hash("assay/1/recovery-turn", &[&task.0, &heir.0]), *heir))
        .collect();
    order.sort_unstable();
    order.dedup();
    // Whoever labelled waits longest for money.
    order.push((Hash::ZERO, *client));
    let place = order.iter().position(|(_, heir)| ours.contains(heir))?;
    Some((place as u64, order.len() as u64))
}

/// How far this node has seen a task come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Everybody has been paid, who can be.
    Paid,
    /// The rest is with the client.
    Closed,
}

/// Looks after the tasks that owe this node something.
pub(crate) struct Keeper {
    chain: Chain,
    disk: Disk,
    /// Held while the disk is read, even when nobody waits for what is read any more.
    reading: Arc<Semaphore>,
    lanes: u32,
    notices: broadcast::Sender<Notice>,
    seen: BTreeMap<(TaskId, Account), Seen>,
    /// What stands in a task's way, as it was told last.
    told: BTreeMap<(TaskId, Account), String>,
}

impl Keeper {
    pub fn new(chain: Chain, disk: Disk, lanes: u32, notices: broadcast::Sender<Notice>) -> Self {
        Self {
            chain,
            disk,
            reading: Arc::new(Semaphore::new(1)),
            lanes,
            notices,
            seen: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Looks now and then until `stop` is true; nothing holds the disk when this returns.
    pub(super) async fn run(
        mut self,
        account: Account,
        poll: Duration,
        orders: mpsc::WeakSender<CoreCall>,
        mut stop: watch::Receiver<bool>,
    ) {
        let reading = Arc::clone(&self.reading);
        let work = async {
            loop {
                tokio::time::sleep(poll.saturating_mul(LOOK_POLLS)).await;
                let (tx, rx) = oneshot::channel();
                let lanes = self.lanes;
                let call: CoreCall = Box::new(move |core, _| {
                    // Nobody waits for it while the node stops.
                    let _ = tx.send(Ours::read(core, account, lanes));
                });
                let Some(orders) = orders.upgrade() else {
                    return;
                };
                if orders.send(call).await.is_err() {
                    return;
                }
                drop(orders);
                let Ok(ours) = rx.await else { return };
                if let Err(error) = self.look(&ours).await {
                    tracing::debug!(%error, "tasks of silent lanes: will look again");
                }
            }
        };
        tokio::select! {
            // An error means that the loop is gone, which is a reason to stop as well.
            _ = stop.wait_for(|stop| *stop) => {}
            () = work => {}
        }
        // Never closed, so this waits for a read under way and for nothing else.
        let _ = reading.acquire().await;
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let (disk, reading) = (self.disk.clone(), Arc::clone(&self.reading));
        let permit = reading
            .acquire_owned()
            .await
            .map_err(|_| NodeError::Stopped)?;
        let read = move || {
            let found = work(&disk);
            // In this order: whoever waits for the permit may count on the disk being free.
            drop(disk);
            drop(permit);
            found
        };
        Ok(blocking(read).await?)
    }

    /// One look at all lanes: does what is due of ours.
    ///
    /// # Errors
    /// [`NodeError`] when chain or disk cannot be read; the rest is told as it happens.
    pub(crate) async fn look(&mut self, ours: &Ours) -> Result<(), NodeError> {
        let mut wanted: BTreeMap<(TaskId, Account), Heirs> = self.opened().await?;
        for lane in 0..self.lanes {
            if !self.chain.is_silent(lane).await? {
                continue;
            }
            let file = self.read(move |disk| flat_file(disk, lane)).await?;
            for pay in file.iter().flat_map(|f| &f.payouts.pays) {
                let heirs = wanted.entry((pay.task, pay.client)).or_default();
                heirs.push(pay.payee);
            }
            for (_, task, client) in ours.funded.iter().filter(|(of, ..)| *of == lane) {
                wanted.entry((*task, *client)).or_default();
            }
        }
        for ((task, client), heirs) in wanted {
            if let Some(turn) = turn(&task, &client, &heirs, &ours.accounts)
                && self.seen.get(&(task, client)) != Some(&Seen::Closed)
            {
                self.attend(task, client, turn, ours).await?;
            }
        }
        Ok(())
    }

    /// The fallbacks that are known to be open, with whom they pay.
    async fn opened(&self) -> Result<BTreeMap<(TaskId, Account), Heirs>, NodeError> {
        let seen = self.seen.clone();
        self.read(move |disk| {
            let mut opened = BTreeMap::new();
            for key in disk.keys(Family::Flat)? {
                let Some(id) = fallback_of(&key).filter(|id| seen.get(id) != Some(&Seen::Closed))
                else {
                    continue;
                };
                let kept = disk
                    .get(Family::Flat, &key)?
                    .and_then(|bytes| codec::decode::<Fallback>(&bytes, usize::MAX).ok());
                let heirs = kept.map(|f| f.claims.iter().map(|c| c.pay.payee).collect());
                opened.insert(id, heirs.unwrap_or_default());
            }
            Ok(opened)
        })
        .await
    }

    /// Does what is due of one task, if it is our turn.
    async fn attend(
        &mut self,
        task: TaskId,
        client: Account,
        (place, places): (u64, u64),
        ours: &Ours,
    ) -> Result<(), NodeError> {
        let id = (task, client);
        let Some(found) = self.chain.recovery(task, client).await? else {
            return Ok(());
        };
        if found.settled || found.open.is_some_and(|open| open.closed) {
            self.seen.insert(id, Seen::Closed);
            return Ok(());
        }
        let due = match found.open {
            None => found.possible_at,
            Some(open) if found.now >= open.closes_at => open.closes_at,
            Some(_) if self.seen.get(&id) == Some(&Seen::Paid) => return Ok(()),
            Some(open) => open.closes_at.saturating_sub(found.silence),
        };
        // All turns together take a quarter of the window at most.
        let turn_secs = TURN_SECS_MAX.min(found.silence / (4 * places.max(1)));
        if found.now < due.saturating_add(place.saturating_mul(turn_secs)) {
            return Ok(());
        }
        let (held, needed) = self.chain.gas_money(STEP_GAS).await?;
        if held < needed {
            let account = self.chain.account().unwrap_or_default();
            self.tell(
                id,
                format!(
                    "the committee of task {task} is gone, and its escrow can pay it, but account 0x{account} holds {held} wei and a step \
                     may cost {needed}: send it native currency, and this node does the rest; or have anybody run `assay task recover {} --everyone`",
                    task.short()
                ),
            );
            return Ok(());
        }
        let lane = found.lane;
        let keeper = &*self;
        let proofs = async |open: OpenFallback| {
            let header = open.header;
            let kept = keeper.read(move |disk| proofs(disk, lane, &task, &client, header));
            kept.await?.ok_or_else(|| not_adopted(task, header))
        };
        let done = recover(&self.chain, id, proofs, |claims| {
            // One's own pay first: the gas may not reach for all.
            claims.sort_by_key(|c| !ours.accounts.contains(&c.pay.payee));
        })
        .await;
        match done {
            Ok(done) => {
                for (payee, paid) in &done.paid {
                    tracing::info!(%task, %payee, amount = %paid.amount, tx = %paid.tx, "paid from the task's escrow");
                }
                match done.failed {
                    Some(error) => {
                        self.tell(id, format!("task {task}, which its escrow pays: {error}"));
                    }
                    None if done.returned.is_some() => {
                        self.seen.insert(id, Seen::Closed);
                    }
                    None => {
                        self.seen.insert(id, Seen::Paid);
                    }
                }
            }
            Err(NodeError::Chain(ChainError::Stopped(_))) => return Err(NodeError::Stopped),
            Err(error) => self.tell(
                id,
                format!("task {task} cannot be paid by its escrow now: {error}"),
            ),
        }
        Ok(())
    }

    /// Says once what stands in the way.
    fn tell(&mut self, id: (TaskId, Account), text: String) {
        if self.told.get(&id) != Some(&text) {
            tracing::warn!("{text}");
            // Nobody listening is fine.
            let _ = self.notices.send(Notice::Alarm { text: text.clone() });
            self.told.insert(id, text);
        }
    }
}

/// The task and client that a key of [`Family::Flat`] names, if it is that of a fallback.
pub(super) fn fallback_of(key: &[u8]) -> Option<(TaskId, Account)> {
    let (task, client) = key.split_at_checked(TaskId::LEN)?;
    Some((
        TaskId(task.try_into().ok()?),
        Account(client.try_into().ok()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_is_owed_something_has_a_turn_of_its_own_and_the_client_the_last() {
        let (task, client) = (TaskId([1; 32]), Account([9; 20]));
        let heirs: Heirs = (1..=5).map(|n| Account([n; 20])).collect();
        let of = |who: Account| turn(&task, &client, &heirs, &BTreeSet::from([who]));
        let mut places: Vec<u64> = heirs
            .iter()
            .map(|heir| of(*heir).expect("is owed something").0)
            .collect();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3, 4]);
        assert_eq!(of(client), Some((5, 6)));
        assert_eq!(of(Account([8; 20])), None, "who is owed nothing has none");
        // Whoever has several accounts takes the first turn of them.
        let all = heirs.iter().copied().collect();
        assert_eq!(turn(&task, &client, &heirs, &all), Some((0, 6)));
    }
}
