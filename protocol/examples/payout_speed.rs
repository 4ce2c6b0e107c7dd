//! What paying a million people takes off the chain: building the payout and audit trees, proofs, and looking for faults.
//!
//! `cargo run --release -p assay-protocol --example payout_speed -- [payees]` (1,000,000 by default). CPU time and the peak of the resident set
//! come from `/proc/self`, so they show on Linux only.

#![allow(
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    reason = "a measuring program: it reads the process statistics and prints figures"
)]

use assay_protocol::{
    amount::Amount,
    crypto::hash,
    id::Account,
    lane::PayoutFile,
    message::EpochHeader,
    settlement::fault::{audit_of, find, places_of},
};

/// CPU seconds of this process so far: user and system, from hundredths.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(") ").map_or("", |s| s.1);
    let fields: Vec<&str> = after.split(' ').collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Largest resident set so far, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1));
    kib.and_then(|k| k.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Headers of two epochs that owe the same.
fn headers(file: &PayoutFile) -> [EpochHeader; 2] {
    let parent = EpochHeader {
        lane: file.lane,
        epoch: 1,
        term: 1,
        chain_block: 1,
        payout_root: file.root(),
        audit_root: file.audit_root(),
        payout_count: file.count(),
        total_owed: file.leaves.iter().map(|l| l.1).sum(),
        ..EpochHeader::default()
    };
    let child = EpochHeader {
        epoch: 2,
        parent: parent.hash(),
        ..parent.clone()
    };
    [parent, child]
}

fn main() {
    let payees: u64 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let mut leaves: Vec<(Account, Amount)> = (0..payees)
        .map(|i| {
            let name = hash("payout-speed", &[&i.to_be_bytes()]).0;
            let mut payee = Account::default();
            payee.0.copy_from_slice(&name[..20]);
            (payee, Amount(u128::from(i % 1_000_000) + 1))
        })
        .collect();
    leaves.sort_unstable();
    let file = PayoutFile {
        lane: 0,
        epoch: 1,
        leaves,
    };
    println!("{payees} payees; {:.1} MiB before any tree", peak());
    let start = cpu();
    let audit = file.audit_root();
    let audited = cpu();
    println!(
        "audit tree       {:>8.2} CPU s   root {audit}",
        audited - start
    );
    let proofs = file.proofs();
    let built = cpu();
    println!("payout tree      {:>8.2} CPU s", built - audited);
    let every = (payees / 100_000).max(1);
    let (mut count, mut good, mut root) = (0u32, true, None);
    for (payee, _) in proofs.file().leaves.iter().step_by(every as usize) {
        if let Some(claim) = proofs.claim(payee) {
            count += 1;
            good &= claim.proof.len() <= 32;
            root = Some(claim.root);
        }
    }
    let proven = cpu();
    let each = (proven - built) * 1e6 / f64::from(count.max(1));
    println!("a proof          {each:>8.2} CPU us  (mean of {count}, all found: {good})");
    let subtrees = (0..proofs.file().leaves.len()).step_by(128);
    let found = subtrees.filter_map(|at| proofs.subtree(at, 7)).count();
    let each = (cpu() - proven) * 1e6 / found.max(1) as f64;
    println!("a subtree of 128 {each:>8.2} CPU us  (mean of {found})");
    if let Some(root) = root {
        println!("payout root {root}");
    }
    println!("peak             {:>8.1} MiB", peak());
    let (payouts, headers) = (places_of(proofs.file()), headers(proofs.file()));
    let start = cpu();
    let audits = audit_of(&payouts);
    let parent = Some((&headers[0], payouts.as_slice()));
    let found = find(&headers[1], &payouts, Some(&audits), parent);
    println!(
        "search for faults{:>8.2} CPU s   none: {}",
        cpu() - start,
        found == Ok(None)
    );
    println!("peak with that   {:>8.1} MiB", peak());
}
