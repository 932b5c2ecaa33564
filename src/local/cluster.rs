//! The servers of one run, or of many.

use std::path::{Path, PathBuf};
use std::thread;

use super::binaries::{Binaries, data_version};
use super::directory::{self, Lifetime, Lock, State};
use super::ownership::Ownership;
use super::server::{Server, StopMode};
use super::server_user::ServerUser;
use super::{
    DATABASE, LocalError, LocalOptions, LocalShard, MAX_SHARDS, ServerStatus, USER, creation, ports,
};

/// Local servers. An ephemeral cluster is stopped and removed when this is dropped; a persistent
/// one is left as it is.
#[derive(Debug)]
pub struct LocalCluster {
    directory: PathBuf,
    servers: Vec<Server>,
    shards: Vec<LocalShard>,
    /// Of an ephemeral cluster.
    ownership: Option<Ownership>,
}

impl LocalCluster {
    /// Makes and starts an ephemeral cluster below `TMPDIR` and waits until it takes connections.
    /// Leftovers of killed runs are removed on the way.
    ///
    /// # Errors
    /// No usable binaries, or whatever the system refused. Nothing is left behind.
    pub fn start(options: &LocalOptions) -> Result<Self, LocalError> {
        check_count(options.shards)?;
        let user = ServerUser::choose()?;
        let binaries = Binaries::find(options.binaries.as_deref(), &user)?;
        let (directory, ownership) =
            Ownership::of_new_directory(&user, options.executable.as_deref())?;
        let mut state =
            State::new(&directory, Lifetime::Ephemeral, &binaries.directory, &options.settings);
        let servers = servers(&directory, options.shards, &binaries, &user);
        // From here on, an early return drops the cluster and thereby removes it.
        let mut cluster =
            Self { directory, servers, shards: Vec::new(), ownership: Some(ownership) };
        cluster.make(&mut state)?;
        Ok(cluster)
    }

    /// Makes and starts a persistent cluster in `directory`, or starts those servers of the
    /// existing one that are not running, with their data. `shards` is by default 3, or what
    /// there is.
    ///
    /// # Errors
    /// No usable binaries, a directory with something else in it, another number of shards than
    /// there are, data of another version of Postgres, or whatever the system refused.
    pub fn up(
        directory: &Path,
        shards: Option<u16>,
        binaries: Option<&Path>,
    ) -> Result<Self, LocalError> {
        let user = ServerUser::choose()?;
        let (directory, lock) = directory::open_persistent(directory, &user)?;
        let cluster = match State::read(&directory)? {
            Some(state) if state.complete && state.lifetime == Lifetime::Persistent => {
                Self::start_existing(directory, state, shards, binaries, &user)?
            }
            unfinished => {
                Self::make_persistent(&directory, unfinished.as_ref(), shards, binaries, &user)
                    .inspect_err(|_| directory::remove_if_only_lock(&directory))?
            }
        };
        drop(lock);
        Ok(cluster)
    }

    /// The persistent cluster in `directory`, whether its servers are running or not.
    ///
    /// # Errors
    /// There is none.
    pub fn attach(directory: &Path) -> Result<Self, LocalError> {
        let (directory, state) = directory::existing_persistent(directory)?;
        if !state.complete {
            return Err(LocalError::NoCluster(directory));
        }
        let user = ServerUser::choose()?;
        // Looking and stopping need no program of Postgres'; it may be gone from the machine.
        let binaries = Binaries::unchecked(&state.binaries);
        Ok(Self::of(directory, &state, &binaries, &user))
    }

    /// Where it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How to connect to each server, in the order of the shards.
    #[must_use]
    pub fn shards(&self) -> &[LocalShard] {
        &self.shards
    }

    /// Each server as the processes and files show it.
    #[must_use]
    pub fn status(&self) -> Vec<ServerStatus> {
        self.servers.iter().map(Server::status).collect()
    }

    /// The file with the superuser's password, for connections over TCP.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.directory.join("password")
    }

    /// The postmaster's process id, if the server is running.
    ///
    /// # Errors
    /// No such shard.
    pub fn pid(&self, shard: u16) -> Result<Option<i32>, LocalError> {
        Ok(self.server(shard)?.postmaster().map(|process| process.pid))
    }

    /// Stops a server as a crash would; what it had not flushed is lost. Waits for its end.
    ///
    /// # Errors
    /// No such shard, or it does not end.
    pub fn stop_immediately(&self, shard: u16) -> Result<(), LocalError> {
        self.server(shard)?.stop(StopMode::Immediate)
    }

    /// Starts a server that was stopped or killed, stopping it first where it is running, and
    /// waits until it takes connections, on the same port.
    ///
    /// # Errors
    /// No such shard, or what the server's log says.
    pub fn restart(&self, shard: u16) -> Result<(), LocalError> {
        let server = self.server(shard)?;
        server.stop(StopMode::Fast)?;
        server.start()
    }

    /// Stops all servers. An ephemeral cluster is removed, a persistent one keeps its data.
    ///
    /// # Errors
    /// What could not be stopped or removed.
    pub fn stop(mut self) -> Result<(), LocalError> {
        match self.ownership.take() {
            Some(ownership) => ownership.end(&self.directory),
            None => stop_all(&self.servers, StopMode::Fast),
        }
    }

    /// Stops all servers of the persistent cluster in `directory` and removes its data; also
    /// where the making of it was interrupted.
    ///
    /// # Errors
    /// There is none, another process is busy with it, or what could not be stopped or removed.
    pub fn remove(directory: &Path) -> Result<(), LocalError> {
        let (directory, state) = directory::existing_persistent(directory)?;
        let lock =
            Lock::try_existing(&directory).ok_or_else(|| LocalError::Busy(directory.clone()))?;
        let user = ServerUser::choose()?;
        let binaries = Binaries::unchecked(&state.binaries);
        stop_all(&servers(&directory, MAX_SHARDS, &binaries, &user), StopMode::Fast)?;
        directory::clear(&directory, Some(&state))?;
        directory::remove_cleared(&directory)?;
        drop(lock);
        Ok(())
    }

    /// From nothing to running servers, recording each step that leaves something behind.
    fn make(&mut self, state: &mut State) -> Result<(), LocalError> {
        state.write(&self.directory)?;
        let keep = state.lifetime == Lifetime::Persistent;
        creation::make_data(&self.directory, &self.servers, keep)?;
        self.servers[0].user.create_directory(&state.socket_directory)?;
        let count = u16::try_from(self.servers.len()).expect("there are few shards");
        state.ports = ports::free(count)?;
        self.start_servers(state)?;
        state.complete = true;
        state.write(&self.directory)
    }

    /// In place of one whose making was interrupted: nothing in that has ever been used. Leaves
    /// nothing but the lock where it fails.
    fn make_persistent(
        directory: &Path,
        unfinished: Option<&State>,
        shards: Option<u16>,
        binaries: Option<&Path>,
        user: &ServerUser,
    ) -> Result<Self, LocalError> {
        let shards = shards.unwrap_or(super::DEFAULT_SHARDS);
        check_count(shards)?;
        let binaries = Binaries::find(binaries, user)?;
        stop_all(&servers(directory, MAX_SHARDS, &binaries, user), StopMode::Immediate)?;
        directory::clear(directory, unfinished)?;
        let mut state = State::new(directory, Lifetime::Persistent, &binaries.directory, &[]);
        let servers = servers(directory, shards, &binaries, user);
        let mut cluster =
            Self { directory: directory.into(), servers, shards: Vec::new(), ownership: None };
        if let Err(error) = cluster.make(&mut state) {
            stop_all(&cluster.servers, StopMode::Immediate)?;
            directory::clear(directory, Some(&state))?;
            return Err(error);
        }
        Ok(cluster)
    }

    fn start_existing(
        directory: PathBuf,
        mut state: State,
        shards: Option<u16>,
        binaries: Option<&Path>,
        user: &ServerUser,
    ) -> Result<Self, LocalError> {
        let found = u16::try_from(state.ports.len()).unwrap_or(u16::MAX);
        if let Some(wanted) = shards.filter(|wanted| *wanted != found) {
            return Err(LocalError::OtherShardCount { path: directory, found, wanted });
        }
        let binaries = match binaries {
            Some(path) => Binaries::find(Some(path), user)?,
            None => Binaries::find(Some(&state.binaries), user)
                .or_else(|_| Binaries::find(None, user))?,
        };
        let mut cluster = Self::of(directory, &state, &binaries, user);
        let data = data_version(&cluster.servers[0].data()).unwrap_or_default();
        if data != binaries.version {
            return Err(LocalError::OtherVersion {
                path: cluster.directory.clone(),
                data,
                bin: binaries.directory,
                binaries: binaries.version,
            });
        }
        for (server, port) in cluster.servers.iter().zip(&mut state.ports) {
            // Somebody else may have taken it while the server was down.
            if server.postmaster().is_none() && !ports::is_free(*port) {
                *port = ports::free(1)?[0];
            }
        }
        // The place for sockets may be one that a restart of the machine empties.
        if !state.socket_directory.exists() {
            user.create_directory(&state.socket_directory)?;
        }
        state.binaries = binaries.directory;
        cluster.start_servers(&state)?;
        state.write(&cluster.directory)?;
        Ok(cluster)
    }

    fn of(directory: PathBuf, state: &State, binaries: &Binaries, user: &ServerUser) -> Self {
        let count = u16::try_from(state.ports.len()).unwrap_or(MAX_SHARDS);
        let servers = servers(&directory, count, binaries, user);
        Self { directory, servers, shards: local_shards(state), ownership: None }
    }

    /// Starts those that are not running.
    fn start_servers(&mut self, state: &State) -> Result<(), LocalError> {
        in_parallel(&self.servers, |server| {
            if server.postmaster().is_some() {
                return Ok(());
            }
            creation::write_settings(server, state, state.ports[usize::from(server.shard)])?;
            server.start()
        })?;
        self.shards = local_shards(state);
        Ok(())
    }

    fn server(&self, shard: u16) -> Result<&Server, LocalError> {
        self.servers
            .get(usize::from(shard))
            .ok_or(LocalError::NoSuchShard { shard, count: self.servers.len() })
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        if let Some(ownership) = self.ownership.take() {
            // Nobody is left to tell; `local down` finds what remains.
            let _ = ownership.end(&self.directory);
        }
    }
}

/// Runs `work` for all servers at once; the first error counts.
pub(super) fn in_parallel<F>(servers: &[Server], work: F) -> Result<(), LocalError>
where
    F: Fn(&Server) -> Result<(), LocalError> + Sync,
{
    thread::scope(|scope| {
        let running: Vec<_> = servers.iter().map(|server| scope.spawn(|| work(server))).collect();
        let ended: Vec<_> = running
            .into_iter()
            .map(|thread| thread.join().expect("the work on a server does not panic"))
            .collect();
        ended.into_iter().collect()
    })
}

fn stop_all(servers: &[Server], mode: StopMode) -> Result<(), LocalError> {
    in_parallel(servers, |server| server.stop(mode))
}

fn check_count(shards: u16) -> Result<(), LocalError> {
    if (1..=MAX_SHARDS).contains(&shards) { Ok(()) } else { Err(LocalError::BadShardCount(shards)) }
}

fn servers(directory: &Path, count: u16, binaries: &Binaries, user: &ServerUser) -> Vec<Server> {
    (0..count)
        .map(|shard| Server {
            shard,
            directory: directory.join(format!("shard-{shard}")),
            binaries: binaries.clone(),
            user: user.clone(),
        })
        .collect()
}

fn local_shards(state: &State) -> Vec<LocalShard> {
    state
        .ports
        .iter()
        .map(|port| LocalShard {
            socket_directory: state.socket_directory.clone(),
            port: *port,
            user: USER.into(),
            database: DATABASE.into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shards_and_too_many_shards_are_refused_before_anything_is_made() {
        for shards in [0, MAX_SHARDS + 1] {
            let refused = LocalCluster::start(&LocalOptions::new(shards));
            assert!(matches!(refused, Err(LocalError::BadShardCount(_))));
        }
    }
}
