//! The one task that owns the core.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use assay_protocol::{
    codec,
    core::{Core, Effect, Input, Notice, RequestFault},
    id::{NodeKey, TaskId},
    limit,
    message::Request,
    verify::{Penalty as CorePenalty, Verdict as CoreVerdict},
};
use tokio::sync::{broadcast, mpsc, watch};

use super::{CoreCall, GasSpent, content, disk::Disk, fetch};
use crate::{
    chain::{Chain, ChainEvent},
    net::{GossipId, Multiaddr, NetEvent, NetHandle, PeerKey, Penalty, ReplyTo, Verdict},
};

/// Answers of spawned work waiting for the loop; past it the workers wait.
const ANSWERS_MAX: usize = 1_024;
/// Content questions under way at once; past it askers are refused, to come back later.
const CONTENT_MAX: usize = 64;
/// Tokens of questions and gossip that the core has not answered; the oldest are dropped beyond this.
const TOKENS_MAX: usize = 8_192;

/// Where news comes from.
pub(super) struct Sources {
    pub net: mpsc::Receiver<NetEvent>,
    pub chain: mpsc::Receiver<ChainEvent>,
    pub orders: mpsc::Receiver<CoreCall>,
    pub stop: mpsc::Receiver<()>,
}

/// Work beside the loop that ends before it.
pub(super) struct Helper {
    /// Told true when it has to end.
    pub stop: watch::Sender<bool>,
    /// Its task.
    pub task: tokio::task::JoinHandle<()>,
}

pub(super) struct EventLoop {
    core: Core,
    disk: Disk,
    net: NetHandle,
    chain: Chain,
    notices: broadcast::Sender<Notice>,
    gas: GasSpent,
    started: Instant,
    next_token: u64,
    gossip: BTreeMap<u64, GossipId>,
    replies: BTreeMap<u64, ReplyTo>,
    answers_in: mpsc::Sender<Input>,
    answers: mpsc::Receiver<Input>,
    content: std::sync::Arc<tokio::sync::Semaphore>,
    /// Nodes met, not kept yet.
    known: Option<Vec<Multiaddr>>,
}

impl EventLoop {
    pub fn new(
        core: Core,
        disk: Disk,
        net: NetHandle,
        chain: Chain,
        notices: broadcast::Sender<Notice>,
        gas: GasSpent,
    ) -> Self {
        let (answers_in, answers) = mpsc::channel(ANSWERS_MAX);
        Self {
            core,
            disk,
            net,
            chain,
            notices,
            gas,
            started: Instant::now(),
            next_token: 0,
            gossip: BTreeMap::new(),
            replies: BTreeMap::new(),
            answers_in,
            answers,
            content: std::sync::Arc::new(tokio::sync::Semaphore::new(CONTENT_MAX)),
            known: None,
        }
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Runs until told to stop, or until a write fails: then nothing more may be promised.
    pub async fn run(
        mut self,
        mut sources: Sources,
        helper: Option<Helper>,
        stopped: watch::Sender<Option<String>>,
    ) {
        let reason = self.turn(&mut sources).await.err().unwrap_or_default();
        if !reason.is_empty() {
            tracing::error!(reason, "node stops");
        }
        self.net.shutdown().await;
        if let Some(Helper { stop, task }) = helper {
            stop.send_replace(true);
            // Its failure is in the log, and changes nothing here.
            let _ = task.await;
        }
        self.chain.shutdown().await;
        // The disk's lock is free once the last handle is gone; ours goes here.
        drop(self);
        stopped.send_replace(Some(reason));
    }

    async fn turn(&mut self, sources: &mut Sources) -> Result<(), String> {
        self.perform().await?;
        loop {
            let wake = Duration::from_millis(self.core.next_wakeup().at.saturating_sub(self.now()));
            tokio::select! {
                biased;
                _ = sources.stop.recv() => return Ok(()),
                Some(call) = sources.orders.recv() => {
                    let now = self.now();
                    call(&mut self.core, now);
                }
                Some(event) = sources.chain.recv() => self.on_chain(event),
                Some(input) = self.answers.recv() => {
                    let now = self.now();
                    self.core.handle(input, now);
                }
                event = sources.net.recv() => match event {
                    Some(event) => self.on_net(event),
                    None => return Err("the swarm has stopped".into()),
                },
                () = tokio::time::sleep(wake) => {
                    let now = self.now();
                    self.core.handle(Input::Wake, now);
                }
            }
            self.perform().await?;
        }
    }

    fn on_chain(&mut self, event: ChainEvent) {
        match event {
            ChainEvent::News(news) => {
                let now = self.now();
                self.core.handle(Input::Chain(news), now);
            }
            ChainEvent::Down { why } => {
                tracing::warn!(why, "the chain endpoint does not answer; waiting")
            }
            ChainEvent::Up { chain_id } => tracing::info!(chain_id, "the chain endpoint answers"),
            ChainEvent::Done {
                what,
                tx,
                gas_used,
                block,
            } => {
                tracing::info!(what, %tx, gas_used, block, "transaction mined");
                let kind = what.split(' ').next().unwrap_or_default().to_owned();
                if let Ok(mut gas) = self.gas.lock() {
                    let sum = gas.entry(kind).or_default();
                    *sum = (sum.0 + 1, sum.1 + gas_used);
                }
            }
            ChainEvent::Failed {
                what,
                why,
                permanent,
            } => {
                tracing::warn!(what, why, permanent, "transaction failed");
                if permanent {
                    // People see it; nobody listening is fine.
                    let _ = self.notices.send(Notice::Alarm {
                        text: format!("{what}: {why}"),
                    });
                }
            }
        }
    }

    fn on_net(&mut self, event: NetEvent) {
        match event {
            NetEvent::Gossip {
                id, from, bytes, ..
            } => {
                let token = self.token();
                self.gossip.insert(token, id);
                if self.gossip.len() > TOKENS_MAX {
                    self.gossip.pop_first();
                }
                let now = self.now();
                self.core.handle(
                    Input::Gossip {
                        token,
                        from: NodeKey(from.0),
                        bytes,
                    },
                    now,
                );
            }
            NetEvent::Request {
                from,
                channel,
                bytes,
            } => self.on_request(from, channel, bytes),
            NetEvent::PeerConnected(peer) => tracing::debug!(%peer, "connected"),
            NetEvent::PeerDisconnected(peer) => tracing::debug!(%peer, "disconnected"),
            NetEvent::Listening(address) => tracing::debug!(%address, "listening"),
            NetEvent::Known(known) => self.known = Some(known),
        }
    }

    fn on_request(&mut self, from: PeerKey, channel: ReplyTo, bytes: Vec<u8>) {
        let request = codec::decode::<Request>(&bytes, limit::REQUEST_BYTES_MAX);
        let is_content = matches!(
            request,
            Ok(Request::GetEpoch { .. }
                | Request::GetRecords { .. }
                | Request::GetAnnounce { .. }
                | Request::GetShard { .. })
        );
        if let (true, Ok(request)) = (is_content, request) {
            let (disk, net, content) = (self.disk.clone(), self.net.clone(), self.content.clone());
            let Ok(place) = content.try_acquire_owned() else {
                return;
            };
            tokio::spawn(async move {
                let answer = fetch::blocking(move || content::answer(&disk, &request)).await;
                if let Some(answer) = answer {
                    // The asker may be gone.
                    let _ = net.respond(channel, codec::encode(&answer));
                }
                drop(place);
            });
            return;
        }
        let token = self.token();
        self.replies.insert(token, channel);
        if self.replies.len() > TOKENS_MAX {
            self.replies.pop_first();
        }
        let now = self.now();
        self.core.handle(
            Input::Request {
                token,
                from: NodeKey(from.0),
                bytes,
            },
            now,
        );
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// Works down the core's orders. What follows a `Persist` waits until it is durable.
    async fn perform(&mut self) -> Result<(), String> {
        let mut ops = Vec::new();
        let mut after = Vec::new();
        while let Some(effect) = self.core.next_effect() {
            match effect {
                // Writing everything first keeps the order that matters: no order runs before the writes ahead of it. One transaction
                // for all of them costs one sync instead of many.
                Effect::Persist(more) => ops.extend(more),
                other => after.push(other),
            }
        }
        if let Some(known) = self.known.take() {
            let disk = self.disk.clone();
            fetch::blocking(move || disk.put_known(&known))
                .await
                .map_err(|e| format!("cannot write: {e}"))?;
        }
        if !ops.is_empty() {
            let disk = self.disk.clone();
            fetch::blocking(move || disk.commit(&ops))
                .await
                .map_err(|e| format!("cannot write: {e}"))?;
        }
        for effect in after {
            self.act(effect);
        }
        Ok(())
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(_) => {}
            Effect::Verdict { token, verdict } => {
                if let Some(id) = self.gossip.remove(&token) {
                    let verdict = match verdict {
                        CoreVerdict::Accept => Verdict::Accept,
                        CoreVerdict::Ignore => Verdict::Ignore,
                        CoreVerdict::Reject => Verdict::Reject,
                    };
                    if let Err(e) = self.net.verdict(id, verdict) {
                        tracing::debug!(error = %e, "verdict not delivered");
                    }
                }
            }
            Effect::Publish { topic, bytes } => {
                let net = self.net.clone();
                tokio::spawn(async move {
                    if let Err(e) = net.publish(&topic, bytes).await {
                        tracing::warn!(error = %e, topic, "not gossiped; the committee gets it directly");
                    }
                });
            }
            Effect::Request {
                id,
                to,
                bytes,
                timeout_ms,
            } => {
                let (net, answers) = (self.net.clone(), self.answers_in.clone());
                tokio::spawn(async move {
                    let timeout = Duration::from_millis(timeout_ms);
                    let result = net.request(PeerKey(to.0), bytes, timeout).await;
                    let result = result.map_err(|e| RequestFault(e.to_string()));
                    // The loop may have ended.
                    let _ = answers.send(Input::Response { id, result }).await;
                });
            }
            Effect::Respond { token, bytes } => {
                if let Some(channel) = self.replies.remove(&token)
                    && let Err(e) = self.net.respond(channel, bytes)
                {
                    tracing::debug!(error = %e, "answer not delivered");
                }
            }
            Effect::FetchShards { task, shards, from } => self.fetch_shards(task, shards, from),
            Effect::Penalise { peer, penalty, why } => {
                tracing::debug!(peer = %peer.short(), why, "penalty");
                let penalty = match penalty {
                    CorePenalty::None => return,
                    CorePenalty::Light => Penalty::minor("breach of the protocol's rules"),
                    CorePenalty::Heavy => Penalty::major("forged or malformed message"),
                };
                if let Err(e) = self.net.penalise(PeerKey(peer.0), penalty) {
                    tracing::debug!(error = %e, "penalty not delivered");
                }
            }
            Effect::Submit(call) => self.chain.submit(call),
            Effect::Notify(notice) => {
                match &notice {
                    Notice::Alarm { text } => tracing::error!(text, "alarm"),
                    Notice::DoubleSigned {
                        lane,
                        epoch,
                        account,
                    } => {
                        tracing::warn!(lane, epoch, member = %account, "a member signed two headers for one view")
                    }
                    _ => {}
                }
                // Nobody listening is fine.
                let _ = self.notices.send(notice);
            }
        }
    }

    fn fetch_shards(
        &self,
        task: TaskId,
        shards: Vec<assay_protocol::message::ShardRef>,
        from: Vec<NodeKey>,
    ) {
        let (net, disk, answers) = (self.net.clone(), self.disk.clone(), self.answers_in.clone());
        tokio::spawn(async move {
            let input = match fetch::fetch(&net, &disk, task, &shards, &from).await {
                Ok(()) => Input::ShardsReady { task },
                Err(e) => {
                    tracing::debug!(task = %task.short(), error = %e, "shards not complete yet");
                    Input::ShardsFailed { task }
                }
            };
            // The loop may have ended.
            let _ = answers.send(input).await;
        });
    }
}
