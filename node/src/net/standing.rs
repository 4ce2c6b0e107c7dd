//! What peers have done wrong: points that fade, and bans that double.
//!
//! Pure bookkeeping over given times; the driver carries out what it says. Points are the runtime's judgement
//! (bad shards, bad signatures); what libp2p itself sees is scored inside gossipsub.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::PeerId;
use tokio::time::Instant;

use super::event::Penalty;

/// Time in which points halve, in seconds.
pub(super) const HALF_LIFE_SECONDS: u64 = 600;
/// Most peers remembered; beyond it the least guilty is forgotten.
pub(super) const RECORDS_MAX: usize = 4_096;
/// A ban is forgotten after this time without a new one, in seconds.
const BAN_MEMORY_SECONDS: u64 = 7 * 24 * 3_600;

#[derive(Clone, Debug)]
struct Record {
    /// Thousandths of a point, so that halving keeps its fractions.
    milli_points: u64,
    at: Instant,
    bans: u32,
    last_ban: Option<Instant>,
}

/// The standing of every peer that has lost some.
#[derive(Debug)]
pub(super) struct Standings {
    records: BTreeMap<PeerId, Record>,
    first_ban: Duration,
    longest_ban: Duration,
}

impl Standings {
    pub(super) fn new(first_ban: Duration, longest_ban: Duration) -> Self {
        Self {
            records: BTreeMap::new(),
            first_ban,
            longest_ban,
        }
    }

    /// Charges `penalty`; `Some(length)` when the peer is to be banned for that long.
    pub(super) fn charge(
        &mut self,
        peer: PeerId,
        penalty: Penalty,
        now: Instant,
    ) -> Option<Duration> {
        let record = self.records.entry(peer).or_insert(Record {
            milli_points: 0,
            at: now,
            bans: 0,
            last_ban: None,
        });
        let points = u64::from(penalty.points.min(Penalty::BAN_POINTS));
        record.milli_points = faded(record, now) + 1_000 * points;
        record.at = now;
        let banned = record.milli_points >= 1_000 * u64::from(Penalty::BAN_POINTS);
        let length = banned.then(|| {
            let doubled = 1_u32.checked_shl(record.bans).unwrap_or(u32::MAX);
            record.bans = record.bans.saturating_add(1);
            record.last_ban = Some(now);
            // Half the points stay, so that a returning offender is on probation.
            record.milli_points = 500 * u64::from(Penalty::BAN_POINTS);
            self.first_ban.saturating_mul(doubled).min(self.longest_ban)
        });
        self.forget_least_guilty(now);
        length
    }

    /// Current points of each remembered peer; forgets those that have none left.
    pub(super) fn current(&mut self, now: Instant) -> Vec<(PeerId, u32)> {
        self.records.retain(|_, record| {
            let ban_remembered = record.last_ban.is_some_and(|at| {
                now.saturating_duration_since(at) < Duration::from_secs(BAN_MEMORY_SECONDS)
            });
            ban_remembered || faded(record, now) > 0
        });
        self.records
            .iter()
            .map(|(peer, record)| {
                let points = faded(record, now) / 1_000;
                (*peer, u32::try_from(points).unwrap_or(u32::MAX))
            })
            .collect()
    }

    fn forget_least_guilty(&mut self, now: Instant) {
        if self.records.len() <= RECORDS_MAX {
            return;
        }
        let least = self
            .records
            .iter()
            .min_by_key(|(_, record)| (record.bans, faded(record, now)))
            .map(|(peer, _)| *peer);
        if let Some(least) = least {
            self.records.remove(&least);
        }
    }
}

/// Points left at `now`: halved for each full half-life, linearly in between.
fn faded(record: &Record, now: Instant) -> u64 {
    let elapsed = now.saturating_duration_since(record.at).as_secs();
    let halvings = u32::try_from(elapsed / HALF_LIFE_SECONDS).unwrap_or(u32::MAX);
    let whole = record.milli_points.checked_shr(halvings).unwrap_or(0);
    let part = elapsed % HALF_LIFE_SECONDS;
    whole - whole * part / (2 * HALF_LIFE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peer::PeerKey;

    const BAN: Duration = Duration::from_secs(60);

    fn peer(number: u64) -> PeerId {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        PeerKey(key).to_peer_id()
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn points_halve_with_time_and_vanish() {
        let mut standings = Standings::new(BAN, 10 * BAN);
        let start = Instant::now();
        standings.charge(peer(1), Penalty::major("test"), start);
        assert_eq!(standings.current(start), [(peer(1), 25)]);
        assert_eq!(
            standings.current(start + seconds(HALF_LIFE_SECONDS)),
            [(peer(1), 12)]
        );
        assert_eq!(
            standings.current(start + seconds(40 * HALF_LIFE_SECONDS)),
            []
        );
    }

    #[test]
    fn small_faults_add_up_to_a_ban_and_rare_ones_do_not() {
        let start = Instant::now();
        let mut standings = Standings::new(BAN, 10 * BAN);
        let in_a_row: Vec<_> = (0..20)
            .map(|_| standings.charge(peer(1), Penalty::minor("test"), start))
            .collect();
        assert!(in_a_row[..19].iter().all(Option::is_none));
        assert_eq!(in_a_row[19], Some(BAN));

        let mut standings = Standings::new(BAN, 10 * BAN);
        let mut now = start;
        for _ in 0..200 {
            now += seconds(HALF_LIFE_SECONDS);
            assert_eq!(standings.charge(peer(1), Penalty::major("test"), now), None);
        }
    }

    #[test]
    fn each_ban_is_twice_as_long_up_to_the_longest() {
        let mut standings = Standings::new(BAN, 5 * BAN);
        let now = Instant::now();
        let lengths: Vec<_> = (0..40)
            .filter_map(|_| standings.charge(peer(1), Penalty::fatal("test"), now))
            .collect();
        assert_eq!(lengths[..4], [BAN, 2 * BAN, 4 * BAN, 5 * BAN]);
        assert_eq!(lengths[39], 5 * BAN);
    }

    #[test]
    fn the_record_is_bounded_and_keeps_the_guiltiest() {
        let mut standings = Standings::new(BAN, BAN);
        let now = Instant::now();
        standings.charge(peer(u64::MAX), Penalty::major("test"), now);
        for n in 0..=RECORDS_MAX as u64 {
            standings.charge(peer(n), Penalty::minor("test"), now);
        }
        assert_eq!(standings.records.len(), RECORDS_MAX);
        assert!(standings.records.contains_key(&peer(u64::MAX)));
    }
}
