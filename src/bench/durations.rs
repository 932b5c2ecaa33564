//! How long something took, many times over.

use hdrhistogram::Histogram;

/// Significant digits that are kept of every duration.
const DIGITS: u8 = 3;
/// How many samples must lie beyond a quantile before it is told.
const SAMPLES_BEYOND_MIN: u64 = 10;

/// A quantile that results are told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantile {
    /// The median.
    P50,
    /// 90 % are no longer.
    P90,
    /// 95 % are no longer.
    P95,
    /// 99 % are no longer.
    P99,
    /// 99.9 % are no longer.
    P999,
}

impl Quantile {
    /// All of them, rising.
    pub const ALL: [Self; 5] = [Self::P50, Self::P90, Self::P95, Self::P99, Self::P999];

    /// Of a thousand samples, how many lie beyond.
    const fn beyond_of_1000(self) -> u64 {
        match self {
            Self::P50 => 500,
            Self::P90 => 100,
            Self::P95 => 50,
            Self::P99 => 10,
            Self::P999 => 1,
        }
    }

    fn fraction(self) -> f64 {
        1.0 - self.beyond_of_1000() as f64 / 1000.0
    }
}

/// Durations in nanoseconds, to three significant digits; their count, sum, least and most are
/// exact.
#[derive(Debug, Clone)]
pub struct Durations {
    histogram: Histogram<u64>,
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
}

impl Default for Durations {
    fn default() -> Self {
        let histogram = Histogram::new(DIGITS).expect("three digits are allowed");
        Self { histogram, sum_ns: 0, min_ns: u64::MAX, max_ns: 0 }
    }
}

impl Durations {
    /// Adds one.
    pub fn record(&mut self, ns: u64) {
        // Not the saturating kind: that one saturates instead of growing.
        self.histogram.record(ns).expect("a histogram that grows takes any duration");
        self.sum_ns += u128::from(ns);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("a histogram that grows holds any other");
        self.sum_ns += other.sum_ns;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The mean in nanoseconds, where there is any.
    #[must_use]
    pub fn mean_ns(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.sum_ns as f64 / self.count() as f64)
    }

    /// The shortest in nanoseconds, where there is any.
    #[must_use]
    pub fn min_ns(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.min_ns)
    }

    /// The longest in nanoseconds, where there is any.
    #[must_use]
    pub fn max_ns(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.max_ns)
    }

    /// The quantile in nanoseconds, where enough samples stand behind it: at least ten beyond it.
    /// Never outside shortest and longest, and never falling from one quantile to a higher.
    #[must_use]
    pub fn quantile_ns(&self, quantile: Quantile) -> Option<u64> {
        if self.count() * quantile.beyond_of_1000() < SAMPLES_BEYOND_MIN * 1000 {
            return None;
        }
        // A histogram answers with the end of a bucket, which may lie outside what was seen.
        let value = self.histogram.value_at_quantile(quantile.fraction());
        Some(value.clamp(self.min_ns, self.max_ns))
    }

    /// The histogram, for the files that hold histograms.
    #[must_use]
    pub const fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Durations {
        let mut durations = Durations::default();
        values.into_iter().for_each(|ns| durations.record(ns));
        durations
    }

    #[test]
    fn quantiles_rise_and_stay_within_what_was_seen() {
        for durations in [of((1..=10_000).map(|i| i * 1237)), of(vec![4_000_123; 20_000])] {
            let mut least = durations.min_ns().expect("samples");
            for quantile in Quantile::ALL {
                let value = durations.quantile_ns(quantile).expect("enough samples");
                assert!(value >= least, "{quantile:?}");
                least = value;
            }
            assert!(least <= durations.max_ns().expect("samples"));
        }
    }

    #[test]
    fn a_quantile_with_too_few_samples_behind_it_is_not_told() {
        let durations = of(1..=999);
        assert_eq!(durations.quantile_ns(Quantile::P99), None);
        assert!(durations.quantile_ns(Quantile::P95).is_some());
        assert!(of(1..=1000).quantile_ns(Quantile::P99).is_some());
        assert_eq!(of(1..=19).quantile_ns(Quantile::P50), None);
    }

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let durations = of((1..=10_000).map(|i| i * 10_000));
        for (quantile, ns) in Quantile::ALL.into_iter().zip([50, 90, 95, 99, 100]) {
            let value = durations.quantile_ns(quantile).expect("enough") as f64;
            assert!((value / (f64::from(ns) * 1e6) - 1.0).abs() < 0.002, "{quantile:?}: {value}");
        }
    }

    #[test]
    fn nothing_recorded_is_nothing_told() {
        let none = Durations::default();
        assert_eq!((none.mean_ns(), none.min_ns(), none.max_ns()), (None, None, None));
        assert_eq!(none.quantile_ns(Quantile::P50), None);
    }

    #[test]
    fn sub_microsecond_and_long_durations_keep_three_digits() {
        for ns in [123, 45_678, 9_876_543_210, 3_600_000_000_000] {
            let value = of(vec![ns; 100]).quantile_ns(Quantile::P50).expect("enough");
            assert!((value as f64 / ns as f64 - 1.0).abs() < 0.001, "{ns}: {value}");
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let mut whole = of(1..=500);
        whole.add(&of(501..=1000));
        assert_eq!(whole.count(), 1000);
        assert_eq!(whole.mean_ns(), Some(500.5));
        assert_eq!((whole.min_ns(), whole.max_ns()), (Some(1), Some(1000)));
    }
}
