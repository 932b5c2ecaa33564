//! One connection to one shard, and the rule about giving it back.
//!
//! A connection whose transaction did not end for certain is closed, never used again: dropping
//! a future does not stop its statement, and the next user would inherit an open transaction. So
//! a [`Session`] is closed when it is dropped, unless its user says that it is [`Session::settled`].

use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Hook, HookError, Manager, Object, Pool, Runtime, Timeouts};

use crate::outcome::ShardError;
use crate::shards::failure::describe;
use crate::transfer::ShardIndex;

/// What every session sets for itself, whatever the server's or the role's defaults are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// Who this is, for `pg_stat_activity` and for recovery: `shardbank/<cluster>/<epoch>`.
    pub application_name: String,
    /// How long a statement waits for another's lock.
    pub lock_timeout: Duration,
    /// How long the server lets a statement run: the net behind `lock_timeout`.
    pub statement_timeout: Duration,
}

impl SessionSettings {
    /// The statements that set them, as one message. The name is ours, of `[a-z0-9/-]`.
    #[must_use]
    pub fn sql(&self) -> String {
        format!(
            "set application_name = '{}'; \
             set default_transaction_isolation = 'read committed'; \
             set default_transaction_read_only = off; \
             set synchronous_commit = on; \
             set search_path = pg_catalog; \
             set lock_timeout = {}; \
             set statement_timeout = {}; \
             set idle_in_transaction_session_timeout = 60000",
            self.application_name,
            self.lock_timeout.as_millis(),
            self.statement_timeout.as_millis(),
        )
    }
}

/// The connections of one thread to one shard.
pub struct SessionPool {
    shard: ShardIndex,
    pool: Pool,
}

impl SessionPool {
    /// A pool of at most `size` connections, made when they are first needed. Waiting for one,
    /// and connecting, each take no longer than `patience`.
    #[must_use]
    pub fn new(
        shard: ShardIndex,
        manager: Manager,
        settings: &SessionSettings,
        size: usize,
        patience: Duration,
    ) -> Self {
        let set_up = settings.sql();
        let hook = Hook::async_fn(move |client: &mut ClientWrapper, _| {
            let set_up = set_up.clone();
            Box::pin(async move { client.batch_execute(&set_up).await.map_err(HookError::Backend) })
        });
        let timeouts =
            Timeouts { wait: Some(patience), create: Some(patience), recycle: Some(patience) };
        let pool = Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .timeouts(timeouts)
            .post_create(hook)
            .build()
            .expect("a pool with a runtime can be built");
        Self { shard, pool }
    }

    /// A connection that is nobody else's until it is settled or dropped.
    ///
    /// # Errors
    /// None could be had in time. Nothing was sent.
    pub async fn session(&self) -> Result<Session, ShardError> {
        match self.pool.get().await {
            Ok(object) => Ok(Session { object: Some(object) }),
            Err(deadpool_postgres::PoolError::Backend(error)) => Err(describe(self.shard, &error)),
            Err(error) => Err(ShardError {
                shard: self.shard,
                sqlstate: None,
                message: format!("no connection: {error}"),
            }),
        }
    }

    /// Which shard it leads to.
    #[must_use]
    pub const fn shard(&self) -> ShardIndex {
        self.shard
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.pool.status().size
    }

    /// Closes every idle connection; those in use are closed when they come back.
    pub fn close(&self) {
        self.pool.close();
    }
}

/// A connection in use. Dropped without being settled, it is closed.
pub struct Session {
    object: Option<Object>,
}

impl Session {
    /// The last transaction on it has ended, for certain: others may use it.
    pub fn settled(mut self) {
        drop(self.object.take());
    }
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.object.as_ref().expect("only settling and dropping take the connection out")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            // Taken out of the pool, it is closed.
            drop(Object::take(object));
        }
    }
}
