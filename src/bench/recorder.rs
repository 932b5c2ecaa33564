//! One run's record: samples go in, tallies and histograms come out.
//!
//! A transfer counts in the interval in which it ended. An interval that is long past is packed,
//! so that memory does not grow with the length of a run.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use crate::bench::durations::{Durations, Quantile};
use crate::bench::sample::{Ending, Sample};
use crate::bench::tally::Tally;
use crate::verbs::observed::Phase;

/// The length of an interval.
pub const INTERVAL_NS: u64 = 1_000_000_000;
/// How many of the newest intervals are kept open for samples that arrive late.
const OPEN_INTERVALS: usize = 20;
/// Tries from this many on are counted together.
pub const TRIES_COUNTED: usize = 16;

/// What was measured in one run.
#[derive(Debug, Default)]
pub struct Recorder {
    /// All transfers.
    pub tally: Tally,
    /// Response times by [`Ending`].
    pub response: [Durations; Ending::ALL.len()],
    /// Service times of committed transfers.
    pub service: Durations,
    /// How long after they were due committed transfers started.
    pub lag: Durations,
    /// Time in each phase by [`Ending`] and [`Phase`]; only where a transfer had the phase.
    pub phases: [[Durations; Phase::ALL.len()]; Ending::ALL.len()],
    /// How long locks were held, by committed transfers.
    pub lock_hold: Durations,
    /// Between the two effects of committed transfers.
    pub window: Durations,
    /// Messages sent and awaited one after another, of committed transfers.
    pub round_trips: u64,
    /// The same of messages to a lock service.
    pub lock_round_trips: u64,
    /// Committed transfers by the tries that they took: one, two, …; the last counts the rest.
    pub tries: [u64; TRIES_COUNTED],
    /// Transfers that were ordered, by client.
    pub ordered: Vec<u64>,
    /// The sum of all service times, for Little's law.
    pub busy_ns: u128,
    /// When the last transfer ended.
    pub last_ended_ns: u64,
    /// Transfers that are in doubt.
    pub in_doubt: Vec<Sample>,
    started_by_interval: Vec<u64>,
    intervals: Vec<Open>,
    packed: Vec<Interval>,
}

#[derive(Debug, Default)]
struct Open {
    tally: Tally,
    committed: Durations,
}

/// What was measured in one interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// When it began, in nanoseconds since the start of the measured window.
    pub start_ns: u64,
    /// The transfers that ended in it.
    pub tally: Tally,
    /// Transfers that had started and not ended when it was over.
    pub in_flight: u64,
    /// Response times of committed transfers in nanoseconds: median, 95 %, 99 %, longest.
    pub quantiles_ns: [Option<u64>; 4],
    committed: Vec<u8>,
}

impl Interval {
    fn pack(start_ns: u64, open: &Open) -> Self {
        let mut committed = Vec::new();
        V2DeflateSerializer::new()
            .serialize(open.committed.histogram(), &mut committed)
            .expect("a histogram in memory can be serialized");
        let quantile = |q| open.committed.quantile_ns(q);
        Self {
            start_ns,
            tally: open.tally,
            in_flight: 0,
            quantiles_ns: [
                quantile(Quantile::P50),
                quantile(Quantile::P95),
                quantile(Quantile::P99),
                open.committed.max_ns(),
            ],
            committed,
        }
    }

    /// Response times of its committed transfers, in nanoseconds.
    ///
    /// # Panics
    /// Never: it was packed by this very module.
    #[must_use]
    pub fn committed(&self) -> Histogram<u64> {
        Deserializer::new()
            .deserialize(&mut self.committed.as_slice())
            .expect("what was packed can be unpacked")
    }
}

impl Recorder {
    /// Adds one transfer.
    pub fn record(&mut self, sample: &Sample) {
        self.tally.add(sample);
        self.response[sample.ending as usize].record(sample.response_ns());
        self.busy_ns += u128::from(sample.service_ns());
        self.last_ended_ns = self.last_ended_ns.max(sample.ended_ns);
        let phases = &mut self.phases[sample.ending as usize];
        for (durations, ns) in phases.iter_mut().zip(sample.steps.phase_ns) {
            if ns > 0 {
                durations.record(ns);
            }
        }
        *entry(&mut self.ordered, sample.client as usize) += 1;
        match sample.ending {
            Ending::Committed => self.record_committed(sample),
            Ending::InDoubt => self.in_doubt.push(sample.clone()),
            _ => {}
        }
        self.record_interval(sample);
    }

    fn record_committed(&mut self, sample: &Sample) {
        self.service.record(sample.service_ns());
        self.lag.record(sample.started_ns.saturating_sub(sample.due_ns));
        sample.steps.lock_hold_ns.iter().flatten().for_each(|ns| self.lock_hold.record(*ns));
        sample.steps.window_ns.iter().for_each(|ns| self.window.record(*ns));
        self.round_trips += u64::from(sample.steps.round_trips);
        self.lock_round_trips += u64::from(sample.steps.lock_round_trips);
        self.tries[(sample.tries as usize).clamp(1, TRIES_COUNTED) - 1] += 1;
    }

    fn record_interval(&mut self, sample: &Sample) {
        *entry(&mut self.started_by_interval, interval_of(sample.started_ns)) += 1;
        // One that ends in a packed interval would have been handed over far too late; it counts
        // in the oldest that is open, so that the sums hold.
        let index = interval_of(sample.ended_ns).saturating_sub(self.packed.len());
        let open = entry(&mut self.intervals, index);
        open.tally.add(sample);
        if sample.ending == Ending::Committed {
            open.committed.record(sample.response_ns());
        }
        if self.intervals.len() > OPEN_INTERVALS {
            let rest = self.intervals.split_off(self.intervals.len() - OPEN_INTERVALS);
            self.pack();
            self.intervals = rest;
        }
    }

    fn pack(&mut self) {
        for open in std::mem::take(&mut self.intervals) {
            let start_ns = self.packed.len() as u64 * INTERVAL_NS;
            self.packed.push(Interval::pack(start_ns, &open));
        }
    }

    /// All intervals from the first to the last in which a transfer ended. No sample may be
    /// recorded afterwards.
    #[must_use]
    pub fn into_intervals(mut self) -> Vec<Interval> {
        self.pack();
        let mut in_flight = 0;
        for (i, interval) in self.packed.iter_mut().enumerate() {
            in_flight += self.started_by_interval.get(i).copied().unwrap_or(0);
            in_flight = in_flight.saturating_sub(interval.tally.attempted);
            interval.in_flight = in_flight;
        }
        self.packed
    }
}

fn interval_of(ns: u64) -> usize {
    usize::try_from(ns / INTERVAL_NS).unwrap_or(usize::MAX)
}

fn entry<T: Default>(list: &mut Vec<T>, index: usize) -> &mut T {
    while list.len() <= index {
        list.push(T::default());
    }
    &mut list[index]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::tests::sample;

    #[test]
    fn only_committed_transfers_are_in_the_latency_of_committed_transfers() {
        let mut recorder = Recorder::default();
        recorder.record(&sample(Ending::Committed, 0, 100));
        recorder.record(&sample(Ending::Aborted, 0, 90_000));
        let committed = &recorder.response[Ending::Committed as usize];
        assert_eq!((committed.count(), committed.max_ns()), (1, Some(100_000)));
        assert_eq!(recorder.response[Ending::Aborted as usize].count(), 1);
        assert_eq!(recorder.service.count(), 1);
    }

    #[test]
    fn intervals_add_up_to_the_run_and_know_what_is_in_flight() {
        let mut recorder = Recorder::default();
        recorder.record(&sample(Ending::Committed, 100, 200));
        recorder.record(&sample(Ending::Committed, 900_000, 1_100_000));
        recorder.record(&sample(Ending::Aborted, 950_000, 3_100_000));
        let all = recorder.tally;
        let intervals = recorder.into_intervals();
        assert_eq!(intervals.len(), 4);
        let in_flight: Vec<u64> = intervals.iter().map(|i| i.in_flight).collect();
        assert_eq!(in_flight, [2, 1, 1, 0]);
        let sum: u64 = intervals.iter().map(|i| i.tally.attempted).sum();
        assert_eq!(sum, all.attempted);
        assert!(intervals.iter().all(|i| i.tally.adds_up()));
        assert_eq!(intervals[0].committed().len(), 1);
        assert_eq!(intervals[2].committed().len(), 0);
    }

    #[test]
    fn a_long_run_is_packed_as_it_goes() {
        let mut recorder = Recorder::default();
        for second in 0..100 {
            let at = second * 1_000_000 + 10;
            recorder.record(&sample(Ending::Committed, at, at + 5));
        }
        // Far too late for its interval, and counted all the same.
        recorder.record(&sample(Ending::Committed, 10, 20));
        assert!(recorder.intervals.len() <= OPEN_INTERVALS);
        let intervals = recorder.into_intervals();
        assert_eq!(intervals.iter().map(|i| i.tally.committed).sum::<u64>(), 101);
        assert_eq!(intervals[99].start_ns, 99 * INTERVAL_NS);
    }

    #[test]
    fn transfers_in_doubt_are_kept_by_name() {
        let mut recorder = Recorder::default();
        recorder.record(&sample(Ending::InDoubt, 0, 1));
        assert_eq!(recorder.in_doubt.len(), 1);
    }
}
