//! All seats of a shard at once: emptied before a measurement, and proved after it.

use std::time::Duration;

use tokio_postgres::{Client, Error};
use uuid::Uuid;

const EMPTY: &str = "set lock_timeout = '10s'; truncate shardbank.seat, shardbank.sale";
/// Only the owner can; for anybody else the server warns.
const ANALYZE: &str = "analyze shardbank.seat";
const COUNTS: &str = "select (select count(*) from shardbank.seat), \
    (select count(*) from shardbank.seat where sold_to is not null), \
    (select count(*) from shardbank.sale), \
    (select count(*) from shardbank.seat \
     where reserved_until < clock_timestamp() - $1 * interval '1 microsecond')";
const SOLD_TWICE: &str = "select seat_id, count(*) from shardbank.sale \
    group by seat_id having count(*) > 1 order by seat_id";
const CONTRADICTED: &str = "select coalesce(seat.id, sale.seat_id) from \
    (select id, sold_to from shardbank.seat where sold_to is not null) seat full join \
    (select distinct seat_id, buyer from shardbank.sale) sale \
    on sale.seat_id = seat.id and sale.buyer = seat.sold_to \
    where seat.id is null or sale.seat_id is null order by 1";
const LOCKED: &str = "select (select count(*) from shardbank.seat) - \
    (select count(*) from (select from shardbank.seat for update skip locked) free)";
const CLAIMED: &str =
    "select id from shardbank.seat where sold_to is null and fence_holder is not null order by id";
const BOUGHT: &str = "select exists (select from shardbank.sale where buyer = $1)";

/// What one shard says of its seats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeatBooks {
    /// Seats that are, or were, on sale.
    pub seats: i64,
    /// Seats that are sold.
    pub sold: i64,
    /// Payments.
    pub sales: i64,
    /// Seats with more than one payment, and how many.
    pub sold_twice: Vec<(i64, i64)>,
    /// Seats whose row and whose payments contradict each other.
    pub contradicted: Vec<i64>,
    /// Reservations that were over for longer than the grace and that nobody freed.
    pub expired: i64,
    /// Rows that somebody holds locked.
    pub locked: i64,
}

/// Removes all seats and sales.
///
/// # Errors
/// The shard did not do it; somebody may be using them.
pub async fn empty(client: &Client) -> Result<(), Error> {
    client.batch_execute(EMPTY).await
}

/// Tells the server how many seats there are, so that it plans for as many.
///
/// # Errors
/// The shard did not answer.
pub async fn analyze(client: &Client) -> Result<(), Error> {
    client.batch_execute(ANALYZE).await
}

/// Reads the books, when nobody works on them any more.
///
/// # Errors
/// The shard did not answer.
pub async fn read(client: &Client, grace: Duration) -> Result<SeatBooks, Error> {
    let grace_us = grace.as_secs_f64() * 1e6;
    let counts = client.query_one(COUNTS, &[&grace_us]).await?;
    let sold_twice = client.query(SOLD_TWICE, &[]).await?;
    let contradicted = client.query(CONTRADICTED, &[]).await?;
    Ok(SeatBooks {
        seats: counts.get(0),
        sold: counts.get(1),
        sales: counts.get(2),
        expired: counts.get(3),
        sold_twice: sold_twice.iter().map(|row| (row.get(0), row.get(1))).collect(),
        contradicted: contradicted.iter().map(|row| row.get(0)).collect(),
        locked: client.query_one(LOCKED, &[]).await?.get(0),
    })
}

/// Unsold seats that somebody once claimed under a lock.
///
/// # Errors
/// The shard did not answer.
pub async fn claimed(client: &Client) -> Result<Vec<i64>, Error> {
    Ok(client.query(CLAIMED, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Whether `buyer` has paid for anything.
///
/// # Errors
/// The shard did not answer.
pub async fn has_bought(client: &Client, buyer: Uuid) -> Result<bool, Error> {
    Ok(client.query_one(BOUGHT, &[&buyer]).await?.get(0))
}
