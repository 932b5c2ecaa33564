//! Which service grants locks, and how it is reached.

use std::sync::Arc;

use crate::coordination::presence::Presence;
use crate::locks::Locks;
use crate::locks::advisory::Advisory;
use crate::locks::lease::Leases;
use crate::locks::service::Service;
use crate::shards::cluster::Cluster;
use crate::verbs::locking::{LockError, LockService, LockTerms};

/// Which service grants locks.
#[derive(Debug, Clone)]
pub enum Backend {
    /// Session advisory locks on the accounts' own shards.
    Advisory,
    /// Rows of the `lease` table on the accounts' own shards.
    Lease,
}

impl Backend {
    /// As epochs of grants are recorded under it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Advisory => "advisory",
            Self::Lease => "lease",
        }
    }

    /// How many connections to each shard a thread needs for its locks that carries `clients`
    /// transfers at a time. An advisory lock takes one for as long as it is held, and both
    /// accounts of a transfer may live on one shard.
    #[must_use]
    pub const fn connections(&self, clients: usize) -> usize {
        match self {
            Self::Advisory => clients * 2,
            Self::Lease => clients,
        }
    }

    /// Opens it for one thread that carries `clients` transfers at a time. Must be called inside
    /// the runtime that will use it.
    ///
    /// # Errors
    /// It cannot be reached, or this process has no epoch.
    pub async fn open(
        &self,
        cluster: &Cluster,
        presence: &Presence,
        clients: usize,
        terms: LockTerms,
    ) -> Result<Arc<dyn LockService>, LockError> {
        let epoch =
            presence.epoch().await.map_err(|error| LockError::Unavailable(error.to_string()))?;
        let connections = self.connections(clients);
        let service: Arc<dyn Service> = match self {
            Self::Advisory => Arc::new(Advisory::new(cluster, epoch, connections, terms.ttl)),
            Self::Lease => Arc::new(Leases::new(cluster, epoch, connections, terms.ttl)),
        };
        Ok(Arc::new(Locks::new(self.name(), service, terms, cluster.clone())))
    }
}
