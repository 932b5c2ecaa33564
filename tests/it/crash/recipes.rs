//! How a death at each fail point is brought about, and what it leaves.

use std::ops::RangeInclusive;

use shardbank::fail_points::FailPoint;

/// Every way to carry a transfer whose crashes are tried.
pub const STRATEGIES: &[&str] = &[
    "same-shard",
    "2pc",
    "2pc:log=file",
    "2pc:statements=one-by-one",
    "2pc:log=file,statements=one-by-one",
    "2pc:ack=early",
    "2pc-last-agent",
    "2pc-last-agent:statements=one-by-one",
    "2pc-last-agent:ack=early",
    "lock-advisory",
    "lock-lease",
    "lock-redis",
    "lock-etcd",
    "lock-zookeeper",
    "saga",
    "saga-choreographed",
    "reservation",
    "reservation:confirm=lazy",
];

const EVENTS: &[&str] = &["saga-choreographed"];
const RESERVATIONS: &[&str] = &["reservation", "reservation:confirm=lazy"];
const PIPELINED: &[&str] = &["2pc", "2pc:log=file"];
const ONE_BY_ONE: &[&str] = &["2pc:statements=one-by-one", "2pc:log=file,statements=one-by-one"];
const TWO_PHASE: &[&str] = &[
    "2pc",
    "2pc:log=file",
    "2pc:statements=one-by-one",
    "2pc:log=file,statements=one-by-one",
    "2pc:ack=early",
];
const LOCKS: &[&str] =
    &["lock-advisory", "lock-lease", "lock-redis", "lock-etcd", "lock-zookeeper"];
const LAST_AGENT: &[&str] =
    &["2pc-last-agent", "2pc-last-agent:statements=one-by-one", "2pc-last-agent:ack=early"];

/// How a death at a fail point is brought about, and what it leaves.
pub struct Recipe {
    /// Who comes past the point, or for recovery, who left the branch that it finds.
    pub strategies: &'static [&'static str],
    /// How many branches are prepared at that instant.
    pub dangling: RangeInclusive<usize>,
    /// What a call with the same id is answered once recovery has run.
    pub repeated: Repeated,
}

/// The answer to a call that repeats the one that died.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeated {
    /// Committed, then or now: nothing was recorded, or both effects were.
    Committed,
    /// A recorded no.
    Refused,
    /// Either, as recovery did or did not come to recording it.
    Either,
}

/// No arm for the rest: a new fail point needs its recipe.
pub fn recipe(point: FailPoint) -> Recipe {
    use FailPoint as P;
    use Repeated::{Committed, Either, Refused};
    let (strategies, dangling, repeated): (&[&str], _, _) = match point {
        P::SameShardStarted | P::SameShardCommitted => (&["same-shard"], 0..=0, Committed),
        P::TwoPhaseStarted => (TWO_PHASE, 0..=0, Committed),
        P::TwoPhaseFirstPrepared => (TWO_PHASE, 1..=1, Refused),
        P::TwoPhaseAllPrepared => (TWO_PHASE, 2..=2, Refused),
        P::TwoPhaseDecided => (TWO_PHASE, 2..=2, Committed),
        P::TwoPhaseFirstCommitSent => (PIPELINED, 1..=2, Committed),
        P::TwoPhaseFirstCommitted => (ONE_BY_ONE, 1..=1, Committed),
        // Answered early, the committers may or may not have come to it.
        P::TwoPhaseAllCommitted => (TWO_PHASE, 0..=2, Committed),
        P::TwoPhaseRefused => (TWO_PHASE, 1..=1, Refused),
        P::TwoPhaseRolledBack | P::TwoPhaseRefusalRecorded => (TWO_PHASE, 0..=0, Refused),
        P::LastAgentStarted => (LAST_AGENT, 0..=0, Committed),
        P::LastAgentPrepared => (LAST_AGENT, 1..=1, Refused),
        P::LastAgentDecided => (LAST_AGENT, 1..=1, Committed),
        P::LastAgentCompleted => (LAST_AGENT, 0..=1, Committed),
        P::LastAgentRefused => (LAST_AGENT, 1..=1, Refused),
        P::LastAgentRolledBack => (LAST_AGENT, 0..=0, Refused),
        P::LocksStarted | P::LocksFirstHeld | P::LocksHeld | P::LocksClaimed => {
            (LOCKS, 0..=0, Committed)
        }
        P::LocksDebited | P::LocksCredited | P::LocksWritten | P::LocksReleased => {
            (LOCKS, 0..=0, Committed)
        }
        P::LocksRefused | P::LocksRefusalRecorded => (LOCKS, 0..=0, Refused),
        // Recovery takes no lock, so whose it was makes no difference to it.
        P::RecoveryIntentsListed => (&["lock-advisory", "lock-lease"], 0..=0, Committed),
        P::EventsStarted | P::EventsDebited | P::EventsTaken => (EVENTS, 0..=0, Committed),
        P::EventsCredited | P::EventsSettled | P::EventsCompleted => (EVENTS, 0..=0, Committed),
        P::EventsRejected | P::EventsRefunded => (EVENTS, 0..=0, Refused),
        P::EventsRefused | P::EventsRefusalRecorded => (EVENTS, 0..=0, Refused),
        P::RecoveryEventsListed => (EVENTS, 0..=0, Committed),
        P::SagaStarted | P::SagaDebited | P::SagaCredited | P::SagaCompleted => {
            (&["saga"], 0..=0, Committed)
        }
        P::SagaRefused | P::SagaRefusalRecorded => (&["saga"], 0..=0, Refused),
        P::ReservationStarted => (RESERVATIONS, 0..=0, Committed),
        P::ReservationFirstHeld | P::ReservationAllHeld => (RESERVATIONS, 0..=0, Refused),
        P::ReservationDecided | P::ReservationConfirmed => (RESERVATIONS, 0..=0, Committed),
        P::ReservationFirstConfirmSent => (&["reservation"], 0..=0, Committed),
        P::ReservationRefused | P::ReservationDecidedAgainst | P::ReservationCancelled => {
            (RESERVATIONS, 0..=0, Refused)
        }
        P::RecoveryHoldsListed => (&["reservation"], 0..=0, Refused),
        P::PromiseCreditRefused | P::PromiseRefunded => (&["saga"], 0..=0, Refused),
        P::RecoverySagasClaimed => (&["saga"], 0..=0, Committed),
        // What is left has tests of its own: `naive`.
        P::NaiveRead | P::NaiveDebited => (&[], 0..=0, Committed),
        P::RecoveryListed | P::RecoveryDecided => {
            (&["2pc", "2pc:log=file", "2pc-last-agent"], 1..=2, Refused)
        }
        // What a file says nobody else can read, and the leg that tells is written next.
        P::RecoveryFinishedOne => (&["2pc", "2pc:log=file", "2pc-last-agent"], 0..=1, Either),
        // No transfer comes past: the tests of prune die there.
        P::PrunePrepared | P::PruneDecided | P::PruneFirstCommitted => (&[], 0..=0, Committed),
    };
    Recipe { strategies, dangling, repeated }
}
