//! The storage operations that strategies are written in.
//!
//! This is the seam of the crate. A strategy knows shards only through [`Verbs`]: the real ones
//! run on Postgres (`ledger::PostgresVerbs`), and a second, in-memory set runs under a seeded
//! scheduler (`simulation`), so that the very same protocol code can be driven through crashes
//! and lost messages that real servers cannot be made to produce on request. Calls are
//! dispatched statically; the measured path pays nothing for the seam.
//!
//! A verb is one message to one shard wherever the protocol allows it. It answers with what is
//! *known*: that it happened, that it did not, or that nobody can tell. Absent here: SQL,
//! connections, clocks.

pub mod events;
pub mod gid;
pub mod holding;
pub mod locking;
pub mod observed;
mod observed_events;
mod observed_holds;
mod observed_locks;
mod observed_sagas;
pub mod saga;
mod step;

use std::future::Future;
use std::time::Duration;

pub use gid::{Gid, Register};

use crate::fail_points::FailPoint;
use crate::outcome::{Attempt, Decision, Finish, Refusal, ShardError, StandingLeg, Tombstone};
use crate::transfer::{
    Branch, ClusterId, Effects, Epoch, LegKind, Participants, Routing, ShardIndex, Transfer,
    TransferId,
};

/// Where the decision of a transfer is kept, and under which name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecisionKey {
    /// The table on the home shard, or a file.
    pub register: Register,
    /// Whose file, where it is one.
    pub epoch: Epoch,
    /// The shard that keeps the table.
    pub home: ShardIndex,
    /// Whose decision.
    pub transfer: TransferId,
    /// On behalf of which effects it is asked for. A `commit` that stands on an order of others,
    /// under the same id, is none for these.
    pub effects: Effects,
}

impl DecisionKey {
    /// Where the table keeps the decision on `transfer`.
    #[must_use]
    pub fn in_table(routing: Routing, epoch: Epoch, transfer: &Transfer) -> Self {
        Self {
            register: Register::Table,
            epoch,
            home: routing.home(transfer),
            transfer: transfer.id,
            effects: transfer.participants(routing).into(),
        }
    }
}

/// How the statements of a branch travel to the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Statements {
    /// One simple-query message; the server stops at the first error. One round trip and one
    /// wake-up at either end. Parsing a call of a function each time costs less than the wake-ups
    /// that it saves.
    #[default]
    OneMessage,
    /// Prepared statements sent together, every answer looked at. One round trip.
    Pipelined,
    /// A message for each statement, each answer awaited: what most applications do.
    OneByOne,
}

/// How a branch is to be prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preparation {
    /// The name that the leg row records.
    pub strategy: &'static str,
    /// How the statements travel.
    pub statements: Statements,
    /// Also write `commit` into the decision table inside the branch, where the decision itself
    /// goes to a file: a standing verdict of the table is found, and whoever asks the table
    /// meanwhile waits for this branch.
    pub claims_decision: bool,
}

/// A prepared transaction of this cluster, as a shard lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedBranch {
    /// Its name, parsed, with the very text that the shard gave.
    pub gid: Gid,
    /// How long it has been prepared, by the shard's clock.
    pub age: Duration,
}

/// Whether the coordinator of an epoch can still act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It is this very process.
    Own,
    /// Its session lock is held.
    Live,
    /// Its session lock was obtained: it has ended, or must take a new epoch before it starts
    /// anything more.
    Dead,
}

/// Everything that a strategy may ask: what all of them share, and what each family adds.
pub trait StrategyVerbs:
    locking::LockVerbs + saga::SagaVerbs + events::EventVerbs + holding::HoldVerbs
{
}

impl<V> StrategyVerbs for V where
    V: locking::LockVerbs + saga::SagaVerbs + events::EventVerbs + holding::HoldVerbs
{
}

/// What shards, and what outlives a coordinator, can be asked to do.
///
/// Every session runs at READ COMMITTED with a `lock_timeout`; a verb that meets another's lock
/// waits no longer than that. Unless a verb says otherwise, what it commits is durable when it
/// answers.
pub trait Verbs: Send + Sync {
    /// Where accounts live.
    fn routing(&self) -> Routing;

    /// The cluster's identity, for gids.
    fn cluster(&self) -> ClusterId;

    /// The epoch under which a try may start now. Where this process lost the session that
    /// guards its epoch, it takes a new one first.
    ///
    /// # Errors
    /// Shard 0 cannot be reached: nothing may start.
    fn epoch(&self) -> impl Future<Output = Result<Epoch, ShardError>> + Send;

    /// A number that this process never gave before.
    fn next_attempt(&self) -> u64;

    /// Both legs in one local transaction on `shard`. For an id that may be repeated it writes
    /// `commit` into the decision table in the same transaction.
    fn transfer_locally(
        &self,
        shard: ShardIndex,
        transfer: &Transfer,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;

    /// The branch's leg and effect, prepared as `gid`.
    fn prepare(
        &self,
        branch: &Branch,
        gid: &Gid,
        how: Preparation,
    ) -> impl Future<Output = Attempt> + Send;

    /// The branch's leg, its effect and the decision `commit`, in one local transaction on the
    /// home shard, which is the branch's.
    fn apply_and_decide(
        &self,
        branch: &Branch,
        participants: Participants,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;

    /// Records `refusal` as the branch's leg, so that the effect never will run and a repeated
    /// call gets the same answer.
    ///
    /// # Errors
    /// The shard did not answer; it may be recorded or not.
    fn record_refusal(
        &self,
        branch: &Branch,
        refusal: Refusal,
        strategy: &'static str,
    ) -> impl Future<Output = Result<Tombstone, ShardError>> + Send;

    /// Places a tombstone where `kind` of `transfer` would stand.
    ///
    /// # Errors
    /// The shard did not answer; it may be placed or not.
    fn entomb(
        &self,
        shard: ShardIndex,
        transfer: TransferId,
        kind: LegKind,
    ) -> impl Future<Output = Result<Tombstone, ShardError>> + Send;

    /// The leg as it stands, if one does. Its absence proves nothing.
    ///
    /// # Errors
    /// The shard did not answer.
    fn read_leg(
        &self,
        shard: ShardIndex,
        transfer: TransferId,
        kind: LegKind,
    ) -> impl Future<Output = Result<Option<StandingLeg>, ShardError>> + Send;

    /// Writes `wanted` unless a decision already stands; returns what the one that stands means
    /// for the effects of `key`. A `commit` without participants is one of the tool itself, whose
    /// id nobody else can use.
    ///
    /// # Errors
    /// The register did not answer: `wanted` may stand or not.
    fn decide(
        &self,
        key: &DecisionKey,
        participants: Option<Participants>,
        wanted: Decision,
    ) -> impl Future<Output = Result<Decision, ShardError>> + Send;

    /// Asks by writing, for whoever does not know the outcome: inserts `abort` unless a decision
    /// already stands; returns what the one that stands means for the effects of `key`.
    ///
    /// # Errors
    /// The register did not answer, or it is a file that somebody else owns.
    fn decide_abort(
        &self,
        key: &DecisionKey,
        why: Refusal,
    ) -> impl Future<Output = Result<Decision, ShardError>> + Send;

    /// `COMMIT PREPARED`.
    fn commit_prepared(&self, shard: ShardIndex, gid: &Gid) -> impl Future<Output = Finish> + Send;

    /// `ROLLBACK PREPARED`.
    fn roll_back_prepared(
        &self,
        shard: ShardIndex,
        gid: &Gid,
    ) -> impl Future<Output = Finish> + Send;

    /// `COMMIT PREPARED` of all of them, some time soon, by somebody else; waits only for a place
    /// in the queue.
    fn commit_prepared_later(
        &self,
        branches: Vec<(ShardIndex, Gid)>,
    ) -> impl Future<Output = ()> + Send;

    /// Both branches of a committed transfer are carried out: a register that keeps decisions in
    /// memory may forget this one. Nothing durable changes.
    fn forget(&self, _key: &DecisionKey) {}

    /// The prepared transactions of this cluster in this shard's database.
    ///
    /// # Errors
    /// The shard did not answer.
    fn list_prepared(
        &self,
        shard: ShardIndex,
    ) -> impl Future<Output = Result<Vec<PreparedBranch>, ShardError>> + Send;

    /// The epochs that have begun and are not closed, this process's own among them.
    ///
    /// # Errors
    /// Shard 0 did not answer.
    fn open_epochs(&self) -> impl Future<Output = Result<Vec<Epoch>, ShardError>> + Send;

    /// Notes that a dead `epoch` has no session and no prepared transaction left on any shard.
    ///
    /// # Errors
    /// Shard 0 did not answer.
    fn close_epoch(&self, epoch: Epoch) -> impl Future<Output = Result<(), ShardError>> + Send;

    /// Whether the coordinator of `epoch` can still act; to say [`Liveness::Dead`], its lock was
    /// obtained.
    ///
    /// # Errors
    /// Shard 0 did not answer.
    fn liveness(&self, epoch: Epoch) -> impl Future<Output = Result<Liveness, ShardError>> + Send;

    /// Ends every session of a dead `epoch` on `shard`, and returns when none is left.
    ///
    /// # Errors
    /// The shard did not answer, or a session would not end.
    fn end_sessions(
        &self,
        shard: ShardIndex,
        epoch: Epoch,
    ) -> impl Future<Output = Result<(), ShardError>> + Send;

    /// Waits before the `next_try`-th try (the second is 2): exponential, with full jitter.
    fn back_off(&self, next_try: u32) -> impl Future<Output = ()> + Send;

    /// Marks a fail point. Returns at once unless it is armed.
    fn reached(&self, point: FailPoint) -> impl Future<Output = ()> + Send;
}
