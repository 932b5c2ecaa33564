//! The connections of one thread, for one epoch.
//!
//! Every session carries its coordinator's epoch in its name, so a new epoch means new sessions:
//! those of the old one may be ended by others at any moment.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::coordination::presence::{Presence, application_name};
use crate::outcome::ShardError;
use crate::shards::cluster::Cluster;
use crate::shards::session::{Session, SessionPool, SessionSettings};
use crate::transfer::{Epoch, ShardIndex};

/// How a thread talks to its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// At most this many connections to each shard: one for each transfer that this thread
    /// carries at a time.
    pub connections: usize,
    /// How long a statement waits for another's lock.
    pub lock_timeout: Duration,
    /// How long a message may go unanswered before its outcome is called unknown. The server's
    /// own `statement_timeout` is the same.
    pub patience: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            connections: 1,
            lock_timeout: Duration::from_secs(1),
            patience: Duration::from_secs(10),
        }
    }
}

/// What a recoverer's sessions are named by while shard 0 is away. No coordinator has it.
const NO_EPOCH: Epoch = Epoch(0);

/// The connections of one thread.
pub struct Pools {
    cluster: Cluster,
    presence: Presence,
    settings: PoolSettings,
    current: RwLock<Arc<OfEpoch>>,
}

struct OfEpoch {
    epoch: Epoch,
    shards: Vec<SessionPool>,
}

impl Pools {
    /// Connections for the epoch that `presence` has now; none is made yet.
    #[must_use]
    pub fn new(cluster: Cluster, presence: Presence, settings: PoolSettings) -> Self {
        // Without an epoch nothing can be started, but the dead can still be cleared away.
        let epoch = presence.current().unwrap_or(NO_EPOCH);
        let current = RwLock::new(Arc::new(OfEpoch::new(&cluster, epoch, &settings)));
        Self { cluster, presence, settings, current }
    }

    /// The epoch under which something may be started now; the connections are that epoch's.
    ///
    /// # Errors
    /// There is none, and none can be had.
    pub async fn epoch(&self) -> Result<Epoch, ShardError> {
        let epoch = match self.presence.current() {
            Some(epoch) => epoch,
            None => self.presence.epoch().await?,
        };
        if self.current().epoch != epoch {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            if current.epoch != epoch {
                current.close();
                *current = Arc::new(OfEpoch::new(&self.cluster, epoch, &self.settings));
            }
        }
        Ok(epoch)
    }

    /// A connection to `shard`.
    ///
    /// # Errors
    /// None could be had in time. Nothing was sent.
    pub async fn session(&self, shard: ShardIndex) -> Result<Session, ShardError> {
        let current = self.current();
        current.shards[usize::from(shard.0)].session().await
    }

    /// Opens as many connections to every shard as there may be, so that none is opened while
    /// something is measured.
    ///
    /// # Errors
    /// A shard cannot be reached.
    pub async fn fill(&self) -> Result<(), ShardError> {
        let current = self.current();
        for pool in &current.shards {
            let mut sessions = Vec::new();
            for _ in 0..self.settings.connections {
                sessions.push(pool.session().await?);
            }
            sessions.into_iter().for_each(Session::settled);
        }
        Ok(())
    }

    /// Makes every open session report its statistics, which servers otherwise put off for up to
    /// ten seconds. Must be called while no transfer is being carried. Before Postgres 15 there
    /// is nothing to call, and sessions report at the end of each transaction, at most every
    /// half a second.
    ///
    /// # Errors
    /// A shard cannot be reached.
    pub async fn flush_statistics(&self) -> Result<(), ShardError> {
        let current = self.current();
        for pool in &current.shards {
            let mut sessions = Vec::new();
            for _ in 0..pool.open() {
                sessions.push(pool.session().await?);
            }
            for session in sessions {
                let flushed = session
                    .batch_execute(
                        "do $$ begin if current_setting('server_version_num')::int >= 150000 \
                         then perform pg_stat_force_next_flush(); end if; end $$",
                    )
                    .await;
                if flushed.is_ok() {
                    session.settled();
                }
            }
        }
        Ok(())
    }

    /// The cluster that they lead to.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Who uses them.
    #[must_use]
    pub const fn presence(&self) -> &Presence {
        &self.presence
    }

    /// How they are used.
    #[must_use]
    pub const fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    fn current(&self) -> Arc<OfEpoch> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OfEpoch {
    fn new(cluster: &Cluster, epoch: Epoch, settings: &PoolSettings) -> Self {
        let session = SessionSettings {
            application_name: application_name(cluster.id(), epoch),
            lock_timeout: settings.lock_timeout,
            statement_timeout: settings.patience,
        };
        let shards = cluster
            .targets()
            .map(|(shard, target)| {
                let (manager, size) = (target.manager(), settings.connections);
                SessionPool::new(shard, manager, &session, size, settings.patience)
            })
            .collect();
        Self { epoch, shards }
    }

    fn close(&self) {
        self.shards.iter().for_each(SessionPool::close);
    }
}
