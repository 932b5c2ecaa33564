//! The `seat` and `sale` tables: what a box office asks of the shard where a seat lives.
//!
//! Whoever sells inserts a sale in the statement that changes the seat, so one is never there
//! without the other. Every condition stands in the statement that writes; what was read before
//! is only a reason to try. Reservations run out by the server's clock: a client's may be wrong by
//! hours.

use std::time::Duration;

use futures_util::future::try_join;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::ledger::messenger::Failure;
use crate::ledger::pools::Pools;
use crate::outcome::ShardError;
use crate::shards::failure::{Meaning, describe, meaning_of};
use crate::shards::session::Session;
use crate::transfer::ShardIndex;
use crate::verbs::locking::Fence;

const OPEN: &str = "insert into shardbank.seat (id) \
    select generate_series($1::bigint, $2::bigint, $3::bigint) on conflict (id) do nothing";
const LOOK: &str = "(select id from shardbank.seat where id between $2 and $3 \
    and sold_to is null and (reserved_until is null or reserved_until <= clock_timestamp()) \
    order by id limit 1) union all (select id from shardbank.seat where id between $1 and $2 \
    and sold_to is null and (reserved_until is null or reserved_until <= clock_timestamp()) \
    order by id limit 1) limit 1";
const RESERVE: &str = "update shardbank.seat set state = 'reserved', reserved_by = $2, \
    reserved_until = clock_timestamp() + $3 * interval '1 microsecond' \
    where id = $1 and sold_to is null \
    and (reserved_until is null or reserved_until <= clock_timestamp())";
const PAY: &str = "with paid as (update shardbank.seat set state = 'sold', sold_to = $2, \
    reserved_by = null, reserved_until = null \
    where id = $1 and reserved_by = $2 and reserved_until > clock_timestamp() returning id) \
    insert into shardbank.sale (seat_id, buyer, way) select id, $2, $3 from paid";
const GIVE_BACK: &str = "update shardbank.seat set state = 'available', reserved_by = null, \
    reserved_until = null where id = $1 and reserved_by = $2";
const SWEEP: &str = "update shardbank.seat set state = 'available', reserved_by = null, \
    reserved_until = null where id in (select id from shardbank.seat where sold_to is null \
    and reserved_until <= clock_timestamp() for update skip locked)";
const TAKE: &str = "select sold_to is null from shardbank.seat where id = $1 for update";
const SELL: &str = "with sold as (update shardbank.seat set state = 'sold', sold_to = $2, \
    reserved_by = null, reserved_until = null where id = $1 and sold_to is null returning id) \
    insert into shardbank.sale (seat_id, buyer, way) select id, $2, $3 from sold";
const CLAIM: &str = "update shardbank.seat \
    set fence_epoch = $2, fence = $3, fence_holder = $4 where id = $1 and sold_to is null \
    and ((fence_epoch, fence) < ($2, $3) or (fence_epoch, fence, fence_holder) = ($2, $3, $4))";
const SELL_UNDER_FENCE: &str = "with sold as (update shardbank.seat set state = 'sold', \
    sold_to = $2, reserved_by = null, reserved_until = null where id = $1 and sold_to is null \
    and (fence_epoch, fence, fence_holder) = ($4, $5, $6) returning id) \
    insert into shardbank.sale (seat_id, buyer, way) select id, $2, $3 from sold";

/// One seat: its number over all batches, and where it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seat {
    /// Its number, 1 or more.
    pub id: i64,
    /// Where it lives.
    pub shard: ShardIndex,
}

/// The seats of one batch on one shard: every `step`-th from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The lowest number.
    pub first: i64,
    /// No number is higher.
    pub last: i64,
    /// From one number to the next.
    pub step: i64,
}

async fn changed(
    session: &Session,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64, Error> {
    let statement = session.prepare_cached(statement).await?;
    session.execute(&statement, parameters).await
}

/// Puts a batch on sale. Seats that are there already stay as they are.
///
/// # Errors
/// The statement failed.
pub async fn open(session: &Session, row: Row) -> Result<u64, Error> {
    changed(session, OPEN, &[&row.first, &row.last, &row.step]).await
}

/// The first seat of `row` that seems free, from `preferred` on and then from the beginning.
///
/// # Errors
/// The statement failed.
pub async fn look(session: &Session, row: Row, preferred: i64) -> Result<Option<i64>, Error> {
    let look = session.prepare_cached(LOOK).await?;
    let found = session.query_opt(&look, &[&row.first, &preferred, &row.last]).await?;
    Ok(found.map(|found| found.get(0)))
}

/// Reserves a seat for `user` until `hold` from now. False where it is sold, or reserved for
/// somebody whose time is not over.
///
/// # Errors
/// The statement failed.
pub async fn reserve(
    session: &Session,
    seat: i64,
    user: Uuid,
    hold: Duration,
) -> Result<bool, Error> {
    let hold_us = hold.as_secs_f64() * 1e6;
    Ok(changed(session, RESERVE, &[&seat, &user, &hold_us]).await? == 1)
}

/// Sells a seat to whom it is reserved for. False where that is not `user`, or not any more.
///
/// # Errors
/// The statement failed.
pub async fn pay(session: &Session, seat: i64, user: Uuid, way: &str) -> Result<bool, Error> {
    Ok(changed(session, PAY, &[&seat, &user, &way]).await? == 1)
}

/// Ends a reservation before its time. False where it is not `user`'s.
///
/// # Errors
/// The statement failed.
pub async fn give_back(session: &Session, seat: i64, user: Uuid) -> Result<bool, Error> {
    Ok(changed(session, GIVE_BACK, &[&seat, &user]).await? == 1)
}

/// Frees every seat of this shard whose reservation is over; how many. Several sweepers do not
/// wait for one another, nor for who is buying.
///
/// # Errors
/// The statement failed.
pub async fn sweep(session: &Session) -> Result<u64, Error> {
    changed(session, SWEEP, &[]).await
}

/// Raises the fence of an unsold seat before anything is done on the lock's strength. False where
/// it is sold, or somebody with a later grant has been here.
///
/// # Errors
/// The statement failed.
pub async fn claim(session: &Session, seat: i64, fence: Fence) -> Result<bool, Error> {
    let Fence { epoch, token, holder } = fence;
    Ok(changed(session, CLAIM, &[&seat, &epoch, &token, &holder.0]).await? == 1)
}

/// Sells a seat that was claimed with `fence`. False where it is sold, or was claimed by another
/// since.
///
/// # Errors
/// The statement failed.
pub async fn sell_under_fence(
    session: &Session,
    seat: i64,
    user: Uuid,
    fence: Fence,
    way: &str,
) -> Result<bool, Error> {
    let Fence { epoch, token, holder } = fence;
    let parameters: [&(dyn ToSql + Sync); 6] = [&seat, &user, &way, &epoch, &token, &holder.0];
    Ok(changed(session, SELL_UNDER_FENCE, &parameters).await? == 1)
}

/// A seat whose row is locked by a transaction that stays open. Dropped, its connection is closed
/// and its server rolls back.
pub struct HeldRow {
    session: Session,
    seat: Seat,
    patience: Duration,
}

impl HeldRow {
    /// Locks the row of a seat, waiting for others no longer than the settings' `lock_timeout`.
    /// Nothing where it is sold.
    ///
    /// # Errors
    /// It is not locked; that others held it for too long is one of the reasons.
    pub async fn take(pools: &Pools, seat: Seat) -> Result<Option<Self>, Failure> {
        let not_sent = |error| Failure { meaning: Meaning::Failed, error };
        let session = pools.session(seat.shard).await.map_err(not_sent)?;
        let row = Self { session, seat, patience: pools.settings().patience };
        let taken = row
            .step(async |session| {
                let select = session.prepare_cached(TAKE).await?;
                let parameters: [&(dyn ToSql + Sync); 1] = [&seat.id];
                // Both are sent before either is answered.
                let (begun, selected) =
                    (session.batch_execute("begin"), session.query_opt(&select, &parameters));
                try_join(begun, selected).await.map(|((), selected)| selected)
            })
            .await;
        match taken {
            Ok(Some(unsold)) if unsold.get(0) => Ok(Some(row)),
            Ok(_) => {
                row.let_go().await?;
                Ok(None)
            }
            Err(failure) => {
                if failure.meaning != Meaning::Unknown {
                    // What it says is known already; a connection that does not roll back is
                    // closed.
                    row.let_go().await.ok();
                }
                Err(failure)
            }
        }
    }

    /// Sells the seat, and ends the transaction. False where it was sold.
    ///
    /// # Errors
    /// It is not sold, or nobody knows.
    pub async fn sell(self, user: Uuid, way: &str) -> Result<bool, Failure> {
        let id = self.seat.id;
        let sold = self
            .step(async |session| {
                let sell = session.prepare_cached(SELL).await?;
                let parameters: [&(dyn ToSql + Sync); 3] = [&id, &user, &way];
                let (sold, committed) =
                    (session.execute(&sell, &parameters), session.batch_execute("commit"));
                try_join(sold, committed).await.map(|(sold, ())| sold)
            })
            .await?;
        self.session.settled();
        Ok(sold == 1)
    }

    /// Rolls back: the seat is as it was.
    ///
    /// # Errors
    /// The shard did not answer. The connection is closed, so its server rolls back.
    pub async fn let_go(self) -> Result<(), Failure> {
        self.step(async |session| session.batch_execute("rollback").await).await?;
        self.session.settled();
        Ok(())
    }

    async fn step<T>(
        &self,
        act: impl AsyncFnOnce(&Session) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let shard = self.seat.shard;
        match tokio::time::timeout(self.patience, act(&self.session)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                Err(Failure { meaning: meaning_of(&error), error: describe(shard, &error) })
            }
            Err(_) => Err(Failure {
                meaning: Meaning::Unknown,
                error: ShardError {
                    shard,
                    sqlstate: None,
                    message: format!("no answer within {} s", self.patience.as_secs_f32()),
                },
            }),
        }
    }
}
