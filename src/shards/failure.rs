//! What an error of Postgres means for the transaction that met it.
//!
//! Classified once, here, by a pure function: did it end for certain, and is another try worth
//! it? An error that a server sends while it goes down, or no answer at all, says nothing about
//! the last message: it may have been carried out.

use tokio_postgres::error::Severity;

use crate::outcome::{AbortReason, Attempt, Rejection, ShardError};
use crate::transfer::ShardIndex;

/// What an error means for the transaction that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The business said no. Rolled back.
    Rejected(Rejection),
    /// A leg of this transfer stands already. Rolled back.
    LegStands,
    /// A decision on this transfer stands already. Rolled back.
    DecisionStands,
    /// Somebody or something was in the way. Rolled back; another try may succeed.
    Retry(AbortReason),
    /// Rolled back, and another try would meet the same.
    Failed,
    /// The message may have been carried out, or may still be.
    Unknown,
}

/// What `sqlstate` means, sent by a server that goes on serving this session (`session_ends` is
/// false) or ends it.
#[must_use]
pub fn meaning(sqlstate: &str, session_ends: bool) -> Meaning {
    if session_ends {
        return Meaning::Unknown;
    }
    match sqlstate {
        // Effects insert legs; every other insert of ours says what it does on conflict.
        "23505" => Meaning::LegStands,
        "SB002" => Meaning::DecisionStands,
        // SB003: somebody cancelled the BEGIN before it; nothing ran.
        "SB003" | "SB100" | "40001" => Meaning::Retry(AbortReason::Serialization),
        "SB004" => Meaning::Retry(AbortReason::FencedOut),
        "SB101" => Meaning::Rejected(Rejection::UnknownAccount),
        "SB102" => Meaning::Rejected(Rejection::ClosedAccount),
        "SB103" => Meaning::Rejected(Rejection::InsufficientFunds),
        "SB104" => Meaning::Rejected(Rejection::Overflow),
        "40P01" => Meaning::Retry(AbortReason::Deadlock),
        // lock_timeout, and statement_timeout as the net behind it.
        "55P03" | "57014" => Meaning::Retry(AbortReason::LockTimeout),
        "53200" => Meaning::Retry(AbortReason::NoPreparedSlot),
        // The session is going, or the server says itself that it does not know.
        "40003" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Meaning::Unknown,
        code if code.starts_with("08") => Meaning::Unknown,
        _ => Meaning::Failed,
    }
}

/// What `error` means. An error without a code is a lost connection.
#[must_use]
pub fn meaning_of(error: &tokio_postgres::Error) -> Meaning {
    error.as_db_error().map_or(Meaning::Unknown, |db| {
        let session_ends = matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
        meaning(db.code().code(), session_ends)
    })
}

/// `error` in words, with its code and without its DETAIL, which may print a balance.
#[must_use]
pub fn describe(shard: ShardIndex, error: &tokio_postgres::Error) -> ShardError {
    match error.as_db_error() {
        Some(db) => ShardError {
            shard,
            sqlstate: Some(db.code().code().to_owned()),
            message: db.message().to_owned(),
        },
        None => {
            use std::error::Error as _;
            let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
            ShardError { shard, sqlstate: None, message: format!("{error}{cause}") }
        }
    }
}

/// How an effect ended that met `error`.
#[must_use]
pub fn attempt_of(shard: ShardIndex, error: &tokio_postgres::Error) -> Attempt {
    match meaning_of(error) {
        Meaning::Rejected(rejection) => Attempt::Rejected(rejection),
        Meaning::LegStands => Attempt::LegStands,
        Meaning::DecisionStands => Attempt::DecisionStands,
        Meaning::Retry(reason) => Attempt::Retry(reason),
        Meaning::Failed => Attempt::Failed(describe(shard, error)),
        Meaning::Unknown => Attempt::Unknown(describe(shard, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_meaning_that_is_safe() {
        for (code, expected) in [
            ("23505", Meaning::LegStands),
            ("SB002", Meaning::DecisionStands),
            ("SB103", Meaning::Rejected(Rejection::InsufficientFunds)),
            ("40001", Meaning::Retry(AbortReason::Serialization)),
            ("SB004", Meaning::Retry(AbortReason::FencedOut)),
            ("40P01", Meaning::Retry(AbortReason::Deadlock)),
            ("55P03", Meaning::Retry(AbortReason::LockTimeout)),
            ("53200", Meaning::Retry(AbortReason::NoPreparedSlot)),
            // The gid is in use: not a vote.
            ("42710", Meaning::Failed),
            ("55000", Meaning::Failed),
            ("53100", Meaning::Failed),
            ("25006", Meaning::Failed),
            ("42501", Meaning::Failed),
            // Nobody knows what became of the last message.
            ("57P01", Meaning::Unknown),
            ("57P02", Meaning::Unknown),
            ("08006", Meaning::Unknown),
            ("08P01", Meaning::Unknown),
            ("40003", Meaning::Unknown),
        ] {
            assert_eq!(meaning(code, false), expected, "{code}");
        }
    }

    #[test]
    fn whatever_ends_the_session_leaves_the_outcome_unknown() {
        for code in ["SB103", "40001", "55P03", "53300", "XX000"] {
            assert_eq!(meaning(code, true), Meaning::Unknown, "{code}");
        }
    }
}
