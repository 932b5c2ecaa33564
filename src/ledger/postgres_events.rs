//! The verbs of transfers by events, and of the relays that carry them, on Postgres.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use crate::coordination::outbox;
use crate::ledger::events::{self, Writer};
use crate::ledger::messenger::Failure;
use crate::ledger::postgres::PostgresVerbs;
use crate::outcome::{Attempt, ShardError};
use crate::transfer::{Branch, Epoch, ShardIndex, TransferId};
use crate::verbs::events::{
    Awaited, Beside, Event, EventVerbs, Handled, OpenEvent, PutBack, Standing, Taken, Ticket,
};

/// How long a relay has to itself what it has taken, and how long whoever has read that an event is
/// open may act on that. Prune keeps whatever was settled since the oldest living coordinator began,
/// and the sessions of a dead one are ended; so all that this must be is shorter than the pause of a
/// process that others take for dead and whose connections are made anew.
const HELD: Duration = Duration::from_secs(10);
/// An event that was sent and has no answer for so long is sent again.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How long a caller waits for the end of its transfer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a caller looks for itself at first; then less and less often.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// The epoch of an event whose writer has none, as while shard 0 is away. No coordinator has it.
const NO_EPOCH: Epoch = Epoch(0);

impl PostgresVerbs {
    fn writer(&self) -> Writer {
        Writer {
            epoch: self.pools().presence().current().unwrap_or(NO_EPOCH),
            wakes: self.role.terms().is_some_and(|terms| terms.notifies),
        }
    }

    fn count_message(&self) {
        if self.role.is_relay() {
            self.bells().spent();
        }
    }
}

impl EventVerbs for PostgresVerbs {
    fn run_beside<R: Beside>(&self, relay: R) {
        self.start_relays(relay);
    }

    fn expect_end(&self, transfer: TransferId) -> Ticket {
        self.bells().expect(transfer)
    }

    async fn debit_with_event(&self, debit: &Branch, strategy: &'static str) -> Attempt {
        let by = self.writer();
        let attempt = self
            .messenger()
            .attempt(debit.shard, async |session| events::debit(session, debit, strategy, by).await)
            .await;
        if attempt == Attempt::Done {
            self.bells().of(debit.shard).written.notify_one();
        }
        attempt
    }

    async fn await_end(&self, debit: &Branch, ticket: &Ticket) -> Result<Awaited, ShardError> {
        let deadline = Instant::now() + PATIENCE;
        let (mut look, mut round_trips) = (FIRST_LOOK, 0);
        loop {
            let waited = tokio::time::timeout(look, ticket.rung()).await;
            if let Some((settled, of_relays)) = ticket.ended() {
                let round_trips = round_trips + of_relays;
                return Ok(Awaited { settled: Some(settled), round_trips });
            }
            if waited.is_ok() {
                continue;
            }
            round_trips += 1;
            let read = self.read_event(debit).await;
            let settled = match &read {
                Ok(Some((Standing::Settled(settled), _))) => Some(*settled),
                Ok(_) | Err(_) => None,
            };
            if settled.is_some() {
                return Ok(Awaited { settled, round_trips });
            }
            if Instant::now() >= deadline {
                return read.map(|_| Awaited { settled, round_trips });
            }
            look = (look * 2).min(LONGEST_LOOK);
        }
    }

    async fn read_event(
        &self,
        debit: &Branch,
    ) -> Result<Option<(Standing, Option<Instant>)>, ShardError> {
        let good_until = Some(Instant::now() + HELD);
        let transfer = debit.transfer.id;
        self.messenger()
            .ask(debit.shard, async |session| outbox::read(session, transfer).await)
            .await
            .map(|standing| standing.map(|standing| (standing, good_until)))
            .map_err(|Failure { error, .. }| error)
    }

    async fn take_events(&self, shard: ShardIndex, limit: NonZeroU32) -> Result<Taken, ShardError> {
        let good_until = Some(Instant::now() + HELD);
        let events = self
            .messenger()
            .ask(shard, async |session| {
                outbox::take(session, limit.get(), HELD, ANSWERED_WITHIN).await
            })
            .await
            .map_err(|Failure { error, .. }| error)?;
        if !events.is_empty() {
            self.count_message();
        }
        Ok(Taken { events, good_until })
    }

    async fn open_events(
        &self,
        shard: ShardIndex,
    ) -> Result<(Vec<OpenEvent>, Option<Instant>), ShardError> {
        let good_until = Some(Instant::now() + HELD);
        self.messenger()
            .ask(shard, async |session| outbox::open(session).await)
            .await
            .map(|open| (open, good_until))
            .map_err(|Failure { error, .. }| error)
    }

    async fn handle_events(
        &self,
        shard: ShardIndex,
        events: &[Event],
        good_until: Option<Instant>,
        strategy: &'static str,
    ) -> Result<Vec<Handled>, Attempt> {
        let by = self.writer();
        let mut handled = Vec::new();
        self.count_message();
        let attempt = self
            .messenger()
            .attempt(shard, async |session| {
                // Asked with the connection in hand: should this process be stopped from here on
                // for so long that its epoch is taken for dead, the connection is ended.
                if good_until.is_some_and(|until| Instant::now() >= until) {
                    let message = "the time to deliver these events is over".to_owned();
                    return Attempt::Failed(ShardError { shard, sqlstate: None, message });
                }
                match events::handle(session, shard, events, strategy, by).await {
                    Ok(all) => {
                        handled = all;
                        Attempt::Done
                    }
                    Err(no) => no,
                }
            })
            .await;
        if attempt != Attempt::Done {
            return Err(attempt);
        }
        if handled.iter().any(|one| matches!(one, Handled::Answered(_))) {
            self.bells().of(shard).written.notify_one();
        }
        let ids = events.iter().map(|event| event.transfer.id);
        self.bells().ended(ids.zip(&handled).filter_map(|(id, one)| match one {
            Handled::Settled(Some(settled)) => Some((id, *settled)),
            Handled::Settled(None) | Handled::Answered(_) => None,
        }));
        Ok(handled)
    }

    async fn mark_sent(&self, shard: ShardIndex, events: &[Event]) -> Result<(), ShardError> {
        self.count_message();
        self.messenger()
            .ask(shard, async |session| outbox::mark_sent(session, events).await)
            .await
            .map_err(|Failure { error, .. }| error)
    }

    async fn put_back(
        &self,
        shard: ShardIndex,
        events: &[Event],
        why: &PutBack,
    ) -> Result<(), ShardError> {
        self.messenger()
            .ask(shard, async |session| outbox::put_back(session, events, why).await)
            .await
            .map_err(|Failure { error, .. }| error)
    }

    async fn await_events(&self, shard: ShardIndex, poll: Duration) {
        self.role.hold(None);
        // Over or rung, it is time to look.
        tokio::time::timeout(poll, self.bells().of(shard).written.notified()).await.ok();
        self.role.hold(Some(self.unfinished()));
    }
}
