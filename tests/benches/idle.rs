//! Memory of an idle node with 20 peers, and the time from start to its first peer, in real processes on loopback.
//!
//! `cargo bench -p assay-tests --bench idle` prints both with the goals beside them. The time includes a poll of the control API by a new
//! process each time, so it is an upper bound.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use assay_tests::{Network, Process, eventually};

const RUNS: usize = 5;
/// Peers that the idle node should have, and nodes that are started so that it gets them: each chooses eight neighbours.
const PEERS: usize = 20;
const NODES: usize = 40;

fn peers(node: &Process) -> usize {
    let status = node.ask(&["status"]).unwrap_or_default();
    status["peers"]
        .as_array()
        .map_or(0, |p| p.iter().filter(|p| p["node"] == true).count())
}

fn resident_mib(node: &Process) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid()?)).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<f64>()
        .ok()
        .map(|kib| kib / 1024.0)
}

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` runs benchmarks too; they are for `cargo bench`.
    if !std::env::args().any(|a| a == "--bench") {
        return Ok(());
    }
    let net = Network::start(Path::new(env!("CARGO_BIN_EXE_assay-under-test")), 3, 1)?;
    let mut first = Vec::new();
    let mut node = net.newcomer("idle")?;
    node.join(&net.profile(), None)?;
    for _ in 0..RUNS {
        let begun = Instant::now();
        node.start()?;
        eventually("a first peer", Duration::from_secs(30), || {
            (peers(&node) > 0).then_some(())
        })?;
        first.push(begun.elapsed().as_millis());
        node.kill();
    }
    first.sort_unstable();
    node.start()?;
    let mut others = Vec::new();
    for i in 0..NODES {
        let mut other = net.newcomer(&format!("other-{i}"))?;
        other.join(&net.profile(), None)?;
        other.start()?;
        others.push(other);
        if peers(&node) >= PEERS {
            break;
        }
    }
    let most = peers(&node);
    let mib = resident_mib(&node).unwrap_or(f64::NAN);
    println!("| what | measured | goal |\n|---|---|---|");
    println!("| idle node with {most} peers, resident | {mib:.1} MiB | <= 96 MiB with 20 peers |");
    println!(
        "| start to first peer, median of {RUNS} (min {}, max {}) | {} ms | <= 300 ms |",
        first[0],
        first[RUNS - 1],
        first[RUNS / 2]
    );
    Ok(())
}
