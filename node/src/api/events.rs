//! News for programs: a bounded log with rising numbers, and a request that waits until there is something newer.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use assay_protocol::{core::Notice, id::TaskId};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Deserialize;
use tokio::sync::{broadcast, watch};

use super::{
    error::ApiError,
    model::{Event, EventLine, EventsView},
    server::Shared,
};

/// Pieces of news kept; older ones are dropped and reported as missed.
pub const EVENTS_KEPT_MAX: usize = 2_048;
/// Pieces of news in one answer.
const EVENTS_ANSWERED_MAX: usize = 512;
/// Longest wait of one request, seconds.
const WAIT_SECS_MAX: u64 = 30;
/// Enrolments with receipts of a quorum that are remembered.
const ENROLMENTS_KEPT_MAX: usize = 4_096;

/// The log.
pub(super) struct EventLog {
    inner: Mutex<Inner>,
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    lines: VecDeque<EventLine>,
    next: u64,
    enrolled: BTreeSet<TaskId>,
}

impl EventLog {
    pub fn new() -> Arc<Self> {
        let inner = Inner {
            next: 1,
            ..Inner::default()
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            newest: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole before the lock is released, so a poisoned log is still a good one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, event: Event) {
        let mut inner = self.lock();
        if let Event::Delivered { task, kind, .. } = &event
            && kind == "enrol"
        {
            inner.enrolled.insert(*task);
            if inner.enrolled.len() > ENROLMENTS_KEPT_MAX {
                inner.enrolled.pop_first();
            }
        }
        let seq = inner.next;
        inner.next += 1;
        inner.lines.push_back(EventLine { seq, event });
        if inner.lines.len() > EVENTS_KEPT_MAX {
            inner.lines.pop_front();
        }
        drop(inner);
        self.newest.send_replace(seq);
    }

    /// A gap: news was lost before it came here. The number it would have had stays unused.
    fn skip(&self) {
        self.lock().next += 1;
    }

    /// Whether a quorum gave receipts for our enrolment in this run.
    pub fn enrolment_received(&self, task: &TaskId) -> bool {
        self.lock().enrolled.contains(task)
    }

    pub fn since(&self, after: u64) -> EventsView {
        let inner = self.lock();
        let events: Vec<EventLine> = inner
            .lines
            .iter()
            .filter(|l| l.seq > after)
            .take(EVENTS_ANSWERED_MAX)
            .cloned()
            .collect();
        let next = events.last().map_or(inner.next - 1, |l| l.seq);
        let mut expected = after + 1;
        let mut missed = after >= inner.next;
        for line in &events {
            missed |= line.seq != expected;
            expected = line.seq + 1;
        }
        EventsView {
            next,
            missed,
            events,
        }
    }

    /// Copies the node's news until it stops.
    pub async fn follow(self: Arc<Self>, mut notices: broadcast::Receiver<Notice>) {
        loop {
            match notices.recv().await {
                Ok(notice) => self.push(event(notice)),
                Err(broadcast::error::RecvError::Lagged(_)) => self.skip(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

fn event(notice: Notice) -> Event {
    match notice {
        Notice::Announced { task } => Event::Announced { task },
        Notice::InCustody { task } => Event::InCustody { task },
        Notice::Phase { task, phase, wave } => Event::Phase {
            task,
            phase: phase.to_owned(),
            wave,
        },
        Notice::Assigned {
            task,
            wave,
            items,
            deadline,
        } => Event::Assigned {
            task,
            wave,
            items: items.len(),
            deadline,
        },
        Notice::Delivered { task, record, kind } => Event::Delivered {
            task,
            record,
            kind: kind.to_owned(),
        },
        Notice::Anchored { header, signers } => Event::Anchored {
            lane: header.lane,
            epoch: header.epoch,
            signers,
        },
        Notice::Finished { outcome } => Event::Finished {
            task: outcome.task,
            cancelled: outcome.cancelled.is_some(),
        },
        Notice::FallbackOpened {
            task,
            client,
            payees,
        } => Event::FallbackOpened {
            task,
            client,
            payees,
        },
        Notice::Forced { task, record, kind } => Event::Forced {
            task,
            record,
            kind: kind.to_owned(),
        },
        Notice::Revoked { lane, from } => Event::Revoked { lane, from },
        Notice::DoubleSigned {
            lane,
            epoch,
            account,
        } => Event::DoubleSigned {
            lane,
            epoch,
            account,
        },
        Notice::Alarm { text } => Event::Alarm { text },
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    /// Number of the last piece of news known; without it, only what comes from now on.
    after: Option<u64>,
    #[serde(default)]
    wait_secs: u64,
}

pub(super) async fn since(
    State(shared): State<Shared>,
    Query(asked): Query<Since>,
) -> Result<Json<EventsView>, ApiError> {
    let mut newest = shared.events.newest.subscribe();
    let mut stopping = shared.stopping.clone();
    let after = asked.after.unwrap_or_else(|| shared.events.lock().next - 1);
    let wait = Duration::from_secs(asked.wait_secs.min(WAIT_SECS_MAX));
    tokio::select! {
        _ = newest.wait_for(|seq| *seq > after) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
        () = tokio::time::sleep(wait) => {}
    }
    Ok(Json(shared.events.since(after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(n: usize) -> Event {
        Event::Alarm {
            text: n.to_string(),
        }
    }

    #[test]
    fn a_reader_that_keeps_up_misses_nothing() {
        let log = EventLog::new();
        let empty = log.since(0);
        assert_eq!(
            (empty.next, empty.missed, empty.events.len()),
            (0, false, 0)
        );
        for n in 0..EVENTS_ANSWERED_MAX + 5 {
            log.push(alarm(n));
        }
        let first = log.since(0);
        assert_eq!(
            (first.events.len(), first.missed),
            (EVENTS_ANSWERED_MAX, false)
        );
        let second = log.since(first.next);
        assert_eq!((second.events.len(), second.missed), (5, false));
        assert_eq!(log.since(second.next).events, []);
    }

    #[test]
    fn a_slow_reader_and_one_of_an_older_run_are_told_that_they_missed_something() {
        let log = EventLog::new();
        for n in 0..EVENTS_KEPT_MAX + 1 {
            log.push(alarm(n));
        }
        assert!(log.since(0).missed);
        assert!(!log.since(1).missed);
        assert!(
            log.since(1_000_000).missed,
            "numbers of a run before this one"
        );
        log.skip();
        log.push(alarm(0));
        assert!(
            log.since(EVENTS_KEPT_MAX as u64 + 1).missed,
            "the node's own queue lagged"
        );
    }

    #[test]
    fn news_is_flat_json_with_a_type() {
        let line = EventLine {
            seq: 3,
            event: Event::Anchored {
                lane: 0,
                epoch: 9,
                signers: 4,
            },
        };
        let json = serde_json::to_string(&line).unwrap();
        assert_eq!(
            json,
            r#"{"seq":3,"type":"anchored","lane":0,"epoch":9,"signers":4}"#
        );
        assert_eq!(serde_json::from_str::<EventLine>(&json).unwrap(), line);
    }
}
