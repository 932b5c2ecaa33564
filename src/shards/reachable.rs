//! Opening a cluster of which some shards may be away: for recovery and for looking.

use std::time::Duration;

use futures_util::future::join_all;

use super::failure::describe;
use super::marker::{self, SchemaState};
use super::target::ShardTarget;
use crate::transfer::{ClusterId, ShardIndex};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The cluster that all reachable shards belong to.
    pub cluster: ClusterId,
    /// The shards that are away, each in one line.
    pub unreachable: Vec<String>,
}

/// Looks at every shard that can be reached within `patience`. They must be shards of one
/// cluster, in its order, and the cluster must have as many as were named.
///
/// # Errors
/// No shard can be reached, or one of them is something else than it should be.
pub async fn look(targets: &[ShardTarget], patience: Duration) -> Result<Found, Vec<String>> {
    let looks = targets.iter().enumerate().map(async |(index, target)| {
        let shard = ShardIndex(u16::try_from(index).expect("shards are numbered in 16 bits"));
        let client = target.connect(patience).await.map_err(|error| error.to_string())?;
        marker::read(&client).await.map_err(|error| describe(shard, &error).to_string())
    });
    let mut cluster = None;
    let mut unreachable = Vec::new();
    let mut problems = Vec::new();
    for (index, (look, target)) in join_all(looks).await.into_iter().zip(targets).enumerate() {
        let called = format!("shard {index} ({})", target.name());
        match look {
            Err(error) => unreachable.push(format!("{called} cannot be reached: {error}")),
            Ok(SchemaState::Ours(marker)) => {
                let is_in_place = usize::try_from(marker.index) == Ok(index)
                    && usize::try_from(marker.count) == Ok(targets.len());
                if !is_in_place {
                    problems.push(format!(
                        "{called} is shard {} of {}; name all shards in the order of init",
                        marker.index, marker.count
                    ));
                } else if *cluster.get_or_insert(marker.cluster) != marker.cluster {
                    problems.push(format!("{called} belongs to cluster {}", marker.cluster));
                }
            }
            Ok(_) => problems.push(format!(
                "{called} holds no cluster; make one with `shardbank init`, or name another shard"
            )),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    match cluster {
        Some(cluster) => Ok(Found { cluster, unreachable }),
        None => Err(unreachable),
    }
}
