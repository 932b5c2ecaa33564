//! What reservations send.

use std::fmt;

use super::network::{Reply, Target, short};
use crate::outcome::{AbortReason, Refusal};
use crate::transfer::{Branch, ShardIndex};

/// A verb of reservations, as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldRequest {
    /// A promise of an effect.
    Reserve(Branch, &'static str),
    /// The effect that was promised.
    Confirm(Branch),
    /// A promise taken back, or ruled out.
    Cancel(Branch, Refusal, &'static str),
    /// The holds of a shard.
    List(ShardIndex),
}

impl HoldRequest {
    /// Where it goes.
    #[must_use]
    pub const fn target(&self) -> Target {
        match self {
            Self::Reserve(Branch { shard, .. }, _)
            | Self::Confirm(Branch { shard, .. })
            | Self::Cancel(Branch { shard, .. }, ..)
            | Self::List(shard) => Target::Shard(*shard),
        }
    }

    /// What it answers when it has waited longer than `lock_timeout`.
    #[must_use]
    pub const fn timed_out(&self) -> Reply {
        match self {
            Self::Cancel(..) => Reply::InFlight,
            _ => Reply::Retry(AbortReason::LockTimeout),
        }
    }

    /// What a server may answer though nothing is wrong, so that the caller tries again.
    #[must_use]
    pub const fn turned_away(&self) -> Option<Reply> {
        match self {
            Self::Reserve(..) | Self::Confirm(_) => Some(Reply::Retry(AbortReason::Deadlock)),
            Self::Cancel(..) | Self::List(_) => None,
        }
    }
}

impl fmt::Display for HoldRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |b: &Branch| {
            format!("{} {} of {} on {}", short(b.transfer.id), b.kind.name(), b.account(), b.shard)
        };
        match self {
            Self::Reserve(b, _) => write!(f, "reserve {}", of(b)),
            Self::Confirm(b) => write!(f, "confirm {}", of(b)),
            Self::Cancel(b, why, _) => write!(f, "cancel {}: {}", of(b), why.name()),
            Self::List(shard) => write!(f, "open holds on {shard}"),
        }
    }
}
