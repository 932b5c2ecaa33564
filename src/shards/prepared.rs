//! The three statements on prepared transactions, built in one place.
//!
//! They take no parameters, so a name is spliced into their text; only a [`Gid`] can be, which
//! holds nothing but `[a-z0-9:-]`.

use crate::outcome::Finish;
use crate::shards::failure::{Meaning, describe, meaning_of};
use crate::transfer::ShardIndex;
use crate::verbs::Gid;

/// `PREPARE TRANSACTION` as `gid`.
#[must_use]
pub fn prepare(gid: &Gid) -> String {
    format!("prepare transaction '{gid}'")
}

/// `COMMIT PREPARED`.
#[must_use]
pub fn commit(gid: &Gid) -> String {
    format!("commit prepared '{gid}'")
}

/// `ROLLBACK PREPARED`.
#[must_use]
pub fn roll_back(gid: &Gid) -> String {
    format!("rollback prepared '{gid}'")
}

/// The prepared transactions of this database whose name begins with `$1`, with their age in
/// milliseconds by the shard's clock. Another database's are listed by the server too and cannot
/// be finished from here.
pub const LIST: &str = "select gid, \
    (extract(epoch from clock_timestamp() - prepared) * 1000)::float8 as age_ms \
    from pg_catalog.pg_prepared_xacts \
    where database = current_database() and left(gid, length($1)) = $1 order by prepared";

/// How `COMMIT PREPARED` or `ROLLBACK PREPARED` ended.
#[must_use]
pub fn finish_of(shard: ShardIndex, result: Result<(), tokio_postgres::Error>) -> Finish {
    let Err(error) = result else { return Finish::Done };
    match (error.code().map(|code| code.code()), meaning_of(&error)) {
        (_, Meaning::Unknown) => Finish::Unknown(describe(shard, &error)),
        (Some("42704"), _) => Finish::Missing,
        // Somebody else is finishing it, or the server is short of something: it is as it was.
        (Some("55000" | "53200" | "53100" | "57014" | "55P03"), _) => Finish::Busy,
        _ => Finish::Unknown(describe(shard, &error)),
    }
}
