//! The decision log as a file: one coordinator's verdicts, appended and synced in groups.
//!
//! One writer thread appends whatever has gathered and syncs once for all of it; nobody is
//! answered before that. A write or sync that fails leaves its whole group *unknown*: it may
//! be found after a crash or not, so nobody is answered and the log takes nothing more.
//!
//! An exclusive lock on the file says who owns it, and only its owner resolves its gids. To
//! recover a log, its valid prefix is copied to a new file, which is synced and put in the old
//! one's place *before* anything is done on its strength: what lies behind a torn record must
//! never come back to life.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::coordination::decision_file::{DecisionFile, LogError};
use crate::coordination::decision_record::encode;
use crate::outcome::{Decision, Verdict};
use crate::transfer::{ClusterId, Epoch, TransferId};

/// How many decisions may wait for the writer.
const QUEUE: usize = 4096;

/// The log of one epoch, owned by this process.
#[derive(Clone)]
pub struct DecisionLog {
    shared: Arc<Shared>,
    queue: mpsc::SyncSender<Order>,
}

struct Shared {
    path: PathBuf,
    /// What is decided and not yet forgotten.
    standing: Mutex<HashMap<TransferId, Standing>>,
    failed: Mutex<Option<String>>,
    syncs: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    /// On its way to the disk: whoever asks must wait.
    Wanted,
    /// Synced.
    Durable(Verdict),
}

/// What became of a decision that was handed over.
enum Queued {
    /// Another stands.
    Stands(Verdict),
    /// The writer has it and will answer here.
    Waiting(oneshot::Receiver<Result<(), String>>),
}

struct Order {
    transfer: TransferId,
    verdict: Verdict,
    done: oneshot::Sender<Result<(), String>>,
}

/// Where the log of `epoch` lies in `directory`.
#[must_use]
pub fn path_of(directory: &Path, cluster: ClusterId, epoch: Epoch) -> PathBuf {
    directory.join(format!("decisions-{cluster}-{epoch}.log"))
}

impl DecisionLog {
    /// A new, empty log of this process's own `epoch`.
    ///
    /// # Errors
    /// It cannot be created or locked.
    pub fn create(directory: &Path, cluster: ClusterId, epoch: Epoch) -> Result<Self, LogError> {
        let path = path_of(directory, cluster, epoch);
        let file = DecisionFile::create(&path)?;
        Ok(Self::start(path, file, HashMap::new()))
    }

    /// The log that a dead coordinator left.
    ///
    /// # Errors
    /// There is none, its owner lives, or it cannot be copied.
    pub fn adopt(directory: &Path, cluster: ClusterId, epoch: Epoch) -> Result<Self, LogError> {
        let path = path_of(directory, cluster, epoch);
        let (file, verdicts) = DecisionFile::adopt(&path, epoch)?;
        let mut standing: HashMap<TransferId, Verdict> = HashMap::new();
        for (transfer, verdict) in verdicts {
            let first = standing.entry(transfer).or_insert(verdict);
            // The first writer decides, in a file as in a table. But an id is decided `commit` once
            // more only where the order before was carried out on both shards and forgotten: then
            // only branches of the later one can be left.
            if (first.decision, verdict.decision) == (Decision::Commit, Decision::Commit) {
                *first = verdict;
            }
        }
        let standing = standing.into_iter().map(|(id, verdict)| (id, Standing::Durable(verdict)));
        Ok(Self::start(path, file, standing.collect()))
    }

    fn start(path: PathBuf, file: DecisionFile, standing: HashMap<TransferId, Standing>) -> Self {
        let shared = Arc::new(Shared {
            path,
            standing: Mutex::new(standing),
            failed: Mutex::new(None),
            syncs: AtomicU64::new(0),
        });
        let (queue, orders) = mpsc::sync_channel(QUEUE);
        let writer = Arc::clone(&shared);
        std::thread::spawn(move || write_groups(&writer, file, &orders));
        Self { shared, queue }
    }

    /// Writes `wanted` unless a decision stands; returns the one that stands, durably.
    ///
    /// # Errors
    /// The log failed: `wanted` may be found after a crash or not.
    pub async fn decide(&self, transfer: TransferId, wanted: Verdict) -> Result<Verdict, LogError> {
        let answer = loop {
            self.check()?;
            match self.queue_unless_standing(transfer, wanted)? {
                Some(Queued::Stands(standing)) => return Ok(standing),
                Some(Queued::Waiting(answer)) => break answer,
                None => {}
            }
            // A decision on the same transfer is on its way to the disk, or the queue is full: it
            // empties within one sync.
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        match answer.await {
            Ok(Ok(())) => Ok(wanted),
            Ok(Err(_)) | Err(_) => Err(self.failure()),
        }
    }

    /// Hands `wanted` to the writer and notes that it is under way, both or neither: whoever calls
    /// may be dropped at any moment. Nothing where that has to wait.
    fn queue_unless_standing(
        &self,
        transfer: TransferId,
        wanted: Verdict,
    ) -> Result<Option<Queued>, LogError> {
        let mut standing = self.shared.standing.lock().unwrap_or_else(PoisonError::into_inner);
        match standing.get(&transfer) {
            Some(Standing::Durable(verdict)) => return Ok(Some(Queued::Stands(*verdict))),
            Some(Standing::Wanted) => return Ok(None),
            None => {}
        }
        let (done, answer) = oneshot::channel();
        match self.queue.try_send(Order { transfer, verdict: wanted, done }) {
            Ok(()) => {
                standing.insert(transfer, Standing::Wanted);
                Ok(Some(Queued::Waiting(answer)))
            }
            Err(mpsc::TrySendError::Full(_)) => Ok(None),
            Err(mpsc::TrySendError::Disconnected(_)) => Err(self.failure()),
        }
    }

    /// Forgets a decision that nobody can ask for any more: both branches have been carried out.
    /// It stays in the file.
    pub fn forget(&self, transfer: TransferId) {
        self.shared.standing.lock().unwrap_or_else(PoisonError::into_inner).remove(&transfer);
    }

    /// Whether the log still takes decisions.
    ///
    /// # Errors
    /// It has failed.
    pub fn check(&self) -> Result<(), LogError> {
        let failed = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some() {
            drop(failed);
            return Err(self.failure());
        }
        Ok(())
    }

    fn failure(&self) -> LogError {
        let failed = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let cause = failed.clone().unwrap_or_else(|| "its writer has ended".to_owned());
        LogError::Failed { path: self.shared.path.clone(), cause }
    }

    /// How many times the file was synced for decisions.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

/// Appends whatever has gathered, syncs once, answers all of it.
fn write_groups(shared: &Shared, mut file: DecisionFile, orders: &mpsc::Receiver<Order>) {
    let mut group: Vec<Order> = Vec::new();
    let mut bytes = Vec::new();
    while let Ok(first) = orders.recv() {
        group.push(first);
        group.extend(orders.try_iter());
        bytes.clear();
        for order in &group {
            encode(order.transfer, order.verdict, &mut bytes);
        }
        let written = file.append(&bytes);
        shared.syncs.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = written {
            // Nothing may be concluded from this file any more: neither that these decisions
            // stand, nor that they do not.
            *shared.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            for order in group.drain(..) {
                let _nobody_waits = order.done.send(Err(error.to_string()));
            }
            return;
        }
        {
            let mut standing = shared.standing.lock().unwrap_or_else(PoisonError::into_inner);
            for order in &group {
                standing.insert(order.transfer, Standing::Durable(order.verdict));
            }
        }
        for order in group.drain(..) {
            let _nobody_waits = order.done.send(Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{AbortReason, Refusal};
    use crate::transfer::{Participants, ShardIndex};
    use uuid::Uuid;

    const ABORT: Verdict = Verdict {
        decision: Decision::Abort(Refusal::Aborted(AbortReason::Superseded)),
        participants: None,
    };
    const COMMIT: Verdict = Verdict {
        decision: Decision::Commit,
        participants: Some(Participants { debit: ShardIndex(0), credit: ShardIndex(1) }),
    };

    fn directory() -> PathBuf {
        let directory = std::env::temp_dir().join(format!("shardbank-log-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        directory
    }

    #[tokio::test]
    async fn the_first_decision_stands_and_survives_its_owner() {
        let directory = directory();
        let (cluster, epoch) = (ClusterId(Uuid::new_v4()), Epoch(3));
        let log = DecisionLog::create(&directory, cluster, epoch).expect("created");
        let (one, two) = (TransferId::fresh(), TransferId::fresh());
        assert_eq!(log.decide(one, COMMIT).await.expect("decided"), COMMIT);
        assert_eq!(log.decide(one, ABORT).await.expect("asked"), COMMIT);
        assert_eq!(log.decide(two, ABORT).await.expect("decided"), ABORT);

        let second = DecisionLog::adopt(&directory, cluster, epoch);
        assert!(matches!(second, Err(LogError::Owned { .. })), "its owner lives");
        drop(log);
        // The writer thread ends, and with it the lock, when the last sender is gone.
        let adopted = loop {
            match DecisionLog::adopt(&directory, cluster, epoch) {
                Ok(adopted) => break adopted,
                Err(LogError::Owned { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(adopted.decide(one, ABORT).await.expect("asked"), COMMIT);
        assert_eq!(adopted.decide(two, COMMIT).await.expect("asked"), ABORT);
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[tokio::test]
    async fn the_first_of_two_records_on_a_transfer_stands() {
        let directory = directory();
        let (cluster, transfer) = (ClusterId(Uuid::new_v4()), TransferId::fresh());
        let mut bytes = Vec::new();
        encode(transfer, COMMIT, &mut bytes);
        encode(transfer, ABORT, &mut bytes);
        std::fs::write(path_of(&directory, cluster, Epoch(1)), bytes).expect("written");
        let log = DecisionLog::adopt(&directory, cluster, Epoch(1)).expect("adopted");
        assert_eq!(log.decide(transfer, ABORT).await.expect("asked"), COMMIT);
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[tokio::test]
    async fn of_two_orders_that_were_carried_out_under_one_id_the_later_stands() {
        let directory = directory();
        let (cluster, transfer) = (ClusterId(Uuid::new_v4()), TransferId::fresh());
        let later = Participants { debit: ShardIndex(2), credit: ShardIndex(0) };
        let later = Verdict { participants: Some(later), ..COMMIT };
        let mut bytes = Vec::new();
        for verdict in [COMMIT, later, ABORT] {
            encode(transfer, verdict, &mut bytes);
        }
        std::fs::write(path_of(&directory, cluster, Epoch(1)), bytes).expect("written");
        let log = DecisionLog::adopt(&directory, cluster, Epoch(1)).expect("adopted");
        assert_eq!(log.decide(transfer, ABORT).await.expect("asked"), later);
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[tokio::test]
    async fn what_a_full_disk_did_not_take_is_unknown_and_nothing_more_is_taken() {
        let path = PathBuf::from("/dev/full");
        let log = DecisionLog::start(path, DecisionFile::on_a_full_disk(0), HashMap::new());
        log.check().expect("it has not failed yet");
        let (one, two) = (TransferId::fresh(), TransferId::fresh());
        let both = futures_util::join!(log.decide(one, COMMIT), log.decide(two, COMMIT));
        assert!(matches!(both, (Err(LogError::Failed { .. }), Err(LogError::Failed { .. }))));
        assert!(matches!(log.check(), Err(LogError::Failed { .. })));
        // Neither what was asked before nor anything new gets an answer: `abort` least of all.
        for transfer in [one, TransferId::fresh()] {
            assert!(matches!(log.decide(transfer, ABORT).await, Err(LogError::Failed { .. })));
        }
    }

    #[test]
    fn a_log_that_is_not_there_is_never_taken_for_an_empty_one() {
        let directory = directory();
        let missing = DecisionLog::adopt(&directory, ClusterId(Uuid::new_v4()), Epoch(1));
        assert!(matches!(missing, Err(LogError::Missing { .. })));
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
