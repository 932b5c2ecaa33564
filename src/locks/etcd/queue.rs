//! A place in the queue of one lock: to join, to wait, to leave.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::Shared;
use super::messages::{
    BY_CREATION, Compare, DESCENDING, DeleteRangeRequest, Op, PutRequest, RangeRequest, TxnRequest,
    range_end,
};
use super::session::Session;
use super::wire::{Failure, Wire};
use crate::locks::service::{Granted, Lease};
use crate::verbs::locking::{BoxFuture, HolderId, LockError, Released};

/// How much longer than it is waited for the last answer may take. What is on its way is
/// nearly always answered at once, and else costs a message that takes it back.
const LAST_ANSWER: Duration = Duration::from_millis(100);

/// However quiet the watch is, whoever waits looks again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A place in a queue that is, or may be, its holder's: it was asked for, and no answer denies it.
/// Dropped, it is given up behind the caller's back.
pub(super) struct Place {
    shared: Arc<Shared>,
    session: Arc<Session>,
    queue: String,
    /// The key.
    name: String,
    /// Its create revision; 0 while it is not known.
    revision: i64,
    /// The request for it, which is awaited to its end whatever becomes of the caller: one that
    /// is cancelled could still be carried out, after the key was deleted in vain.
    request: Option<JoinHandle<Result<Joined, Failure>>>,
    may_stand: bool,
}

struct Joined {
    revision: i64,
    predecessor: Option<String>,
}

impl Place {
    pub(super) fn new(
        shared: &Arc<Shared>,
        session: Arc<Session>,
        queue: &str,
        holder: HolderId,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            session,
            queue: queue.to_owned(),
            name: format!("{queue}{holder}"),
            revision: 0,
            request: None,
            may_stand: false,
        }
    }

    /// Joins the queue and waits to be the first. Nothing where the lease was lost.
    pub(super) async fn grant(
        mut self,
        until: Instant,
        round_trips: &mut u32,
    ) -> Result<Option<Granted>, LockError> {
        let look = self.shared.watching.look(&self.queue);
        *round_trips += 1;
        let Some(mut predecessor) = self.join(until).await? else { return Ok(None) };
        while let Some(before) = predecessor {
            if until <= Instant::now() {
                // Late answers are left to whoever clears up behind us.
                let _ = timeout_at(until + LAST_ANSWER, self.leave()).await;
                return Err(LockError::Timeout);
            }
            look.wait(&before, until.min(Instant::now() + LOOK_AGAIN)).await;
            look.about_to_read();
            *round_trips += 1;
            predecessor = match timeout_at(until + LAST_ANSWER, self.check()).await {
                Ok(Ok(Some(first))) => first,
                Ok(Ok(None)) => {
                    self.may_stand = false;
                    self.shared.retire(&self.session).await;
                    return Ok(None);
                }
                Ok(Err(failure @ Failure::Refused(_))) => return Err(failure.into()),
                // Reading changes nothing: it may be tried again, for as long as there is time.
                Ok(Err(failure)) => {
                    if until <= Instant::now() {
                        return Err(failure.into());
                    }
                    let pause = rand::rng().random_range(5..100);
                    sleep(Duration::from_millis(pause)).await;
                    Some(before)
                }
                Err(_) => return Err(LockError::Unavailable("etcd: no answer in time".to_owned())),
            };
        }
        let Ok(ends_at) = self.session.ends_at() else {
            self.shared.retire(&self.session).await;
            return Ok(None);
        };
        let (token, round_trips) = (self.revision, *round_trips);
        let identity = Arc::clone(&self.session.identity);
        let lease = Box::new(self);
        Ok(Some(Granted { token, identity, ends_at: Some(ends_at), round_trips, lease }))
    }

    /// Creates the key; returns who is before it. Nothing where the lease was lost.
    async fn join(&mut self, until: Instant) -> Result<Option<Option<String>>, LockError> {
        let (wire, session) = (Arc::clone(&self.shared.wire), Arc::clone(&self.session));
        let (queue, name) = (self.queue.clone(), self.name.clone());
        self.may_stand = true;
        let request = tokio::spawn(async move { join(&wire, session.lease, &queue, &name).await });
        let answer = timeout_at(until + LAST_ANSWER, self.request.insert(request)).await;
        let Ok(answer) = answer else {
            return Err(LockError::Unavailable("etcd: no answer in time".to_owned()));
        };
        self.request = None;
        match answer.unwrap_or_else(|ended| Err(Failure::Unknown(ended.to_string()))) {
            Ok(joined) => {
                self.revision = joined.revision;
                Ok(Some(joined.predecessor))
            }
            Err(Failure::NoSuchLease) => {
                self.may_stand = false;
                self.session.is_gone();
                Ok(None)
            }
            Err(failure @ Failure::Refused(_)) => {
                self.may_stand = false;
                Err(failure.into())
            }
            Err(failure @ Failure::Unknown(_)) => {
                self.shared.retire(&self.session).await;
                Err(failure.into())
            }
        }
    }

    /// Who is before us now, if anybody. Nothing where our own key is gone.
    async fn check(&self) -> Result<Option<Option<String>>, Failure> {
        let max_create_revision = self.revision - 1;
        let last = RangeRequest { max_create_revision, ..last_in(&self.queue, 1) };
        let answer = self.shared.wire.txn(TxnRequest {
            compare: vec![Compare::created_by(&self.name, self.revision)],
            success: vec![Op::Range(last).into()],
            failure: Vec::new(),
        });
        let answer = answer.await?;
        if !answer.succeeded {
            return Ok(None);
        }
        let predecessor = answer.found().pop();
        Ok(Some(predecessor.map(|found| String::from_utf8_lossy(&found.key).into_owned())))
    }

    /// Deletes the key, if it is the one that we created.
    async fn leave(&mut self) -> Result<Released, LockError> {
        let deleted = delete(&self.shared.wire, &self.name, self.revision).await?;
        self.may_stand = false;
        Ok(if deleted { Released::Owned } else { Released::AlreadyGone })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Without a runtime the process is about to end, and the lease runs out.
        if !self.may_stand {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, session) = (Arc::clone(&self.shared), Arc::clone(&self.session));
        let (name, request) = (std::mem::take(&mut self.name), self.request.take());
        runtime.spawn(async move {
            if let Some(request) = request
                && !matches!(request.await, Ok(Ok(_) | Err(Failure::Refused(_))))
            {
                shared.retire(&session).await;
            }
            // When the lease is over the key is, too.
            while session.ends_at().is_ok() && delete(&shared.wire, &name, 0).await.is_err() {
                let pause = rand::rng().random_range(20..200);
                sleep(Duration::from_millis(pause)).await;
            }
        });
    }
}

impl Lease for Place {
    /// The lease is renewed for all locks together; here is only told how that stands.
    fn renew(&self) -> BoxFuture<'_, Result<Option<Instant>, LockError>> {
        Box::pin(async { self.session.ends_at().map(Some) })
    }

    fn release(mut self: Box<Self>) -> BoxFuture<'static, Result<Released, LockError>> {
        Box::pin(async move { self.leave().await })
    }
}

/// The last `limit` of those who have joined `queue`, the very last first.
fn last_in(queue: &str, limit: i64) -> RangeRequest {
    RangeRequest {
        key: queue.into(),
        range_end: range_end(queue),
        limit,
        sort_order: DESCENDING,
        sort_target: BY_CREATION,
        max_create_revision: 0,
    }
}

async fn join(wire: &Wire, lease: i64, queue: &str, name: &str) -> Result<Joined, Failure> {
    let put = PutRequest { key: name.into(), value: Vec::new(), lease };
    let answer = wire.txn(TxnRequest {
        compare: vec![Compare::created_by(name, 0)],
        success: vec![Op::Put(put).into(), Op::Range(last_in(queue, 2)).into()],
        failure: Vec::new(),
    });
    // Ours comes first, for it was just created; another's next, if there is one.
    let mut found = answer.await?.found().into_iter();
    match (found.next(), found.next()) {
        (Some(own), before) if own.key == name.as_bytes() => {
            let predecessor = before.map(|found| String::from_utf8_lossy(&found.key).into_owned());
            Ok(Joined { revision: own.create_revision, predecessor })
        }
        _ => Err(Failure::Unknown("the holder's key stood there before".to_owned())),
    }
}

/// Deletes the key if revision `revision` created it; with 0, whichever did. Whether it stood.
async fn delete(wire: &Wire, name: &str, revision: i64) -> Result<bool, Failure> {
    let compare = (revision != 0).then(|| Compare::created_by(name, revision));
    let answer = wire.txn(TxnRequest {
        compare: compare.into_iter().collect(),
        success: vec![Op::Delete(DeleteRangeRequest { key: name.into() }).into()],
        failure: Vec::new(),
    });
    Ok(answer.await?.deleted() > 0)
}
