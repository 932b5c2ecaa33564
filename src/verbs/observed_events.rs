//! Event verbs that tell an observer of every step of a caller, as `observed` does for the others.
//! What relays do beside it nobody is told of: it belongs to no one transfer.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::events::{
    Awaited, Beside, Event, EventVerbs, Handled, OpenEvent, PutBack, Standing, Taken, Ticket,
};
use super::observed::{Answer, Observed, Observer, Step, What, leg, shard};
use crate::outcome::{Attempt, ShardError};
use crate::transfer::{Branch, ShardIndex, TransferId};

impl<V: EventVerbs, O: Observer> EventVerbs for Observed<'_, V, O> {
    fn run_beside<R: Beside>(&self, relay: R) {
        self.verbs.run_beside(relay);
    }

    fn expect_end(&self, transfer: TransferId) -> Ticket {
        self.verbs.expect_end(transfer)
    }

    async fn debit_with_event(&self, debit: &Branch, strategy: &'static str) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.debit_with_event(debit, strategy).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::DebitWithEvent, leg(debit.shard, debit.kind), started, answer);
        attempt
    }

    async fn await_end(&self, debit: &Branch, ticket: &Ticket) -> Result<Awaited, ShardError> {
        let started = Instant::now();
        let awaited = self.verbs.await_end(debit, ticket).await;
        let (answer, round_trips) = match &awaited {
            Ok(awaited) => (Ok(awaited.settled), awaited.round_trips),
            Err(error) => (Err(error.clone()), 1),
        };
        let what = What { round_trips, ..shard(debit.shard) };
        self.tell(Step::AwaitEnd, what, started, Answer::Ended(answer));
        awaited
    }

    async fn read_event(
        &self,
        debit: &Branch,
    ) -> Result<Option<(Standing, Option<tokio::time::Instant>)>, ShardError> {
        let started = Instant::now();
        let read = self.verbs.read_event(debit).await;
        self.tell(Step::ReadEvent, shard(debit.shard), started, Answer::None);
        read
    }

    async fn take_events(&self, from: ShardIndex, limit: NonZeroU32) -> Result<Taken, ShardError> {
        self.verbs.take_events(from, limit).await
    }

    async fn open_events(
        &self,
        on: ShardIndex,
    ) -> Result<(Vec<OpenEvent>, Option<tokio::time::Instant>), ShardError> {
        self.verbs.open_events(on).await
    }

    async fn handle_events(
        &self,
        to: ShardIndex,
        events: &[Event],
        good_until: Option<tokio::time::Instant>,
        strategy: &'static str,
    ) -> Result<Vec<Handled>, Attempt> {
        let started = Instant::now();
        let handled = self.verbs.handle_events(to, events, good_until, strategy).await;
        let answer = Answer::Attempt(handled.clone().err().unwrap_or(Attempt::Done));
        self.tell(Step::HandleEvent, shard(to), started, answer);
        handled
    }

    async fn mark_sent(&self, from: ShardIndex, events: &[Event]) -> Result<(), ShardError> {
        let started = Instant::now();
        let marked = self.verbs.mark_sent(from, events).await;
        self.tell(Step::MarkSent, shard(from), started, Answer::None);
        marked
    }

    async fn put_back(
        &self,
        from: ShardIndex,
        events: &[Event],
        why: &PutBack,
    ) -> Result<(), ShardError> {
        self.verbs.put_back(from, events, why).await
    }

    async fn await_events(&self, on: ShardIndex, poll: Duration) {
        self.verbs.await_events(on, poll).await;
    }
}
