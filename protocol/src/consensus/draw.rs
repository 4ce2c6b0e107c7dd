//! Seeded integers for the simulated crowds of the tests.

/// SplitMix64: every test names its seed.
pub(super) struct Rng(pub u64);

impl Rng {
    /// Uniform below `bound` (the modulo bias is below 2^-30 for the bounds used here).
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

    /// Nearly normal around zero with standard deviation `sd`: twelve uniform draws.
    pub fn normal(&mut self, sd: i64) -> i64 {
        let sum: i64 = (0..12).map(|_| self.below(2_001) as i64 - 1_000).sum();
        sum * sd / 2_001
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// `count` different numbers below `bound`, in random order.
    pub fn some_of(&mut self, count: usize, bound: usize) -> Vec<u32> {
        let mut all: Vec<u32> = (0..bound as u32).collect();
        self.shuffle(&mut all);
        all.truncate(count);
        all
    }
}
