//! What kinds of step there are, and to which phase of a protocol each belongs.

/// What kind of step it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Both legs in one local transaction.
    TransferLocally,
    /// One branch prepared.
    Prepare,
    /// The last agent's effect and decision.
    ApplyAndDecide,
    /// The decision.
    Decide,
    /// One branch committed.
    CommitPrepared,
    /// Both branches handed to the committers.
    CommitPreparedLater,
    /// One branch rolled back.
    RollBackPrepared,
    /// A refusal, recorded.
    RecordRefusal,
    /// A tombstone.
    Entomb,
    /// A leg, read.
    ReadLeg,
    /// Waiting before another try.
    BackOff,
    /// A lock, waited for and granted.
    Lock,
    /// A fence, raised.
    Claim,
    /// A debit with its intent.
    DebitWithIntent,
    /// A credit under its fence.
    CreditUnderFence,
    /// A credit that an intent promised.
    CreditIntended,
    /// A debit made good.
    Refund,
    /// An intent, closed.
    CloseIntent,
    /// Open intents, listed.
    ListIntents,
    /// A balance, read.
    ReadBalance,
    /// A balance, written.
    WriteBalance,
    /// A lock, given back.
    Unlock,
    /// A debit with its saga's log row.
    DebitWithSaga,
    /// The credit of a saga.
    Credit,
    /// A saga's end, noted.
    CompleteSaga,
    /// Sagas that nobody drives, claimed.
    ClaimSagas,
    /// A saga, let go of.
    PostponeSaga,
    /// An effect, promised.
    Reserve,
    /// A promised effect, carried out.
    Confirm,
    /// Both effects handed to the committers.
    ConfirmLater,
    /// A promise, taken back.
    Cancel,
    /// Open holds, listed.
    ListHolds,
    /// A debit with its event.
    DebitWithEvent,
    /// The end of a transfer, waited for.
    AwaitEnd,
    /// An event, read.
    ReadEvent,
    /// An event, handled by its addressee.
    HandleEvent,
    /// An event, noted as handled.
    MarkSent,
}

/// The part of a protocol that a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Everything in one local transaction.
    Local,
    /// Setting aside what will be moved.
    Reserve,
    /// Collecting votes.
    Prepare,
    /// Making the decision durable.
    Decide,
    /// Carrying the decision out.
    Commit,
    /// Undoing and recording a refusal.
    RollBack,
    /// Waiting between tries.
    BackOff,
    /// Waiting for locks.
    LockWait,
    /// What is done under locks, or step by step.
    Work,
    /// Giving locks back.
    Release,
    /// Making a debit good.
    Compensate,
    /// Waiting until events were delivered and answered.
    Deliver,
}

impl Phase {
    /// All of them, in protocol order.
    pub const ALL: [Self; 12] = [
        Self::Local,
        Self::Reserve,
        Self::Prepare,
        Self::Decide,
        Self::Commit,
        Self::RollBack,
        Self::BackOff,
        Self::LockWait,
        Self::Work,
        Self::Release,
        Self::Compensate,
        Self::Deliver,
    ];

    /// As files spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Reserve => "reserve",
            Self::Prepare => "prepare",
            Self::Decide => "decide",
            Self::Commit => "commit",
            Self::RollBack => "roll_back",
            Self::BackOff => "back_off",
            Self::LockWait => "lock_wait",
            Self::Work => "work",
            Self::Release => "release",
            Self::Compensate => "compensate",
            Self::Deliver => "deliver",
        }
    }
}

impl Step {
    /// The phase that its time is counted under.
    #[must_use]
    pub const fn phase(self) -> Phase {
        match self {
            Self::TransferLocally => Phase::Local,
            Self::Reserve | Self::ListHolds => Phase::Reserve,
            Self::Prepare => Phase::Prepare,
            Self::ApplyAndDecide | Self::Decide => Phase::Decide,
            Self::CommitPrepared
            | Self::CommitPreparedLater
            | Self::Confirm
            | Self::ConfirmLater => Phase::Commit,
            Self::RollBackPrepared | Self::RecordRefusal | Self::Entomb | Self::ReadLeg => {
                Phase::RollBack
            }
            Self::BackOff => Phase::BackOff,
            Self::Lock => Phase::LockWait,
            Self::Claim
            | Self::DebitWithIntent
            | Self::CreditUnderFence
            | Self::CreditIntended
            | Self::CloseIntent
            | Self::ListIntents
            | Self::ReadBalance
            | Self::WriteBalance
            | Self::DebitWithSaga
            | Self::Credit
            | Self::CompleteSaga
            | Self::ClaimSagas
            | Self::PostponeSaga
            | Self::DebitWithEvent => Phase::Work,
            Self::Unlock => Phase::Release,
            Self::Refund | Self::Cancel => Phase::Compensate,
            Self::AwaitEnd | Self::ReadEvent | Self::HandleEvent | Self::MarkSent => Phase::Deliver,
        }
    }

    /// In words, for a person.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TransferLocally => "debit and credit in one transaction",
            Self::Prepare => "PREPARE TRANSACTION",
            Self::ApplyAndDecide => "effect and decision in one transaction",
            Self::Decide => "decision",
            Self::CommitPrepared => "COMMIT PREPARED",
            Self::CommitPreparedLater => "COMMIT PREPARED handed to the committers",
            Self::RollBackPrepared => "ROLLBACK PREPARED",
            Self::RecordRefusal => "refusal recorded",
            Self::Entomb => "tombstone",
            Self::ReadLeg => "leg read",
            Self::BackOff => "wait before the next try",
            Self::Lock => "lock",
            Self::Claim => "claim",
            Self::DebitWithIntent => "claim, debit and intent in one transaction",
            Self::CreditUnderFence => "credit under its fence",
            Self::CreditIntended => "credit that was promised",
            Self::Refund => "refund",
            Self::CloseIntent => "intent closed",
            Self::ListIntents => "open intents listed",
            Self::ReadBalance => "balance read",
            Self::WriteBalance => "balance written",
            Self::Unlock => "unlock",
            Self::DebitWithSaga => "debit and saga log in one transaction",
            Self::Credit => "credit",
            Self::CompleteSaga => "saga completed",
            Self::ClaimSagas => "sagas claimed",
            Self::PostponeSaga => "saga let go of",
            Self::Reserve => "reserve",
            Self::Confirm => "confirm",
            Self::ConfirmLater => "confirm handed to the committers",
            Self::Cancel => "cancel",
            Self::ListHolds => "open holds listed",
            Self::DebitWithEvent => "debit and event in one transaction",
            Self::AwaitEnd => "relays at work",
            Self::ReadEvent => "event read",
            Self::HandleEvent => "event handled",
            Self::MarkSent => "event noted as sent",
        }
    }
}
