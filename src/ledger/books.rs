//! The books of one shard, read in one snapshot: what the audit is made of.
//!
//! A snapshot sees no half of a local transaction, so within it the ledger explains every
//! balance at any moment, under any load.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use tokio_postgres::{Client, Error, Transaction};
use uuid::Uuid;

use crate::transfer::{LegKind, TransferId};

/// The totals of one shard and what is wrong with its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// How many there are.
    pub accounts: i64,
    /// The sum of all balances, in minor units.
    pub balance_total: i128,
    /// The sum of all opening balances, in minor units.
    pub opening_total: i128,
    /// What prune has moved into the opening balances and still has on record, in minor units:
    /// over all shards, once no batch is between its shards, 0.
    pub folded: i128,
    /// How many accounts have legs but no row.
    pub missing: i64,
    /// How many have a balance that opening balance and legs do not explain.
    pub unexplained: i64,
    /// How many are negative, or hold more than they have.
    pub negative: i64,
    /// Some of those, in words.
    pub offending: Vec<String>,
}

/// A read-only snapshot, taken now.
///
/// # Errors
/// The statement failed.
pub async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, Error> {
    let transaction = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    // The first statement takes it, not the BEGIN.
    transaction.batch_execute("select 1").await?;
    Ok(transaction)
}

/// Waits for every transaction that writes to the ledger and lets no other begin, until the
/// session ends. Nothing is waited for longer than `lock_timeout`.
///
/// # Errors
/// The statement failed.
pub async fn lock(session: &Client, lock_timeout: Duration) -> Result<(), Error> {
    // Effects write a leg first. In the same order nobody is waited for who waits for this.
    let statements = format!(
        "begin; set local lock_timeout = {}; \
         lock table shardbank.leg, shardbank.account in share mode",
        lock_timeout.as_millis()
    );
    session.batch_execute(&statements).await
}

/// Reads totals and checks every account.
///
/// # Errors
/// The statement failed.
pub async fn accounts(snapshot: &Transaction<'_>) -> Result<Accounts, Error> {
    let row = snapshot.query_one(include_str!("../../sql/audit/accounts.sql"), &[]).await?;
    let total = |column: &str| {
        row.get::<_, &str>(column).parse().expect("a sum of bigints is a whole number")
    };
    Ok(Accounts {
        accounts: row.get("accounts"),
        balance_total: total("balance_total"),
        opening_total: total("opening_total"),
        folded: total("folded"),
        missing: row.get("missing"),
        unexplained: row.get("unexplained"),
        negative: row.get("negative"),
        offending: row.get::<_, Option<Vec<String>>>("offending").unwrap_or_default(),
    })
}

/// What `init` put into this shard's accounts, in minor units.
///
/// # Errors
/// The statement failed.
pub async fn opening_total_at_init(snapshot: &Transaction<'_>) -> Result<i128, Error> {
    let row = snapshot.query_one("select opening_total::text from shardbank.shard", &[]).await?;
    Ok(row.get::<_, &str>(0).parse().expect("a sum of bigints is a whole number"))
}

/// Every transfer whose applied legs here do not cancel out, in the order of ids, with what they
/// come to.
///
/// # Errors
/// The statement failed; an item may fail later.
pub async fn open_transfers(
    snapshot: &Transaction<'_>,
) -> Result<impl Stream<Item = Result<(Uuid, i64), Error>> + use<>, Error> {
    let none: [&str; 0] = [];
    let rows = snapshot.query_raw(include_str!("../../sql/audit/transfers.sql"), none).await?;
    Ok(rows.map_ok(|row| (row.get(0), row.get(1))))
}

/// What the applied legs of `transfer` on this shard come to now.
///
/// # Errors
/// The statement failed.
pub async fn change_of(client: &Client, transfers: &[Uuid]) -> Result<Vec<(Uuid, i64)>, Error> {
    let rows = client
        .query(
            "select transfer_id, \
                    sum(case when account_id is null then requested_amount else amount end)::bigint \
             from shardbank.leg \
             where outcome = 'applied' and transfer_id = any($1) group by transfer_id",
            &[&transfers],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// An effect that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedLeg {
    /// Whose.
    pub transfer: TransferId,
    /// Which of its two.
    pub kind: LegKind,
    /// On which account.
    pub account: i64,
    /// What it added to the balance, in minor units.
    pub amount: i64,
}

/// The applied legs of `transfers` on this shard.
///
/// # Errors
/// The statement failed.
pub async fn applied_legs(client: &Client, transfers: &[Uuid]) -> Result<Vec<AppliedLeg>, Error> {
    let rows = client
        .query(
            "select transfer_id, kind, account_id, amount from shardbank.leg \
             where outcome = 'applied' and transfer_id = any($1)",
            &[&transfers],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| AppliedLeg {
            transfer: TransferId(row.get(0)),
            kind: LegKind::from_name(row.get(1)).expect("the table holds no other kinds"),
            account: row.get(2),
            amount: row.get(3),
        })
        .collect())
}

/// The transfers of which an intent, a saga, an event or a hold is open on this shard.
///
/// # Errors
/// The statement failed.
pub async fn open_promises(client: &Client) -> Result<Vec<Uuid>, Error> {
    let none: [&(dyn tokio_postgres::types::ToSql + Sync); 0] = [];
    let rows = client
        .query(
            "select transfer_id from shardbank.intent where state = 'open' union all \
             select transfer_id from shardbank.saga where state not in ('completed', 'refunded') \
             union all select transfer_id from shardbank.hold where state = 'held' \
             union all select transfer_id from shardbank.outbox where settled_at is null",
            &none,
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether one of `transfers` is a batch of prune of which this shard has a record.
///
/// # Errors
/// The statement failed.
pub async fn has_batch_among(client: &Client, transfers: &[Uuid]) -> Result<bool, Error> {
    let row = client
        .query_one(
            "select exists (select from shardbank.leg where transfer_id = any($1) \
             and outcome = 'applied' and account_id is null)",
            &[&transfers],
        )
        .await?;
    Ok(row.get(0))
}

/// The decisions of this shard that its own legs contradict, with their verdicts; a thousand at
/// the most.
///
/// # Errors
/// The statement failed.
pub async fn contradicted_decisions(client: &Client) -> Result<Vec<(Uuid, String)>, Error> {
    let rows = client.query(include_str!("../../sql/audit/decisions.sql"), &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The names of all prepared transactions of this database that begin with `prefix`.
///
/// # Errors
/// The statement failed.
pub async fn prepared(client: &Client, prefix: &str) -> Result<HashSet<String>, Error> {
    let rows = client
        .query(
            "select gid from pg_prepared_xacts \
             where database = current_database() and left(gid, length($1)) = $1",
            &[&prefix],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
