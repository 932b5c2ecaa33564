//! A coordinator's presence: its epoch, and the session that guards it.
//!
//! A background task holds one connection to shard 0, takes an epoch on it, and asks it for a
//! sign of life every second. When the connection is lost the epoch may be declared dead by
//! others, so nothing is started under it any more; a new one is taken as soon as shard 0 can be
//! reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::coordination::coordinator;
use crate::outcome::ShardError;
use crate::shards::failure::describe;
use crate::shards::target::ShardTarget;
use crate::transfer::{ClusterId, Epoch, ShardIndex};

const HEARTBEAT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
const SHARD_0: ShardIndex = ShardIndex(0);

/// The name of every session of `epoch`: what recovery ends a dead coordinator's sessions by.
#[must_use]
pub fn application_name(cluster: ClusterId, epoch: Epoch) -> String {
    format!("shardbank/{cluster}/{epoch}")
}

/// A coordinator's epoch, kept alive for as long as this value lives.
#[derive(Clone)]
pub struct Presence {
    cluster: ClusterId,
    epoch: watch::Receiver<Option<Epoch>>,
    attempts: Arc<AtomicU64>,
    /// Ends the background task, and with it the session and the epoch, when the last clone goes.
    _keeper: Arc<Keeper>,
}

struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Presence {
    /// Takes an epoch on shard 0, which `target` leads to, under `name` (a host and a process
    /// number, for a person to read). Must be called inside the runtime that is to keep it.
    ///
    /// # Errors
    /// Shard 0 cannot be reached.
    pub async fn begin(
        cluster: ClusterId,
        target: ShardTarget,
        name: String,
    ) -> Result<Self, ShardError> {
        let (client, epoch) = take_epoch(&target, cluster, &name).await?;
        Ok(Self::kept(cluster, target, name, Some((client, epoch))))
    }

    /// The same for a recoverer, who has work to do while shard 0 is away: an epoch is taken when
    /// it comes back.
    #[must_use]
    pub fn begin_when_reachable(cluster: ClusterId, target: ShardTarget, name: String) -> Self {
        Self::kept(cluster, target, name, None)
    }

    fn kept(
        cluster: ClusterId,
        target: ShardTarget,
        name: String,
        begun: Option<(Client, Epoch)>,
    ) -> Self {
        let (client, epoch) = begun.unzip();
        let (sender, receiver) = watch::channel(epoch);
        let keeper = tokio::spawn(keep(client, target, cluster, name, sender));
        Self {
            cluster,
            epoch: receiver,
            attempts: Arc::default(),
            _keeper: Arc::new(Keeper(keeper)),
        }
    }

    /// The epoch under which something may be started now, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<Epoch> {
        *self.epoch.borrow()
    }

    /// The epoch under which something may be started, waiting for a new one where the old was
    /// lost.
    ///
    /// # Errors
    /// Shard 0 could not be reached for five seconds.
    pub async fn epoch(&self) -> Result<Epoch, ShardError> {
        if let Some(epoch) = self.current() {
            return Ok(epoch);
        }
        let mut epoch = self.epoch.clone();
        let arrived = tokio::time::timeout(PATIENCE, epoch.wait_for(Option::is_some)).await;
        match arrived {
            Ok(Ok(epoch)) => Ok(epoch.expect("waited for one")),
            Ok(Err(_)) | Err(_) => Err(error(
                "the session that guards this coordinator's epoch is lost and shard 0 cannot be \
                 reached; nothing may be started until it can",
            )),
        }
    }

    /// A number that this process never gave before: with its epoch, a name for an attempt that
    /// nobody ever gives again.
    #[must_use]
    pub fn next_attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// The cluster that this coordinator works on.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }
}

fn error(message: &str) -> ShardError {
    ShardError { shard: SHARD_0, sqlstate: None, message: message.to_owned() }
}

async fn take_epoch(
    target: &ShardTarget,
    cluster: ClusterId,
    name: &str,
) -> Result<(Client, Epoch), ShardError> {
    let client = target.connect(PATIENCE).await.map_err(|failed| error(&failed.to_string()))?;
    let take = async {
        client.batch_execute("set synchronous_commit = on; set statement_timeout = 0").await?;
        let epoch = coordinator::begin(&client, name).await?;
        // The guard is named apart: ending an epoch's sessions is for its working sessions.
        let guard = format!("{}/guard", application_name(cluster, epoch));
        client
            .execute("select set_config('application_name', left($1, 63), false)", &[&guard])
            .await?;
        Ok(epoch)
    };
    match tokio::time::timeout(PATIENCE, take).await {
        Ok(Ok(epoch)) => Ok((client, epoch)),
        Ok(Err(failed)) => Err(describe(SHARD_0, &failed)),
        Err(_) => Err(error("shard 0 did not answer in time")),
    }
}

/// Watches the session; when it is lost, says so and takes a new epoch on a new one.
async fn keep(
    mut client: Option<Client>,
    target: ShardTarget,
    cluster: ClusterId,
    name: String,
    sender: watch::Sender<Option<Epoch>>,
) {
    loop {
        if let Some(client) = &client {
            while is_alive(client).await {
                tokio::time::sleep(HEARTBEAT).await;
            }
        }
        sender.send_replace(None);
        client = Some(loop {
            match take_epoch(&target, cluster, &name).await {
                Ok((client, epoch)) => {
                    sender.send_replace(Some(epoch));
                    break client;
                }
                // Shard 0 is away: whoever wants to start something is told so by `epoch`.
                Err(_) => tokio::time::sleep(HEARTBEAT / 4).await,
            }
        });
    }
}

async fn is_alive(client: &Client) -> bool {
    let sign = tokio::time::timeout(PATIENCE, client.batch_execute(""));
    !client.is_closed() && matches!(sign.await, Ok(Ok(())))
}

/// This process, as the `coordinator` table and decisions name it: host and process number.
#[must_use]
pub fn process_name() -> String {
    format!("{}:{}", host_name(), std::process::id())
}

/// What this machine is called, for a person who reads the `coordinator` table. It enters messages
/// that have no parameters, so whatever is not of `[A-Za-z0-9.-]` is left out.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect()
}
