//! The verbs of transfers by events, each call a message.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::{Plant, SimulatedVerbs, attempt_of, lost};
use crate::outcome::{AbortReason, Attempt, Refusal, ShardError};
use crate::simulation::eventing::{EventReply, EventRequest};
use crate::simulation::network::{Reply, Request};
use crate::transfer::{Branch, Epoch, ShardIndex, TransferId};
use crate::verbs::events::{
    Awaited, Beside, Event, EventVerbs, Handled, Happened, OpenEvent, PutBack, Standing, Taken,
    Ticket,
};

/// The epoch of every event: recovery without a grace asks nobody whether its writer lives.
const NO_EPOCH: Epoch = Epoch(0);

impl SimulatedVerbs {
    async fn ask_event(&self, request: EventRequest) -> Result<EventReply, Reply> {
        match self.mailbox.ask(Request::Event(request)).await {
            Reply::Event(reply) => Ok(reply),
            other => Err(other),
        }
    }

    async fn listed(
        &self,
        shard: ShardIndex,
        request: EventRequest,
    ) -> Result<Vec<Event>, ShardError> {
        if !self.leavings.events {
            return Ok(Vec::new());
        }
        match self.ask_event(request).await {
            Ok(EventReply::Events(events)) => Ok(events),
            _ => Err(lost(shard)),
        }
    }
}

impl EventVerbs for SimulatedVerbs {
    /// Nothing: a relay is a task of its own, where a scene has one.
    fn run_beside<R: Beside>(&self, _: R) {}

    fn expect_end(&self, _: TransferId) -> Ticket {
        Ticket::default()
    }

    async fn debit_with_event(&self, debit: &Branch, strategy: &'static str) -> Attempt {
        self.attempt(debit.shard, Request::Event(EventRequest::Debit(*debit, strategy))).await
    }

    /// One look, at any later time.
    async fn await_end(&self, debit: &Branch, _: &Ticket) -> Result<Awaited, ShardError> {
        let read = self.read_event(debit).await?;
        let settled = match read {
            Some((Standing::Settled(settled), _)) => Some(settled),
            Some((Standing::Open, _)) | None => None,
        };
        Ok(Awaited { settled, round_trips: 1 })
    }

    async fn read_event(
        &self,
        debit: &Branch,
    ) -> Result<Option<(Standing, Option<Instant>)>, ShardError> {
        match self.ask_event(EventRequest::Read(debit.shard, debit.transfer.id)).await {
            Ok(EventReply::Standing(standing)) => Ok(standing.map(|standing| (standing, None))),
            _ => Err(lost(debit.shard)),
        }
    }

    async fn take_events(&self, shard: ShardIndex, _: NonZeroU32) -> Result<Taken, ShardError> {
        let events = self.listed(shard, EventRequest::Take(shard)).await?;
        Ok(Taken { events, good_until: None })
    }

    async fn open_events(
        &self,
        shard: ShardIndex,
    ) -> Result<(Vec<OpenEvent>, Option<Instant>), ShardError> {
        let events = self.listed(shard, EventRequest::Open(shard)).await?;
        let old = |event| OpenEvent { event, epoch: NO_EPOCH, age: Duration::ZERO };
        Ok((events.into_iter().map(old).collect(), None))
    }

    async fn handle_events(
        &self,
        shard: ShardIndex,
        events: &[Event],
        _: Option<Instant>,
        strategy: &'static str,
    ) -> Result<Vec<Handled>, Attempt> {
        let all = events.to_vec();
        let are_debits = events.iter().all(|event| event.what == Happened::DebitCompleted);
        let request = match self.plant {
            Some(Plant::EventWithoutLeg) if are_debits => {
                EventRequest::HandleWithoutLeg(shard, all, strategy)
            }
            _ => EventRequest::Handle(shard, all, strategy),
        };
        match self.ask_event(request).await {
            Ok(EventReply::Handled(handled)) => Ok(handled),
            Err(Reply::Lost) if self.plant == Some(Plant::RefundOnSilence) && are_debits => {
                let what = Happened::CreditRejected(Refusal::Aborted(AbortReason::Unreachable));
                let refused = |event: &Event| Handled::Answered(Event { what, ..*event });
                Ok(events.iter().map(refused).collect())
            }
            Ok(other) => unreachable!("{other:?} handles nothing"),
            Err(no) => Err(attempt_of(shard, no)),
        }
    }

    async fn mark_sent(&self, shard: ShardIndex, events: &[Event]) -> Result<(), ShardError> {
        let request = Request::Event(EventRequest::MarkSent(shard, events.to_vec()));
        match self.mailbox.ask(request).await {
            Reply::Done => Ok(()),
            _ => Err(lost(shard)),
        }
    }

    /// Nothing: they are taken again, by anybody.
    async fn put_back(&self, _: ShardIndex, _: &[Event], _: &PutBack) -> Result<(), ShardError> {
        Ok(())
    }

    async fn await_events(&self, _: ShardIndex, _: Duration) {}
}
