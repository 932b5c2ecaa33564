//! Comparing strategies by their runs.
//!
//! The unit is the run, never the transfer: transfers of one run share its luck. Every block has
//! each strategy once, so runs are compared in pairs: the mean of the logarithms of the ratios,
//! with Student's t, gives a ratio with an interval that cannot contain nonsense. Several
//! comparisons at once are corrected by Holm's method.

use serde::Serialize;

/// Fewer pairs than this support no comparison with confidence.
pub const PAIRS_MIN: usize = 5;
/// The level of all intervals.
const CONFIDENCE: f64 = 0.95;

/// How a strategy compares with the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// Pairs of runs that it rests on.
    pub pairs: usize,
    /// The geometric mean of the strategy's value over the reference's.
    pub ratio: f64,
    /// The 95 % confidence interval of the ratio, where there are two pairs or more.
    pub interval: Option<(f64, f64)>,
    /// The probability of a ratio as far from 1 as this, if there were no difference; corrected
    /// for the number of comparisons where [`holm`] was applied.
    pub p: Option<f64>,
}

/// What may be said of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// There are fewer than five pairs.
    TooFewRuns,
    /// The interval covers 1.
    NoDifferenceShown,
    /// The strategy's value is lower.
    Lower,
    /// The strategy's value is higher.
    Higher,
}

impl Comparison {
    /// What may be said of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.interval {
            Some((low, high)) if self.pairs >= PAIRS_MIN => {
                if high < 1.0 {
                    Verdict::Lower
                } else if low > 1.0 {
                    Verdict::Higher
                } else {
                    Verdict::NoDifferenceShown
                }
            }
            _ => Verdict::TooFewRuns,
        }
    }
}

/// Compares pairs of (strategy, reference), both of the same block. Pairs in which either is not
/// above 0 are left out; nothing remains where all are.
#[must_use]
pub fn compare(pairs: &[(f64, f64)]) -> Option<Comparison> {
    let logs: Vec<f64> = pairs
        .iter()
        .filter(|(a, b)| *a > 0.0 && *b > 0.0 && a.is_finite() && b.is_finite())
        .map(|(a, b)| (a / b).ln())
        .collect();
    let count = logs.len();
    let mean = mean(&logs)?;
    let Some(deviation) = deviation(&logs) else {
        return Some(Comparison { pairs: count, ratio: mean.exp(), interval: None, p: None });
    };
    let error = deviation / (count as f64).sqrt();
    let freedom = (count - 1) as f64;
    let reach = t_quantile(0.5 + CONFIDENCE / 2.0, freedom) * error;
    let p = if error > 0.0 {
        t_two_sided(mean / error, freedom)
    } else if mean == 0.0 {
        1.0
    } else {
        0.0
    };
    Some(Comparison {
        pairs: count,
        ratio: mean.exp(),
        interval: Some(((mean - reach).exp(), (mean + reach).exp())),
        p: Some(p),
    })
}

/// Corrects the p values of several comparisons made at once (Holm 1979), in place.
pub fn holm(comparisons: &mut [&mut Comparison]) {
    let mut with_p: Vec<(usize, f64)> = comparisons
        .iter()
        .enumerate()
        .filter_map(|(i, comparison)| comparison.p.map(|p| (i, p)))
        .collect();
    with_p.sort_by(|a, b| a.1.total_cmp(&b.1));
    let count = with_p.len();
    let mut least: f64 = 0.0;
    for (rank, (i, p)) in with_p.into_iter().enumerate() {
        least = least.max(p * (count - rank) as f64).min(1.0);
        comparisons[i].p = Some(least);
    }
}

/// The mean, where there is any value.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The middle value, or the mean of the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The standard deviation of a sample, where there are two values or more.
#[must_use]
pub fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The deviation as a share of the mean, where there are two values or more and the mean is not
/// 0.
#[must_use]
pub fn coefficient_of_variation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|mean| *mean != 0.0)?;
    Some(deviation(values)? / mean)
}

/// The half-width of the 95 % confidence interval of the mean, where there are two values or
/// more.
#[must_use]
pub fn mean_error(values: &[f64]) -> Option<f64> {
    let freedom = values.len().checked_sub(1).filter(|n| *n > 0)? as f64;
    let error = deviation(values)? / (values.len() as f64).sqrt();
    Some(t_quantile(0.5 + CONFIDENCE / 2.0, freedom) * error)
}

/// The probability that Student's t lies further from 0 than `t`, to either side.
fn t_two_sided(t: f64, freedom: f64) -> f64 {
    incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)
}

/// The t below which a share `p`, above one half, of Student's distribution lies.
fn t_quantile(p: f64, freedom: f64) -> f64 {
    let beyond = 2.0 * (1.0 - p);
    let (mut low, mut high) = (0.0, 1.0);
    while t_two_sided(high, freedom) > beyond {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if t_two_sided(middle, freedom) > beyond {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The regularized incomplete beta function I_x(a, b), by Lentz's continued fraction (Numerical
/// Recipes, 6.4).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges fast on this side; the other is its mirror.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front =
        (a * x.ln() + b * (1.0 - x).ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp() / a;
    const TINY: f64 = 1e-300;
    let away_from_0 = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away_from_0(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for i in 1..300 {
        let m = f64::from(i);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = 1.0 / away_from_0(1.0 + term * d);
            c = away_from_0(1.0 + term / c);
            step = c * d;
            fraction *= step;
        }
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}

/// The logarithm of the gamma function for x > 0 (Lanczos 1964).
fn ln_gamma(x: f64) -> f64 {
    const SERIES: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.001_208_650_973_866_179,
        -0.000_005_395_239_384_953,
    ];
    let base = x + 5.5;
    let sum: f64 = (1..).zip(SERIES).map(|(i, term)| term / (x + f64::from(i))).sum();
    (2.506_628_274_631_000_5 * (1.000_000_000_190_015 + sum) / x).ln() - base
        + (x + 0.5) * base.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4 * b.abs().max(1.0)
    }

    #[test]
    fn student_agrees_with_the_printed_tables() {
        for (freedom, t) in [(1.0, 12.7062), (4.0, 2.77645), (9.0, 2.26216), (30.0, 2.04227)] {
            assert!(close(t_quantile(0.975, freedom), t), "{freedom}");
        }
        assert!(close(t_two_sided(2.0, 10.0), 0.073_388));
        assert!(close(t_two_sided(0.0, 3.0), 1.0));
    }

    #[test]
    fn a_ratio_that_is_always_the_same_is_that_ratio() {
        let pairs: Vec<(f64, f64)> =
            (1..=5).map(|i| (f64::from(i) * 50.0, f64::from(i) * 100.0)).collect();
        let comparison = compare(&pairs).expect("pairs");
        assert!(close(comparison.ratio, 0.5));
        assert_eq!(comparison.verdict(), Verdict::Lower);
    }

    #[test]
    fn a_known_sample_has_its_known_interval() {
        // Logarithms 1 to 5: mean 3, deviation √2.5, error √0.5, t(4) = 2.77645.
        let pairs: Vec<(f64, f64)> = (1..=5).map(|i| (f64::from(i).exp(), 1.0)).collect();
        let comparison = compare(&pairs).expect("pairs");
        let (low, high) = comparison.interval.expect("five pairs");
        assert!(close(low.ln(), 3.0 - 2.77645 * 0.5_f64.sqrt()));
        assert!(close(high.ln(), 3.0 + 2.77645 * 0.5_f64.sqrt()));
        assert!(close(comparison.p.expect("five pairs"), 0.013_253));
        assert_eq!(comparison.verdict(), Verdict::Higher);
    }

    #[test]
    fn an_interval_over_1_shows_no_difference_and_few_runs_show_nothing() {
        let noise = [(1.0, 1.1), (1.1, 1.0), (1.0, 1.02), (1.05, 1.0), (1.0, 1.0)];
        assert_eq!(compare(&noise).expect("pairs").verdict(), Verdict::NoDifferenceShown);
        assert_eq!(compare(&noise[..4]).expect("pairs").verdict(), Verdict::TooFewRuns);
        assert_eq!(compare(&noise[..1]).expect("a pair").interval, None);
        assert_eq!(compare(&[(0.0, 1.0)]), None);
    }

    #[test]
    fn holm_corrects_as_in_the_paper() {
        let one = |p| Comparison { pairs: 5, ratio: 1.0, interval: None, p: Some(p) };
        let mut all = [one(0.01), one(0.04), one(0.03), one(0.005)];
        holm(&mut all.iter_mut().collect::<Vec<_>>());
        let corrected = all.map(|comparison| comparison.p.expect("given"));
        for (is, should) in corrected.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!(close(is, should), "{corrected:?}");
        }
    }

    #[test]
    fn mean_median_and_variation_are_what_a_pocket_calculator_says() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!((mean(&values), median(&values)), (Some(5.0), Some(4.5)));
        assert!(close(deviation(&values).expect("eight"), 2.138_09));
        assert!(close(coefficient_of_variation(&values).expect("eight"), 0.427_618));
        assert_eq!((mean(&[]), median(&[]), deviation(&[1.0])), (None, None, None));
    }
}
