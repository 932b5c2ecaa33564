//! Counting transfers so that the counts add up.

use serde::Serialize;

use crate::bench::sample::{Ending, Sample};
use crate::bench::trace::Setback;

/// How many transfers ended how. Every transfer is added exactly once, so that
/// attempted = committed + rejected + aborted + failed + compensated + skipped + in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// All of them.
    pub attempted: u64,
    /// Both effects are there, or are decided to be.
    pub committed: u64,
    /// Refused by the business.
    pub rejected: u64,
    /// Given up after their tries.
    pub aborted: u64,
    /// Stopped by a failure of the tool or of a connection, with nothing changed.
    pub failed: u64,
    /// Made and refunded.
    pub compensated: u64,
    /// Never started.
    pub skipped: u64,
    /// Not known.
    pub in_doubt: u64,
    /// Tried more than once.
    pub retried: u64,
    /// Tries after the first, of all transfers.
    pub retries: u64,
    /// Steps that met a serialization failure.
    pub serialization_failures: u64,
    /// Steps that met a deadlock.
    pub deadlock_failures: u64,
    /// Steps that waited too long for a lock.
    pub lock_timeouts: u64,
    /// Steps that met somebody with a later grant, or whose own had run out.
    pub fenced_out: u64,
    /// Steps whose shard could not be reached or whose connection broke.
    pub connection_errors: u64,
    /// Steps that failed otherwise.
    pub other_failures: u64,
    /// Aborted ones that recovery decided against while their coordinator was alive.
    pub false_aborts: u64,
    /// Aborted ones whose hold expired before anybody decided for it.
    pub expired: u64,
}

impl Tally {
    /// Adds one transfer.
    pub fn add(&mut self, sample: &Sample) {
        self.attempted += 1;
        *self.counter(sample.ending) += 1;
        if sample.tries > 1 {
            self.retried += 1;
            self.retries += u64::from(sample.tries - 1);
        }
        self.false_aborts += u64::from(sample.superseded);
        self.expired += u64::from(sample.expired);
        let setbacks = |kind| u64::from(sample.steps.setbacks[kind as usize]);
        self.serialization_failures += setbacks(Setback::Serialization);
        self.deadlock_failures += setbacks(Setback::Deadlock);
        self.lock_timeouts += setbacks(Setback::LockTimeout);
        self.fenced_out += setbacks(Setback::FencedOut);
        self.connection_errors += setbacks(Setback::Connection);
        self.other_failures += setbacks(Setback::Other);
    }

    /// Counts a transfer that was in doubt as what it turned out to be.
    pub fn resolve(&mut self, ending: Ending) {
        assert!(self.in_doubt > 0, "only a transfer in doubt is resolved");
        self.in_doubt -= 1;
        *self.counter(ending) += 1;
    }

    /// How many ended so.
    #[must_use]
    pub const fn count(&self, ending: Ending) -> u64 {
        match ending {
            Ending::Committed => self.committed,
            Ending::Rejected => self.rejected,
            Ending::Aborted => self.aborted,
            Ending::Failed => self.failed,
            Ending::Compensated => self.compensated,
            Ending::Skipped => self.skipped,
            Ending::InDoubt => self.in_doubt,
        }
    }

    /// Whether every transfer is counted under one ending.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.attempted == Ending::ALL.iter().map(|ending| self.count(*ending)).sum::<u64>()
    }

    const fn counter(&mut self, ending: Ending) -> &mut u64 {
        match ending {
            Ending::Committed => &mut self.committed,
            Ending::Rejected => &mut self.rejected,
            Ending::Aborted => &mut self.aborted,
            Ending::Failed => &mut self.failed,
            Ending::Compensated => &mut self.compensated,
            Ending::Skipped => &mut self.skipped,
            Ending::InDoubt => &mut self.in_doubt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::tests::sample;

    #[test]
    fn every_transfer_is_counted_once_whatever_its_ending() {
        let mut tally = Tally::default();
        for (i, ending) in (1..).zip(Ending::ALL) {
            for _ in 0..i {
                tally.add(&sample(ending, 0, 1000));
            }
        }
        assert!(tally.adds_up());
        assert_eq!((tally.attempted, tally.committed, tally.in_doubt), (28, 1, 7));
    }

    #[test]
    fn retries_and_setbacks_add_up_and_overwrite_nothing() {
        let mut tally = Tally::default();
        let mut one = sample(Ending::Aborted, 0, 1000);
        one.tries = 4;
        one.superseded = true;
        one.expired = true;
        one.steps.setbacks[Setback::Deadlock as usize] = 3;
        tally.add(&one);
        tally.add(&one);
        tally.add(&sample(Ending::Committed, 0, 1000));
        assert_eq!((tally.retried, tally.retries), (2, 6));
        assert_eq!((tally.deadlock_failures, tally.false_aborts), (6, 2));
        assert_eq!((tally.expired, tally.aborted), (2, 2));
    }

    #[test]
    fn a_resolved_doubt_keeps_the_sum() {
        let mut tally = Tally::default();
        tally.add(&sample(Ending::InDoubt, 0, 1000));
        tally.resolve(Ending::Committed);
        assert!(tally.adds_up());
        assert_eq!((tally.committed, tally.in_doubt), (1, 0));
    }
}
