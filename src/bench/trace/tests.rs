//! A trace is told steps and adds them up.

use std::time::Duration;

use super::*;
use crate::outcome::AbortReason;
use crate::transfer::ShardIndex;

struct Script {
    trace: Trace,
    origin: Instant,
}

impl Script {
    fn new() -> Self {
        let origin = Instant::now();
        Self { trace: Trace::new(origin), origin }
    }

    fn step(&self, step: Step, kind: LegKind, from: u64, until: u64, answer: Answer) {
        let at = |us| self.origin + Duration::from_micros(us);
        self.trace.saw(Seen {
            step,
            shard: Some(ShardIndex(0)),
            kind: Some(kind),
            started: at(from),
            ended: at(until),
            round_trips: u32::from(step != Step::BackOff),
            lock_round_trips: 0,
            answer,
        });
    }

    fn us(ns: Option<u64>) -> Option<u64> {
        ns.map(|ns| ns / 1000)
    }
}

const DONE: Answer = Answer::Attempt(Attempt::Done);

#[test]
fn two_phase_commit_has_its_phases_locks_and_window() {
    let s = Script::new();
    s.step(Step::Prepare, LegKind::Debit, 0, 100, DONE);
    s.step(Step::Prepare, LegKind::Credit, 100, 220, DONE);
    s.step(Step::Decide, LegKind::Credit, 220, 300, Answer::None);
    // Told at once, answered one after the other.
    s.step(Step::CommitPrepared, LegKind::Debit, 300, 380, Answer::Finish(Finish::Done));
    s.step(Step::CommitPrepared, LegKind::Credit, 301, 400, Answer::Finish(Finish::Done));
    let steps = s.trace.end();
    assert_eq!(steps.phase_ns.map(|ns| ns / 1000)[..7], [0, 0, 220, 80, 100, 0, 0]);
    assert_eq!(steps.round_trips, 4);
    assert_eq!(steps.lock_hold_ns.map(Script::us), [Some(380), Some(300)]);
    assert_eq!(Script::us(steps.window_ns), Some(20));
    assert_eq!(steps.failed_phase, None);
}

#[test]
fn the_last_agents_effect_is_the_first_to_be_seen() {
    let s = Script::new();
    s.step(Step::Prepare, LegKind::Credit, 0, 100, DONE);
    s.step(Step::ApplyAndDecide, LegKind::Debit, 100, 200, DONE);
    s.step(Step::CommitPrepared, LegKind::Credit, 200, 290, Answer::Finish(Finish::Done));
    let steps = s.trace.end();
    assert_eq!(Script::us(steps.window_ns), Some(90));
    assert_eq!(steps.lock_hold_ns.map(Script::us), [Some(100), Some(290)]);
}

#[test]
fn a_local_transfer_has_no_window() {
    let s = Script::new();
    s.step(Step::TransferLocally, LegKind::Debit, 5, 25, DONE);
    let steps = s.trace.end();
    assert_eq!(steps.window_ns, Some(0));
    assert_eq!(steps.lock_hold_ns.map(Script::us), [Some(20), None]);
}

#[test]
fn tries_add_up_and_setbacks_are_counted_by_kind() {
    let s = Script::new();
    let late = || Answer::Attempt(Attempt::Retry(AbortReason::LockTimeout));
    s.step(Step::Prepare, LegKind::Debit, 0, 10, DONE);
    s.step(Step::Prepare, LegKind::Credit, 10, 60, late());
    s.step(Step::RollBackPrepared, LegKind::Debit, 60, 70, Answer::Finish(Finish::Done));
    s.step(Step::BackOff, LegKind::Debit, 70, 170, Answer::None);
    s.step(Step::Prepare, LegKind::Debit, 170, 180, late());
    let steps = s.trace.end();
    assert_eq!(steps.phase_ns.map(|ns| ns / 1000)[..7], [0, 0, 70, 0, 0, 10, 100]);
    assert_eq!(steps.setbacks[Setback::LockTimeout as usize], 2);
    assert_eq!(steps.lock_hold_ns, [None, None]);
    assert_eq!(steps.window_ns, None);
    assert_eq!(steps.failed_phase, Some(Phase::Prepare));
}

#[test]
fn two_commits_under_locks_are_apart_from_the_debit_to_the_credit() {
    let claimed = || Answer::Claimed(Claimed::Done);
    for last in [Step::CreditUnderFence, Step::CreditIntended] {
        let s = Script::new();
        s.step(Step::Claim, LegKind::Credit, 0, 10, claimed());
        // What somebody else had promised is no effect of this transfer.
        s.step(Step::CreditIntended, LegKind::Credit, 10, 20, DONE);
        s.step(Step::DebitWithIntent, LegKind::Debit, 20, 50, claimed());
        s.step(last, LegKind::Credit, 50, 120, DONE);
        s.step(Step::CloseIntent, LegKind::Debit, 120, 150, Answer::None);
        assert_eq!(Script::us(s.trace.end().window_ns), Some(70), "{last:?}");
    }
}

#[test]
fn a_debit_that_was_made_good_has_no_window_and_is_told() {
    let s = Script::new();
    s.step(Step::DebitWithIntent, LegKind::Debit, 0, 30, Answer::Claimed(Claimed::Done));
    s.step(Step::Refund, LegKind::Refund, 30, 60, DONE);
    let steps = s.trace.end();
    assert_eq!((steps.window_ns, steps.is_refunded), (None, true));
}

#[test]
fn an_early_answer_leaves_hold_and_window_unknown() {
    let s = Script::new();
    s.step(Step::Prepare, LegKind::Debit, 0, 10, DONE);
    s.step(Step::CommitPreparedLater, LegKind::Debit, 10, 11, Answer::None);
    let steps = s.trace.end();
    assert_eq!((steps.window_ns, steps.lock_hold_ns), (None, [None, None]));
}

#[test]
fn nothing_of_one_transfer_is_left_in_the_next() {
    let s = Script::new();
    s.step(Step::TransferLocally, LegKind::Debit, 0, 10, DONE);
    assert_ne!(s.trace.end(), Steps::default());
    s.trace.begin();
    assert_eq!(s.trace.end(), Steps::default());
}
