//! Steps of sagas that always succeed.

use std::time::Duration;

use super::Fake;
use crate::outcome::{Attempt, ShardError};
use crate::transfer::{Branch, Epoch, ShardIndex, TransferId};
use crate::verbs::saga::{OpenSaga, Owner, SagaVerbs};

impl SagaVerbs for Fake {
    fn fresh_owner(&self) -> Owner {
        Owner { epoch: Epoch(1), attempt: 1 }
    }

    async fn debit_with_saga(&self, _: &Branch, _: Owner, _: &'static str) -> Attempt {
        Attempt::Done
    }

    async fn credit(&self, _: &Branch, _: &'static str) -> Attempt {
        Attempt::Done
    }

    async fn refund_debit(&self, _: &Branch, _: &'static str) -> Attempt {
        Attempt::Done
    }

    async fn complete_saga(&self, _: &Branch) -> Result<(), ShardError> {
        Ok(())
    }

    async fn claim_sagas(
        &self,
        _: ShardIndex,
        _: Owner,
        _: &[Epoch],
        _: Duration,
    ) -> Result<Vec<OpenSaga>, ShardError> {
        Ok(Vec::new())
    }

    async fn postpone_saga(
        &self,
        _: ShardIndex,
        _: TransferId,
        _: Owner,
        _: &str,
    ) -> Result<(), ShardError> {
        Ok(())
    }
}
