//! What a shard looks like to the person who looks after it: what is prepared, what it blocks,
//! how full its slots are.

use std::time::Duration;

use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::transfer::{Epoch, TransferId};

/// A prepared transaction as a shard lists it, ours or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Its name.
    pub gid: String,
    /// How long it has been prepared, by the shard's clock.
    pub age: Duration,
    /// Who prepared it; only that role, or a superuser, can finish it.
    pub owner: String,
    /// In which database; only there it can be finished.
    pub database: String,
    /// How many sessions wait for its locks at this moment.
    pub blocked: i64,
}

/// What a shard is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Every prepared transaction of the whole server.
    pub prepared: Vec<Prepared>,
    /// How many it can hold.
    pub slots: i64,
    /// How many accounts, as the planner estimates.
    pub accounts_estimate: i64,
    /// How many legs, as the planner estimates.
    pub legs_estimate: i64,
    /// What the schema takes on disk, in bytes.
    pub bytes: i64,
    /// Its sessions of this tool, of whatever epoch.
    pub sessions: i64,
    /// Transfers under locks from here whose credit is still owed.
    pub open_intents: i64,
    /// How long the oldest of them has been owed.
    pub oldest_intent: Option<Duration>,
    /// Sagas from here that have not ended.
    pub open_sagas: Vec<SagaInspection>,
    /// Holds here that have not ended, and how many of those have expired.
    pub open_holds: [i64; 2],
    /// The sums of all balances and of what is held of them, in minor units.
    pub totals: [i128; 2],
    /// Events written here that are not delivered, or not answered.
    pub open_events: i64,
    /// How long ago the oldest of them was written.
    pub oldest_event: Option<Duration>,
    /// Those of them that could not be handled and hold up what comes after; twenty at the most.
    pub parked_events: Vec<ParkedEvent>,
}

/// An event that could not be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Of which transfer.
    pub transfer: Uuid,
    /// Its type, as the table spells it.
    pub kind: String,
    /// The account whose later events wait behind it.
    pub account: i64,
    /// How many those are.
    pub behind: i64,
    /// Why.
    pub error: String,
}

/// A saga that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaInspection {
    /// Which transfer.
    pub transfer: TransferId,
    /// How far it is.
    pub state: String,
    /// How long ago its debit was made, in seconds by the shard's clock.
    pub age_s: i64,
    /// How often it was claimed.
    pub attempts: i32,
    /// What the last attempt met.
    pub last_error: Option<String>,
}

/// How many sagas are shown; those that were given up come first.
const SAGAS_SHOWN: i64 = 20;

/// A coordinator's epoch as shard 0 knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRow {
    /// Which.
    pub epoch: Epoch,
    /// Host and process number.
    pub name: String,
    /// How long ago it began, in seconds by the shard's clock.
    pub age_s: i64,
}

/// Looks at one shard.
///
/// # Errors
/// A statement failed.
pub async fn inspect(client: &Client) -> Result<Inspection, Error> {
    let rows = client
        .query(
            "select p.gid, (extract(epoch from clock_timestamp() - p.prepared))::float8, \
                    p.owner::text, p.database::text, \
                    (select count(*) from pg_locks w \
                      where not w.granted and w.transactionid = p.transaction) \
             from pg_prepared_xacts p order by p.prepared",
            &[],
        )
        .await?;
    let prepared = rows
        .iter()
        .map(|row| Prepared {
            gid: row.get(0),
            age: Duration::from_secs_f64(row.get::<_, f64>(1).max(0.0)),
            owner: row.get(2),
            database: row.get(3),
            blocked: row.get(4),
        })
        .collect();
    let row = client
        .query_one(
            "select current_setting('max_prepared_transactions')::int8, \
                    (select greatest(reltuples, 0)::int8 from pg_class \
                      where oid = 'shardbank.account'::regclass), \
                    (select greatest(reltuples, 0)::int8 from pg_class \
                      where oid = 'shardbank.leg'::regclass), \
                    (select coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 from pg_class c \
                      where c.relkind = 'r' and c.relnamespace = 'shardbank'::regnamespace), \
                    (select count(*) from pg_stat_activity \
                      where application_name like 'shardbank/%'), \
                    (select count(*) from shardbank.intent where state = 'open'), \
                    (select extract(epoch from clock_timestamp() - min(recorded_at))::float8 \
                       from shardbank.intent where state = 'open'), \
                    (select count(*) from shardbank.outbox where settled_at is null), \
                    (select extract(epoch from clock_timestamp() - min(recorded_at))::float8 \
                       from shardbank.outbox where settled_at is null)",
            &[],
        )
        .await?;
    let open_sagas = client
        .query(
            "select transfer_id, state, \
                    (extract(epoch from clock_timestamp() - recorded_at))::int8, attempts, \
                    last_error \
               from shardbank.saga where state not in ('completed', 'refunded') \
              order by state <> 'dead', recorded_at limit $1",
            &[&SAGAS_SHOWN],
        )
        .await?
        .iter()
        .map(|row| SagaInspection {
            transfer: TransferId(row.get(0)),
            state: row.get(1),
            age_s: row.get(2),
            attempts: row.get(3),
            last_error: row.get(4),
        })
        .collect();
    let held = client
        .query_one(
            "select (select count(*) from shardbank.hold where state = 'held'), \
                    (select count(*) from shardbank.hold \
                      where state = 'held' and expires_at <= clock_timestamp()), \
                    coalesce(sum(balance), 0)::text, coalesce(sum(held), 0)::text \
               from shardbank.account",
            &[],
        )
        .await?;
    let total = |column: usize| {
        held.get::<_, &str>(column).parse().expect("a sum of bigints is a whole number")
    };
    let parked_events = parked_events(client).await?;
    let age = |column| {
        let seconds: Option<f64> = row.get(column);
        seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)))
    };
    Ok(Inspection {
        prepared,
        open_sagas,
        open_holds: [held.get(0), held.get(1)],
        totals: [total(2), total(3)],
        slots: row.get(0),
        accounts_estimate: row.get(1),
        legs_estimate: row.get(2),
        bytes: row.get(3),
        sessions: row.get(4),
        open_intents: row.get(5),
        oldest_intent: age(6),
        open_events: row.get(7),
        oldest_event: age(8),
        parked_events,
    })
}

async fn parked_events(client: &Client) -> Result<Vec<ParkedEvent>, Error> {
    let rows = client
        .query(
            "select transfer_id, type, account_id, coalesce(last_error, ''), \
                    (select count(*) from shardbank.outbox later \
                      where later.account_id = parked.account_id and later.settled_at is null \
                        and later.sent_at is null and later.position > parked.position) \
             from shardbank.outbox parked where is_parked and settled_at is null \
             order by position limit 20",
            &[],
        )
        .await?;
    let parked = rows.iter().map(|row| ParkedEvent {
        transfer: row.get(0),
        kind: row.get(1),
        account: row.get(2),
        error: row.get(3),
        behind: row.get(4),
    });
    Ok(parked.collect())
}

/// The epochs that are not closed, as shard 0 knows them.
///
/// # Errors
/// The statement failed.
pub async fn open_epochs(client: &Client) -> Result<Vec<EpochRow>, Error> {
    let rows = client
        .query(
            "select epoch, name, (extract(epoch from clock_timestamp() - started_at))::int8 \
             from shardbank.coordinator where ended_at is null order by epoch",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| EpochRow { epoch: Epoch(row.get(0)), name: row.get(1), age_s: row.get(2) })
        .collect())
}
