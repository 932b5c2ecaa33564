//! One message to one shard, and what became of it.
//!
//! A messenger takes a connection, sends, waits no longer than the settings' patience, and gives
//! the connection back only when its transaction has ended for certain. Otherwise the connection
//! is closed, the answer says that nobody knows, and the messenger remembers that it has lost
//! track of a message: it may still be running in its server.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::ledger::leg;
use crate::ledger::pools::Pools;
use crate::outcome::{Attempt, Finish, ShardError, Tombstone};
use crate::shards::failure::{Meaning, describe, meaning_of};
use crate::shards::prepared;
use crate::shards::session::Session;
use crate::transfer::{LegKind, ShardIndex, TransferId};

/// Carries messages over the connections of one thread.
pub struct Messenger {
    pools: Pools,
    has_lost_track: AtomicBool,
}

/// Why there is no answer.
enum Missed {
    /// Nothing was sent.
    NotSent(ShardError),
    /// It was sent, and may still be running.
    Unanswered(ShardError),
}

/// A statement that failed.
pub struct Failure {
    /// What that says of its transaction.
    pub meaning: Meaning,
    /// In words.
    pub error: ShardError,
}

impl Messenger {
    /// A messenger over `pools`.
    #[must_use]
    pub const fn new(pools: Pools) -> Self {
        Self { pools, has_lost_track: AtomicBool::new(false) }
    }

    /// Its connections.
    #[must_use]
    pub const fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Whether a message was sent whose end was not seen.
    #[must_use]
    pub fn has_lost_track(&self) -> bool {
        self.has_lost_track.load(Ordering::Relaxed)
    }

    /// Runs `act` on a connection to `shard`. Where it runs into the end of patience the
    /// connection is closed, because its statement may still be running.
    async fn on<T>(
        &self,
        shard: ShardIndex,
        act: impl AsyncFnOnce(&Session) -> T,
    ) -> Result<(T, Session), Missed> {
        let session = self.pools.session(shard).await.map_err(Missed::NotSent)?;
        let patience = self.pools.settings().patience;
        match tokio::time::timeout(patience, act(&session)).await {
            Ok(answer) => Ok((answer, session)),
            Err(_) => {
                self.has_lost_track.store(true, Ordering::Relaxed);
                Err(Missed::Unanswered(ShardError {
                    shard,
                    sqlstate: None,
                    message: format!("no answer within {} s", patience.as_secs_f32()),
                }))
            }
        }
    }

    /// An effect or a vote.
    pub async fn attempt(
        &self,
        shard: ShardIndex,
        act: impl AsyncFnOnce(&Session) -> Attempt,
    ) -> Attempt {
        match self.on(shard, act).await {
            Ok((unknown @ Attempt::Unknown(_), _closed)) => {
                self.has_lost_track.store(true, Ordering::Relaxed);
                unknown
            }
            Ok((attempt, session)) => {
                session.settled();
                attempt
            }
            Err(Missed::NotSent(error)) => Attempt::Failed(error),
            Err(Missed::Unanswered(error)) => Attempt::Unknown(error),
        }
    }

    /// A statement that commits by itself, whose failure is an error.
    ///
    /// # Errors
    /// It failed, or nobody knows.
    pub async fn ask<T>(
        &self,
        shard: ShardIndex,
        act: impl AsyncFnOnce(&Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Failure> {
        match self.on(shard, act).await {
            Ok((Ok(answer), session)) => {
                session.settled();
                Ok(answer)
            }
            Ok((Err(error), session)) => {
                let meaning = meaning_of(&error);
                if meaning == Meaning::Unknown {
                    self.has_lost_track.store(true, Ordering::Relaxed);
                } else {
                    session.settled();
                }
                Err(Failure { meaning, error: describe(shard, &error) })
            }
            Err(Missed::NotSent(error)) => Err(Failure { meaning: Meaning::Failed, error }),
            Err(Missed::Unanswered(error)) => Err(Failure { meaning: Meaning::Unknown, error }),
        }
    }

    /// Inserts a leg, or says what keeps it out.
    ///
    /// # Errors
    /// The shard did not answer; it may be there or not.
    pub async fn place(
        &self,
        shard: ShardIndex,
        transfer: TransferId,
        kind: LegKind,
        insert: impl AsyncFnOnce(&Session) -> Result<bool, tokio_postgres::Error>,
    ) -> Result<Tombstone, ShardError> {
        let placed = self
            .ask(shard, async |session| {
                if insert(session).await? {
                    return Ok(Tombstone::Placed);
                }
                // The insert waited until whatever stood in its way was committed, so a separate
                // statement sees it.
                Ok(leg::read(session, transfer, kind)
                    .await?
                    .map_or(Tombstone::InFlight, Tombstone::Stands))
            })
            .await;
        match placed {
            Ok(tombstone) => Ok(tombstone),
            Err(Failure { meaning: Meaning::Retry(_), .. }) => Ok(Tombstone::InFlight),
            Err(failure) => Err(failure.error),
        }
    }

    /// `COMMIT PREPARED` or `ROLLBACK PREPARED`.
    pub async fn finish(&self, shard: ShardIndex, statement: &str) -> Finish {
        let finished = self.on(shard, async |session| session.batch_execute(statement).await).await;
        match finished {
            Ok((result, session)) => {
                let finish = prepared::finish_of(shard, result);
                if matches!(finish, Finish::Unknown(_)) {
                    self.has_lost_track.store(true, Ordering::Relaxed);
                } else {
                    session.settled();
                }
                finish
            }
            Err(Missed::NotSent(error) | Missed::Unanswered(error)) => Finish::Unknown(error),
        }
    }
}
