//! How much write-ahead log the servers have written and forced to disk.
//!
//! The counters are a server's, not a database's: several shards may be databases of one server,
//! which is then counted once. They count whatever the server does, for whomever. With a
//! `wal_sync_method` of `open_sync` or `open_datasync` Postgres counts no flushes.

use std::time::Duration;

use tokio_postgres::{Client, Error};

use crate::outcome::ShardError;
use crate::shards::cluster::Cluster;
use crate::shards::failure::describe;

const PATIENCE: Duration = Duration::from_secs(10);
/// From this version on flushes are counted with all other input and output.
const COUNTED_IN_STAT_IO: i32 = 180_000;

/// What one server has written since its counters began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerWal {
    /// Which server: when it was started, in microseconds since 1970, and its port. Two servers
    /// that share both are not two.
    pub server: (i64, i32),
    /// Forced writes of its log.
    pub flushes: i64,
    /// Bytes of its log.
    pub bytes: i64,
}

/// The counters of every server of `cluster`, each once, in the order of shards.
///
/// # Errors
/// A shard did not answer.
pub async fn read(cluster: &Cluster) -> Result<Vec<ServerWal>, ShardError> {
    let mut servers: Vec<ServerWal> = Vec::new();
    let clients = cluster.connect_all(PATIENCE).await?;
    for (shard, client) in cluster.routing().shards().zip(&clients) {
        let wal = of_server(client).await.map_err(|error| describe(shard, &error))?;
        if servers.iter().all(|seen| seen.server != wal.server) {
            servers.push(wal);
        }
    }
    Ok(servers)
}

async fn of_server(client: &Client) -> Result<ServerWal, Error> {
    let row = client
        .query_one(
            "select (extract(epoch from pg_postmaster_start_time()) * 1e6)::int8, \
                    current_setting('port')::int4, \
                    current_setting('server_version_num')::int4",
            &[],
        )
        .await?;
    let server = (row.get(0), row.get(1));
    let counters = if row.get::<_, i32>(2) >= COUNTED_IN_STAT_IO {
        "select coalesce((select sum(fsyncs) from pg_stat_io where object = 'wal'), 0)::int8, \
                wal_bytes::int8 from pg_stat_wal"
    } else {
        "select wal_sync::int8, wal_bytes::int8 from pg_stat_wal"
    };
    let row = client.query_one(counters, &[]).await?;
    Ok(ServerWal { server, flushes: row.get(0), bytes: row.get(1) })
}
