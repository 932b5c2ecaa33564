//! Where a scenario takes place: servers of its own, a bank on them, a folder for histories; and
//! what is done after every fault.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use uuid::Uuid;

use super::history::History;
use super::tally::Tally;
use super::tool::Tool;
use super::{ChaosError, Options};
use crate::coordination::bells::Bells;
use crate::coordination::decision_logs::DecisionLogs;
use crate::coordination::presence::{Presence, process_name};
use crate::ledger::pools::PoolSettings;
use crate::ledger::postgres::{CoordinatorContext, PostgresVerbs};
use crate::ledger::{books, inspection};
use crate::local::{LocalCluster, LocalOptions};
use crate::outcome::ShardError;
use crate::shards::cluster::Cluster;
use crate::shards::creation::{self, Plan};
use crate::shards::failure::describe;
use crate::shards::{LocalShardParams, ShardTarget};
use crate::transfer::ShardIndex;
use crate::verbs::Gid;

/// What every account begins with, in minor units.
const OPENING_BALANCE: i64 = 1_000_000;
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// How long everything may take to be whole again.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// The folder of the decision logs.
const DECISIONS: &str = "decisions";
/// Exit codes of the tool that are answers.
const DONE: Option<i32> = Some(0);
const INVARIANT_BROKEN: Option<i32> = Some(3);
const INCOMPLETE: Option<i32> = Some(5);

/// Servers, a bank on them, and a folder.
#[derive(Debug)]
pub struct Ground {
    local: LocalCluster,
    kept: Option<PathBuf>,
    place: PathBuf,
    cluster: Cluster,
    tool: Tool,
}

impl Ground {
    /// Starts servers and opens a bank.
    ///
    /// # Errors
    /// They cannot be started, or the accounts cannot be had.
    pub async fn open(options: &Options) -> Result<Self, ChaosError> {
        let local = block_in_place(|| match &options.directory {
            Some(directory) => {
                LocalCluster::up(directory, Some(options.shards), options.binaries.as_deref())
            }
            None => LocalCluster::start(&LocalOptions {
                binaries: options.binaries.clone(),
                ..LocalOptions::new(options.shards)
            }),
        })?;
        let place = local.directory().join("chaos");
        std::fs::create_dir_all(&place).map_err(ChaosError::io("cannot create", &place))?;
        let targets: Vec<ShardTarget> = local
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
            .collect();
        let plan = Plan::new(options.accounts, OPENING_BALANCE)?;
        let created = creation::create(&targets, plan, CONNECT_MAX, |_, _| {}).await?;
        let urls: Vec<String> = local.shards().iter().map(|shard| shard.url()).collect();
        let tool = Tool::new(&urls, place.join(DECISIONS))?;
        let cluster = Cluster::new(created.cluster, targets);
        Ok(Self { kept: options.directory.clone(), local, place, cluster, tool })
    }

    /// Where histories lie.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// How to call the tool on these shards.
    #[must_use]
    pub const fn tool(&self) -> &Tool {
        &self.tool
    }

    /// The shards.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The servers.
    #[must_use]
    pub const fn local(&self) -> &LocalCluster {
        &self.local
    }

    /// Verbs of this process, under an epoch of its own.
    ///
    /// # Errors
    /// Shard 0 cannot be reached.
    pub async fn coordinator(&self) -> Result<PostgresVerbs, ChaosError> {
        let id = self.cluster.id();
        let target = self.cluster.target(ShardIndex(0)).clone();
        let name = process_name();
        let context = CoordinatorContext {
            cluster: self.cluster.clone(),
            presence: Presence::begin(id, target, name).await?,
            logs: DecisionLogs::new(self.place.join(DECISIONS), id),
            bells: Bells::default(),
            armed: None,
        };
        Ok(PostgresVerbs::new(context, PoolSettings { connections: 4, ..PoolSettings::default() }))
    }

    /// How many branches are prepared, over all shards.
    ///
    /// # Errors
    /// A shard cannot be looked at.
    pub async fn prepared(&self) -> Result<usize, ChaosError> {
        let prefix = Gid::prefix_of(self.cluster.id());
        let mut prepared = 0;
        for (shard, client) in self.cluster.routing().shards().zip(self.connect().await?) {
            prepared += books::prepared(&client, &prefix)
                .await
                .map_err(|error| describe(shard, &error))?
                .len();
        }
        Ok(prepared)
    }

    /// How many branches are prepared and how many intents, sagas, events and holds are open, over
    /// all shards.
    ///
    /// # Errors
    /// A shard cannot be looked at.
    pub async fn dangling(&self) -> Result<usize, ChaosError> {
        let mut dangling = self.prepared().await?;
        for (shard, client) in self.cluster.routing().shards().zip(self.connect().await?) {
            let open = books::open_promises(&client).await;
            dangling += open.map_err(|error| describe(shard, &error))?.len();
        }
        Ok(dangling)
    }

    async fn connect(&self) -> Result<Vec<tokio_postgres::Client>, ShardError> {
        self.cluster.connect_all(CONNECT_MAX).await
    }

    /// Recovers, each time by a new process, until no coordinator is left unfinished, and says how
    /// long that took since `fault`.
    ///
    /// # Errors
    /// It takes more than a minute, or cannot be done.
    pub async fn recover(&self, fault: Instant, tally: &mut Tally) -> Result<(), ChaosError> {
        loop {
            let recovery = self.tool.run(self.tool.coordinator(&["recover"])).await?;
            if recovery.code == INVARIANT_BROKEN {
                tally.violations.push(format!("recovery: {}", recovery.said));
            }
            if recovery.code == DONE && self.unfinished().await? == 0 {
                tally.recoveries.push(fault.elapsed());
                return Ok(());
            }
            if fault.elapsed() > RECOVERY_MAX {
                return Err(ChaosError::TooLate {
                    what: "recovery has not finished all coordinators".to_owned(),
                    seconds: RECOVERY_MAX.as_secs(),
                    words: recovery.said,
                });
            }
        }
    }

    /// How many coordinators may have left something.
    async fn unfinished(&self) -> Result<usize, ChaosError> {
        let shard = ShardIndex(0);
        let client = self.cluster.connect(shard, CONNECT_MAX).await?;
        let epochs = inspection::open_epochs(&client).await;
        Ok(epochs.map_err(|error| describe(shard, &error))?.len())
    }

    /// Audits by a new process while the load goes on.
    ///
    /// # Errors
    /// A shard did not answer.
    pub async fn audit_running(&self, tally: &mut Tally) -> Result<(), ChaosError> {
        self.audit(&["audit"], tally).await
    }

    /// Audits by a new process when nothing runs, and holds `history` against the ledger.
    ///
    /// # Errors
    /// A shard did not answer.
    pub async fn audit_at_rest(
        &self,
        history: &History,
        tally: &mut Tally,
    ) -> Result<(), ChaosError> {
        self.audit(&["audit", "--at-rest"], tally).await?;
        let ids: Vec<Uuid> = history.transfers().map(|(id, _)| id.0).collect();
        let mut legs = Vec::new();
        for (shard, client) in self.cluster.routing().shards().zip(self.connect().await?) {
            let here = books::applied_legs(&client, &ids).await;
            legs.extend(here.map_err(|error| describe(shard, &error))?);
        }
        tally.violations.extend(history.lies(legs));
        Ok(())
    }

    async fn audit(&self, words: &[&str], tally: &mut Tally) -> Result<(), ChaosError> {
        let audit = self.tool.run(self.tool.command(words)).await?;
        match audit.code {
            DONE => {}
            INVARIANT_BROKEN => tally.violations.push(format!("audit: {}", audit.said)),
            INCOMPLETE => tally.orphans += self.dangling().await?.max(1),
            code => {
                return Err(ChaosError::Ended {
                    what: "the audit".to_owned(),
                    status: format!("exit code {code:?}"),
                    words: audit.said,
                });
            }
        }
        Ok(())
    }

    /// Ends the servers. Where a directory was named they and all histories stay for whoever
    /// looks into a failure; says where.
    ///
    /// # Errors
    /// A server would not end.
    pub fn close(self, failed: bool) -> Result<Option<String>, ChaosError> {
        let Self { local, kept, place, .. } = self;
        block_in_place(|| match kept {
            None => {
                local.stop()?;
                Ok(None)
            }
            Some(_) if failed => Ok(Some(format!(
                "servers, histories and logs are kept in {}; `shardbank local down --dir` removes \
                 the servers",
                local.directory().display()
            ))),
            Some(_) => {
                std::fs::remove_dir_all(&place).map_err(ChaosError::io("cannot remove", &place))?;
                LocalCluster::remove(local.directory())?;
                Ok(None)
            }
        })
    }
}
