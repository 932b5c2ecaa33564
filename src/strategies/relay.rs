//! What a relay does: it takes events from the outbox of one shard and delivers them to the shards
//! that they are addressed to.
//!
//! The rule it keeps: it decides nothing. Whoever handles an event makes sure by a leg that it takes
//! effect once, so a relay may die at any instant, deliver twice, and have any number of others
//! beside it. It takes for a while what it takes; whatever it did not mark as sent by then is taken
//! again, by itself or by another.
//!
//! An event that cannot be handled is put back: to be tried later where its shard is away or
//! somebody is in the way, to be parked where it is the event's own fault. Behind it all later
//! events of its account wait; those of others go on.
//!
//! Recovery, and whoever meets a debit of a transfer by events under an id of its own, does without
//! relays: it carries an event to the end of its transfer by itself ([`settle`]).

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::fail_points::FailPoint;
use crate::outcome::{Attempt, ShardError};
use crate::strategies::saga_choreographed::NAME;
use crate::transfer::{AccountId, ShardIndex, TransferId};
use crate::verbs::events::{
    Beside, Event, EventVerbs, Handled, Happened, PutBack, RelayTerms, Settled,
};

/// How many events recovery delivers at a time.
const BATCH: usize = 64;

/// A relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay(pub RelayTerms);

impl Beside for Relay {
    fn terms(&self) -> RelayTerms {
        self.0
    }

    async fn run<V: EventVerbs + 'static>(self, verbs: V, shard: ShardIndex) {
        loop {
            if round(&verbs, shard, self.0.batch).await == Round::Idle {
                verbs.await_events(shard, self.0.poll).await;
            }
        }
    }
}

/// How one round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// There may be more to do at once.
    Busy,
    /// There is nothing to do for now, or it cannot be done.
    Idle,
}

/// Takes a batch and delivers it.
pub async fn round<V: EventVerbs>(verbs: &V, shard: ShardIndex, limit: NonZeroU32) -> Round {
    // A relay whose epoch is lost may be taken for dead, and delivers nothing more under it.
    if verbs.epoch().await.is_err() {
        return Round::Idle;
    }
    let Ok(taken) = verbs.take_events(shard, limit).await else { return Round::Idle };
    if taken.events.is_empty() {
        return Round::Idle;
    }

    // Taken, not delivered: the time it has them ends, and they are taken again.
    verbs.reached(FailPoint::EventsTaken).await;

    let mut by_addressee: BTreeMap<ShardIndex, Vec<Event>> = BTreeMap::new();
    for event in taken.events {
        by_addressee.entry(event.addressed_to(verbs.routing())).or_default().push(event);
    }
    let deliveries = by_addressee
        .iter()
        .map(|(addressee, events)| deliver(verbs, shard, *addressee, events, taken.good_until));
    if join_all(deliveries).await.contains(&Round::Busy) { Round::Busy } else { Round::Idle }
}

/// Delivers events of one shard to another, in one transaction there where that can be.
async fn deliver<V: EventVerbs>(
    verbs: &V,
    from: ShardIndex,
    to: ShardIndex,
    events: &[Event],
    good_until: Option<Instant>,
) -> Round {
    match verbs.handle_events(to, events, good_until, NAME).await {
        Ok(handled) => {
            handled_there(verbs, &handled).await;
            // It failed where the shard is away: they are delivered again.
            verbs.mark_sent(from, events).await.ok();
            Round::Busy
        }
        Err(no) if events.len() > 1 && concerns_one(&no) => {
            // One of them is in the way of all. Those that are not go on, but for what comes after
            // it of the same account.
            let mut stuck: HashSet<AccountId> = HashSet::new();
            for event in events {
                if stuck.contains(&event.account()) {
                    continue;
                }
                let alone = std::slice::from_ref(event);
                match verbs.handle_events(to, alone, good_until, NAME).await {
                    Ok(_) => {
                        verbs.mark_sent(from, alone).await.ok();
                    }
                    Err(no) => {
                        stuck.insert(event.account());
                        verbs.put_back(from, alone, &why(to, no)).await.ok();
                    }
                }
            }
            Round::Busy
        }
        Err(no) => {
            // It failed where the shard is away: they rest until their time here is over.
            verbs.put_back(from, events, &why(to, no)).await.ok();
            Round::Idle
        }
    }
}

/// Marks the fail point of what was handled: the events are delivered again, to no effect.
async fn handled_there<V: EventVerbs>(verbs: &V, handled: &[Handled]) {
    let point = match handled.first() {
        Some(Handled::Answered(Event { what: Happened::CreditRejected(_), .. })) => {
            FailPoint::EventsRejected
        }
        Some(Handled::Answered(_)) => FailPoint::EventsCredited,
        Some(Handled::Settled(Some(Settled::Refunded(_)))) => FailPoint::EventsRefunded,
        Some(Handled::Settled(_)) => FailPoint::EventsSettled,
        None => return,
    };
    verbs.reached(point).await;
}

/// Whether a batch failed because of one of its events, as far as one can tell.
fn concerns_one(no: &Attempt) -> bool {
    match no {
        Attempt::Failed(error) => is_own_fault(error),
        Attempt::Unknown(_) => false,
        _ => true,
    }
}

/// Whether the data or a rule of the database was in the way: class 22, 23, or an exception that
/// somebody raises. Anything else is the server's.
fn is_own_fault(error: &ShardError) -> bool {
    let code = error.sqlstate.as_deref().unwrap_or_default();
    ["22", "23", "P0", "SB"].iter().any(|class| code.starts_with(class))
}

fn why(to: ShardIndex, no: Attempt) -> PutBack {
    match no {
        Attempt::Failed(error) if is_own_fault(&error) => PutBack::Poison(error),
        Attempt::Failed(error) | Attempt::Unknown(error) => PutBack::Unreachable(error),
        Attempt::Retry(reason) => PutBack::InTheWay(format!("shard {to}: {}", reason.name())),
        // A refusal of the business is an answer, unless it is the source's own account that is
        // gone; nobody but a person can help then.
        other => PutBack::Poison(error_of(to, other)),
    }
}

fn error_of(shard: ShardIndex, no: Attempt) -> ShardError {
    match no {
        Attempt::Failed(error) | Attempt::Unknown(error) => error,
        Attempt::Retry(reason) => {
            ShardError { shard, sqlstate: None, message: reason.name().to_owned() }
        }
        other => ShardError { shard, sqlstate: None, message: format!("not handled: {other:?}") },
    }
}

/// Carries events, all written on one shard and addressed to one other, to the ends of their
/// transfers. Answers in their order.
///
/// # Errors
/// Some may be there; the others are open still.
pub async fn settle<V: EventVerbs>(
    verbs: &V,
    events: &[Event],
    good_until: Option<Instant>,
) -> Result<Vec<Option<Settled>>, Attempt> {
    let Some(first) = events.first() else { return Ok(Vec::new()) };
    let (from, to) = (first.written_on(verbs.routing()), first.addressed_to(verbs.routing()));
    let handled = verbs.handle_events(to, events, good_until, NAME).await?;
    handled_there(verbs, &handled).await;
    let answers: Vec<Event> = handled
        .iter()
        .filter_map(|one| match one {
            Handled::Answered(answer) => Some(*answer),
            Handled::Settled(_) => None,
        })
        .collect();
    let (settled, shard, sent) = if answers.is_empty() {
        (handled, from, events)
    } else {
        let settled = verbs.handle_events(from, &answers, good_until, NAME).await?;
        handled_there(verbs, &settled).await;
        (settled, to, answers.as_slice())
    };
    // It failed where the shard is away: the answers are delivered again, to no effect.
    verbs.mark_sent(shard, sent).await.ok();
    let end = |one: Handled| match one {
        Handled::Settled(settled) => settled,
        Handled::Answered(_) => unreachable!("an answer is answered by nothing"),
    };
    Ok(settled.into_iter().map(end).collect())
}

/// How many transfers have ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// Both effects are there.
    pub completed: u64,
    /// The debit was made good.
    pub refunded: u64,
}

/// Carries all of `open`, events of one shard in their order, to the ends of their transfers. What
/// cannot be is put back, and returned with the reason; so is what comes after it of its account.
pub async fn settle_all<V: EventVerbs>(
    verbs: &V,
    open: Vec<Event>,
    good_until: Option<Instant>,
) -> (Ends, Vec<(TransferId, ShardError)>) {
    let mut by_addressee: BTreeMap<(ShardIndex, bool), Vec<Event>> = BTreeMap::new();
    for event in open {
        let is_debit = event.what == Happened::DebitCompleted;
        let addressee = (event.addressed_to(verbs.routing()), is_debit);
        by_addressee.entry(addressee).or_default().push(event);
    }
    let (mut ends, mut owed) = (Ends::default(), Vec::new());
    for ((_, is_debit), events) in by_addressee {
        let mut stuck: HashSet<AccountId> = HashSet::new();
        let mut away: Option<ShardError> = None;
        for batch in events.chunks(BATCH) {
            if let Some(error) = &away {
                owed.extend(batch.iter().map(|event| (event.transfer.id, error.clone())));
                continue;
            }
            match settle(verbs, batch, good_until).await {
                // An answer that was left over says nothing new of its transfer.
                Ok(settled) if is_debit => ends.add(&settled),
                Ok(_) => {}
                Err(no) if batch.len() == 1 || !concerns_one(&no) => {
                    if !concerns_one(&no) {
                        away = Some(error_of(batch[0].addressed_to(verbs.routing()), no.clone()));
                    }
                    put_back(verbs, batch, no, &mut stuck, &mut owed).await;
                }
                Err(_) => {
                    for event in batch {
                        if stuck.contains(&event.account()) {
                            let message = "an earlier event of its account is parked".to_owned();
                            let shard = event.written_on(verbs.routing());
                            let error = ShardError { shard, sqlstate: None, message };
                            owed.push((event.transfer.id, error));
                            continue;
                        }
                        let alone = std::slice::from_ref(event);
                        match settle(verbs, alone, good_until).await {
                            Ok(settled) if is_debit => ends.add(&settled),
                            Ok(_) => {}
                            Err(no) => put_back(verbs, alone, no, &mut stuck, &mut owed).await,
                        }
                    }
                }
            }
        }
    }
    (ends, owed)
}

impl Ends {
    fn add(&mut self, settled: &[Option<Settled>]) {
        for end in settled.iter().flatten() {
            match end {
                Settled::Completed => self.completed += 1,
                Settled::Refunded(_) => self.refunded += 1,
            }
        }
    }
}

async fn put_back<V: EventVerbs>(
    verbs: &V,
    events: &[Event],
    no: Attempt,
    stuck: &mut HashSet<AccountId>,
    owed: &mut Vec<(TransferId, ShardError)>,
) {
    let Some(first) = events.first() else { return };
    let (from, to) = (first.written_on(verbs.routing()), first.addressed_to(verbs.routing()));
    let error = error_of(to, no.clone());
    // It failed where the shard is away: whoever comes next tries them again.
    verbs.put_back(from, events, &why(to, no)).await.ok();
    stuck.extend(events.iter().map(Event::account));
    owed.extend(events.iter().map(|event| (event.transfer.id, error.clone())));
}
