//! Makes a cluster: the schema on every shard, the accounts by binary COPY, the markers last.
//!
//! One transaction a shard holds everything but the marker, so a shard has either nothing or a
//! complete schema that nobody works with yet. Whoever dies between the first shard's commit and
//! the last marker leaves schemas whose comment names their cluster: `clean` removes them.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use futures_util::future::{join_all, try_join_all};
use tokio_postgres::{Client, Error, Transaction};
use uuid::Uuid;

use super::copy_rows::CopyRows;
use super::failure::describe;
use super::target::ShardTarget;
use super::{marker, schema};
use crate::outcome::ShardError;
use crate::transfer::{ClusterId, ShardIndex};

/// What a cluster holds at most, in minor units, over all accounts: far from what one balance can.
pub const MONEY_MAX: i64 = i64::MAX / 2;

/// Why a cluster was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreationError {
    /// A plan that cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A shard refused or did not answer.
    #[error(
        "{0}; shards that were finished before are removed by `shardbank clean`, the others hold \
         nothing"
    )]
    Shard(ShardError),
}

/// Why a plan cannot be carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No transfer without two accounts.
    #[error("{0} accounts are too few; a transfer needs 2")]
    TooFewAccounts(u64),
    /// Money is not made by being owed.
    #[error("an opening balance of {0} is negative")]
    NegativeBalance(i64),
    /// The sum of all balances must stay far from what the column can hold.
    #[error(
        "{accounts} accounts with {opening_balance} each exceed {} in total; give fewer accounts \
         or a smaller opening balance",
        MONEY_MAX
    )]
    TooMuchMoney {
        /// How many accounts.
        accounts: u64,
        /// What each one begins with.
        opening_balance: i64,
    },
}

/// What the cluster is to hold: accounts 1 to `accounts`, dealt to the shards in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    accounts: u64,
    opening_balance: i64,
}

impl Plan {
    /// `accounts` with `opening_balance` minor units each.
    ///
    /// # Errors
    /// Too few accounts, or too much money.
    pub fn new(accounts: u64, opening_balance: i64) -> Result<Self, PlanError> {
        if accounts < 2 {
            return Err(PlanError::TooFewAccounts(accounts));
        }
        if opening_balance < 0 {
            return Err(PlanError::NegativeBalance(opening_balance));
        }
        let total = i128::from(accounts) * i128::from(opening_balance.max(1));
        if total > i128::from(MONEY_MAX) {
            return Err(PlanError::TooMuchMoney { accounts, opening_balance });
        }
        Ok(Self { accounts, opening_balance })
    }

    /// How many accounts in all.
    #[must_use]
    pub const fn accounts(self) -> u64 {
        self.accounts
    }

    /// The account numbers of shard `index` of `count`.
    fn ids(self, index: ShardIndex, count: u16) -> impl Iterator<Item = i64> {
        let last = i64::try_from(self.accounts).expect("a plan has at most i64::MAX / 2 accounts");
        (i64::from(index.0) + 1..=last).step_by(usize::from(count))
    }
}

/// How one shard was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// How many accounts.
    pub rows: u64,
    /// From the first byte of the COPY to its end.
    pub copy: Duration,
    /// Schema, COPY, primary key, commit, VACUUM ANALYZE.
    pub total: Duration,
}

/// A cluster, ready to be worked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its identity, on every shard's marker.
    pub cluster: ClusterId,
    /// One for each shard, in order.
    pub loads: Vec<Load>,
}

/// Makes a cluster on `targets`, which preflight has found without a schema. `progress` is told
/// how many more rows a shard has been sent; connecting takes at most `patience`.
///
/// # Errors
/// A shard refused or did not answer. No marker stands then, or only some do.
pub async fn create(
    targets: &[ShardTarget],
    plan: Plan,
    patience: Duration,
    progress: impl Fn(ShardIndex, u64) + Clone + Send + Sync + 'static,
) -> Result<Created, CreationError> {
    let cluster = ClusterId(Uuid::new_v4());
    let count = u16::try_from(targets.len()).expect("shards are numbered in 16 bits");
    let fillers = (0..count).map(ShardIndex).zip(targets).map(|(index, target)| {
        let (target, progress) = (target.clone(), progress.clone());
        // A task each: encoding rows keeps a core busy.
        let filling = tokio::spawn(async move {
            let rows = plan.ids(index, count).map(|id| (id, plan.opening_balance));
            fill(&target, index, cluster, rows, patience, |rows| progress(index, rows)).await
        });
        async { filling.await.expect("filling a shard does not panic and is not cancelled") }
    });
    // All are awaited, so that nothing is still being written when an error is reported.
    let filled: Result<Vec<_>, _> = join_all(fillers).await.into_iter().collect();
    let (clients, loads): (Vec<Client>, Vec<Load>) =
        filled.map_err(CreationError::Shard)?.into_iter().unzip();
    try_join_all((0..count).map(ShardIndex).zip(&clients).map(async |(index, client)| {
        let written = marker::write(client, cluster, index, count).await;
        written.map_err(|error| CreationError::Shard(describe(index, &error)))
    }))
    .await?;
    Ok(Created { cluster, loads })
}

async fn fill(
    target: &ShardTarget,
    index: ShardIndex,
    cluster: ClusterId,
    rows: impl Iterator<Item = (i64, i64)>,
    patience: Duration,
    progress: impl Fn(u64),
) -> Result<(Client, Load), ShardError> {
    let mut client = target.connect(patience).await.map_err(|error| error.of(index))?;
    match write_all(&mut client, cluster, rows, progress).await {
        Ok(load) => Ok((client, load)),
        Err(error) => Err(describe(index, &error)),
    }
}

async fn write_all(
    client: &mut Client,
    cluster: ClusterId,
    rows: impl Iterator<Item = (i64, i64)>,
    progress: impl Fn(u64),
) -> Result<Load, Error> {
    let begun = Instant::now();
    client
        .batch_execute(
            "set statement_timeout = 0; set lock_timeout = '10s'; set synchronous_commit = on; \
             set client_min_messages = warning; set search_path = pg_catalog",
        )
        .await?;
    let transaction = client.transaction().await?;
    let schema =
        format!("create schema shardbank;\n{};\n{}", marker::comment(cluster), schema::ACCOUNT);
    transaction.batch_execute(&schema).await?;
    let copying = Instant::now();
    let rows = copy_accounts(&transaction, rows, progress).await?;
    let copy = copying.elapsed();
    transaction.batch_execute("alter table shardbank.account add primary key (id)").await?;
    transaction.batch_execute(&schema::OTHERS.concat()).await?;
    transaction.commit().await?;
    client.batch_execute("vacuum (analyze) shardbank.account").await?;
    Ok(Load { rows, copy, total: begun.elapsed() })
}

/// Sends the accounts, and returns how many the server took.
async fn copy_accounts(
    transaction: &Transaction<'_>,
    rows: impl Iterator<Item = (i64, i64)>,
    progress: impl Fn(u64),
) -> Result<u64, Error> {
    // FREEZE is possible because the table was made in this transaction; the index is cheaper
    // afterwards.
    let copy = "copy shardbank.account (id, balance, opening_balance) from stdin \
                with (format binary, freeze)";
    let mut sink = pin!(transaction.copy_in(copy).await?);
    let mut encoder = CopyRows::new();
    for (id, balance) in rows {
        encoder.push([id, balance, balance]);
        if let Some((chunk, rows)) = encoder.take_if_full() {
            sink.send(chunk).await?;
            progress(rows);
        }
    }
    let (chunk, rows) = encoder.finish();
    sink.send(chunk).await?;
    progress(rows);
    sink.finish().await
}

/// Grants `role` what it needs to run, on every shard.
///
/// # Errors
/// A shard refused (no such role) or did not answer.
pub async fn grant(
    targets: &[ShardTarget],
    role: &str,
    patience: Duration,
) -> Result<(), CreationError> {
    let statements = schema::grants(role).join("\n");
    try_join_all((0..).map(ShardIndex).zip(targets).map(async |(index, target)| {
        let client = target.connect(patience).await;
        let client = client.map_err(|error| CreationError::Shard(error.of(index)))?;
        let granted = client.batch_execute(&statements).await;
        granted.map_err(|error| CreationError::Shard(describe(index, &error)))
    }))
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_dealt_to_shards_as_transfers_look_for_them() {
        let plan = Plan::new(10, 1).unwrap();
        let routing = crate::transfer::Routing::new(3);
        let mut all = Vec::new();
        for shard in routing.shards() {
            for id in plan.ids(shard, 3) {
                let account = crate::transfer::AccountId::new(id).unwrap();
                assert_eq!(routing.shard_of(account), shard);
                all.push(id);
            }
        }
        all.sort_unstable();
        assert_eq!(all, (1..=10).collect::<Vec<_>>());
    }

    #[test]
    fn a_plan_with_too_much_money_is_refused() {
        assert!(Plan::new(2, i64::MAX / 4).is_ok());
        assert!(matches!(Plan::new(2, i64::MAX / 4 + 1), Err(PlanError::TooMuchMoney { .. })));
        assert!(matches!(Plan::new(u64::MAX, 0), Err(PlanError::TooMuchMoney { .. })));
        assert_eq!(Plan::new(1, 5), Err(PlanError::TooFewAccounts(1)));
        assert_eq!(Plan::new(2, -1), Err(PlanError::NegativeBalance(-1)));
    }
}
