//! How long a try waits that met somebody in the way.

use std::time::Duration;

use rand::RngExt;

/// The longest wait before a second try; doubled with every try.
const BASE: Duration = Duration::from_millis(2);
/// No wait is longer.
const CAP: Duration = Duration::from_millis(200);

/// The wait before the `next_try`-th try (the second is 2): exponential, with full jitter.
#[must_use]
pub fn before(next_try: u32) -> Duration {
    let doublings = next_try.saturating_sub(2).min(16);
    let longest = BASE.saturating_mul(1 << doublings).min(CAP);
    longest.mul_f64(rand::rng().random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_is_longer_than_the_cap_however_many_tries_there_were() {
        for next_try in [0, 1, 2, 3, 30, u32::MAX] {
            assert!(before(next_try) <= CAP);
        }
        assert!(before(2) <= BASE);
    }
}
