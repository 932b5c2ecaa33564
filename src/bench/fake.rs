//! Verbs that only count: for the accounting of runs, not for what Postgres does.

mod events;
mod holds;
mod locks;
mod sagas;

use std::future::pending;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::bench::driver::Connector;
use crate::bench::plan::{Length, Point};
use crate::bench::workload::Access;
use crate::config::HotOn;
use crate::fail_points::FailPoint;
use crate::outcome::{
    AbortReason, Attempt, Decision, Finish, Refusal, ShardError, StandingLeg, Tombstone,
};
use crate::transfer::{
    Branch, ClusterId, Epoch, LegKind, Participants, Routing, ShardIndex, Transfer, TransferId,
};
use crate::verbs::{DecisionKey, Gid, Liveness, Preparation, PreparedBranch, Verbs};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Obliging,
    Silent,
    Unreachable,
    TooSlow,
}

/// Local transfers that all behave alike.
#[derive(Clone, Copy)]
pub struct Fake(Mood);

impl Fake {
    pub const fn obliging() -> Self {
        Self(Mood::Obliging)
    }

    pub const fn silent() -> Self {
        Self(Mood::Silent)
    }

    pub const fn unreachable() -> Self {
        Self(Mood::Unreachable)
    }

    /// Whose holds have all expired by the time they are decided on.
    pub const fn too_slow() -> Self {
        Self(Mood::TooSlow)
    }
}

/// A short run without a warm-up.
pub fn point(clients: u32, jobs: u32) -> Point {
    Point {
        shards: 2,
        accounts: 100,
        clients,
        jobs,
        length: Length::Transfers(1),
        warm_up: Duration::ZERO,
        access: Access::Uniform,
        hot_on: HotOn::Both,
        cross_shard_percent: 100.0,
        reject_percent: 0.0,
        amount_max: 10,
        max_tries: NonZeroU32::MIN,
        seed: 1,
    }
}

impl Connector for Fake {
    type Verbs = Self;

    async fn open(&self, _: u32) -> Result<Self, String> {
        match self.0 {
            Mood::Unreachable => Err("shard 0 is away".to_owned()),
            Mood::Obliging | Mood::Silent | Mood::TooSlow => Ok(*self),
        }
    }

    async fn settle(&self, _: &Self) -> Result<(), String> {
        Ok(())
    }
}

impl Verbs for Fake {
    fn routing(&self) -> Routing {
        Routing::new(2)
    }

    fn cluster(&self) -> ClusterId {
        ClusterId(uuid::Uuid::nil())
    }

    async fn epoch(&self) -> Result<Epoch, ShardError> {
        Ok(Epoch(1))
    }

    fn next_attempt(&self) -> u64 {
        0
    }

    async fn transfer_locally(&self, _: ShardIndex, _: &Transfer, _: &'static str) -> Attempt {
        if self.0 == Mood::Silent {
            pending::<()>().await;
        }
        tokio::task::yield_now().await;
        Attempt::Done
    }

    async fn prepare(&self, _: &Branch, _: &Gid, _: Preparation) -> Attempt {
        Attempt::Done
    }

    async fn apply_and_decide(&self, _: &Branch, _: Participants, _: &'static str) -> Attempt {
        Attempt::Done
    }

    async fn record_refusal(
        &self,
        _: &Branch,
        _: Refusal,
        _: &'static str,
    ) -> Result<Tombstone, ShardError> {
        Ok(Tombstone::Placed)
    }

    async fn entomb(
        &self,
        _: ShardIndex,
        _: TransferId,
        _: LegKind,
    ) -> Result<Tombstone, ShardError> {
        Ok(Tombstone::Placed)
    }

    async fn read_leg(
        &self,
        _: ShardIndex,
        _: TransferId,
        _: LegKind,
    ) -> Result<Option<StandingLeg>, ShardError> {
        Ok(None)
    }

    async fn decide(
        &self,
        _: &DecisionKey,
        _: Option<Participants>,
        wanted: Decision,
    ) -> Result<Decision, ShardError> {
        Ok(match self.0 {
            Mood::TooSlow => Decision::Abort(Refusal::Aborted(AbortReason::Expired)),
            Mood::Obliging | Mood::Silent | Mood::Unreachable => wanted,
        })
    }

    async fn decide_abort(&self, _: &DecisionKey, why: Refusal) -> Result<Decision, ShardError> {
        Ok(Decision::Abort(why))
    }

    async fn commit_prepared(&self, _: ShardIndex, _: &Gid) -> Finish {
        Finish::Done
    }

    async fn roll_back_prepared(&self, _: ShardIndex, _: &Gid) -> Finish {
        Finish::Done
    }

    async fn commit_prepared_later(&self, _: Vec<(ShardIndex, Gid)>) {}

    async fn list_prepared(&self, _: ShardIndex) -> Result<Vec<PreparedBranch>, ShardError> {
        Ok(Vec::new())
    }

    async fn open_epochs(&self) -> Result<Vec<Epoch>, ShardError> {
        Ok(Vec::new())
    }

    async fn close_epoch(&self, _: Epoch) -> Result<(), ShardError> {
        Ok(())
    }

    async fn liveness(&self, _: Epoch) -> Result<Liveness, ShardError> {
        Ok(Liveness::Own)
    }

    async fn end_sessions(&self, _: ShardIndex, _: Epoch) -> Result<(), ShardError> {
        Ok(())
    }

    async fn back_off(&self, _: u32) {}

    async fn reached(&self, _: FailPoint) {}
}
