//! Reservations that always succeed.

use std::time::Duration;

use super::Fake;
use crate::outcome::{Attempt, Refusal, ShardError, Tombstone};
use crate::transfer::{Branch, ShardIndex};
use crate::verbs::holding::{HoldVerbs, OpenHold};

impl HoldVerbs for Fake {
    async fn reserve(&self, _: &Branch, _: Duration, _: &'static str) -> Attempt {
        Attempt::Done
    }

    async fn confirm(&self, _: &Branch) -> Attempt {
        Attempt::Done
    }

    async fn cancel(
        &self,
        _: &Branch,
        _: Refusal,
        _: &'static str,
    ) -> Result<Tombstone, ShardError> {
        Ok(Tombstone::Placed)
    }

    async fn confirm_later(&self, _: [Branch; 2]) {}

    async fn open_holds(&self, _: ShardIndex) -> Result<Vec<OpenHold>, ShardError> {
        Ok(Vec::new())
    }
}
