//! The transports every process of the network speaks: QUIC, and TCP with noise and yamux, behind one address rule.
//!
//! There is no name resolution in here on purpose (see [`crate::address`]).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{
    Boxed, DialOpts, ListenerId, OrTransport, TransportError, TransportEvent,
};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, Transport, noise, quic, tcp, yamux};

use crate::address::AddressPolicy;

/// Longest time for connecting and negotiating encryption, in seconds.
pub const HANDSHAKE_SECONDS_MAX: u64 = 10;
/// Silence after which a QUIC connection counts as lost, in milliseconds.
pub const QUIC_IDLE_MS: u32 = 30_000;
/// Interval of QUIC keep-alive packets, in seconds; must stay below half of the idle time.
pub const QUIC_KEEP_ALIVE_SECONDS: u64 = 15;

/// Flow-control windows and stream counts of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Unacknowledged bytes on one QUIC stream.
    pub stream_bytes: u32,
    /// Unacknowledged bytes on all streams of one QUIC connection.
    pub connection_bytes: u32,
    /// Streams a remote may have open at once.
    pub streams: u32,
}

impl Windows {
    /// A home node: 8 MiB in flight fills 1 Gbit/s at 60 ms.
    pub const HOME: Self = Self {
        stream_bytes: 4 << 20,
        connection_bytes: 8 << 20,
        streams: 64,
    };
    /// A public server: half the windows because it keeps many more connections.
    pub const SERVER: Self = Self {
        stream_bytes: 2 << 20,
        connection_bytes: 4 << 20,
        streams: 128,
    };
}

/// A connection's outcome: who it is, and its streams.
pub type Link = (PeerId, StreamMuxerBox);

/// Builds QUIC and TCP; dials that `policy` does not allow fail at once.
///
/// # Errors
/// When the key pair cannot make noise keys, which no ed25519 key does.
pub fn direct(
    keypair: &Keypair,
    windows: Windows,
    policy: AddressPolicy,
) -> Result<Boxed<Link>, noise::Error> {
    let mut quic_config = quic::Config::new(keypair);
    quic_config.handshake_timeout = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
    quic_config.max_idle_timeout = QUIC_IDLE_MS;
    quic_config.keep_alive_interval = Duration::from_secs(QUIC_KEEP_ALIVE_SECONDS);
    quic_config.max_stream_data = windows.stream_bytes;
    quic_config.max_connection_data = windows.connection_bytes;
    quic_config.max_concurrent_stream_limit = windows.streams;
    let quic = quic::tokio::Transport::new(quic_config);

    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux_config(windows))
        .timeout(Duration::from_secs(HANDSHAKE_SECONDS_MAX));

    let either = OrTransport::new(quic, tcp).map(|link, _| match link {
        Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
    });
    let guarded = Guarded {
        inner: either.boxed(),
        policy,
    };
    Ok(guarded.boxed())
}

/// An error with its causes, outermost first. Several of libp2p's errors say nothing without their causes.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !text.is_empty() && said.last() != Some(&text) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}

/// The multiplexer settings for streams over TCP and over relay circuits.
pub fn yamux_config(windows: Windows) -> yamux::Config {
    let mut config = yamux::Config::default();
    // Both directions count here, unlike in QUIC, hence twice the number.
    config.set_max_num_streams(2 * windows.streams as usize);
    config
}

/// Refuses dials that the address policy does not allow; listens anywhere.
struct Guarded {
    inner: Boxed<Link>,
    policy: AddressPolicy,
}

impl Transport for Guarded {
    type Output = <Boxed<Link> as Transport>::Output;
    type Error = <Boxed<Link> as Transport>::Error;
    type ListenerUpgrade = <Boxed<Link> as Transport>::ListenerUpgrade;
    type Dial = <Boxed<Link> as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if self.policy.allows(&address) {
            self.inner.dial(address, options)
        } else {
            tracing::debug!(%address, "dial refused by the address policy");
            Err(TransportError::MultiaddrNotSupported(address))
        }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use std::io;

    #[tokio::test]
    async fn a_dial_to_a_private_address_is_refused_before_a_socket_is_opened() {
        let keypair = Keypair::generate_ed25519();
        let options = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        for text in [
            "/ip4/127.0.0.1/tcp/9",
            "/ip4/10.0.0.1/udp/9/quic-v1",
            "/dns4/localhost/tcp/9",
        ] {
            let address: Multiaddr = text.parse().unwrap();
            let mut public = direct(&keypair, Windows::HOME, AddressPolicy::PublicOnly).unwrap();
            let refused = public.dial(address.clone(), options);
            assert!(
                matches!(refused, Err(TransportError::MultiaddrNotSupported(_))),
                "{text}"
            );
        }
        let mut private = direct(&keypair, Windows::HOME, AddressPolicy::PrivateAllowed).unwrap();
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
        assert!(private.dial(address, options).is_ok());
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let inner = io::Error::new(io::ErrorKind::AddrInUse, "port taken");
        let error = TransportError::Other(io::Error::other(inner));
        assert!(with_causes(&error).contains("port taken"));
    }
}
