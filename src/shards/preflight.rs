//! Looks at all shards before anything is written, and finds all problems at once.
//!
//! Each shard is examined on its own, side by side; then those that answered are compared. Every
//! problem is one line: the shard, the fact, the remedy.

use std::time::Duration;

use futures_util::future::{join_all, try_join};
use tokio_postgres::types::Oid;
use tokio_postgres::{Client, Error, SimpleQueryMessage};
use uuid::Uuid;

use super::facts::{self, ShardFacts};
use super::failure::describe;
use super::marker::{self, SchemaState};
use super::target::ShardTarget;
use super::verdicts::{self, Privileges};
use crate::transfer::{ClusterId, ShardIndex};
use crate::verbs::Gid;

/// The oldest server that is known to work.
const VERSION_MIN: i64 = 140_000;

/// How long one shard's answers may take, all told.
const EXAMINATION_MAX: Duration = Duration::from_secs(30);

/// What must be on the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaNeed {
    /// Nothing of ours, so that `init` can make it.
    Absent,
    /// One whole cluster, in its order.
    Ours,
    /// Either of the two, the same on all.
    OursOrAbsent,
}

/// What a command needs of every shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// What must be there.
    pub schema: SchemaNeed,
    /// How many prepared transactions may stand at once on a shard; 0 where none is made.
    pub prepared_transactions: u32,
    /// How many connections are opened to a shard at once.
    pub connections: u32,
}

/// All shards are fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The cluster they are, or none where nothing is there yet.
    pub cluster: Option<ClusterId>,
    /// One for each shard, in order.
    pub facts: Vec<ShardFacts>,
}

impl Checked {
    /// Whether what any shard calls committed survives a crash of its machine.
    #[must_use]
    pub fn durable(&self) -> bool {
        self.facts.iter().all(|facts| facts.durable)
    }

    /// All warnings, each with its shard.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let of_shard = |(index, facts): (usize, &ShardFacts)| {
            let called = format!("shard {index} ({})", facts.name);
            facts.warnings.iter().map(|line| format!("{called}: {line}")).collect::<Vec<_>>()
        };
        self.facts.iter().enumerate().flat_map(of_shard).collect()
    }
}

/// The shards are not fit: every problem of every shard, each one line with its remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Unfit(pub Vec<String>);

/// What was found on one shard.
pub(super) struct Examined {
    pub facts: ShardFacts,
    pub schema: SchemaState,
    pub privileges: Privileges,
    pub problems: Vec<String>,
    pub twins: Vec<Twin>,
    client: Client,
    lock_key: i64,
}

/// Another shard that is on the same server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Twin {
    pub shard: usize,
    pub same_database: bool,
}

/// Examines all shards. Nothing is written to any. Connecting takes at most `patience`.
///
/// # Errors
/// All problems of all shards.
pub async fn check(
    targets: &[ShardTarget],
    need: &Need,
    patience: Duration,
) -> Result<Checked, Unfit> {
    let examinations = targets.iter().enumerate().map(|(index, target)| async move {
        let examined = tokio::time::timeout(EXAMINATION_MAX, examine(index, target, patience));
        examined.await.unwrap_or_else(|_| {
            Err(format!("it connects but does not answer within {EXAMINATION_MAX:?}; see its log"))
        })
    });
    let mut found: Vec<Result<Examined, String>> = join_all(examinations).await;
    find_twins(&mut found).await;

    let mut problems = Vec::new();
    let mut examined = Vec::new();
    for (index, (one, target)) in found.into_iter().zip(targets).enumerate() {
        let called = format!("shard {index} ({})", target.name());
        match one {
            Err(problem) => problems.push(format!("{called}: {problem}")),
            Ok(one) => examined.push((index, one)),
        }
    }
    let whole = examined.len() == targets.len();
    problems.extend(verdicts::on_each(&mut examined, need));
    if whole {
        let states: Vec<_> = examined.iter().map(|(_, one)| one.schema).collect();
        let names: Vec<_> = targets.iter().map(ShardTarget::name).collect();
        problems.extend(verdicts::on_schemas(&states, &names, need.schema));
    }
    if !problems.is_empty() {
        return Err(Unfit(problems));
    }
    let cluster = examined.first().and_then(|(_, one)| one.schema.cluster());
    Ok(Checked { cluster, facts: examined.into_iter().map(|(_, one)| one.facts).collect() })
}

async fn examine(
    index: usize,
    target: &ShardTarget,
    patience: Duration,
) -> Result<Examined, String> {
    let explain = |error: Error| {
        let shard = ShardIndex(u16::try_from(index).unwrap_or(u16::MAX));
        let described = describe(shard, &error);
        let code = described.sqlstate.unwrap_or_else(|| "connection lost".to_owned());
        format!("it cannot be examined: {} ({code}); see its log", described.message)
    };
    let connected = try_join(target.connect(patience), target.connect(patience)).await;
    let (client, second) =
        connected.map_err(|error| format!("{}; {}", error.cause, error.remedy))?;
    if is_pooled(&client, &second).await.map_err(explain)? {
        return Err("a pooler stands before it that gives each statement another session, so \
             session locks do not hold; connect to the server's own host and port"
            .to_owned());
    }
    drop(second);
    examine_server(client, target).await.map_err(explain)?
}

async fn examine_server(
    client: Client,
    target: &ShardTarget,
) -> Result<Result<Examined, String>, Error> {
    let set =
        "set statement_timeout = '20s'; set lock_timeout = '5s'; set search_path = pg_catalog";
    client.batch_execute(set).await?;
    let basics = "select current_setting('server_version_num')::int8, \
         current_setting('server_version'), pg_is_in_recovery(), \
         current_setting('default_transaction_read_only') = 'on'";
    let row = client.query_one(basics, &[]).await?;
    let (number, version): (i64, String) = (row.get(0), row.get(1));
    if number < VERSION_MIN {
        return Ok(Err(format!("it is Postgres {version}; version 14 or newer is needed")));
    }
    let mut problems = Vec::new();
    if row.get(2) {
        problems.push("it is a standby and cannot be written to; name its primary".to_owned());
    } else if row.get(3) {
        problems.push(
            "default_transaction_read_only = on: somebody has closed it for writing; find out \
             why, then set it off"
                .to_owned(),
        );
    }
    let schema = marker::read(&client).await?;
    let mut facts = facts::gather(&client, target.name()).await?;
    facts.warnings.splice(0..0, target.warnings().iter().cloned());
    facts.warnings.extend(foreign_prepared(&client, schema.cluster()).await?);
    let privileges = verdicts::privileges(&client, schema).await?;
    // Seen by the other shards' sessions if they are on this server.
    let lock_key = Uuid::new_v4().as_u64_pair().0.cast_signed();
    client.query("select pg_try_advisory_lock($1)", &[&lock_key]).await?;
    let twins = Vec::new();
    Ok(Ok(Examined { facts, schema, privileges, problems, twins, client, lock_key }))
}

/// Whether two connections share one server process, or one changes its own: only a pooler does.
async fn is_pooled(first: &Client, second: &Client) -> Result<bool, Error> {
    let before = backend(first).await?;
    second.batch_execute("begin").await?;
    let other = backend(second).await?;
    let after = backend(first).await?;
    second.batch_execute("rollback").await?;
    Ok(before != after || before == other)
}

async fn backend(client: &Client) -> Result<Option<String>, Error> {
    let answer = client.simple_query("select pg_catalog.pg_backend_pid()").await?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

/// A warning about prepared transactions on the server that are not this cluster's.
async fn foreign_prepared(
    client: &Client,
    cluster: Option<ClusterId>,
) -> Result<Option<String>, Error> {
    let prefix = cluster.map(Gid::prefix_of);
    let count = "select count(*), coalesce(max(extract(epoch from now() - prepared))::int8, 0) \
         from pg_prepared_xacts where not \
         coalesce(starts_with(gid, $1) and database = current_database(), false)";
    let row = client.query_one(count, &[&prefix]).await?;
    let (count, age): (i64, i64) = (row.get(0), row.get(1));
    Ok((count > 0).then(|| {
        format!(
            "its server holds {count} prepared transactions of others, the oldest for {age} s; \
             they take slots and hold back vacuum; they are left alone"
        )
    }))
}

/// Looks from every shard for the locks that the others hold.
async fn find_twins(found: &mut [Result<Examined, String>]) {
    let keys: Vec<Option<i64>> =
        found.iter().map(|one| one.as_ref().ok().map(|one| one.lock_key)).collect();
    let looks = found.iter_mut().enumerate().map(async |(own, one)| {
        let Ok(examined) = one else { return };
        match visible_locks(&examined.client).await {
            Err(error) => *one = Err(format!("it stopped answering: {error}; see its log")),
            Ok(locks) => {
                examined.twins.extend(keys.iter().enumerate().filter_map(|(shard, key)| {
                    let (_, same_database) = locks.iter().find(|(held, _)| Some(*held) == *key)?;
                    (shard != own).then_some(Twin { shard, same_database: *same_database })
                }))
            }
        }
    });
    join_all(looks).await;
}

/// The advisory locks held on this server, each with whether it is of this database.
async fn visible_locks(client: &Client) -> Result<Vec<(i64, bool)>, Error> {
    let locks = "select l.classid, l.objid, d.oid is not null \
         from pg_locks l left join pg_database d \
         on d.oid = l.database and d.datname = current_database() \
         where l.locktype = 'advisory' and l.objsubid = 1 and l.granted";
    let rows = client.query(locks, &[]).await?;
    let key = |high: Oid, low: Oid| (u64::from(high) << 32 | u64::from(low)).cast_signed();
    Ok(rows.iter().map(|row| (key(row.get(0), row.get(1)), row.get(2))).collect())
}
