//! How unevenly accounts were used: measured, whatever was asked for.

use std::collections::HashMap;

use crate::bench::workload::{Drawer, Stretch, Workload};
use crate::transfer::AccountId;

impl Workload {
    /// How unevenly the accounts were used by clients that ordered so many transfers each. The
    /// orders are drawn again, at most a million of them, so that nothing is counted while time
    /// is measured.
    #[must_use]
    pub fn skew(&self, block: u32, ordered: &[u64]) -> Skew {
        const REDRAWN_MAX: u64 = 1_000_000;
        let all: u64 = ordered.iter().sum();
        let part = |n: u64| if all > REDRAWN_MAX { n * REDRAWN_MAX / all } else { n };
        let mut uses: HashMap<AccountId, u64> = HashMap::new();
        for (client, ordered) in (0..).zip(ordered) {
            let mut orders = self.orders(Drawer { block, stretch: Stretch::Measured, client });
            for _ in 0..part(*ordered) {
                let order = orders.next_order();
                *uses.entry(order.source).or_default() += 1;
                *uses.entry(order.target).or_default() += 1;
            }
        }
        Skew::of(uses.into_values().collect())
    }
}

/// The share of all uses that fell on the most used accounts. A transfer uses two.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Skew {
    /// The share of the most used account, 0 to 1.
    pub top_1: f64,
    /// The share of the ten most used accounts, 0 to 1.
    pub top_10: f64,
}

impl Skew {
    fn of(mut uses: Vec<u64>) -> Self {
        uses.sort_unstable_by(|a, b| b.cmp(a));
        let share = |n: usize| ratio(uses.iter().take(n).sum(), uses.iter().sum());
        Self { top_1: share(1), top_10: share(10) }
    }
}

fn ratio(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::workload::Access;
    use crate::bench::workload::tests::WORKLOAD;
    use crate::config::HotOn;

    #[test]
    fn skew_is_measured_and_not_believed() {
        let even = WORKLOAD.skew(0, &[5000, 5000]);
        assert!(even.top_1 < 0.003 && even.top_10 < 0.03, "{even:?}");
        let access = Access::Hotspot { accounts: 1, percent: 100.0 };
        let hot = Workload { access, hot_on: HotOn::Source, ..WORKLOAD }.skew(0, &[1000]);
        assert!((hot.top_1 - 0.5).abs() < 0.01, "{hot:?}");
        assert_eq!(WORKLOAD.skew(0, &[]), Skew { top_1: 0.0, top_10: 0.0 });
    }
}
