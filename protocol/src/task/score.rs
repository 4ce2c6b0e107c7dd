//! Scoring a wave and settling a task: from counted votes to pay, losses, refund and reputation evidence.
//!
//! Money rule: deposit + gold bond = pay + fees + bond shares + refund, to the unit. Pay floors, the remainder is the client's.
//! Losses touch the labeler's stake, never the deposit.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    draw::{DrawInput, draw, proven_skill},
    outcome::{ItemOutcome, LabelerOutcome, Money, Reason, TaskOutcome, TaskScore},
    state::{Chosen, Enrolled, GoldState, Phase, TaskState, WaveLabeler, WaveState},
};
use crate::{
    amount::Amount,
    consensus::{
        ClassInput, ClassResult, ClassScoring, GoldPrior, LabelerResult, Pay, PayRule, PayTerms,
        StoppingRule, infer_class, majority,
    },
    id::{Account, Hash},
    message::AssignmentRule,
    network::Params,
    verify::Body,
};

/// What the lane knows about a labeler that scoring may use.
#[derive(Clone, Copy, Debug, Default)]
pub struct LabelerView {
    /// Where pay goes.
    pub payee: Account,
    /// Stake that losses may still take.
    pub bond_left: Amount,
    /// Right gold answers in the past, thousandths.
    pub alpha_milli: u32,
    /// Wrong gold answers in the past, thousandths.
    pub beta_milli: u32,
}

/// What a finished task hands to the lane.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Credits by receiving account (payee); they add up to deposit + gold bond.
    pub credits: BTreeMap<Account, Amount>,
    /// Losses by labeler account.
    pub losses: BTreeMap<Account, Amount>,
    /// Gold evidence by labeler account: (right, wrong).
    pub evidence: BTreeMap<Account, (u32, u32)>,
    /// For people and exports.
    pub outcome: TaskOutcome,
}

/// What a wave buys.
#[derive(Default)]
struct Wanted {
    /// (item, labels).
    labels: Vec<(u32, u16)>,
    /// Proven skill of each labeler so far, parts per million; empty before anything is known.
    skills: Vec<i64>,
}

const PROVEN_MILLI: u32 = 20_000;
/// A gold item is void when the crowd without it says otherwise with more than this posterior (0.95 in Q16) ...
const AUDIT_POSTERIOR_Q16: u32 = 62_259;
/// ... from as many labels as the task asks of each item, but no fewer and no more than these: fewer are too easily of one mind by design, and
/// with more a client who asks for few could commit to wrong gold without risk.
const AUDIT_VOTES: (u32, u32) = (3, 5);

impl TaskState {
    /// Draws the assignment of the wave whose beacon this is and opens it for labeling.
    pub(crate) fn open_wave(
        &mut self,
        beacon: Hash,
        time: u64,
        views: &BTreeMap<Account, LabelerView>,
    ) {
        let Phase::Drawing { wave, .. } = self.phase else {
            return;
        };
        let view = |account: &Account| views.get(account).copied().unwrap_or_default();
        let labelers: BTreeMap<u32, WaveLabeler> = if self.is_open() {
            (0..self.labelers.len() as u32)
                .map(|l| (l, Vec::new()))
                .collect()
        } else {
            let people: Vec<_> = self
                .labelers
                .iter()
                .map(|l| {
                    let v = view(&l.account);
                    (
                        l.account,
                        l.capacity,
                        v.payee,
                        v.alpha_milli.saturating_add(v.beta_milli) >= PROVEN_MILLI,
                    )
                })
                .collect();
            let before: BTreeSet<(u32, u32)> = self
                .waves
                .iter()
                .flat_map(|w| {
                    w.labelers
                        .iter()
                        .flat_map(|(l, s)| s.items.iter().map(|i| (*i, *l)))
                })
                .collect();
            let wanted = self.wanted(wave);
            draw(&DrawInput {
                task: self.id,
                wave,
                beacon,
                wanted: &wanted.labels,
                skills: &wanted.skills,
                labelers: &people,
                before: &before,
                clusters: &self.clusters,
            })
        }
        .into_iter()
        .map(|(l, items)| {
            (
                l,
                WaveLabeler {
                    items,
                    commit: None,
                    counted: None,
                },
            )
        })
        .collect();
        for state in labelers.values() {
            for item in &state.items {
                if let Some(asked) = self.asked.get_mut(*item as usize) {
                    *asked = asked.saturating_add(1);
                }
            }
        }
        let has_gold = self
            .manifest
            .waves
            .get(usize::from(wave))
            .is_some_and(|w| w.gold_count > 0);
        let gold = if has_gold {
            GoldState::Closed
        } else {
            GoldState::None
        };
        self.waves.push(WaveState {
            beacon,
            labelers,
            gold,
        });
        self.phase = Phase::Labeling {
            wave,
            deadline: time + u64::from(self.manifest.durations.commit_secs),
        };
    }

    /// What `wave` buys: `k` labels for each fresh item, and up to two more where the stopping rule wants them.
    fn wanted(&self, wave: u8) -> Wanted {
        let mut wanted = Wanted::default();
        let AssignmentRule::Drawn { k, k_max } = self.manifest.assignment else {
            return wanted;
        };
        let fresh = self.manifest.fresh_items(wave);
        let earlier = fresh.start;
        wanted.labels.extend(fresh.map(|item| (item, k)));
        if wave == 0 {
            return wanted;
        }
        let target = u64::from(self.manifest.target_posterior_ppm) * 65_536 / 1_000_000;
        let target = u32::try_from(target).unwrap_or(u32::MAX);
        let result = self.infer(&BTreeMap::new());
        let mut votes: BTreeMap<u32, Vec<(u32, u16)>> = BTreeMap::new();
        for &(item, labeler, label) in &self.votes {
            votes.entry(item).or_default().push((labeler, label));
        }
        let rule = result.as_ref().map(|r| StoppingRule::new(r, target));
        for item in 0..earlier {
            let seen = votes.get(&item).map_or(&[][..], Vec::as_slice);
            let asked = self.asked.get(item as usize).copied().unwrap_or(0);
            let left = k_max.saturating_sub(asked);
            let more = rule
                .as_ref()
                .is_none_or(|rule| rule.wants_more(item, seen, left));
            if more && !self.gold.contains_key(&item) && left > 0 {
                wanted.labels.push((item, left.min(2)));
            }
        }
        if let Some(result) = result {
            wanted.skills = result.labelers.iter().map(proven_skill).collect();
        }
        wanted
    }

    fn infer(&self, views: &BTreeMap<Account, LabelerView>) -> Option<ClassResult> {
        let votes = self.scoring_votes();
        if votes.is_empty() {
            return None;
        }
        let priors = self.priors(views);
        infer_class(&self.class_input(&votes, &self.gold, &priors)).ok()
    }

    /// The result of [`TaskState::infer`] with the trees that the settlement rests on.
    fn score(&self, priors: &[GoldPrior]) -> Option<ClassScoring> {
        let votes = self.scoring_votes();
        if votes.is_empty() {
            return None;
        }
        ClassScoring::fit(&self.class_input(&votes, &self.gold, priors)).ok()
    }

    fn priors(&self, views: &BTreeMap<Account, LabelerView>) -> Vec<GoldPrior> {
        self.labelers
            .iter()
            .map(|l| {
                let v = views.get(&l.account).copied().unwrap_or_default();
                GoldPrior {
                    alpha_milli: v.alpha_milli,
                    beta_milli: v.beta_milli,
                }
            })
            .collect()
    }

    fn class_input<'a>(
        &self,
        votes: &'a [crate::consensus::Vote],
        gold: &'a BTreeMap<u32, u16>,
        priors: &'a [GoldPrior],
    ) -> ClassInput<'a> {
        ClassInput {
            items: self.manifest.items.count,
            labelers: self.labelers.len() as u32,
            classes: self.manifest.kind.classes(),
            votes,
            gold,
            priors,
        }
    }

    /// Closes the gold phase (opened or not), scores the wave, and moves on to the next wave. Returns true when the task is done.
    pub(crate) fn close_gold(
        &mut self,
        opened: Option<&Chosen<'_>>,
        views: &BTreeMap<Account, LabelerView>,
    ) -> bool {
        let Phase::OpeningGold { wave, .. } = self.phase else {
            return false;
        };
        let at = usize::from(wave);
        let gold = match (
            self.waves.get(at).map(|w| w.gold),
            opened.map(|c| c.record.body()),
        ) {
            (Some(GoldState::Closed), Some(Body::GoldOpen(open))) => self.audit_gold(&open.entries),
            (Some(GoldState::Closed), _) => GoldState::Withheld,
            _ => GoldState::None,
        };
        let result = self.infer(views);
        if let Some(result) = &result {
            self.clusters = result.clusters.clone();
        }
        if let Some(state) = self.waves.get_mut(at) {
            state.gold = gold;
        }
        let next = wave + 1;
        if usize::from(next) < self.manifest.waves.len() && !self.wanted(next).labels.is_empty() {
            self.phase = Phase::Drawing {
                wave: next,
                beacon_block: None,
            };
            return false;
        }
        self.phase = Phase::Settled;
        true
    }

    /// Clamps the gold that the crowd does not contradict.
    fn audit_gold(&mut self, entries: &[(u32, u16)]) -> GoldState {
        let votes = self.scoring_votes();
        let priors = Vec::new();
        // Without any gold of this wave: would the crowd, by itself, be sure of another answer?
        let crowd = infer_class(&self.class_input(&votes, &self.gold, &priors)).ok();
        let (least, most) = AUDIT_VOTES;
        let needed = match self.manifest.assignment {
            AssignmentRule::Drawn { k, .. } => u32::from(k).clamp(least, most),
            AssignmentRule::Open { .. } => most,
        };
        let contradicted = |item: u32, label: u16| {
            crowd
                .as_ref()
                .and_then(|r| r.items.get(item as usize))
                .is_some_and(|i| {
                    i.votes >= needed
                        && i.posterior > AUDIT_POSTERIOR_Q16
                        && i.label.is_some_and(|l| l != label)
                })
        };
        let kept: Vec<(u32, u16)> = entries
            .iter()
            .copied()
            .filter(|(i, l)| !contradicted(*i, *l))
            .collect();
        let voided = entries.len() - kept.len();
        if voided * 5 > entries.len() {
            return GoldState::Void;
        }
        self.gold.extend(kept);
        GoldState::Counted {
            voided: voided as u32,
        }
    }

    /// Pay and loss of every labeler over the whole task, each at most once, from what is known when its last wave is scored: a later
    /// wave that shows an earlier one to be luck or a copy counts for all of them.
    fn pay_task(
        &self,
        scored: &[LabelerResult],
        views: &BTreeMap<Account, LabelerView>,
    ) -> Vec<(PayTerms, Pay)> {
        let pay_one = |(index, enrolled): (u32, &Enrolled)| {
            let (mut counted, mut withheld) = (0u32, 0u64);
            for labeler in self.waves.iter().filter_map(|w| w.labelers.get(&index)) {
                match (labeler.counted, labeler.commit) {
                    (Some(count), _) => counted += count,
                    // Committed, not revealed.
                    (None, Some(_)) => withheld += labeler.items.len() as u64,
                    (None, None) => {}
                }
            }
            let terms = PayTerms {
                price: self.manifest.price,
                full_skill_ppm: self.manifest.full_skill_ppm,
                loss_cap_ppm: self.manifest.loss_cap_ppm,
                least_skill_ppm: PayRule::LEAST_SKILL_PPM,
                withheld,
                bond: views
                    .get(&enrolled.account)
                    .map_or(Amount::ZERO, |v| v.bond_left),
            };
            let scored = scored.get(index as usize);
            let pay = terms.reckon(&LabelerResult {
                votes: counted,
                ..scored.copied().unwrap_or_default()
            });
            (terms, pay)
        };
        (0u32..).zip(&self.labelers).map(pay_one).collect()
    }

    /// Splits deposit and bond after the last wave.
    pub(crate) fn settle(
        &self,
        params: &Params,
        views: &BTreeMap<Account, LabelerView>,
        client_payee: Account,
        payee_of: impl Fn(&Account) -> Account,
    ) -> Settlement {
        let mut credits: BTreeMap<Account, Amount> = BTreeMap::new();
        let mut credit = |to: Account, amount: Amount| {
            if amount > Amount::ZERO {
                let sum = credits.entry(to).or_default();
                *sum = Amount(sum.0 + amount.0);
            }
        };
        let priors = self.priors(views);
        let scoring = self.score(&priors);
        let scored = scoring.as_ref().map_or(&[][..], ClassScoring::labelers);
        let pays = self.pay_task(scored, views);
        let mut paid = Amount::ZERO;
        let mut losses = BTreeMap::new();
        for (enrolled, (_, pay)) in self.labelers.iter().zip(&pays) {
            credit(payee_of(&enrolled.account), Amount(pay.earned));
            paid = Amount(paid.0 + pay.earned);
            if pay.lost > 0 {
                losses.insert(enrolled.account, Amount(pay.lost));
            }
        }
        let fee = self
            .manifest
            .fee(params)
            .unwrap_or(Amount::ZERO)
            .min(Amount(self.deposit.0 - paid.0.min(self.deposit.0)));
        let shares: u64 = self.fee_shares.values().sum();
        let mut fees = Amount::ZERO;
        for (account, share) in &self.fee_shares {
            let part = fee
                .share(u128::from(*share), u128::from(shares))
                .unwrap_or(Amount::ZERO);
            credit(payee_of(account), part);
            fees = Amount(fees.0 + part.0);
        }
        let bond_shares = self.bond_shares();
        let bond_paid: Amount = bond_shares.values().copied().sum();
        for (account, part) in &bond_shares {
            credit(payee_of(account), *part);
        }
        let refund = Amount(self.deposit.0 + self.gold_bond.0 - paid.0 - fees.0 - bond_paid.0);
        credit(client_payee, refund);
        let money = Money {
            deposit: self.deposit,
            gold_bond: self.gold_bond,
            paid,
            fees,
            bond_shares: bond_paid,
            refund,
        };
        let (outcome, evidence) = self.outcome(scoring.as_ref(), &priors, &pays, money);
        Settlement {
            credits,
            losses,
            evidence,
            outcome,
        }
    }

    /// When gold was withheld or void, the bond goes in equal parts to those who revealed in those waves.
    fn bond_shares(&self) -> BTreeMap<Account, Amount> {
        let bad = |w: &&WaveState| matches!(w.gold, GoldState::Void | GoldState::Withheld);
        let revealers: BTreeSet<u32> = self
            .waves
            .iter()
            .filter(bad)
            .flat_map(|w| {
                w.labelers
                    .iter()
                    .filter(|(_, l)| l.counted.is_some())
                    .map(|(i, _)| *i)
            })
            .collect();
        let part = self
            .gold_bond
            .share(1, revealers.len() as u128)
            .unwrap_or(Amount::ZERO);
        revealers
            .iter()
            .filter_map(|i| self.labelers.get(*i as usize))
            .map(|l| (l.account, part))
            .collect()
    }

    fn outcome(
        &self,
        scoring: Option<&ClassScoring>,
        priors: &[GoldPrior],
        pays: &[(PayTerms, Pay)],
        money: Money,
    ) -> (TaskOutcome, BTreeMap<Account, (u32, u32)>) {
        let votes = self.scoring_votes();
        let no_gold = BTreeMap::new();
        let plain = majority(&self.class_input(&votes, &no_gold, &[])).unwrap_or_default();
        let items = (0..self.manifest.items.count)
            .map(|item| {
                let r = scoring.and_then(|s| s.items().get(item as usize));
                ItemOutcome {
                    label: r.and_then(|r| r.label),
                    posterior_ppm: r
                        .map_or(0, |r| (u64::from(r.posterior) * 1_000_000 / 65_536) as u32),
                    votes: r.map_or(0, |r| r.votes),
                    majority: plain.get(item as usize).copied().flatten(),
                    gold: self.gold.contains_key(&item),
                }
            })
            .collect();
        let mut evidence = BTreeMap::new();
        let labelers = self
            .labelers
            .iter()
            .enumerate()
            .map(|(i, enrolled)| {
                let index = i as u32;
                let r = scoring.and_then(|s| s.labelers().get(i));
                let (seen, right) = r.map_or((0, 0), |r| (r.gold_seen, r.gold_right));
                if seen > 0 {
                    evidence.insert(enrolled.account, (right, seen - right));
                }
                let paid = pays.get(i).map_or_else(Pay::default, |(_, pay)| *pay);
                let cluster = r.and_then(|r| r.cluster);
                let skill_ppm = r.map_or(0, |r| r.skill_ppm);
                LabelerOutcome {
                    account: enrolled.account,
                    votes: r.map_or(0, |r| r.votes),
                    gold_seen: seen,
                    gold_right: right,
                    skill_ppm,
                    cluster,
                    earned: Amount(paid.earned),
                    lost: Amount(paid.lost),
                    reason: self.reason(index, cluster, skill_ppm),
                }
            })
            .collect();
        let outcome = TaskOutcome {
            task: self.id,
            cancelled: None,
            items,
            labelers,
            votes: self.votes.clone(),
            waves: self.waves.iter().map(|w| w.gold).collect(),
            money,
            score: scoring.map(|scoring| TaskScore {
                classes: self.manifest.kind.classes(),
                priors: priors
                    .iter()
                    .map(|p| (p.alpha_milli, p.beta_milli))
                    .collect(),
                terms: pays.iter().map(|(terms, _)| *terms).collect(),
                input: scoring.input_root(),
                root: scoring.score_root(),
                proof: None,
            }),
            bonus: None,
        };
        (outcome, evidence)
    }

    fn reason(&self, index: u32, cluster: Option<u32>, skill_ppm: i64) -> Reason {
        let part = self.waves.iter().filter_map(|w| w.labelers.get(&index));
        let (mut asked, mut committed, mut revealed) = (false, 0, 0);
        for labeler in part {
            asked = true;
            committed += u32::from(labeler.commit.is_some());
            revealed += u32::from(labeler.counted.is_some());
        }
        if !asked {
            Reason::NotAssigned
        } else if revealed < committed {
            Reason::Unrevealed
        } else if committed == 0 {
            Reason::Absent
        } else if cluster.is_some() {
            Reason::Cluster
        } else if skill_ppm < i64::from(PayRule::LEAST_SKILL_PPM) {
            Reason::NoSkill
        } else if skill_ppm < i64::from(self.manifest.full_skill_ppm) {
            Reason::PartSkill
        } else {
            Reason::FullSkill
        }
    }
}
