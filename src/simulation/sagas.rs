//! What sagas send.

use std::fmt;

use super::network::{Reply, Target, short};
use crate::outcome::AbortReason;
use crate::transfer::{Branch, Epoch, ShardIndex, TransferId};
use crate::verbs::saga::Owner;

/// A verb of sagas, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SagaRequest {
    /// A debit with the saga's log row.
    Debit(Branch, Owner, &'static str),
    /// A credit.
    Credit(Branch, &'static str),
    /// A debit made good, and the saga's end.
    Refund(Branch, &'static str),
    /// Notes that the credit is there.
    Complete(Branch),
    /// Sagas that nobody drives.
    Claim(ShardIndex, Owner, Vec<Epoch>),
    /// A saga, let go of.
    Postpone(ShardIndex, TransferId, Owner),
}

impl SagaRequest {
    /// Where it goes.
    #[must_use]
    pub const fn target(&self) -> Target {
        match self {
            Self::Debit(Branch { shard, .. }, ..)
            | Self::Credit(Branch { shard, .. }, _)
            | Self::Refund(Branch { shard, .. }, _)
            | Self::Complete(Branch { shard, .. })
            | Self::Claim(shard, ..)
            | Self::Postpone(shard, ..) => Target::Shard(*shard),
        }
    }

    /// What it answers when it has waited longer than `lock_timeout`.
    #[must_use]
    pub const fn timed_out(&self) -> Reply {
        Reply::Retry(AbortReason::LockTimeout)
    }

    /// What a server may answer though nothing is wrong, so that the caller tries again.
    #[must_use]
    pub const fn turned_away(&self) -> Option<Reply> {
        match self {
            Self::Debit(..) | Self::Credit(..) | Self::Refund(..) => {
                Some(Reply::Retry(AbortReason::Deadlock))
            }
            Self::Complete(_) | Self::Claim(..) | Self::Postpone(..) => None,
        }
    }
}

impl fmt::Display for SagaRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |b: &Branch| format!("{} on {} of {}", b.account(), b.shard, short(b.transfer.id));
        match self {
            Self::Debit(b, owner, _) => write!(f, "debit {} with saga of {owner}", of(b)),
            Self::Credit(b, by) => write!(f, "credit {}, by {by}", of(b)),
            Self::Refund(b, by) => write!(f, "refund {}, by {by}", of(b)),
            Self::Complete(b) => write!(f, "complete the saga of {}", short(b.transfer.id)),
            Self::Claim(shard, owner, _) => write!(f, "claim sagas on {shard} for {owner}"),
            Self::Postpone(_, id, owner) => write!(f, "postpone {} of {owner}", short(*id)),
        }
    }
}
