//! What the tests share.

use std::path::PathBuf;
use std::sync::OnceLock;

use shardbank::local::services::{LocalService, ServiceKind, ServiceOptions};
use shardbank::local::{LocalCluster, LocalOptions, LocalShard};
use tokio_postgres::{Client, Config, NoTls};

/// The executable under test, which is also the janitor of the clusters that tests start.
pub fn executable() -> PathBuf {
    env!("CARGO_BIN_EXE_shardbank").into()
}

/// Options for a cluster of `shards` servers that is cleaned up however the test ends.
pub fn options(shards: u16) -> LocalOptions {
    LocalOptions { executable: Some(executable()), ..LocalOptions::new(shards) }
}

/// The cluster of three that all tests of this process share; nobody may stop its servers. A
/// static is never dropped: its janitor removes it when the process ends.
pub fn cluster() -> &'static LocalCluster {
    static CLUSTER: OnceLock<LocalCluster> = OnceLock::new();
    CLUSTER
        .get_or_init(|| LocalCluster::start(&options(3)).unwrap_or_else(|error| panic!("{error}")))
}

/// The lock server of its kind that all tests of this process share; nobody may stop it.
pub fn lock_server(kind: ServiceKind) -> &'static LocalService {
    static SERVERS: [OnceLock<LocalService>; 3] = [const { OnceLock::new() }; 3];
    SERVERS[kind as usize].get_or_init(|| own_lock_server(kind))
}

/// A lock server for one test.
pub fn own_lock_server(kind: ServiceKind) -> LocalService {
    let options = ServiceOptions { executable: Some(executable()), ..ServiceOptions::new(kind) };
    LocalService::start(&options).unwrap_or_else(|error| panic!("{error}"))
}

/// The flags that lead a strategy under locks to the shared server, where it needs one.
pub fn lock_flags(strategy: &str) -> Vec<String> {
    let (kind, flag, scheme) = match strategy {
        "lock-redis" => (ServiceKind::Redis, "--redis", "redis://"),
        "lock-etcd" => (ServiceKind::Etcd, "--etcd", "http://"),
        "lock-zookeeper" => (ServiceKind::ZooKeeper, "--zookeeper", ""),
        _ => return Vec::new(),
    };
    vec![flag.to_owned(), format!("{scheme}{}", lock_server(kind).address())]
}

/// A plain connection to one server.
pub async fn connect(shard: &LocalShard) -> Client {
    let (client, connection) = Config::new()
        .host_path(&shard.socket_directory)
        .port(shard.port)
        .user(&shard.user)
        .dbname(&shard.database)
        .connect(NoTls)
        .await
        .unwrap_or_else(|error| panic!("cannot connect to {}: {error:?}", shard.url()));
    tokio::spawn(connection);
    client
}
