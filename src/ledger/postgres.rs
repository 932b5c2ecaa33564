//! The storage verbs on Postgres.
//!
//! One value serves one thread: its connections belong to the runtime that made them. What a
//! verb is in SQL stands beside the table that it is about; how a message is sent, and what is
//! known of it afterwards, in `messenger`.

use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use tokio::sync::mpsc;

use crate::coordination::bells::Bells;
use crate::coordination::decision;
use crate::coordination::decision_file::LogError;
use crate::coordination::decision_logs::DecisionLogs;
use crate::coordination::presence::{Presence, process_name};
use crate::fail_points::{FailPoint, Fate};
use crate::ledger::committers::{self, Order, Work};
use crate::ledger::effect::Claim;
use crate::ledger::messenger::Messenger;
use crate::ledger::pools::{PoolSettings, Pools};
use crate::ledger::relays::Role;
use crate::ledger::{back_off, effect, leg, recovering};
use crate::outcome::{
    Attempt, Decision, Finish, Refusal, ShardError, StandingLeg, Tombstone, Verdict,
};
use crate::shards::cluster::Cluster;
use crate::shards::prepared;
use crate::transfer::{
    Branch, ClusterId, Epoch, IdOrigin, LegKind, Participants, Routing, ShardIndex, Transfer,
    TransferId,
};
use crate::verbs::locking::{LockService, LockTerms};
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
    /// Who of it is woken by whom.
    pub bells: Bells,
    /// The fail point at which it is to die, or to be stopped.
    pub armed: Option<(FailPoint, Fate)>,
}

/// The storage verbs on Postgres, for one thread.
#[derive(Clone)]
pub struct PostgresVerbs {
    pub(super) inner: Arc<Inner>,
    committers: mpsc::Sender<Order>,
    locks: Option<(Arc<dyn LockService>, LockTerms)>,
    pub(super) role: Role,
}

pub(super) struct Inner {
    pub(super) context: CoordinatorContext,
    pub(super) routing: Routing,
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
        let name = process_name();
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
        Self { inner, committers, locks: None, role: Role::Keeper(Arc::default()) }
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

    /// Hands `work` to the committers; waits only for a place in their queue.
    pub(super) async fn hand_over(&self, work: Work) {
        self.committers
            .send(Order { work, _unfinished: self.unfinished() })
            .await
            .expect("the committers end only after the last sender is gone");
    }

    /// The same verbs for somebody else.
    pub(super) fn in_role(&self, role: Role) -> Self {
        Self { role, ..self.clone() }
    }

    /// Which bells of this process it rings.
    pub(super) fn bells(&self) -> &Bells {
        &self.inner.context.bells
    }

    /// Its decision logs.
    pub(super) fn logs(&self) -> &DecisionLogs {
        &self.inner.context.logs
    }

    /// What is alone when all that was handed to others is done.
    pub(super) fn token(&self) -> &Arc<()> {
        &self.inner.unfinished
    }

    /// A clone of it, for whoever does something.
    pub(super) fn unfinished(&self) -> Arc<()> {
        Arc::clone(self.token())
    }
}

impl Inner {
    async fn decide(&self, key: &DecisionKey, wanted: Verdict) -> Result<Decision, ShardError> {
        let home = key.home;
        if key.register == Register::File {
            let in_file = |error: LogError| ShardError {
                shard: home,
                sqlstate: None,
                message: error.to_string(),
            };
            let log = self.context.logs.of(key.epoch).map_err(in_file)?;
            let standing = log.decide(key.transfer, wanted).await.map_err(in_file)?;
            return Ok(standing.on(&key.effects));
        }
        let by = &self.name;
        let standing = self
            .messenger
            .ask(home, async |session| decision::decide(session, key.transfer, wanted, by).await)
            .await
            .map_err(|failure| failure.error)?;
        standing.map(|standing| standing.on(&key.effects)).ok_or_else(|| ShardError {
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
        let claim = how.claims_decision.then(|| Claim {
            participants: branch.transfer.participants(self.inner.routing),
            by: &self.inner.name,
        });
        self.inner
            .messenger
            .attempt(branch.shard, async |session| {
                effect::prepare(session, branch, gid, how, claim.as_ref()).await
            })
            .await
    }

    async fn apply_and_decide(
        &self,
        branch: &Branch,
        participants: Participants,
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
        participants: Option<Participants>,
        wanted: Decision,
    ) -> Result<Decision, ShardError> {
        self.inner.decide(key, Verdict { decision: wanted, participants }).await
    }

    async fn decide_abort(&self, key: &DecisionKey, why: Refusal) -> Result<Decision, ShardError> {
        let wanted = Verdict { decision: Decision::Abort(why), participants: None };
        self.inner.decide(key, wanted).await
    }

    async fn commit_prepared(&self, shard: ShardIndex, gid: &Gid) -> Finish {
        self.inner.messenger.finish(shard, &prepared::commit(gid)).await
    }

    async fn roll_back_prepared(&self, shard: ShardIndex, gid: &Gid) -> Finish {
        self.inner.messenger.finish(shard, &prepared::roll_back(gid)).await
    }

    async fn commit_prepared_later(&self, branches: Vec<(ShardIndex, Gid)>) {
        self.hand_over(Work::CommitPrepared(branches)).await;
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
