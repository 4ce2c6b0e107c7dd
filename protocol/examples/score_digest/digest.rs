//! One digest per kind over the results of many crowds.
//!
//! A result is hashed as its debug text, which names every public field of it, the labeler table included, and is the same text on
//! every target; so a field that is added later is covered as well.

use std::fmt;

use super::crowds::{self, Crowd, Rng};

/// A kind of label and the sizes of its larger crowds, in items or objects.
struct Kind {
    name: &'static str,
    make: fn(u32, &mut Rng) -> Box<dyn Crowd>,
    sizes: &'static [u32],
}

/// Small crowds per kind that the published digests cover, besides the larger ones.
pub const SMALL_CROWDS: u32 = 150;
/// Items of a small crowd, at most.
const SMALL_ITEMS: u64 = 10;

/// The last class crowd is beyond the number of votes at which the engine begins to spend most rounds on a part of the items.
const KINDS: [Kind; 10] = [
    Kind {
        name: "class",
        make: crowds::class,
        sizes: &[40, 200, 1_500, 80_000],
    },
    Kind {
        name: "multi",
        make: crowds::multi,
        sizes: &[40, 400],
    },
    Kind {
        name: "review",
        make: crowds::review,
        sizes: &[40, 200, 1_500],
    },
    Kind {
        name: "value",
        make: crowds::value,
        sizes: &[40, 200, 800],
    },
    Kind {
        name: "span",
        make: crowds::span,
        sizes: &[40, 200],
    },
    Kind {
        name: "box",
        make: crowds::boxes,
        sizes: &[40, 200],
    },
    Kind {
        name: "polygon",
        make: crowds::polygon,
        sizes: &[20, 60],
    },
    Kind {
        name: "pair",
        make: crowds::pair,
        sizes: &[20, 150],
    },
    Kind {
        name: "ranking",
        make: crowds::ranking,
        sizes: &[20, 100],
    },
    Kind {
        name: "text",
        make: crowds::text,
        sizes: &[40, 120],
    },
];

/// Text that goes into a hash.
struct Hashed(blake3::Hasher);

impl fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// The seeds of all crowds: which kind and how many items.
fn plan(small: u32) -> Vec<(usize, u64, u32)> {
    let mut plan = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        for seed in 0..small {
            let items = Rng(u64::from(seed)).below(SMALL_ITEMS) as u32;
            plan.push((number, u64::from(seed), items));
        }
        for (place, &items) in (1u64..).zip(kind.sizes) {
            plan.push((number, place << 32, items));
        }
    }
    plan
}

/// Draws and scores one crowd of the plan; `order` zero leaves the votes as they are drawn, any other number puts them into an order of
/// its own.
fn score(&(kind, seed, items): &(usize, u64, u32), order: u64) -> blake3::Hash {
    let mut crowd = (KINDS[kind].make)(items, &mut Rng((kind as u64) << 48 ^ seed));
    if order > 0 {
        crowd.shuffle(&mut Rng(order));
    }
    let mut out = Hashed(blake3::Hasher::new());
    match crowd.score(&mut out) {
        Ok(()) => out.0.finalize(),
        Err(error) => unreachable!("a hash takes any text: {error}"),
    }
}

/// Name and digest of each kind, over `small` small crowds and the larger ones. The crowds are dealt out to `threads` threads that run
/// at the same time; with one thread everything runs on the caller's.
#[allow(
    clippy::disallowed_methods,
    reason = "threads that share nothing, to show that they change nothing"
)]
pub fn digests(small: u32, threads: usize, order: u64) -> Vec<(&'static str, blake3::Hash)> {
    let plan = plan(small);
    let share = |first: usize| -> Vec<blake3::Hash> {
        let own = plan.iter().skip(first).step_by(threads.max(1));
        own.map(|crowd| score(crowd, order)).collect()
    };
    let shares: Vec<Vec<blake3::Hash>> = if threads <= 1 {
        vec![share(0)]
    } else {
        std::thread::scope(|scope| {
            let share = &share;
            let running: Vec<_> = (0..threads)
                .map(|first| scope.spawn(move || share(first)))
                .collect();
            let ended = running.into_iter().map(|thread| thread.join());
            ended
                .map(|share| share.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    };
    let mut hashers: Vec<blake3::Hasher> = KINDS.iter().map(|_| blake3::Hasher::new()).collect();
    for (place, (kind, ..)) in plan.iter().enumerate() {
        let hash = shares[place % shares.len()][place / shares.len()];
        hashers[*kind].update(hash.as_bytes());
    }
    let names = KINDS.iter().map(|kind| kind.name);
    names
        .zip(hashers.iter().map(blake3::Hasher::finalize))
        .collect()
}

/// The lines that are published: the algorithm id, then each kind with its digest.
pub fn report(small: u32, threads: usize, order: u64) -> String {
    let id = blake3::Hash::from_bytes(assay_protocol::consensus::algorithm_id());
    let mut lines = format!("algorithm {id}\n");
    for (name, hash) in digests(small, threads, order) {
        lines += &format!("{name} {hash}\n");
    }
    lines
}
