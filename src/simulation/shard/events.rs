//! Effects that events announce and ask for, as the functions of `sql/ledger/events.sql` carry them
//! out. What those do not wait for, a restart forgets, unless a later commit of the shard was waited
//! for.

use super::{Change, Shard, Step, Stop, Transaction, effect};
use crate::outcome::{AbortReason, LegOutcome, Refusal};
use crate::simulation::eventing::{EventReply, EventRequest};
use crate::simulation::network::Reply;
use crate::transfer::{Branch, IdOrigin, LegKind, Routing, Transfer, TransferId};
use crate::verbs::events::{Event, EventType, Handled, Happened, Settled, Standing};

/// Whether something is noted, and whether a restart will find it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Noted<T> {
    Not,
    Lazily(T),
    Durably(T),
}

impl<T: Copy> Noted<T> {
    const fn get(self) -> Option<T> {
        match self {
            Self::Not => None,
            Self::Lazily(note) | Self::Durably(note) => Some(note),
        }
    }
}

/// A row of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Row {
    event: Event,
    sent: Noted<()>,
    /// Of a completed debit: the end of its transfer.
    end: Noted<Settled>,
}

impl Row {
    const fn new(event: Event) -> Self {
        Self { event, sent: Noted::Not, end: Noted::Not }
    }

    fn is_settled(&self) -> bool {
        match self.event.what {
            Happened::DebitCompleted => self.end.get().is_some(),
            _ => self.sent.get().is_some(),
        }
    }
}

/// What is particular to events.
pub(super) enum EventStep {
    /// The leg that the event asks for, unless one stands or none is needed.
    Leg(Event, &'static str),
    /// What it does to its account, where the leg is this transaction's.
    Change(Event),
    /// The same without a leg.
    ChangeAnyway(Event),
    /// The answers and ends are written; everything is committed.
    Handled(Vec<Event>),
    /// The event of a debit is written, and all is committed.
    Announce(Transfer),
}

/// The effect that an event asks for, if it asks for any.
fn wanted(event: &Event) -> Option<Branch> {
    let kind = match event.what {
        Happened::DebitCompleted => LegKind::Credit,
        Happened::CreditRejected(_) => LegKind::Refund,
        Happened::CreditCompleted => return None,
    };
    // Where it is does not matter to the leg.
    let shard = Routing::new(1).shard_of(event.transfer.source);
    Some(Branch { transfer: event.transfer, kind, shard })
}

impl Shard {
    /// Whether a transfer by events has been here.
    #[must_use]
    pub fn has_event(&self, id: TransferId) -> bool {
        self.outbox.keys().any(|(transfer, _)| *transfer == id)
    }

    /// The events that are not settled.
    pub fn open_events(&self) -> impl Iterator<Item = Event> {
        self.outbox.values().filter(|row| !row.is_settled()).map(|row| row.event)
    }

    /// What stands of the end of a transfer whose debit is completed.
    fn end_of(&self, id: TransferId) -> Option<Noted<Settled>> {
        self.outbox.get(&(id, EventType::DebitCompleted)).map(|row| row.end)
    }

    pub(super) fn flush_events(&mut self) {
        for row in self.outbox.values_mut() {
            if let Noted::Lazily(note) = row.sent {
                row.sent = Noted::Durably(note);
            }
            if let Noted::Lazily(end) = row.end {
                row.end = Noted::Durably(end);
            }
        }
    }

    pub(super) fn forget_lazy_events(&mut self) {
        for row in self.outbox.values_mut() {
            if matches!(row.sent, Noted::Lazily(())) {
                row.sent = Noted::Not;
            }
            if matches!(row.end, Noted::Lazily(_)) {
                row.end = Noted::Not;
            }
        }
    }

    /// Whether the effect that `event` asks for is still to be made: a refund only while its
    /// transfer has no end.
    fn is_wanted(&self, event: &Event) -> bool {
        event.what == Happened::DebitCompleted
            || self.end_of(event.transfer.id).is_some_and(|end| end.get().is_none())
    }

    pub(super) fn event_step(
        &mut self,
        transaction: Transaction,
        step: EventStep,
    ) -> Result<(), Stop> {
        match step {
            EventStep::Leg(event, strategy) => {
                let Some(branch) = wanted(&event).filter(|_| self.is_wanted(&event)) else {
                    return Ok(());
                };
                let key = (branch.transfer.id, branch.kind);
                match self.legs.get(&key) {
                    Some((_, Some(owner))) if *owner != transaction => {
                        return Err(Stop::Blocked(*owner));
                    }
                    Some(_) => {}
                    None => {
                        let [Step::Leg(_, _, row), _] = effect(&branch, strategy) else {
                            unreachable!("an effect begins with its leg")
                        };
                        self.legs.insert(key, (row, Some(transaction)));
                    }
                }
                Ok(())
            }
            EventStep::Change(event) => {
                let Some(branch) = wanted(&event) else { return Ok(()) };
                let key = (branch.transfer.id, branch.kind);
                let is_own = self.legs.get(&key).is_some_and(|(_, by)| *by == Some(transaction));
                if is_own { self.change_for(transaction, &branch) } else { Ok(()) }
            }
            EventStep::ChangeAnyway(event) => match wanted(&event) {
                Some(branch) => self.change_for(transaction, &branch),
                None => Ok(()),
            },
            EventStep::Handled(events) => {
                let is_held = |event: &Event| {
                    let leg = self.leg(event.transfer.id, LegKind::Credit);
                    event.what == Happened::DebitCompleted
                        && leg.is_some_and(|leg| leg.outcome == LegOutcome::Held)
                };
                if events.iter().any(is_held) {
                    let why = AbortReason::Serialization;
                    return Err(Stop::Answer(Reply::Retry(why)));
                }
                let handled: Vec<Handled> =
                    events.iter().map(|event| self.handled(transaction, event)).collect();
                // Nothing but ends: nobody waits until they are durable.
                let is_lazy = events.iter().all(|event| event.what == Happened::CreditCompleted);
                if !is_lazy {
                    self.commit(transaction);
                }
                Err(Stop::Answer(Reply::Event(EventReply::Handled(handled))))
            }
            EventStep::Announce(transfer) => {
                let transfer = Transfer { origin: IdOrigin::MayBeRepeated, ..transfer };
                let event = Event { transfer, what: Happened::DebitCompleted };
                self.outbox.insert((transfer.id, event.kind()), Row::new(event));
                self.commit(transaction);
                Ok(())
            }
        }
    }

    /// Changes the branch's account; a credit that is refused turns its own leg into the refusal.
    fn change_for(&mut self, transaction: Transaction, branch: &Branch) -> Result<(), Stop> {
        let amount = branch.transfer.amount.get();
        let checked = match self.accounts.get(&branch.account()) {
            Some(account) => {
                let pending = match account.lock {
                    Some((owner, change)) if owner == transaction => change.amount,
                    _ => 0,
                };
                if branch.kind == LegKind::Refund {
                    match account.balance.checked_add(pending + amount) {
                        Some(_) => Ok(pending),
                        None => return Err(Stop::Answer(Reply::Failed)),
                    }
                } else {
                    account.check(pending + amount).map(|()| pending)
                }
            }
            None => Err(crate::outcome::Rejection::UnknownAccount),
        };
        match checked {
            Ok(pending) => {
                let account = self.accounts.get_mut(&branch.account()).expect("it was looked at");
                match account.lock {
                    Some((owner, _)) if owner != transaction => Err(Stop::Blocked(owner)),
                    _ => {
                        let change = Change { amount: pending + amount, fence: None };
                        account.lock = Some((transaction, change));
                        Ok(())
                    }
                }
            }
            Err(why) if branch.kind == LegKind::Credit => {
                let key = (branch.transfer.id, branch.kind);
                if let Some((row, Some(_))) = self.legs.get_mut(&key) {
                    row.outcome = LegOutcome::Rejected(Refusal::Rejected(why));
                    row.change = 0;
                }
                Ok(())
            }
            Err(_) => Err(Stop::Answer(Reply::Failed)),
        }
    }

    /// Writes the answer to a debit, or the end of a transfer.
    fn handled(&mut self, transaction: Transaction, event: &Event) -> Handled {
        let id = event.transfer.id;
        let end = match event.what {
            Happened::DebitCompleted => {
                let what = self.answer_of(transaction, event);
                let answer = Event { what, ..*event };
                let row = self.outbox.entry((id, answer.kind())).or_insert(Row::new(answer));
                // Handled again it is answered again.
                row.sent = Noted::Not;
                return Handled::Answered(answer);
            }
            Happened::CreditCompleted => Settled::Completed,
            Happened::CreditRejected(why) => Settled::Refunded(why),
        };
        let Some(row) = self.outbox.get_mut(&(id, EventType::DebitCompleted)) else {
            return Handled::Settled(None);
        };
        if row.end.get().is_none() {
            row.end = Noted::Lazily(end);
        }
        Handled::Settled(row.end.get())
    }

    /// What the leg of the credit says, which stands or is this transaction's.
    fn answer_of(&self, transaction: Transaction, event: &Event) -> Happened {
        let Transfer { id, source, target, amount, .. } = event.transfer;
        let superseded = Happened::CreditRejected(Refusal::Aborted(AbortReason::Superseded));
        let leg = self.legs.get(&(id, LegKind::Credit));
        let leg = leg.filter(|(_, by)| by.is_none_or(|owner| owner == transaction));
        match leg {
            // Only a planted bug credits without one.
            None => Happened::CreditCompleted,
            Some((row, _)) if row.arguments != Some((target, source, amount)) => superseded,
            Some((row, _)) => match row.outcome {
                LegOutcome::Applied => Happened::CreditCompleted,
                LegOutcome::Rejected(why) => Happened::CreditRejected(why),
                LegOutcome::Empty => superseded,
                LegOutcome::Held => unreachable!("an event whose leg is held is not handled"),
            },
        }
    }

    /// Statements that never wait.
    pub(super) fn answer_event(&mut self, request: &EventRequest) -> Reply {
        match request {
            EventRequest::Read(_, id) => {
                let standing = self.end_of(*id).map(|end| match end.get() {
                    None => Standing::Open,
                    Some(settled) => Standing::Settled(settled),
                });
                Reply::Event(EventReply::Standing(standing))
            }
            EventRequest::Take(_) => {
                let is_unsent = |row: &&Row| !row.is_settled() && row.sent.get().is_none();
                let events = self.outbox.values().filter(is_unsent).map(|row| row.event).collect();
                Reply::Event(EventReply::Events(events))
            }
            EventRequest::Open(_) => Reply::Event(EventReply::Events(self.open_events().collect())),
            EventRequest::MarkSent(_, events) => {
                for event in events {
                    if let Some(row) = self.outbox.get_mut(&(event.transfer.id, event.kind()))
                        && !row.is_settled()
                    {
                        row.sent = Noted::Lazily(());
                    }
                }
                Reply::Done
            }
            _ => unreachable!("{request} may wait"),
        }
    }
}

/// The steps of a statement that may wait; nothing for one that never does.
pub(super) fn steps(request: &EventRequest) -> Option<Vec<Step>> {
    Some(match request {
        EventRequest::Debit(debit, strategy) => {
            let mut steps = Vec::from(effect(debit, strategy));
            steps.push(Step::Event(EventStep::Announce(debit.transfer)));
            steps
        }
        EventRequest::Handle(_, events, strategy) => {
            let one = |event: &Event| {
                [EventStep::Leg(*event, strategy), EventStep::Change(*event)].map(Step::Event)
            };
            let mut steps: Vec<Step> = events.iter().flat_map(one).collect();
            steps.push(Step::Event(EventStep::Handled(events.clone())));
            steps
        }
        EventRequest::HandleWithoutLeg(_, events, _) => {
            let one = |event: &Event| Step::Event(EventStep::ChangeAnyway(*event));
            let mut steps: Vec<Step> = events.iter().map(one).collect();
            steps.push(Step::Event(EventStep::Handled(events.clone())));
            steps
        }
        EventRequest::Read(..)
        | EventRequest::Take(_)
        | EventRequest::Open(_)
        | EventRequest::MarkSent(..) => return None,
    })
}
