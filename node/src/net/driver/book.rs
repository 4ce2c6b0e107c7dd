//! The nodes this node has met: how it finds back after a restart when no first contact answers.
//!
//! Nodes that were dialled come first. Those that called here say themselves where they listen, which may be a lie, so they only take the
//! room that is left. Nobody gets in by being named by others.

use std::collections::VecDeque;

use assay_bootstrap::address::split_peer;
use libp2p::{Multiaddr, PeerId};

/// Most nodes remembered.
const NODES_MAX: usize = 32;

/// Nodes reached by dialling, newest first, then nodes that called.
#[derive(Debug, Default)]
pub(super) struct Book {
    nodes: VecDeque<(PeerId, Multiaddr)>,
    changed: bool,
}

impl Book {
    /// From what an earlier run remembered. Addresses that name no peer, or a peer again, are left out.
    pub(super) fn new(known: &[Multiaddr]) -> Self {
        let mut book = Self::default();
        for (peer, address) in known.iter().filter_map(split_peer).take(NODES_MAX) {
            if !book.holds(&peer) {
                book.nodes.push_back((peer, address));
            }
        }
        book
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &(PeerId, Multiaddr)> {
        self.nodes.iter()
    }

    fn holds(&self, peer: &PeerId) -> bool {
        self.nodes.iter().any(|(known, _)| known == peer)
    }

    /// Remembers a node at the address it was reached at. When the book is full, the oldest that is not `connected` now is forgotten.
    pub(super) fn reached(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        connected: impl Fn(&PeerId) -> bool,
    ) {
        let address = plain(address);
        if self.nodes.contains(&(peer, address.clone())) {
            return;
        }
        self.nodes.retain(|(known, _)| *known != peer);
        if self.nodes.len() == NODES_MAX {
            let gone = self.nodes.iter().rposition(|(known, _)| !connected(known));
            self.nodes.remove(gone.unwrap_or(NODES_MAX - 1));
        }
        self.nodes.push_front((peer, address));
        self.changed = true;
    }

    /// Remembers a node that called, at the first of the addresses that it says it has.
    pub(super) fn called<'a>(
        &mut self,
        peer: PeerId,
        announced: impl Iterator<Item = &'a Multiaddr>,
    ) {
        let announced: Vec<Multiaddr> = announced.map(plain).collect();
        let Some(first) = announced.first() else {
            return;
        };
        let room = self.nodes.len() < NODES_MAX;
        match self.nodes.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, address)) if announced.contains(address) => {}
            Some((_, address)) => {
                // It has moved.
                *address = first.clone();
                self.changed = true;
            }
            None if room => {
                self.nodes.push_back((peer, first.clone()));
                self.changed = true;
            }
            None => {}
        }
    }

    /// The whole book, each address ending in `/p2p/<peer id>`, when it has changed since it was last taken.
    pub(super) fn news(&self) -> Option<Vec<Multiaddr>> {
        let nodes = self.nodes.iter();
        let full = nodes.filter_map(|(peer, address)| address.clone().with_p2p(*peer).ok());
        self.changed.then(|| full.collect())
    }

    /// The news have been handed on.
    pub(super) fn taken(&mut self) {
        self.changed = false;
    }
}

/// The address without the peer that it may name at its end.
fn plain(address: &Multiaddr) -> Multiaddr {
    split_peer(address).map_or_else(|| address.clone(), |(_, direct)| direct)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn what_was_remembered_is_known_again_and_is_no_news() {
        let (one, two) = (PeerId::random(), PeerId::random());
        let mut book = Book::default();
        book.reached(one, &address(1), |_| true);
        book.reached(two, &address(2).with_p2p(two).unwrap(), |_| true);
        let kept = book.news().unwrap();
        assert_eq!(kept.len(), 2);
        let again = Book::new(&kept);
        assert!(again.nodes.iter().eq(&book.nodes));
        assert_eq!(again.news(), None);
        let nobody = Book::new(&[address(3), kept[0].clone(), kept[0].clone()]);
        assert_eq!(nobody.nodes.len(), 1);
    }

    #[test]
    fn the_same_address_is_no_news_and_another_one_replaces_it() {
        let peer = PeerId::random();
        let mut book = Book::default();
        book.reached(peer, &address(1), |_| true);
        book.taken();
        book.reached(peer, &address(1), |_| true);
        assert_eq!(book.news(), None);
        book.reached(peer, &address(2), |_| true);
        assert_eq!(book.news(), Some(vec![address(2).with_p2p(peer).unwrap()]));
    }

    #[test]
    fn a_caller_is_known_by_what_it_says_until_it_says_otherwise() {
        let peer = PeerId::random();
        let mut book = Book::default();
        book.called(peer, [].into_iter());
        assert_eq!(book.news(), None);
        book.called(peer, [address(1), address(2)].iter());
        book.taken();
        book.called(peer, [address(2), address(1)].iter());
        assert_eq!(book.news(), None);
        book.called(peer, [address(3)].iter());
        assert_eq!(book.news(), Some(vec![address(3).with_p2p(peer).unwrap()]));
    }

    #[test]
    fn callers_take_no_room_from_nodes_that_were_reached() {
        let mut book = Book::default();
        let callers: Vec<PeerId> = std::iter::repeat_with(PeerId::random)
            .take(NODES_MAX + 1)
            .collect();
        for (port, peer) in (1..).zip(&callers) {
            book.called(*peer, [address(port)].iter());
        }
        assert_eq!(book.nodes.len(), NODES_MAX);
        let reached: Vec<PeerId> = std::iter::repeat_with(PeerId::random)
            .take(NODES_MAX)
            .collect();
        for (port, peer) in (1..).zip(&reached) {
            book.reached(*peer, &address(port), |_| true);
        }
        assert!(reached.iter().all(|peer| book.holds(peer)));
        assert_eq!(book.nodes.len(), NODES_MAX);
    }

    #[test]
    fn a_full_book_forgets_the_oldest_node_that_is_gone() {
        let peers: Vec<PeerId> = std::iter::repeat_with(PeerId::random)
            .take(NODES_MAX + 1)
            .collect();
        let mut book = Book::default();
        let connected = |peer: &PeerId| *peer == peers[0];
        for (port, peer) in (1..).zip(&peers) {
            book.reached(*peer, &address(port), connected);
        }
        assert_eq!(book.nodes.len(), NODES_MAX);
        assert!(book.holds(&peers[0]));
        assert!(!book.holds(&peers[1]));
    }
}
