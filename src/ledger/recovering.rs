//! What recovery asks of Postgres.

use std::time::Duration;

use crate::coordination::{coordinator, presence};
use crate::ledger::pools::Pools;
use crate::outcome::ShardError;
use crate::shards::failure::describe;
use crate::shards::prepared;
use crate::shards::session::Session;
use crate::transfer::{ClusterId, Epoch, ShardIndex};
use crate::verbs::{Gid, Liveness, PreparedBranch};

const SHARD_0: ShardIndex = ShardIndex(0);
/// How long a session may take to end once it was told to.
const ENDING: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The prepared transactions of `cluster` in this database. Names that merely look like ours are
/// left out: they are not ours to touch.
///
/// # Errors
/// The statement failed.
pub async fn list_prepared(
    session: &Session,
    cluster: ClusterId,
) -> Result<Vec<PreparedBranch>, tokio_postgres::Error> {
    let prefix = Gid::prefix_of(cluster);
    let rows = session.query(prepared::LIST, &[&prefix]).await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let gid = row.get::<_, &str>(0).parse().ok()?;
            let age_ms: f64 = row.get(1);
            Some(PreparedBranch { gid, age: Duration::from_secs_f64(age_ms.max(0.0) / 1000.0) })
        })
        .collect())
}

/// Runs `act` on shard 0, which keeps the epochs.
///
/// # Errors
/// Shard 0 did not answer.
pub async fn on_shard_0<T>(
    pools: &Pools,
    act: impl AsyncFnOnce(&Session) -> Result<T, tokio_postgres::Error>,
) -> Result<T, ShardError> {
    on(pools, SHARD_0, act).await
}

async fn on<T>(
    pools: &Pools,
    shard: ShardIndex,
    act: impl AsyncFnOnce(&Session) -> Result<T, tokio_postgres::Error>,
) -> Result<T, ShardError> {
    let session = pools.session(shard).await?;
    match tokio::time::timeout(pools.settings().patience, act(&session)).await {
        Ok(Ok(answer)) => {
            session.settled();
            Ok(answer)
        }
        Ok(Err(error)) => Err(describe(shard, &error)),
        Err(_) => {
            Err(ShardError { shard, sqlstate: None, message: "no answer in time".to_owned() })
        }
    }
}

/// The epochs that have begun and are not closed.
///
/// # Errors
/// The statement failed.
pub async fn open_epochs(session: &Session) -> Result<Vec<Epoch>, tokio_postgres::Error> {
    coordinator::open_epochs(session).await
}

/// Notes that nothing of `epoch` is left anywhere.
///
/// # Errors
/// The statement failed.
pub async fn close_epoch(session: &Session, epoch: Epoch) -> Result<(), tokio_postgres::Error> {
    coordinator::close(session, epoch).await
}

/// Whether another process's epoch is dead.
///
/// # Errors
/// The statement failed.
pub async fn liveness(session: &Session, epoch: Epoch) -> Result<Liveness, tokio_postgres::Error> {
    let dead = coordinator::is_dead(session, epoch).await?;
    Ok(if dead { Liveness::Dead } else { Liveness::Live })
}

/// Ends the sessions of a dead epoch on `shard`, and returns when none is listed any more.
///
/// # Errors
/// The shard did not answer, or a session would not end (a stopped backend does not).
pub async fn end_sessions(
    pools: &Pools,
    shard: ShardIndex,
    epoch: Epoch,
) -> Result<(), ShardError> {
    let name = presence::application_name(pools.cluster().id(), epoch);
    let all_ended = async {
        loop {
            let left =
                on(pools, shard, async |session| coordinator::end_sessions(session, &name).await)
                    .await?;
            if left == 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    match tokio::time::timeout(ENDING, all_ended).await {
        Ok(ended) => ended,
        Err(_) => Err(ShardError {
            shard,
            sqlstate: None,
            message: format!(
                "a session of dead coordinator {epoch} does not end; it may be stopped (SIGSTOP)"
            ),
        }),
    }
}
