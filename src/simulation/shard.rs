//! One shard: its rows, its locks, its prepared transactions.
//!
//! Statements do what the functions of `sql/ledger/effect.sql` do at READ COMMITTED, in the same
//! order: the leg first, then the account's row, then the decision. An insert that meets an
//! uncommitted row of the same key waits for its owner, and so does an update of a locked row.
//! A transaction is named by the id of the statement that began it. Effects under locks are in
//! `fenced`, those by events in `events`.

mod events;
mod fenced;
mod holds;
mod sagas;

pub use fenced::{FenceMark, IntentState};

use std::collections::BTreeMap;

use events::EventStep;
use fenced::FencedStep;
use holds::HoldStep;
use sagas::{SagaRow, SagaStep};

use super::network::{LegRow, Reply, Request};
use crate::outcome::{Decision, LegOutcome, Refusal, Rejection, Verdict};
use crate::strategies::ending::Order;
use crate::transfer::{AccountId, Branch, IdOrigin, LegKind, Participants, Transfer, TransferId};
use crate::verbs::Gid;
use crate::verbs::events::EventType;
use crate::verbs::locking::HolderId;

/// The id of a local transaction.
pub type Transaction = u64;

/// An account's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Account {
    /// The committed balance in minor units.
    pub balance: i64,
    /// What is held of it.
    pub held: i64,
    /// Whether it is closed.
    pub closed: bool,
    /// Up to which grant it has been written, or claimed, under locks.
    pub fence: FenceMark,
    /// Who has claimed it and not written yet.
    pub holder: Option<HolderId>,
    /// Which open transaction has the row's lock, and what it has changed.
    lock: Option<(Transaction, Change)>,
}

/// What an open transaction has made of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Change {
    amount: i64,
    fence: Option<(FenceMark, Option<HolderId>)>,
}

impl Account {
    /// An open account with this balance.
    #[must_use]
    pub const fn with(balance: i64) -> Self {
        Self { balance, held: 0, closed: false, fence: (0, 0), holder: None, lock: None }
    }

    fn check(&self, change: i64) -> Result<(), Rejection> {
        if self.closed {
            Err(Rejection::ClosedAccount)
        } else if change < 0 && self.balance - self.held < -change {
            Err(Rejection::InsufficientFunds)
        } else if self.balance.checked_add(change).is_none() {
            Err(Rejection::Overflow)
        } else {
            Ok(())
        }
    }
}

/// How far a statement came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It has answered.
    Answered(Reply),
    /// It waits for `blocker` to end, before its step `step`.
    Waits {
        /// Whom it waits for.
        blocker: Transaction,
        /// Which of its steps it has come to.
        step: u8,
    },
}

enum Step {
    Leg(TransferId, LegKind, LegRow),
    Change(AccountId, i64),
    Claim(TransferId, Participants),
    Commit,
    Prepare(Gid),
    Tombstone(TransferId, LegKind, LegRow),
    Decide(TransferId, Verdict),
    Fenced(FencedStep),
    Saga(SagaStep),
    Hold(HoldStep),
    Event(EventStep),
}

enum Stop {
    Blocked(Transaction),
    Answer(Reply),
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Shard {
    accounts: BTreeMap<AccountId, Account>,
    legs: BTreeMap<(TransferId, LegKind), (LegRow, Option<Transaction>)>,
    decisions: BTreeMap<TransferId, (Verdict, Option<Transaction>)>,
    prepared: Vec<(Gid, Transaction)>,
    intents: BTreeMap<TransferId, (Transfer, IntentState)>,
    sagas: BTreeMap<TransferId, SagaRow>,
    outbox: BTreeMap<(TransferId, EventType), events::Row>,
}

impl Shard {
    /// A shard with these accounts.
    #[must_use]
    pub fn with_accounts(accounts: impl IntoIterator<Item = (AccountId, Account)>) -> Self {
        Self { accounts: accounts.into_iter().collect(), ..Self::default() }
    }

    /// Its accounts.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountId, &Account)> {
        self.accounts.iter().map(|(id, account)| (*id, account))
    }

    /// Its committed legs.
    pub fn legs(&self) -> impl Iterator<Item = (TransferId, LegKind, LegRow)> {
        let committed = self.legs.iter().filter(|(_, (_, by))| by.is_none());
        committed.map(|((id, kind), (row, _))| (*id, *kind, *row))
    }

    /// One committed leg.
    #[must_use]
    pub fn leg(&self, id: TransferId, kind: LegKind) -> Option<LegRow> {
        self.legs.get(&(id, kind)).filter(|(_, by)| by.is_none()).map(|(row, _)| *row)
    }

    /// The committed decision on a transfer.
    #[must_use]
    pub fn decision(&self, id: TransferId) -> Option<Decision> {
        self.decisions
            .get(&id)
            .filter(|(_, by)| by.is_none())
            .map(|(standing, _)| standing.decision)
    }

    /// Names of what is prepared here.
    pub fn prepared(&self) -> impl Iterator<Item = &Gid> {
        self.prepared.iter().map(|(gid, _)| gid)
    }

    /// Whether the effect of this kind is applied here, or prepared by a transaction that
    /// `of_interest` picks.
    pub fn has_effect(
        &self,
        id: TransferId,
        kind: LegKind,
        of_interest: impl Fn(&Gid) -> bool,
    ) -> bool {
        self.leg(id, kind).is_some_and(|row| row.outcome == LegOutcome::Applied)
            || self.prepared().any(|gid| gid.transfer == id && gid.kind == kind && of_interest(gid))
    }

    /// Whether `transaction` is still open here, prepared or not.
    #[must_use]
    pub fn is_open(&self, transaction: Transaction) -> bool {
        let has_locked =
            |account: &Account| account.lock.is_some_and(|(owner, _)| owner == transaction);
        self.legs.values().any(|(_, by)| *by == Some(transaction))
            || self.accounts.values().any(has_locked)
    }

    /// Carries out the statement that began `transaction`, from `step` on.
    pub fn run(&mut self, transaction: Transaction, request: &Request, step: u8) -> Progress {
        let steps = match steps(request) {
            Some(steps) => steps,
            None => return Progress::Answered(self.answer(request)),
        };
        for (number, one) in steps.into_iter().enumerate().skip(usize::from(step)) {
            match self.step(transaction, one) {
                Ok(()) => {}
                Err(Stop::Blocked(blocker)) => {
                    let step = u8::try_from(number).expect("a statement has few steps");
                    return Progress::Waits { blocker, step };
                }
                Err(Stop::Answer(reply)) => {
                    self.roll_back(transaction);
                    return Progress::Answered(reply);
                }
            }
        }
        Progress::Answered(Reply::Done)
    }

    fn step(&mut self, transaction: Transaction, step: Step) -> Result<(), Stop> {
        match step {
            Step::Leg(id, kind, row) => match self.legs.get(&(id, kind)) {
                Some((_, Some(owner))) => return Err(Stop::Blocked(*owner)),
                Some((_, None)) => return Err(Stop::Answer(Reply::LegStands)),
                None => {
                    self.legs.insert((id, kind), (row, Some(transaction)));
                }
            },
            Step::Change(id, change) => {
                let Some(account) = self.accounts.get_mut(&id) else {
                    return Err(Stop::Answer(Reply::Rejected(Rejection::UnknownAccount)));
                };
                // The committed row is looked at before its lock is waited for.
                if let Err(rejection) = account.check(change) {
                    return Err(Stop::Answer(Reply::Rejected(rejection)));
                }
                if let Some((owner, _)) = account.lock {
                    return Err(Stop::Blocked(owner));
                }
                account.lock = Some((transaction, Change { amount: change, fence: None }));
            }
            Step::Claim(id, participants) => match self.decisions.get(&id) {
                Some((_, Some(owner))) => return Err(Stop::Blocked(*owner)),
                Some((_, None)) => return Err(Stop::Answer(Reply::DecisionStands)),
                None => {
                    let commit =
                        Verdict { decision: Decision::Commit, participants: Some(participants) };
                    self.decisions.insert(id, (commit, Some(transaction)));
                }
            },
            Step::Commit => self.commit(transaction),
            Step::Prepare(gid) => {
                self.flush();
                self.prepared.push((gid, transaction));
                self.prepared.sort_by_key(|(gid, _)| (gid.epoch, gid.attempt, gid.kind));
            }
            Step::Tombstone(id, kind, row) => match self.legs.get(&(id, kind)) {
                Some((_, Some(owner))) => return Err(Stop::Blocked(*owner)),
                Some((row, None)) => return Err(Stop::Answer(Reply::Stands(*row))),
                None => {
                    self.legs.insert((id, kind), (row, None));
                    self.flush();
                    return Err(Stop::Answer(Reply::Placed));
                }
            },
            Step::Decide(id, wanted) => match self.decisions.get(&id) {
                Some((_, Some(owner))) => return Err(Stop::Blocked(*owner)),
                Some((standing, None)) => return Err(Stop::Answer(Reply::Decision(*standing))),
                None => {
                    self.decisions.insert(id, (wanted, None));
                    self.flush();
                    return Err(Stop::Answer(Reply::Decision(wanted)));
                }
            },
            Step::Fenced(step) => return self.fenced_step(transaction, step),
            Step::Saga(step) => return self.saga_step(transaction, step),
            Step::Hold(step) => return self.hold_step(transaction, step),
            Step::Event(step) => return self.event_step(transaction, step),
        }
        Ok(())
    }

    /// Statements that never wait.
    fn answer(&mut self, request: &Request) -> Reply {
        match request {
            Request::ReadLeg(_, id, kind) => {
                self.leg(*id, *kind).map_or(Reply::NoLeg, Reply::Stands)
            }
            Request::ListPrepared(_) => Reply::Prepared(self.prepared().cloned().collect()),
            Request::Finish(_, gid, order) => {
                let Some(place) = self.prepared.iter().position(|(name, _)| name == gid) else {
                    return Reply::Missing;
                };
                let (_, transaction) = self.prepared.remove(place);
                match order {
                    Order::Commit => self.commit(transaction),
                    Order::RollBack => self.roll_back(transaction),
                }
                Reply::Done
            }
            Request::Locking(request) => self.answer_locking(request),
            Request::Saga(request) => self.answer_saga(request),
            Request::Hold(_) => Reply::Holds(self.listed_holds()),
            Request::Event(request) => self.answer_event(request),
            _ => unreachable!("the cluster answers {request} itself"),
        }
    }

    /// Rolls back an open transaction that is not prepared.
    pub fn roll_back(&mut self, transaction: Transaction) {
        self.legs.retain(|_, (_, by)| *by != Some(transaction));
        self.decisions.retain(|_, (_, by)| *by != Some(transaction));
        for account in self.accounts.values_mut() {
            account.lock = account.lock.filter(|(owner, _)| *owner != transaction);
        }
    }

    fn commit(&mut self, transaction: Transaction) {
        for (_, by) in self.legs.values_mut() {
            *by = by.filter(|owner| *owner != transaction);
        }
        for (_, by) in self.decisions.values_mut() {
            *by = by.filter(|owner| *owner != transaction);
        }
        for account in self.accounts.values_mut() {
            if let Some((owner, change)) = account.lock
                && owner == transaction
            {
                account.balance += change.amount;
                (account.fence, account.holder) =
                    change.fence.unwrap_or((account.fence, account.holder));
                account.lock = None;
            }
        }
        self.flush();
    }
}

fn effect(branch: &Branch, strategy: &'static str) -> [Step; 2] {
    let amount = branch.transfer.amount;
    let change = match branch.kind {
        LegKind::Debit => -amount.get(),
        LegKind::Credit | LegKind::Refund => amount.get(),
    };
    let row = LegRow {
        outcome: LegOutcome::Applied,
        change,
        arguments: Some((branch.account(), branch.counter_account(), amount)),
        strategy,
    };
    [Step::Leg(branch.transfer.id, branch.kind, row), Step::Change(branch.account(), change)]
}

fn refused(branch: &Branch, refusal: Refusal, strategy: &'static str) -> LegRow {
    LegRow {
        outcome: LegOutcome::Rejected(refusal),
        change: 0,
        arguments: Some((branch.account(), branch.counter_account(), branch.transfer.amount)),
        strategy,
    }
}

/// The steps of a statement that may wait; nothing for one that never does.
fn steps(request: &Request) -> Option<Vec<Step>> {
    Some(match request {
        Request::TransferLocally(shard, transfer, strategy) => {
            let both = [LegKind::Debit, LegKind::Credit];
            let both = both.map(|kind| Branch { transfer: *transfer, kind, shard: *shard });
            let [[debit, pay], [credit, receive]] = both.map(|one| effect(&one, strategy));
            let mut steps = vec![debit, credit];
            steps.extend(if transfer.source < transfer.target {
                [pay, receive]
            } else {
                [receive, pay]
            });
            if transfer.origin == IdOrigin::MayBeRepeated {
                let here = Participants { debit: *shard, credit: *shard };
                steps.push(Step::Claim(transfer.id, here));
            }
            steps.push(Step::Commit);
            steps
        }
        Request::Prepare(branch, gid, strategy, claim) => {
            let mut steps = Vec::from(effect(branch, strategy));
            steps.extend(claim.map(|participants| Step::Claim(branch.transfer.id, participants)));
            steps.push(Step::Prepare(gid.clone()));
            steps
        }
        Request::ApplyAndDecide(branch, participants, strategy) => {
            let mut steps = Vec::from(effect(branch, strategy));
            steps.push(Step::Claim(branch.transfer.id, *participants));
            steps.push(Step::Commit);
            steps
        }
        Request::RecordRefusal(branch, refusal, strategy) => {
            let row = refused(branch, *refusal, strategy);
            vec![Step::Tombstone(branch.transfer.id, branch.kind, row)]
        }
        Request::Entomb(_, id, kind) => {
            let row = LegRow {
                outcome: LegOutcome::Empty,
                change: 0,
                arguments: None,
                strategy: "recovery",
            };
            vec![Step::Tombstone(*id, *kind, row)]
        }
        Request::Decide(key, wanted) => vec![Step::Decide(key.transfer, *wanted)],
        Request::Locking(request) => return fenced::steps(request),
        Request::Saga(request) => return sagas::steps(request),
        Request::Hold(request) => return holds::steps(request),
        Request::Event(request) => return events::steps(request),
        _ => return None,
    })
}
