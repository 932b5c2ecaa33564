//! Which service grants locks, and how it is reached.

use std::sync::Arc;

use crate::coordination::presence::Presence;
use crate::local::services::ServiceKind;
use crate::locks::Locks;
use crate::locks::advisory::Advisory;
use crate::locks::lease::Leases;
use crate::locks::service::Service;
use crate::shards::Secret;
use crate::shards::cluster::Cluster;
use crate::verbs::locking::{LockError, LockService, LockTerms};

/// Which service grants locks.
#[derive(Debug, Clone)]
pub enum Backend {
    /// Session advisory locks on the accounts' own shards.
    Advisory,
    /// Rows of the `lease` table on the accounts' own shards.
    Lease,
    /// A lock server.
    Server(LockServer),
}

/// A lock server, by its address.
#[derive(Debug, Clone)]
pub struct LockServer {
    /// Which kind.
    pub kind: ServiceKind,
    /// A Redis URL, addresses of etcd, or hosts of ZooKeeper. It may hold a password.
    pub address: Secret,
    /// Name and password for etcd or ZooKeeper.
    pub login: Option<(String, Secret)>,
}

impl Backend {
    /// As epochs of grants are recorded under it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Advisory => "advisory",
            Self::Lease => "lease",
            Self::Server(server) => match server.kind {
                ServiceKind::Redis => "redis",
                ServiceKind::Etcd => "etcd",
                ServiceKind::ZooKeeper => "zookeeper",
            },
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
            Self::Server(_) => 0,
        }
    }

    /// Opens it for one thread that carries `clients` transfers at a time. Must be called inside
    /// the runtime that will use it.
    ///
    /// # Errors
    /// It cannot be reached, this tool was built without it, or this process has no epoch.
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
            Self::Server(server) => server.open(cluster, terms).await?,
        };
        Ok(Arc::new(Locks::new(self.name(), service, terms, cluster.clone())))
    }
}

impl LockServer {
    #[cfg_attr(
        not(any(feature = "lock-redis", feature = "lock-etcd", feature = "lock-zookeeper")),
        expect(unused_variables, reason = "without lock servers there is nothing to open")
    )]
    async fn open(
        &self,
        cluster: &Cluster,
        terms: LockTerms,
    ) -> Result<Arc<dyn Service>, LockError> {
        match self.kind {
            #[cfg(feature = "lock-redis")]
            ServiceKind::Redis => {
                use crate::locks::redis::{Redis, RedisSettings};
                let prefix = format!("shardbank:{}:", cluster.id());
                let settings =
                    RedisSettings::new(self.address.reveal(), &prefix).map_err(unusable)?;
                Ok(Arc::new(Redis::connect(&settings, terms.ttl).await?))
            }
            #[cfg(feature = "lock-etcd")]
            ServiceKind::Etcd => {
                use crate::locks::etcd::{Etcd, EtcdSettings};
                let prefix = format!("shardbank:{}:", cluster.id());
                let mut settings =
                    EtcdSettings::new(self.address.reveal(), &prefix).map_err(unusable)?;
                if let Some((user, password)) = &self.login {
                    settings = settings.login(user, password.reveal());
                }
                Ok(Arc::new(Etcd::connect(&settings, terms.ttl).await?))
            }
            #[cfg(feature = "lock-zookeeper")]
            ServiceKind::ZooKeeper => {
                use crate::locks::zookeeper::{Digest, ZooKeeper, ZooKeeperSettings};
                let digest = self.login.as_ref().map(|(user, password)| Digest {
                    user: user.clone(),
                    password: password.clone(),
                });
                let settings = ZooKeeperSettings {
                    hosts: self.address.reveal().to_owned(),
                    root: format!("/shardbank/{}", cluster.id()),
                    digest,
                };
                Ok(Arc::new(ZooKeeper::connect(&settings, terms.ttl).await?))
            }
            #[cfg(not(all(
                feature = "lock-redis",
                feature = "lock-etcd",
                feature = "lock-zookeeper"
            )))]
            kind => Err(LockError::Unavailable(format!(
                "this shardbank was built without {}; build it with its default features",
                kind.name()
            ))),
        }
    }
}

#[cfg(any(feature = "lock-redis", feature = "lock-etcd"))]
fn unusable(error: impl std::fmt::Display) -> LockError {
    LockError::Unavailable(error.to_string())
}
