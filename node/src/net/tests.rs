//! The network body against itself and against the real first-contact server, over loopback.

use std::time::Duration;

use assay_bootstrap::{Server, ServerConfig, ServerHandle, ServerLimits};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout};

use super::*;

/// Far longer than anything here takes; only a defect reaches it.
const DEADLINE: Duration = Duration::from_secs(60);
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const TOPIC: &str = "tasks/rating";

struct Node {
    net: NetHandle,
    events: Receiver<NetEvent>,
}

/// A development node named by `seed`, listening over QUIC, knowing `first`.
fn config(seed: u8, first: &[Multiaddr]) -> NetConfig {
    NetConfig {
        listen: vec![QUIC.parse().unwrap()],
        bootstrap: first.to_vec(),
        topics: vec![TOPIC.to_owned()],
        ..NetConfig::dev([seed; 32], "test")
    }
}

/// As [`config`], but it neither looks for neighbours nor is found: for fixed topologies.
fn fixed(seed: u8, first: &[Multiaddr]) -> NetConfig {
    let mut config = config(seed, first);
    config.kad_server = false;
    config.limits.outbound_target = 0;
    config
}

impl Node {
    async fn start(config: NetConfig) -> Self {
        let (net, events) = Net::start(config).await.unwrap();
        Self { net, events }
    }

    fn key(&self) -> PeerKey {
        self.net.key()
    }

    /// The next event that `pick` accepts; others are dropped.
    async fn next<T>(&mut self, what: &str, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.recv().await.expect("the network ended");
                if let Some(picked) = pick(event) {
                    break picked;
                }
            }
        };
        timeout(DEADLINE, search)
            .await
            .unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    async fn connected(&mut self, peer: PeerKey) {
        self.next("a connection", |event| match event {
            NetEvent::PeerConnected(key) if key == peer => Some(()),
            _ => None,
        })
        .await;
    }

    async fn disconnected(&mut self, peer: PeerKey) {
        self.next("a disconnection", |event| match event {
            NetEvent::PeerDisconnected(key) if key == peer => Some(()),
            _ => None,
        })
        .await;
    }

    async fn gossip(&mut self) -> (GossipId, Vec<u8>) {
        self.next("gossip", |event| match event {
            NetEvent::Gossip {
                id, bytes, topic, ..
            } => {
                assert_eq!(topic, TOPIC);
                Some((id, bytes))
            }
            _ => None,
        })
        .await
    }

    async fn request(&mut self) -> (PeerKey, ReplyTo, Vec<u8>) {
        self.next("a request", |event| match event {
            NetEvent::Request {
                from,
                channel,
                bytes,
            } => Some((from, channel, bytes)),
            _ => None,
        })
        .await
    }

    /// Answers every request with its bytes reversed, for as long as the network lives.
    fn serve(mut self) -> NetHandle {
        let net = self.net.clone();
        tokio::spawn(async move {
            while let Some(event) = self.events.recv().await {
                if let NetEvent::Request {
                    channel, mut bytes, ..
                } = event
                {
                    bytes.reverse();
                    let _ = self.net.respond(channel, bytes);
                }
            }
        });
        net
    }
}

async fn bootstrap(listen: &str) -> (ServerHandle, Vec<Multiaddr>) {
    let config = ServerConfig {
        key_seed: [200; 32],
        network: "test".to_owned(),
        listen: vec![listen.parse().unwrap()],
        external_addresses: Vec::new(),
        allow_private_addresses: true,
        limits: ServerLimits {
            memory_percent_max: None,
            ..ServerLimits::default()
        },
    };
    let server = Server::start(config).await.unwrap();
    let addresses = server.addresses();
    (server, addresses)
}

async fn strangers_meet_over(listen: &str, expected: &str) {
    let (_server, first) = bootstrap(listen).await;
    let own = |seed| NetConfig {
        listen: vec![listen.parse().unwrap()],
        ..config(seed, &first)
    };
    let alice = Node::start(own(1)).await;
    let bob = Node::start(own(2)).await.serve();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    let mut reversed = bytes.clone();
    reversed.reverse();
    let answer = alice.net.request(bob.key(), bytes, DEADLINE).await.unwrap();
    assert_eq!(answer, reversed);
    let peers = alice.net.peers().await.unwrap();
    let bob_info = peers.iter().find(|peer| peer.key == bob.key()).unwrap();
    let over_expected = |address: &Multiaddr| address.to_string().contains(expected);
    assert!(
        bob_info.addresses.iter().all(over_expected),
        "{:?}",
        bob_info.addresses
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_find_each_other_and_exchange_requests_over_quic() {
    strangers_meet_over(QUIC, "/quic-v1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_find_each_other_and_exchange_requests_over_tcp() {
    strangers_meet_over(TCP, "/tcp/").await;
}

/// Alice and carol know only bob: what one says reaches the other through bob or not at all.
async fn alice_bob_carol() -> (Node, Node, Node) {
    let mut bob = Node::start(fixed(2, &[])).await;
    let first = bob.net.listen_addrs();
    let mut alice = Node::start(fixed(1, &first)).await;
    let mut carol = Node::start(fixed(3, &first)).await;
    alice.connected(bob.key()).await;
    carol.connected(bob.key()).await;
    bob.connected(carol.key()).await;
    (alice, bob, carol)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_is_forwarded_only_after_it_was_accepted() {
    let (alice, mut bob, mut carol) = alice_bob_carol().await;
    let say = async |text: &str| alice.net.publish(TOPIC, text.into()).await.unwrap();

    say("rejected").await;
    let (rejected, bytes) = bob.gossip().await;
    assert_eq!(bytes, b"rejected");
    bob.net.verdict(rejected, Verdict::Reject).unwrap();

    say("held").await;
    let (held, bytes) = bob.gossip().await;
    assert_eq!(bytes, b"held");

    say("accepted").await;
    let (accepted, bytes) = bob.gossip().await;
    assert_eq!(bytes, b"accepted");
    bob.net.verdict(accepted, Verdict::Accept).unwrap();

    // Had the two earlier ones been forwarded, they would have come first.
    assert_eq!(carol.gossip().await.1, b"accepted");
    bob.net.verdict(held, Verdict::Accept).unwrap();
    assert_eq!(carol.gossip().await.1, b"held");

    let others: Vec<_> = carol.net.peers().await.unwrap();
    assert_eq!(others.len(), 1, "carol must know bob only: {others:?}");
    assert_eq!(others[0].key, bob.key());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_content_from_two_publishers_is_one_message() {
    let (alice, mut bob, carol) = alice_bob_carol().await;
    alice.net.publish(TOPIC, b"news".to_vec()).await.unwrap();
    let (news, bytes) = bob.gossip().await;
    assert_eq!(bytes, b"news");
    bob.net.verdict(news, Verdict::Ignore).unwrap();

    carol.net.publish(TOPIC, b"news".to_vec()).await.unwrap();
    carol.net.publish(TOPIC, b"more".to_vec()).await.unwrap();
    assert_eq!(bob.gossip().await.1, b"more");
    // Saying it twice is no error for the publisher either.
    carol.net.publish(TOPIC, b"more".to_vec()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_published_before_anybody_subscribed_is_delivered_later() {
    let mut bob = Node::start(fixed(2, &[])).await;
    bob.net.publish(TOPIC, b"early".to_vec()).await.unwrap();
    let mut alice = Node::start(fixed(1, &bob.net.listen_addrs())).await;
    assert_eq!(alice.gossip().await.1, b"early");
    bob.connected(alice.key()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversize_requests_are_refused_on_both_sides() {
    let mut bob = Node::start(fixed(2, &[])).await;
    let mut mallory_config = fixed(3, &bob.net.listen_addrs());
    mallory_config.limits.request_bytes_max = 4 * REQUEST_BYTES_MAX;
    let mut mallory = Node::start(mallory_config).await;
    mallory.connected(bob.key()).await;

    // An honest node does not even send it.
    let too_large = vec![0; REQUEST_BYTES_MAX + 1];
    let unsent = bob.net.request(mallory.key(), too_large.clone(), DEADLINE);
    assert!(matches!(
        unsent.await,
        Err(NetError::TooLarge {
            limit: REQUEST_BYTES_MAX,
            ..
        })
    ));
    // A dishonest one is refused before bob reads more than the length.
    let refused = mallory.net.request(bob.key(), too_large, DEADLINE).await;
    assert!(
        matches!(
            refused,
            Err(NetError::Refused { .. } | NetError::Disconnected { .. })
        ),
        "{refused:?}"
    );
    // Bob never saw it, and still serves what is within the limit.
    let fitting = vec![7; REQUEST_BYTES_MAX];
    let net = mallory.net.clone();
    let bob_key = bob.key();
    let asking = tokio::spawn(async move { net.request(bob_key, fitting, DEADLINE).await });
    let (from, reply_to, bytes) = bob.request().await;
    assert_eq!((from, bytes.len()), (mallory.key(), REQUEST_BYTES_MAX));
    bob.net.respond(reply_to, vec![1]).unwrap();
    assert_eq!(asking.await.unwrap().unwrap(), [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversize_responses_are_refused_on_both_sides() {
    let alice = Node::start(fixed(1, &[])).await;
    let mut mallory_config = fixed(3, &alice.net.listen_addrs());
    mallory_config.limits.response_bytes_max = 4 * RESPONSE_BYTES_MAX;
    let mut mallory = Node::start(mallory_config).await;
    mallory.connected(alice.key()).await;

    let ask = |from: &Node, to: &Node| {
        let (net, key) = (from.net.clone(), to.key());
        tokio::spawn(async move { net.request(key, vec![1], DEADLINE).await })
    };
    let asking = ask(&alice, &mallory);
    let (_, reply_to, _) = mallory.request().await;
    mallory
        .net
        .respond(reply_to, vec![0; RESPONSE_BYTES_MAX + 1])
        .unwrap();
    let refused = asking.await.unwrap();
    assert!(
        matches!(refused, Err(NetError::ResponseRefused { bytes, .. }) if bytes == RESPONSE_BYTES_MAX + 1),
        "{refused:?}"
    );

    // An honest node does not send it, and its requester is told at once instead of waiting.
    let mut alice = alice;
    let asking = ask(&mallory, &alice);
    let (_, reply_to, _) = alice.request().await;
    let unsent = alice.net.respond(reply_to, vec![0; RESPONSE_BYTES_MAX + 1]);
    assert!(matches!(unsent, Err(NetError::TooLarge { .. })));
    let refused = asking.await.unwrap();
    assert!(
        matches!(refused, Err(NetError::Refused { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_an_unknown_peer_ends_with_the_callers_timeout_and_says_why() {
    let (_server, first) = bootstrap(QUIC).await;
    let alice = Node::start(config(1, &first)).await;
    let nobody = PeerKey([99; 32]);
    let patience = Duration::from_millis(700);
    let error = alice
        .net
        .request(nobody, vec![1], patience)
        .await
        .unwrap_err();
    assert!(
        matches!(error, NetError::Timeout { peer, timeout, stage: Stage::Looking } if peer == nobody && timeout == patience),
        "{error:?}"
    );
    assert!(error.to_string().contains("no address found"), "{error}");

    let own = alice.net.request(alice.key(), vec![1], patience).await;
    assert!(matches!(own, Err(NetError::ToSelf)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_told_by_the_runtime_is_used_for_a_waiting_request() {
    let alice = Node::start(fixed(1, &[])).await;
    let bob = Node::start(fixed(2, &[])).await;
    let (address, key) = (bob.net.listen_addrs().remove(0), bob.key());
    let _bob = bob.serve();
    let net = alice.net.clone();
    let asking = tokio::spawn(async move { net.request(key, b"abc".to_vec(), DEADLINE).await });
    alice.net.add_address(key, address.clone()).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap(), b"cba");

    let mismatch = alice.net.add_address(alice.key(), address).await;
    assert!(matches!(mismatch, Err(NetError::Config { .. })));
    let name = "/dns4/localhost/tcp/1".parse().unwrap();
    let refused = alice.net.add_address(key, name).await;
    assert!(matches!(refused, Err(NetError::Config { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_banned_peer_comes_back_only_after_its_ban() {
    let ban = Duration::from_secs(3);
    let mut bob_config = fixed(2, &[]);
    bob_config.limits.ban = ban;
    let mut bob = Node::start(bob_config).await;
    let alice = Node::start(fixed(1, &bob.net.listen_addrs())).await;
    bob.connected(alice.key()).await;

    // Three major faults are tolerated, the fourth is not.
    for _ in 0..3 {
        bob.net
            .penalise(alice.key(), Penalty::major("test"))
            .unwrap();
    }
    assert_eq!(bob.net.peers().await.unwrap().len(), 1);
    let banned_at = Instant::now();
    bob.net
        .penalise(alice.key(), Penalty::major("test"))
        .unwrap();
    bob.disconnected(alice.key()).await;
    let refused = bob.net.request(alice.key(), vec![1], DEADLINE).await;
    assert!(
        matches!(refused, Err(NetError::Banned { .. })),
        "{refused:?}"
    );

    // Alice keeps trying all the while; a connection before the end would be reported here.
    bob.connected(alice.key()).await;
    assert!(banned_at.elapsed() >= ban, "let in too early");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_left_is_missed_and_welcomed_back() {
    // Over TCP: a UDP port stays taken while the connections of the node that left are draining.
    let mut over_tcp = fixed(2, &[]);
    over_tcp.listen = vec![TCP.parse().unwrap()];
    let bob = Node::start(over_tcp).await;
    let address = bob.net.listen_addrs().remove(0);
    let mut alice = Node::start(fixed(1, std::slice::from_ref(&address))).await;
    alice.connected(bob.key()).await;
    bob.net.shutdown().await;
    assert!(matches!(bob.net.peers().await, Err(NetError::Stopped)));
    alice.disconnected(bob.key()).await;

    let mut again = fixed(2, &[]);
    let (_, plain) = assay_bootstrap::address::split_peer(&address).unwrap();
    again.listen = vec![plain];
    let bob = Node::start(again).await;
    alice.connected(bob.key()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_finds_back_to_the_nodes_it_met_when_no_first_contact_is_left() {
    let (server, first) = bootstrap(QUIC).await;
    let mut bob = Node::start(config(2, &first)).await;
    let mut alice = Node::start(config(1, &first)).await;
    let bob_end = format!("/p2p/{}", bob.key().to_peer_id());
    let known = alice
        .next("news that bob was met", |event| match event {
            NetEvent::Known(known) if known.iter().any(|a| a.to_string().ends_with(&bob_end)) => {
                Some(known)
            }
            _ => None,
        })
        .await;
    alice.net.shutdown().await;
    bob.disconnected(alice.key()).await;
    server.shutdown().await;

    let mut back = Node::start(NetConfig {
        known,
        ..config(1, &first)
    })
    .await;
    back.connected(bob.key()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_knows_only_the_server_hears_every_message() {
    const CROWD: u8 = 12;
    let (_server, first) = bootstrap(QUIC).await;
    let mut crowd = Vec::new();
    for seed in 1..=CROWD {
        crowd.push(Node::start(config(seed, &first)).await);
    }
    let speaker = crowd.pop().unwrap();
    speaker.net.publish(TOPIC, b"hello".to_vec()).await.unwrap();
    let listeners = crowd.into_iter().map(|mut node| {
        tokio::spawn(async move {
            // Everybody forwards, or those further away would hear nothing.
            let (id, bytes) = node.gossip().await;
            node.net.verdict(id, Verdict::Accept).unwrap();
            assert_eq!(bytes, b"hello");
            node // Kept alive until all have heard it.
        })
    });
    let heard = futures::future::join_all(listeners).await;
    assert_eq!(
        heard.iter().filter(|outcome| outcome.is_ok()).count(),
        usize::from(CROWD) - 1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_a_nat_is_reached_through_the_relay() {
    let (_server, first) = bootstrap(QUIC).await;
    let mut hidden_config = fixed(1, &first);
    hidden_config.listen = Vec::new();
    hidden_config.behind_nat = true;
    let mut hidden = Node::start(hidden_config).await;
    let circuit = hidden
        .next("a relay reservation", |event| match event {
            NetEvent::Listening(address) => Some(address),
            _ => None,
        })
        .await;
    assert!(circuit.to_string().contains("/p2p-circuit"), "{circuit}");
    let key = hidden.key();
    let _hidden = hidden.serve();

    let mut alice_config = fixed(2, &[]);
    alice_config.listen = Vec::new();
    let alice = Node::start(alice_config).await;
    alice.net.add_address(key, circuit).await.unwrap();
    let answer = alice
        .net
        .request(key, b"abc".to_vec(), DEADLINE)
        .await
        .unwrap();
    assert_eq!(answer, b"cba");
    let peers = alice.net.peers().await.unwrap();
    let info = peers.iter().find(|peer| peer.key == key).unwrap();
    assert!(info.relayed, "{info:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_two_networks_do_not_talk() {
    let bob = Node::start(fixed(2, &[])).await;
    let mut foreign = fixed(1, &bob.net.listen_addrs());
    foreign.network = "other".to_owned();
    let alice = Node::start(foreign).await;
    let bob = bob.serve();
    let refused = alice
        .net
        .request(bob.key(), vec![1], Duration::from_secs(2))
        .await;
    assert!(refused.is_err(), "{refused:?}");
    let nodes = bob.peers().await.unwrap();
    assert!(nodes.iter().all(|peer| !peer.node), "{nodes:?}");
}

#[tokio::test]
async fn unusable_settings_are_refused_at_start() {
    let not_of_this_machine = NetConfig {
        listen: vec!["/ip4/192.0.2.1/tcp/0".parse().unwrap()],
        ..fixed(1, &[])
    };
    let error = Net::start(not_of_this_machine).await.unwrap_err();
    assert!(
        matches!(&error, NetError::Listen { reason, .. } if !reason.is_empty()),
        "{error:?}"
    );
    let wrong: [fn(&mut NetConfig); 5] = [
        |config| config.network = "Not A Name".to_owned(),
        |config| config.heartbeat = Duration::from_millis(50),
        |config| config.topics = vec!["x".repeat(TOPIC_BYTES_MAX + 1)],
        |config| config.topics = (0..=TOPICS_MAX).map(|n| n.to_string()).collect(),
        |config| config.limits.exchange_memory_bytes_max = 1,
    ];
    for spoil in wrong {
        let mut config = fixed(1, &[]);
        spoil(&mut config);
        let outcome = Net::start(config).await;
        assert!(matches!(outcome, Err(NetError::Config { .. })));
    }
}

#[tokio::test]
async fn publishing_needs_a_configured_topic_and_a_fitting_size() {
    let alice = Node::start(fixed(1, &[])).await;
    let unknown = alice.net.publish("nonsense", vec![1]).await;
    assert!(matches!(unknown, Err(NetError::UnknownTopic { .. })));
    let large = alice
        .net
        .publish(TOPIC, vec![0; GOSSIP_BYTES_MAX + 1])
        .await;
    assert!(matches!(large, Err(NetError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_gossip_message_is_delivered() {
    let mut bob = Node::start(fixed(2, &[])).await;
    let alice = Node::start(fixed(1, &bob.net.listen_addrs())).await;
    let largest = vec![5; GOSSIP_BYTES_MAX];
    alice.net.publish(TOPIC, largest.clone()).await.unwrap();
    assert_eq!(bob.gossip().await.1, largest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_receiver_stops_the_network() {
    let Node { net, events } = Node::start(fixed(1, &[])).await;
    drop(events);
    let stopped = async {
        while net.peers().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, stopped).await.expect("still running");
}
