//! The client's side: announce, fund once the committee holds the shards, open gold. After funding the task lives without its client.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{ChainCall, CommandError, Core, Effect, Family, GoldSecret, Notice, restore::OwnKey};
use crate::{
    codec,
    id::{NodeKey, TaskId},
    lane::role,
    message::{Announce, GoldOpen, Kind, Manifest, gold_root, topic},
    task::Phase,
    verify::{Authentic, Decoded, Fault},
};

/// A task that we published, with its secret gold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnTask {
    /// Lane.
    pub lane: u32,
    /// Gold by wave.
    pub gold: Vec<GoldSecret>,
    /// Committee members that hold all shards.
    pub custody: BTreeSet<NodeKey>,
    /// The funding transaction was ordered.
    pub funding: bool,
    /// Deposit and bond that the escrow needs, base units.
    pub deposit: crate::amount::Amount,
    /// See above.
    pub gold_bond: crate::amount::Amount,
    /// Gold waves handed out.
    pub opened: BTreeSet<u8>,
}

impl Core {
    pub(super) fn publish(
        &mut self,
        manifest: Manifest,
        gold: Vec<GoldSecret>,
    ) -> Result<TaskId, CommandError> {
        let params = self.config.profile.params.clone();
        manifest.check(&self.network, &params)?;
        let lane = manifest.lane(params.lanes);
        match self.own_account(lane, role::CLIENT) {
            Some(account) if account == manifest.client => {}
            _ => return Err(CommandError::NotRegistered("client")),
        }
        if gold.len() != manifest.waves.len() {
            let why = format!(
                "{} waves need {} gold sets, got {}",
                manifest.waves.len(),
                manifest.waves.len(),
                gold.len()
            );
            return Err(CommandError::Gold { wave: 0, why });
        }
        for (wave, (plan, secret)) in manifest.waves.iter().zip(&gold).enumerate() {
            let fresh = manifest.fresh_items(wave as u8);
            if let Some((item, _)) = secret
                .entries
                .iter()
                .find(|e| !fresh.contains(&e.0) || e.1 >= manifest.kind.classes())
            {
                let why = format!(
                    "item {item} is not first shown in this wave, or its label does not exist"
                );
                return Err(CommandError::Gold { wave, why });
            }
            let rising = secret.entries.windows(2).all(|w| w[0].0 < w[1].0);
            if !rising
                || plan.gold_count as usize != secret.entries.len()
                || plan.gold_root != gold_root(&secret.salt, &secret.entries)
            {
                let why = "does not open the manifest's gold root".to_owned();
                return Err(CommandError::Gold { wave, why });
            }
        }
        let Some((deposit, gold_bond)) = manifest.required(&params) else {
            return Err(crate::message::ManifestError {
                field: "price",
                why: "the deposit is too large".into(),
            }
            .into());
        };
        let task = manifest.id();
        let own = OwnTask {
            lane,
            gold,
            custody: BTreeSet::new(),
            funding: false,
            deposit,
            gold_bond,
            opened: BTreeSet::new(),
        };
        self.own_tasks.insert(task, own);
        self.persist_own_task(task);
        let kind = manifest.kind.name();
        let envelope = self.sign(Kind::Announce, task, 0, 0, &Announce { manifest });
        self.put(Family::Announce, task.0.to_vec(), envelope.to_bytes());
        if let Ok(record) =
            Decoded::from_envelope(envelope.clone()).and_then(|d| d.authenticate(&self.network))
        {
            let me = self.node_key();
            let _ = self.admit_announce(record, me);
        }
        let topic = topic(&self.config.profile.name, kind);
        self.emit(Effect::Publish {
            topic,
            bytes: envelope.to_bytes(),
        });
        self.deliver(lane, envelope, BTreeSet::new());
        Ok(task)
    }

    pub(super) fn persist_own_task(&mut self, task: TaskId) {
        if let Some(own) = self.own_tasks.get(&task) {
            let value = codec::encode(own);
            self.put(Family::Own, OwnKey::Task(task).to_bytes(), value);
        }
    }

    /// A committee member says that it holds the shards of a task of ours.
    pub(super) fn note_custody(&mut self, record: &Authentic) -> Result<(), Fault> {
        let task = record.envelope().task;
        let Some(own) = self.own_tasks.get_mut(&task) else {
            return Err(Fault::ignore("not a task of ours"));
        };
        let Some(f) = self.lanes.get(&own.lane) else {
            return Err(Fault::ignore("unknown lane"));
        };
        if f.live.speaker(record).is_none() {
            return Err(Fault::ignore(
                "only members of the committee vote for custody",
            ));
        }
        let fresh = own.custody.insert(record.envelope().sender);
        if fresh {
            self.persist_own_task(task);
            self.tick_client();
        }
        Ok(())
    }

    pub(super) fn tick_client(&mut self) {
        let tasks: Vec<TaskId> = self.own_tasks.keys().copied().collect();
        for task in tasks {
            self.fund_when_held(task);
            self.open_gold_when_due(task);
        }
    }

    fn fund_when_held(&mut self, task: TaskId) {
        let Some(own) = self.own_tasks.get(&task) else {
            return;
        };
        let Some(live) = self.live(own.lane) else {
            return;
        };
        let known = live.tasks.contains_key(&task) || live.escrows.keys().any(|k| k.0 == task);
        if own.funding || known || own.custody.len() < live.threshold() {
            return;
        }
        let call = ChainCall::Fund {
            task,
            lane: own.lane,
            deposit: own.deposit,
            gold_bond: own.gold_bond,
        };
        if let Some(own) = self.own_tasks.get_mut(&task) {
            own.funding = true;
        }
        self.persist_own_task(task);
        self.notify(Notice::InCustody { task });
        self.submit(call);
    }

    fn open_gold_when_due(&mut self, task: TaskId) {
        let Some(own) = self.own_tasks.get(&task) else {
            return;
        };
        let Some(Phase::OpeningGold { wave, .. }) = self
            .live(own.lane)
            .and_then(|l| l.tasks.get(&task))
            .map(|t| t.phase)
        else {
            return;
        };
        let lane = own.lane;
        let Some(secret) = own
            .gold
            .get(usize::from(wave))
            .filter(|_| !own.opened.contains(&wave))
            .cloned()
        else {
            return;
        };
        if secret.entries.is_empty() {
            return;
        }
        if let Some(own) = self.own_tasks.get_mut(&task) {
            own.opened.insert(wave);
        }
        let body = GoldOpen {
            entries: secret.entries,
            salt: secret.salt,
        };
        let envelope = self.sign(Kind::GoldOpen, task, wave, 0, &body);
        self.deliver(lane, envelope, BTreeSet::new());
        self.persist_own_task(task);
    }
}
