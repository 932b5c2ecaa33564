//! One watch for all who wait.
//!
//! A watch for each wait would cost up to 100 ms: one whose start is not newer than the store is
//! served by a loop with that period (<https://github.com/etcd-io/etcd/issues/16839>). So there
//! is one, on all queues, deletions only, begun at "now" and never closed. Interest is announced
//! before the queue is read, so that no deletion between the two is missed and the queue need not
//! be read a second time; when the watch had to be opened again, everybody looks again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::wire::Wire;

/// Who waits for deletions, by the queue.
#[derive(Debug, Default)]
pub(super) struct Watching(Mutex<HashMap<String, Vec<Arc<Eye>>>>);

#[derive(Debug)]
struct Eye {
    seen: Mutex<Seen>,
    bell: Notify,
}

#[derive(Debug)]
enum Seen {
    /// What was deleted while it is not known yet what will be waited for.
    All(Vec<String>),
    /// All that matters.
    Only(String),
}

impl Eye {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue that `key` stands in, up to its last slash.
fn queue_of(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}

impl Watching {
    fn eyes(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Eye>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to look at `queue`, whose name ends in a slash.
    pub(super) fn look(self: &Arc<Self>, queue: &str) -> Look {
        let eye = Arc::new(Eye { seen: Mutex::new(Seen::All(Vec::new())), bell: Notify::new() });
        self.eyes().entry(queue.to_owned()).or_default().push(Arc::clone(&eye));
        Look { watching: Arc::clone(self), queue: queue.to_owned(), eye }
    }

    fn deleted(&self, key: &str) {
        for eye in self.eyes().get(queue_of(key)).into_iter().flatten() {
            match &mut *eye.seen() {
                Seen::All(seen) => seen.push(key.to_owned()),
                Seen::Only(wanted) if wanted == key => eye.bell.notify_one(),
                Seen::Only(_) => {}
            }
        }
    }

    /// Whatever was deleted before the watch began was missed.
    fn begun(&self) {
        for eye in self.eyes().values().flatten() {
            eye.bell.notify_one();
        }
    }

    /// Watches everything below `prefix`, for ever.
    pub(super) async fn watch(self: Arc<Self>, wire: Arc<Wire>, prefix: String) {
        loop {
            if let Ok(mut answers) = wire.watch(&prefix).await {
                while let Ok(Some(answer)) = answers.message().await {
                    if answer.canceled {
                        // Perhaps for want of a token that is still valid.
                        wire.log_out();
                        break;
                    }
                    if answer.created {
                        self.begun();
                    }
                    for deleted in answer.events.into_iter().filter_map(|event| event.kv) {
                        self.deleted(&String::from_utf8_lossy(&deleted.key));
                    }
                }
            }
            let pause = rand::rng().random_range(50..200);
            sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// Somebody's look at one queue.
pub(super) struct Look {
    watching: Arc<Watching>,
    queue: String,
    eye: Arc<Eye>,
}

impl Look {
    /// To be said before the queue is read.
    pub(super) fn about_to_read(&self) {
        *self.eye.seen() = Seen::All(Vec::new());
    }

    /// Until `key`, found by reading, is deleted, or `latest`; or something was missed.
    pub(super) async fn wait(&self, key: &str, latest: Instant) {
        let before = std::mem::replace(&mut *self.eye.seen(), Seen::Only(key.to_owned()));
        if matches!(before, Seen::All(seen) if seen.iter().any(|deleted| deleted == key)) {
            return;
        }
        // All ends of it mean the same: look again.
        let _ = timeout_at(latest, self.eye.bell.notified()).await;
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let mut eyes = self.watching.eyes();
        if let Some(of_queue) = eyes.get_mut(&self.queue) {
            of_queue.retain(|eye| !Arc::ptr_eq(eye, &self.eye));
            if of_queue.is_empty() {
                eyes.remove(&self.queue);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(look: &Look, key: &str) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let latest = Instant::now() + Duration::from_millis(20);
            look.wait(key, latest).await;
            Instant::now() >= latest
        })
    }

    #[test]
    fn what_was_deleted_between_the_look_and_the_wait_counts() {
        let watching = Arc::new(Watching::default());
        let look = watching.look("0/1/");
        watching.deleted("0/1/a");
        assert!(!waited(&look, "0/1/a"));
        assert!(waited(&look, "0/1/b"), "nobody deleted it");
        look.about_to_read();
        assert!(waited(&look, "0/1/a"), "that was before the queue was read");
        watching.deleted("0/1/a");
        assert!(!waited(&look, "0/1/a"));
        watching.begun();
        assert!(!waited(&look, "0/1/b"), "it may have been missed");
        drop(look);
        assert!(watching.eyes().is_empty());
    }
}
