//! What is moved, between whom, and where the two accounts live.
//!
//! Everything here is a pure value. Routing is a function of the account ids and of the shard
//! count that `init` fixed, so that every process, for ever, finds the same home for a transfer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The identity of a transfer, and its idempotency key: the same id with the same arguments
/// always has the first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransferId(pub Uuid);

impl TransferId {
    /// A fresh id. Ids made one after another sort one after another, so that the ledger's
    /// primary key is filled from its right end.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The lowest id that is made `ms` milliseconds after 1970 began, or later.
    #[must_use]
    pub const fn first_of(ms: u64) -> Self {
        Self(Uuid::from_u128((ms as u128) << 80))
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TransferId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// The identity of a cluster: fixed by `init`, written on every shard's marker row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub Uuid);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ClusterId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// One life of a coordinator process. Each process takes its own, durably, before its first
/// transfer; no two ever share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An account number: 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AccountId(i64);

impl AccountId {
    /// The account numbered `id`, or nothing where `id` is below 1.
    #[must_use]
    pub const fn new(id: i64) -> Option<Self> {
        if id >= 1 { Some(Self(id)) } else { None }
    }

    /// The number as the tables hold it.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An amount of money to move, in minor units (cents): 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Amount(i64);

impl Amount {
    /// `minor_units` as an amount, or nothing where it is below 1.
    #[must_use]
    pub const fn new(minor_units: i64) -> Option<Self> {
        if minor_units >= 1 { Some(Self(minor_units)) } else { None }
    }

    /// Minor units, as the tables hold them.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A shard's place in the cluster, counted from 0 in the order that `init` was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ShardIndex(pub u16);

impl fmt::Display for ShardIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which shard holds which account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routing {
    shard_count: u16,
}

impl Routing {
    /// Routing over `shard_count` shards, which must be 1 or more.
    #[must_use]
    pub const fn new(shard_count: u16) -> Self {
        assert!(shard_count > 0, "a cluster has at least one shard");
        Self { shard_count }
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shard_count(self) -> u16 {
        self.shard_count
    }

    /// All shards, in the one order in which they are visited.
    pub fn shards(self) -> impl DoubleEndedIterator<Item = ShardIndex> + ExactSizeIterator {
        (0..self.shard_count).map(ShardIndex)
    }

    /// The shard on which `account` lives: `(id − 1) mod shard_count`.
    #[must_use]
    pub fn shard_of(self, account: AccountId) -> ShardIndex {
        let index = (account.get() - 1) % i64::from(self.shard_count);
        ShardIndex(u16::try_from(index).expect("a remainder is below the shard count"))
    }

    /// The shard that keeps the decision of `transfer`: the higher-numbered of its two. A pure
    /// function of the arguments, so that nobody ever asks the wrong shard.
    #[must_use]
    pub fn home(self, transfer: &Transfer) -> ShardIndex {
        self.shard_of(transfer.source).max(self.shard_of(transfer.target))
    }
}

/// Whether an id may have been used before this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdOrigin {
    /// Made for this call: nobody else can have tried it.
    Fresh,
    /// Given by the caller, perhaps to repeat a call whose answer was lost.
    MayBeRepeated,
}

/// One order to move money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transfer {
    /// Its identity and idempotency key.
    pub id: TransferId,
    /// The account that pays.
    pub source: AccountId,
    /// The account that is paid; never the source.
    pub target: AccountId,
    /// How much.
    pub amount: Amount,
    /// Whether an earlier call may have carried the same id.
    pub origin: IdOrigin,
}

/// Which of a transfer's effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LegKind {
    /// The source's balance falls.
    Debit,
    /// The target's balance rises.
    Credit,
    /// The source's balance rises again: its debit is made good.
    Refund,
}

impl LegKind {
    /// As the `leg` table and gids spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
            Self::Refund => "refund",
        }
    }

    /// The leg spelt `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Debit, Self::Credit, Self::Refund].into_iter().find(|kind| kind.name() == name)
    }
}

/// One leg of a transfer on the shard of its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Branch {
    /// The whole transfer.
    pub transfer: Transfer,
    /// Which of its two effects.
    pub kind: LegKind,
    /// Where the effect's account lives.
    pub shard: ShardIndex,
}

impl Branch {
    /// The account that this leg changes.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        match self.kind {
            LegKind::Debit | LegKind::Refund => self.transfer.source,
            LegKind::Credit => self.transfer.target,
        }
    }

    /// The account at the transfer's other end.
    #[must_use]
    pub const fn counter_account(&self) -> AccountId {
        match self.kind {
            LegKind::Debit | LegKind::Refund => self.transfer.target,
            LegKind::Credit => self.transfer.source,
        }
    }
}

/// Where the effects of a transfer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Participants {
    /// The shard of the debit.
    pub debit: ShardIndex,
    /// The shard of the credit.
    pub credit: ShardIndex,
}

/// Effects of a transfer as far as they are known: where the debit is, where the credit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Effects {
    /// The shard of the debit.
    pub debit: Option<ShardIndex>,
    /// The shard of the credit.
    pub credit: Option<ShardIndex>,
}

impl Effects {
    /// Nothing but an effect of this kind on `shard`.
    #[must_use]
    pub const fn one(shard: ShardIndex, kind: LegKind) -> Self {
        match kind {
            LegKind::Debit | LegKind::Refund => Self { debit: Some(shard), credit: None },
            LegKind::Credit => Self { debit: None, credit: Some(shard) },
        }
    }

    /// Whether all of them are among `participants`.
    #[must_use]
    pub fn are_among(&self, participants: &Participants) -> bool {
        self.debit.is_none_or(|shard| shard == participants.debit)
            && self.credit.is_none_or(|shard| shard == participants.credit)
    }
}

impl From<Participants> for Effects {
    fn from(Participants { debit, credit }: Participants) -> Self {
        Self { debit: Some(debit), credit: Some(credit) }
    }
}

impl Transfer {
    /// The shards of its effects.
    #[must_use]
    pub fn participants(&self, routing: Routing) -> Participants {
        let [debit, credit] = [self.source, self.target].map(|account| routing.shard_of(account));
        Participants { debit, credit }
    }

    /// The branch that pays.
    #[must_use]
    pub fn debit(&self, routing: Routing) -> Branch {
        let shard = routing.shard_of(self.source);
        Branch { transfer: *self, kind: LegKind::Debit, shard }
    }

    /// The branch that is paid.
    #[must_use]
    pub fn credit(&self, routing: Routing) -> Branch {
        let shard = routing.shard_of(self.target);
        Branch { transfer: *self, kind: LegKind::Credit, shard }
    }

    /// Its two branches in the one order in which shards are visited: by shard number, so that
    /// two transfers in opposite directions never wait for each other in a circle. The last of
    /// them is on the home shard.
    #[must_use]
    pub fn branches(&self, routing: Routing) -> [Branch; 2] {
        let mut both = [self.debit(routing), self.credit(routing)];
        both.sort_by_key(|branch| branch.shard);
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(source: i64, target: i64) -> Transfer {
        Transfer {
            id: TransferId::fresh(),
            source: AccountId::new(source).expect("positive"),
            target: AccountId::new(target).expect("positive"),
            amount: Amount::new(1).expect("positive"),
            origin: IdOrigin::Fresh,
        }
    }

    #[test]
    fn accounts_are_dealt_to_shards_in_turn() {
        let routing = Routing::new(3);
        let shards: Vec<u16> =
            (1..=7).map(|id| routing.shard_of(AccountId::new(id).expect("positive")).0).collect();
        assert_eq!(shards, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn both_directions_visit_shards_in_the_same_order_and_share_their_home() {
        let routing = Routing::new(3);
        let there = transfer(1, 3);
        let back = transfer(3, 1);
        assert_eq!(
            there.branches(routing).map(|b| b.shard),
            back.branches(routing).map(|b| b.shard)
        );
        assert_eq!(routing.home(&there), ShardIndex(2));
        assert_eq!(routing.home(&back), ShardIndex(2));
        assert_eq!(there.branches(routing)[1].shard, routing.home(&there));
    }

    #[test]
    fn an_id_lies_between_the_milliseconds_that_it_was_made_in() {
        let now = || {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
            u64::try_from(since.as_millis()).expect("milliseconds fit")
        };
        let (before, id) = (now(), TransferId::fresh());
        assert!(TransferId::first_of(before) <= id);
        // Ids of one process never go back, so one may be ahead of the clock by a little.
        assert!(id < TransferId::first_of(now() + 1000));
    }

    #[test]
    fn zero_and_negative_numbers_name_no_account_and_no_amount() {
        assert!(AccountId::new(0).is_none() && AccountId::new(-1).is_none());
        assert!(Amount::new(0).is_none() && Amount::new(i64::MIN).is_none());
    }
}
