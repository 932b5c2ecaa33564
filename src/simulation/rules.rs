//! What must hold at every step: rules that are checked at the moment they can be broken.

use super::eventing::{EventReply, EventRequest};
use super::holds::HoldRequest;
use super::locking::LockRequest;
use super::network::{Reply, Request, short};
use super::sagas::SagaRequest;
use super::shard::FenceMark;
use super::world::{Violation, World};
use crate::outcome::{Decision, LegOutcome};
use crate::strategies::ending::Order;
use crate::transfer::{AccountId, LegKind, ShardIndex, TransferId};
use crate::verbs::Gid;
use crate::verbs::events::{Event, Handled, Happened, Settled};

impl World {
    /// How far each account's fence is.
    pub(super) fn fences(&self) -> Vec<(AccountId, FenceMark)> {
        let accounts = self.shards().flat_map(|shard| shard.accounts());
        accounts.map(|(id, account)| (id, account.fence)).collect()
    }

    /// No fence falls, whoever writes.
    pub(super) fn check_fences(
        &self,
        before: &[(AccountId, FenceMark)],
        request: &Request,
    ) -> Result<(), Violation> {
        for ((id, was), (_, is)) in before.iter().zip(self.fences()) {
            if is < *was {
                let told = format!("{request}: the fence of account {id} fell, {was:?} to {is:?}");
                return Err(Violation(told));
            }
        }
        Ok(())
    }

    /// The rule of all rules: a branch commits only while its partner is applied or prepared, and
    /// is rolled back only while its partner is not applied; a credit under locks comes after its
    /// debit, and a refund after the credit's leg that says it never will be; a hold ends as the
    /// decision says that stands. (Where orders share an id, what holds is seen at the end.)
    pub(super) fn check_partner(&self, request: &Request, reply: &Reply) -> Result<(), Violation> {
        if self.ids_are_reused {
            return Ok(());
        }
        if let (
            Request::Event(EventRequest::Handle(_, events, _)),
            Reply::Event(EventReply::Handled(handled)),
        ) = (request, reply)
        {
            return events.iter().zip(handled).try_for_each(|pair| self.check_event(pair));
        }
        if !matches!(reply, Reply::Done | Reply::Placed) {
            return Ok(());
        }
        match request {
            Request::Finish(shard, gid, Order::Commit) => {
                let of_the_try =
                    |other: &Gid| (other.epoch, other.attempt) == (gid.epoch, gid.attempt);
                self.partner_stands(*shard, gid.transfer, gid.kind, of_the_try)
            }
            Request::ApplyAndDecide(branch, ..) => {
                self.partner_stands(branch.shard, branch.transfer.id, branch.kind, |_| true)
            }
            Request::Finish(shard, gid, Order::RollBack) => {
                // An effect that an intent, saga or event answers for is no partner of this branch:
                // another call with the same id made it.
                let is_other_calls = self.shards().any(|rows| {
                    rows.intent(gid.transfer).is_some()
                        || rows.has_saga(gid.transfer)
                        || rows.has_event(gid.transfer)
                });
                match self.partner_stands(*shard, gid.transfer, gid.kind, |_| false) {
                    Ok(()) if !is_other_calls => Err(Violation(format!(
                        "{request}: rolled back while its partner is applied"
                    ))),
                    _ => Ok(()),
                }
            }
            Request::Locking(LockRequest::Credit(branch, ..))
            | Request::Locking(LockRequest::CreditIntended(branch, _))
            | Request::Saga(SagaRequest::Credit(branch, _)) => {
                let id = branch.transfer.id;
                let is_debited = self.outcome(id, LegKind::Debit) == Some(LegOutcome::Applied);
                if is_debited && self.outcome(id, LegKind::Refund).is_none() {
                    return Ok(());
                }
                Err(Violation(format!("{request}: it is not debited, or was refunded")))
            }
            Request::Locking(LockRequest::Refund(branch, _))
            | Request::Saga(SagaRequest::Refund(branch, _)) => {
                match self.outcome(branch.transfer.id, LegKind::Credit) {
                    Some(LegOutcome::Rejected(_) | LegOutcome::Empty) => Ok(()),
                    other => Err(Violation(format!("{request}: the credit's leg is {other:?}"))),
                }
            }
            Request::Hold(HoldRequest::Confirm(branch)) => {
                self.is_decided(branch.transfer.id, request, |decision| {
                    decision == Decision::Commit
                })
            }
            Request::Hold(HoldRequest::Cancel(branch, ..)) => {
                self.is_decided(branch.transfer.id, request, |decision| {
                    decision != Decision::Commit
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether a decision stands that `request` may rely on.
    fn is_decided(
        &self,
        id: TransferId,
        request: &Request,
        fits: impl Fn(Decision) -> bool,
    ) -> Result<(), Violation> {
        match self.shards().find_map(|shard| shard.decision(id)) {
            Some(decision) if fits(decision) => Ok(()),
            other => Err(Violation(format!("{request}: what stands is {other:?}"))),
        }
    }

    /// Of events: a credit comes after its debit and not after a refund; a transfer ends as the leg of
    /// its credit says.
    fn check_event(&self, (event, handled): (&Event, &Handled)) -> Result<(), Violation> {
        let id = event.transfer.id;
        let credit = self.outcome(id, LegKind::Credit);
        let is_true = match handled {
            Handled::Answered(Event { what: Happened::CreditCompleted, .. }) => {
                credit == Some(LegOutcome::Applied)
                    && self.outcome(id, LegKind::Debit) == Some(LegOutcome::Applied)
                    && self.outcome(id, LegKind::Refund).is_none()
            }
            Handled::Settled(Some(Settled::Completed)) => credit == Some(LegOutcome::Applied),
            Handled::Answered(_) | Handled::Settled(Some(Settled::Refunded(_))) => {
                matches!(credit, Some(LegOutcome::Rejected(_) | LegOutcome::Empty))
            }
            Handled::Settled(None) => false,
        };
        if is_true {
            return Ok(());
        }
        let (id, kind) = (short(id), event.kind().name());
        Err(Violation(format!("{kind} of {id}: {handled:?}, but the credit's leg is {credit:?}")))
    }

    /// What the committed leg of this kind says, on whichever shard.
    fn outcome(&self, id: TransferId, kind: LegKind) -> Option<LegOutcome> {
        self.shards().find_map(|shard| shard.leg(id, kind)).map(|leg| leg.outcome)
    }

    fn partner_stands(
        &self,
        shard: ShardIndex,
        id: TransferId,
        kind: LegKind,
        of_interest: impl Fn(&Gid) -> bool,
    ) -> Result<(), Violation> {
        let partner = match kind {
            LegKind::Debit => LegKind::Credit,
            LegKind::Credit => LegKind::Debit,
            LegKind::Refund => return Err(Violation("a refund is no branch".to_owned())),
        };
        let mut others = self.shards().enumerate();
        let stands = others.any(|(other, rows)| {
            other != usize::from(shard.0) && rows.has_effect(id, partner, &of_interest)
        });
        if stands {
            return Ok(());
        }
        let (id, kind) = (short(id), kind.name());
        Err(Violation(format!(
            "{kind} of {id} committed on {shard} while its partner was neither applied nor prepared"
        )))
    }
}
