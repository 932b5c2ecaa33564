//! The relays that run beside the transfers of one thread.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::join;
use tokio::task::AbortHandle;

use crate::coordination::bells::Bells;
use crate::ledger::postgres::PostgresVerbs;
use crate::shards::cluster::Cluster;
use crate::transfer::ShardIndex;
use crate::verbs::Verbs;
use crate::verbs::events::{Beside, RelayTerms};

/// How long connecting for a listener may take, and how long it rests when that fails.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// What a value of verbs is to relays: their keeper, or one of them.
#[derive(Clone)]
pub(super) enum Role {
    /// Whoever carries transfers. Its relays end with its last clone.
    Keeper(Arc<Relays>),
    /// A relay, which is busy for as long as it has a clone of the token that drains wait for.
    Relay(RelayTerms, Arc<Mutex<Option<Arc<()>>>>),
}

/// The relays of one thread.
#[derive(Default)]
pub(super) struct Relays {
    terms: OnceLock<RelayTerms>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner).iter().for_each(|task| {
            // Whatever it was at is left to others, as when its process dies.
            task.abort();
        });
    }
}

impl Role {
    /// How relays work, once they do.
    pub(super) fn terms(&self) -> Option<RelayTerms> {
        match self {
            Self::Keeper(relays) => relays.terms.get().copied(),
            Self::Relay(terms, _) => Some(*terms),
        }
    }

    /// Whether it is a relay.
    pub(super) const fn is_relay(&self) -> bool {
        matches!(self, Self::Relay(..))
    }

    /// A relay puts its token down while it waits, and takes one up again after.
    pub(super) fn hold(&self, token: Option<Arc<()>>) {
        if let Self::Relay(_, held) = self {
            *held.lock().unwrap_or_else(PoisonError::into_inner) = token;
        }
    }
}

impl PostgresVerbs {
    /// Starts `relay` on every shard, unless this value's relays run already.
    pub(super) fn start_relays<R: Beside>(&self, relay: R) {
        let Role::Keeper(relays) = &self.role else { return };
        let terms = relay.terms();
        if relays.terms.set(terms).is_err() {
            return;
        }
        let mut tasks = relays.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for shard in self.routing().shards() {
            let role = Role::Relay(terms, Arc::default());
            let verbs = self.in_role(role);
            let (bell, relay) = (self.bells().of(shard), relay.clone());
            let (cluster, bells) = (self.pools().cluster().clone(), self.bells().clone());
            let task = async move {
                // One of this process at a time; where its thread ends, another's takes over.
                let _turn = bell.turn.lock().await;
                verbs.role.hold(Some(verbs.unfinished()));
                if terms.notifies {
                    join!(relay.run(verbs, shard), listen(cluster, bells, shard));
                } else {
                    relay.run(verbs, shard).await;
                }
            };
            tasks.push(tokio::spawn(task).abort_handle());
        }
    }
}

/// Rings this process's bell whenever another writes an event on `shard`. A notification that is
/// missed costs a relay's poll interval.
async fn listen(cluster: Cluster, bells: Bells, shard: ShardIndex) {
    loop {
        let bell = bells.of(shard);
        let heard = move || bell.written.notify_one();
        // What goes wrong here is tried again: relays look for themselves meanwhile.
        cluster.target(shard).listen("shardbank_outbox", PATIENCE, heard).await.ok();
        tokio::time::sleep(PATIENCE).await;
    }
}
