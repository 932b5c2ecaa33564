//! Waiting for a lock that somebody else holds, without asking all the time.
//!
//! A refused attempt leaves a mark for [`WANTED_FOR`]; a release publishes only where it finds
//! one, so that what nobody waits for costs no message. Each connection hears all of them and
//! wakes one of its own. Who is not woken, because the holder died or the message was lost, tries
//! again by himself after a jittered pause.
//!
//! Measured against such pauses alone (1 to 20 ms, as `SET NX` locks usually wait), 16 tasks on
//! two connections and one key, Redis 7.0 on the same two cores, two runs each:
//!
//! ```text
//!                     locks/s        wait p99        messages a lock   Jain's fairness
//! held 2 ms, pauses   286, 290       657, 710 ms     7.1, 7.1          0.86, 0.89
//! held 2 ms, woken    286, 292       280, 413 ms     5.5, 5.4          0.93, 0.89
//! no hold,   pauses   7393, 9813     48, 61 ms       2.3, 2.2          0.82, 0.86
//! no hold,   woken    7814, 8335     11, 17 ms       4.0, 3.9          0.99, 0.95
//! ```
//!
//! No queue: whoever comes at the right moment overtakes all who wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::transfer::{AccountId, ShardIndex};
use crate::verbs::locking::LockKey;

/// How long a refused attempt is remembered, so that a release is published.
pub(super) const WANTED_FOR: Duration = Duration::from_millis(250);

/// The longest time between two attempts; below [`WANTED_FOR`], of which each is the renewal.
const LONGEST: Duration = Duration::from_millis(100);

/// What the server and the messages call `key`.
pub(super) fn name(key: LockKey) -> String {
    format!("{}/{}", key.shard.0, key.account)
}

fn parse(name: &str) -> Option<LockKey> {
    let (shard, account) = name.split_once('/')?;
    let account = AccountId::new(account.parse().ok()?)?;
    Some(LockKey { shard: ShardIndex(shard.parse().ok()?), account })
}

/// Who waits, on this connection, for which lock.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<LockKey, Arc<Notify>>>);

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting for {} locks", self.places().len())
    }
}

impl Waiting {
    fn places(&self) -> MutexGuard<'_, HashMap<LockKey, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place among those who wait for `key`.
    pub(super) fn join(self: &Arc<Self>, key: LockKey) -> Place {
        let bell = Arc::clone(self.places().entry(key).or_default());
        Place { waiting: Arc::clone(self), key, bell }
    }

    /// Wakes one of those who wait for what `push` says was released: a second one here would
    /// find it taken by the first.
    pub(super) fn hear(&self, push: &PushInfo) {
        if push.kind != PushKind::Message {
            return;
        }
        let Some(Value::BulkString(name)) = push.data.last() else { return };
        let Some(key) = std::str::from_utf8(name).ok().and_then(parse) else { return };
        if let Some(bell) = self.places().get(&key) {
            bell.notify_one();
        }
    }
}

/// A place among those who wait for one lock.
pub(super) struct Place {
    waiting: Arc<Waiting>,
    key: LockKey,
    bell: Arc<Notify>,
}

impl Place {
    /// Until it is this one's turn to try, or `latest`. A release that was heard between two
    /// waits counts.
    pub(super) async fn wait(&self, latest: Instant) {
        // Both ends of it mean the same: try again.
        let _ = timeout_at(latest, self.bell.notified()).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(entry) = self.waiting.places().entry(self.key) {
            // Ours and the map's: nobody else is there.
            if Arc::strong_count(entry.get()) <= 2 {
                entry.remove();
            }
        }
    }
}

/// How long to wait for the next attempt, unless woken.
pub(super) struct Patience {
    longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { longest: Duration::from_millis(10) }
    }
}

impl Patience {
    /// Full jitter (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>),
    /// growing; no longer than `left`, the holder's lease, whose end nobody publishes.
    pub(super) fn next(&mut self, left: Option<Duration>) -> Duration {
        self.longest = (self.longest * 2).min(LONGEST);
        let shortest = Duration::from_millis(1);
        let chosen = rand::rng().random_range(shortest..=self.longest);
        left.map_or(chosen, |left| chosen.min(left + shortest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_lock_it_is() {
        let key = LockKey { shard: ShardIndex(3), account: AccountId::new(17).unwrap() };
        assert_eq!(parse(&name(key)), Some(key));
        assert_eq!(parse("3/0"), None);
        assert_eq!(parse("3"), None);
    }

    #[test]
    fn the_last_to_leave_leaves_nothing() {
        let key = LockKey { shard: ShardIndex(0), account: AccountId::new(1).unwrap() };
        let waiting = Arc::new(Waiting::default());
        let (one, other) = (waiting.join(key), waiting.join(key));
        drop(one);
        assert_eq!(waiting.places().len(), 1);
        drop(other);
        assert_eq!(waiting.places().len(), 0);
    }
}
