//! `lock-advisory`, `lock-lease`, `lock-redis`, `lock-etcd`, `lock-zookeeper`: two local commits
//! under two locks, with a fence and a journal.
//!
//! ```text
//! coordinator         lock service      shard of the source      shard of the target
//!     | - lock, lock ------> |                  |                         |
//!     | <- grants, tokens -- |                  |                         |
//!     | ----------------------------------------------- claim ----------> |
//!     | ------------- claim, debit, intent, COMMIT -> |                   |
//!     | ---------------------------------- credit, if still claimed, COMMIT -> |
//!     | --------------- close the intent (lazily) -> |                    |
//!     | - unlock, unlock --> |                  |                         |
//! ```
//!
//! The rule it keeps: a lock coordinates and proves nothing. Its holder may have been stopped for
//! longer than its lease runs, so every shard checks, as it writes, that nobody with a later grant
//! has been there; both accounts are claimed before anything is read. And no lock makes two
//! commits one: the intent, written with the debit, is the promise that the credit follows.
//! Whoever comes next to either account, and recovery, keep it before they do anything of their
//! own.
//!
//! | the coordinator dies | what stands after recovery |
//! | --- | --- |
//! | before the debit | nothing; the locks run out, or go with their sessions |
//! | the debit is made, with its intent | both effects: recovery credits what the intent promises |
//! | both are made, the intent is open | both effects: the credit's leg stands, the intent is closed |
//! | the target refuses the credit | neither: the refusal is recorded, the debit refunded |
//!
//! Costs: 4 round trips to shards, 3 forced flushes (2 where the target need not be claimed on
//! another shard), and 2 round trips to the lock service for each lock. Isolation from others under
//! the same locks; the money is away from both accounts between the two commits.
//!
//! Sources: Kleppmann 2016 (fencing tokens); Gray and Cheriton 1989 (leases).

use crate::fail_points::FailPoint;
use crate::outcome::{AbortReason, Attempt, Outcome, Refusal};
use crate::strategies::lock_pair::{Locks, not_locked};
use crate::strategies::promises::{self, Promise};
use crate::strategies::{Coordinator, Try, ending};
use crate::transfer::{Branch, IdOrigin, Transfer};
use crate::verbs::StrategyVerbs;
use crate::verbs::locking::{Claimed, Concerning, Left, Lock};

/// How often what others left is finished before the transfer makes way.
const HELPS: u32 = 3;

/// Two local commits under two locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DistributedLocks {
    /// Who grants the locks.
    pub service: LockServiceName,
    /// What is done with two accounts on one shard.
    pub one_shard: OneShard,
}

/// What is done with two accounts on one shard. Here the lock is the subject, so it is taken there
/// too, unless somebody asks for the shorter way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OneShard {
    /// Two commits under two locks, as between shards.
    #[default]
    Locked,
    /// One local transaction without any lock but Postgres' own, which asks no fence either.
    Local,
}

/// Who grants locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockServiceName {
    /// Session advisory locks of the account's own shard.
    Advisory,
    /// Rows of a table on the account's own shard.
    Lease,
    /// Redis, or a server that speaks its protocol.
    Redis,
    /// etcd.
    Etcd,
    /// ZooKeeper.
    ZooKeeper,
}

impl LockServiceName {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Advisory, Self::Lease, Self::Redis, Self::Etcd, Self::ZooKeeper];

    /// As strategies are named after it.
    #[must_use]
    pub const fn strategy(self) -> &'static str {
        match self {
            Self::Advisory => "lock-advisory",
            Self::Lease => "lock-lease",
            Self::Redis => "lock-redis",
            Self::Etcd => "lock-etcd",
            Self::ZooKeeper => "lock-zookeeper",
        }
    }
}

impl Coordinator for DistributedLocks {
    fn name(&self) -> &'static str {
        self.service.strategy()
    }

    fn takes_one_phase(&self) -> bool {
        self.one_shard == OneShard::Local
    }

    async fn give_up<V: StrategyVerbs>(
        &self,
        verbs: &V,
        transfer: &Transfer,
        reason: AbortReason,
    ) -> Outcome {
        let debit = transfer.debit(verbs.routing());
        promises::decide_against(verbs, &debit, Refusal::Aborted(reason), self.name()).await
    }

    async fn try_once<V: StrategyVerbs>(&self, verbs: &V, transfer: &Transfer) -> Try {
        if let Err(error) = verbs.epoch().await {
            return Try::Ended(Outcome::Failed(error));
        }

        // Nothing was sent: nothing happened.
        verbs.reached(FailPoint::LocksStarted).await;

        let locks = match Locks::acquire(verbs, transfer).await {
            Ok(locks) => locks,
            Err((key, error)) => return not_locked(key, &error),
        };

        // Both are held and nothing is written: they run out.
        verbs.reached(FailPoint::LocksHeld).await;

        let ended = self.under(verbs, transfer, &locks).await;

        // All that was to be written is. The locks run out.
        verbs.reached(FailPoint::LocksWritten).await;

        locks.release(verbs).await;

        // Released, not answered: a repeated call finds the legs.
        verbs.reached(FailPoint::LocksReleased).await;
        ended
    }
}

impl DistributedLocks {
    /// The two commits.
    async fn under<V: StrategyVerbs>(&self, verbs: &V, transfer: &Transfer, locks: &Locks) -> Try {
        let routing = verbs.routing();
        let (debit, credit) = (transfer.debit(routing), transfer.credit(routing));
        let [source_fence, target_fence] = locks.held().map(Lock::fence);

        if transfer.origin == IdOrigin::MayBeRepeated {
            match promises::recorded(verbs, transfer).await {
                Ok(None) => {}
                Ok(Some(outcome)) => return Try::Ended(outcome),
                Err(error) => return Try::Ended(Outcome::Failed(error)),
            }
        }
        match verbs.claim(&credit, target_fence).await {
            Claimed::Done => {}
            Claimed::Left(left) => self.help(verbs, &credit, left).await,
            Claimed::Not(no) => return self.refused(verbs, &debit, no).await,
        }

        // The target is claimed; that moves nothing.
        verbs.reached(FailPoint::LocksClaimed).await;

        let mut helps = 0;
        loop {
            if !locks.are_good() {
                return Try::Again(AbortReason::FencedOut);
            }
            match verbs.debit_with_intent(&debit, source_fence, self.name()).await {
                Claimed::Done => break,
                Claimed::Left(_) if helps == HELPS => {
                    return Try::Again(AbortReason::Serialization);
                }
                Claimed::Left(left) => {
                    helps += 1;
                    self.help(verbs, &debit, left).await;
                }
                Claimed::Not(Attempt::LegStands) => {
                    return promises::met_debit(verbs, &debit, self.name()).await;
                }
                // The reply was lost. Either the debit ran, and what it owes is done now, or it
                // never will.
                Claimed::Not(Attempt::Unknown(lost)) => {
                    let outcome = ending::ask_leg(verbs, &debit, lost).await;
                    return Try::Ended(
                        promises::everywhere(verbs, &debit, outcome, self.name()).await,
                    );
                }
                Claimed::Not(no) => return self.refused(verbs, &debit, no).await,
            }
        }

        // The debit is made and the intent stands: recovery credits.
        verbs.reached(FailPoint::LocksDebited).await;

        if verbs.credit_under_fence(&credit, target_fence, self.name()).await != Attempt::Done {
            // Fenced out, refused, done by somebody else, or nobody knows: the intent is open, and
            // this is what anybody does who finds it.
            let promise = Promise::Intent;
            return Try::Ended(promises::answer(verbs, transfer, promise, self.name()).await);
        }

        // Both effects are there: recovery closes the intent.
        verbs.reached(FailPoint::LocksCredited).await;

        // It failed where the shard is away; recovery closes it.
        verbs.close_intent(&debit).await.ok();
        Try::Ended(Outcome::Committed)
    }

    /// Finishes what others left on the branch's account.
    async fn help<V: StrategyVerbs>(&self, verbs: &V, branch: &Branch, left: Left) {
        let (shards, concerning) = match left {
            Left::OnOwnShard => (vec![branch.shard], Concerning::Source(branch.account())),
            Left::OnAnyShard => {
                let all = verbs.routing().shards().collect();
                (all, Concerning::Target(branch.account()))
            }
        };
        for shard in shards {
            // A shard that is away keeps its intents; what is owed can only raise this balance.
            for intent in verbs.open_intents(shard, concerning).await.unwrap_or_default() {
                if intent.transfer.id != branch.transfer.id {
                    let promise = Promise::Intent;
                    promises::keep(verbs, &intent.transfer, promise, self.name()).await;
                }
            }
        }
    }

    /// Ends a try whose effect was refused before any money moved.
    async fn refused<V: StrategyVerbs>(&self, verbs: &V, debit: &Branch, no: Attempt) -> Try {
        match no {
            Attempt::Rejected(rejection) => {
                // Nothing is written down: the same id may be tried again.
                verbs.reached(FailPoint::LocksRefused).await;

                let refusal = Refusal::Rejected(rejection);
                let outcome = promises::decide_against(verbs, debit, refusal, self.name()).await;

                // The refusal is written, not answered: a repeated call gets it.
                verbs.reached(FailPoint::LocksRefusalRecorded).await;
                Try::Ended(outcome)
            }
            Attempt::Retry(reason) => Try::Again(reason),
            Attempt::Failed(error) => Try::Ended(Outcome::Failed(error)),
            // A claim moves nothing, whether it went through or not.
            Attempt::Unknown(_) => Try::Again(AbortReason::Unreachable),
            Attempt::Done | Attempt::LegStands | Attempt::DecisionStands => {
                unreachable!("neither a claim nor a debit under locks is refused with {no:?}")
            }
        }
    }
}
