//! The named instants at which a coordinator can be made to die, and what must become of the
//! transfer it was carrying.
//!
//! A fail point is part of a protocol's description: the strategy's own comment above it says
//! what recovery does when the coordinator dies there, [`FailPoint::verdict`] says it to the
//! tests, and the README's crash table is written from it. Armed by name in a child process,
//! a fail point announces itself and then waits to be killed: destructors and buffers do not
//! run under `kill -9`, so nothing weaker will do.

/// What becomes of a process that comes to an armed fail point. Either way it says so first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It waits to be killed.
    Dies,
    /// It is stopped, all of it, by SIGSTOP, until somebody sends SIGCONT.
    Pauses,
}

/// What must stand once recovery has run after a death at a fail point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Neither effect is there and nothing of the transfer is left in flight.
    NothingHappened,
    /// Both effects are there.
    Committed,
    /// One effect is there, for ever, and the audit says so: what `lock-naive` makes of a death.
    HalfApplied,
}

impl Verdict {
    /// In the words of the crash table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NothingHappened => "nothing happened",
            Self::Committed => "committed",
            Self::HalfApplied => "half of it happened, for ever",
        }
    }
}

macro_rules! fail_points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $verdict:ident, $needs:ident;)+) => {
        /// A named instant inside a protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FailPoint { $($(#[$doc])* $variant),+ }

        impl FailPoint {
            /// All of them, in the order of the protocols.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// `strategy.instant`, as the command line spells it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
            /// What recovery must make of a death here.
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict),+ }
            }
            /// What a transfer must be like to come past here.
            #[must_use]
            pub const fn needs(self) -> Needs {
                match self { $(Self::$variant => Needs::$needs),+ }
            }
        }
    };
}

/// What a transfer must be like to come past a fail point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Two shards that both say yes.
    Success,
    /// Two shards that both say yes, told one after the other (`statements=one-by-one`).
    OneByOne,
    /// A participant that says no after the first has prepared: a missing target account on the
    /// home shard.
    Refusal,
    /// Both accounts on one shard.
    OneShard,
    /// A branch that an earlier coordinator left prepared, undecided.
    Leftover,
    /// An intent that an earlier coordinator left open.
    Intent,
    /// A saga that an earlier coordinator left open.
    Saga,
    /// A hold that an earlier coordinator left open, undecided.
    Hold,
    /// A source that has less than is asked for.
    Poverty,
    /// An event that an earlier coordinator left unanswered.
    Event,
    /// No transfer of its own: finished ones, on two shards, for `prune` to fold.
    Finished,
    /// Two shards that both say yes, and an application that trusts its locks.
    Naive,
}

fail_points! {
    /// Chosen, nothing sent.
    SameShardStarted = "same-shard.started", NothingHappened, OneShard;
    /// Committed, not answered.
    SameShardCommitted = "same-shard.committed", Committed, OneShard;
    /// Chosen, nothing sent.
    TwoPhaseStarted = "2pc.started", NothingHappened, Success;
    /// One participant has prepared.
    TwoPhaseFirstPrepared = "2pc.first-prepared", NothingHappened, Success;
    /// Every participant has prepared; nothing is decided.
    TwoPhaseAllPrepared = "2pc.all-prepared", NothingHappened, Success;
    /// The decision is durable; nobody has been told.
    TwoPhaseDecided = "2pc.decided", Committed, Success;
    /// `COMMIT PREPARED` is on its way to one participant and not to the other.
    TwoPhaseFirstCommitSent = "2pc.first-commit-sent", Committed, Success;
    /// One participant has committed, the other was not told.
    TwoPhaseFirstCommitted = "2pc.first-committed", Committed, OneByOne;
    /// All have committed; nobody was answered.
    TwoPhaseAllCommitted = "2pc.all-committed", Committed, Success;
    /// A participant refused after another prepared.
    TwoPhaseRefused = "2pc.refused", NothingHappened, Refusal;
    /// What had prepared is rolled back; the refusal is not recorded yet.
    TwoPhaseRolledBack = "2pc.rolled-back", NothingHappened, Refusal;
    /// The refusal is recorded, not answered.
    TwoPhaseRefusalRecorded = "2pc.refusal-recorded", NothingHappened, Refusal;
    /// Chosen, nothing sent.
    LastAgentStarted = "2pc-last-agent.started", NothingHappened, Success;
    /// The participant that is not home has prepared.
    LastAgentPrepared = "2pc-last-agent.prepared", NothingHappened, Success;
    /// Home has committed its effect and the decision in one transaction.
    LastAgentDecided = "2pc-last-agent.decided", Committed, Success;
    /// Both have committed; nobody was answered.
    LastAgentCompleted = "2pc-last-agent.completed", Committed, Success;
    /// Home refused after the other prepared.
    LastAgentRefused = "2pc-last-agent.refused", NothingHappened, Refusal;
    /// What had prepared is rolled back; the refusal is not recorded yet.
    LastAgentRolledBack = "2pc-last-agent.rolled-back", NothingHappened, Refusal;
    /// Chosen, nothing sent.
    LocksStarted = "lock.started", NothingHappened, Success;
    /// One lock is held.
    LocksFirstHeld = "lock.first-held", NothingHappened, Success;
    /// Both locks are held, nothing is written.
    LocksHeld = "lock.held", NothingHappened, Success;
    /// The target's fence is raised.
    LocksClaimed = "lock.claimed", NothingHappened, Success;
    /// The debit and its intent are committed.
    LocksDebited = "lock.debited", Committed, Success;
    /// Both effects are committed, the intent is open.
    LocksCredited = "lock.credited", Committed, Success;
    /// All is written, both locks are held.
    LocksWritten = "lock.written", Committed, Success;
    /// The locks are released, nobody was answered.
    LocksReleased = "lock.released", Committed, Success;
    /// The target or the source said no; nothing is recorded.
    LocksRefused = "lock.refused", NothingHappened, Refusal;
    /// The refusal is recorded, the locks are held, nobody was answered.
    LocksRefusalRecorded = "lock.refusal-recorded", NothingHappened, Refusal;
    /// Both balances are read, nothing is written.
    NaiveRead = "lock-naive.read", NothingHappened, Naive;
    /// The source's balance is written, the target's is not.
    NaiveDebited = "lock-naive.debited", HalfApplied, Naive;
    /// Chosen, nothing sent.
    SagaStarted = "saga.started", NothingHappened, Success;
    /// The debit and the saga's log row are committed.
    SagaDebited = "saga.debited", Committed, Success;
    /// Both effects are committed, the saga is open.
    SagaCredited = "saga.credited", Committed, Success;
    /// The saga is completed, nobody was answered.
    SagaCompleted = "saga.completed", Committed, Success;
    /// The source said no; nothing is recorded.
    SagaRefused = "saga.refused", NothingHappened, Poverty;
    /// The source's refusal is recorded, nobody was answered.
    SagaRefusalRecorded = "saga.refusal-recorded", NothingHappened, Poverty;
    /// Chosen, nothing sent.
    ReservationStarted = "reservation.started", NothingHappened, Success;
    /// One account holds its part.
    ReservationFirstHeld = "reservation.first-held", NothingHappened, Success;
    /// Both hold, nothing is decided.
    ReservationAllHeld = "reservation.all-held", NothingHappened, Success;
    /// The decision is durable, nothing is confirmed.
    ReservationDecided = "reservation.decided", Committed, Success;
    /// A confirmation is on its way to one account and not to the other.
    ReservationFirstConfirmSent = "reservation.first-confirm-sent", Committed, Success;
    /// Both are confirmed, nobody was answered.
    ReservationConfirmed = "reservation.confirmed", Committed, Success;
    /// An account refused after another held its part.
    ReservationRefused = "reservation.refused", NothingHappened, Refusal;
    /// The abort is durable, nothing is cancelled.
    ReservationDecidedAgainst = "reservation.decided-against", NothingHappened, Refusal;
    /// Both are cancelled, nobody was answered.
    ReservationCancelled = "reservation.cancelled", NothingHappened, Refusal;
    /// Recovery has seen an open hold and asked nobody yet.
    RecoveryHoldsListed = "recovery.holds-listed", NothingHappened, Hold;
    /// The debit is made, the credit's refusal is recorded, the refund is owed.
    PromiseCreditRefused = "promise.credit-refused", NothingHappened, Refusal;
    /// The debit is made good, nobody was answered.
    PromiseRefunded = "promise.refunded", NothingHappened, Refusal;
    /// Recovery has claimed an open saga and done nothing yet.
    RecoverySagasClaimed = "recovery.sagas-claimed", Committed, Saga;
    /// Chosen, nothing sent.
    EventsStarted = "saga-choreographed.started", NothingHappened, Success;
    /// The debit and its event are committed.
    EventsDebited = "saga-choreographed.debited", Committed, Success;
    /// A relay has taken the event and not delivered it.
    EventsTaken = "saga-choreographed.taken", Committed, Success;
    /// The target has credited and answered; the event is not marked as sent.
    EventsCredited = "saga-choreographed.credited", Committed, Success;
    /// The target has refused, for good, and answered; the debit stands.
    EventsRejected = "saga-choreographed.rejected", NothingHappened, Refusal;
    /// The debit is made good; the answer is not marked as sent.
    EventsRefunded = "saga-choreographed.refunded", NothingHappened, Refusal;
    /// The transfer's end is written; the answer is not marked as sent.
    EventsSettled = "saga-choreographed.settled", Committed, Success;
    /// The caller's process knows the end; the caller was not answered.
    EventsCompleted = "saga-choreographed.completed", Committed, Success;
    /// The source said no; nothing is recorded.
    EventsRefused = "saga-choreographed.refused", NothingHappened, Poverty;
    /// The refusal is recorded, nobody was answered.
    EventsRefusalRecorded = "saga-choreographed.refusal-recorded", NothingHappened, Poverty;
    /// Recovery has seen an open event and done nothing yet.
    RecoveryEventsListed = "recovery.events-listed", Committed, Event;
    /// Recovery has seen an open intent and done nothing yet.
    RecoveryIntentsListed = "recovery.intents-listed", Committed, Intent;
    /// Recovery has seen a prepared branch and asked nobody yet.
    RecoveryListed = "recovery.listed", NothingHappened, Leftover;
    /// Recovery has written its verdict and told nobody.
    RecoveryDecided = "recovery.decided", NothingHappened, Leftover;
    /// Recovery has rolled back one branch.
    RecoveryFinishedOne = "recovery.finished-one", NothingHappened, Leftover;
    /// A batch is prepared on every shard; nothing is decided.
    PrunePrepared = "prune.prepared", NothingHappened, Finished;
    /// The batch is decided; no shard has been told.
    PruneDecided = "prune.decided", Committed, Finished;
    /// One shard has carried the batch out, the others were not told.
    PruneFirstCommitted = "prune.first-committed", Committed, Finished;
}

impl FailPoint {
    /// The one spelt `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|point| point.name() == name)
    }

    /// The strategy (or `recovery`, or `prune`) that comes past it.
    #[must_use]
    pub fn owner(self) -> &'static str {
        self.name().split_once('.').map_or(self.name(), |(owner, _)| owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_fail_point() {
        for point in FailPoint::ALL {
            assert_eq!(FailPoint::from_name(point.name()), Some(*point));
            assert_ne!(point.owner(), point.name(), "a name is an owner, a dot and an instant");
        }
    }
}
