//! What the cycles came to.

use std::time::Duration;

/// At least this share of the cycles must have hit something, in percent.
const HIT_PERCENT_MIN: usize = 25;
/// How many violations are shown.
const SHOWN: usize = 20;

/// The figures of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many cycles were made.
    pub cycles: usize,
    /// Cycles whose fault left something dangling, or its callers without an answer.
    pub hits: usize,
    /// Transfers that were answered.
    pub answered: usize,
    /// Transfers that were in flight when their coordinator died, or that nobody could answer.
    pub unanswered: usize,
    /// Branches that stood prepared, and transfers by events that had not ended, right after the fault.
    pub dangling: usize,
    /// Branches that were still prepared when recovery said that nothing is left.
    pub orphans: usize,
    /// What must never be, in words.
    pub violations: Vec<String>,
    /// From each fault until nothing was left of it.
    pub recoveries: Vec<Duration>,
}

/// What the figures say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every fault was survived.
    Held,
    /// Money, an answer or a branch was lost.
    Broken,
    /// Too few faults hit anything.
    Invalid,
}

impl Tally {
    /// What they say.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.orphans > 0 || !self.violations.is_empty() {
            Verdict::Broken
        } else if self.hits * 100 < self.cycles * HIT_PERCENT_MIN {
            Verdict::Invalid
        } else {
            Verdict::Held
        }
    }

    /// One line of figures.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{} cycles, {} hit something; {} transfers answered, {} cut off, {} branches or \
             events left open; whole again after {} ms (median), {} ms (longest); {} orphans, {} \
             violations",
            self.cycles,
            self.hits,
            self.answered,
            self.unanswered,
            self.dangling,
            self.quantile(50).as_millis(),
            self.quantile(100).as_millis(),
            self.orphans,
            self.violations.len()
        )
    }

    /// The first violations, in words.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        self.violations.iter().take(SHOWN).cloned().collect()
    }

    fn quantile(&self, percent: usize) -> Duration {
        let mut sorted = self.recoveries.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_faults_hit_nothing_is_invalid_and_not_passed() {
        let tally = Tally { cycles: 10, hits: 2, ..Tally::default() };
        assert_eq!(tally.verdict(), Verdict::Invalid);
        assert_eq!(Tally { hits: 3, ..tally.clone() }.verdict(), Verdict::Held);
        assert_eq!(Tally { orphans: 1, ..tally }.verdict(), Verdict::Broken);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let recoveries = [30, 10, 20].map(Duration::from_millis).to_vec();
        let tally = Tally { recoveries, ..Tally::default() };
        assert_eq!(tally.quantile(50).as_millis(), 20);
        assert_eq!(tally.quantile(100).as_millis(), 30);
        assert_eq!(Tally::default().quantile(50), Duration::ZERO);
    }
}
