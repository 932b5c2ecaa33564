//! Locks that are always granted, and effects under them that always succeed.

use std::time::Duration;

use tokio::time::Instant;

use super::Fake;
use crate::outcome::{Attempt, ShardError};
use crate::transfer::{Branch, ShardIndex};
use crate::verbs::locking::{
    BoxFuture, Claimed, Concerning, Fence, HolderId, Intent, Lock, LockError, LockKey, LockVerbs,
    Released,
};

struct Granted;

impl Lock for Granted {
    fn fence(&self) -> Fence {
        Fence { epoch: 0, token: 1, holder: HolderId(uuid::Uuid::nil()) }
    }

    fn stop_at(&self) -> Option<Instant> {
        None
    }

    fn round_trips(&self) -> u32 {
        1
    }

    fn release(self: Box<Self>) -> BoxFuture<'static, Result<Released, LockError>> {
        Box::pin(async { Ok(Released::Owned) })
    }
}

impl LockVerbs for Fake {
    fn lock_wait(&self) -> Duration {
        Duration::ZERO
    }

    async fn lock(&self, _: LockKey, _: Instant) -> Result<Box<dyn Lock>, LockError> {
        Ok(Box::new(Granted))
    }

    async fn unlock(&self, _: LockKey, lock: Box<dyn Lock>) -> Result<Released, LockError> {
        lock.release().await
    }

    async fn claim(&self, _: &Branch, _: Fence) -> Claimed {
        Claimed::Done
    }

    async fn debit_with_intent(&self, _: &Branch, _: Fence, _: &'static str) -> Claimed {
        Claimed::Done
    }

    async fn credit_under_fence(&self, _: &Branch, _: Fence, _: &'static str) -> Attempt {
        Attempt::Done
    }

    async fn credit_intended(&self, _: &Branch, _: &'static str) -> Attempt {
        Attempt::Done
    }

    async fn refund(&self, _: &Branch, _: &'static str) -> Attempt {
        Attempt::Done
    }

    async fn close_intent(&self, _: &Branch) -> Result<(), ShardError> {
        Ok(())
    }

    async fn open_intents(&self, _: ShardIndex, _: Concerning) -> Result<Vec<Intent>, ShardError> {
        Ok(Vec::new())
    }

    async fn read_balance(&self, _: &Branch) -> Result<i64, Attempt> {
        Ok(i64::from(u32::MAX))
    }

    async fn write_balance(&self, _: &Branch, _: i64, _: &'static str) -> Attempt {
        Attempt::Done
    }
}
