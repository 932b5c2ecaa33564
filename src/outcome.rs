//! How a transfer ended, and how each step of it ended.
//!
//! What happened to the money is always one of these values and never an `Err`. Every answer of
//! a shard falls into one of three kinds: it happened, it did not happen, or nobody knows yet;
//! there is no default.

use std::fmt;

use serde::Serialize;

use crate::transfer::{AccountId, Amount, Branch, Effects, Participants, Routing, ShardIndex};

/// How a transfer ended, as far as its coordinator knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Both effects are there, or are decided to be. Final.
    Committed,
    /// A business refusal, recorded; nothing changed. Final.
    Rejected(Rejection),
    /// Given up after its tries, recorded; nothing changed. Final.
    Aborted(AbortReason),
    /// The tool or a connection failed; nothing changed and nothing is recorded. The same id may
    /// be tried again.
    Failed(ShardError),
    /// Not known. Recovery will find out; so will a call with the same id.
    InDoubt(ShardError),
    /// The id is known with other arguments: the caller's mistake. Nothing changed.
    IdReused,
}

/// Why the business said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The source's balance less what is held is below the amount.
    InsufficientFunds,
    /// No such account.
    UnknownAccount,
    /// The account is closed.
    ClosedAccount,
    /// The target's balance would exceed what the column can hold.
    Overflow,
}

/// Why a transfer was given up, or one try of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AbortReason {
    /// A row was locked for longer than `lock_timeout`.
    LockTimeout,
    /// The server broke a deadlock (40P01).
    Deadlock,
    /// The server could not serialize (40001), or a row changed while it was looked at.
    Serialization,
    /// All prepared-transaction slots of a server are taken (53200).
    NoPreparedSlot,
    /// Somebody else decided first: recovery, because this coordinator was too slow, or another
    /// order under the same id.
    Superseded,
    /// A shard could not be asked, so the transfer was decided against.
    Unreachable,
    /// An operator forced it.
    Forced,
    /// Somebody with a later grant had claimed an account, or the grant ran out.
    FencedOut,
    /// A hold's time was over before the transfer was decided.
    Expired,
}

/// What a decision says, and why where it says no. The reason is stored, so that a repeated
/// call gets the first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Both effects are to be there.
    Commit,
    /// Neither is.
    Abort(Refusal),
}

/// Why a transfer is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The business said no.
    Rejected(Rejection),
    /// It was given up.
    Aborted(AbortReason),
}

macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// As tables, files and messages spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
            /// The one spelt `name`.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}

named!(Rejection {
    InsufficientFunds = "insufficient_funds",
    UnknownAccount = "unknown_account",
    ClosedAccount = "closed_account",
    Overflow = "overflow",
});

named!(AbortReason {
    LockTimeout = "lock_timeout",
    Deadlock = "deadlock",
    Serialization = "serialization",
    NoPreparedSlot = "no_prepared_slot",
    Superseded = "superseded",
    Unreachable = "unreachable",
    Forced = "forced",
    FencedOut = "fenced_out",
    Expired = "expired",
});

impl Refusal {
    /// As the `reason` columns spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.name(),
            Self::Aborted(reason) => reason.name(),
        }
    }

    /// The reason spelt `name`. An unknown one (of another version of the tool) reads as an
    /// abort by someone else, which is what it is to this reader.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match (Rejection::from_name(name), AbortReason::from_name(name)) {
            (Some(rejection), _) => Self::Rejected(rejection),
            (None, reason) => Self::Aborted(reason.unwrap_or(AbortReason::Superseded)),
        }
    }
}

impl From<AbortReason> for Refusal {
    fn from(reason: AbortReason) -> Self {
        Self::Aborted(reason)
    }
}

/// What a register keeps of an id: the decision, and of a `commit` where its effects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// What is decided.
    pub decision: Decision,
    /// The effects that it is about; nothing where it binds whatever has this id.
    pub participants: Option<Participants>,
}

impl Verdict {
    /// What it decides for `effects`. An id may have been used again, for another order: a `commit`
    /// says nothing of effects that it does not name, but that the first writer was another, so it
    /// never will be `commit` for them. A leg has one owner, so an effect that stands and is named is
    /// its own.
    #[must_use]
    pub fn on(&self, effects: &Effects) -> Decision {
        match self.participants {
            Some(participants)
                if self.decision == Decision::Commit && !effects.are_among(&participants) =>
            {
                Decision::Abort(Refusal::Aborted(AbortReason::Superseded))
            }
            _ => self.decision,
        }
    }
}

impl From<Decision> for Outcome {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Commit => Self::Committed,
            Decision::Abort(Refusal::Rejected(rejection)) => Self::Rejected(rejection),
            Decision::Abort(Refusal::Aborted(reason)) => Self::Aborted(reason),
        }
    }
}

/// What went wrong between the tool and one shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ShardError {
    /// Which shard.
    pub shard: ShardIndex,
    /// The server's code, where the server answered.
    pub sqlstate: Option<String>,
    /// What happened, in words, without a password or a balance.
    pub message: String,
}

impl fmt::Display for ShardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}: {}", self.shard, self.message)?;
        match &self.sqlstate {
            Some(code) => write!(f, " (SQLSTATE {code})"),
            None => Ok(()),
        }
    }
}

/// How one try of an effect ended on one shard: applied and committed, or applied and prepared,
/// as the verb says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// It is done.
    Done,
    /// The business said no; rolled back for certain.
    Rejected(Rejection),
    /// A leg of this id stands here already; rolled back for certain. Read it.
    LegStands,
    /// A decision against this transfer stands already; rolled back for certain.
    DecisionStands,
    /// Someone was in the way; rolled back for certain, and worth another try.
    Retry(AbortReason),
    /// It did not happen, for certain, and another try would meet the same.
    Failed(ShardError),
    /// Nobody knows: the message may still be running in the server.
    Unknown(ShardError),
}

/// What a standing leg says of the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LegOutcome {
    /// The effect ran. Only this one means it.
    Applied,
    /// A reservation holds it: it will run, or never, as the decision register says.
    Held,
    /// The business refused it, and it never will run.
    Rejected(Refusal),
    /// A tombstone: somebody made sure that it never will run.
    Empty,
}

/// A leg as it stands on a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingLeg {
    /// What it says.
    pub outcome: LegOutcome,
    /// Whose it is: account, counter account, requested amount. A tombstone says nothing of them.
    pub arguments: Option<(AccountId, AccountId, Amount)>,
    /// The strategy that wrote it.
    pub strategy: String,
}

impl StandingLeg {
    /// Whether this leg can belong to the transfer that `branch` belongs to.
    #[must_use]
    pub fn agrees_with(&self, branch: &Branch) -> bool {
        let asked = (branch.account(), branch.counter_account(), branch.transfer.amount);
        self.arguments.is_none_or(|standing| standing == asked)
    }

    /// The home shard of the transfer that this leg belongs to; nothing of a tombstone.
    #[must_use]
    pub fn home(&self, routing: Routing) -> Option<ShardIndex> {
        let (account, counter, _) = self.arguments?;
        Some(routing.shard_of(account).max(routing.shard_of(counter)))
    }
}

/// What came of placing a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tombstone {
    /// The effect never will run.
    Placed,
    /// A leg stands; this is it.
    Stands(StandingLeg),
    /// Another transaction holds the key: the effect is still in flight. Look again.
    InFlight,
}

/// How `COMMIT PREPARED` or `ROLLBACK PREPARED` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The server did it.
    Done,
    /// There is no such gid (42704). By itself this says nothing.
    Missing,
    /// Somebody else is finishing it at this moment (55000), or the server is short of
    /// something. Look again.
    Busy,
    /// Not finished as far as one can tell: the shard did not answer.
    Unknown(ShardError),
}
