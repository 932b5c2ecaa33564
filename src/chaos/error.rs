//! What stops a scenario before it has an answer.

use std::path::PathBuf;

use crate::local::LocalError;
use crate::outcome::ShardError;
use crate::shards::creation::{CreationError, PlanError};

/// The scenario could not be carried out. It says nothing of the money.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// A local server would not do what it was told.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The accounts cannot be had.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The bank was not made.
    #[error(transparent)]
    Creation(#[from] CreationError),
    /// A shard could not be looked at.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A file or a child process.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A child process that should have gone on has ended.
    #[error("{what} ended by itself ({status}); its last words: {words}")]
    Ended {
        /// Which.
        what: String,
        /// How.
        status: String,
        /// What it said.
        words: String,
    },
    /// Something that must happen in seconds has not.
    #[error("{what} within {seconds} s; the last that was heard: {words}")]
    TooLate {
        /// What was waited for, as in "no transfer committed".
        what: String,
        /// How long.
        seconds: u64,
        /// What was said meanwhile.
        words: String,
    },
}

impl ChaosError {
    /// For `map_err`: what was tried with which path.
    pub fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
