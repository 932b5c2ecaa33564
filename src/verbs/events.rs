//! The vocabulary of transfers by events: what is announced, who is told, how it ends.
//!
//! An event is a row that is written in the transaction whose change it announces, so it is there
//! if and only if the change is. Relays carry it to the shard that it is addressed to. That may
//! happen any number of times and in any order: handling one takes effect once, because the effect
//! inserts its own leg first.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::outcome::{Attempt, Refusal, ShardError};
use crate::transfer::{AccountId, Branch, Epoch, Routing, ShardIndex, Transfer, TransferId};
use crate::verbs::Verbs;

/// What an event announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// The source is debited.
    DebitCompleted,
    /// The target is credited.
    CreditCompleted,
    /// The target never will be credited.
    CreditRejected,
}

impl EventType {
    /// As the `outbox` table spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DebitCompleted => "debit_completed",
            Self::CreditCompleted => "credit_completed",
            Self::CreditRejected => "credit_rejected",
        }
    }
}

/// One event of one transfer. There is at most one of each type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Event {
    /// The transfer, whole: an event carries all that its addressee needs.
    pub transfer: Transfer,
    /// What has happened to it.
    pub what: Happened,
}

/// What has happened to a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Happened {
    /// The source is debited.
    DebitCompleted,
    /// The target is credited.
    CreditCompleted,
    /// The target never will be credited: its leg is there and says why.
    CreditRejected(Refusal),
}

impl Event {
    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> EventType {
        match self.what {
            Happened::DebitCompleted => EventType::DebitCompleted,
            Happened::CreditCompleted => EventType::CreditCompleted,
            Happened::CreditRejected(_) => EventType::CreditRejected,
        }
    }

    /// The shard on which it is written: that of what has happened.
    #[must_use]
    pub fn written_on(&self, routing: Routing) -> ShardIndex {
        match self.what {
            Happened::DebitCompleted => routing.shard_of(self.transfer.source),
            Happened::CreditCompleted | Happened::CreditRejected(_) => {
                routing.shard_of(self.transfer.target)
            }
        }
    }

    /// The shard that is to handle it.
    #[must_use]
    pub fn addressed_to(&self, routing: Routing) -> ShardIndex {
        match self.what {
            Happened::DebitCompleted => routing.shard_of(self.transfer.target),
            Happened::CreditCompleted | Happened::CreditRejected(_) => {
                routing.shard_of(self.transfer.source)
            }
        }
    }

    /// The account whose events keep their order.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.transfer.source
    }
}

/// How a transfer by events has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// Both effects are there.
    Completed,
    /// The debit was made good, because the target refused.
    Refunded(Refusal),
}

/// What the handling of one event came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handled {
    /// The target's answer to a debit, written where the credit or its refusal is.
    Answered(Event),
    /// The end of its transfer; nothing where everything of it is gone by now.
    Settled(Option<Settled>),
}

/// How far the transfer of a completed debit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Its end is owed.
    Open,
    /// It has ended.
    Settled(Settled),
}

/// Events that one relay has to itself for a while.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// In their order.
    pub events: Vec<Event>,
    /// When they must not be delivered any more: whatever was pruned since then cannot be met.
    pub good_until: Option<Instant>,
}

/// An event that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenEvent {
    /// It.
    pub event: Event,
    /// The coordinator that wrote it.
    pub epoch: Epoch,
    /// How long ago, by its shard.
    pub age: Duration,
}

/// Why events are put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBack {
    /// Their addressee cannot be reached.
    Unreachable(ShardError),
    /// Somebody was in the way; after many such tries it is parked.
    InTheWay(String),
    /// They cannot be handled, and another try would meet the same: parked at once.
    Poison(ShardError),
}

/// How relays work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RelayTerms {
    /// How many events are taken at a time.
    pub batch: NonZeroU32,
    /// How often a relay looks that nobody wakes.
    pub poll: Duration,
    /// Whether whoever writes an event wakes relays of other processes by `NOTIFY`.
    pub notifies: bool,
}

/// What runs beside a process's transfers, on each shard. The verbs see to it that it runs; what it
/// does is a protocol's to say.
pub trait Beside: Clone + Send + Sync + 'static {
    /// How it works.
    fn terms(&self) -> RelayTerms;

    /// Runs until it is dropped, which may be at any instant.
    fn run<V: EventVerbs + 'static>(
        self,
        verbs: V,
        shard: ShardIndex,
    ) -> impl Future<Output = ()> + Send;
}

/// How a wait for a transfer's end ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// Its end, unless patience came to an end first.
    pub settled: Option<Settled>,
    /// Messages that it took: the caller's own, and its share of the relays' of this process.
    pub round_trips: u32,
}

/// The place where a caller finds the end of its transfer when a relay of this process has seen it.
#[derive(Debug, Clone, Default)]
pub struct Ticket(Arc<Slot>);

/// What a ticket leads to.
#[derive(Debug, Default)]
pub struct Slot {
    ended: Mutex<Option<(Settled, u32)>>,
    bell: Notify,
}

impl Ticket {
    /// What whoever sees the end needs. It does not keep the ticket alive.
    #[must_use]
    pub fn slot(&self) -> std::sync::Weak<Slot> {
        Arc::downgrade(&self.0)
    }

    /// The end and what it took, if it is there.
    #[must_use]
    pub fn ended(&self) -> Option<(Settled, u32)> {
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is there.
    pub async fn rung(&self) {
        self.0.bell.notified().await;
    }
}

impl Slot {
    /// Puts the end there and wakes the caller.
    pub fn put(&self, settled: Settled, round_trips: u32) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some((settled, round_trips));
        self.bell.notify_one();
    }
}

/// What a transfer by events, and whoever relays events, asks of shards, beside [`Verbs`].
pub trait EventVerbs: Verbs {
    /// Sees to it that `relay` runs on every shard, once in this process, for as long as somebody
    /// uses these verbs.
    fn run_beside<R: Beside>(&self, relay: R);

    /// A ticket for the end of a transfer whose debit is about to be sent.
    fn expect_end(&self, transfer: TransferId) -> Ticket;

    /// The debit and the event that announces it, in one local transaction.
    fn debit_with_event(
        &self,
        debit: &Branch,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;

    /// Waits for the end of the transfer of `debit`, for as long as patience goes.
    ///
    /// # Errors
    /// Patience has ended and the shard did not answer.
    fn await_end(
        &self,
        debit: &Branch,
        ticket: &Ticket,
    ) -> impl Future<Output = Result<Awaited, ShardError>> + Send;

    /// How far the transfer of `debit` is, and until when that may be acted on; nothing where no
    /// event of it stands.
    ///
    /// # Errors
    /// The shard did not answer.
    fn read_event(
        &self,
        debit: &Branch,
    ) -> impl Future<Output = Result<Option<(Standing, Option<Instant>)>, ShardError>> + Send;

    /// Takes events that are written on `shard` and not sent.
    ///
    /// # Errors
    /// The shard did not answer.
    fn take_events(
        &self,
        shard: ShardIndex,
        limit: NonZeroU32,
    ) -> impl Future<Output = Result<Taken, ShardError>> + Send;

    /// The events on `shard` that are not settled, parked ones among them, in their order, and
    /// until when that may be acted on.
    ///
    /// # Errors
    /// The shard did not answer.
    fn open_events(
        &self,
        shard: ShardIndex,
    ) -> impl Future<Output = Result<(Vec<OpenEvent>, Option<Instant>), ShardError>> + Send;

    /// Handles events that are addressed to `shard`, all in one transaction or none.
    ///
    /// # Errors
    /// None is handled, unless nobody knows.
    fn handle_events(
        &self,
        shard: ShardIndex,
        events: &[Event],
        good_until: Option<Instant>,
        strategy: &'static str,
    ) -> impl Future<Output = Result<Vec<Handled>, Attempt>> + Send;

    /// Notes that events written on `shard` were handled by their addressees. Nothing relies on
    /// it, so it is not waited for until it is durable.
    ///
    /// # Errors
    /// The shard did not answer.
    fn mark_sent(
        &self,
        shard: ShardIndex,
        events: &[Event],
    ) -> impl Future<Output = Result<(), ShardError>> + Send;

    /// Lets events written on `shard` rest for a while, or parks them.
    ///
    /// # Errors
    /// The shard did not answer: they rest until their relay's time with them is over.
    fn put_back(
        &self,
        shard: ShardIndex,
        events: &[Event],
        why: &PutBack,
    ) -> impl Future<Output = Result<(), ShardError>> + Send;

    /// Waits until there may be an event to take on `shard`, but no longer than `poll`.
    fn await_events(&self, shard: ShardIndex, poll: Duration) -> impl Future<Output = ()> + Send;
}
