//! Events that are delivered at once, by nobody.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::Fake;
use crate::outcome::{Attempt, ShardError};
use crate::transfer::{Branch, ShardIndex, TransferId};
use crate::verbs::events::{
    Awaited, Beside, Event, EventVerbs, Handled, OpenEvent, PutBack, Settled, Standing, Taken,
    Ticket,
};

impl EventVerbs for Fake {
    fn run_beside<R: Beside>(&self, _: R) {}

    fn expect_end(&self, _: TransferId) -> Ticket {
        Ticket::default()
    }

    async fn debit_with_event(&self, _: &Branch, _: &'static str) -> Attempt {
        Attempt::Done
    }

    async fn await_end(&self, _: &Branch, _: &Ticket) -> Result<Awaited, ShardError> {
        Ok(Awaited { settled: Some(Settled::Completed), round_trips: 6 })
    }

    async fn read_event(
        &self,
        _: &Branch,
    ) -> Result<Option<(Standing, Option<Instant>)>, ShardError> {
        Ok(None)
    }

    async fn take_events(&self, _: ShardIndex, _: NonZeroU32) -> Result<Taken, ShardError> {
        Ok(Taken::default())
    }

    async fn open_events(
        &self,
        _: ShardIndex,
    ) -> Result<(Vec<OpenEvent>, Option<Instant>), ShardError> {
        Ok((Vec::new(), None))
    }

    async fn handle_events(
        &self,
        _: ShardIndex,
        events: &[Event],
        _: Option<Instant>,
        _: &'static str,
    ) -> Result<Vec<Handled>, Attempt> {
        Ok(events.iter().map(|_| Handled::Settled(Some(Settled::Completed))).collect())
    }

    async fn mark_sent(&self, _: ShardIndex, _: &[Event]) -> Result<(), ShardError> {
        Ok(())
    }

    async fn put_back(&self, _: ShardIndex, _: &[Event], _: &PutBack) -> Result<(), ShardError> {
        Ok(())
    }

    async fn await_events(&self, _: ShardIndex, _: Duration) {}
}
