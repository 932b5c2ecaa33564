//! Where a benchmark runs: a cluster, checked, locked against other benchmarks, and this
//! process's epoch on it.

use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use super::demand::Demand;
use super::progress::Progress;
use crate::audit::{AuditReport, audit};
use crate::bench::plan::Point;
use crate::bench::results::ClusterFacts;
use crate::cli::bench::BenchArguments;
use crate::commands::cluster::PATIENCE;
use crate::commands::coordinator::{begin, settings};
use crate::commands::lock_servers::LockServers;
use crate::commands::recover::GRACE;
use crate::commands::{Exit, Stop};
use crate::coordination::bench_lock::{self, BenchLock};
use crate::coordination::decision_logs::DecisionLogs;
use crate::ledger::pools::PoolSettings;
use crate::ledger::postgres::{CoordinatorContext, PostgresVerbs};
use crate::ledger::reset;
use crate::local::{LocalCluster, LocalOptions};
use crate::locks::backend::Backend;
use crate::outcome::ShardError;
use crate::shards::cluster::Cluster;
use crate::shards::creation;
use crate::shards::preflight::{self, Need, SchemaNeed};
use crate::shards::{LocalShardParams, ShardTarget};
use crate::strategies::LockServiceName;
use crate::strategies::recovery::recover;
use crate::verbs::locking::LockTerms;

/// Connections to a shard beside the clients': the epoch's, the lock's, recovery's, the audit's,
/// the auditor's, the gauges', and those of each thread that answers early.
const SPARE_CONNECTIONS: u32 = 12;
/// Local servers allow this many connections and prepared transactions by themselves.
const LOCAL_CONNECTIONS: u32 = 90;
const LOCAL_SLOTS: u32 = 250;
/// How long recovery may take to leave nothing behind.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
const BETWEEN_PASSES: Duration = Duration::from_millis(50);

/// Where a benchmark runs.
pub struct Site {
    /// This coordinator's epoch and all that belongs to it.
    pub context: CoordinatorContext,
    /// How it talks to its shards.
    pub settings: PoolSettings,
    /// The shards, for the results.
    pub facts: ClusterFacts,
    /// Whether what they call committed would outlive a power failure.
    pub durable: bool,
    /// What should be known of them.
    pub warnings: Vec<String>,
    terms: LockTerms,
    servers: LockServers,
    verbs: PostgresVerbs,
    _lock: BenchLock,
    local: Option<LocalCluster>,
}

impl Site {
    /// Opens the shards that were given, or starts local servers and fills them, and says so.
    ///
    /// # Errors
    /// Shards that are not fit, not at rest, not balanced, or that somebody measures already.
    pub async fn open(
        given: Option<&[ShardTarget]>,
        demand: &Demand,
        arguments: &BenchArguments,
        progress: &mut Progress,
    ) -> Result<Self, Stop> {
        let Demand { shards, slots, accounts, .. } = *demand;
        let whose = if given.is_some() { "checking" } else { "starting local" };
        progress.between(&format!("{whose} {shards} shards"));
        let services = demand.services.iter().copied();
        let servers = LockServers::open(services.clone(), &arguments.locks)?;
        let backends = services.map(|service| servers.of(service));
        let connections = demand.connections_with(backends) + SPARE_CONNECTIONS;
        let local = match given {
            Some(_) => None,
            None => Some(start(shards, connections, slots, arguments)?),
        };
        let targets = match (&local, given) {
            (Some(local), _) => local.shards().iter().map(target).collect(),
            (None, given) => given.unwrap_or_default().to_vec(),
        };
        let schema = if local.is_some() { SchemaNeed::Absent } else { SchemaNeed::Ours };
        let need = Need { schema, prepared_transactions: slots, connections };
        let checked = preflight::check(&targets, &need, PATIENCE).await?;
        let id = match checked.cluster {
            Some(id) => id,
            None => {
                let balance = i64::try_from(demand.opening_balance).unwrap_or(i64::MAX);
                let plan = creation::Plan::new(accounts, balance)
                    .map_err(|error| Stop::new(Exit::Usage, error.to_string()))?;
                creation::create(&targets, plan, PATIENCE, |_, _| {}).await?.cluster
            }
        };
        let cluster = Cluster::new(id, targets);
        let lock = bench_lock::take(&cluster).await.map_err(|error| failed(&error))?;
        let lock = lock.ok_or_else(|| {
            Stop::new(
                Exit::Failed,
                "another benchmark runs on these shards, and each would measure the other; wait \
                 for its end",
            )
        })?;
        let mut context = begin(cluster, &arguments.coordinator).await?;
        if let Some(local) = &local
            && arguments.coordinator.decision_log.is_none()
        {
            // They end with the servers whose decisions they hold.
            let directory = local.directory().join("decisions");
            context.logs = DecisionLogs::new(directory, context.cluster.id());
        }
        let settings = settings(&arguments.coordinator);
        let site = Self {
            facts: ClusterFacts {
                cluster: id.to_string(),
                local: local.is_some(),
                shards: checked.facts.clone(),
                lock_servers: servers.described(),
            },
            durable: checked.durable(),
            warnings: checked.warnings(),
            verbs: PostgresVerbs::new(context.clone(), settings.clone()),
            context,
            settings,
            terms: arguments.locks.terms_or(demand.lock_wait),
            servers,
            _lock: lock,
            local,
        };
        site.check(accounts).await?;
        for warning in &site.warnings {
            progress.warn(&format!("warning: {warning}"));
        }
        Ok(site)
    }

    /// Makes sure that what is measured begins at rest, balanced and with enough accounts.
    async fn check(&self, accounts: u64) -> Result<(), Stop> {
        self.recover().await?;
        let report = self.audit().await?;
        if !report.is_conserved() {
            let mut lines: Vec<String> =
                report.violations.iter().map(ToString::to_string).collect();
            lines.push("the books were broken before the benchmark began; nothing was run".into());
            return Err(Stop { exit: Exit::InvariantBroken, lines });
        }
        let there: i64 = report.shards.iter().map(|shard| shard.accounts).sum();
        if u64::try_from(there).unwrap_or(0) < accounts {
            return Err(Stop::new(
                Exit::Usage,
                format!(
                    "{accounts} accounts are needed (with those that reject_percent closes), but \
                     the cluster has {there}; give fewer, or `clean` it and `init` it with more"
                ),
            ));
        }
        Ok(())
    }

    /// One pass of recovery that leaves young branches of the living alone.
    pub async fn recover_once(&self) {
        recover(&self.verbs, GRACE).await;
    }

    /// The verbs of whoever works on the cluster outside the measured threads.
    pub const fn verbs(&self) -> &PostgresVerbs {
        &self.verbs
    }

    /// Recovers until nothing is left of anybody, and says how long that took.
    ///
    /// # Errors
    /// Something is left, or somebody acted against a verdict.
    pub async fn recover(&self) -> Result<Duration, Stop> {
        let started = Instant::now();
        loop {
            let pass = recover(&self.verbs, Duration::ZERO).await;
            if let Some((shard, gid, _)) = pass.damage.first() {
                let line = format!(
                    "shard {shard}: heuristic damage: {gid} was finished by hand against its \
                     verdict"
                );
                return Err(Stop::new(Exit::InvariantBroken, line));
            }
            if pass.is_clean() && pass.in_flight == 0 {
                return Ok(started.elapsed());
            }
            if started.elapsed() > RECOVERY_MAX {
                let mut lines: Vec<String> = pass
                    .in_doubt
                    .iter()
                    .map(|(shard, gid, why)| format!("shard {shard}: {gid} is in doubt: {why}"))
                    .collect();
                lines.extend(
                    pass.owed
                        .iter()
                        .map(|(transfer, why)| format!("transfer {transfer} has not ended: {why}")),
                );
                lines.extend(pass.unreachable.iter().map(ToString::to_string));
                lines.push(format!(
                    "not recovered within {} s; `shardbank recover` goes on",
                    RECOVERY_MAX.as_secs()
                ));
                return Err(Stop { exit: Exit::Incomplete, lines });
            }
            tokio::time::sleep(BETWEEN_PASSES).await;
        }
    }

    /// Who `service` is, where any is wanted, and on which terms it grants.
    #[must_use]
    pub fn locks_of(&self, service: Option<LockServiceName>) -> Option<(Backend, LockTerms)> {
        service.map(|service| (self.servers.of(service), self.terms))
    }

    /// Audits.
    ///
    /// # Errors
    /// A shard did not answer.
    pub async fn audit(&self) -> Result<AuditReport, Stop> {
        audit(&self.context.cluster).await.map_err(|error| failed(&error))
    }

    /// Puts every account back to what it began with and empties the ledger.
    ///
    /// # Errors
    /// A shard did not do it.
    pub async fn reset(&self) -> Result<(), Stop> {
        let cluster = &self.context.cluster;
        let presence = &self.context.presence;
        let clients = cluster.connect_all(PATIENCE).await.map_err(|error| failed(&error))?;
        let epoch = presence.epoch().await.map_err(|error| failed(&error))?;
        reset::reset(&clients, cluster.id(), epoch, || presence.next_attempt())
            .await
            .map_err(|error| Stop::new(Exit::Failed, error.to_string()))
    }

    /// Closes the accounts that must refuse transfers at `point`, or opens them again.
    ///
    /// # Errors
    /// A shard did not do it.
    pub async fn set_closed(&self, point: &Point, closed: bool) -> Result<(), Stop> {
        let ids = point.closed_accounts();
        if ids.is_empty() {
            return Ok(());
        }
        let id = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let clients = self.context.cluster.connect_all(PATIENCE).await;
        let clients = clients.map_err(|error| failed(&error))?;
        let set = reset::set_closed(&clients, id(ids.start)..id(ids.end), closed).await;
        set.map_err(|error| failed(&error))
    }

    /// Leaves the cluster, and ends local servers.
    ///
    /// # Errors
    /// A local server would not end.
    pub fn close(self) -> Result<(), Stop> {
        let Self { local, .. } = self;
        match local {
            Some(local) => Ok(block_in_place(|| local.stop())?),
            None => Ok(()),
        }
    }
}

fn start(
    shards: u16,
    connections: u32,
    slots: u32,
    arguments: &BenchArguments,
) -> Result<LocalCluster, Stop> {
    let mut options =
        LocalOptions { binaries: arguments.binaries.pgbin.clone(), ..LocalOptions::new(shards) };
    for (setting, needed, usual) in [
        ("max_connections", connections, LOCAL_CONNECTIONS),
        ("max_prepared_transactions", slots, LOCAL_SLOTS),
    ] {
        if needed > usual {
            options.settings.push((setting.to_owned(), (needed + SPARE_CONNECTIONS).to_string()));
        }
    }
    Ok(block_in_place(|| LocalCluster::start(&options))?)
}

fn target(shard: &crate::local::LocalShard) -> ShardTarget {
    ShardTarget::local(&LocalShardParams {
        socket_directory: shard.socket_directory.clone(),
        port: shard.port,
        user: shard.user.clone(),
        database: shard.database.clone(),
    })
}

fn failed(error: &ShardError) -> Stop {
    Stop::new(Exit::Failed, error.to_string())
}
