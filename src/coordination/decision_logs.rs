//! The decision logs that this process owns: its own epochs', and those of dead coordinators
//! that it has adopted.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::coordination::decision_file::LogError;
use crate::coordination::decision_log::DecisionLog;
use crate::transfer::{ClusterId, Epoch};

/// All logs of one directory that this process has had to do with.
#[derive(Clone)]
pub struct DecisionLogs {
    directory: PathBuf,
    cluster: ClusterId,
    owned: Arc<Mutex<HashMap<Epoch, DecisionLog>>>,
}

impl DecisionLogs {
    /// The logs of `cluster` in `directory`. Nothing is opened before it is asked for.
    #[must_use]
    pub fn new(directory: PathBuf, cluster: ClusterId) -> Self {
        Self { directory, cluster, owned: Arc::default() }
    }

    /// The log of this process's own `epoch`, created when it is first asked for.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn own(&self, epoch: Epoch) -> Result<DecisionLog, LogError> {
        self.get(epoch, DecisionLog::create)
    }

    /// The log of `epoch`: one that this process owns already, or a dead coordinator's.
    ///
    /// # Errors
    /// There is none, its owner lives, or it cannot be used.
    pub fn of(&self, epoch: Epoch) -> Result<DecisionLog, LogError> {
        self.get(epoch, DecisionLog::adopt)
    }

    fn get(
        &self,
        epoch: Epoch,
        open: fn(&std::path::Path, ClusterId, Epoch) -> Result<DecisionLog, LogError>,
    ) -> Result<DecisionLog, LogError> {
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = owned.get(&epoch) {
            return Ok(log.clone());
        }
        let log = open(&self.directory, self.cluster, epoch)?;
        owned.insert(epoch, log.clone());
        Ok(log)
    }

    /// How many times files were synced for decisions, by this process.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.values().map(DecisionLog::syncs).sum()
    }

    /// The first of this process's logs that has failed, if one has.
    ///
    /// # Errors
    /// A log has failed: nothing that needs one may be started.
    pub fn check(&self) -> Result<(), LogError> {
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.values().try_for_each(DecisionLog::check)
    }

    /// Removes the file of `epoch`, which this process owns and nothing prepared refers to any
    /// more. Its aborts are legs by then, and so are its commits.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn retire(&self, epoch: Epoch) -> std::io::Result<()> {
        let log = self.owned.lock().unwrap_or_else(PoisonError::into_inner).remove(&epoch);
        log.map_or(Ok(()), |log| std::fs::remove_file(log.path()))
    }
}
