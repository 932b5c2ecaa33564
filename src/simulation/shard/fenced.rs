//! Effects under locks, as the functions of `sql/ledger/fenced.sql` carry them out: what each
//! looks at, what it locks, and in which order.

use super::{Account, Change, Shard, Step, Stop, Transaction, effect};
use crate::outcome::Rejection;
use crate::simulation::locking::LockRequest;
use crate::simulation::network::Reply;
use crate::transfer::{AccountId, Branch, IdOrigin, LegKind, Transfer, TransferId};
use crate::verbs::locking::{Fence, HolderId};

/// An account's fence: epoch and token, compared in this order.
pub type FenceMark = (i32, i64);

/// What became of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntentState {
    /// The credit or a refund is owed.
    Open,
    /// The credit is there.
    Done {
        /// Whether a restart of the shard will find it so. It is not waited for.
        is_durable: bool,
    },
    /// The debit was made good.
    Refunded,
}

/// What is particular to effects under locks.
pub(super) enum FencedStep {
    /// The row, locked, if this grant may write to it.
    Lock(AccountId, Fence),
    /// The fence alone; where somebody claimed the account and has not written, says so.
    Claim(AccountId, Fence),
    /// Only the fence, where somebody left something half-way.
    MakeWay(Branch, Fence),
    /// The balance of a row that is locked.
    Debit(AccountId, i64, Fence),
    /// The balance, where the fence is still this one.
    Credit(AccountId, i64, Fence),
    /// The balance, and a fence above the one that stands.
    CreditAbove(AccountId, i64),
    /// The balance, of a closed account too, and a fence above the one that stands.
    Refund(AccountId, i64),
    /// An intent.
    Intend(Transfer),
    /// An intent's end.
    Refunded(TransferId),
    /// A balance, whatever there is.
    Overwrite(AccountId, i64),
}

impl Account {
    /// Whether it is open and no transaction has locked its row.
    #[must_use]
    pub const fn can_be_closed(&self) -> bool {
        !self.closed && self.lock.is_none()
    }

    fn admits(&self, fence: &Fence) -> bool {
        let asked = (fence.epoch, fence.token);
        self.fence < asked || self.fence == asked && self.holder == Some(fence.holder)
    }

    /// A fence one above the one that stands, and nobody's.
    const fn above(&self) -> Option<(FenceMark, Option<HolderId>)> {
        let (epoch, token) = self.fence;
        Some(((epoch, token + 1), None))
    }

    fn is_left_by_another(&self, holder: HolderId) -> bool {
        self.holder.is_some_and(|other| other != holder)
    }
}

/// Locks a row for a statement, with what it changes; nothing where another has it.
fn change(account: &mut Account, transaction: Transaction, change: Change) -> Result<(), Stop> {
    match account.lock {
        Some((owner, _)) if owner != transaction => Err(Stop::Blocked(owner)),
        _ => {
            account.lock = Some((transaction, change));
            Ok(())
        }
    }
}

const fn claimed_by(fence: &Fence) -> Option<(FenceMark, Option<HolderId>)> {
    Some(((fence.epoch, fence.token), Some(fence.holder)))
}

const fn written_under(fence: &Fence) -> Option<(FenceMark, Option<HolderId>)> {
    Some(((fence.epoch, fence.token), None))
}

impl Shard {
    /// What became of a transfer's intent, where there is one.
    #[must_use]
    pub fn intent(&self, id: TransferId) -> Option<IntentState> {
        self.intents.get(&id).map(|(_, state)| *state)
    }

    /// The intents.
    pub fn intents(&self) -> impl Iterator<Item = (TransferId, IntentState)> {
        self.intents.iter().map(|(id, (_, state))| (*id, *state))
    }

    /// Closes an account, where it is one of these.
    pub fn close(&mut self, id: AccountId) {
        if let Some(account) = self.accounts.get_mut(&id) {
            account.closed = true;
        }
    }

    /// A commit that is waited for takes with it whatever was committed before.
    pub(super) fn flush(&mut self) {
        self.flush_sagas();
        for (_, state) in self.intents.values_mut() {
            if let IntentState::Done { is_durable } = state {
                *is_durable = true;
            }
        }
        self.flush_events();
    }

    /// A restart: what was not waited for until it was durable is gone.
    pub fn forget_lazy_commits(&mut self) {
        self.forget_lazy_sagas();
        for (_, state) in self.intents.values_mut() {
            if *state == (IntentState::Done { is_durable: false }) {
                *state = IntentState::Open;
            }
        }
        self.forget_lazy_events();
    }

    fn account(&mut self, id: AccountId) -> Result<&mut Account, Stop> {
        let unknown = Stop::Answer(Reply::Rejected(Rejection::UnknownAccount));
        self.accounts.get_mut(&id).ok_or(unknown)
    }

    pub(super) fn fenced_step(
        &mut self,
        transaction: Transaction,
        step: FencedStep,
    ) -> Result<(), Stop> {
        match step {
            FencedStep::Lock(id, fence) => {
                let account = self.account(id)?;
                change(account, transaction, Change::default())?;
                if !account.admits(&fence) {
                    return Err(Stop::Answer(Reply::FENCED_OUT));
                }
                if account.closed {
                    return Err(Stop::Answer(Reply::Rejected(Rejection::ClosedAccount)));
                }
            }
            FencedStep::Claim(id, fence) => {
                let account = self.account(id)?;
                let is_left = account.is_left_by_another(fence.holder);
                change(account, transaction, Change { amount: 0, fence: claimed_by(&fence) })?;
                self.commit(transaction);
                let reply = if is_left { Reply::LeftAnywhere } else { Reply::Done };
                return Err(Stop::Answer(reply));
            }
            FencedStep::MakeWay(debit, fence) => {
                let (id, of) = (debit.account(), debit.transfer.id);
                let is_left_here = self.intents.values().any(|(other, state)| {
                    other.source == id && other.id != of && *state == IntentState::Open
                });
                let account = self.account(id)?;
                if !is_left_here && !account.is_left_by_another(fence.holder) {
                    return Ok(());
                }
                change(account, transaction, Change { amount: 0, fence: claimed_by(&fence) })?;
                self.commit(transaction);
                let reply = if is_left_here { Reply::LeftHere } else { Reply::LeftAnywhere };
                return Err(Stop::Answer(reply));
            }
            FencedStep::Debit(id, amount, fence) => {
                let account = self.account(id)?;
                account.check(-amount).map_err(|no| Stop::Answer(Reply::Rejected(no)))?;
                let fence = written_under(&fence);
                change(account, transaction, Change { amount: -amount, fence })?;
            }
            FencedStep::Credit(id, amount, fence) => {
                let account = self.account(id)?;
                // The committed row is looked at before its lock is waited for, as in all three.
                if (account.fence, account.holder)
                    != ((fence.epoch, fence.token), Some(fence.holder))
                {
                    return Err(Stop::Answer(Reply::FENCED_OUT));
                }
                account.check(amount).map_err(|no| Stop::Answer(Reply::Rejected(no)))?;
                change(account, transaction, Change { amount, fence: written_under(&fence) })?;
            }
            FencedStep::CreditAbove(id, amount) => {
                let account = self.account(id)?;
                account.check(amount).map_err(|no| Stop::Answer(Reply::Rejected(no)))?;
                let fence = account.above();
                change(account, transaction, Change { amount, fence })?;
            }
            FencedStep::Refund(id, amount) => {
                let account = self.account(id)?;
                let fence = account.above();
                return self.refund(transaction, id, amount, fence);
            }
            FencedStep::Intend(transfer) => {
                let transfer = Transfer { origin: IdOrigin::MayBeRepeated, ..transfer };
                self.intents.insert(transfer.id, (transfer, IntentState::Open));
            }
            FencedStep::Refunded(id) => {
                if let Some((_, state)) = self.intents.get_mut(&id) {
                    *state = IntentState::Refunded;
                }
            }
            FencedStep::Overwrite(id, balance) => {
                if let Some(account) = self.accounts.get_mut(&id) {
                    let amount = balance - account.balance;
                    change(account, transaction, Change { amount, fence: None })?;
                }
            }
        }
        Ok(())
    }

    /// Raises a balance, of a closed account too.
    pub(super) fn refund(
        &mut self,
        transaction: Transaction,
        id: AccountId,
        amount: i64,
        fence: Option<(FenceMark, Option<HolderId>)>,
    ) -> Result<(), Stop> {
        let account = self.account(id)?;
        let fits = account.balance.checked_add(amount).is_some();
        change(account, transaction, Change { amount, fence })?;
        if fits { Ok(()) } else { Err(Stop::Answer(Reply::Failed)) }
    }

    /// Statements that never wait.
    pub(super) fn answer_locking(&mut self, request: &LockRequest) -> Reply {
        match request {
            LockRequest::CloseIntent(debit) => {
                if let Some((_, state)) = self.intents.get_mut(&debit.transfer.id)
                    && *state == IntentState::Open
                {
                    *state = IntentState::Done { is_durable: false };
                }
                Reply::Done
            }
            LockRequest::OpenIntents(_, [source, target]) => {
                let open = self.intents.values().filter(|(transfer, state)| {
                    *state == IntentState::Open
                        && source.is_none_or(|account| account == transfer.source)
                        && target.is_none_or(|account| account == transfer.target)
                });
                Reply::Intents(open.map(|(transfer, _)| *transfer).collect())
            }
            LockRequest::ReadBalance(branch) => match self.accounts.get(&branch.account()) {
                Some(account) => Reply::Balance(account.balance),
                None => Reply::Rejected(Rejection::UnknownAccount),
            },
            _ => unreachable!("{request} may wait, or is for the lock service"),
        }
    }
}

/// The steps of a statement that may wait; nothing for one that never does.
pub(super) fn steps(request: &LockRequest) -> Option<Vec<Step>> {
    let fenced = |steps: Vec<FencedStep>| steps.into_iter().map(Step::Fenced).collect::<Vec<_>>();
    let leg = |branch: &Branch, strategy| -> Step {
        let [leg, _] = effect(branch, strategy);
        leg
    };
    Some(match request {
        LockRequest::Claim(branch, fence) => {
            let account = branch.account();
            fenced(vec![FencedStep::Lock(account, *fence), FencedStep::Claim(account, *fence)])
        }
        LockRequest::Debit(debit, fence, strategy) => {
            let (account, amount) = (debit.account(), debit.transfer.amount.get());
            let mut steps = fenced(vec![
                FencedStep::Lock(account, *fence),
                FencedStep::MakeWay(*debit, *fence),
            ]);
            steps.push(leg(debit, strategy));
            steps.push(Step::Fenced(FencedStep::Debit(account, amount, *fence)));
            steps.push(Step::Fenced(FencedStep::Intend(debit.transfer)));
            steps.push(Step::Commit);
            steps
        }
        LockRequest::Credit(credit, fence, strategy) => {
            let (account, amount) = (credit.account(), credit.transfer.amount.get());
            let change = Step::Fenced(FencedStep::Credit(account, amount, *fence));
            vec![leg(credit, strategy), change, Step::Commit]
        }
        LockRequest::CreditIntended(credit, strategy) => {
            let (account, amount) = (credit.account(), credit.transfer.amount.get());
            let change = Step::Fenced(FencedStep::CreditAbove(account, amount));
            vec![leg(credit, strategy), change, Step::Commit]
        }
        LockRequest::CreditWithoutLeg(credit) => {
            let (account, amount) = (credit.account(), credit.transfer.amount.get());
            vec![Step::Fenced(FencedStep::CreditAbove(account, amount)), Step::Commit]
        }
        LockRequest::Refund(debit, strategy) => {
            let (account, amount) = (debit.account(), debit.transfer.amount.get());
            let refund = Branch { kind: LegKind::Refund, ..*debit };
            let change = Step::Fenced(FencedStep::Refund(account, amount));
            let closed = Step::Fenced(FencedStep::Refunded(debit.transfer.id));
            vec![leg(&refund, strategy), change, closed, Step::Commit]
        }
        LockRequest::WriteBalance(branch, balance, strategy) => {
            let write = Step::Fenced(FencedStep::Overwrite(branch.account(), *balance));
            vec![leg(branch, strategy), write, Step::Commit]
        }
        LockRequest::Lock(_)
        | LockRequest::CloseIntent(_)
        | LockRequest::OpenIntents(..)
        | LockRequest::ReadBalance(_) => return None,
    })
}
