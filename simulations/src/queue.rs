//! Events in order of (time, sequence): equal times come out as they went in, so the order never depends on anything but the run itself.

use std::collections::BTreeMap;

/// Things that will happen, earliest first.
#[derive(Debug)]
pub struct Queue<E> {
    waiting: BTreeMap<(u64, u64), E>,
    sequence: u64,
    now: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            sequence: 0,
            now: 0,
        }
    }
}

impl<E> Queue<E> {
    /// Simulated time, milliseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Adds an event `after_ms` from now.
    pub fn push(&mut self, after_ms: u64, event: E) {
        self.sequence += 1;
        self.waiting
            .insert((self.now.saturating_add(after_ms), self.sequence), event);
    }

    /// Takes the next event and moves time to it.
    pub fn pop(&mut self) -> Option<E> {
        let ((time, _), event) = self.waiting.pop_first()?;
        self.now = time;
        Some(event)
    }

    /// Events waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_by_time_and_then_in_the_order_they_went_in() {
        let mut queue = Queue::default();
        for (after, name) in [(20, "c"), (10, "a"), (10, "b"), (0, "first")] {
            queue.push(after, name);
        }
        let mut out = Vec::new();
        while let Some(event) = queue.pop() {
            out.push((queue.now(), event));
        }
        assert_eq!(out, [(0, "first"), (10, "a"), (10, "b"), (20, "c")]);
    }
}
