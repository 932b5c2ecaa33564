//! Lock servers of our own: Redis, etcd, ZooKeeper; found, started on free ports of loopback and
//! removed with their data.
//!
//! Each is a child process that lives in a directory like that of an ephemeral cluster and ends
//! as that does: by [`LocalService::stop`] or drop, else by the [`janitor`](super::janitor), else
//! by [`leftovers::remove`](super::leftovers::remove). It is started under a name in its
//! directory, by which it is told from everybody else's servers: Redis overwrites the rest of its
//! command line.
//!
//! A server counts as started when it serves, and when it is ours: each is asked for something
//! that only the one in this directory can answer, since another may have taken the port.
//!
//! Deliberately absent: the locks (those are above), any client's protocol beyond that question,
//! and several servers of a kind that replicate to each other.

mod error;
mod etcd;
mod find;
mod kind;
mod launch;
mod redis;
mod zookeeper;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

pub use error::ServiceError;
pub use find::Binary;
pub use kind::ServiceKind;
use launch::Launch;

use super::ownership::Ownership;
use super::processes::{Process, wait_until};
use super::server_user::ServerUser;
use super::{directory, leftovers, ports};

/// How often a new server is tried on other ports.
const TRIES: u32 = 3;

/// How long a killed process may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(10);

/// What a lock server is made of.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Which.
    pub kind: ServiceKind,
    /// Its program, or ZooKeeper's jar; where `None`, it is looked for.
    pub binary: Option<PathBuf>,
    /// The Java to run ZooKeeper with; where `None`, it is looked for.
    pub java: Option<PathBuf>,
    /// Whether Redis answers only for what is on the disk. The others always do.
    pub durable: bool,
    /// The `shardbank` executable, started once more as the janitor; where `None`, the running
    /// one. Tests, which run in a binary of their own, must name it.
    pub executable: Option<PathBuf>,
}

impl ServiceOptions {
    /// A durable server, by whatever program is found.
    #[must_use]
    pub fn new(kind: ServiceKind) -> Self {
        Self { kind, binary: None, java: None, durable: true, executable: None }
    }
}

/// A lock server of our own. It is stopped and removed when this is dropped.
#[derive(Debug)]
pub struct LocalService {
    launch: Launch,
    address: String,
    user: ServerUser,
    /// The server, until it was killed.
    child: Option<Child>,
    /// Until it was stopped.
    ownership: Option<Ownership>,
}

impl LocalService {
    /// Starts one below `TMPDIR` and waits until it serves. Leftovers of killed runs are removed
    /// on the way.
    ///
    /// # Errors
    /// Its program is not there, or does not start; then the error has the end of its log.
    /// Nothing is left behind.
    pub fn start(options: &ServiceOptions) -> Result<Self, ServiceError> {
        let user = ServerUser::choose()?;
        let binary =
            find::binary(options.kind, options.binary.as_deref(), options.java.as_deref(), &user)?;
        let (directory, ownership) =
            Ownership::of_new_directory(&user, options.executable.as_deref())?;
        let launch = Launch {
            kind: options.kind,
            binary,
            durable: options.durable,
            directory,
            port: 0,
            peer_port: 0,
        };
        // From here on, an early return drops the service and thereby removes it.
        let mut service =
            Self { launch, address: String::new(), user, child: None, ownership: Some(ownership) };
        service.user.check_reaches(&service.launch.directory)?;
        service.start_somewhere()?;
        Ok(service)
    }

    /// Where it serves, as `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Which it is.
    #[must_use]
    pub fn kind(&self) -> ServiceKind {
        self.launch.kind
    }

    /// What a grant outlives, in words for the results.
    #[must_use]
    pub fn durability(&self) -> &'static str {
        self.launch.kind.durability(self.launch.durable)
    }

    /// Its process id, if it is running.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let pid = i32::try_from(self.child.as_ref()?.id()).ok()?;
        Some(Process::server(pid, &self.launch.directory)?.pid)
    }

    /// Where its configuration, its data and its log lie.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.launch.directory
    }

    /// Ends it as `kill -9` does and waits for its end. One that is not running is no error.
    pub fn kill(&mut self) {
        leftovers::end_all_in(&self.launch.directory);
        self.reap();
    }

    /// Starts it again on the same port, killing it first where it is running, and waits until it
    /// serves: with what it had on the disk, or with nothing.
    ///
    /// # Errors
    /// What its log says.
    pub fn start_again(&mut self, keep_data: bool) -> Result<(), ServiceError> {
        self.kill();
        if !keep_data {
            self.empty()?;
        }
        self.child = Some(self.launch.start(&self.user)?);
        Ok(())
    }

    /// Stops it and removes all it had.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn stop(mut self) -> Result<(), ServiceError> {
        self.end()
    }

    /// Starts it on ports that are free, on others where somebody was faster.
    fn start_somewhere(&mut self) -> Result<(), ServiceError> {
        let mut tries = 1;
        loop {
            let ports = ports::free(2)?;
            (self.launch.port, self.launch.peer_port) = (ports[0], ports[1]);
            self.empty()?;
            match self.launch.start(&self.user) {
                Ok(child) => self.child = Some(child),
                Err(ServiceError::Ended { .. }) if tries < TRIES => {
                    tries += 1;
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.address = format!("127.0.0.1:{}", self.launch.port);
            return Ok(());
        }
    }

    /// With a data directory that has nothing in it.
    fn empty(&self) -> Result<(), ServiceError> {
        let data = self.launch.data();
        directory::remove_all(&data)?;
        Ok(self.user.create_directory(&data)?)
    }

    fn end(&mut self) -> Result<(), ServiceError> {
        let Some(ownership) = self.ownership.take() else { return Ok(()) };
        let removed = ownership.end(&self.launch.directory);
        self.reap();
        Ok(removed?)
    }

    /// Takes note of the end of a process that was killed.
    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            launch::wait_for(&mut child);
        }
    }
}

impl Drop for LocalService {
    fn drop(&mut self) {
        // Nobody is left to tell; `local down` finds what remains.
        let _ = self.end();
    }
}
