//! Session advisory locks of Postgres, on the shard where the account lives.
//!
//! One dedicated connection for each lock that is held, because a session may take its own lock
//! twice; out of a bounded pool of this thread's own, never shared with data. Lock and token are one
//! message, the token drawn after the grant. The server queues those who wait, first come first
//! served, and `lock_timeout` ends their wait.
//!
//! The lock goes with its session: at once when its holder dies, and never while a dead holder's
//! statement runs. A holder that is merely stopped keeps it; so the session says that it may not
//! be idle for longer than the lease (`idle_session_timeout`), and the renewal is a sign of life.
//! Not through a pooler that hands out sessions by transaction: preflight refuses those.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::SimpleQueryMessage;

use crate::coordination::presence::application_name;
use crate::locks::service::{Granted, Lease, Service};
use crate::shards::cluster::Cluster;
use crate::shards::failure::{Meaning, describe, meaning_of};
use crate::shards::session::{Session, SessionPool, SessionSettings};
use crate::transfer::{AccountId, Epoch, ShardIndex};
use crate::verbs::locking::{BoxFuture, HolderId, LockError, LockKey, Released};

/// How long a message may go unanswered beyond the wait that it asks for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Advisory locks, for one thread.
pub struct Advisory {
    pools: Vec<SessionPool>,
    identity: Arc<str>,
    ttl: Duration,
}

impl Advisory {
    /// Locks for the accounts of `cluster`; at most `held` at a time on each shard. Sessions are
    /// named after `epoch`, so that recovery ends a dead coordinator's.
    #[must_use]
    pub fn new(cluster: &Cluster, epoch: Epoch, held: usize, ttl: Duration) -> Self {
        let settings = SessionSettings {
            application_name: application_name(cluster.id(), epoch),
            lock_timeout: Duration::from_secs(1),
            // A wait is bounded by its lock_timeout; this is the net behind it.
            statement_timeout: Duration::from_secs(60),
        };
        let pools = cluster
            .targets()
            .map(|(shard, target)| {
                SessionPool::new(shard, target.manager(), &settings, held, PATIENCE)
            })
            .collect();
        Self { pools, identity: cluster.id().to_string().into(), ttl }
    }
}

impl Service for Advisory {
    fn grant(
        &self,
        key: LockKey,
        _: HolderId,
        until: Instant,
    ) -> BoxFuture<'_, Result<Granted, LockError>> {
        Box::pin(async move {
            let pool = &self.pools[usize::from(key.shard.0)];
            let session =
                pool.session().await.map_err(|error| LockError::Unavailable(error.to_string()))?;
            let sent = Instant::now();
            let wait = until.saturating_duration_since(sent).max(Duration::from_millis(1));
            let text = format!(
                "set lock_timeout = {}; set idle_session_timeout = {}; \
                 with granted as materialized (select pg_advisory_lock({})::text as lock) \
                 select nextval('shardbank.lock_token'), lock from granted",
                wait.as_millis(),
                self.ttl.as_millis(),
                key.account,
            );
            let asked = tokio::time::timeout(wait + PATIENCE, session.simple_query(&text)).await;
            // A session whose answer is not known is closed as it is dropped, and its lock with it.
            let rows = match asked {
                Ok(Ok(rows)) => rows,
                Ok(Err(error)) if matches!(meaning_of(&error), Meaning::Retry(_)) => {
                    session.settled();
                    return Err(LockError::Timeout);
                }
                Ok(Err(error)) => return Err(unavailable(key.shard, &error)),
                Err(_) => return Err(LockError::Unavailable("no answer in time".to_owned())),
            };
            let token = rows.iter().find_map(|row| match row {
                SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
                _ => None,
            });
            let token = token.expect("a sequence gives a number");
            let (shard, account) = (key.shard, key.account);
            let session = tokio::sync::Mutex::new(Some(session));
            Ok(Granted {
                token,
                identity: Arc::clone(&self.identity),
                ends_at: Some(Instant::now() + self.ttl),
                round_trips: 1,
                lease: Box::new(AdvisoryLease { shard, account, ttl: self.ttl, session }),
            })
        })
    }
}

struct AdvisoryLease {
    shard: ShardIndex,
    account: AccountId,
    ttl: Duration,
    session: tokio::sync::Mutex<Option<Session>>,
}

impl Lease for AdvisoryLease {
    fn renew(&self) -> BoxFuture<'_, Result<Option<Instant>, LockError>> {
        Box::pin(async move {
            let mut held = self.session.lock().await;
            let Some(session) = held.as_ref() else {
                return Err(LockError::Lost("it was released".to_owned()));
            };
            let sent = Instant::now();
            match tokio::time::timeout(PATIENCE, session.batch_execute("")).await {
                Ok(Ok(())) => Ok(Some(sent + self.ttl)),
                Ok(Err(error)) => {
                    // The lock went with the session.
                    held.take();
                    Err(LockError::Lost(describe(self.shard, &error).to_string()))
                }
                Err(_) => Err(LockError::Unavailable("no answer in time".to_owned())),
            }
        })
    }

    fn release(self: Box<Self>) -> BoxFuture<'static, Result<Released, LockError>> {
        Box::pin(async move {
            let Some(session) = self.session.into_inner() else {
                return Ok(Released::AlreadyGone);
            };
            let text = format!(
                "set idle_session_timeout = 0; select pg_advisory_unlock({})",
                self.account
            );
            match tokio::time::timeout(PATIENCE, session.simple_query(&text)).await {
                Ok(Ok(rows)) => {
                    let is_owned = rows.iter().any(|row| match row {
                        SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
                        _ => false,
                    });
                    if !is_owned {
                        // Not this session's: nothing that it may hold can be known. Closed.
                        return Ok(Released::AlreadyGone);
                    }
                    session.settled();
                    Ok(Released::Owned)
                }
                // Closed as it is dropped, and the lock goes with it.
                Ok(Err(error)) if meaning_of(&error) == Meaning::Unknown => {
                    Ok(Released::AlreadyGone)
                }
                Ok(Err(error)) => Err(unavailable(self.shard, &error)),
                Err(_) => Err(LockError::Unavailable("no answer in time".to_owned())),
            }
        })
    }
}

fn unavailable(shard: ShardIndex, error: &tokio_postgres::Error) -> LockError {
    LockError::Unavailable(describe(shard, error).to_string())
}
