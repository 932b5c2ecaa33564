//! The verbs of strategies under locks, each call a message.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{Plant, SimulatedVerbs, attempt_of, lost};
use crate::outcome::{Attempt, ShardError};
use crate::simulation::locking::LockRequest;
use crate::simulation::network::{Reply, Request};
use crate::transfer::{Branch, Epoch, ShardIndex};
use crate::verbs::locking::{
    BoxFuture, Claimed, Concerning, Fence, HolderId, Intent, Left, Lock, LockError, LockKey,
    LockVerbs, Released,
};

/// More locks than a task ever takes.
const LOCKS_OF_A_TASK: u64 = 1000;

/// The epoch of every intent: recovery without a grace asks nobody whether its writer lives.
const NO_EPOCH: Epoch = Epoch(0);

/// A lock that proves nothing: others hold it too.
struct Held(Fence);

impl Lock for Held {
    fn fence(&self) -> Fence {
        self.0
    }

    /// Never: whoever holds it does not notice that its lease has run out.
    fn stop_at(&self) -> Option<Instant> {
        None
    }

    fn round_trips(&self) -> u32 {
        1
    }

    fn release(self: Box<Self>) -> BoxFuture<'static, Result<Released, LockError>> {
        Box::pin(async { Ok(Released::AlreadyGone) })
    }
}

impl SimulatedVerbs {
    async fn ask_locking(&self, request: LockRequest) -> Reply {
        self.mailbox.ask(Request::Locking(request)).await
    }

    async fn claimed(&self, shard: ShardIndex, request: LockRequest) -> Claimed {
        match self.ask_locking(request).await {
            Reply::Done => Claimed::Done,
            Reply::LeftHere => Claimed::Left(Left::OnOwnShard),
            Reply::LeftAnywhere => Claimed::Left(Left::OnAnyShard),
            no => Claimed::Not(attempt_of(shard, no)),
        }
    }

    async fn effect(&self, branch: &Branch, request: LockRequest) -> Attempt {
        self.attempt(branch.shard, Request::Locking(request)).await
    }
}

impl LockVerbs for SimulatedVerbs {
    fn lock_wait(&self) -> Duration {
        Duration::ZERO
    }

    async fn lock(&self, key: LockKey, _until: Instant) -> Result<Box<dyn Lock>, LockError> {
        let number = self.mailbox.with(|post| {
            post.locks += 1;
            self.task * LOCKS_OF_A_TASK + post.locks
        });
        match self.ask_locking(LockRequest::Lock(key)).await {
            Reply::Granted(epoch, token) => {
                let holder = HolderId(Uuid::from_u128(number.into()));
                Ok(Box::new(Held(Fence { epoch, token, holder })))
            }
            _ => Err(LockError::Unavailable("the answer did not come".to_owned())),
        }
    }

    /// Nobody hears of it: the next one is granted the lock whether it was released or not.
    async fn unlock(&self, _: LockKey, lock: Box<dyn Lock>) -> Result<Released, LockError> {
        lock.release().await
    }

    async fn claim(&self, branch: &Branch, fence: Fence) -> Claimed {
        self.claimed(branch.shard, LockRequest::Claim(*branch, fence)).await
    }

    async fn debit_with_intent(
        &self,
        debit: &Branch,
        fence: Fence,
        strategy: &'static str,
    ) -> Claimed {
        self.claimed(debit.shard, LockRequest::Debit(*debit, fence, strategy)).await
    }

    async fn credit_under_fence(
        &self,
        credit: &Branch,
        fence: Fence,
        strategy: &'static str,
    ) -> Attempt {
        self.effect(credit, LockRequest::Credit(*credit, fence, strategy)).await
    }

    async fn credit_intended(&self, credit: &Branch, strategy: &'static str) -> Attempt {
        let request = match self.plant {
            Some(Plant::CreditWithoutLeg) => LockRequest::CreditWithoutLeg(*credit),
            _ => LockRequest::CreditIntended(*credit, strategy),
        };
        self.effect(credit, request).await
    }

    async fn refund(&self, debit: &Branch, strategy: &'static str) -> Attempt {
        self.effect(debit, LockRequest::Refund(*debit, strategy)).await
    }

    async fn close_intent(&self, debit: &Branch) -> Result<(), ShardError> {
        match self.ask_locking(LockRequest::CloseIntent(*debit)).await {
            Reply::Done => Ok(()),
            _ => Err(lost(debit.shard)),
        }
    }

    async fn open_intents(
        &self,
        shard: ShardIndex,
        concerning: Concerning,
    ) -> Result<Vec<Intent>, ShardError> {
        if !self.leavings.intents {
            return Ok(Vec::new());
        }
        let of = match concerning {
            Concerning::Anybody => [None, None],
            Concerning::Source(account) => [Some(account), None],
            Concerning::Target(account) => [None, Some(account)],
        };
        match self.ask_locking(LockRequest::OpenIntents(shard, of)).await {
            Reply::Intents(open) => {
                let old = |transfer| Intent { transfer, epoch: NO_EPOCH, age: Duration::ZERO };
                Ok(open.into_iter().map(old).collect())
            }
            _ => Err(lost(shard)),
        }
    }

    async fn read_balance(&self, branch: &Branch) -> Result<i64, Attempt> {
        match self.ask_locking(LockRequest::ReadBalance(*branch)).await {
            Reply::Balance(balance) => Ok(balance),
            no => Err(attempt_of(branch.shard, no)),
        }
    }

    async fn write_balance(
        &self,
        branch: &Branch,
        balance: i64,
        strategy: &'static str,
    ) -> Attempt {
        self.effect(branch, LockRequest::WriteBalance(*branch, balance, strategy)).await
    }
}
