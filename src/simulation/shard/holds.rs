//! Reserve, confirm and cancel, as the functions of `sql/ledger/reservation.sql` carry them out.
//!
//! A hold is its leg: while that is `Held`, the hold is open.

use super::{Shard, Step, Stop, Transaction, effect, refused};
use crate::outcome::{LegOutcome, Rejection};
use crate::simulation::holds::HoldRequest;
use crate::simulation::network::{HoldRow, LegRow, Reply};
use crate::transfer::{AccountId, Branch, LegKind, TransferId};

/// What is particular to reservations.
pub(super) enum HoldStep {
    /// The account's promise, once its row is locked.
    Reserve(Branch),
    /// The end of a hold by its effect.
    Confirm(Branch),
    /// The end of a hold without one. Where the leg is final already it is told.
    Cancel(Branch, LegRow),
}

impl Shard {
    /// The holds that have not ended.
    pub fn open_holds(&self) -> impl Iterator<Item = (TransferId, LegKind, LegRow)> {
        self.legs().filter(|(_, _, leg)| leg.outcome == LegOutcome::Held)
    }

    pub(super) fn listed_holds(&self) -> Vec<HoldRow> {
        let held =
            |(id, kind, leg): (TransferId, LegKind, LegRow)| Some((id, kind, leg.arguments?));
        self.open_holds().filter_map(held).collect()
    }

    /// Whether an account can be closed: it is open, not locked, and has not promised to take
    /// money.
    #[must_use]
    pub fn can_be_closed(&self, id: AccountId) -> bool {
        let promised = self.open_holds().any(|(_, kind, leg)| {
            kind == LegKind::Credit && leg.arguments.is_some_and(|(account, ..)| account == id)
        });
        !promised && self.accounts.get(&id).is_some_and(super::Account::can_be_closed)
    }

    fn promised_to(&self, id: AccountId) -> i64 {
        let to = self.open_holds().filter(|(_, kind, _)| *kind == LegKind::Credit);
        let of = to.filter_map(|(_, _, leg)| leg.arguments);
        of.filter(|(account, ..)| *account == id).map(|(_, _, amount)| amount.get()).sum()
    }

    pub(super) fn hold_step(
        &mut self,
        transaction: Transaction,
        step: HoldStep,
    ) -> Result<(), Stop> {
        match step {
            HoldStep::Reserve(branch) => {
                let (id, amount) = (branch.account(), branch.transfer.amount.get());
                let promised = self.promised_to(id);
                let Some(account) = self.accounts.get_mut(&id) else {
                    return Err(Stop::Answer(Reply::Rejected(Rejection::UnknownAccount)));
                };
                let is_debit = branch.kind == LegKind::Debit;
                let change = if is_debit { -amount } else { amount };
                account.check(change).map_err(|no| Stop::Answer(Reply::Rejected(no)))?;
                if let Some((owner, _)) = account.lock {
                    return Err(Stop::Blocked(owner));
                }
                let total = i128::from(account.balance) + i128::from(promised + amount);
                if !is_debit && total > i128::from(i64::MAX) {
                    return Err(Stop::Answer(Reply::Rejected(Rejection::Overflow)));
                }
                if is_debit {
                    account.held += amount;
                }
                self.commit(transaction);
            }
            HoldStep::Confirm(branch) => {
                let (_, row) = self.open_leg(&branch)?;
                let amount = row.arguments.map_or(0, |(_, _, amount)| amount.get());
                let change = if branch.kind == LegKind::Debit { -amount } else { amount };
                self.end_hold(&branch, LegRow { outcome: LegOutcome::Applied, change, ..row })?;
            }
            HoldStep::Cancel(branch, refusal) => {
                let key = (branch.transfer.id, branch.kind);
                match self.legs.get(&key) {
                    Some((_, Some(owner))) => return Err(Stop::Blocked(*owner)),
                    None => {
                        self.legs.insert(key, (refusal, None));
                        self.flush();
                    }
                    Some((row, None))
                        if row.outcome == LegOutcome::Held
                            && row.arguments == refusal.arguments =>
                    {
                        let row = LegRow { outcome: refusal.outcome, ..*row };
                        self.end_hold(&branch, row)?;
                    }
                    Some((row, None)) => return Err(Stop::Answer(Reply::Stands(*row))),
                }
                return Err(Stop::Answer(Reply::Placed));
            }
        }
        Ok(())
    }

    /// The leg that is held; done where it is applied.
    fn open_leg(&self, branch: &Branch) -> Result<((TransferId, LegKind), LegRow), Stop> {
        let key = (branch.transfer.id, branch.kind);
        match self.legs.get(&key) {
            Some((_, Some(owner))) => Err(Stop::Blocked(*owner)),
            Some((row, None)) => match row.outcome {
                LegOutcome::Held => Ok((key, *row)),
                LegOutcome::Applied => Err(Stop::Answer(Reply::Done)),
                LegOutcome::Rejected(_) | LegOutcome::Empty => Err(Stop::Answer(Reply::Failed)),
            },
            None => Err(Stop::Answer(Reply::Failed)),
        }
    }

    /// Puts `row` in the place of a leg that is held, once the account's row is free, and releases
    /// what was held.
    fn end_hold(&mut self, branch: &Branch, row: LegRow) -> Result<(), Stop> {
        let (account, _, amount) = row.arguments.expect("what is held says whose it is");
        let account = self.accounts.get_mut(&account).expect("it was there when it promised");
        if let Some((owner, _)) = account.lock {
            return Err(Stop::Blocked(owner));
        }
        account.balance += row.change;
        if branch.kind == LegKind::Debit {
            account.held -= amount.get();
        }
        self.legs.insert((branch.transfer.id, branch.kind), (row, None));
        self.flush();
        Ok(())
    }
}

/// The steps of a statement that may wait; nothing for one that never does.
pub(super) fn steps(request: &HoldRequest) -> Option<Vec<Step>> {
    Some(match request {
        HoldRequest::Reserve(branch, strategy) => {
            let [leg, _] = effect(branch, strategy);
            let Step::Leg(id, kind, row) = leg else { unreachable!("an effect has its leg first") };
            let row = LegRow { outcome: LegOutcome::Held, change: 0, ..row };
            vec![Step::Leg(id, kind, row), Step::Hold(HoldStep::Reserve(*branch))]
        }
        HoldRequest::Confirm(branch) => vec![Step::Hold(HoldStep::Confirm(*branch))],
        HoldRequest::Cancel(branch, why, strategy) => {
            let row = refused(branch, *why, strategy);
            vec![Step::Hold(HoldStep::Cancel(*branch, row))]
        }
        HoldRequest::List(_) => return None,
    })
}
