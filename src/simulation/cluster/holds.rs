//! The verbs of reservations, each call a message.

use std::time::Duration;

use super::{SimulatedVerbs, lost};
use crate::outcome::{Attempt, Refusal, ShardError, Tombstone};
use crate::simulation::holds::HoldRequest;
use crate::simulation::network::{HoldRow, Reply, Request};
use crate::transfer::{AccountId, Branch, Epoch, IdOrigin, LegKind, ShardIndex, Transfer};
use crate::verbs::holding::{HoldVerbs, OpenHold};

/// The epoch of every hold: recovery without a grace asks nobody whether its writer lives.
const NO_EPOCH: Epoch = Epoch(0);

impl HoldVerbs for SimulatedVerbs {
    async fn reserve(&self, branch: &Branch, _: Duration, strategy: &'static str) -> Attempt {
        let request = HoldRequest::Reserve(*branch, strategy);
        self.attempt(branch.shard, Request::Hold(request)).await
    }

    async fn confirm(&self, branch: &Branch) -> Attempt {
        self.attempt(branch.shard, Request::Hold(HoldRequest::Confirm(*branch))).await
    }

    async fn cancel(
        &self,
        branch: &Branch,
        why: Refusal,
        strategy: &'static str,
    ) -> Result<Tombstone, ShardError> {
        let request = HoldRequest::Cancel(*branch, why, strategy);
        self.tombstone(branch.shard, Request::Hold(request)).await
    }

    async fn confirm_later(&self, branches: [Branch; 2]) {
        self.mailbox.ask(Request::ConfirmLater(branches)).await;
    }

    /// All are as good as expired: a world without time has no other.
    async fn open_holds(&self, shard: ShardIndex) -> Result<Vec<OpenHold>, ShardError> {
        if !self.leavings.holds {
            return Ok(Vec::new());
        }
        let Reply::Holds(open) = self.mailbox.ask(Request::Hold(HoldRequest::List(shard))).await
        else {
            return Err(lost(shard));
        };
        let hold = |(id, kind, leg): HoldRow| {
            let (own, counter, amount): (AccountId, AccountId, _) = leg;
            let (source, target) =
                if kind == LegKind::Debit { (own, counter) } else { (counter, own) };
            let transfer = Transfer { id, source, target, amount, origin: IdOrigin::MayBeRepeated };
            OpenHold { branch: Branch { transfer, kind, shard }, epoch: NO_EPOCH, is_expired: true }
        };
        Ok(open.into_iter().map(hold).collect())
    }
}
