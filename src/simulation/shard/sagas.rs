//! Steps of sagas, as the functions of `sql/ledger/saga_steps.sql` carry them out, and the saga log.
//!
//! A world without time has leases that may be over at any moment, so a claim gets every saga that
//! is open, whoever drives it.

use super::{Shard, Step, Stop, Transaction, effect};
use crate::simulation::network::Reply;
use crate::simulation::sagas::SagaRequest;
use crate::transfer::{Branch, IdOrigin, LegKind, Transfer, TransferId};
use crate::verbs::saga::{SagaEvent, SagaState};

/// A saga's log row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SagaRow {
    /// The transfer.
    pub(super) transfer: Transfer,
    /// How far it is.
    pub state: SagaState,
    /// Whether a restart of the shard will find it so. Completion is not waited for.
    pub(super) is_durable: bool,
}

/// What is particular to sagas.
pub(super) enum SagaStep {
    /// The log row.
    Open(Transfer),
    /// The end of a saga, if there is one.
    Refunded(TransferId),
    /// The balance of an account that may be closed.
    Refund(Branch),
}

impl SagaRow {
    fn happen(&mut self, event: SagaEvent, is_durable: bool) {
        if let Ok(state) = self.state.on(event) {
            (self.state, self.is_durable) = (state, is_durable);
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, SagaState::Completed | SagaState::Refunded)
    }
}

impl Shard {
    /// Whether there is a saga of this transfer, ended or not.
    #[must_use]
    pub fn has_saga(&self, id: TransferId) -> bool {
        self.sagas.contains_key(&id)
    }

    /// The sagas that have not ended.
    pub fn open_sagas(&self) -> impl Iterator<Item = TransferId> {
        self.sagas.values().filter(|row| row.is_open()).map(|row| row.transfer.id)
    }

    pub(super) fn flush_sagas(&mut self) {
        self.sagas.values_mut().for_each(|row| row.is_durable = true);
    }

    pub(super) fn forget_lazy_sagas(&mut self) {
        for row in self.sagas.values_mut().filter(|row| !row.is_durable) {
            (row.state, row.is_durable) = (SagaState::Debited, true);
        }
    }

    pub(super) fn saga_step(
        &mut self,
        transaction: Transaction,
        step: SagaStep,
    ) -> Result<(), Stop> {
        match step {
            SagaStep::Open(transfer) => {
                let transfer = Transfer { origin: IdOrigin::MayBeRepeated, ..transfer };
                let row = SagaRow { transfer, state: SagaState::Debited, is_durable: true };
                self.sagas.insert(transfer.id, row);
            }
            SagaStep::Refunded(id) => {
                if let Some(row) = self.sagas.get_mut(&id) {
                    row.happen(SagaEvent::Refunded, true);
                }
            }
            SagaStep::Refund(debit) => {
                let amount = debit.transfer.amount.get();
                return self.refund(transaction, debit.account(), amount, None);
            }
        }
        Ok(())
    }

    /// Statements that never wait.
    pub(super) fn answer_saga(&mut self, request: &SagaRequest) -> Reply {
        match request {
            SagaRequest::Complete(debit) => {
                if let Some(row) = self.sagas.get_mut(&debit.transfer.id) {
                    row.happen(SagaEvent::Credited, false);
                }
                Reply::Done
            }
            SagaRequest::Claim(..) => {
                let open = self.sagas.values().filter(|row| row.is_open());
                Reply::Sagas(open.map(|row| (row.transfer, row.state)).collect())
            }
            SagaRequest::Postpone(..) => Reply::Done,
            SagaRequest::Debit(..) | SagaRequest::Credit(..) | SagaRequest::Refund(..) => {
                unreachable!("{request} may wait")
            }
        }
    }
}

/// The steps of a statement that may wait; nothing for one that never does.
pub(super) fn steps(request: &SagaRequest) -> Option<Vec<Step>> {
    Some(match request {
        SagaRequest::Debit(debit, _, strategy) => {
            let mut steps = Vec::from(effect(debit, strategy));
            steps.push(Step::Saga(SagaStep::Open(debit.transfer)));
            steps.push(Step::Commit);
            steps
        }
        SagaRequest::Credit(credit, strategy) => {
            let mut steps = Vec::from(effect(credit, strategy));
            steps.push(Step::Commit);
            steps
        }
        SagaRequest::Refund(debit, strategy) => {
            let [leg, _] = effect(&Branch { kind: LegKind::Refund, ..*debit }, strategy);
            let change = Step::Saga(SagaStep::Refund(*debit));
            let ended = Step::Saga(SagaStep::Refunded(debit.transfer.id));
            vec![leg, change, ended, Step::Commit]
        }
        SagaRequest::Complete(_) | SagaRequest::Claim(..) | SagaRequest::Postpone(..) => {
            return None;
        }
    })
}
