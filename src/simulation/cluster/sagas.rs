//! The verbs of sagas, each call a message.

use std::time::Duration;

use super::{SimulatedVerbs, attempt_of, lost};
use crate::outcome::{Attempt, ShardError};
use crate::simulation::network::{Reply, Request};
use crate::simulation::sagas::SagaRequest;
use crate::transfer::{Branch, Epoch, ShardIndex, TransferId};
use crate::verbs::Verbs;
use crate::verbs::saga::{OpenSaga, Owner, SagaVerbs, Turn};

impl SimulatedVerbs {
    async fn ask_saga(&self, request: SagaRequest) -> Reply {
        self.mailbox.ask(Request::Saga(request)).await
    }
}

impl SagaVerbs for SimulatedVerbs {
    /// Whose a saga is plays no part here, as long as two claims are told apart.
    fn fresh_owner(&self) -> Owner {
        Owner { epoch: Epoch(0), attempt: self.next_attempt() }
    }

    async fn debit_with_saga(
        &self,
        debit: &Branch,
        owner: Owner,
        strategy: &'static str,
    ) -> Attempt {
        let request = SagaRequest::Debit(*debit, owner, strategy);
        attempt_of(debit.shard, self.ask_saga(request).await)
    }

    async fn credit(&self, credit: &Branch, strategy: &'static str) -> Attempt {
        attempt_of(credit.shard, self.ask_saga(SagaRequest::Credit(*credit, strategy)).await)
    }

    async fn refund_debit(&self, debit: &Branch, strategy: &'static str) -> Attempt {
        attempt_of(debit.shard, self.ask_saga(SagaRequest::Refund(*debit, strategy)).await)
    }

    async fn complete_saga(&self, debit: &Branch) -> Result<(), ShardError> {
        match self.ask_saga(SagaRequest::Complete(*debit)).await {
            Reply::Done => Ok(()),
            _ => Err(lost(debit.shard)),
        }
    }

    async fn claim_sagas(
        &self,
        shard: ShardIndex,
        owner: Owner,
        dead: &[Epoch],
        _grace: Duration,
    ) -> Result<Vec<OpenSaga>, ShardError> {
        if !self.leavings.sagas {
            return Ok(Vec::new());
        }
        match self.ask_saga(SagaRequest::Claim(shard, owner, dead.to_vec())).await {
            Reply::Sagas(open) => Ok(open
                .into_iter()
                .map(|(transfer, state)| OpenSaga {
                    transfer,
                    state,
                    attempts: 1,
                    turn: Turn::Ours,
                    last_error: None,
                })
                .collect()),
            _ => Err(lost(shard)),
        }
    }

    async fn postpone_saga(
        &self,
        shard: ShardIndex,
        transfer: TransferId,
        owner: Owner,
        _why: &str,
    ) -> Result<(), ShardError> {
        match self.ask_saga(SagaRequest::Postpone(shard, transfer, owner)).await {
            Reply::Done => Ok(()),
            _ => Err(lost(shard)),
        }
    }
}
