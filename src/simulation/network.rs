//! What travels between a task and a shard: every verb as a message, and every answer.

use std::fmt;

use super::eventing::{EventReply, EventRequest};
use super::holds::HoldRequest;
use super::locking::LockRequest;
use super::sagas::SagaRequest;
use crate::outcome::{AbortReason, LegOutcome, Refusal, Rejection, Verdict};
use crate::strategies::ending::Order;
use crate::transfer::{
    AccountId, Amount, Branch, Epoch, LegKind, Participants, ShardIndex, Transfer, TransferId,
};
use crate::verbs::saga::SagaState;
use crate::verbs::{DecisionKey, Gid, Register};

/// A verb that was called, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// Under which epoch a try may start. Answered inside the process.
    Epoch,
    /// Both legs in one local transaction.
    TransferLocally(ShardIndex, Transfer, &'static str),
    /// A branch, prepared; with a claim on the decision table, perhaps, for these effects.
    Prepare(Branch, Gid, &'static str, Option<Participants>),
    /// The last agent's half.
    ApplyAndDecide(Branch, Participants, &'static str),
    /// A refusal as a leg.
    RecordRefusal(Branch, Refusal, &'static str),
    /// A tombstone.
    Entomb(ShardIndex, TransferId, LegKind),
    /// A leg as it stands.
    ReadLeg(ShardIndex, TransferId, LegKind),
    /// A decision, unless one stands; then the one that stands.
    Decide(DecisionKey, Verdict),
    /// `COMMIT PREPARED` or `ROLLBACK PREPARED`.
    Finish(ShardIndex, Gid, Order),
    /// A file may forget a decision. Done inside the process.
    Forget(DecisionKey),
    /// `COMMIT PREPARED` of all, by somebody else, later.
    FinishLater(Vec<(ShardIndex, Gid)>),
    /// The prepared transactions of a shard.
    ListPrepared(ShardIndex),
    /// The epochs that are not closed.
    OpenEpochs,
    /// Notes that nothing is left of an epoch.
    CloseEpoch(Epoch),
    /// Whether the lock of an epoch can be had.
    Liveness(Epoch),
    /// Ends the sessions of an epoch.
    EndSessions(ShardIndex, Epoch),
    /// What strategies under locks ask for.
    Locking(LockRequest),
    /// What sagas ask for.
    Saga(SagaRequest),
    /// What reservations ask for.
    Hold(HoldRequest),
    /// Both effects of a decided reservation, by somebody else, later.
    ConfirmLater([Branch; 2]),
    /// What transfers by events and relays ask for.
    Event(EventRequest),
}

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A shard.
    Shard(ShardIndex),
    /// The decision log file of an epoch, in the sender's own process.
    File(Epoch),
    /// Whoever grants locks.
    LockService,
    /// The sender's own process, at once.
    Here,
}

impl Request {
    /// Who answers it.
    #[must_use]
    pub const fn target(&self) -> Target {
        match self {
            Self::Epoch | Self::Forget(_) | Self::FinishLater(_) | Self::ConfirmLater(_) => {
                Target::Here
            }
            Self::Decide(DecisionKey { register: Register::File, epoch, .. }, _) => {
                Target::File(*epoch)
            }
            Self::Decide(DecisionKey { home: shard, .. }, _)
            | Self::TransferLocally(shard, ..)
            | Self::Prepare(Branch { shard, .. }, ..)
            | Self::ApplyAndDecide(Branch { shard, .. }, ..)
            | Self::RecordRefusal(Branch { shard, .. }, ..)
            | Self::Entomb(shard, ..)
            | Self::ReadLeg(shard, ..)
            | Self::Finish(shard, ..)
            | Self::ListPrepared(shard)
            | Self::EndSessions(shard, _) => Target::Shard(*shard),
            Self::OpenEpochs | Self::CloseEpoch(_) | Self::Liveness(_) => {
                Target::Shard(ShardIndex(0))
            }
            Self::Locking(request) => request.target(),
            Self::Saga(request) => request.target(),
            Self::Hold(request) => request.target(),
            Self::Event(request) => Target::Shard(request.shard()),
        }
    }

    /// Whether it leaves something behind on its own, even when nobody waits for the answer. (The
    /// ending of sessions does not: it is a loop that its sender drives.)
    #[must_use]
    pub const fn has_effect(&self) -> bool {
        if let Self::Locking(request) = self {
            return request.has_effect();
        }
        if let Self::Event(request) = self {
            return request.has_effect();
        }
        !matches!(
            self,
            Self::Epoch
                | Self::ReadLeg(..)
                | Self::ListPrepared(_)
                | Self::OpenEpochs
                | Self::Liveness(_)
                | Self::EndSessions(..)
                // A claim, and letting go of one, change only whose turn it is.
                | Self::Saga(SagaRequest::Claim(..) | SagaRequest::Postpone(..))
                | Self::Hold(HoldRequest::List(_))
        )
    }

    /// What a statement answers when it has waited longer than `lock_timeout`.
    #[must_use]
    pub const fn timed_out(&self) -> Reply {
        match self {
            Self::TransferLocally(..)
            | Self::Prepare(..)
            | Self::ApplyAndDecide(..)
            | Self::Event(_) => Reply::Retry(AbortReason::LockTimeout),
            Self::RecordRefusal(..) | Self::Entomb(..) => Reply::InFlight,
            Self::Locking(request) => request.timed_out(),
            Self::Saga(request) => request.timed_out(),
            Self::Hold(request) => request.timed_out(),
            _ => Reply::Lost,
        }
    }

    /// What a server may answer though nothing is wrong, so that the caller tries again.
    #[must_use]
    pub const fn turned_away(&self) -> Option<Reply> {
        match self {
            Self::TransferLocally(..) | Self::ApplyAndDecide(..) => {
                Some(Reply::Retry(AbortReason::Deadlock))
            }
            Self::Prepare(..) => Some(Reply::Retry(AbortReason::NoPreparedSlot)),
            Self::Finish(..) => Some(Reply::Busy),
            Self::Locking(request) => request.turned_away(),
            Self::Saga(request) => request.turned_away(),
            Self::Hold(request) => request.turned_away(),
            Self::Event(request) => request.turned_away(),
            _ => None,
        }
    }
}

/// A leg as a shard stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LegRow {
    /// What became of the effect.
    pub outcome: LegOutcome,
    /// The change of the balance, in minor units; 0 unless applied.
    pub change: i64,
    /// Account, counter account, requested amount; nothing in a tombstone.
    pub arguments: Option<(AccountId, AccountId, Amount)>,
    /// Who wrote it.
    pub strategy: &'static str,
}

/// A hold: whose, which effect, and its account, counter account and amount.
pub type HoldRow = (TransferId, LegKind, (AccountId, AccountId, Amount));

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// It is done.
    Done,
    /// The answer never came.
    Lost,
    /// The business said no.
    Rejected(Rejection),
    /// A leg stands.
    LegStands,
    /// A decision stands.
    DecisionStands,
    /// Somebody was in the way.
    Retry(AbortReason),
    /// It failed, and would fail again.
    Failed,
    /// Claimed, and nothing more: an intent of this account stands open here.
    LeftHere,
    /// Claimed, and nothing more: an intent towards this account may stand open anywhere.
    LeftAnywhere,
    /// A lock, by its epoch and token.
    Granted(i32, i64),
    /// The transfers whose intents are open.
    Intents(Vec<Transfer>),
    /// The transfers whose sagas are open, and how far each is.
    Sagas(Vec<(Transfer, SagaState)>),
    /// What is held.
    Holds(Vec<HoldRow>),
    /// What is asked of events.
    Event(EventReply),
    /// A balance.
    Balance(i64),
    /// A tombstone or refusal was placed.
    Placed,
    /// This leg stands.
    Stands(LegRow),
    /// No leg stands.
    NoLeg,
    /// The key is held.
    InFlight,
    /// The decision that stands.
    Decision(Verdict),
    /// No such prepared transaction.
    Missing,
    /// Somebody else is finishing it.
    Busy,
    /// What is prepared.
    Prepared(Vec<Gid>),
    /// One epoch.
    Epoch(Epoch),
    /// What is open.
    Epochs(Vec<Epoch>),
    /// The epoch is the asker's.
    Own,
    /// The epoch's lock is held.
    Live,
    /// The epoch's lock was obtained.
    Dead,
}

impl Reply {
    /// Somebody with a later grant has been there.
    pub const FENCED_OUT: Self = Self::Retry(AbortReason::FencedOut);
}

/// The last digits of an id, enough for a trace.
#[must_use]
pub fn short(id: TransferId) -> String {
    format!("t{}", id.0.as_u128())
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |gid: &Gid| {
            let (id, kind) = (short(gid.transfer), gid.kind.name());
            format!("{id} {kind} of epoch {} attempt {}", gid.epoch, gid.attempt)
        };
        let branch = |b: &Branch| {
            format!("{} {} of {} on {}", short(b.transfer.id), b.kind.name(), b.account(), b.shard)
        };
        match self {
            Self::Epoch => write!(f, "epoch"),
            Self::TransferLocally(shard, transfer, _) => {
                write!(f, "transfer {} locally on {shard}", short(transfer.id))
            }
            Self::Prepare(b, gid, ..) => {
                write!(f, "prepare {} (epoch {} attempt {})", branch(b), gid.epoch, gid.attempt)
            }
            Self::ApplyAndDecide(b, ..) => write!(f, "apply and decide {}", branch(b)),
            Self::RecordRefusal(b, refusal, _) => {
                write!(f, "record {} for {}", refusal.name(), branch(b))
            }
            Self::Entomb(shard, id, kind) => {
                write!(f, "entomb {} {} on {shard}", short(*id), kind.name())
            }
            Self::ReadLeg(shard, id, kind) => {
                write!(f, "read leg {} {} on {shard}", short(*id), kind.name())
            }
            Self::Decide(key, wanted) => write!(
                f,
                "decide {:?} for {} in {:?} (home {}, epoch {})",
                wanted.decision,
                short(key.transfer),
                key.register,
                key.home,
                key.epoch
            ),
            Self::Finish(shard, gid, order) => write!(f, "{order:?} {} on {shard}", name(gid)),
            Self::Forget(key) => write!(f, "forget the decision on {}", short(key.transfer)),
            Self::FinishLater(branches) => write!(f, "commit {} branches later", branches.len()),
            Self::ListPrepared(shard) => write!(f, "list prepared on {shard}"),
            Self::OpenEpochs => write!(f, "open epochs"),
            Self::CloseEpoch(epoch) => write!(f, "close epoch {epoch}"),
            Self::Liveness(epoch) => write!(f, "liveness of epoch {epoch}"),
            Self::EndSessions(shard, epoch) => {
                write!(f, "end sessions of epoch {epoch} on {shard}")
            }
            Self::Locking(request) => request.fmt(f),
            Self::Saga(request) => request.fmt(f),
            Self::Hold(request) => request.fmt(f),
            Self::ConfirmLater([branch, _]) => {
                write!(f, "confirm {} later", short(branch.transfer.id))
            }
            Self::Event(request) => request.fmt(f),
        }
    }
}
