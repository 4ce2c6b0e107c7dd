//! Real crowds with simulated attackers among them, for the tests of detection and for the training of the fraud model.
//!
//! Everything is drawn from a named seed with integers, so that a figure can be repeated. The file stands alone: the example that
//! exports training data includes it as well.

#![allow(
    clippy::disallowed_methods,
    dead_code,
    reason = "reads files that cannot be part of the project, outside the core; each user needs a part of it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// SplitMix64: every user names its seed.
pub struct Rng(pub u64);

impl Rng {
    /// Uniform below `bound` (the modulo bias is below 2^-50 for the bounds used here).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    /// True with probability `percent` / 100.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// `count` different numbers below `bound`, in random order.
    pub fn choose(&mut self, count: usize, bound: u32) -> Vec<u32> {
        let mut list: Vec<u32> = (0..bound).collect();
        let count = count.min(list.len());
        for i in 0..count {
            let other = i + self.below((list.len() - i) as u64) as usize;
            list.swap(i, other);
        }
        list.truncate(count);
        list
    }
}

/// A crowd with known truth: (item, labeler, label) votes, and an answer time for each or for none.
#[derive(Clone, Debug, Default)]
pub struct Crowd {
    pub items: u32,
    pub labelers: u32,
    pub classes: u16,
    pub votes: Vec<(u32, u32, u16)>,
    pub seconds: Vec<u32>,
    pub truth: BTreeMap<u32, u16>,
}

/// Fewest checked answers of a labeler that counts as honest.
const CHECKED_MIN: u32 = 8;

/// How an attacker without a partner answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spam {
    /// Every class alike.
    Uniform,
    /// As often as the crowd gives each label.
    Frequency,
    /// One label always, drawn by the crowd's frequencies.
    Constant,
}

/// A ring: `members` accounts give one answer sheet to the same items.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    pub members: u32,
    pub items: usize,
    /// Answers replaced by an even draw, in per cent.
    pub noise_percent: u64,
    /// Sheet entries that are the truth, in per cent; the others are an even draw.
    pub honest_percent: u64,
}

impl Crowd {
    /// Reads `labels.csv` (task, worker, label, perhaps seconds) and `truth.csv`; the first of repeated answers counts.
    pub fn load(folder: &Path) -> Self {
        let labels = rows(&folder.join("labels.csv"));
        let names: BTreeSet<&str> = labels.iter().map(|row| row[2].as_str()).collect();
        let names: BTreeMap<&str, u16> = names.into_iter().zip(0..).collect();
        let (mut tasks, mut workers) = (BTreeMap::new(), BTreeMap::new());
        let mut seen = BTreeSet::new();
        let mut crowd = Self {
            classes: names.len() as u16,
            ..Self::default()
        };
        for row in &labels {
            let (item, labeler) = (number(&mut tasks, &row[0]), number(&mut workers, &row[1]));
            if seen.insert((item, labeler)) {
                crowd.votes.push((item, labeler, names[row[2].as_str()]));
                if let Some(seconds) = row.get(3) {
                    crowd.seconds.push(seconds.parse().unwrap_or(0));
                }
            }
        }
        if crowd.seconds.len() != crowd.votes.len() {
            crowd.seconds.clear();
        }
        crowd.items = tasks.len() as u32;
        crowd.labelers = workers.len() as u32;
        crowd.truth = rows(&folder.join("truth.csv"))
            .iter()
            .filter_map(|row| Some((*tasks.get(&row[0])?, *names.get(row[1].as_str())?)))
            .collect();
        crowd
    }

    /// Votes per labeler, and how many of them could be checked and were right.
    pub fn records(&self) -> Vec<(u32, u32, u32)> {
        let mut records = vec![(0, 0, 0); self.labelers as usize];
        for &(item, labeler, label) in &self.votes {
            let record = &mut records[labeler as usize];
            record.0 += 1;
            if let Some(&truth) = self.truth.get(&item) {
                record.1 += 1;
                record.2 += u32::from(truth == label);
            }
        }
        records
    }

    /// `honest` or `weak` for every real labeler: at least [`CHECKED_MIN`] checked answers, an accuracy 40 % of the way from chance to
    /// perfect, and chance-corrected agreement with the truth of at least 0.2, so that naming the commonest class on a skewed task does
    /// not count as honest work.
    pub fn kinds(&self) -> Vec<&'static str> {
        let classes = usize::from(self.classes);
        let mut table = vec![0u64; self.labelers as usize * classes * classes];
        for &(item, labeler, label) in &self.votes {
            if let Some(&truth) = self.truth.get(&item) {
                table[(labeler as usize * classes + usize::from(truth)) * classes
                    + usize::from(label)] += 1;
            }
        }
        let accurate = self.honest(CHECKED_MIN);
        table
            .chunks_exact(classes * classes)
            .zip(0..)
            .map(|(cells, labeler)| {
                let total: u64 = cells.iter().sum();
                let right: u64 = (0..classes).map(|k| cells[k * classes + k]).sum();
                let chance: u64 = (0..classes)
                    .map(|k| {
                        let truth: u64 = cells[k * classes..(k + 1) * classes].iter().sum();
                        let label: u64 = (0..classes).map(|t| cells[t * classes + k]).sum();
                        truth * label
                    })
                    .sum();
                // kappa >= 0.2, with everything multiplied by the square of the total
                let informed = 5 * (total * right).saturating_sub(chance) >= total * total - chance;
                if accurate.binary_search(&labeler).is_ok() && informed {
                    "honest"
                } else {
                    "weak"
                }
            })
            .collect()
    }

    /// Labelers with at least `votes` checked answers whose true accuracy lies at least 40 % of the way from chance to perfect.
    pub fn honest(&self, votes: u32) -> Vec<u32> {
        let classes = u32::from(self.classes);
        let records = self.records();
        (0..self.labelers)
            .filter(|&labeler| {
                let (_, checked, right) = records[labeler as usize];
                // right / checked >= 1/K + 0.4 (1 - 1/K) = (2 K + 3) / (5 K)
                checked >= votes && right * 5 * classes >= checked * (2 * classes + 3)
            })
            .collect()
    }

    /// A label drawn as often as the crowd gives it.
    pub fn common_label(&self, rng: &mut Rng) -> u16 {
        self.votes[rng.below(self.votes.len() as u64) as usize].2
    }

    fn add(&mut self, item: u32, labeler: u32, label: u16, seconds: u32) {
        self.votes.push((item, labeler, label));
        if !self.seconds.is_empty() {
            self.seconds.push(seconds);
        }
    }

    /// An answer time: that of some honest vote, or a fraction of it for somebody in a hurry.
    fn time(&self, hurry: bool, rng: &mut Rng) -> u32 {
        if self.seconds.is_empty() {
            return 0;
        }
        let like = self.seconds[rng.below(self.seconds.len() as u64) as usize];
        if hurry { like / 8 + 1 } else { like }
    }

    /// Adds `accounts` independent spammers with `votes` answers each to random items; returns their first number.
    pub fn add_spammers(&mut self, spam: Spam, accounts: u32, votes: usize, rng: &mut Rng) -> u32 {
        let first = self.labelers;
        let real = self.clone();
        for labeler in first..first + accounts {
            let hurry = rng.percent(50);
            let constant = real.common_label(rng);
            for item in rng.choose(votes, self.items) {
                let label = match spam {
                    Spam::Uniform => rng.below(u64::from(self.classes)) as u16,
                    Spam::Frequency => real.common_label(rng),
                    Spam::Constant => constant,
                };
                let seconds = real.time(hurry, rng);
                self.add(item, labeler, label, seconds);
            }
        }
        self.labelers += accounts;
        first
    }

    /// Adds a ring; returns its first number and the attacked items.
    pub fn add_ring(&mut self, ring: Ring, rng: &mut Rng) -> (u32, Vec<u32>) {
        let first = self.labelers;
        let real = self.clone();
        let attacked = rng.choose(ring.items, self.items);
        let classes = u64::from(self.classes);
        for &item in &attacked {
            let mut sheet = rng.below(classes) as u16;
            if rng.percent(ring.honest_percent) {
                sheet = self.truth.get(&item).copied().unwrap_or(sheet);
            }
            for labeler in first..first + ring.members {
                let label = if rng.percent(ring.noise_percent) {
                    rng.below(classes) as u16
                } else {
                    sheet
                };
                let seconds = real.time(false, rng);
                self.add(item, labeler, label, seconds);
            }
        }
        self.labelers += ring.members;
        (first, attacked)
    }

    /// The truth of each item with probability `percent` / 100.
    pub fn some_gold(&self, percent: u64, rng: &mut Rng) -> BTreeMap<u32, u16> {
        self.truth
            .iter()
            .filter(|_| rng.percent(percent))
            .map(|(&item, &label)| (item, label))
            .collect()
    }
}

/// The folder of real crowds, one sub-folder each: ASSAY_DATA, or the usual place beside the project.
pub fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("ASSAY_DATA") {
        Some(given) => PathBuf::from(given),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    };
    folder.is_dir().then_some(folder)
}

fn rows(path: &Path) -> Vec<Vec<String>> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

fn number(names: &mut BTreeMap<String, u32>, name: &str) -> u32 {
    let next = names.len() as u32;
    *names.entry(name.to_owned()).or_insert(next)
}
