//! The name of a prepared transaction.
//!
//! `shardbank:<cluster>:<epoch>:<t|f>:<home>:<transfer id>:<leg>:<attempt>`. Everything that
//! recovery needs to reach a verdict is in the name: where the decision is kept and under which
//! key. A [`Gid`] holds nothing but `[a-z0-9:-]` and stays under Postgres' 200 bytes, so its
//! text may stand inside a simple-query message, where parameters cannot.

use std::fmt;
use std::str::FromStr;

use crate::transfer::{ClusterId, Effects, Epoch, LegKind, ShardIndex, TransferId};
use crate::verbs::DecisionKey;

/// Which kind of register holds a transfer's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Register {
    /// The `decision` table on the home shard.
    Table,
    /// The decision log file of the coordinator's epoch.
    File,
}

impl Register {
    const fn letter(self) -> &'static str {
        match self {
            Self::Table => "t",
            Self::File => "f",
        }
    }
}

/// What every name of ours begins with.
pub const PREFIX: &str = "shardbank:";

/// The name of one prepared transaction, unique for ever: attempts never repeat in an epoch, nor
/// epochs in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gid {
    /// Whose it is. Recovery touches only its own cluster's.
    pub cluster: ClusterId,
    /// Which life of which coordinator made it.
    pub epoch: Epoch,
    /// Where its decision is kept.
    pub register: Register,
    /// The shard that keeps the decision table's row.
    pub home: ShardIndex,
    /// The transfer.
    pub transfer: TransferId,
    /// Which of its legs.
    pub kind: LegKind,
    /// Which attempt at it.
    pub attempt: u64,
}

impl Gid {
    /// Under which key the verdict stands on this branch, which is on `shard`, by itself.
    #[must_use]
    pub const fn decision_key(&self, shard: ShardIndex) -> DecisionKey {
        DecisionKey {
            register: self.register,
            epoch: self.epoch,
            home: self.home,
            transfer: self.transfer,
            effects: Effects::one(shard, self.kind),
        }
    }

    /// The beginning shared by all names of `cluster`.
    #[must_use]
    pub fn prefix_of(cluster: ClusterId) -> String {
        format!("{PREFIX}{cluster}:")
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{PREFIX}{}:{}:{}:{}:{}:{}:{}",
            self.cluster,
            self.epoch,
            self.register.letter(),
            self.home,
            self.transfer,
            self.kind.name(),
            self.attempt
        )
    }
}

/// The text is not a name that this tool gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a shardbank gid: {0:?} (expected shardbank:<cluster>:<epoch>:<t|f>:<home>:<transfer>:<leg>:<attempt>)"
)]
pub struct NotOurGid(pub String);

impl FromStr for Gid {
    type Err = NotOurGid;

    fn from_str(text: &str) -> Result<Self, NotOurGid> {
        let parse = || -> Option<Self> {
            let mut fields = text.strip_prefix(PREFIX)?.split(':');
            let gid = Self {
                cluster: fields.next()?.parse().ok()?,
                epoch: Epoch(fields.next()?.parse().ok()?),
                register: match fields.next()? {
                    "t" => Register::Table,
                    "f" => Register::File,
                    _ => return None,
                },
                home: ShardIndex(fields.next()?.parse().ok()?),
                transfer: fields.next()?.parse().ok()?,
                // A refund is never prepared.
                kind: LegKind::from_name(fields.next()?).filter(|kind| *kind != LegKind::Refund)?,
                attempt: fields.next()?.parse().ok()?,
            };
            // Only the canonical spelling is ours: a name that differs in case, sign or leading
            // zeros was made by somebody else and would not be found again under our text.
            (fields.next().is_none() && gid.to_string() == text).then_some(gid)
        };
        parse().ok_or_else(|| NotOurGid(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn gid() -> Gid {
        Gid {
            cluster: ClusterId(Uuid::from_u128(7)),
            epoch: Epoch(i64::MAX),
            register: Register::File,
            home: ShardIndex(u16::MAX),
            transfer: TransferId(Uuid::max()),
            kind: LegKind::Credit,
            attempt: u64::MAX,
        }
    }

    #[test]
    fn the_longest_gid_fits_postgres_and_its_alphabet() {
        let text = gid().to_string();
        assert!(text.len() < 200, "{} bytes", text.len());
        assert!(
            text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b':' | b'-')),
            "{text}"
        );
        assert_eq!(text.parse(), Ok(gid()));
    }

    #[test]
    fn names_that_are_nearly_ours_are_not_ours() {
        let ours = gid().to_string();
        for other in [
            String::new(),
            "shardbank:".to_owned(),
            ours.to_uppercase(),
            ours.replace(":f:", ":x:"),
            format!("{ours}:1"),
            format!("{ours}'"),
            ours.replace(":credit:", ":refund:"),
            ours.replace(&format!(":{}:", i64::MAX), ":+5:"),
            ours.replace(&format!(":{}:", i64::MAX), ":05:"),
        ] {
            assert!(other.parse::<Gid>().is_err(), "{other}");
        }
    }
}
