//! The box office: what all users of a run share, and what is the same in every way.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ledger::messenger::{Failure, Messenger};
use crate::ledger::pools::Pools;
use crate::ledger::seat::{self, Seat};
use crate::outcome::AbortReason;
use crate::seats::hall::Hall;
use crate::seats::{Ending, User};
use crate::shards::failure::Meaning;
use crate::shards::session::Session;
use crate::transfer::{AccountId, ShardIndex};
use crate::verbs::locking::{Lock, LockError, LockKey, LockService};

/// How often expired reservations are swept away.
pub const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// How many batches one user looks through before leaving.
const BATCHES_MAX: u32 = 3;

/// How the office works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a seat is kept for a user who does not pay.
    pub hold: Duration,
    /// How long a lock service is waited for.
    pub lock_wait: Duration,
}

/// What the office has seen, beside how visits ended.
#[derive(Debug)]
pub enum Seen {
    /// A row or a lock was held.
    Held {
        /// When its user had come.
        came_at: Instant,
        /// From the answer that gave it to the answer that took it back; for a statement that
        /// commits by itself, from sending it to its answer.
        how_long: Duration,
    },
    /// Something did not go as it should.
    Complaint(String),
}

/// The box office.
pub struct BoxOffice {
    messenger: Messenger,
    locks: Option<Arc<dyn LockService>>,
    hall: Hall,
    terms: Terms,
    seen: UnboundedSender<Seen>,
    closing: watch::Receiver<bool>,
    left_behind: Mutex<JoinSet<()>>,
}

/// What became of a user who was left to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thought {
    /// The user has thought.
    Over,
    /// The office closes.
    Dismissed,
}

impl BoxOffice {
    /// An office that sells the seats of `hall`, until `closing` is raised.
    #[must_use]
    pub fn new(
        pools: Pools,
        locks: Option<Arc<dyn LockService>>,
        hall: Hall,
        terms: Terms,
        seen: UnboundedSender<Seen>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let messenger = Messenger::new(pools);
        let left_behind = Mutex::new(JoinSet::new());
        Self { messenger, locks, hall, terms, seen, closing, left_behind }
    }

    /// Its connections.
    pub(super) const fn pools(&self) -> &Pools {
        self.messenger.pools()
    }

    /// How it works.
    pub(super) const fn terms(&self) -> Terms {
        self.terms
    }

    /// What it sells.
    #[must_use]
    pub const fn hall(&self) -> &Hall {
        &self.hall
    }

    /// Whether it closes.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// One statement to one shard, which commits by itself.
    pub(super) async fn ask<T>(
        &self,
        shard: ShardIndex,
        act: impl AsyncFnOnce(&Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Failure> {
        self.messenger.ask(shard, act).await
    }

    /// Puts the first batch on sale on every shard.
    ///
    /// # Errors
    /// A shard did not do it.
    pub async fn open(&self) -> Result<(), Failure> {
        for shard in self.hall.shards() {
            let row = self.hall.row(0, shard);
            self.ask(shard, async |session| seat::open(session, row).await).await?;
        }
        Ok(())
    }

    /// A seat that seems free, the first from the preferred one on. Where there is none the next
    /// batch opens.
    pub(super) async fn look(&self, user: &User) -> Result<Option<Seat>, Failure> {
        let shard = self.hall.shard_of(user.prefers);
        for _ in 0..BATCHES_MAX {
            let batch = self.hall.batch(shard);
            let (row, preferred) = (self.hall.row(batch, shard), self.hall.id(batch, user.prefers));
            let found =
                self.ask(shard, async |session| seat::look(session, row, preferred).await).await?;
            if let Some(id) = found {
                return Ok(Some(Seat { id, shard }));
            }
            if let Some(opening) = self.hall.next(batch, shard).await {
                let row = self.hall.row(batch + 1, shard);
                self.ask(shard, async |session| seat::open(session, row).await).await?;
                opening.done();
            }
        }
        Ok(None)
    }

    /// The lock of a seat. Keys are those of accounts with the same number: whoever works on the
    /// accounts meanwhile may wait, and nothing else.
    pub(super) async fn lock(&self, seat: Seat) -> Result<Box<dyn Lock>, LockError> {
        self.lock_until(seat, Instant::now() + self.terms.lock_wait).await
    }

    async fn lock_until(&self, seat: Seat, until: Instant) -> Result<Box<dyn Lock>, LockError> {
        let service = self.locks.as_ref();
        let service = service
            .ok_or_else(|| LockError::Unavailable("this office has no lock service".to_owned()))?;
        let account = AccountId::new(seat.id).expect("seats are numbered from 1");
        service.acquire(LockKey { shard: seat.shard, account }, until).await
    }

    /// Whether the lock of a seat is held by somebody, for at least `wait`.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn is_locked(&self, seat: Seat, wait: Duration) -> Result<bool, LockError> {
        match self.lock_until(seat, Instant::now() + wait).await {
            Ok(lock) => lock.release().await.map(|_| false),
            Err(LockError::Timeout) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Leaves a user to think.
    pub(super) async fn think(&self, time: Duration) -> Thought {
        let mut closing = self.closing.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => Thought::Over,
            () = raised(&mut closing) => Thought::Dismissed,
        }
    }

    /// A row or a lock was held for `user`.
    pub(super) fn held(&self, user: &User, how_long: Duration) {
        // Whoever listens may have gone.
        self.seen.send(Seen::Held { came_at: user.came_at, how_long }).ok();
    }

    /// Something did not go as it should.
    pub(super) fn complain(&self, what: &impl ToString) {
        self.seen.send(Seen::Complaint(what.to_string())).ok();
    }

    /// Leaves behind what a user has walked away from: `give_up` is begun when the hold time is
    /// over, or the office closes.
    pub(super) fn leave_behind(
        self: &Arc<Self>,
        user: &User,
        since: Instant,
        give_up: impl Future<Output = ()> + Send + 'static,
    ) {
        let (office, user) = (Arc::clone(self), *user);
        let mut left = self.left_behind.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended need not be kept.
        while left.try_join_next().is_some() {}
        left.spawn(async move {
            let until = since + office.terms.hold;
            office.think(until.saturating_duration_since(Instant::now())).await;
            give_up.await;
            office.held(&user, since.elapsed());
        });
    }

    /// Waits until nothing is left behind any more. Nobody must be buying.
    pub async fn close(&self) {
        let left = {
            let mut left = self.left_behind.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *left)
        };
        left.join_all().await;
    }

    /// Sweeps expired reservations away, again and again, until the office closes.
    pub async fn sweep(&self) {
        while self.think(SWEEP_EVERY).await == Thought::Over {
            for shard in self.hall.shards() {
                let swept = self.ask(shard, async |session| seat::sweep(session).await).await;
                if let Err(failure) = swept {
                    self.complain(&format!("not swept: {}", failure.error));
                }
            }
        }
    }

    /// How a visit ended in which a statement failed that changes nothing unless it succeeds.
    pub(super) fn not_done(&self, failure: &Failure) -> Ending {
        if failure.meaning == Meaning::Retry(AbortReason::LockTimeout) {
            return Ending::LockTimeout;
        }
        self.complain(&failure.error);
        Ending::Failed
    }

    /// How a visit ended in which the statement that sells failed.
    pub(super) fn not_sold(&self, failure: &Failure) -> Ending {
        if failure.meaning != Meaning::Unknown {
            return self.not_done(failure);
        }
        self.complain(&failure.error);
        Ending::InDoubt
    }
}

/// Returns when the flag is raised; never where it can no longer be.
async fn raised(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|is_raised| *is_raised).await.is_err() {
        std::future::pending().await
    }
}
