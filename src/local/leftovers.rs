//! Ephemeral clusters whose owner was killed together with its janitor: their lock is free.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::LocalError;
use super::directory::{EPHEMERAL_PREFIX, Lifetime, Lock, State, remove_all};
use super::processes::{Process, wait_until};

/// How long servers get for an immediate shutdown before they are killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts at removing what is still written to.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What was found of earlier runs.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Stopped and removed.
    pub removed: Vec<PathBuf>,
    /// Clusters of runs that go on.
    pub in_use: Vec<PathBuf>,
    /// What could not be removed, and why.
    pub failed: Vec<LocalError>,
}

/// Stops and removes the ephemeral clusters in `TMPDIR` that no living process owns.
#[must_use]
pub fn remove() -> Leftovers {
    let mut found = Leftovers::default();
    let Ok(parent) = fs::canonicalize(std::env::temp_dir()) else { return found };
    let Ok(entries) = fs::read_dir(parent) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(EPHEMERAL_PREFIX) || !is_ours(&path) {
            continue;
        }
        // Killed before it had a lock: empty. One that is just being made gets another name.
        if fs::remove_dir(&path).is_ok() {
            found.removed.push(path);
            continue;
        }
        let Some(lock) = Lock::try_existing(&path) else {
            found.in_use.push(path);
            continue;
        };
        if !is_ephemeral(&path) {
            continue;
        }
        match tear_down(&path) {
            Ok(()) => found.removed.push(path),
            Err(error) => found.failed.push(error),
        }
        drop(lock);
    }
    found
}

/// Stops everything that works in the directory of an ephemeral cluster and removes it. The
/// caller holds its lock.
pub(super) fn tear_down(path: &Path) -> Result<(), LocalError> {
    let state = State::read(path);
    // A program that was about to start a server when its parent died may do so between the
    // look and the removal; and the server that initdb talks to, which does not name its directory,
    // still writes there until it hears that initdb is gone.
    let started = Instant::now();
    loop {
        end_all_in(path);
        let sockets = match &state {
            Ok(Some(state)) => remove_all(&state.socket_directory),
            _ => Ok(()),
        };
        let removed = sockets.and(remove_all(path));
        let is_over = removed.is_ok() && Process::all_in(path).is_empty();
        if is_over || started.elapsed() >= PATIENCE {
            return removed;
        }
        sleep(AGAIN_AFTER);
    }
}

/// Stops everything that works in `path`: a Postgres as in a crash, anything else by `kill -9`.
pub(super) fn end_all_in(path: &Path) {
    let started = Instant::now();
    wait_until(PATIENCE * 2, || {
        let processes = Process::all_in(path);
        for process in &processes {
            if process.is_postmaster() && started.elapsed() < PATIENCE {
                // Immediate shutdown; the data is thrown away. One that was stopped by a signal
                // would not hear it.
                process.signal(Signal::QUIT);
                process.signal(Signal::CONT);
            } else {
                process.signal(Signal::KILL);
            }
        }
        processes.is_empty()
    });
}

/// Whether `path` holds, by its name and state, nothing that was meant to stay.
pub(super) fn is_ephemeral(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kept = State::read(path)
        .is_ok_and(|state| state.is_some_and(|state| state.lifetime == Lifetime::Persistent));
    name.starts_with(EPHEMERAL_PREFIX) && !kept
}

/// In a directory that everybody can write to, others could lay out one with this name.
fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_dir() && found.uid() == rustix::process::geteuid().as_raw())
}
