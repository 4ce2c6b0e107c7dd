//! What a demonstration found: accuracy, people, money, gas, seconds - and whether every invariant held.

use std::collections::BTreeMap;

use anyhow::Context;
use assay_protocol::{
    amount::Amount,
    id::Account,
    message::Manifest,
    task::{GoldState, Money, TaskOutcome},
};
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use serde_json::{Value, json};

use super::swarm::Swarm;
use crate::{
    chain::{Audit, ChainError, audit},
    people::Kind,
};

/// All claims of a demonstration, paid on chain.
pub struct Claims {
    /// Paid to each payee now.
    pub paid: BTreeMap<Account, Amount>,
    /// Gas of all claims.
    pub gas: u64,
    /// Escrows released so much.
    pub released: Amount,
    /// The leaves of the last payout tree owe so much.
    pub owed: Amount,
    /// Claimed so far.
    pub claimed: Amount,
    /// A second claim of the first payee was refused.
    pub second_refused: bool,
    /// Token balances rose by exactly what was paid.
    pub balances_match: bool,
    /// The whole chain played through the ledger twin.
    pub books: Result<Audit, ChainError>,
}

/// Claims for every payee, sent by the first validator on everybody's behalf.
pub async fn claim_everything(swarm: &Swarm) -> anyhow::Result<Claims> {
    let relayer = &swarm.validators[0].node;
    let proofs = relayer.payout_file(0).await?.proofs();
    let file = proofs.file();
    let chain = relayer.chain();
    let mut claims = Claims {
        paid: BTreeMap::new(),
        gas: 0,
        released: Amount::ZERO,
        owed: file.leaves.iter().map(|(_, total)| *total).sum(),
        claimed: Amount::ZERO,
        second_refused: true,
        balances_match: true,
        books: Err(ChainError::Books("not compared yet".into())),
    };
    for (payee, _) in &file.leaves {
        let claim = proofs.claim(payee).context("a leaf proves itself")?;
        let before = chain.balances(*payee).await?.token;
        let done = chain.claim(&claim).await?;
        let after = chain.balances(*payee).await?.token;
        claims.balances_match &= after.0 == before.0 + done.amount.0;
        claims.gas += done.gas_used;
        claims.paid.insert(*payee, done.amount);
    }
    if let Some(claim) = file.leaves.first().and_then(|l| proofs.claim(&l.0)) {
        claims.second_refused = chain.claim(&claim).await.is_err();
    }
    let totals = chain.totals().await?;
    (claims.released, claims.claimed) = (totals.released, totals.claimed);
    claims.books = audit(swarm.devnet.profile()).await;
    if let Err(why) = &claims.books {
        tracing::error!(%why, "the books do not agree");
    }
    Ok(claims)
}

/// One labeler's line.
struct Line {
    name: String,
    kind: String,
    votes: u32,
    right: u32,
    skill_ppm: i64,
    gold: (u32, u32),
    earned: Amount,
    lost: Amount,
    flagged: bool,
    reason: &'static str,
}

/// The findings.
pub struct Report {
    seed: u64,
    task: String,
    items: u32,
    labels: usize,
    waves: Vec<String>,
    majority_right: usize,
    network_right: usize,
    lines: Vec<Line>,
    money: Money,
    gas: Vec<(String, u64, u64)>,
    seconds: Vec<(&'static str, f64)>,
    checks: Vec<(String, bool)>,
    decimals: u8,
}

impl Report {
    /// Puts together what `outcome` and the chain say.
    pub async fn new(
        swarm: &Swarm,
        manifest: &Manifest,
        outcome: &TaskOutcome,
        truth: &[u16],
        kinds: &BTreeMap<Account, Kind>,
        claims: &Claims,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let right =
            |label: Option<u16>, item: usize| label.is_some() && label == truth.get(item).copied();
        let network_right = outcome
            .items
            .iter()
            .enumerate()
            .filter(|(i, r)| right(r.label, *i))
            .count();
        // Opened gold is known, not found; so that the comparison is fair, a majority is credited with it as well.
        let majority_right = outcome
            .items
            .iter()
            .enumerate()
            .filter(|(i, r)| right(if r.gold { r.label } else { r.majority }, *i))
            .count();
        let lines = lines(swarm, outcome, truth, kinds);
        let gas = gas_table(swarm, claims);
        let mut report = Self {
            seed,
            task: outcome.task.to_string(),
            items: manifest.items.count,
            labels: outcome.votes.len(),
            waves: outcome.waves.iter().map(gold_text).collect(),
            majority_right,
            network_right,
            lines,
            money: outcome.money,
            gas,
            seconds: swarm.seconds.clone(),
            checks: Vec::new(),
            decimals: swarm.devnet.profile().params.token_decimals,
        };
        report.check(outcome, claims);
        report.check_headers(swarm).await?;
        Ok(report)
    }

    fn check(&mut self, outcome: &TaskOutcome, claims: &Claims) {
        let m = &self.money;
        let net = |prefix: &str| {
            let of = |l: &&Line| l.kind.starts_with(prefix);
            let earned: u128 = self.lines.iter().filter(of).map(|l| l.earned.0).sum();
            let lost: u128 = self.lines.iter().filter(of).map(|l| l.lost.0).sum();
            earned <= lost
        };
        let locked = Amount(m.deposit.0 + m.gold_bond.0);
        let paid: Amount = claims.paid.values().copied().sum();
        let checks = [
            (
                "the task was worked on, not cancelled",
                outcome.cancelled.is_none(),
            ),
            (
                "pay + fees + bond shares + refund = deposit + gold bond, to the unit",
                m.is_conserved(),
            ),
            (
                "the escrow released exactly what was locked",
                claims.released == locked,
            ),
            (
                "the payout tree owes exactly what was released",
                claims.owed == claims.released,
            ),
            (
                "claims paid exactly what was owed",
                claims.claimed == claims.owed && paid == claims.owed,
            ),
            (
                "every payee's token balance rose by its claim",
                claims.balances_match,
            ),
            ("a second claim is refused", claims.second_refused),
            (
                "the chain's history, played through the ledger twin, gives the same books",
                claims.books.is_ok(),
            ),
            (
                "network accuracy >= majority vote's",
                self.network_right >= self.majority_right,
            ),
            ("spammers earn nothing", net("spammer") && net("constant")),
            ("the copying ring earns nothing", net("ring")),
            (
                "no honest labeler was flagged",
                !self.lines.iter().any(|l| l.flagged && is_honest(&l.kind)),
            ),
        ];
        self.checks
            .extend(checks.map(|(text, held)| (text.to_owned(), held)));
    }

    async fn check_headers(&mut self, swarm: &Swarm) -> anyhow::Result<()> {
        let mut heads = Vec::new();
        for p in swarm.everybody() {
            heads.push(
                p.node
                    .with_core(|core| core.base(0).map(|l| (l.epoch, l.head)))
                    .await?,
            );
        }
        let equal = heads.windows(2).all(|w| w[0] == w[1]);
        self.checks.push((
            format!("all {} nodes computed the same headers", heads.len()),
            equal,
        ));
        Ok(())
    }

    /// The invariants that did not hold.
    pub fn broken(&self) -> Vec<String> {
        self.checks
            .iter()
            .filter(|(_, held)| !held)
            .map(|(what, _)| what.clone())
            .collect()
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let percent = |n: usize| 100.0 * n as f64 / f64::from(self.items.max(1));
        json!({
            "seed": self.seed,
            "task": self.task,
            "items": self.items,
            "labels": self.labels,
            "gold": self.waves,
            "accuracy_percent": { "majority": percent(self.majority_right), "network": percent(self.network_right) },
            "labelers": self.lines.iter().map(|l| json!({
                "name": l.name, "model": l.kind, "votes": l.votes, "right": l.right,
                "skill_ppm": l.skill_ppm, "gold_right": l.gold.1, "gold_seen": l.gold.0,
                "earned": l.earned, "lost": l.lost, "flagged": l.flagged, "reason": l.reason,
            })).collect::<Vec<_>>(),
            "money": self.money,
            "gas": self.gas.iter().map(|(what, n, gas)| json!({"what": what, "transactions": n, "gas": gas})).collect::<Vec<_>>(),
            "seconds": self.seconds.iter().map(|(what, s)| json!({"what": what, "seconds": s})).collect::<Vec<_>>(),
            "checks": self.checks.iter().map(|(what, held)| json!({"what": what, "held": held})).collect::<Vec<_>>(),
            "held": self.broken().is_empty(),
        })
    }

    /// For people.
    pub fn print(&self) {
        let percent = |n: usize| {
            format!(
                "{:.2} % ({n} of {})",
                100.0 * n as f64 / f64::from(self.items.max(1)),
                self.items
            )
        };
        println!(
            "\nTask {}: {} images, {} labels counted, seed {}",
            &self.task[..8],
            self.items,
            self.labels,
            self.seed
        );
        for (wave, gold) in self.waves.iter().enumerate() {
            println!("  gold of wave {}: {gold}", wave + 1);
        }
        let mut accuracy = table(&["accuracy against the truth", ""]);
        accuracy.add_row(vec![
            "majority vote".to_owned(),
            percent(self.majority_right),
        ]);
        accuracy.add_row(vec![
            "the network's result".to_owned(),
            percent(self.network_right),
        ]);
        println!("{accuracy}");
        println!("{}", self.people());
        println!("{}", self.money());
        let mut gas = table(&["gas", "transactions", "gas in all", "each"]);
        for (what, n, total) in &self.gas {
            gas.add_row(vec![
                what.clone(),
                n.to_string(),
                total.to_string(),
                (total / (*n).max(1)).to_string(),
            ]);
        }
        println!("{}", right(gas, 1..=3));
        let mut seconds = table(&["phase", "seconds"]);
        for (what, s) in &self.seconds {
            seconds.add_row(vec![(*what).to_owned(), format!("{s:.1}")]);
        }
        println!("{}", right(seconds, 1..=1));
        let mut checks = table(&["invariant", "held"]);
        for (what, held) in &self.checks {
            checks.add_row(vec![
                what.clone(),
                if *held { "yes".into() } else { "NO".to_owned() },
            ]);
        }
        println!("{checks}");
    }

    fn people(&self) -> Table {
        let mut people = table(&[
            "labeler", "model", "labels", "right", "skill", "gold", "earned", "lost", "flagged",
            "reason",
        ]);
        for l in &self.lines {
            people.add_row(vec![
                l.name.clone(),
                l.kind.clone(),
                l.votes.to_string(),
                l.right.to_string(),
                format!("{:.2}", l.skill_ppm as f64 / 1e6),
                format!("{}/{}", l.gold.1, l.gold.0),
                l.earned.to_decimal(self.decimals),
                l.lost.to_decimal(self.decimals),
                if l.flagged {
                    "copying".into()
                } else {
                    String::new()
                },
                l.reason.to_owned(),
            ]);
        }
        right(people, 2..=7)
    }

    fn money(&self) -> Table {
        let m = &self.money;
        let mut money = table(&["money (development token)", ""]);
        for (what, amount) in [
            ("deposit", m.deposit),
            ("gold bond", m.gold_bond),
            ("= to labelers", m.paid),
            ("+ to the committee", m.fees),
            ("+ bond shares to labelers", m.bond_shares),
            ("+ back to the client", m.refund),
        ] {
            money.add_row(vec![what.to_owned(), amount.to_decimal(self.decimals)]);
        }
        right(money, 1..=1)
    }
}

fn is_honest(kind: &str) -> bool {
    kind == "careful" || kind == "tired"
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_BORDERS_ONLY)
        .set_header(header.iter().map(|h| (*h).to_owned()));
    table
}

fn right(mut table: Table, columns: std::ops::RangeInclusive<usize>) -> Table {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn gold_text(gold: &GoldState) -> String {
    match gold {
        GoldState::None => "none".into(),
        GoldState::Closed => "never reached".into(),
        GoldState::Counted { voided: 0 } => "opened, all of it counts".into(),
        GoldState::Counted { voided } => {
            format!("opened, {voided} void because the crowd contradicts it")
        }
        GoldState::Void => {
            "void: the crowd contradicts more than a fifth; the bond went to the labelers".into()
        }
        GoldState::Withheld => "withheld; the bond went to the labelers".into(),
    }
}

fn lines(
    swarm: &Swarm,
    outcome: &TaskOutcome,
    truth: &[u16],
    kinds: &BTreeMap<Account, Kind>,
) -> Vec<Line> {
    let mut right: BTreeMap<u32, u32> = BTreeMap::new();
    for (item, labeler, label) in &outcome.votes {
        if truth.get(*item as usize) == Some(label) {
            *right.entry(*labeler).or_default() += 1;
        }
    }
    let mut lines: Vec<Line> = outcome
        .labelers
        .iter()
        .zip(0u32..)
        .map(|(l, index)| {
            let name = swarm
                .labelers
                .iter()
                .find(|p| p.account == l.account)
                .map_or("?", |p| p.name.as_str());
            Line {
                name: name.to_owned(),
                kind: kinds
                    .get(&l.account)
                    .map_or_else(|| "recorded".to_owned(), ToString::to_string),
                votes: l.votes,
                right: right.get(&index).copied().unwrap_or(0),
                skill_ppm: l.skill_ppm,
                gold: (l.gold_seen, l.gold_right),
                earned: l.earned,
                lost: l.lost,
                flagged: l.cluster.is_some(),
                reason: l.reason.text(),
            }
        })
        .collect();
    lines.sort_by_key(|l| {
        l.name
            .rsplit('-')
            .next()
            .and_then(|n| n.parse::<u32>().ok())
    });
    lines
}

/// Gas by kind of transaction, over all nodes.
fn gas_table(swarm: &Swarm, claims: &Claims) -> Vec<(String, u64, u64)> {
    let mut rows: Vec<(String, u64, u64)> = vec![(
        "deploy the contracts".into(),
        swarm.devnet.deploy_gas().len() as u64,
        swarm.devnet.deploy_gas().iter().map(|g| g.1).sum(),
    )];
    let mut by_kind: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for p in swarm.everybody() {
        for (kind, (n, gas)) in p.node.gas_spent() {
            let sum = by_kind.entry(kind).or_default();
            *sum = (sum.0 + n, sum.1 + gas);
        }
    }
    by_kind.remove("claim");
    rows.extend(by_kind.into_iter().map(|(kind, (n, gas))| (kind, n, gas)));
    rows.push((
        "claim, by a relayer".into(),
        claims.paid.len() as u64,
        claims.gas,
    ));
    rows
}
