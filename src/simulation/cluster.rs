//! The second implementation of the verbs: each call is a message that the scheduler carries.
//!
//! A call is handed over when it is first polled and answered when the scheduler has put the
//! answer in its place. Nothing here decides anything.

mod events;
mod holds;
mod locks;
mod sagas;

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use uuid::Uuid;

use super::leavings::Leavings;
use super::network::{LegRow, Reply, Request};
use crate::fail_points::FailPoint;
use crate::outcome::{
    AbortReason, Attempt, Decision, Finish, Refusal, ShardError, StandingLeg, Tombstone, Verdict,
};
use crate::strategies::ending::Order;
use crate::transfer::{
    Branch, ClusterId, Epoch, LegKind, Participants, Routing, ShardIndex, Transfer, TransferId,
};
use crate::verbs::{DecisionKey, Gid, Liveness, Preparation, PreparedBranch, Verbs};

/// The cluster's identity.
pub const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

#[derive(Debug, Default)]
struct Post {
    /// What was sent and not collected, with its number in this task.
    sent: Vec<(usize, Request)>,
    answered: HashMap<usize, Reply>,
    calls: usize,
    attempts: u64,
    locks: u64,
}

/// The place where one task leaves its calls and finds the answers.
#[derive(Debug, Clone, Default)]
pub struct Mailbox(Arc<Mutex<Post>>);

impl Mailbox {
    fn with<T>(&self, act: impl FnOnce(&mut Post) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the task has sent since this was last asked, with the number of each call.
    #[must_use]
    pub fn collect(&self) -> Vec<(usize, Request)> {
        self.with(|post| std::mem::take(&mut post.sent))
    }

    /// Answers the call with this number.
    pub fn answer(&self, call: usize, reply: Reply) {
        self.with(|post| post.answered.insert(call, reply));
    }

    fn send(&self, request: Request) -> usize {
        self.with(|post| {
            post.calls += 1;
            post.sent.push((post.calls, request));
            post.calls
        })
    }

    async fn ask(&self, request: Request) -> Reply {
        let call = self.send(request);
        poll_fn(|_| match self.with(|post| post.answered.remove(&call)) {
            Some(reply) => Poll::Ready(reply),
            None => Poll::Pending,
        })
        .await
    }
}

/// The verbs as one task sees them.
#[derive(Debug)]
pub struct SimulatedVerbs {
    mailbox: Mailbox,
    routing: Routing,
    /// Which task of its process: attempts never repeat within a process.
    task: u64,
    plant: Option<Plant>,
    leavings: Leavings,
}

/// A bug that is put between the protocols and the shards, for the test of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// That a target refuses is taken for recorded without asking it: the refund does not wait
    /// until the credit's leg is final.
    RefusalOfCredit,
    /// What an intent promises is credited without a leg that says so.
    CreditWithoutLeg,
    /// A hold that has expired is cancelled without asking home.
    ExpiryByItself,
    /// What an event asks for is credited without a leg that says so.
    EventWithoutLeg,
    /// That a target does not answer an event is taken for its refusal.
    RefundOnSilence,
}

/// More tries than a task ever makes.
const ATTEMPTS_OF_A_TASK: u64 = 1000;

impl SimulatedVerbs {
    /// The verbs of task `task`, which leaves its calls in `mailbox`.
    #[must_use]
    pub const fn new(
        mailbox: Mailbox,
        routing: Routing,
        task: u64,
        plant: Option<Plant>,
        leavings: Leavings,
    ) -> Self {
        Self { mailbox, routing, task, plant, leavings }
    }

    async fn attempt(&self, shard: ShardIndex, request: Request) -> Attempt {
        attempt_of(shard, self.mailbox.ask(request).await)
    }

    async fn decided(&self, key: &DecisionKey, wanted: Verdict) -> Result<Decision, ShardError> {
        match self.mailbox.ask(Request::Decide(*key, wanted)).await {
            Reply::Decision(standing) => Ok(standing.on(&key.effects)),
            _ => Err(lost(key.home)),
        }
    }

    async fn tombstone(
        &self,
        shard: ShardIndex,
        request: Request,
    ) -> Result<Tombstone, ShardError> {
        match self.mailbox.ask(request).await {
            Reply::Placed => Ok(Tombstone::Placed),
            Reply::Stands(leg) => Ok(Tombstone::Stands(standing(leg))),
            Reply::InFlight => Ok(Tombstone::InFlight),
            Reply::Lost => Err(lost(shard)),
            reply => unreachable!("{reply:?} answers no tombstone"),
        }
    }

    async fn finish(&self, shard: ShardIndex, gid: &Gid, order: Order) -> Finish {
        match self.mailbox.ask(Request::Finish(shard, gid.clone(), order)).await {
            Reply::Done => Finish::Done,
            Reply::Missing => Finish::Missing,
            Reply::Busy => Finish::Busy,
            Reply::Lost => Finish::Unknown(lost(shard)),
            reply => unreachable!("{reply:?} finishes nothing"),
        }
    }
}

fn attempt_of(shard: ShardIndex, reply: Reply) -> Attempt {
    match reply {
        Reply::Done => Attempt::Done,
        Reply::Rejected(rejection) => Attempt::Rejected(rejection),
        Reply::LegStands => Attempt::LegStands,
        Reply::DecisionStands => Attempt::DecisionStands,
        Reply::Retry(reason) => Attempt::Retry(reason),
        Reply::Failed => Attempt::Failed(error(shard, "the shard cannot")),
        Reply::Lost => Attempt::Unknown(lost(shard)),
        reply => unreachable!("{reply:?} answers no attempt"),
    }
}

fn error(shard: ShardIndex, message: &str) -> ShardError {
    ShardError { shard, sqlstate: None, message: message.to_owned() }
}

fn lost(shard: ShardIndex) -> ShardError {
    error(shard, "the answer did not come")
}

fn standing(leg: LegRow) -> StandingLeg {
    let LegRow { outcome, arguments, strategy, .. } = leg;
    StandingLeg { outcome, arguments, strategy: strategy.to_owned() }
}

const SHARD_0: ShardIndex = ShardIndex(0);

impl Verbs for SimulatedVerbs {
    fn routing(&self) -> Routing {
        self.routing
    }

    fn cluster(&self) -> ClusterId {
        CLUSTER
    }

    async fn epoch(&self) -> Result<Epoch, ShardError> {
        match self.mailbox.ask(Request::Epoch).await {
            Reply::Epoch(epoch) => Ok(epoch),
            _ => Err(lost(SHARD_0)),
        }
    }

    fn next_attempt(&self) -> u64 {
        self.mailbox.with(|post| {
            post.attempts += 1;
            self.task * ATTEMPTS_OF_A_TASK + post.attempts
        })
    }

    async fn transfer_locally(
        &self,
        shard: ShardIndex,
        transfer: &Transfer,
        strategy: &'static str,
    ) -> Attempt {
        self.attempt(shard, Request::TransferLocally(shard, *transfer, strategy)).await
    }

    async fn prepare(&self, branch: &Branch, gid: &Gid, how: Preparation) -> Attempt {
        let claim = how.claims_decision.then(|| branch.transfer.participants(self.routing()));
        let request = Request::Prepare(*branch, gid.clone(), how.strategy, claim);
        self.attempt(branch.shard, request).await
    }

    async fn apply_and_decide(
        &self,
        branch: &Branch,
        participants: Participants,
        strategy: &'static str,
    ) -> Attempt {
        self.attempt(branch.shard, Request::ApplyAndDecide(*branch, participants, strategy)).await
    }

    async fn record_refusal(
        &self,
        branch: &Branch,
        refusal: Refusal,
        strategy: &'static str,
    ) -> Result<Tombstone, ShardError> {
        if self.plant == Some(Plant::RefusalOfCredit) && branch.kind == LegKind::Credit {
            return Ok(Tombstone::Placed);
        }
        self.tombstone(branch.shard, Request::RecordRefusal(*branch, refusal, strategy)).await
    }

    async fn entomb(
        &self,
        shard: ShardIndex,
        transfer: TransferId,
        kind: LegKind,
    ) -> Result<Tombstone, ShardError> {
        self.tombstone(shard, Request::Entomb(shard, transfer, kind)).await
    }

    async fn read_leg(
        &self,
        shard: ShardIndex,
        transfer: TransferId,
        kind: LegKind,
    ) -> Result<Option<StandingLeg>, ShardError> {
        match self.mailbox.ask(Request::ReadLeg(shard, transfer, kind)).await {
            Reply::Stands(leg) => Ok(Some(standing(leg))),
            Reply::NoLeg => Ok(None),
            _ => Err(lost(shard)),
        }
    }

    async fn decide(
        &self,
        key: &DecisionKey,
        participants: Option<Participants>,
        wanted: Decision,
    ) -> Result<Decision, ShardError> {
        self.decided(key, Verdict { decision: wanted, participants }).await
    }

    async fn decide_abort(&self, key: &DecisionKey, why: Refusal) -> Result<Decision, ShardError> {
        let expired = Refusal::Aborted(AbortReason::Expired);
        if self.plant == Some(Plant::ExpiryByItself) && why == expired {
            return Ok(Decision::Abort(expired));
        }
        self.decided(key, Verdict { decision: Decision::Abort(why), participants: None }).await
    }

    async fn commit_prepared(&self, shard: ShardIndex, gid: &Gid) -> Finish {
        self.finish(shard, gid, Order::Commit).await
    }

    async fn roll_back_prepared(&self, shard: ShardIndex, gid: &Gid) -> Finish {
        self.finish(shard, gid, Order::RollBack).await
    }

    async fn commit_prepared_later(&self, branches: Vec<(ShardIndex, Gid)>) {
        self.mailbox.ask(Request::FinishLater(branches)).await;
    }

    fn forget(&self, key: &DecisionKey) {
        self.mailbox.send(Request::Forget(*key));
    }

    async fn list_prepared(&self, shard: ShardIndex) -> Result<Vec<PreparedBranch>, ShardError> {
        match self.mailbox.ask(Request::ListPrepared(shard)).await {
            Reply::Prepared(gids) => {
                let old = |gid| PreparedBranch { gid, age: Duration::ZERO };
                Ok(gids.into_iter().map(old).collect())
            }
            _ => Err(lost(shard)),
        }
    }

    async fn open_epochs(&self) -> Result<Vec<Epoch>, ShardError> {
        match self.mailbox.ask(Request::OpenEpochs).await {
            Reply::Epochs(epochs) => Ok(epochs),
            _ => Err(lost(SHARD_0)),
        }
    }

    async fn close_epoch(&self, epoch: Epoch) -> Result<(), ShardError> {
        match self.mailbox.ask(Request::CloseEpoch(epoch)).await {
            Reply::Done => Ok(()),
            _ => Err(lost(SHARD_0)),
        }
    }

    async fn liveness(&self, epoch: Epoch) -> Result<Liveness, ShardError> {
        match self.mailbox.ask(Request::Liveness(epoch)).await {
            Reply::Own => Ok(Liveness::Own),
            Reply::Live => Ok(Liveness::Live),
            Reply::Dead => Ok(Liveness::Dead),
            _ => Err(lost(SHARD_0)),
        }
    }

    async fn end_sessions(&self, shard: ShardIndex, epoch: Epoch) -> Result<(), ShardError> {
        match self.mailbox.ask(Request::EndSessions(shard, epoch)).await {
            Reply::Done => Ok(()),
            _ => Err(lost(shard)),
        }
    }

    /// At once: that the next call is carried out later is the scheduler's to choose anyway.
    async fn back_off(&self, _next_try: u32) {}

    /// At once: a death here is a death before the next call is carried out.
    async fn reached(&self, _point: FailPoint) {}
}
