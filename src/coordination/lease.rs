//! The `lease` table: locks as rows, on the shard where the locked account lives.
//!
//! Everything is by the server's clock: a client's may be wrong by hours. The token only grows,
//! also over releases, which expire a row and never delete it.

use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::shards::session::Session;
use crate::transfer::AccountId;

const TAKE: &str = "insert into shardbank.lease as held (resource, token, expires_at, owner) \
    values ($1, 1, clock_timestamp() + $2 * interval '1 microsecond', $3) \
    on conflict (resource) do update \
    set token = held.token + 1, expires_at = excluded.expires_at, owner = excluded.owner \
    where held.expires_at < clock_timestamp() returning token";
const RENEW: &str = "update shardbank.lease \
    set expires_at = clock_timestamp() + $2 * interval '1 microsecond' \
    where resource = $1 and owner = $3 and expires_at > clock_timestamp()";
const RELEASE: &str = "update shardbank.lease set expires_at = '-infinity' \
    where resource = $1 and owner = $2 and expires_at > clock_timestamp()";

/// Takes the lease of `account` for `owner`, if nobody's runs; its token.
///
/// # Errors
/// The statement failed; it may be taken or not.
pub async fn take(
    session: &Session,
    account: AccountId,
    ttl: Duration,
    owner: Uuid,
) -> Result<Option<i64>, Error> {
    let insert = session.prepare_cached(TAKE).await?;
    let parameters: [&(dyn ToSql + Sync); 3] = [&account.get(), &microseconds(ttl), &owner];
    Ok(session.query_opt(&insert, &parameters).await?.map(|row| row.get(0)))
}

/// Makes it last `ttl` from now. False where it ran out, or is another's.
///
/// # Errors
/// The statement failed.
pub async fn renew(
    session: &Session,
    account: AccountId,
    ttl: Duration,
    owner: Uuid,
) -> Result<bool, Error> {
    let update = session.prepare_cached(RENEW).await?;
    let parameters: [&(dyn ToSql + Sync); 3] = [&account.get(), &microseconds(ttl), &owner];
    Ok(session.execute(&update, &parameters).await? == 1)
}

/// Expires it. False where it ran out before, or is another's.
///
/// # Errors
/// The statement failed; it may be expired or not.
pub async fn release(session: &Session, account: AccountId, owner: Uuid) -> Result<bool, Error> {
    let update = session.prepare_cached(RELEASE).await?;
    let parameters: [&(dyn ToSql + Sync); 2] = [&account.get(), &owner];
    Ok(session.execute(&update, &parameters).await? == 1)
}

fn microseconds(ttl: Duration) -> f64 {
    ttl.as_secs_f64() * 1e6
}
