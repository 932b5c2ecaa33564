//! Preflight, init and clean, each test in databases of its own on the shared servers.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shardbank::local::{LocalCluster, LocalOptions};
use shardbank::shards::creation::{self, Created, Plan};
use shardbank::shards::marker::SchemaState;
use shardbank::shards::preflight::{self, Checked, Need, SchemaNeed};
use shardbank::shards::removal;
use shardbank::shards::target::LocalShardParams;
use shardbank::shards::{Environment, ShardTarget};
use shardbank::transfer::ClusterId;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support;

const PATIENCE: Duration = Duration::from_secs(20);
/// A password that must not be seen anywhere.
const CANARY: &str = "canary-4711";

/// A database of the same fresh name on each of the shared servers.
struct Databases {
    name: String,
}

impl Databases {
    async fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("own_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        for shard in support::cluster().shards() {
            let create = format!("create database {name}");
            support::connect(shard).await.batch_execute(&create).await.expect("created");
        }
        Self { name }
    }

    fn targets(&self) -> Vec<ShardTarget> {
        self.targets_as("shardbank")
    }

    fn targets_as(&self, user: &str) -> Vec<ShardTarget> {
        let shards = support::cluster().shards().iter();
        let params = shards.map(|shard| LocalShardParams {
            socket_directory: shard.socket_directory.clone(),
            port: shard.port,
            user: user.to_owned(),
            database: self.name.clone(),
        });
        params.map(|params| ShardTarget::local(&params)).collect()
    }

    fn urls(&self) -> Vec<String> {
        let shards = support::cluster().shards().iter();
        shards
            .map(|shard| shard.url().replace(":///shardbank", &format!(":///{}", self.name)))
            .collect()
    }

    async fn execute(&self, shard: usize, sql: &str) {
        self.client(shard).await.batch_execute(sql).await.expect(sql);
    }

    async fn client(&self, shard: usize) -> Client {
        self.targets()[shard].connect(PATIENCE).await.expect("connected")
    }
}

async fn make(targets: &[ShardTarget], accounts: u64) -> Created {
    let plan = Plan::new(accounts, 1_000).expect("a small bank");
    creation::create(targets, plan, PATIENCE, |_, _| {}).await.expect("made")
}

async fn check(targets: &[ShardTarget], schema: SchemaNeed) -> Result<Checked, Vec<String>> {
    let need = Need { schema, prepared_transactions: 4, connections: 4 };
    preflight::check(targets, &need, PATIENCE).await.map_err(|unfit| unfit.0)
}

fn problem(lines: Result<Checked, Vec<String>>, words: &[&str]) -> String {
    let lines = lines.expect_err("the shards are not fit");
    let found = lines.iter().find(|line| words.iter().all(|word| line.contains(word)));
    found.unwrap_or_else(|| panic!("{words:?} not in {lines:#?}")).clone()
}

#[tokio::test]
async fn what_init_made_is_accepted_and_clean_leaves_nothing() {
    let databases = Databases::fresh().await;
    let targets = databases.targets();
    assert_eq!(check(&targets, SchemaNeed::Absent).await.expect("fit").cluster, None);
    problem(check(&targets, SchemaNeed::Ours).await, &["run `shardbank init`"]);

    let created = make(&targets, 1_000).await;
    assert_eq!(created.loads.iter().map(|load| load.rows).collect::<Vec<_>>(), [334, 333, 333]);
    let checked = check(&targets, SchemaNeed::Ours).await.expect("fit");
    assert_eq!(checked.cluster, Some(created.cluster));
    assert!(checked.durable());
    assert!(checked.facts.iter().all(|facts| facts.settings["fsync"] == "on"));
    problem(check(&targets, SchemaNeed::Absent).await, &["already"]);
    let mut turned = targets.clone();
    turned.reverse();
    problem(check(&turned, SchemaNeed::Ours).await, &["in the order that init was given"]);
    problem(check(&targets[..2], SchemaNeed::Ours).await, &["one of 3 shards"]);

    let wrong = "select count(*) from shardbank.account \
         where (id - 1) % 3 <> 1 or balance <> 1000 or opening_balance <> 1000 or held <> 0";
    let wrong: i64 = databases.client(1).await.query_one(wrong, &[]).await.expect("asked").get(0);
    assert_eq!(wrong, 0);

    let other = ClusterId(Uuid::new_v4());
    removal::remove(&targets, other, PATIENCE).await.expect("another cluster's is not there");
    assert_eq!(
        check(&targets, SchemaNeed::Ours).await.expect("fit").cluster,
        Some(created.cluster)
    );
    removal::remove(&targets, created.cluster, PATIENCE).await.expect("removed");
    assert_eq!(check(&targets, SchemaNeed::Absent).await.expect("fit").cluster, None);
}

#[tokio::test]
async fn clean_stops_where_something_is_in_flight_or_not_ours() {
    let databases = Databases::fresh().await;
    let targets = databases.targets();
    let cluster = make(&targets, 10).await.cluster;
    let gid = format!("shardbank:{cluster}:1:t:0:x:debit:1");
    databases
        .execute(0, &format!("begin; select pg_current_xact_id(); prepare transaction '{gid}'"))
        .await;
    let errors = removal::remove(&targets[..1], cluster, PATIENCE).await.expect_err("in flight");
    assert!(errors[0].to_string().contains("recover"), "{}", errors[0]);
    let found = removal::inspect(&targets, PATIENCE).await.expect("looked");
    assert_eq!(found[0].prepared, std::slice::from_ref(&gid));
    databases.execute(0, &format!("rollback prepared '{gid}'")).await;

    databases.execute(1, "create table shardbank.mine (id int)").await;
    databases.execute(2, "create view mine as select * from shardbank.account").await;
    let errors = removal::remove(&targets, cluster, PATIENCE).await.expect_err("not all is ours");
    assert_eq!(errors.len(), 2, "{errors:?}");
    let found = removal::inspect(&targets, PATIENCE).await.expect("looked");
    let states: Vec<_> = found.iter().map(|one| one.state.cluster()).collect();
    assert_eq!(states, [None, Some(cluster), Some(cluster)]);
    assert_eq!(found[1].accounts, Some(3), "nothing was dropped there");
}

#[tokio::test]
async fn an_unfinished_init_cannot_be_worked_with_and_can_be_removed() {
    let databases = Databases::fresh().await;
    let targets = databases.targets();
    let cluster = make(&targets, 10).await.cluster;
    databases.execute(2, "delete from shardbank.shard").await;
    problem(check(&targets, SchemaNeed::Ours).await, &["not finished", "clean --cluster-id"]);
    let found = removal::inspect(&targets, PATIENCE).await.expect("looked");
    assert_eq!(found[2].state, SchemaState::Unfinished(cluster));
    removal::remove(&targets, cluster, PATIENCE).await.expect("removed");
    check(&targets, SchemaNeed::Absent).await.expect("nothing is left");
}

#[tokio::test]
async fn a_schema_that_is_not_ours_is_refused_and_not_touched() {
    let databases = Databases::fresh().await;
    databases.execute(1, "create schema shardbank; create table shardbank.account (x int); insert into shardbank.account values (7)").await;
    let targets = databases.targets();
    for need in [SchemaNeed::Absent, SchemaNeed::Ours, SchemaNeed::OursOrAbsent] {
        problem(check(&targets, need).await, &["shard 1", "init has not made"]);
    }
    let output = run(&["init"], &databases.urls().join(" "));
    assert_eq!(output.code, Some(1), "{}", output.text);
    let output = run(&["clean"], &databases.urls().join(" "));
    assert_eq!(output.code, Some(1), "{}", output.text);
    let kept: i32 = databases
        .client(1)
        .await
        .query_one("select x from shardbank.account", &[])
        .await
        .expect("kept")
        .get(0);
    assert_eq!(kept, 7);
    let none = databases
        .client(0)
        .await
        .query_opt("select from pg_namespace where nspname = 'shardbank'", &[])
        .await;
    assert!(none.expect("asked").is_none(), "init has written to another shard");
}

#[tokio::test]
async fn one_database_under_two_names_is_refused_and_one_server_is_warned_of() {
    let databases = Databases::fresh().await;
    let other = Databases::fresh().await;
    let cluster = support::cluster();
    let password = std::fs::read_to_string(cluster.password_file()).expect("the password");
    let text = format!(
        "host=127.0.0.1 port={} user=shardbank dbname={} password={}",
        cluster.shards()[0].port,
        databases.name,
        password.trim()
    );
    let again = ShardTarget::parse(&text, &Environment::default()).expect("well-formed");
    let twice = [databases.targets().remove(0), databases.targets().remove(1), again];
    problem(check(&twice, SchemaNeed::Absent).await, &["shard 2", "same database as shard 0"]);

    // These servers are copies of one initdb: their identifiers do not tell them apart.
    let apart = [databases.targets().remove(0), databases.targets().remove(1)];
    let checked = check(&apart, SchemaNeed::Absent).await.expect("two servers");
    assert_eq!(checked.facts[0].system_identifier, checked.facts[1].system_identifier);
    assert!(!checked.warnings().join("\n").contains("same server"));
    let together = [databases.targets().remove(0), other.targets().remove(0)];
    let checked = check(&together, SchemaNeed::Absent).await.expect("allowed");
    assert!(checked.warnings().join("\n").contains("same server as shard 0"));
}

#[tokio::test]
async fn a_server_without_prepared_transactions_is_told_what_to_set() {
    let settings =
        [("max_prepared_transactions", "0"), ("fsync", "off"), ("max_connections", "20")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let options = LocalOptions { settings, ..support::options(1) };
    let cluster = LocalCluster::start(&options).expect("a server of its own");
    let shard = &cluster.shards()[0];
    let target = ShardTarget::local(&LocalShardParams {
        socket_directory: shard.socket_directory.clone(),
        port: shard.port,
        user: shard.user.clone(),
        database: shard.database.clone(),
    });
    let targets = [target];
    let line =
        problem(check(&targets, SchemaNeed::Absent).await, &["max_prepared_transactions = 0"]);
    assert!(
        line.contains("ALTER SYSTEM SET max_prepared_transactions = 64; and restart"),
        "{line}"
    );
    let need =
        |connections| Need { schema: SchemaNeed::Absent, prepared_transactions: 0, connections };
    let checked =
        preflight::check(&targets, &need(4), PATIENCE).await.expect("nothing is prepared");
    assert!(!checked.durable() && checked.warnings().join("\n").contains("fsync = off"));
    let many = preflight::check(&targets, &need(18), PATIENCE).await.map_err(|unfit| unfit.0);
    problem(many, &["18 are needed", "max_connections"]);

    let read_only =
        format!("alter database {} set default_transaction_read_only = on", shard.database);
    support::connect(shard).await.batch_execute(&read_only).await.expect("set");
    problem(check(&targets, SchemaNeed::Absent).await, &["closed it for writing"]);
    cluster.stop().expect("stopped");
}

#[tokio::test]
async fn a_plain_role_runs_with_the_printed_grants_and_is_told_them_without() {
    let databases = Databases::fresh().await;
    let role = format!("teller_{}", databases.name);
    for shard in 0..3 {
        databases.execute(shard, &format!("create role {role} login")).await;
    }
    let as_role = databases.targets_as(&role);
    problem(check(&as_role, SchemaNeed::Absent).await, &["GRANT CREATE ON DATABASE"]);
    make(&databases.targets(), 9).await;
    let line = problem(check(&as_role, SchemaNeed::Ours).await, &["shard 0", "grant usage"]);
    assert!(line.contains(&format!("to \"{role}\";")), "{line}");

    creation::grant(&databases.targets(), &role, PATIENCE).await.expect("granted");
    check(&as_role, SchemaNeed::Ours).await.expect("the grants suffice");
    let teller = as_role[0].connect(PATIENCE).await.expect("connected");
    let id = Uuid::new_v4();
    let effects = format!(
        "begin; select shardbank.transfer_locally('{id}', 1, 4, 10, 'same-shard'); \
         prepare transaction 'own-{id}'; commit prepared 'own-{id}'; \
         insert into shardbank.coordinator (name) values ('teller'); \
         update shardbank.coordinator set ended_at = now()"
    );
    for statement in effects.split("; ") {
        teller
            .batch_execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    let refused = teller.batch_execute("drop table shardbank.leg").await;
    assert!(refused.is_err(), "it may not drop");
    databases.execute(0, &format!("revoke update on shardbank.account from {role}")).await;
    problem(check(&as_role, SchemaNeed::Ours).await, &["shard 0", "lacks update on account"]);
}

#[tokio::test]
async fn no_output_shows_a_password() {
    let port = support::cluster().shards()[0].port;
    let url = format!("postgres://shardbank:{CANARY}@127.0.0.1:{port}/shardbank");
    let in_argv = run(&["init", "--shard", &url], "");
    assert_eq!(in_argv.code, Some(2), "{}", in_argv.text);
    assert!(in_argv.text.contains("PGPASSWORD"), "{}", in_argv.text);
    let wrong = run(&["init"], &url);
    assert_eq!(wrong.code, Some(1), "{}", wrong.text);
    assert!(wrong.text.contains("28P01"), "{}", wrong.text);
    for broken in [
        format!("postgres://u:{CANARY}/x@h/d"),
        format!("postgres://u:{CANARY}@h:{CANARY}/d"),
        format!("postgres://u:{CANARY}%zz@h/d"),
        format!("host=h password=a {CANARY}"),
        format!("host=h {CANARY}=1"),
    ] {
        for (arguments, variable) in
            [(vec!["init", "--shard", &broken], ""), (vec!["clean"], broken.as_str())]
        {
            let output = run(&arguments, variable);
            assert_eq!(output.code, Some(2), "{}", output.text);
            assert!(!output.text.contains(CANARY), "{}", output.text);
        }
    }
    assert!(!in_argv.text.contains(CANARY) && !wrong.text.contains(CANARY));
    let too_much =
        run(&["init", "--opening-balance", "9223372036854775807", "--shard", "host=/tmp"], "");
    assert_eq!(too_much.code, Some(2), "{}", too_much.text);
}

struct Ran {
    code: Option<i32>,
    /// Standard output and standard error.
    text: String,
}

/// Runs the tool with `SHARDBANK_SHARDS` set to `shards` and no other surroundings.
fn run(arguments: &[&str], shards: &str) -> Ran {
    let mut command = Command::new(support::executable());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
        command.env_remove(name);
    }
    let output = command
        .args(arguments)
        .env("SHARDBANK_SHARDS", shards)
        .env("HOME", "/nonexistent")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the tool starts");
    let text = [output.stdout, output.stderr].concat();
    Ran { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
}
