//! A bank for one test: databases of its own on the shared servers, so that tests run side by
//! side and each may recover, audit and break its own.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shardbank::coordination::bells::Bells;
use shardbank::coordination::decision_logs::DecisionLogs;
use shardbank::coordination::presence::Presence;
use shardbank::ledger::pools::PoolSettings;
use shardbank::ledger::postgres::{CoordinatorContext, PostgresVerbs};
use shardbank::local::LocalShard;
use shardbank::outcome::Attempt;
use shardbank::shards::cluster::Cluster;
use shardbank::shards::creation::{self, Plan};
use shardbank::shards::target::{LocalShardParams, ShardTarget};
use shardbank::strategies::Strategy;
use shardbank::strategies::recovery::{Recovered, recover};
use shardbank::transfer::{AccountId, Amount, Branch, IdOrigin, ShardIndex, Transfer, TransferId};
use shardbank::verbs::{Gid, Preparation, Register, Statements, Verbs};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

use crate::support;

/// What every account begins with.
pub const OPENING_BALANCE: i64 = 1_000;
/// How many shards a bank has.
pub const SHARDS: u16 = 3;
const ACCOUNTS: u64 = 60;

/// One test's own.
pub struct Bank {
    /// Its shards, as the tool sees them.
    pub cluster: Cluster,
    shards: Vec<LocalShard>,
    teller: OnceCell<(CoordinatorContext, PostgresVerbs)>,
}

impl Bank {
    /// A new bank of [`SHARDS`] shards with twenty accounts on each.
    pub async fn open() -> Self {
        Self::on(support::cluster().shards().iter().collect()).await
    }

    /// The same, all of its shards databases of one server.
    pub async fn open_on_one_server() -> Self {
        Self::on(vec![&support::cluster().shards()[0]; usize::from(SHARDS)]).await
    }

    async fn on(servers: Vec<&LocalShard>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut shards = Vec::new();
        for server in servers {
            let database = format!("bank{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let statement = format!("create database {database}");
            support::connect(server).await.batch_execute(&statement).await.expect("created");
            shards.push(LocalShard { database, ..server.clone() });
        }
        let targets: Vec<ShardTarget> = shards
            .iter()
            .map(|shard| {
                ShardTarget::local(&LocalShardParams {
                    socket_directory: shard.socket_directory.clone(),
                    port: shard.port,
                    user: shard.user.clone(),
                    database: shard.database.clone(),
                })
            })
            .collect();
        let plan = Plan::new(ACCOUNTS, OPENING_BALANCE).expect("a small bank");
        let created = creation::create(&targets, plan, Duration::from_secs(20), |_, _| {}).await;
        let cluster = Cluster::new(created.expect("the bank is made").cluster, targets);
        Self { cluster, shards, teller: OnceCell::new() }
    }

    /// The `n`-th account on `shard`.
    pub fn account(&self, shard: u16, n: i64) -> AccountId {
        let id = 1 + n * i64::from(SHARDS) + i64::from(shard);
        assert!(id <= ACCOUNTS as i64, "the bank has {ACCOUNTS} accounts");
        AccountId::new(id).expect("positive")
    }

    /// Where its decision logs lie.
    pub fn log_directory(&self) -> PathBuf {
        support::cluster().directory().join("decision-logs")
    }

    /// A coordinator of its own: its epoch, its connections.
    pub async fn coordinator(&self) -> (CoordinatorContext, PostgresVerbs) {
        self.coordinator_with(PoolSettings {
            connections: 4,
            lock_timeout: Duration::from_millis(300),
            patience: Duration::from_secs(10),
        })
        .await
    }

    /// The coordinator that carries this test's ordinary transfers.
    pub async fn teller(&self) -> &PostgresVerbs {
        let (_context, verbs) = self.teller.get_or_init(|| self.coordinator()).await;
        verbs
    }

    /// The same, with a patience that outlasts whatever a test holds up.
    pub async fn patient_coordinator(&self) -> (CoordinatorContext, PostgresVerbs) {
        self.coordinator_with(PoolSettings {
            connections: 2,
            lock_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(60),
        })
        .await
    }

    async fn coordinator_with(
        &self,
        settings: PoolSettings,
    ) -> (CoordinatorContext, PostgresVerbs) {
        let cluster = self.cluster.clone();
        let target = cluster.target(ShardIndex(0)).clone();
        let presence = Presence::begin(cluster.id(), target, "test".to_owned()).await;
        let context = CoordinatorContext {
            logs: DecisionLogs::new(self.log_directory(), cluster.id()),
            presence: presence.expect("an epoch"),
            cluster,
            bells: Bells::default(),
            armed: None,
        };
        let verbs = PostgresVerbs::new(context.clone(), settings);
        (context, verbs)
    }

    /// A connection outside the tool, for looking and meddling.
    pub async fn client(&self, shard: u16) -> Client {
        support::connect(&self.shards[usize::from(shard)]).await
    }

    /// The addresses of its shards, for the command line.
    pub fn urls(&self) -> Vec<String> {
        self.shards.iter().map(LocalShard::url).collect()
    }

    /// An account's balance.
    pub async fn balance(&self, account: AccountId) -> i64 {
        let shard = self.cluster.routing().shard_of(account);
        let row = self
            .client(shard.0)
            .await
            .query_one("select balance from shardbank.account where id = $1", &[&account.get()])
            .await;
        row.expect("the account exists").get(0)
    }

    /// The names of the prepared branches of `transfer`, over all shards.
    pub async fn prepared_of(&self, transfer: &Transfer) -> Vec<String> {
        let mut names = Vec::new();
        for shard in 0..SHARDS {
            let rows = self
                .client(shard)
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
    pub async fn legs_of(&self, transfer: &Transfer) -> Vec<(String, i64)> {
        let mut legs = Vec::new();
        for shard in 0..SHARDS {
            let rows = self
                .client(shard)
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

    /// Locks an account's row until the answer is dropped or rolled back.
    pub async fn lock(&self, account: AccountId) -> Client {
        let client = self.client(self.cluster.routing().shard_of(account).0).await;
        client.batch_execute("begin").await.expect("begun");
        client
            .execute("select 1 from shardbank.account where id = $1 for update", &[&account.get()])
            .await
            .expect("locked");
        client
    }

    /// One pass of recovery by a coordinator of its own, with no grace.
    pub async fn recover(&self) -> Recovered {
        let (_context, verbs) = self.coordinator().await;
        recover(&verbs, Duration::ZERO).await
    }
}

/// An account that is on `shard` and does not exist.
pub fn missing_account(shard: u16) -> AccountId {
    AccountId::new(3_000_000_001 + i64::from(shard)).expect("positive")
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

/// A new name for a branch of 2PC.
pub async fn gid<V: Verbs>(verbs: &V, branch: &Branch, register: Register) -> Gid {
    Gid {
        cluster: verbs.cluster(),
        epoch: verbs.epoch().await.expect("an epoch"),
        register,
        home: verbs.routing().home(&branch.transfer),
        transfer: branch.transfer.id,
        kind: branch.kind,
        attempt: verbs.next_attempt(),
    }
}

/// Prepares a branch, as a coordinator does that then may die.
pub async fn prepare<V: Verbs>(verbs: &V, branch: &Branch, register: Register) -> Gid {
    let statements = Statements::Pipelined;
    let how = Preparation { strategy: "2pc", statements, claims_decision: false };
    let gid = gid(verbs, branch, register).await;
    assert_eq!(verbs.prepare(branch, &gid, how).await, Attempt::Done);
    gid
}

/// Prepares both branches.
pub async fn prepare_both<V: Verbs>(
    verbs: &V,
    transfer: &Transfer,
    register: Register,
) -> [(ShardIndex, Gid); 2] {
    let [first, second] = transfer.branches(verbs.routing());
    [
        (first.shard, prepare(verbs, &first, register).await),
        (second.shard, prepare(verbs, &second, register).await),
    ]
}
