//! Processes and the epochs that they live through.

use std::collections::{BTreeMap, BTreeSet};

use crate::outcome::Verdict;
use crate::transfer::{Epoch, TransferId};

#[derive(Debug, Clone, Hash)]
pub(in crate::simulation) struct Life {
    pub(in crate::simulation) process: usize,
    pub(in crate::simulation) is_locked: bool,
    pub(in crate::simulation) is_open: bool,
    /// What is in the file; where a transfer is in it twice, the later record.
    pub(in crate::simulation) file: BTreeMap<TransferId, Verdict>,
    /// What the first owner has forgotten.
    pub(in crate::simulation) forgotten: BTreeSet<TransferId>,
    pub(in crate::simulation) file_owner: usize,
    /// A write failed: nobody knows what is in the file until it is read again.
    pub(in crate::simulation) is_poisoned: bool,
}

#[derive(Debug, Clone, Hash)]
pub(in crate::simulation) struct Process {
    pub(in crate::simulation) is_alive: bool,
    /// The life it leads now.
    pub(in crate::simulation) life: usize,
    /// Whether its epoch's lock can go before the end.
    pub(in crate::simulation) may_end: bool,
}

/// The epoch that a life is numbered by.
pub(in crate::simulation) fn epoch_of(life: usize) -> Epoch {
    Epoch(i64::try_from(life + 1).expect("few epochs"))
}

pub(in crate::simulation) fn life_of(epoch: Epoch) -> usize {
    usize::try_from(epoch.0 - 1).expect("epochs count from 1")
}
