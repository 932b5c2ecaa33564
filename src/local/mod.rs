//! Local Postgres servers: found, made, started, stopped and removed by the tool itself, with the
//! durability of real ones (`fsync = on` and all that follows). Lock servers too, in [`services`].
//!
//! Two lifetimes. An *ephemeral* cluster ([`LocalCluster::start`]) belongs to one process and
//! ends with it in whatever way: orderly by [`LocalCluster::stop`] or drop, else by the
//! [`janitor`], a child that waits for the closing of a pipe. A *persistent* one
//! ([`LocalCluster::up`]) runs until [`LocalCluster::remove`]. Should the janitor be killed too,
//! the lock of the cluster's directory is free and [`leftovers::remove`] finds it.
//!
//! All shards are copies of one `initdb` and thus share its system identifier. Servers listen on
//! loopback (password, scram) and on sockets in a directory that only their user and root can
//! enter (trust); the tool uses the sockets. As root the servers run as `postgres` or `nobody`.
//!
//! Deliberately absent: connections (this layer is below them), async, downloads, and any use of
//! a server that was not started here.

mod binaries;
mod cluster;
mod creation;
mod directory;
mod error;
pub mod janitor;
pub mod leftovers;
mod ownership;
mod ports;
mod processes;
mod server;
mod server_user;
pub mod services;

use std::path::PathBuf;

pub use cluster::LocalCluster;
pub use directory::default_directory;
pub use error::LocalError;
pub use server::ServerStatus;

/// The most shards that one local cluster may have.
pub const MAX_SHARDS: u16 = 64;

/// How many shards a persistent cluster gets unless told otherwise.
pub const DEFAULT_SHARDS: u16 = 3;

/// The superuser of every local server.
const USER: &str = "shardbank";
/// The database of every local server.
const DATABASE: &str = "shardbank";

/// What a local cluster is made of.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// How many servers.
    pub shards: u16,
    /// The directory of Postgres' binaries; where `None`, they are looked for.
    pub binaries: Option<PathBuf>,
    /// Settings on top of the usual ones, of which they may override any.
    pub settings: Vec<(String, String)>,
    /// The `shardbank` executable, which ephemeral clusters start once more as their janitor;
    /// where `None`, the running one. Tests, which run in a binary of their own, must name it.
    pub executable: Option<PathBuf>,
}

impl LocalOptions {
    /// `shards` servers with the usual settings.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        Self { shards, binaries: None, settings: Vec::new(), executable: None }
    }
}

/// How to connect to one local server: over its Unix socket, without a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalShard {
    /// The directory of the socket.
    pub socket_directory: PathBuf,
    /// The port, of the socket and on 127.0.0.1.
    pub port: u16,
    /// A superuser.
    pub user: String,
    /// The database.
    pub database: String,
}

impl LocalShard {
    /// As a URL that `--shard` takes, and psql too. Holds no password.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgres:///{}?host={}&port={}&user={}",
            self.database,
            percent_encoded(&self.socket_directory.to_string_lossy()),
            self.port,
            self.user
        )
    }
}

/// `text` as a value in a URL's query.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_survives_spaces_and_ampersands_in_the_directory() {
        let shard = LocalShard {
            socket_directory: "/tmp/a b&c".into(),
            port: 5433,
            user: USER.into(),
            database: DATABASE.into(),
        };
        assert_eq!(
            shard.url(),
            "postgres:///shardbank?host=/tmp/a%20b%26c&port=5433&user=shardbank"
        );
        let config: tokio_postgres::Config = shard.url().parse().expect("the driver reads it");
        assert_eq!(config.get_ports(), [5433]);
        assert_eq!(config.get_hosts(), [tokio_postgres::config::Host::Unix("/tmp/a b&c".into())]);
    }
}
