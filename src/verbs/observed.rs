//! Verbs that tell an observer of every step: when it was sent, when it was answered, what the
//! answer was.
//!
//! The benchmark's recorder and the `transfer` command's explanation are both observers, so no
//! strategy contains a line of measuring, and both see the same thing.

use std::time::{Duration, Instant};

use super::events::Settled;
use super::locking::{Claimed, LockError, Released};
pub use super::step::{Phase, Step};
use super::{DecisionKey, Gid, Liveness, Preparation, PreparedBranch, Register, Statements, Verbs};
use crate::fail_points::FailPoint;
use crate::outcome::{Attempt, Decision, Finish, Refusal, ShardError, StandingLeg, Tombstone};
use crate::transfer::{
    Branch, ClusterId, Epoch, LegKind, Participants, Routing, ShardIndex, Transfer, TransferId,
};

/// One step, seen from the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What kind of step.
    pub step: Step,
    /// The shard that was asked, where one was.
    pub shard: Option<ShardIndex>,
    /// Which leg, where the step concerns one.
    pub kind: Option<LegKind>,
    /// When the message was about to be sent.
    pub started: Instant,
    /// When the answer was there.
    pub ended: Instant,
    /// How many messages were sent to shards and awaited one after another.
    pub round_trips: u32,
    /// The same of messages to a lock service.
    pub lock_round_trips: u32,
    /// What the answer was.
    pub answer: Answer,
}

/// The answer to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To an effect or a vote.
    Attempt(Attempt),
    /// To a decision.
    Decision(Result<Decision, ShardError>),
    /// To phase two.
    Finish(Finish),
    /// To a tombstone or a recorded refusal.
    Tombstone(Result<Tombstone, ShardError>),
    /// To a question about a leg.
    Leg(Result<Option<StandingLeg>, ShardError>),
    /// To a claim, alone or with its debit.
    Claimed(Claimed),
    /// To a lock: the number of its grant.
    Locked(Result<i64, LockError>),
    /// To giving a lock back.
    Released(Result<Released, LockError>),
    /// To a wait for a transfer's end.
    Ended(Result<Option<Settled>, ShardError>),
    /// There is nothing to answer.
    None,
}

/// Somebody who is told of every step, at once and on the coordinator's own task: it must not
/// block.
pub trait Observer: Send + Sync {
    /// A step has ended.
    fn saw(&self, seen: Seen);
}

/// Verbs whose every step is told to an observer.
pub struct Observed<'a, V, O> {
    pub(super) verbs: &'a V,
    observer: &'a O,
}

impl<'a, V: Verbs, O: Observer> Observed<'a, V, O> {
    /// `verbs`, watched by `observer`.
    pub const fn new(verbs: &'a V, observer: &'a O) -> Self {
        Self { verbs, observer }
    }

    pub(super) fn tell(&self, step: Step, what: What, started: Instant, answer: Answer) {
        let What { shard, kind, round_trips, lock_round_trips } = what;
        let ended = Instant::now();
        self.observer.saw(Seen {
            step,
            shard,
            kind,
            started,
            ended,
            round_trips,
            lock_round_trips,
            answer,
        });
    }
}

/// Whom a step concerned and how many round trips it took.
pub(super) struct What {
    pub(super) shard: Option<ShardIndex>,
    pub(super) kind: Option<LegKind>,
    pub(super) round_trips: u32,
    pub(super) lock_round_trips: u32,
}

/// No message to anybody.
pub(super) const NOWHERE: What =
    What { shard: None, kind: None, round_trips: 0, lock_round_trips: 0 };

pub(super) const fn shard(shard: ShardIndex) -> What {
    What { shard: Some(shard), kind: None, round_trips: 1, lock_round_trips: 0 }
}

pub(super) const fn leg(shard: ShardIndex, kind: LegKind) -> What {
    What { shard: Some(shard), kind: Some(kind), round_trips: 1, lock_round_trips: 0 }
}

const fn register(key: &DecisionKey) -> What {
    match key.register {
        // The insert, and its answer: the standing decision is read only where one stood.
        Register::Table => shard(key.home),
        Register::File => NOWHERE,
    }
}

/// `BEGIN`, leg, effect, `PREPARE TRANSACTION`.
const ONE_BY_ONE_ROUND_TRIPS: u32 = 4;

impl<V: Verbs, O: Observer> Verbs for Observed<'_, V, O> {
    fn routing(&self) -> Routing {
        self.verbs.routing()
    }

    fn cluster(&self) -> ClusterId {
        self.verbs.cluster()
    }

    async fn epoch(&self) -> Result<Epoch, ShardError> {
        self.verbs.epoch().await
    }

    fn next_attempt(&self) -> u64 {
        self.verbs.next_attempt()
    }

    async fn transfer_locally(
        &self,
        on: ShardIndex,
        transfer: &Transfer,
        strategy: &'static str,
    ) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.transfer_locally(on, transfer, strategy).await;
        self.tell(Step::TransferLocally, shard(on), started, Answer::Attempt(attempt.clone()));
        attempt
    }

    async fn prepare(&self, branch: &Branch, gid: &Gid, how: Preparation) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.prepare(branch, gid, how).await;
        let mut what = leg(branch.shard, branch.kind);
        if how.statements == Statements::OneByOne {
            what.round_trips = ONE_BY_ONE_ROUND_TRIPS;
        }
        self.tell(Step::Prepare, what, started, Answer::Attempt(attempt.clone()));
        attempt
    }

    async fn apply_and_decide(
        &self,
        branch: &Branch,
        participants: Participants,
        strategy: &'static str,
    ) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.apply_and_decide(branch, participants, strategy).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::ApplyAndDecide, leg(branch.shard, branch.kind), started, answer);
        attempt
    }

    async fn record_refusal(
        &self,
        branch: &Branch,
        refusal: Refusal,
        strategy: &'static str,
    ) -> Result<Tombstone, ShardError> {
        let started = Instant::now();
        let tombstone = self.verbs.record_refusal(branch, refusal, strategy).await;
        let answer = Answer::Tombstone(tombstone.clone());
        self.tell(Step::RecordRefusal, leg(branch.shard, branch.kind), started, answer);
        tombstone
    }

    async fn entomb(
        &self,
        on: ShardIndex,
        transfer: TransferId,
        kind: LegKind,
    ) -> Result<Tombstone, ShardError> {
        let started = Instant::now();
        let tombstone = self.verbs.entomb(on, transfer, kind).await;
        self.tell(Step::Entomb, leg(on, kind), started, Answer::Tombstone(tombstone.clone()));
        tombstone
    }

    async fn read_leg(
        &self,
        on: ShardIndex,
        transfer: TransferId,
        kind: LegKind,
    ) -> Result<Option<StandingLeg>, ShardError> {
        let started = Instant::now();
        let standing = self.verbs.read_leg(on, transfer, kind).await;
        self.tell(Step::ReadLeg, leg(on, kind), started, Answer::Leg(standing.clone()));
        standing
    }

    async fn decide(
        &self,
        key: &DecisionKey,
        participants: Option<Participants>,
        wanted: Decision,
    ) -> Result<Decision, ShardError> {
        let started = Instant::now();
        let decision = self.verbs.decide(key, participants, wanted).await;
        self.tell(Step::Decide, register(key), started, Answer::Decision(decision.clone()));
        decision
    }

    async fn decide_abort(&self, key: &DecisionKey, why: Refusal) -> Result<Decision, ShardError> {
        let started = Instant::now();
        let decision = self.verbs.decide_abort(key, why).await;
        self.tell(Step::Decide, register(key), started, Answer::Decision(decision.clone()));
        decision
    }

    async fn commit_prepared(&self, on: ShardIndex, gid: &Gid) -> Finish {
        let started = Instant::now();
        let finish = self.verbs.commit_prepared(on, gid).await;
        self.tell(Step::CommitPrepared, leg(on, gid.kind), started, Answer::Finish(finish.clone()));
        finish
    }

    async fn roll_back_prepared(&self, on: ShardIndex, gid: &Gid) -> Finish {
        let started = Instant::now();
        let finish = self.verbs.roll_back_prepared(on, gid).await;
        let answer = Answer::Finish(finish.clone());
        self.tell(Step::RollBackPrepared, leg(on, gid.kind), started, answer);
        finish
    }

    async fn commit_prepared_later(&self, branches: Vec<(ShardIndex, Gid)>) {
        let started = Instant::now();
        self.verbs.commit_prepared_later(branches).await;
        self.tell(Step::CommitPreparedLater, NOWHERE, started, Answer::None);
    }

    fn forget(&self, key: &DecisionKey) {
        self.verbs.forget(key);
    }

    async fn list_prepared(&self, on: ShardIndex) -> Result<Vec<PreparedBranch>, ShardError> {
        self.verbs.list_prepared(on).await
    }

    async fn open_epochs(&self) -> Result<Vec<Epoch>, ShardError> {
        self.verbs.open_epochs().await
    }

    async fn close_epoch(&self, epoch: Epoch) -> Result<(), ShardError> {
        self.verbs.close_epoch(epoch).await
    }

    async fn liveness(&self, epoch: Epoch) -> Result<Liveness, ShardError> {
        self.verbs.liveness(epoch).await
    }

    async fn end_sessions(&self, on: ShardIndex, epoch: Epoch) -> Result<(), ShardError> {
        self.verbs.end_sessions(on, epoch).await
    }

    async fn back_off(&self, next_try: u32) {
        let started = Instant::now();
        self.verbs.back_off(next_try).await;
        self.tell(Step::BackOff, NOWHERE, started, Answer::None);
    }

    async fn reached(&self, point: FailPoint) {
        self.verbs.reached(point).await;
    }
}

/// How long something took, never negative.
#[must_use]
pub fn span(seen: &Seen) -> Duration {
    seen.ended.saturating_duration_since(seen.started)
}
