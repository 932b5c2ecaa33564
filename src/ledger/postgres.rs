//! The storage verbs on Postgres.
//!
//! One value serves one thread: its connections belong to the runtime that made them. What a
//! verb is in SQL stands beside the table that it is about; how a message is sent, and what is
//! known of it afterwards, in `messenger`.

use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::mpsc;

use crate::coordination::decision;
use crate::coordination::decision_file::LogError;
use crate::coordination::decision_logs::DecisionLogs;
use crate::coordination::presence::Presence;
use crate::fail_points::{FailPoint, Fate};
use crate::ledger::committers::{self, Order};
use crate::ledger::messenger::Messenger;
use crate::ledger::pools::{PoolSettings, Pools};
use crate::ledger::{back_off, effect, leg, recovering};
use crate::outcome::{Attempt, Decision, Finish, Refusal, ShardError, StandingLeg, Tombstone};
use crate::shards::cluster::Cluster;
use crate::shards::prepared;
use crate::transfer::{
    Branch, ClusterId, Epoch, IdOrigin, LegKind, Routing, ShardIndex, Transfer, TransferId,
};
use crate::verbs::locking::{Concerning, LockService, LockTerms, LockVerbs};
use crate::verbs::{DecisionKey, Gid, Liveness, Preparation, PreparedBranch, Register, Verbs};

/// What a coordinator process shares among its threads.
#[derive(Clone)]
pub struct CoordinatorContext {
    /// Its shards.
    pub cluster: Cluster,
    /// Its epoch.
    pub presence: Presence,
    /// Its decision logs, where a strategy keeps one.
    pub logs: DecisionLogs,
    /// The fail point at which it is to die, or to be stopped.
    pub armed: Option<(FailPoint, Fate)>,
}

/// The storage verbs on Postgres, for one thread.
#[derive(Clone)]
pub struct PostgresVerbs {
    inner: Arc<Inner>,
    committers: mpsc::Sender<Order>,
    locks: Option<(Arc<dyn LockService>, LockTerms)>,
}

pub(super) struct Inner {
    context: CoordinatorContext,
    routing: Routing,
    pub(super) messenger: Messenger,
    name: String,
    /// Whether the armed fail point was reached.
    was_armed: AtomicBool,
    /// A clone of it goes with every order for the committers: this one is alone when all are
    /// done.
    unfinished: Arc<()>,
}

impl PostgresVerbs {
    /// Verbs with connections of their own. Must be called inside the runtime that will use
    /// them.
    #[must_use]
    pub fn new(context: CoordinatorContext, settings: PoolSettings) -> Self {
        let pools = Pools::new(context.cluster.clone(), context.presence.clone(), settings);
        let routing = context.cluster.routing();
        let name = format!("{}:{}", host_name(), std::process::id());
        let messenger = Messenger::new(pools);
        let unfinished = Arc::default();
        let inner = Arc::new(Inner {
            context,
            routing,
            messenger,
            name,
            was_armed: AtomicBool::new(false),
            unfinished,
        });
        let committers = committers::start(&inner);
        Self { inner, committers, locks: None }
    }

    /// The same, with somebody who grants locks.
    #[must_use]
    pub fn with_locks(self, service: Arc<dyn LockService>, terms: LockTerms) -> Self {
        Self { locks: Some((service, terms)), ..self }
    }

    /// Who grants locks, and on which terms.
    pub(super) fn locks(&self) -> Option<(&dyn LockService, LockTerms)> {
        self.locks.as_ref().map(|(service, terms)| (service.as_ref(), *terms))
    }

    /// Its connections.
    #[must_use]
    pub fn pools(&self) -> &Pools {
        self.inner.messenger.pools()
    }

    /// What carries its messages.
    pub(super) fn messenger(&self) -> &Messenger {
        &self.inner.messenger
    }

    /// Ends this coordinator in order, after its last transfer: where nothing of it is prepared on
    /// any shard and no message of it can still be running, its epoch is closed and its decision
    /// log removed. Otherwise, or where a shard does not answer, that is left to recovery.
    pub async fn retire(&self) {
        self.drain().await;
        let Some(epoch) = self.inner.context.presence.current() else { return };
        if self.inner.messenger.has_lost_track() {
            return;
        }
        for shard in self.inner.routing.shards() {
            match self.list_prepared(shard).await {
                Ok(branches) if branches.iter().all(|branch| branch.gid.epoch != epoch) => {}
                Ok(_) | Err(_) => return,
            }
            match self.open_intents(shard, Concerning::Anybody).await {
                Ok(intents) if intents.iter().all(|intent| intent.epoch != epoch) => {}
                Ok(_) | Err(_) => return,
            }
        }
        if self.close_epoch(epoch).await.is_ok() {
            // A file that stays behind is one that nothing refers to.
            self.inner.context.logs.retire(epoch).ok();
        }
    }

    /// Waits until the committers have done all that they were given. To be called when no
    /// transfer is being carried any more.
    pub async fn drain(&self) {
        while Arc::strong_count(&self.inner.unfinished) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What this machine is called, for a person who reads the `coordinator` table. It enters messages
/// that have no parameters, so whatever is not of `[A-Za-z0-9.-]` is left out.
#[must_use]
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect()
}

impl Inner {
    async fn decide(
        &self,
        key: &DecisionKey,
        participants: Option<[ShardIndex; 2]>,
        wanted: Decision,
    ) -> Result<Decision, ShardError> {
        let home = key.home;
        if key.register == Register::File {
            let in_file = |error: LogError| ShardError {
                shard: home,
                sqlstate: None,
                message: error.to_string(),
            };
            let log = self.context.logs.of(key.epoch).map_err(in_file)?;
            return log.decide(key.transfer, wanted).await.map_err(in_file);
        }
        let by = &self.name;
        let standing = self
            .messenger
            .ask(home, async |session| {
                decision::decide(session, key.transfer, participants, wanted, by).await
            })
            .await
            .map_err(|failure| failure.error)?;
        standing.ok_or_else(|| ShardError {
            shard: home,
            sqlstate: None,
            message: "the decision vanishes between being met and being read".to_owned(),
        })
    }

    pub(super) fn forget(&self, key: &DecisionKey) {
        if key.register == Register::File
            && let Ok(log) = self.context.logs.of(key.epoch)
        {
            log.forget(key.transfer);
        }
    }
}

impl Verbs for PostgresVerbs {
    fn routing(&self) -> Routing {
        self.inner.routing
    }

    fn cluster(&self) -> ClusterId {
        self.inner.context.cluster.id()
    }

    async fn epoch(&self) -> Result<Epoch, ShardError> {
        // A log that failed leaves its transfers unknown. Nothing more may be started on it.
        self.inner.context.logs.check().map_err(|error| ShardError {
            shard: ShardIndex(0),
            sqlstate: None,
            message: error.to_string(),
        })?;
        self.inner.messenger.pools().epoch().await
    }

    fn next_attempt(&self) -> u64 {
        self.inner.context.presence.next_attempt()
    }

    async fn transfer_locally(
        &self,
        shard: ShardIndex,
        transfer: &Transfer,
        strategy: &'static str,
    ) -> Attempt {
        self.inner
            .messenger
            .attempt(shard, async |session| match transfer.origin {
                IdOrigin::Fresh => {
                    effect::transfer_locally(session, shard, transfer, strategy).await
                }
                IdOrigin::MayBeRepeated => {
                    let by = &self.inner.name;
                    effect::transfer_locally_once(session, shard, transfer, strategy, by).await
                }
            })
            .await
    }

    async fn prepare(&self, branch: &Branch, gid: &Gid, how: Preparation) -> Attempt {
        if gid.register == Register::File
            && let Err(error) = self.inner.context.logs.own(gid.epoch)
        {
            // A branch whose name points to a log that does not exist could never be resolved.
            let (shard, message) = (branch.shard, error.to_string());
            return Attempt::Failed(ShardError { shard, sqlstate: None, message });
        }
        let by = &self.inner.name;
        self.inner
            .messenger
            .attempt(branch.shard, async |session| {
                effect::prepare(session, branch, gid, how, by).await
            })
            .await
    }

    async fn apply_and_decide(
        &self,
        branch: &Branch,
        participants: [ShardIndex; 2],
        strategy: &'static str,
    ) -> Attempt {
        let by = &self.inner.name;
        self.inner
            .messenger
            .attempt(branch.shard, async |session| {
                effect::apply_and_decide(session, branch, participants, strategy, by).await
            })
            .await
    }

    async fn record_refusal(
        &self,
        branch: &Branch,
        refusal: Refusal,
        strategy: &'static str,
    ) -> Result<Tombstone, ShardError> {
        self.inner
            .messenger
            .place(branch.shard, branch.transfer.id, branch.kind, async |session| {
                leg::refuse(session, branch, refusal, strategy).await
            })
            .await
    }

    async fn entomb(
        &self,
        shard: ShardIndex,
        transfer: TransferId,
        kind: LegKind,
    ) -> Result<Tombstone, ShardError> {
        self.inner
            .messenger
            .place(shard, transfer, kind, async |session| {
                leg::entomb(session, transfer, kind).await
            })
            .await
    }

    async fn read_leg(
        &self,
        shard: ShardIndex,
        transfer: TransferId,
        kind: LegKind,
    ) -> Result<Option<StandingLeg>, ShardError> {
        self.inner
            .messenger
            .ask(shard, async |session| leg::read(session, transfer, kind).await)
            .await
            .map_err(|failure| failure.error)
    }

    async fn decide(
        &self,
        key: &DecisionKey,
        participants: [ShardIndex; 2],
        wanted: Decision,
    ) -> Result<Decision, ShardError> {
        self.inner.decide(key, Some(participants), wanted).await
    }

    async fn decide_abort(&self, key: &DecisionKey, why: Refusal) -> Result<Decision, ShardError> {
        self.inner.decide(key, None, Decision::Abort(why)).await
    }

    async fn commit_prepared(&self, shard: ShardIndex, gid: &Gid) -> Finish {
        self.inner.messenger.finish(shard, &prepared::commit(gid)).await
    }

    async fn roll_back_prepared(&self, shard: ShardIndex, gid: &Gid) -> Finish {
        self.inner.messenger.finish(shard, &prepared::roll_back(gid)).await
    }

    async fn commit_prepared_later(&self, branches: Vec<(ShardIndex, Gid)>) {
        self.committers
            .send(Order { branches, _unfinished: Arc::clone(&self.inner.unfinished) })
            .await
            .expect("the committers end only after the last sender is gone");
    }

    fn forget(&self, key: &DecisionKey) {
        self.inner.forget(key);
    }

    async fn list_prepared(&self, shard: ShardIndex) -> Result<Vec<PreparedBranch>, ShardError> {
        let cluster = self.cluster();
        self.inner
            .messenger
            .ask(shard, async |session| recovering::list_prepared(session, cluster).await)
            .await
            .map_err(|failure| failure.error)
    }

    async fn open_epochs(&self) -> Result<Vec<Epoch>, ShardError> {
        recovering::on_shard_0(self.inner.messenger.pools(), recovering::open_epochs).await
    }

    async fn close_epoch(&self, epoch: Epoch) -> Result<(), ShardError> {
        recovering::on_shard_0(self.inner.messenger.pools(), async |session| {
            recovering::close_epoch(session, epoch).await
        })
        .await
    }

    async fn liveness(&self, epoch: Epoch) -> Result<Liveness, ShardError> {
        if self.inner.context.presence.current() == Some(epoch) {
            return Ok(Liveness::Own);
        }
        recovering::on_shard_0(self.inner.messenger.pools(), async |session| {
            recovering::liveness(session, epoch).await
        })
        .await
    }

    async fn end_sessions(&self, shard: ShardIndex, epoch: Epoch) -> Result<(), ShardError> {
        recovering::end_sessions(self.inner.messenger.pools(), shard, epoch).await
    }

    async fn back_off(&self, next_try: u32) {
        tokio::time::sleep(back_off::before(next_try)).await;
    }

    fn reached(&self, point: FailPoint) -> impl Future<Output = ()> + Send {
        let fate = self.inner.context.armed.filter(|(armed, _)| *armed == point);
        // Stopped once, at the first time it comes past.
        let fate = fate.filter(|_| !self.inner.was_armed.swap(true, Ordering::Relaxed));
        async move {
            let Some((point, fate)) = fate else { return };
            // Whoever armed it reads this line and then does what is to be done to this process.
            let mut out = std::io::stdout();
            let _the_reader_may_be_gone = writeln!(out, "HIT {}", point.name());
            let _the_reader_may_be_gone = out.flush();
            match fate {
                Fate::Dies => std::future::pending::<()>().await,
                Fate::Pauses => {
                    rustix::process::kill_process(rustix::process::getpid(), Signal::STOP)
                        .expect("a process may stop itself");
                }
            }
        }
    }
}
