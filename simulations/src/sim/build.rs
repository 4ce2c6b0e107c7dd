//! From a scenario to nodes, keys, a chain with everybody registered, and the first events.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::{
    amount::Amount,
    crypto::{EvmKey, NodeKeypair},
    id::{Account, Hash},
    network::{CodeHashes, Contracts, Extras, NetworkProfile, Params},
};

use super::{Counts, Event, Node, Options, Simulation};
use crate::{
    actor::Actor,
    chain::Chain,
    disk::Disk,
    network::Network,
    people::{People, Person},
    queue::Queue,
    rng::Stream,
    scenario::{Role, Scenario},
    task::Plan,
    trace::Trace,
};

/// Tokens of each client, base units.
const CLIENT_TOKENS: Amount = Amount(1 << 90);

fn profile(scenario: &Scenario) -> NetworkProfile {
    let contract = |n: u8| Account([n; 20]);
    let p = &scenario.protocol;
    let validators = scenario
        .population
        .iter()
        .filter(|p| p.role == Role::Validator)
        .map(|p| p.count)
        .sum();
    NetworkProfile {
        name: "simulation".into(),
        chain_id: 31_337,
        dev: true,
        rpc: Vec::new(),
        bootstrap: Vec::new(),
        start_block: 1,
        contracts: Contracts {
            token: contract(0xa1),
            registry: contract(0xa2),
            escrow: contract(0xa3),
            anchor: contract(0xa4),
            distributors: (0..p.lanes).map(|_| contract(0xa5)).collect(),
            beacon: contract(0xa6),
        },
        code: CodeHashes::none(p.lanes),
        extras: Extras::default(),
        params: Params {
            lanes: p.lanes,
            committee_min: validators,
            term_epochs: p.term_epochs,
            beacon_delay_blocks: p.beacon_delay_blocks,
            custody_secs: p.custody_secs,
            fee_ppm: p.fee_ppm,
            gold_bond_ppm: p.gold_bond_ppm,
            overrule_secs: Params::dev().overrule_secs,
            view_timeout_ms: p.view_timeout_ms,
            token_decimals: 6,
        },
    }
}

fn keys(seed: u64, node: u64) -> (NodeKeypair, EvmKey) {
    let mut luck = Stream::new(seed, "keys", &[node]);
    let node = NodeKeypair::from_seed(&luck.next_bytes());
    loop {
        // All but one in 2^128 draws are valid keys.
        if let Some(evm) = EvmKey::from_secret(&luck.next_bytes()) {
            return (node, evm);
        }
    }
}

impl Simulation {
    /// Builds the world of a checked scenario.
    pub fn new(scenario: &Scenario, options: Options) -> Self {
        let scenario = scenario.clone();
        let seed = options.seed.unwrap_or(scenario.seed);
        let profile = profile(&scenario);
        let chain_seed = Hash(Stream::new(seed, "chain", &[]).next_bytes());
        let mut chain = Chain::new(
            profile.clone(),
            chain_seed,
            scenario.chain.finality_blocks as usize,
        );
        let (network, ports) = Network::new(&scenario, seed);
        let mut nodes: Vec<Node> = Vec::new();
        for (group, population) in scenario.population.iter().enumerate() {
            for place in 0..population.count {
                let number = nodes.len() as u64;
                let (node_keys, evm) = keys(seed, number);
                let actor_luck = Stream::new(seed, "actor", &[number]);
                let node = Node {
                    name: format!("{}-{place}", population.name),
                    population: group,
                    role: population.role,
                    account: evm.account(),
                    actor: Actor::new(
                        population.actor,
                        (node_keys.clone(), &evm),
                        &profile,
                        actor_luck,
                    ),
                    keys: node_keys,
                    evm,
                    core: None,
                    life: 0,
                    disk: Disk::default(),
                    writing: None,
                    doomed: false,
                    person: Person::default(),
                    luck: Stream::new(seed, "node", &[number]),
                    pending: BTreeSet::new(),
                    replies: BTreeMap::new(),
                    held: BTreeMap::new(),
                    points: BTreeMap::new(),
                    shards: BTreeSet::new(),
                    next_block: 0,
                    wake_waits: false,
                    headers: BTreeMap::new(),
                    acknowledged: BTreeMap::new(),
                };
                let tokens = if node.role == Role::Client {
                    CLIENT_TOKENS
                } else {
                    Amount::ZERO
                };
                let stake = Amount(u128::from(population.stake));
                chain
                    .register(&node.keys, &node.evm, node.role_bits(), stake, tokens)
                    .expect("fresh keys with enough tokens always register");
                nodes.push(node);
            }
        }
        let clients: Vec<usize> = (0..nodes.len())
            .filter(|n| nodes[*n].role == Role::Client)
            .collect();
        let plans: Vec<Plan> = scenario
            .task
            .iter()
            .enumerate()
            .map(|(number, task)| {
                let client = clients[task.client];
                Plan::new(seed, number, task, client, nodes[client].account, &profile)
            })
            .collect();
        let roster: Vec<_> = nodes.iter().map(|n| n.keys.public()).collect();
        Self {
            people: People::new(&scenario, seed),
            seed,
            queue: Queue::default(),
            ports,
            index: roster.iter().enumerate().map(|(i, k)| (*k, i)).collect(),
            roster,
            network,
            chain,
            published: vec![false; plans.len()],
            places: plans.iter().enumerate().map(|(i, p)| (p.id, i)).collect(),
            plans,
            trace: Trace::new(options.trace),
            counts: Counts::default(),
            token: 0,
            calm: false,
            finished_ms: BTreeMap::new(),
            nodes,
            profile,
            scenario,
        }
    }

    /// Starts every node and queues what comes from outside.
    pub(super) fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            // Spread over a tick, so that nodes do not wake in step.
            let after = self.nodes[node].luck.between(1, 100);
            self.queue.push(after, Event::Revive { node });
            self.plan_crash(node);
        }
        self.queue.push(self.scenario.chain.block_ms, Event::Mine);
        for plan in 0..self.plans.len() {
            self.queue
                .push(self.plans[plan].at_ms, Event::Publish { plan });
        }
    }
}
