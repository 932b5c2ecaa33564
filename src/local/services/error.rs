//! What can keep a lock server from running, each with its remedy.

use std::path::PathBuf;
use std::process::ExitStatus;

use super::ServiceKind;
use crate::local::LocalError;

/// Why something about a lock server could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// What it needs was found nowhere.
    #[error(
        "{kind} cannot be started: no {what} found in {looked}{rejected}; install it (on Debian \
         and Ubuntu: `apt-get install {}`), name it with {flag} or {variable}, or use a server of \
         your own with {}", kind.packages(), kind.address_flag()
    )]
    Missing {
        /// Of which server.
        kind: ServiceKind,
        /// Its program or other file.
        what: &'static str,
        /// Where it was looked for.
        looked: String,
        /// What was found there and why it would not do; empty, or begins with a space.
        rejected: String,
        /// The flag that names it.
        flag: &'static str,
        /// The variable that does.
        variable: &'static str,
    },
    /// What was named cannot be used.
    #[error("{} cannot be used as {what}: {reason}; correct {named_by}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What it was to be.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
        /// The flag or variable that named it.
        named_by: &'static str,
    },
    /// It ended instead of serving.
    #[error("{kind} ended while it started ({status}); its log: {log}")]
    Ended {
        /// Which server.
        kind: ServiceKind,
        /// How.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// It was started and does not serve.
    #[error("{kind} does not serve after {seconds} s; its log: {log}")]
    NotReady {
        /// Which server.
        kind: ServiceKind,
        /// How long was waited.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },
    /// As with any local server.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl ServiceError {
    /// Whether the server is simply not installed, so that one could do without it.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}
