//! The strategies, a file each, to be read side by side.
//!
//! A strategy is written in [`Verbs`] alone: no SQL, no connection, no clock, no measuring. The
//! set is closed, so it is an enum and a `match`; nothing is boxed on the measured path. What
//! all of them share stands in [`ending`] (how a try that failed is brought to an end), [`promises`] (what those owe that
//! make the debit first) and [`recovery`] (what is done about a coordinator that died).

pub mod distributed_locks;
pub mod ending;
pub mod lock_naive;
mod lock_pair;
pub mod name;
pub mod promises;
mod recovered;
pub mod recovery;
pub mod relay;
pub mod reservation;
pub mod saga;
pub mod saga_choreographed;
pub mod same_shard;
pub mod two_phase;
pub mod two_phase_last_agent;

use std::future::Future;
use std::num::NonZeroU32;

pub use distributed_locks::{DistributedLocks, LockServiceName};
pub use lock_naive::LockNaive;
pub use reservation::Reservation;
pub use saga::Saga;
pub use saga_choreographed::SagaChoreographed;
pub use same_shard::SameShard;
pub use two_phase::TwoPhase;
pub use two_phase_last_agent::TwoPhaseLastAgent;

use crate::outcome::{AbortReason, Outcome, Refusal};
use crate::transfer::Transfer;
use crate::verbs::StrategyVerbs;

/// How a transfer ended and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What happened to the money.
    pub outcome: Outcome,
    /// How many tries it took, 1 or more.
    pub tries: u32,
    /// Whether both accounts were on one shard and a cross-shard strategy took the one-phase
    /// path.
    pub one_phase: bool,
}

/// How one try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Try {
    /// The transfer has ended.
    Ended(Outcome),
    /// Everything that this try began is rolled back for certain; another may follow.
    Again(AbortReason),
}

/// Carries transfers between accounts that may live on different shards.
pub trait Coordinator: Send + Sync + 'static {
    /// The name under which legs are recorded and rows are printed.
    fn name(&self) -> &'static str;

    /// Carries out `transfer` once. Dropping the future leaves the transfer to recovery.
    fn try_once<V: StrategyVerbs>(
        &self,
        verbs: &V,
        transfer: &Transfer,
    ) -> impl Future<Output = Try> + Send;

    /// Whether two accounts on one shard are left to [`SameShard`]: they need no coordination,
    /// whichever strategy was asked for.
    fn takes_one_phase(&self) -> bool {
        true
    }

    /// Records that the tries are used up, so that the answer is final. Nothing of the transfer is
    /// in flight any more.
    fn give_up<V: StrategyVerbs>(
        &self,
        verbs: &V,
        transfer: &Transfer,
        reason: AbortReason,
    ) -> impl Future<Output = Outcome> + Send {
        async move {
            let [_, home] = transfer.branches(verbs.routing());
            ending::record(verbs, &home, Refusal::Aborted(reason), self.name()).await
        }
    }
}

/// A strategy with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// The baseline: both accounts on one shard.
    SameShard(SameShard),
    /// Two-phase commit, decided in a log.
    TwoPhase(TwoPhase),
    /// Two-phase commit whose last participant decides.
    TwoPhaseLastAgent(TwoPhaseLastAgent),
    /// Two commits under two locks, with fence and journal.
    DistributedLocks(DistributedLocks),
    /// Two commits under two locks, with neither.
    LockNaive(LockNaive),
    /// Two commits by an orchestrator with a log, the first made good where the second is refused.
    Saga(Saga),
    /// Holds on both accounts, a decision, then both effects or none.
    Reservation(Reservation),
    /// Two commits that follow each other by events.
    SagaChoreographed(SagaChoreographed),
}

impl Strategy {
    /// The name on the command line, in the ledger and in every file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SameShard(strategy) => strategy.name(),
            Self::TwoPhase(strategy) => strategy.name(),
            Self::TwoPhaseLastAgent(strategy) => strategy.name(),
            Self::DistributedLocks(strategy) => strategy.name(),
            Self::LockNaive(_) => lock_naive::NAME,
            Self::Saga(strategy) => strategy.name(),
            Self::Reservation(strategy) => strategy.name(),
            Self::SagaChoreographed(strategy) => strategy.name(),
        }
    }

    /// Whether it can carry a transfer between two shards.
    #[must_use]
    pub const fn crosses_shards(&self) -> bool {
        !matches!(self, Self::SameShard(_))
    }

    /// Whether it prepares transactions, and so needs `max_prepared_transactions`.
    #[must_use]
    pub const fn prepares(&self) -> bool {
        matches!(self, Self::TwoPhase(_) | Self::TwoPhaseLastAgent(_))
    }

    /// Whose locks it works under, if anybody's.
    #[must_use]
    pub const fn lock_service(&self) -> Option<LockServiceName> {
        match self {
            Self::DistributedLocks(strategy) => Some(strategy.service),
            Self::LockNaive(_) => Some(LockServiceName::Advisory),
            Self::SameShard(_)
            | Self::TwoPhase(_)
            | Self::TwoPhaseLastAgent(_)
            | Self::Saga(_)
            | Self::SagaChoreographed(_)
            | Self::Reservation(_) => None,
        }
    }

    /// Whether it promises that no money is lost.
    #[must_use]
    pub const fn is_safe(&self) -> bool {
        !matches!(self, Self::LockNaive(_))
    }

    /// Carries out `transfer`, in at most `max_tries` tries.
    pub async fn transfer<V: StrategyVerbs>(
        &self,
        verbs: &V,
        transfer: &Transfer,
        max_tries: NonZeroU32,
    ) -> Report {
        match self {
            Self::SameShard(strategy) => carry_out(strategy, verbs, transfer, max_tries).await,
            Self::TwoPhase(strategy) => carry_out(strategy, verbs, transfer, max_tries).await,
            Self::TwoPhaseLastAgent(strategy) => {
                carry_out(strategy, verbs, transfer, max_tries).await
            }
            Self::DistributedLocks(strategy) => {
                carry_out(strategy, verbs, transfer, max_tries).await
            }
            Self::LockNaive(strategy) => carry_out(strategy, verbs, transfer, max_tries).await,
            Self::Saga(strategy) => carry_out(strategy, verbs, transfer, max_tries).await,
            Self::Reservation(strategy) => carry_out(strategy, verbs, transfer, max_tries).await,
            Self::SagaChoreographed(strategy) => {
                carry_out(strategy, verbs, transfer, max_tries).await
            }
        }
    }
}

/// Tries until the transfer has ended or the tries are used up; then gives it up.
async fn carry_out<C: Coordinator, V: StrategyVerbs>(
    coordinator: &C,
    verbs: &V,
    transfer: &Transfer,
    max_tries: NonZeroU32,
) -> Report {
    let [first, last] = transfer.branches(verbs.routing());
    let one_phase = first.shard == last.shard && coordinator.takes_one_phase();
    let mut tries = 1;
    loop {
        let ended = if one_phase {
            SameShard.try_once(verbs, transfer).await
        } else {
            coordinator.try_once(verbs, transfer).await
        };
        let outcome = match ended {
            Try::Ended(outcome) => outcome,
            Try::Again(_) if tries < max_tries.get() => {
                tries += 1;
                verbs.back_off(tries).await;
                continue;
            }
            Try::Again(reason) => coordinator.give_up(verbs, transfer, reason).await,
        };
        return Report { outcome, tries, one_phase };
    }
}
