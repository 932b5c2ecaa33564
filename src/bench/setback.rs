//! Why a step did not go through, by the answer that it had.

use crate::outcome::{AbortReason, Attempt, Finish, ShardError};
use crate::verbs::locking::{Claimed, LockError};
use crate::verbs::observed::Answer;

/// Why a step did not go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setback {
    /// 40001, or a row that changed while it was looked at.
    Serialization,
    /// 40P01.
    Deadlock,
    /// 55P03.
    LockTimeout,
    /// The shard could not be reached, or the connection broke.
    Connection,
    /// Somebody with a later grant was there first, or the grant ran out.
    FencedOut,
    /// Anything else.
    Other,
}

/// How many kinds of setback there are.
pub const SETBACKS: usize = 6;

/// The setback that `answer` is, if it is one.
#[must_use]
pub fn setback(answer: &Answer) -> Option<Setback> {
    match answer {
        Answer::Attempt(attempt) | Answer::Claimed(Claimed::Not(attempt)) => of_attempt(attempt),
        Answer::Decision(Err(error))
        | Answer::Finish(Finish::Unknown(error))
        | Answer::Tombstone(Err(error))
        | Answer::Leg(Err(error))
        | Answer::Ended(Err(error)) => Some(of_error(error)),
        Answer::Locked(Err(error)) => Some(match error {
            LockError::Timeout => Setback::LockTimeout,
            LockError::Unavailable(_) => Setback::Connection,
            LockError::Lost(_) => Setback::FencedOut,
        }),
        _ => None,
    }
}

fn of_attempt(attempt: &Attempt) -> Option<Setback> {
    Some(match attempt {
        Attempt::Retry(reason) => match reason {
            AbortReason::Serialization => Setback::Serialization,
            AbortReason::Deadlock => Setback::Deadlock,
            AbortReason::LockTimeout => Setback::LockTimeout,
            AbortReason::Unreachable => Setback::Connection,
            AbortReason::FencedOut => Setback::FencedOut,
            AbortReason::NoPreparedSlot
            | AbortReason::Superseded
            | AbortReason::Forced
            | AbortReason::Expired => Setback::Other,
        },
        Attempt::Failed(error) | Attempt::Unknown(error) => of_error(error),
        _ => return None,
    })
}

/// A server that still talks gives a code; class 08 and 57P say that it is about to stop.
fn of_error(error: &ShardError) -> Setback {
    match error.sqlstate.as_deref() {
        None => Setback::Connection,
        Some(code) if code.starts_with("08") || code.starts_with("57P") => Setback::Connection,
        Some(_) => Setback::Other,
    }
}
