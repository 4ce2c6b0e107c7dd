//! `assay verify`: what a file claims, recomputed from the file itself, without a node. With an RPC address the chain is asked for the
//! rest.
//!
//! | file | what holds it together |
//! |---|---|
//! | result (`assay export --format verifiable`) | votes -> score root -> state root of a header; labels, skills and pay from the votes |
//! | claim (`assay claim --export`) | leaf -> payout root |
//! | explanations (`assay score --explain --json`) | votes of one item -> score root |
//! | network profile | its fields among themselves; with an RPC address the code of its contracts |
//!
//! Every check is told with its outcome, and so is what was not checked and how it can be: a file that is consistent with itself
//! proves nothing before its root is compared with one that is trusted.

use std::{fs::File, io::Read, path::Path, sync::Arc, time::Duration};

use assay_protocol::{
    consensus::ItemResult,
    id::{Account, Hash, TaskId},
    message::{EpochHeader, ItemEntry, Manifest},
    network::NetworkProfile,
    task::{ItemOutcome, TaskOutcome},
};
use libp2p::{Multiaddr, multiaddr::Protocol};
use serde::{Deserialize, Serialize};

use super::{
    args::VerifyArgs,
    claim::{self, Memory, ProofFile},
    failure::{Exit, Failure},
    text::{self, Printer},
};
use crate::{
    chain::{Chain, ChainConfig, ChainError, ChainEvent, Standing},
    dataset::Export,
    score,
};

/// Format of a result file.
const FORMAT: &str = "assay-result/1";
/// Largest file in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// How long the chain may take to answer everything.
const CHAIN_PATIENCE: Duration = Duration::from_secs(60);

/// A finished task with everything that its labels follow from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultFile {
    /// [`FORMAT`].
    format: String,
    /// The network: chain, contracts, RPC addresses.
    profile: NetworkProfile,
    /// The task's terms.
    manifest: Manifest,
    /// Its items.
    index: Vec<ItemEntry>,
    /// Votes, labels, skills, pay, and the proof of the header.
    outcome: TaskOutcome,
}

impl ResultFile {
    /// A file of these parts.
    pub fn new(
        profile: NetworkProfile,
        manifest: Manifest,
        index: Vec<ItemEntry>,
        outcome: TaskOutcome,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            profile,
            manifest,
            index,
            outcome,
        }
    }

    /// The task.
    pub fn task(&self) -> TaskId {
        self.outcome.task
    }
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It was computed and is right.
    Holds,
    /// It was computed and is wrong.
    Wrong,
    /// It was not computed.
    NotChecked,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    verdict: Verdict,
    /// What was looked at, with what came out.
    what: String,
}

/// What was found in a file.
#[derive(Debug, Serialize)]
struct Report {
    /// `result`, `claim`, `explanations` or `profile`.
    kind: &'static str,
    checks: Vec<Check>,
}

impl Report {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            checks: Vec::new(),
        }
    }

    fn add(&mut self, verdict: Verdict, what: impl Into<String>) {
        let what = what.into();
        self.checks.push(Check { verdict, what });
    }

    fn open(&mut self, what: impl Into<String>) {
        self.add(Verdict::NotChecked, what);
    }

    /// Records a check, and gives whether it holds.
    fn test(&mut self, holds: bool, what: impl Into<String>) -> bool {
        let verdict = if holds {
            Verdict::Holds
        } else {
            Verdict::Wrong
        };
        self.add(verdict, what);
        holds
    }

    /// Records a check that names its fault, and gives what came out.
    fn take<T, E: ToString>(&mut self, result: Result<T, E>, what: &str) -> Option<T> {
        match result {
            Ok(value) => {
                self.add(Verdict::Holds, what);
                Some(value)
            }
            Err(why) => {
                self.add(Verdict::Wrong, format!("{what}: {}", why.to_string()));
                None
            }
        }
    }

    fn wrong(&self) -> usize {
        let wrong = |c: &&Check| c.verdict == Verdict::Wrong;
        self.checks.iter().filter(wrong).count()
    }
}

/// Verifies a file.
///
/// # Errors
/// A file that cannot be read or is of no kind that is known; anything in it that is wrong; a chain that does not answer.
pub async fn run(args: &VerifyArgs, printer: Printer) -> Result<(), Failure> {
    let bytes = read(&args.file)?;
    let mut report = verify(&args.file, &bytes, args.rpc.as_deref()).await?;
    for check in &mut report.checks {
        check.what = text::harmless(&check.what, false);
    }
    if printer.json {
        printer.data(&report)?;
    } else {
        for check in &report.checks {
            let verdict = match check.verdict {
                Verdict::Holds => "ok         ",
                Verdict::Wrong => "WRONG      ",
                Verdict::NotChecked => "not checked",
            };
            printer.line(&format!("{verdict}  {}", check.what))?;
        }
    }
    let wrong = report.wrong();
    if wrong > 0 {
        let text = format!(
            "{}: {wrong} of {} checks are wrong",
            args.file.display(),
            report.checks.len()
        );
        return Err(Failure::new(Exit::Data, text).next(
            "do not rely on this file; ask another node, or whoever gave it to you, for a new one",
        ));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| Failure::file(Exit::Data, "read", path, &e);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::new(
            Exit::Data,
            format!(
                "{} is larger than {} MiB",
                path.display(),
                FILE_BYTES_MAX >> 20
            ),
        ));
    }
    Ok(bytes)
}

/// The name of a file's form, as far as it has one.
#[derive(Deserialize)]
struct Named {
    format: Option<String>,
}

async fn verify(path: &Path, bytes: &[u8], rpc: Option<&str>) -> Result<Report, Failure> {
    let place = path.display();
    let unknown = |why: String| {
        Failure::new(Exit::Data, format!("{place}: {why}")).next(
            "verify a file of `assay export --format verifiable`, `assay claim --export`, `assay score --explain --json`, or a network profile",
        )
    };
    if !matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) {
        let text = std::str::from_utf8(bytes).map_err(|_| unknown("it is not text".to_owned()))?;
        let given: NetworkProfile = toml::from_str(text)
            .map_err(|e| unknown(format!("it is no network profile: {}", e.message())))?;
        return profile(given, rpc).await;
    }
    let form = serde_json::from_slice::<Named>(bytes)
        .ok()
        .and_then(|named| named.format);
    match form.as_deref() {
        Some(FORMAT) => {
            let file = serde_json::from_slice(bytes)
                .map_err(|e| unknown(format!("it is no result: {e}")))?;
            result(file, rpc).await
        }
        Some(claim::FORMAT) => {
            let file = serde_json::from_slice(bytes)
                .map_err(|e| unknown(format!("it is no claim: {e}")))?;
            claims(file, rpc).await
        }
        Some(other) => Err(unknown(format!(
            "format {other:?} is unknown; this version reads {FORMAT:?} and {:?}",
            claim::FORMAT
        ))),
        None => explanations(path),
    }
}

// ---- a result ------------------------------------------------------------------------------

async fn result(file: ResultFile, rpc: Option<&str>) -> Result<Report, Failure> {
    let mut report = Report::new("result");
    let ResultFile {
        profile,
        manifest,
        index,
        outcome,
        ..
    } = &file;
    let network = profile.id();
    report.take(profile.check(), "the network's profile is consistent");
    report.take(
        manifest.check(&network, &profile.params),
        &format!(
            "the manifest is one of network {:?} ({network})",
            profile.name
        ),
    );
    let task = manifest.id();
    let whole = report.take(
        Export::new(manifest, index, outcome),
        &format!("manifest, item index and outcome belong to task {task}"),
    );
    report.test(
        outcome.money.is_conserved(),
        "deposit and bond equal pay, fees, shares and refund, to the unit",
    );
    let proof = if whole.is_some() {
        scores(manifest, outcome, &mut report)
    } else {
        None
    };
    report.open(which_network(profile));
    report.open(
        "that the client signed the manifest: its announcement is not in the file; the escrow's `Funded` event names task and client",
    );
    report.open(
        "bonds and labels withheld, which pay follows from besides skill: they stand in the lane's state, which the header names and the file does not hold",
    );
    report.open(
        "the committee's signatures: they are in the transaction that posted the header, and the anchor checked them",
    );
    let Some(header) = proof else {
        report.open("the header that anchors this result: the file proves none");
        return Ok(report);
    };
    let Some(rpc) = rpc else {
        report.open(format!(
            "that header {} (lane {}, epoch {}) is the anchored one: --rpc URL asks the chain, contract 0x{}",
            header.hash(),
            header.lane,
            header.epoch,
            profile.contracts.anchor
        ));
        return Ok(report);
    };
    let asked = on_chain(profile.clone(), rpc, &mut report, async |chain, report| {
        let anchored = chain.is_anchored(&header).await?;
        report.test(
            anchored,
            format!(
                "the chain holds header {} as epoch {} of lane {}",
                header.hash(),
                header.epoch,
                header.lane
            ),
        );
        Ok(())
    });
    asked.await?;
    Ok(report)
}

/// A file brings its own network, and a forger would bring one with contracts of its own.
fn which_network(profile: &NetworkProfile) -> String {
    format!(
        "that {} is the network you mean: compare it with the id of a profile you trust, `assay verify PROFILE` shows it",
        profile.id()
    )
}

/// Checks scores, labels and pay against the votes; gives the header that the score leads to.
fn scores(manifest: &Manifest, outcome: &TaskOutcome, report: &mut Report) -> Option<EpochHeader> {
    let Some(score) = &outcome.score else {
        report.open("labels: the task was settled without a score, for want of a counted vote");
        return None;
    };
    report.test(
        score.classes == manifest.kind.classes(),
        "the score is over the manifest's labels",
    );
    let scoring = report.take(
        outcome.scoring(),
        &format!("votes, gold and reputation give score root {}", score.root),
    )?;
    report.test(
        scoring.input_root() == score.input,
        format!("they give input root {}", score.input),
    );
    let item = |(settled, derived): (&ItemOutcome, &ItemResult)| {
        settled.label == derived.label
            && settled.votes == derived.votes
            && u64::from(settled.posterior_ppm) == u64::from(derived.posterior) * 1_000_000 / 65_536
    };
    let items = outcome.items.len() == scoring.items().len()
        && outcome.items.iter().zip(scoring.items()).all(item);
    report.test(
        items,
        format!(
            "label and certainty of all {} items follow from the votes",
            outcome.items.len()
        ),
    );
    let skills = outcome.labelers.len() == scoring.labelers().len()
        && outcome
            .labelers
            .iter()
            .zip(scoring.labelers())
            .all(|(settled, derived)| {
                (settled.votes, settled.gold_seen, settled.gold_right)
                    == (derived.votes, derived.gold_seen, derived.gold_right)
                    && (settled.skill_ppm, settled.cluster) == (derived.skill_ppm, derived.cluster)
            });
    report.test(
        skills,
        format!(
            "skill and group of all {} labelers follow from the votes",
            outcome.labelers.len()
        ),
    );
    let terms = score.terms.len() == outcome.labelers.len()
        && score.terms.iter().all(|terms| {
            (terms.price, terms.full_skill_ppm, terms.loss_cap_ppm)
                == (
                    manifest.price,
                    manifest.full_skill_ppm,
                    manifest.loss_cap_ppm,
                )
        });
    let pays = terms
        && outcome
            .labelers
            .iter()
            .zip(scoring.labelers())
            .zip(&score.terms)
            .all(|((settled, derived), terms)| {
                let pay = terms.reckon(derived);
                (pay.earned, pay.lost) == (settled.earned.0, settled.lost.0)
            });
    report.test(
        pays,
        "pay and losses follow from skill at the manifest's price, given each labeler's bond and withheld labels",
    );
    let earned = outcome
        .labelers
        .iter()
        .try_fold(0u128, |sum, l| sum.checked_add(l.earned.0));
    report.test(
        earned == Some(outcome.money.paid.0),
        "what the labelers earned is what was paid",
    );
    let proof = score.proof.as_ref()?;
    let header = &proof.header;
    let what = format!(
        "the score root leads to the state root of header {} (lane {}, epoch {}, chain block {})",
        header.hash(),
        header.lane,
        header.epoch,
        header.chain_block
    );
    report
        .test(proof.shows(&outcome.task, &score.root), what)
        .then(|| header.clone())
}

// ---- claims and explanations ---------------------------------------------------------------

async fn claims(file: ProofFile, rpc: Option<&str>) -> Result<Report, Failure> {
    let mut report = Report::new("claim");
    let (profile, claims) = file.into_parts();
    report.take(profile.check(), "the network's profile is consistent");
    report.open(which_network(&profile));
    report.test(!claims.is_empty(), "there is a claim");
    for claim in &claims {
        report.test(
            claim.lane < profile.params.lanes,
            format!("lane {} is one of the network's", claim.lane),
        );
        let total = claim.total.to_decimal(profile.params.token_decimals);
        report.test(
            claim.is_valid(),
            format!(
                "the leaf of 0x{} with {total} tokens leads to payout root {} (lane {}, epoch {})",
                claim.payee, claim.root, claim.lane, claim.epoch
            ),
        );
        if rpc.is_none() {
            report.open(format!(
                "that the chain holds this root as epoch {} of lane {}: --rpc URL asks distributor 0x{}",
                claim.epoch,
                claim.lane,
                profile.contracts.distributor(claim.lane)
            ));
        }
    }
    let Some(rpc) = rpc else {
        return Ok(report);
    };
    let asked = on_chain(profile, rpc, &mut report, async |chain, report| {
        for claim in &claims {
            let what = format!(
                "the chain pays on root {} (lane {}, epoch {})",
                claim.root, claim.lane, claim.epoch
            );
            match chain.standing(claim).await? {
                Standing::Pays => report.add(Verdict::Holds, what),
                Standing::Later(why) => report.open(format!("{what}: not yet, {why}")),
                Standing::Refused(why) => report.add(Verdict::Wrong, format!("{what}: {why}")),
            }
        }
        Ok(())
    });
    asked.await?;
    Ok(report)
}

fn explanations(path: &Path) -> Result<Report, Failure> {
    let mut report = Report::new("explanations");
    let checked = score::check_explanations(path, None).map_err(|e| {
        Failure::new(Exit::Data, text::harmless(&e.to_string(), false))
            .next("`assay score KIND LABELS.csv --explain TASK --json` writes explanations")
    })?;
    let mut root: Option<&str> = None;
    for one in &checked.explanations {
        let whose = match one.labeler {
            Some(labeler) => format!("item {}, labeler {labeler}", one.item),
            None => format!("item {}", one.item),
        };
        match (&one.why, one.wrong) {
            (Some(why), Some(wrong)) => {
                report.test(false, format!("{whose}: wrong in {wrong}: {why}"));
            }
            _ => {
                root = root.or(Some(&one.score_root));
                report.test(true, format!("{whose}: every step follows from its votes"));
            }
        }
    }
    if let Some(root) = root {
        report.open(format!(
            "that score root {root} is the published one: `assay score --check-explanation FILE --score-root HASH` compares it"
        ));
    }
    Ok(report)
}

// ---- a profile -----------------------------------------------------------------------------

async fn profile(profile: NetworkProfile, rpc: Option<&str>) -> Result<Report, Failure> {
    let mut report = Report::new("profile");
    report.take(profile.check(), "every field is in its range");
    report.test(
        profile.chain_id != 0,
        format!("the chain id is {}", profile.chain_id),
    );
    let (zero, twice) = addresses(&profile);
    report.test(
        zero.is_none(),
        match zero {
            Some(name) => format!("no contract has the zero address: {name}"),
            None => "no contract has the zero address".to_owned(),
        },
    );
    report.test(
        twice.is_none(),
        match twice {
            Some((a, b)) => format!("every contract has an address of its own: {a} and {b}"),
            None => "every contract has an address of its own".to_owned(),
        },
    );
    let bare = bare(&profile);
    report.test(
        bare.is_none(),
        match bare {
            Some(name) => format!("the code of every contract is pinned: {name}"),
            None => "the code of every contract is pinned".to_owned(),
        },
    );
    report.test(!profile.rpc.is_empty(), "there is an RPC address");
    let bad = profile.rpc.iter().find(|url| !is_http(url));
    // The address itself may hold somebody's access key.
    report.test(bad.is_none(), "every RPC address is an http or https URL");
    let bad = profile.bootstrap.iter().find(|addr| !names_a_peer(addr));
    report.test(
        bad.is_none(),
        match bad {
            Some(bad) => format!("every first-contact address ends in /p2p/...: {bad:?}"),
            None => "every first-contact address ends in /p2p/...".to_owned(),
        },
    );
    report.add(
        Verdict::Holds,
        format!("the network's id is {}", profile.id()),
    );
    match rpc {
        Some(rpc) => on_chain(profile, rpc, &mut report, async |_, _| Ok(())).await?,
        None => report.open(
            "that the chain has this id, and these contracts with this code: --rpc URL asks it",
        ),
    }
    Ok(report)
}

/// The first contract at the zero address, and the first two at one address.
fn addresses(profile: &NetworkProfile) -> (Option<String>, Option<(String, String)>) {
    let named: Vec<(String, Account)> = profile
        .pinned()
        .into_iter()
        .map(|contract| (contract.name, contract.address))
        .collect();
    let zero = named.iter().find(|(_, a)| *a == Account::default());
    let mut seen = std::collections::BTreeMap::new();
    let twice = named
        .iter()
        .find_map(|(name, address)| Some((seen.insert(*address, name)?.clone(), name.clone())));
    (zero.map(|(name, _)| name.clone()), twice)
}

/// The first contract whose code is not pinned.
fn bare(profile: &NetworkProfile) -> Option<String> {
    let all = profile.pinned().into_iter().map(|c| (c.name, c.code));
    all.chain([("disputes".to_owned(), profile.code.disputes)])
        .find_map(|(name, code)| (code == Hash::ZERO).then_some(name))
}

fn is_http(url: &str) -> bool {
    reqwest::Url::parse(url)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn names_a_peer(address: &str) -> bool {
    address
        .parse::<Multiaddr>()
        .is_ok_and(|address| matches!(address.iter().last(), Some(Protocol::P2p(_))))
}

// ---- the chain -----------------------------------------------------------------------------

/// Checks that `rpc` serves the network's chain with its contracts, then asks it more. A chain that does not answer is a failure, one
/// that is another is wrong.
async fn on_chain(
    mut profile: NetworkProfile,
    rpc: &str,
    report: &mut Report,
    ask: impl AsyncFnOnce(&Chain, &mut Report) -> Result<(), ChainError>,
) -> Result<(), Failure> {
    profile.rpc = vec![rpc.to_owned()];
    let lanes = profile.params.lanes;
    let what = format!(
        "the chain has id {}, and contracts with the pinned code that name each other as the profile says, with {lanes} lanes",
        profile.chain_id
    );
    let config = ChainConfig::new(profile, None);
    let (chain, mut news) = Chain::start(config, Arc::new(Memory::default()))?;
    let talk = async {
        loop {
            match news.recv().await {
                Some(ChainEvent::Up { .. }) => break,
                Some(ChainEvent::Failed { why, .. }) => {
                    report.test(false, format!("{what}: {why}"));
                    return Ok(());
                }
                Some(ChainEvent::Down { why }) => {
                    return Err(Failure::new(
                        Exit::Chain,
                        format!("the chain cannot be asked: {why}"),
                    )
                    .next("name another endpoint with --rpc"));
                }
                Some(_) => {}
                None => {
                    return Err(Failure::new(Exit::Chain, "the chain client has stopped"));
                }
            }
        }
        report.add(Verdict::Holds, what);
        // Nobody reads the blocks; what is asked needs only the newest one.
        drop(news);
        Ok(ask(&chain, report).await?)
    };
    let said = tokio::time::timeout(CHAIN_PATIENCE, talk).await;
    chain.shutdown().await;
    said.unwrap_or_else(|_| {
        Err(Failure::new(
            Exit::Chain,
            format!(
                "the chain has not answered for {} s",
                CHAIN_PATIENCE.as_secs()
            ),
        )
        .next("name another endpoint with --rpc"))
    })
}

#[cfg(test)]
mod tests;
