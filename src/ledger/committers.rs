//! The few who carry out decisions that were answered early.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use crate::ledger::postgres::Inner;
use crate::ledger::postgres_holds;
use crate::outcome::Finish;
use crate::shards::prepared;
use crate::transfer::{Branch, ShardIndex};
use crate::verbs::Gid;

/// How many transfers may wait for the committers of early answers.
const QUEUED_MAX: usize = 256;
/// How many there are on each thread.
const COMMITTERS: usize = 2;

/// What is decided and not carried out.
pub(super) enum Work {
    /// Branches to be committed, and where.
    CommitPrepared(Vec<(ShardIndex, Gid)>),
    /// Holds to be confirmed.
    Confirm([Branch; 2]),
}

/// Decided work, and what tells by its life that it is not yet done.
pub(super) struct Order {
    /// What is to be done.
    pub(super) work: Work,
    /// A clone of a token whose owner is alone again once all orders are done.
    pub(super) _unfinished: Arc<()>,
}

/// Orders waiting for a committer.
type Queue = Arc<Mutex<mpsc::Receiver<Order>>>;

/// Starts them; they end when the last sender is gone.
pub(super) fn start(inner: &Arc<Inner>) -> mpsc::Sender<Order> {
    let (orders, queue) = mpsc::channel(QUEUED_MAX);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..COMMITTERS {
        tokio::spawn(commit_queued(Arc::clone(inner), Arc::clone(&queue)));
    }
    orders
}

async fn commit_queued(inner: Arc<Inner>, queue: Queue) {
    loop {
        let next = queue.lock().await.recv().await;
        let Some(order) = next else { return };
        // Whatever is not finished here is finished by recovery: the decision stands.
        match &order.work {
            Work::CommitPrepared(branches) => commit(&inner, branches).await,
            Work::Confirm(branches) => {
                for branch in branches {
                    postgres_holds::confirm(&inner.messenger, branch).await;
                }
            }
        }
    }
}

async fn commit(inner: &Inner, branches: &[(ShardIndex, Gid)]) {
    let mut all_done = true;
    for (shard, gid) in branches {
        all_done &= inner.messenger.finish(*shard, &prepared::commit(gid)).await == Finish::Done;
    }
    if all_done && let Some((shard, gid)) = branches.first() {
        inner.forget(&gid.decision_key(*shard));
    }
}
