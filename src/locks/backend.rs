//! Which service grants locks, and how it is reached.

use std::sync::Arc;

use crate::coordination::presence::Presence;
use crate::local::services::ServiceKind;
use crate::locks::Locks;
use crate::locks::advisory::Advisory;
#[cfg(feature = "lock-etcd")]
use crate::locks::etcd::{Etcd, EtcdSettings};
use crate::locks::exposure::Exposure;
use crate::locks::lease::Leases;
#[cfg(feature = "lock-redis")]
use crate::locks::redis::{Redis, RedisSettings};
use crate::locks::service::Service;
use crate::locks::tls::TlsFiles;
#[cfg(feature = "lock-zookeeper")]
use crate::locks::zookeeper::{Digest, ZooKeeper, ZooKeeperSettings};
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
    /// For an address that asks for TLS.
    pub tls: TlsFiles,
}

/// An address or a file that cannot be used, in one line without the address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

impl From<Unusable> for LockError {
    fn from(unusable: Unusable) -> Self {
        Self::Unavailable(unusable.0)
    }
}

/// What is needed to reach a lock server.
enum Settings {
    #[cfg(feature = "lock-redis")]
    Redis(RedisSettings),
    #[cfg(feature = "lock-etcd")]
    Etcd(EtcdSettings),
    #[cfg(feature = "lock-zookeeper")]
    ZooKeeper(ZooKeeperSettings),
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
    /// Reads the address and the files for TLS, and says what somebody on the way could see. For
    /// whoever wants to know before anything is sent.
    ///
    /// # Errors
    /// They cannot be used, or this tool was built without this kind of server.
    pub fn exposure(&self) -> Result<Exposure, Unusable> {
        // Of the settings, what is ours on the server is no matter here.
        match self.settings("any")? {
            #[cfg(feature = "lock-redis")]
            Settings::Redis(settings) => Ok(settings.exposure()),
            #[cfg(feature = "lock-etcd")]
            Settings::Etcd(settings) => Ok(settings.exposure()),
            #[cfg(feature = "lock-zookeeper")]
            Settings::ZooKeeper(settings) => settings.exposure().map_err(Unusable),
        }
    }

    #[cfg_attr(
        not(any(feature = "lock-redis", feature = "lock-etcd", feature = "lock-zookeeper")),
        expect(unused_variables, reason = "without lock servers there is nothing to open")
    )]
    async fn open(
        &self,
        cluster: &Cluster,
        terms: LockTerms,
    ) -> Result<Arc<dyn Service>, LockError> {
        match self.settings(&cluster.id().to_string())? {
            #[cfg(feature = "lock-redis")]
            Settings::Redis(settings) => Ok(Arc::new(Redis::connect(&settings, terms.ttl).await?)),
            #[cfg(feature = "lock-etcd")]
            Settings::Etcd(settings) => Ok(Arc::new(Etcd::connect(&settings, terms.ttl).await?)),
            #[cfg(feature = "lock-zookeeper")]
            Settings::ZooKeeper(settings) => {
                Ok(Arc::new(ZooKeeper::connect(&settings, terms.ttl).await?))
            }
        }
    }

    #[cfg_attr(
        not(any(feature = "lock-redis", feature = "lock-etcd", feature = "lock-zookeeper")),
        expect(unused_variables, reason = "without lock servers there is nothing to keep apart")
    )]
    fn settings(&self, cluster: &str) -> Result<Settings, Unusable> {
        match self.kind {
            #[cfg(feature = "lock-redis")]
            ServiceKind::Redis => {
                let prefix = format!("shardbank:{cluster}:");
                RedisSettings::with_tls(self.address.reveal(), &prefix, &self.tls)
                    .map(Settings::Redis)
                    .map_err(unusable)
            }
            #[cfg(feature = "lock-etcd")]
            ServiceKind::Etcd => {
                let prefix = format!("shardbank:{cluster}:");
                let mut settings =
                    EtcdSettings::with_tls(self.address.reveal(), &prefix, &self.tls)
                        .map_err(unusable)?;
                if let Some((user, password)) = &self.login {
                    settings = settings.login(user, password.reveal());
                }
                Ok(Settings::Etcd(settings))
            }
            #[cfg(feature = "lock-zookeeper")]
            ServiceKind::ZooKeeper => {
                let digest = self.login.as_ref().map(|(user, password)| Digest {
                    user: user.clone(),
                    password: password.clone(),
                });
                Ok(Settings::ZooKeeper(ZooKeeperSettings {
                    hosts: self.address.reveal().to_owned(),
                    tls: self.tls.clone(),
                    root: format!("/shardbank/{cluster}"),
                    digest,
                }))
            }
            #[cfg(not(all(
                feature = "lock-redis",
                feature = "lock-etcd",
                feature = "lock-zookeeper"
            )))]
            kind => Err(Unusable(format!(
                "this shardbank was built without {}; build it with its default features",
                kind.name()
            ))),
        }
    }
}

#[cfg(any(feature = "lock-redis", feature = "lock-etcd"))]
fn unusable(error: impl std::fmt::Display) -> Unusable {
    Unusable(error.to_string())
}
