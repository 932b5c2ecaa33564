//! What strategies under locks send, and the lock service that they send to.
//!
//! The service is the worst there can be: it grants every lock at once to everybody, as if each
//! holder had been stopped for longer than its lease ran. All that it keeps to is how it numbers
//! its grants. So whatever holds here holds whoever grants the locks.

use std::fmt;

use super::network::{Reply, Target, short};
use crate::outcome::AbortReason;
use crate::transfer::{AccountId, Branch, ShardIndex};
use crate::verbs::locking::{Fence, LockKey};

/// A verb of strategies under locks, as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockRequest {
    /// A lock; it is granted.
    Lock(LockKey),
    /// Raises the fence of the branch's account.
    Claim(Branch, Fence),
    /// A debit with its intent.
    Debit(Branch, Fence, &'static str),
    /// The credit of a target that was claimed.
    Credit(Branch, Fence, &'static str),
    /// The credit that an intent promises.
    CreditIntended(Branch, &'static str),
    /// The same without its leg: a planted bug.
    CreditWithoutLeg(Branch),
    /// A debit made good.
    Refund(Branch, &'static str),
    /// Notes that the credit is there.
    CloseIntent(Branch),
    /// The open intents of a shard: all, or those of one source, or of one target.
    OpenIntents(ShardIndex, [Option<AccountId>; 2]),
    /// A balance, as one reads who trusts a lock.
    ReadBalance(Branch),
    /// A balance computed from one read before.
    WriteBalance(Branch, i64, &'static str),
}

impl LockRequest {
    /// Who answers it.
    #[must_use]
    pub const fn target(&self) -> Target {
        match self {
            Self::Lock(_) => Target::LockService,
            Self::Claim(Branch { shard, .. }, _)
            | Self::Debit(Branch { shard, .. }, ..)
            | Self::Credit(Branch { shard, .. }, ..)
            | Self::CreditIntended(Branch { shard, .. }, _)
            | Self::CreditWithoutLeg(Branch { shard, .. })
            | Self::Refund(Branch { shard, .. }, _)
            | Self::CloseIntent(Branch { shard, .. })
            | Self::OpenIntents(shard, _)
            | Self::ReadBalance(Branch { shard, .. })
            | Self::WriteBalance(Branch { shard, .. }, ..) => Target::Shard(*shard),
        }
    }

    /// Whether it leaves something behind on its own. (A grant that nobody takes leaves nothing:
    /// others are granted the same lock.)
    #[must_use]
    pub const fn has_effect(&self) -> bool {
        !matches!(self, Self::Lock(_) | Self::OpenIntents(..) | Self::ReadBalance(_))
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
            Self::Lock(_) | Self::CloseIntent(_) | Self::OpenIntents(..) | Self::ReadBalance(_) => {
                None
            }
            Self::Claim(..)
            | Self::Debit(..)
            | Self::Credit(..)
            | Self::CreditIntended(..)
            | Self::CreditWithoutLeg(_)
            | Self::Refund(..)
            | Self::WriteBalance(..) => Some(Reply::Retry(AbortReason::Deadlock)),
        }
    }
}

impl fmt::Display for LockRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |b: &Branch| format!("{} on {} of {}", b.account(), b.shard, short(b.transfer.id));
        let under = |fence: &Fence| format!("under {}.{}", fence.epoch, fence.token);
        match self {
            Self::Lock(key) => write!(f, "lock {} on {}", key.account, key.shard),
            Self::Claim(b, fence) => write!(f, "claim {} {}", of(b), under(fence)),
            Self::Debit(b, fence, _) => write!(f, "debit {} with intent {}", of(b), under(fence)),
            Self::Credit(b, fence, _) => write!(f, "credit {} {}", of(b), under(fence)),
            Self::CreditIntended(b, by) => write!(f, "credit {} as intended, by {by}", of(b)),
            Self::CreditWithoutLeg(b) => write!(f, "credit {} without a leg", of(b)),
            Self::Refund(b, by) => write!(f, "refund {}, by {by}", of(b)),
            Self::CloseIntent(b) => write!(f, "close the intent of {}", short(b.transfer.id)),
            Self::OpenIntents(shard, [None, None]) => write!(f, "open intents on {shard}"),
            Self::OpenIntents(shard, _) => write!(f, "open intents on {shard} of one account"),
            Self::ReadBalance(b) => write!(f, "read balance {}", of(b)),
            Self::WriteBalance(b, balance, _) => write!(f, "write balance {balance} {}", of(b)),
        }
    }
}

/// How the service numbers the grants of one lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Tokens {
    /// 1, 2, 3.
    #[default]
    Growing,
    /// 1, 1, 2, 2: two holders have the same, as when the service is split.
    InPairs,
    /// Always 1, of a service that was wiped before, which raises the epoch.
    OfNewServices,
}

impl Tokens {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Growing, Self::InPairs, Self::OfNewServices];

    /// Epoch and token of a lock's `number`-th grant, counted from 1.
    #[must_use]
    pub const fn of(self, number: i32) -> (i32, i64) {
        match self {
            Self::Growing => (1, number as i64),
            Self::InPairs => (1, (number as i64 + 1) / 2),
            Self::OfNewServices => (number, 1),
        }
    }
}
