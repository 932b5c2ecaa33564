//! The few who carry out decisions that were answered early.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use crate::ledger::postgres::Inner;
use crate::outcome::Finish;
use crate::shards::prepared;
use crate::transfer::ShardIndex;
use crate::verbs::Gid;

/// How many transfers may wait for the committers of early answers.
const QUEUED_MAX: usize = 256;
/// How many there are on each thread.
const COMMITTERS: usize = 2;

/// The branches of a decided transfer, and what tells by its life that they are not yet done.
pub(super) struct Order {
    /// What is to be committed, and where.
    pub(super) branches: Vec<(ShardIndex, Gid)>,
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
        let mut all_done = true;
        for (shard, gid) in &order.branches {
            // Whatever is not finished here is finished by recovery: the decision stands.
            all_done &=
                inner.messenger.finish(*shard, &prepared::commit(gid)).await == Finish::Done;
        }
        if all_done && let Some((_, gid)) = order.branches.first() {
            inner.forget(&gid.decision_key());
        }
    }
}
