//! What the steps of one transfer took, noted while it runs.
//!
//! A trace is told of every step on its client's own task, by one step at a time, so relaxed
//! loads and stores are plain ones: nothing is locked, allocated or contended on the measured
//! path. The atomics are there only because futures may be moved between threads.
//!
//! All times are the coordinator's clock. A lock is held from some moment after its statement was
//! sent until some moment before its end was acknowledged, so a measured hold is an upper bound.
//! The window between the two effects of a transfer runs from acknowledgement to acknowledgement:
//! it is off by what the two replies differ in their travel.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

pub use crate::bench::setback::{SETBACKS, Setback, setback};
use crate::outcome::{Attempt, Finish};
use crate::transfer::LegKind;
use crate::verbs::events::Settled;
use crate::verbs::locking::Claimed;
use crate::verbs::observed::{Answer, Observer, Phase, Seen, Step};

const PHASES: usize = Phase::ALL.len();
const NEVER: u64 = u64::MAX;
const NO_PHASE: u8 = u8::MAX;

/// What the steps of one transfer took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Steps {
    /// Time in each phase, all tries together, in the order of [`Phase::ALL`]; nanoseconds.
    pub phase_ns: [u64; PHASES],
    /// Messages sent to shards and awaited one after another.
    pub round_trips: u32,
    /// Messages to a lock service.
    pub lock_round_trips: u32,
    /// Whether the debit was made good again.
    pub is_refunded: bool,
    /// How long the last try's locks were held, by leg, where both ends of it were seen. A
    /// transfer in one local transaction has only the first; one under distributed locks has
    /// those, by the order in which they were taken.
    pub lock_hold_ns: [Option<u64>; 2],
    /// Between the first effect's acknowledgement and the last's, where both were seen.
    pub window_ns: Option<u64>,
    /// How many steps were set back, by [`Setback`].
    pub setbacks: [u32; SETBACKS],
    /// The phase in which something last did not go through.
    pub failed_phase: Option<Phase>,
}

/// Notes the steps of one client's transfers, one transfer at a time.
#[derive(Debug)]
pub struct Trace {
    origin: Instant,
    phase: AtomicU8,
    phase_from: AtomicU64,
    phase_until: AtomicU64,
    phase_ns: [AtomicU64; PHASES],
    round_trips: AtomicU32,
    lock_round_trips: AtomicU32,
    is_refunded: AtomicBool,
    locked_from: [AtomicU64; 2],
    lock_hold_ns: [AtomicU64; 2],
    effects: AtomicU8,
    first_effect: AtomicU64,
    last_effect: AtomicU64,
    setbacks: [AtomicU32; SETBACKS],
    failed_phase: AtomicU8,
}

impl Trace {
    /// A trace whose clock starts at `origin`.
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        let trace = Self {
            origin,
            phase: AtomicU8::new(NO_PHASE),
            phase_from: AtomicU64::new(0),
            phase_until: AtomicU64::new(0),
            phase_ns: Default::default(),
            round_trips: AtomicU32::new(0),
            lock_round_trips: AtomicU32::new(0),
            is_refunded: AtomicBool::new(false),
            locked_from: Default::default(),
            lock_hold_ns: Default::default(),
            effects: AtomicU8::new(0),
            first_effect: AtomicU64::new(0),
            last_effect: AtomicU64::new(0),
            setbacks: Default::default(),
            failed_phase: AtomicU8::new(NO_PHASE),
        };
        trace.begin();
        trace
    }

    /// Nanoseconds from the origin to `at`; 0 where that is earlier.
    #[must_use]
    pub fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(NEVER)
    }

    /// Forgets the transfer before.
    pub fn begin(&self) {
        self.phase.store(NO_PHASE, Relaxed);
        self.phase_ns.iter().for_each(|ns| ns.store(0, Relaxed));
        self.round_trips.store(0, Relaxed);
        self.lock_round_trips.store(0, Relaxed);
        self.is_refunded.store(false, Relaxed);
        for leg in 0..2 {
            self.locked_from[leg].store(NEVER, Relaxed);
            self.lock_hold_ns[leg].store(NEVER, Relaxed);
        }
        self.effects.store(0, Relaxed);
        self.setbacks.iter().for_each(|count| count.store(0, Relaxed));
        self.failed_phase.store(NO_PHASE, Relaxed);
    }

    /// What the transfer's steps took.
    #[must_use]
    pub fn end(&self) -> Steps {
        self.close_phase();
        let known = |ns: u64| (ns != NEVER).then_some(ns);
        let window = self.last_effect.load(Relaxed).saturating_sub(self.first_effect.load(Relaxed));
        Steps {
            phase_ns: self.phase_ns.each_ref().map(|ns| ns.load(Relaxed)),
            round_trips: self.round_trips.load(Relaxed),
            lock_round_trips: self.lock_round_trips.load(Relaxed),
            is_refunded: self.is_refunded.load(Relaxed),
            lock_hold_ns: self.lock_hold_ns.each_ref().map(|ns| known(ns.load(Relaxed))),
            window_ns: (self.effects.load(Relaxed) == 2).then_some(window),
            setbacks: self.setbacks.each_ref().map(|count| count.load(Relaxed)),
            failed_phase: Phase::ALL.get(usize::from(self.failed_phase.load(Relaxed))).copied(),
        }
    }

    /// Counts a step's time under its phase. Steps that overlap, as when both participants are
    /// told at once, count once, in time and in round trips.
    fn count_time(&self, phase: Phase, from: u64, until: u64, round_trips: u32) {
        let overlaps =
            self.phase.load(Relaxed) == phase as u8 && from < self.phase_until.load(Relaxed);
        if overlaps {
            raise(&self.phase_until, until);
            return;
        }
        self.close_phase();
        self.phase.store(phase as u8, Relaxed);
        self.phase_from.store(from, Relaxed);
        self.phase_until.store(until, Relaxed);
        self.round_trips.store(self.round_trips.load(Relaxed) + round_trips, Relaxed);
    }

    fn close_phase(&self) {
        let Some(total) = self.phase_ns.get(usize::from(self.phase.load(Relaxed))) else { return };
        let span = self.phase_until.load(Relaxed).saturating_sub(self.phase_from.load(Relaxed));
        total.store(total.load(Relaxed) + span, Relaxed);
        self.phase.store(NO_PHASE, Relaxed);
    }

    fn count_effects(&self, effects: u8, at: u64) {
        let before = self.effects.load(Relaxed);
        if before == 0 {
            self.first_effect.store(at, Relaxed);
            self.last_effect.store(at, Relaxed);
        } else {
            raise(&self.last_effect, at);
        }
        self.effects.store(before + effects, Relaxed);
    }

    fn count_locks(&self, seen: &Seen, from: u64, until: u64) {
        let leg = usize::from(seen.kind == Some(LegKind::Credit));
        let done =
            matches!(seen.answer, Answer::Attempt(Attempt::Done) | Answer::Finish(Finish::Done));
        match seen.step {
            Step::Prepare => {
                // What did not prepare is rolled back, and its locks are gone.
                self.locked_from[leg].store(if done { from } else { NEVER }, Relaxed);
            }
            Step::RollBackPrepared => self.locked_from[leg].store(NEVER, Relaxed),
            Step::TransferLocally if done => {
                self.lock_hold_ns[leg].store(until - from, Relaxed);
                self.count_effects(2, until);
            }
            // A local transaction's row is locked for no longer than its statement runs.
            Step::ApplyAndDecide | Step::DebitWithSaga if done => {
                self.lock_hold_ns[leg].store(until - from, Relaxed);
                self.count_effects(1, until);
            }
            // Of what is held no row stays locked; each confirmation is an effect.
            Step::Confirm if done => {
                self.lock_hold_ns[leg].store(until - from, Relaxed);
                self.count_effects(1, until);
            }
            Step::CommitPrepared if done => {
                let locked_from = self.locked_from[leg].load(Relaxed);
                if locked_from != NEVER {
                    self.lock_hold_ns[leg].store(until - locked_from, Relaxed);
                }
                self.count_effects(1, until);
            }
            Step::CreditUnderFence | Step::WriteBalance if done => self.count_effects(1, until),
            Step::DebitWithIntent if seen.answer == Answer::Claimed(Claimed::Done) => {
                self.count_effects(1, until);
            }
            // Before its own debit, a transfer finishes what others owe.
            Step::Credit if done && self.effects.load(Relaxed) > 0 => {
                self.lock_hold_ns[leg].store(until - from, Relaxed);
                self.count_effects(1, until);
            }
            Step::CreditIntended if done && self.effects.load(Relaxed) > 0 => {
                self.count_effects(1, until);
            }
            Step::DebitWithEvent if done => self.count_effects(1, until),
            // The credit was committed some time before this was known.
            Step::AwaitEnd => match seen.answer {
                Answer::Ended(Ok(Some(Settled::Completed))) => self.count_effects(1, until),
                Answer::Ended(Ok(Some(Settled::Refunded(_)))) => {
                    self.is_refunded.store(true, Relaxed);
                }
                _ => {}
            },
            Step::Refund if done && self.effects.load(Relaxed) > 0 => {
                self.is_refunded.store(true, Relaxed);
            }
            Step::Lock if matches!(seen.answer, Answer::Locked(Ok(_))) => {
                let free = usize::from(self.locked_from[0].load(Relaxed) != NEVER);
                self.locked_from[free].store(until, Relaxed);
            }
            // The last that was taken is the first to be given back.
            Step::Unlock => {
                let last = usize::from(self.locked_from[1].load(Relaxed) != NEVER);
                let locked_from = self.locked_from[last].swap(NEVER, Relaxed);
                if locked_from != NEVER {
                    self.lock_hold_ns[last].store(until.saturating_sub(locked_from), Relaxed);
                }
            }
            _ => {}
        }
    }
}

impl Observer for Trace {
    fn saw(&self, seen: Seen) {
        let from = self.nanoseconds(seen.started);
        let until = self.nanoseconds(seen.ended).max(from);
        let phase = seen.step.phase();
        self.count_time(phase, from, until, seen.round_trips);
        self.count_locks(&seen, from, until);
        let lock_round_trips = self.lock_round_trips.load(Relaxed) + seen.lock_round_trips;
        self.lock_round_trips.store(lock_round_trips, Relaxed);
        if let Some(setback) = setback(&seen.answer) {
            let count = &self.setbacks[setback as usize];
            count.store(count.load(Relaxed) + 1, Relaxed);
            self.failed_phase.store(phase as u8, Relaxed);
        } else if matches!(
            seen.answer,
            Answer::Attempt(Attempt::Rejected(_))
                | Answer::Claimed(Claimed::Not(Attempt::Rejected(_)))
        ) {
            self.failed_phase.store(phase as u8, Relaxed);
        }
    }
}

fn raise(cell: &AtomicU64, to: u64) {
    cell.store(cell.load(Relaxed).max(to), Relaxed);
}

#[cfg(test)]
mod tests;
