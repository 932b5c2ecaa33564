//! The cluster: its identity, and where its shards are, in order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio_postgres::Client;

use crate::outcome::ShardError;
use crate::shards::target::ShardTarget;
use crate::transfer::{ClusterId, Routing, ShardIndex};

/// A cluster whose marker rows have been read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cluster {
    id: ClusterId,
    targets: Arc<[ShardTarget]>,
}

impl Cluster {
    /// The cluster `id`, whose shards are at `targets`, in the order of their indices.
    #[must_use]
    pub fn new(id: ClusterId, targets: Vec<ShardTarget>) -> Self {
        assert!(!targets.is_empty(), "a cluster has at least one shard");
        Self { id, targets: targets.into() }
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> ClusterId {
        self.id
    }

    /// Where accounts live.
    #[must_use]
    pub fn routing(&self) -> Routing {
        Routing::new(u16::try_from(self.targets.len()).expect("shards are numbered in 16 bits"))
    }

    /// Where shard `index` is.
    #[must_use]
    pub fn target(&self, index: ShardIndex) -> &ShardTarget {
        &self.targets[usize::from(index.0)]
    }

    /// All shards in order.
    pub fn targets(&self) -> impl Iterator<Item = (ShardIndex, &ShardTarget)> {
        self.routing().shards().zip(self.targets.iter())
    }

    /// One connection to shard `index`, for work outside any transfer. Connecting takes no
    /// longer than `patience`.
    ///
    /// # Errors
    /// The shard cannot be reached.
    pub async fn connect(
        &self,
        index: ShardIndex,
        patience: Duration,
    ) -> Result<Client, ShardError> {
        self.target(index).connect(patience).await.map_err(|error| ShardError {
            shard: index,
            sqlstate: None,
            message: error.to_string(),
        })
    }

    /// One connection to every shard.
    ///
    /// # Errors
    /// A shard cannot be reached; the first of them.
    pub async fn connect_all(&self, patience: Duration) -> Result<Vec<Client>, ShardError> {
        try_join_all(self.routing().shards().map(|shard| self.connect(shard, patience))).await
    }
}
