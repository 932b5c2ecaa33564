//! The two locks of a transfer: taken in one order, given back in the other.

use tokio::time::Instant;

use crate::fail_points::FailPoint;
use crate::outcome::{AbortReason, Outcome, ShardError};
use crate::strategies::Try;
use crate::transfer::Transfer;
use crate::verbs::StrategyVerbs;
use crate::verbs::locking::{Lock, LockError, LockKey};

/// The two locks of a transfer, in the order in which they were taken.
pub(super) struct Locks {
    source: Option<(LockKey, Box<dyn Lock>)>,
    target: Option<(LockKey, Box<dyn Lock>)>,
}

impl Locks {
    /// Acquires both, in the order of their keys, within one wait.
    pub(super) async fn acquire<V: StrategyVerbs>(
        verbs: &V,
        transfer: &Transfer,
    ) -> Result<Self, (LockKey, LockError)> {
        let routing = verbs.routing();
        let key = |account| LockKey { shard: routing.shard_of(account), account };
        let (source, target) = (key(transfer.source), key(transfer.target));
        let until = Instant::now() + verbs.lock_wait();
        let mut locks = Self { source: None, target: None };
        for key in [source.min(target), source.max(target)] {
            match verbs.lock(key, until).await {
                Ok(lock) if key == source => locks.source = Some((key, lock)),
                Ok(lock) => locks.target = Some((key, lock)),
                Err(error) => {
                    locks.release(verbs).await;
                    return Err((key, error));
                }
            }
            if key == source.min(target) {
                // One is held and nothing written: it runs out.
                verbs.reached(FailPoint::LocksFirstHeld).await;
            }
        }
        Ok(locks)
    }

    pub(super) fn held(&self) -> [&dyn Lock; 2] {
        [&self.source, &self.target]
            .map(|lock| &*lock.as_ref().expect("both are held until they are released").1)
    }

    /// Whether work may go on: neither lease has come near its end, as far as this process's own
    /// clock tells. It saves work that would be fenced out; it makes nothing safe.
    pub(super) fn are_good(&self) -> bool {
        self.held().iter().all(|lock| lock.stop_at().is_none_or(|at| Instant::now() < at))
    }

    /// Gives both back, the last first. One that cannot be given back runs out.
    pub(super) async fn release<V: StrategyVerbs>(self, verbs: &V) {
        let mut both: Vec<_> = [self.source, self.target].into_iter().flatten().collect();
        both.sort_by_key(|(key, _)| std::cmp::Reverse(*key));
        for (key, lock) in both {
            // It was released, was gone, or will run out: nothing of ours depends on which.
            verbs.unlock(key, lock).await.ok();
        }
    }
}

/// Ends a try whose locks were not granted. Nothing was written.
pub(super) fn not_locked(key: LockKey, error: &LockError) -> Try {
    match error {
        LockError::Timeout => Try::Again(AbortReason::LockTimeout),
        LockError::Lost(_) => Try::Again(AbortReason::FencedOut),
        LockError::Unavailable(_) => Try::Ended(Outcome::Failed(ShardError {
            shard: key.shard,
            sqlstate: None,
            message: format!("account {}: {error}", key.account),
        })),
    }
}
