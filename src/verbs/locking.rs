//! The vocabulary of distributed locks: what is locked, what a grant is worth, how it is lost.
//!
//! A lock is coordination, never atomicity and never safety: its holder may be stopped for longer
//! than its lease runs. What makes a stale holder harmless is the [`Fence`], which every shard
//! checks in the statement that writes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::outcome::{Attempt, ShardError};
use crate::transfer::{AccountId, Branch, Epoch, ShardIndex, Transfer};
use crate::verbs::Verbs;

/// A boxed future: lock services are chosen at run time, and each call of one is a message.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is locked: an account. Keys are taken in their order, which is that of what a service
/// really locks, so that two transfers never wait for each other in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockKey {
    /// Where the account lives.
    pub shard: ShardIndex,
    /// Which.
    pub account: AccountId,
}

/// One acquisition of one lock. A fresh one for each, so that nobody releases another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HolderId(pub Uuid);

impl HolderId {
    /// Nobody else's.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// What a grant is known by in the shards. A later grant's is greater; of two that are equal, as
/// a split service gives them, the shard lets in the one that came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Raised whenever the service, or its identity, is another than before: tokens of two
    /// services cannot be compared.
    pub epoch: i32,
    /// The service's own number of this grant; it only grows.
    pub token: i64,
    /// Whose it is.
    pub holder: HolderId,
}

/// How locks are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockTerms {
    /// How long a grant lasts unless it is renewed. A service may grant more, never less.
    pub ttl: Duration,
    /// How long both locks of a transfer are waited for, together.
    pub wait: Duration,
}

impl Default for LockTerms {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(5), wait: Duration::from_secs(2) }
    }
}

/// Why a lock is not, or no longer, held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Others held it for as long as it was waited for. It is not held.
    #[error("the lock was not granted in time")]
    Timeout,
    /// The service cannot be reached, or does not answer. Should it have granted the lock all the
    /// same, the grant is found by its holder's id and taken back, or runs out.
    #[error("the lock service does not answer: {0}")]
    Unavailable(String),
    /// It was held and is not any more, or nobody can be sure that it is.
    #[error("the lock was lost: {0}")]
    Lost(String),
}

/// What became of a lock that was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It was held until now.
    Owned,
    /// It had run out, or was somebody else's by now.
    AlreadyGone,
}

/// A lock that is held.
pub trait Lock: Send + Sync {
    /// What the shards know it by.
    fn fence(&self) -> Fence;

    /// When work under it must stop: its lease less a margin, on the monotonic clock, whatever
    /// becomes of the renewal. Nothing where it lasts as long as its session.
    fn stop_at(&self) -> Option<Instant>;

    /// How many messages to the service it has taken so far, one awaited after another.
    fn round_trips(&self) -> u32;

    /// Gives it back.
    fn release(self: Box<Self>) -> BoxFuture<'static, Result<Released, LockError>>;
}

/// Whoever grants locks.
pub trait LockService: Send + Sync {
    /// Acquires `key`, waiting until `until`. Dropped half-way, it leaves nothing locked.
    ///
    /// # Errors
    /// It is not held.
    fn acquire(
        &self,
        key: LockKey,
        until: Instant,
    ) -> BoxFuture<'_, Result<Box<dyn Lock>, LockError>>;
}

/// A transfer under locks whose debit is made and whose credit, or refund, is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// The transfer.
    pub transfer: Transfer,
    /// Whose it was.
    pub epoch: Epoch,
    /// How long ago the debit was made, by the source's shard.
    pub age: Duration,
}

/// Where somebody who died, or lost a lock, may have left an intent that concerns an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// On the account's own shard, which is its source.
    OnOwnShard,
    /// Towards the account, on any shard.
    OnAnyShard,
}

/// How a claim, or a claim with its debit, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is done, and nobody left anything.
    Done,
    /// The account is claimed and nothing else was done: first finish what was left.
    Left(Left),
    /// It is not done, for the reason that any effect can have.
    Not(Attempt),
}

/// Which open intents are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concerning {
    /// All of them.
    Anybody,
    /// Those whose source it is.
    Source(AccountId),
    /// Those whose target it is.
    Target(AccountId),
}

/// What strategies under locks ask of shards and of the lock service, beside [`Verbs`].
pub trait LockVerbs: Verbs {
    /// How long both locks of a transfer are waited for, together.
    fn lock_wait(&self) -> Duration;

    /// Acquires a lock, waiting until `until`.
    ///
    /// # Errors
    /// It is not held.
    fn lock(
        &self,
        key: LockKey,
        until: Instant,
    ) -> impl Future<Output = Result<Box<dyn Lock>, LockError>> + Send;

    /// Gives a lock back. What cannot be given back runs out.
    fn unlock(
        &self,
        key: LockKey,
        lock: Box<dyn Lock>,
    ) -> impl Future<Output = Result<Released, LockError>> + Send;

    /// Raises the fence of the branch's account. It moves no money.
    fn claim(&self, branch: &Branch, fence: Fence) -> impl Future<Output = Claimed> + Send;

    /// Claims the source and, where nothing was left on it, debits it and writes the intent, in
    /// one local transaction.
    fn debit_with_intent(
        &self,
        debit: &Branch,
        fence: Fence,
        strategy: &'static str,
    ) -> impl Future<Output = Claimed> + Send;

    /// The credit of a target that was claimed with `fence`.
    fn credit_under_fence(
        &self,
        credit: &Branch,
        fence: Fence,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;

    /// The credit that an intent promises, by whoever found it. Brings a newer fence of its own.
    fn credit_intended(
        &self,
        credit: &Branch,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;

    /// Gives the source of `debit` back what was debited, and closes the intent. To be asked for
    /// only once the credit's leg stands and is not applied.
    fn refund(
        &self,
        debit: &Branch,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;

    /// Notes that the credit is there. Nothing relies on it, so it is not waited for until it is
    /// durable: an intent that is open again is finished again, to no effect.
    ///
    /// # Errors
    /// The shard did not answer.
    fn close_intent(&self, debit: &Branch) -> impl Future<Output = Result<(), ShardError>> + Send;

    /// The open intents of a shard.
    ///
    /// # Errors
    /// The shard did not answer.
    fn open_intents(
        &self,
        shard: ShardIndex,
        concerning: Concerning,
    ) -> impl Future<Output = Result<Vec<Intent>, ShardError>> + Send;

    /// Reads the branch's balance and nothing else, as an application would that trusts its lock.
    ///
    /// # Errors
    /// Why the effect cannot be.
    fn read_balance(&self, branch: &Branch) -> impl Future<Output = Result<i64, Attempt>> + Send;

    /// Writes a balance that was computed from one read before, with its leg: what makes
    /// `lock-naive` lose money.
    fn write_balance(
        &self,
        branch: &Branch,
        balance: i64,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;
}
