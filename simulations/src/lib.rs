//! Discrete-event simulator of an Assay network.
//!
//! What for: hundreds of participants, good and bad, on a modelled network and a modelled chain, from one TOML file and one seed. Every
//! participant is the same [`assay_protocol::core::Core`] that `assay-node` runs; only its body is a model.
//!
//! What it does not do: no sockets, no threads, no clock, no file but the scenario and the optional trace. It never imports the node. Its
//! gossip is a flood over a random mesh, not libp2p's gossipsub, and its chain is the pure ledger, not the contracts' bytecode.
//!
//! ```text
//! scenario + seed -> build -> [ queue: (time, sequence) -> event ] -> cores -> effects -> models -> queue ...
//!                                       '--> trace digest                          '--> evidence -> checks -> report
//! ```
//!
//! Invariants: equal scenario and seed give an equal trace digest on every machine and in every build profile; all randomness is drawn
//! from named streams of the seed; nothing in the trace depends on floats, hash order, wall time or the file system; checks look only at
//! what the run left behind and are the same for every scenario.
//!
//! | module | what |
//! |---|---|
//! | [`scenario`] | the TOML file: fields, defaults, errors that name the place |
//! | [`rng`] | streams of randomness by seed, purpose and key |
//! | [`queue`] | events in order of (time, sequence) |
//! | [`network`], [`chain`], [`disk`] | the models around a core |
//! | [`people`], [`task`] | who answers what, and what is asked |
//! | [`actor`] | bad actors: wrappers around an honest core |
//! | [`trace`] | the digest over everything that happened |
//! | [`sim`] | the loop that joins them |
//! | [`evidence`], [`checks`], [`report`] | what was seen, what must hold, how it is told |

pub mod actor;
pub mod chain;
pub mod checks;
pub mod disk;
pub mod evidence;
pub mod network;
pub mod people;
pub mod queue;
pub mod report;
pub mod rng;
pub mod scenario;
pub mod sim;
pub mod task;
pub mod trace;

use evidence::Evidence;
use report::Report;
use scenario::Scenario;
use sim::{Options, RunError, Simulation};

/// Runs a scenario to its end, applies every check and reports.
///
/// # Errors
/// [`RunError`] when the trace cannot be written.
pub fn run(scenario: &Scenario, options: Options) -> Result<Report, RunError> {
    let evidence: Evidence = Simulation::new(scenario, options).run()?;
    let checks = checks::all(&evidence);
    Ok(Report::new(scenario, &evidence, checks))
}
