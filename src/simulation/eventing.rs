//! What a transfer by events, and whoever relays events, sends to shards.
//!
//! No event is ever held by one relay alone: everybody who asks is given all that are not sent, as if
//! each holder had been stopped for longer than its time with them ran. Rest and parking are not
//! modelled either: who puts an event back gets it again.

use std::fmt;

use super::network::{Reply, short};
use crate::outcome::AbortReason;
use crate::transfer::{Branch, ShardIndex, TransferId};
use crate::verbs::events::{Event, Handled, Standing};

/// A verb of events, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventRequest {
    /// A debit with its event.
    Debit(Branch, &'static str),
    /// How far the transfer of a completed debit is.
    Read(ShardIndex, TransferId),
    /// Events that are not sent.
    Take(ShardIndex),
    /// Events that are not settled.
    Open(ShardIndex),
    /// Events, handled by their addressee.
    Handle(ShardIndex, Vec<Event>, &'static str),
    /// The same of a debit, without the leg of its credit: a planted bug.
    HandleWithoutLeg(ShardIndex, Vec<Event>, &'static str),
    /// Events, noted as handled.
    MarkSent(ShardIndex, Vec<Event>),
}

impl EventRequest {
    /// Who answers it.
    #[must_use]
    pub const fn shard(&self) -> ShardIndex {
        match self {
            Self::Debit(Branch { shard, .. }, _)
            | Self::Read(shard, _)
            | Self::Take(shard)
            | Self::Open(shard)
            | Self::Handle(shard, ..)
            | Self::HandleWithoutLeg(shard, ..)
            | Self::MarkSent(shard, _) => *shard,
        }
    }

    /// Whether it leaves something behind on its own.
    #[must_use]
    pub const fn has_effect(&self) -> bool {
        !matches!(self, Self::Read(..) | Self::Take(_) | Self::Open(_))
    }

    /// What a server may answer though nothing is wrong, so that the caller tries again.
    #[must_use]
    pub const fn turned_away(&self) -> Option<Reply> {
        match self {
            Self::Debit(..) | Self::Handle(..) | Self::HandleWithoutLeg(..) => {
                Some(Reply::Retry(AbortReason::Deadlock))
            }
            _ => None,
        }
    }
}

/// An answer about events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventReply {
    /// Events that are not sent, or not settled.
    Events(Vec<Event>),
    /// What each event came to.
    Handled(Vec<Handled>),
    /// How far it is.
    Standing(Option<Standing>),
}

impl fmt::Display for EventRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |events: &[Event]| {
            let one =
                |event: &Event| format!("{} of {}", event.kind().name(), short(event.transfer.id));
            events.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Debit(b, _) => {
                write!(
                    f,
                    "debit {} on {} with event of {}",
                    b.account(),
                    b.shard,
                    short(b.transfer.id)
                )
            }
            Self::Read(shard, id) => write!(f, "read the event of {} on {shard}", short(*id)),
            Self::Take(shard) => write!(f, "take events on {shard}"),
            Self::Open(shard) => write!(f, "open events on {shard}"),
            Self::Handle(shard, events, _) => write!(f, "handle {} on {shard}", all(events)),
            Self::HandleWithoutLeg(shard, events, _) => {
                write!(f, "handle {} on {shard} without a leg", all(events))
            }
            Self::MarkSent(shard, events) => write!(f, "mark {} on {shard} as sent", all(events)),
        }
    }
}
