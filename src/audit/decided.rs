//! No decision is contradicted by the legs beside it.

use std::collections::HashSet;
use std::time::Instant;

use futures_util::future::try_join_all;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{LOOK_AGAIN, SETTLING};
use crate::ledger::books;
use crate::outcome::ShardError;
use crate::shards::cluster::Cluster;
use crate::shards::failure::describe;
use crate::transfer::ShardIndex;
use crate::verbs::Gid;

/// Decisions that the legs of their own shard contradict and go on contradicting once their
/// branches are not prepared any more.
pub(super) async fn contradicted(
    cluster: &Cluster,
    clients: &[Client],
) -> Result<Vec<(ShardIndex, Uuid, String)>, ShardError> {
    let deadline = Instant::now() + SETTLING;
    loop {
        let on_shards =
            clients.iter().zip(cluster.routing().shards()).map(async |(client, shard)| {
                // Again in this order: a decided branch that is not prepared when it is listed
                // has been carried out by the time the legs are read.
                let describe = |error: tokio_postgres::Error| describe(shard, &error);
                let prefix = Gid::prefix_of(cluster.id());
                let suspects = books::contradicted_decisions(client).await.map_err(describe)?;
                let prepared = books::prepared(client, &prefix).await.map_err(describe)?;
                let promised = books::open_promises(client).await.map_err(describe)?;
                let again = books::contradicted_decisions(client).await.map_err(describe)?;
                let busy: HashSet<Uuid> = prepared
                    .iter()
                    .filter_map(|name| name.parse::<Gid>().ok())
                    .map(|gid| gid.transfer.0)
                    .chain(promised)
                    .collect();
                let mut found = Vec::new();
                let mut waiting = false;
                for (id, verdict) in again.into_iter().filter(|one| suspects.contains(one)) {
                    if busy.contains(&id) {
                        waiting = true;
                    } else {
                        found.push((shard, id, verdict));
                    }
                }
                Ok::<_, ShardError>((found, waiting))
            });
        let on_shards = try_join_all(on_shards).await?;
        if Instant::now() >= deadline || on_shards.iter().all(|(_, waiting)| !waiting) {
            return Ok(on_shards.into_iter().flat_map(|(found, _)| found).collect());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
