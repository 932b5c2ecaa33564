//! What was seen of one run.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::bench::durations::Durations;
use crate::seats::Ending;

/// Different complaints that are kept; more of them would say nothing new.
const COMPLAINTS_MAX: usize = 10;

/// One visit that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    /// When the user came.
    pub came_at: Instant,
    /// When the user left.
    pub left_at: Instant,
    /// How.
    pub ending: Ending,
}

/// What was seen of one run. Users who came before it began are counted apart, and only in so
/// far as they have bought: the proof needs to know.
#[derive(Debug, Clone)]
pub struct Record {
    began_at: Instant,
    endings: [u64; Ending::ALL.len()],
    sold_until: Instant,
    /// Seats that were sold before the window closed.
    pub sold_in_time: u64,
    /// Seats that were sold to users of the warm-up.
    pub sold_before: u64,
    /// From coming to having a seat.
    pub checkout: Durations,
    /// From coming to being turned away.
    pub refusal: Durations,
    /// For how long a row or a lock was held.
    pub window: Durations,
    /// What went wrong, each once.
    pub complaints: BTreeSet<String>,
}

impl Record {
    /// A record of users who come from `began_at` on, in a window that closes after `length`.
    #[must_use]
    pub fn new(began_at: Instant, length: Duration) -> Self {
        Self {
            began_at,
            endings: [0; Ending::ALL.len()],
            sold_until: began_at + length,
            sold_in_time: 0,
            sold_before: 0,
            checkout: Durations::default(),
            refusal: Durations::default(),
            window: Durations::default(),
            complaints: BTreeSet::new(),
        }
    }

    /// Takes in a visit.
    pub fn visited(&mut self, visit: &Visit) {
        let Visit { came_at, left_at, ending } = *visit;
        if came_at < self.began_at {
            self.sold_before += u64::from(ending == Ending::Sold);
            return;
        }
        self.endings[ending as usize] += 1;
        let took_ns = nanoseconds(left_at - came_at);
        match ending {
            Ending::Sold => {
                self.checkout.record(took_ns);
                let in_time = left_at <= self.sold_until;
                self.sold_in_time += u64::from(in_time);
            }
            Ending::NotFree | Ending::LockTimeout => self.refusal.record(took_ns),
            _ => {}
        }
    }

    /// Takes in how long a row or a lock was held for a user who came at `came_at`.
    pub fn held(&mut self, came_at: Instant, how_long: Duration) {
        if came_at >= self.began_at {
            self.window.record(nanoseconds(how_long));
        }
    }

    /// Takes in what went wrong.
    pub fn complaint(&mut self, line: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.insert(line);
        }
    }

    /// How many users' visits ended so.
    #[must_use]
    pub const fn count(&self, ending: Ending) -> u64 {
        self.endings[ending as usize]
    }

    /// How many users came.
    #[must_use]
    pub fn users(&self) -> u64 {
        self.endings.iter().sum()
    }

    /// One who was in doubt turns out to have a seat.
    pub fn resolve_sold(&mut self) {
        self.endings[Ending::InDoubt as usize] -= 1;
        self.endings[Ending::Sold as usize] += 1;
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_users_of_the_window_are_counted_and_only_its_sales_make_its_rate() {
        let began_at = Instant::now() + Duration::from_secs(10);
        let mut record = Record::new(began_at, Duration::from_secs(5));
        let at = |s: f64| (began_at - Duration::from_secs(1)) + Duration::from_secs_f64(1.0 + s);
        for (came, left, ending) in [
            (-0.5, 1.0, Ending::Sold),
            (0.0, 1.0, Ending::Sold),
            (4.9, 5.1, Ending::Sold),
            (1.0, 2.0, Ending::LockTimeout),
            (1.0, 1.5, Ending::NotFree),
            (1.0, 3.0, Ending::InDoubt),
        ] {
            record.visited(&Visit { came_at: at(came), left_at: at(left), ending });
        }
        record.held(at(-0.1), Duration::from_secs(9));
        record.held(at(0.1), Duration::from_millis(3));
        assert_eq!((record.users(), record.count(Ending::Sold)), (5, 2));
        assert_eq!((record.sold_in_time, record.sold_before), (1, 1));
        assert_eq!(record.refusal.count(), 2);
        assert_eq!(record.window.max_ns(), Some(3_000_000));
        record.resolve_sold();
        assert_eq!((record.count(Ending::InDoubt), record.count(Ending::Sold)), (0, 3));
    }
}
