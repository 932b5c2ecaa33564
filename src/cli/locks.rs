//! Who grants locks, and on which terms.

use std::time::Duration;

use clap::Args;

use crate::verbs::locking::LockTerms;

/// For the strategies under locks.
#[derive(Debug, Args)]
pub struct LockArguments {
    /// How long a lock lasts unless it is renewed, in milliseconds. It is renewed when a third of
    /// that is over, and work stops a tenth of it before the end.
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    pub lock_ttl: u64,
    /// How long the two locks of a transfer are waited for, together, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub lock_wait: u64,
}

impl LockArguments {
    /// The terms.
    #[must_use]
    pub const fn terms(&self) -> LockTerms {
        LockTerms {
            ttl: Duration::from_millis(self.lock_ttl),
            wait: Duration::from_millis(self.lock_wait),
        }
    }
}
