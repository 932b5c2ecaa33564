//! One server: start, stop, look.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::LocalError;
use super::binaries::{Binaries, data_version};
use super::processes::{Process, wait_until};
use super::server_user::ServerUser;

/// Recovery after a crash under load may take a while.
const START_SECONDS: u64 = 300;
const FAST_STOP_LIMIT: Duration = Duration::from_secs(60);
/// The postmaster itself kills its children after five seconds.
const IMMEDIATE_STOP_LIMIT: Duration = Duration::from_secs(15);

/// After a kill -9 the children of the postmaster, and with them its lock file and shared memory,
/// may outlive it for a moment.
const RETRIED_FAILURES: [&str; 3] = [
    "lock file \"postmaster.pid\" already exists",
    "pre-existing shared memory block",
    "could not create any TCP/IP sockets",
];
const RETRY_LIMIT: Duration = Duration::from_secs(20);

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopMode {
    /// Sessions are ended, a checkpoint is written.
    Fast,
    /// As in a crash; the next start recovers from the log.
    Immediate,
}

/// What is known of a server without connecting to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// Which shard.
    pub shard: u16,
    /// The postmaster's process id; none where the server is not running.
    pub pid: Option<i32>,
    /// Major version of the data.
    pub version: Option<u32>,
    /// Size of the data directory.
    pub data_bytes: u64,
    /// The server's log.
    pub log: PathBuf,
}

/// One server of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) shard: u16,
    pub(super) directory: PathBuf,
    pub(super) binaries: Binaries,
    pub(super) user: ServerUser,
}

impl Server {
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The running postmaster.
    pub(super) fn postmaster(&self) -> Option<Process> {
        postmaster_in(&self.data())
    }

    /// Starts it and waits until it takes connections.
    pub(super) fn start(&self) -> Result<(), LocalError> {
        let started = Instant::now();
        loop {
            let log_bytes = fs::metadata(self.log()).map_or(0, |file| file.len());
            // pg_ctl gives the server a session of its own: Ctrl-C in the terminal of the tool
            // must not stop it before the tool has drained.
            let output = self
                .user
                .command(self.binaries.program("pg_ctl"))
                .args(["start", "--silent", "--wait", "--timeout", &START_SECONDS.to_string()])
                .arg("-D")
                .arg(self.data())
                .arg("-l")
                .arg(self.log())
                .output()
                .map_err(LocalError::io("run", &self.binaries.program("pg_ctl")))?;
            if output.status.success() {
                return Ok(());
            }
            let mut said = self.log_from(log_bytes);
            if said.is_empty() {
                said = String::from_utf8_lossy(&output.stderr).into_owned();
            }
            let passing = RETRIED_FAILURES.iter().any(|failure| said.contains(failure));
            if !passing || started.elapsed() > RETRY_LIMIT {
                return Err(LocalError::Program {
                    program: "pg_ctl start".into(),
                    shard: Some(self.shard),
                    output: last_lines(&said),
                });
            }
            sleep(Duration::from_millis(100));
        }
    }

    /// Stops it and waits for its end. One that is not running is no error.
    pub(super) fn stop(&self, mode: StopMode) -> Result<(), LocalError> {
        let Some(postmaster) = self.postmaster() else { return Ok(()) };
        let ended = |limit| {
            wait_until(limit, || Process::postmaster(postmaster.pid, &self.data()).is_none())
        };
        if mode == StopMode::Fast {
            postmaster.signal(Signal::INT);
            if ended(FAST_STOP_LIMIT) {
                return Ok(());
            }
        }
        postmaster.signal(Signal::QUIT);
        // It may have been stopped by a signal, and would not hear the other one.
        postmaster.signal(Signal::CONT);
        if ended(IMMEDIATE_STOP_LIMIT) {
            return Ok(());
        }
        postmaster.signal(Signal::KILL);
        if ended(IMMEDIATE_STOP_LIMIT) {
            return Ok(());
        }
        Err(LocalError::StillRunning {
            shard: self.shard,
            pid: postmaster.pid,
            seconds: IMMEDIATE_STOP_LIMIT.as_secs() * 2,
        })
    }

    pub(super) fn status(&self) -> ServerStatus {
        ServerStatus {
            shard: self.shard,
            pid: self.postmaster().map(|process| process.pid),
            version: data_version(&self.data()),
            data_bytes: bytes_below(&self.data()),
            log: self.log(),
        }
    }

    fn log_from(&self, offset: u64) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        String::from_utf8_lossy(&bytes[offset..]).into_owned()
    }
}

/// The running postmaster of the data in `data_directory`.
pub(super) fn postmaster_in(data_directory: &Path) -> Option<Process> {
    let text = fs::read_to_string(data_directory.join("postmaster.pid")).ok()?;
    Process::postmaster(text.lines().next()?.trim().parse().ok()?, data_directory)
}

/// The end of what a program said, where the reason is.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(8)..].join(" | ")
}

/// Files may come and go meanwhile.
fn bytes_below(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}
