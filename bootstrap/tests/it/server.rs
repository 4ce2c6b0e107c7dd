//! What a stranger on the network sees of the server.

use std::time::Duration;

use assay_bootstrap::address::AddressPolicy;
use assay_bootstrap::names::NetworkName;
use assay_bootstrap::routing::{self, Kademlia};
use assay_bootstrap::transport::{self, Windows};
use assay_bootstrap::{Server, ServerConfig, ServerError, ServerHandle, ServerLimits};
use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::kad::{self, QueryResult};
use libp2p::swarm::{self, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify};
use tokio::time::timeout;

/// Far longer than anything here takes; only a defect reaches it.
const DEADLINE: Duration = Duration::from_secs(60);

fn config(listen: &[&str]) -> ServerConfig {
    ServerConfig {
        key_seed: [9; 32],
        network: "test".to_owned(),
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        external_addresses: Vec::new(),
        allow_private_addresses: true,
        limits: ServerLimits {
            memory_percent_max: None,
            ..ServerLimits::default()
        },
    }
}

async fn server() -> ServerHandle {
    let both = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"];
    Server::start(config(&both)).await.unwrap()
}

#[derive(NetworkBehaviour)]
struct Caller {
    identify: identify::Behaviour,
    kad: Kademlia,
}

/// A minimal peer: enough to introduce itself and to ask for others.
fn caller(network: &str) -> Swarm<Caller> {
    caller_as(&Keypair::generate_ed25519(), network)
}

fn caller_as(keypair: &Keypair, network: &str) -> Swarm<Caller> {
    let local = keypair.public().to_peer_id();
    let network = NetworkName::parse(network).unwrap();
    let transport =
        transport::direct(keypair, Windows::HOME, AddressPolicy::PrivateAllowed).unwrap();
    let behaviour = Caller {
        identify: identify::Behaviour::new(identify::Config::new(
            network.identify_version(),
            keypair.public(),
        )),
        kad: routing::kademlia(local, &network, true, AddressPolicy::PrivateAllowed),
    };
    let config =
        swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(30));
    Swarm::new(transport, behaviour, local, config)
}

/// Drives `swarm` until `pick` accepts an event.
async fn until<T>(
    swarm: &mut Swarm<Caller>,
    what: &str,
    mut pick: impl FnMut(SwarmEvent<CallerEvent>) -> Option<T>,
) -> T {
    let search = async {
        loop {
            if let Some(found) = pick(swarm.select_next_some().await) {
                break found;
            }
        }
    };
    timeout(DEADLINE, search)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Connects and waits until both sides have introduced themselves; returns what the server announced.
async fn introduce(swarm: &mut Swarm<Caller>, address: &Multiaddr) -> identify::Info {
    swarm.dial(address.clone()).unwrap();
    let (mut sent, mut received) = (false, None);
    until(swarm, "identify", |event| {
        match event {
            SwarmEvent::Behaviour(CallerEvent::Identify(identify::Event::Sent { .. })) => {
                sent = true;
            }
            SwarmEvent::Behaviour(CallerEvent::Identify(identify::Event::Received {
                info,
                ..
            })) => received = Some(info),
            _ => {}
        }
        if sent { received.take() } else { None }
    })
    .await
}

async fn listen(swarm: &mut Swarm<Caller>) {
    let address = "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap();
    swarm.listen_on(address).unwrap();
    until(swarm, "a listening address", |event| {
        matches!(event, SwarmEvent::NewListenAddr { .. }).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_offers_first_contact_and_nothing_else() {
    let server = server().await;
    assert_eq!(server.addresses().len(), 2, "one for QUIC, one for TCP");
    for address in server.addresses() {
        let mut caller = caller("test");
        let info = introduce(&mut caller, &address).await;
        let offered: Vec<&str> = info.protocols.iter().map(AsRef::as_ref).collect();
        for needed in [
            "/assay/test/kad/1",
            "/libp2p/circuit/relay/0.2.0/hop",
            "/libp2p/autonat/2/dial-request",
            "/ipfs/id/1.0.0",
            "/ipfs/ping/1.0.0",
        ] {
            assert!(offered.contains(&needed), "{needed} missing in {offered:?}");
        }
        for forbidden in ["/meshsub", "/exchange"] {
            let found = offered.iter().any(|name| name.contains(forbidden));
            assert!(!found, "{forbidden} among {offered:?}");
        }
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_learns_of_an_earlier_one() {
    let server = server().await;
    let address = server.addresses().remove(0);
    let mut alice = caller("test");
    listen(&mut alice).await;
    let alice_id = *alice.local_peer_id();
    introduce(&mut alice, &address).await;
    let alice_lives = tokio::spawn(async move {
        loop {
            alice.select_next_some().await;
        }
    });

    // The server enters alice when it has her introduction, which may be a moment later: ask until it knows her.
    let mut bob = caller("test");
    let info = introduce(&mut bob, &address).await;
    let kad = &mut bob.behaviour_mut().kad;
    let direct = assay_bootstrap::address::split_peer(&address).unwrap().1;
    routing::learn(
        kad,
        &server.peer_id(),
        &info.protocols,
        &[direct],
        AddressPolicy::PrivateAllowed,
    );
    let search = async {
        loop {
            bob.behaviour_mut().kad.get_closest_peers(alice_id);
            let found: Vec<PeerId> = until(&mut bob, "the end of a lookup", |event| match event {
                SwarmEvent::Behaviour(CallerEvent::Kad(kad::Event::OutboundQueryProgressed {
                    result: QueryResult::GetClosestPeers(Ok(found)),
                    step,
                    ..
                })) if step.last => Some(found.peers.iter().map(|info| info.peer_id).collect()),
                _ => None,
            })
            .await;
            if found.contains(&alice_id) {
                break;
            }
        }
    };
    timeout(DEADLINE, search)
        .await
        .expect("alice was not found");
    alice_lives.abort();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_of_another_network_are_shown_out() {
    let server = server().await;
    let address = server.addresses().remove(0);
    let mut friend = caller("test");
    introduce(&mut friend, &address).await;
    // The server may show the stranger out before its own introduction has arrived there.
    let mut stranger = caller("other");
    stranger.dial(address).unwrap();
    until(&mut stranger, "a disconnection", |event| {
        matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(())
    })
    .await;
    // Not for being idle: the friend came earlier and stays.
    timeout(DEADLINE, server.connected_peers().wait_for(|n| *n == 1))
        .await
        .expect("the friend was shown out, too")
        .unwrap();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_refused() {
    let mut config = config(&["/ip4/127.0.0.1/udp/0/quic-v1"]);
    config.limits.incoming_max = 1;
    let server = Server::start(config).await.unwrap();
    let address = server.addresses().remove(0);
    let mut first = caller("test");
    introduce(&mut first, &address).await;
    // The server's own count may follow a moment after the caller has its answer.
    let mut connected = server.connected_peers();
    timeout(DEADLINE, connected.wait_for(|peers| *peers == 1))
        .await
        .expect("the first peer was never counted")
        .unwrap();

    let mut second = caller("test");
    second.dial(address).unwrap();
    until(&mut second, "a refusal", |event| {
        matches!(
            event,
            SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. }
        )
        .then_some(())
    })
    .await;
    assert_eq!(*connected.borrow(), 1);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_keeps_crashing_gets_in_again_at_once() {
    let server = server().await;
    let address = server.addresses().remove(0);
    let keypair = Keypair::generate_ed25519();
    let mut lives = Vec::new();
    for _ in 0..=2 * ServerLimits::default().per_peer_max {
        let mut life = caller_as(&keypair, "test");
        introduce(&mut life, &address).await;
        // Never polled again: a crash, as the server sees it.
        lives.push(life);
    }
    assert_eq!(*server.connected_peers().borrow(), 1);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_tells_connected_peers() {
    let server = server().await;
    let mut caller = caller("test");
    introduce(&mut caller, &server.addresses()[0]).await;
    server.shutdown().await;
    until(&mut caller, "a disconnection", |event| {
        matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(())
    })
    .await;
}

#[tokio::test]
async fn unusable_settings_are_refused_with_their_reason() {
    let nothing = Server::start(config(&[])).await;
    assert!(matches!(nothing, Err(ServerError::NothingToListenOn)));
    let elsewhere = Server::start(config(&["/ip4/192.0.2.1/tcp/0"])).await;
    assert!(matches!(elsewhere, Err(ServerError::Listen { .. })));
    let mut unnamed = config(&["/ip4/127.0.0.1/tcp/0"]);
    unnamed.network = "Not A Name".to_owned();
    assert!(matches!(
        Server::start(unnamed).await,
        Err(ServerError::Network(_))
    ));
}
