//! The network model: delays by region, jitter, loss, duplicates, bandwidth, and the gossip mesh.
//!
//! It does not model congestion: messages of one node do not wait for each other. Connections are not modelled either; a node that is
//! down simply does not answer, and the asker's timeout runs out.

use std::collections::{BTreeSet, VecDeque};

use assay_protocol::id::Hash;
use serde::Serialize;

use crate::{
    rng::Stream,
    scenario::{NetworkModel, Scenario},
};

/// Gossip messages that a node remembers to have seen.
const SEEN_MAX: usize = 4_096;

/// Traffic of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Traffic {
    /// Direct requests sent.
    pub requests: u64,
    /// Answers sent.
    pub responses: u64,
    /// Gossip messages sent from neighbour to neighbour.
    pub gossip_copies: u64,
    /// Gossip messages that reached a node for the first time.
    pub gossip_first: u64,
    /// Gossip messages that a node had seen before.
    pub gossip_duplicates: u64,
    /// Messages lost on the way.
    pub lost: u64,
    /// Messages that arrived twice.
    pub duplicated: u64,
    /// Requests that got no answer in time.
    pub timeouts: u64,
    /// Messages refused because their sender is banned.
    pub refused_banned: u64,
    /// Shard downloads that succeeded.
    pub shards_fetched: u64,
    /// Shard downloads that failed.
    pub shards_failed: u64,
    /// Bytes sent, without shards.
    pub bytes: u64,
}

/// What a node needs to be reached.
pub struct Port {
    /// Its region.
    pub region: usize,
    /// Its bandwidth, kilobits per second.
    pub bandwidth_kbps: u64,
    /// Gossip neighbours.
    pub neighbours: Vec<usize>,
    luck: Stream,
    seen: BTreeSet<Hash>,
    order: VecDeque<Hash>,
}

impl Port {
    /// Remembers a gossip message; false when it was seen before.
    pub fn is_new(&mut self, id: Hash) -> bool {
        if !self.seen.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN_MAX
            && let Some(old) = self.order.pop_front()
        {
            self.seen.remove(&old);
        }
        true
    }

    /// Memory is gone after a crash.
    pub fn forget(&mut self) {
        self.seen.clear();
        self.order.clear();
    }
}

/// The network.
pub struct Network {
    model: NetworkModel,
    /// Counters.
    pub traffic: Traffic,
}

impl Network {
    /// The network of a scenario, and a port for each node.
    pub fn new(scenario: &Scenario, seed: u64) -> (Self, Vec<Port>) {
        let peers = scenario.peers();
        let mut mesh = mesh(seed, peers, scenario.network.mesh_degree as usize).into_iter();
        let mut ports = Vec::with_capacity(peers);
        for population in &scenario.population {
            for _ in 0..population.count {
                let node = ports.len() as u64;
                ports.push(Port {
                    region: Stream::new(seed, "region", &[node])
                        .weighted(&scenario.network.region_weights),
                    bandwidth_kbps: population.bandwidth_kbps,
                    neighbours: mesh.next().unwrap_or_default(),
                    luck: Stream::new(seed, "network", &[node]),
                    seen: BTreeSet::new(),
                    order: VecDeque::new(),
                });
            }
        }
        (
            Self {
                model: scenario.network.clone(),
                traffic: Traffic::default(),
            },
            ports,
        )
    }

    /// After how many milliseconds each copy of a message arrives: none when it is lost, two when it is duplicated.
    pub fn send(&mut self, ports: &mut [Port], from: usize, to: usize, bytes: usize) -> Vec<u64> {
        self.traffic.bytes += bytes as u64;
        let base = self.path_ms(ports, from, to, bytes as u64);
        let (jitter, loss, twice) = (
            self.model.jitter_ms,
            self.model.loss_ppm,
            self.model.duplicate_ppm,
        );
        let luck = &mut ports[from].luck;
        let mut copies = Vec::new();
        if luck.chance(loss) {
            self.traffic.lost += 1;
        } else {
            copies.push(base + luck.between(0, jitter));
        }
        if !copies.is_empty() && luck.chance(twice) {
            self.traffic.duplicated += 1;
            copies.push(base + luck.between(0, jitter) + jitter);
        }
        copies
    }

    /// Delay of the path plus the time that the bytes take at the slower end, milliseconds.
    fn path_ms(&self, ports: &[Port], from: usize, to: usize, bytes: u64) -> u64 {
        let (a, b) = (&ports[from], &ports[to]);
        let kbps = a.bandwidth_kbps.min(b.bandwidth_kbps).max(1);
        self.model.latency_ms[a.region][b.region] + bytes.saturating_mul(8) / kbps
    }

    /// How long node `to` takes to download `bytes` from `from`, and whether it succeeds.
    pub fn download(
        &mut self,
        ports: &mut [Port],
        from: usize,
        to: usize,
        bytes: u64,
    ) -> (u64, bool) {
        let ms = self.path_ms(ports, from, to, 0) + self.path_ms(ports, to, from, bytes);
        let fails = ports[to].luck.chance(self.model.shard_failure_ppm);
        (ms, !fails)
    }

    /// Points after which a peer is banned; 0 means never.
    pub fn ban_points(&self) -> u32 {
        self.model.ban_points
    }
}

/// A connected random mesh: a ring, so that nobody is cut off, plus random links up to the mean degree.
fn mesh(seed: u64, peers: usize, degree: usize) -> Vec<Vec<usize>> {
    let mut links = vec![BTreeSet::new(); peers];
    let mut join = |a: usize, b: usize| {
        if a != b {
            links[a].insert(b);
            links[b].insert(a);
        }
    };
    for node in 0..peers {
        join(node, (node + 1) % peers);
        let mut luck = Stream::new(seed, "mesh", &[node as u64]);
        for _ in 0..degree.saturating_sub(2) / 2 {
            join(node, luck.below(peers as u64) as usize);
        }
    }
    links.into_iter().map(|l| l.into_iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mesh_is_symmetric_connected_and_near_its_degree() {
        let mesh = mesh(3, 200, 8);
        let mut reached = BTreeSet::from([0]);
        let mut next = vec![0];
        while let Some(node) = next.pop() {
            for &other in &mesh[node] {
                assert!(
                    mesh[other].contains(&node),
                    "{node} and {other} must know each other"
                );
                if reached.insert(other) {
                    next.push(other);
                }
            }
        }
        assert_eq!(reached.len(), 200);
        let links: usize = mesh.iter().map(Vec::len).sum();
        assert!(
            (1_400..=1_600).contains(&links),
            "{links} link ends for 200 nodes of degree 8"
        );
    }
}
