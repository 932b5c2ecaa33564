//! A bank on the shared cluster: made once, and every test opens accounts of its own in it.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use shardbank::coordination::decision_logs::DecisionLogs;
use shardbank::coordination::presence::Presence;
use shardbank::ledger::pools::PoolSettings;
use shardbank::ledger::postgres::{CoordinatorContext, PostgresVerbs};
use shardbank::shards::cluster::Cluster;
use shardbank::shards::creation::{self, Plan};
use shardbank::shards::target::{LocalShardParams, ShardTarget};
use shardbank::strategies::Strategy;
use shardbank::strategies::recovery::{Recovered, recover};
use shardbank::transfer::{AccountId, Amount, IdOrigin, ShardIndex, Transfer, TransferId};
use tokio_postgres::Client;

use crate::support;

/// What every account begins with.
pub const OPENING_BALANCE: i64 = 1_000;
const ACCOUNTS: u64 = 30_000;
/// How many accounts a test gets on each shard.
const BLOCK: i64 = 10;

/// The shards of the shared cluster, as the tool sees them.
pub fn targets() -> Vec<ShardTarget> {
    support::cluster()
        .shards()
        .iter()
        .map(|shard| {
            ShardTarget::local(&LocalShardParams {
                socket_directory: shard.socket_directory.clone(),
                port: shard.port,
                user: shard.user.clone(),
                database: shard.database.clone(),
            })
        })
        .collect()
}

/// The shared bank.
pub async fn cluster() -> Cluster {
    static CLUSTER: tokio::sync::OnceCell<Cluster> = tokio::sync::OnceCell::const_new();
    CLUSTER
        .get_or_init(async || {
            let targets = targets();
            let plan = Plan::new(ACCOUNTS, OPENING_BALANCE).expect("a small bank");
            let created =
                creation::create(&targets, plan, Duration::from_secs(20), |_, _| {}).await;
            Cluster::new(created.expect("the bank is made").cluster, targets)
        })
        .await
        .clone()
}

/// Where the decision logs of this test process lie.
pub fn log_directory() -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| support::cluster().directory().join("decision-logs")).clone()
}

/// Accounts of one test's own.
pub struct Accounts {
    first: i64,
    shards: i64,
}

impl Accounts {
    /// Accounts that no other test uses.
    pub async fn open() -> Self {
        static NEXT: AtomicI64 = AtomicI64::new(0);
        let shards = i64::from(cluster().await.routing().shard_count());
        let first = 1 + NEXT.fetch_add(BLOCK * shards, Ordering::Relaxed);
        assert!(first + BLOCK * shards < ACCOUNTS as i64, "the bank has too few accounts");
        Self { first, shards }
    }

    /// The `n`-th of them on `shard`.
    pub fn on(&self, shard: u16, n: i64) -> AccountId {
        assert!(n < BLOCK, "a test has {BLOCK} accounts on a shard");
        AccountId::new(self.first + n * self.shards + i64::from(shard)).expect("positive")
    }
}

/// An account that is on `shard` and does not exist.
pub fn missing_account(shard: u16) -> AccountId {
    AccountId::new(3_000_000_001 - (3_000_000_000 % 3) + i64::from(shard)).expect("positive")
}

/// A transfer under a fresh id.
pub fn transfer(source: AccountId, target: AccountId, amount: i64) -> Transfer {
    Transfer {
        id: TransferId::fresh(),
        source,
        target,
        amount: Amount::new(amount).expect("positive"),
        origin: IdOrigin::Fresh,
    }
}

/// The same transfer, as a caller repeats it who lost the answer.
pub fn again(transfer: &Transfer) -> Transfer {
    Transfer { origin: IdOrigin::MayBeRepeated, ..*transfer }
}

/// A strategy by its name.
pub fn strategy(name: &str) -> Strategy {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// So many tries.
pub fn tries(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("at least one")
}

/// A coordinator of its own: its epoch, its connections.
pub async fn coordinator() -> (CoordinatorContext, PostgresVerbs) {
    let settings = PoolSettings {
        connections: 4,
        lock_timeout: Duration::from_millis(300),
        patience: Duration::from_secs(10),
    };
    coordinator_with(settings).await
}

/// The same with settings of its own.
pub async fn coordinator_with(settings: PoolSettings) -> (CoordinatorContext, PostgresVerbs) {
    let cluster = cluster().await;
    let target = cluster.target(ShardIndex(0)).clone();
    let presence = Presence::begin(cluster.id(), target, "test".to_owned()).await;
    let context = CoordinatorContext {
        logs: DecisionLogs::new(log_directory(), cluster.id()),
        presence: presence.expect("an epoch"),
        cluster,
        armed: None,
    };
    let verbs = PostgresVerbs::open(context.clone(), settings).await.expect("verbs");
    (context, verbs)
}

/// A connection outside the tool, for looking and meddling.
pub async fn client(shard: u16) -> Client {
    support::connect(&support::cluster().shards()[usize::from(shard)]).await
}

/// An account's balance.
pub async fn balance(account: AccountId) -> i64 {
    let shard = cluster().await.routing().shard_of(account);
    let row = client(shard.0)
        .await
        .query_one("select balance from shardbank.account where id = $1", &[&account.get()])
        .await;
    row.expect("the account exists").get(0)
}

/// The names of the prepared branches of `transfer`, over all shards.
pub async fn prepared_of(transfer: &Transfer) -> Vec<String> {
    let mut names = Vec::new();
    for shard in 0..3 {
        let rows = client(shard)
            .await
            .query(
                "select gid from pg_prepared_xacts where database = current_database() \
                 and strpos(gid, $1) > 0",
                &[&transfer.id.to_string()],
            )
            .await;
        names.extend(rows.expect("listed").iter().map(|row| row.get::<_, String>(0)));
    }
    names
}

/// The applied legs of `transfer`, over all shards, as kind and amount.
pub async fn legs_of(transfer: &Transfer) -> Vec<(String, i64)> {
    let mut legs = Vec::new();
    for shard in 0..3 {
        let rows = client(shard)
            .await
            .query(
                "select kind, amount from shardbank.leg \
                 where transfer_id = $1 and outcome = 'applied'",
                &[&transfer.id.0],
            )
            .await;
        legs.extend(rows.expect("read").iter().map(|row| (row.get(0), row.get(1))));
    }
    legs.sort();
    legs
}

/// One pass of recovery by a coordinator of its own, with no grace. It may meet the branches of
/// other tests that run beside this one: it must do right by them too.
pub async fn recover_all() -> Recovered {
    let (_context, verbs) = coordinator().await;
    recover(&verbs, Duration::ZERO).await
}
