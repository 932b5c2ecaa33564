//! What can keep local servers from running, each with its remedy.

use std::io;
use std::path::{Path, PathBuf};

/// Why something about local servers could not be done.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// No usable installation of Postgres was found anywhere.
    #[error(
        "no Postgres server binaries (postgres, initdb, pg_ctl; version {minimum} or newer) found \
         in {looked}{rejected}; install them with `{install}`, name their directory with --pgbin \
         or PGBIN, or start servers in containers with `docker compose up -d` and give them by \
         --shard"
    )]
    NoBinaries {
        /// The oldest usable version.
        minimum: u32,
        /// Where they were looked for.
        looked: String,
        /// What was found there and why it would not do; empty, or begins with a space.
        rejected: String,
        /// The install line of this platform.
        install: String,
    },
    /// The directory that was named does not hold a usable installation.
    #[error("{} cannot be used for local servers: {reason}", path.display())]
    UnusableBinaries {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Root must not run Postgres, and there is nobody else.
    #[error(
        "Postgres refuses to run as root and neither a user `postgres` nor `nobody` exists; \
         create one or run as an ordinary user"
    )]
    NoServerUser,
    /// The servers' user has no access to their directory.
    #[error(
        "the user that runs the servers ({user}) cannot enter {}; choose another place with --dir \
         or TMPDIR, or open its parents with chmod o+x", path.display()
    )]
    Unreachable {
        /// The user.
        user: String,
        /// The directory.
        path: PathBuf,
    },
    /// A program of Postgres' failed.
    #[error("{program} failed{}: {output}", shard.map(|s| format!(" for shard {s}")).unwrap_or_default())]
    Program {
        /// Which program.
        program: String,
        /// For which shard, if for one.
        shard: Option<u16>,
        /// The last lines that it or the server's log had to say.
        output: String,
    },
    /// A server did not end in time.
    #[error(
        "shard {shard} (pid {pid}) is still running after {seconds} s; stop it with `kill -QUIT {pid}`"
    )]
    StillRunning {
        /// The shard.
        shard: u16,
        /// Its postmaster.
        pid: i32,
        /// How long was waited.
        seconds: u64,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not enough free ports.
    #[error(
        "found only {found} of {wanted} free ports on 127.0.0.1; stop other servers or use fewer shards"
    )]
    NoPorts {
        /// How many there are.
        found: usize,
        /// How many are needed.
        wanted: u16,
    },
    /// A number of shards that makes no cluster.
    #[error("{0} local shards are too few or too many; choose from 1 to {max}", max = super::MAX_SHARDS)]
    BadShardCount(u16),
    /// The directory is used for something else.
    #[error("{} is not empty and holds no local shards; choose another --dir", .0.display())]
    NotOurs(PathBuf),
    /// A directory that cannot be handed on to `pg_ctl`.
    #[error(
        "{} cannot hold local shards, since its name has a double quote, dollar sign, backquote, \
         backslash, line break or what is not UTF-8; choose another --dir or TMPDIR", .0.display()
    )]
    OddName(PathBuf),
    /// There is nothing here.
    #[error("no local shards in {}; start them with `shardbank local up`", .0.display())]
    NoCluster(PathBuf),
    /// Another process is busy with this cluster.
    #[error("another shardbank is working on {}; wait until it has ended", .0.display())]
    Busy(PathBuf),
    /// The cluster has another number of shards than was asked for.
    #[error(
        "{} holds {found} shards, not {wanted}; leave out --shards, choose another --dir, or remove \
         them first with `shardbank local down`", path.display()
    )]
    OtherShardCount {
        /// Where.
        path: PathBuf,
        /// How many there are.
        found: u16,
        /// How many were asked for.
        wanted: u16,
    },
    /// The data belongs to another major version of Postgres.
    #[error(
        "the shards in {} were made by Postgres {data}, but {} is version {binaries}; name the \
         directory of the right version with --pgbin, or remove the shards with `shardbank local \
         down`", path.display(), bin.display()
    )]
    OtherVersion {
        /// Where the shards are.
        path: PathBuf,
        /// Which version made them.
        data: u32,
        /// The binaries that were to run them.
        bin: PathBuf,
        /// Their version.
        binaries: u32,
    },
    /// The file that describes the cluster cannot be read.
    #[error("{} does not describe local shards ({reason}); remove the directory by hand", path.display())]
    BadState {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The child process that cleans up after a killed run did not start.
    #[error(
        "the clean-up process {} did not start ({reason}); without it a killed run would leave \
         servers behind", path.display()
    )]
    Janitor {
        /// The executable.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// No such shard.
    #[error("there is no shard {shard}; the local cluster has {count}")]
    NoSuchShard {
        /// The one asked for.
        shard: u16,
        /// How many there are.
        count: usize,
    },
}

impl LocalError {
    /// For `map_err` on file operations: `action` is a verb, such as "create".
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
