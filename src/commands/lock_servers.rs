//! The lock servers that strategies need: those that were named, else private ones.

use std::collections::HashMap;

use tokio::task::block_in_place;

use super::{Exit, Stop};
use crate::cli::locks::{LockArguments, RedisDurability};
use crate::local::services::{LocalService, ServiceError, ServiceKind, ServiceOptions};
use crate::locks::backend::{Backend, LockServer};
use crate::shards::Secret;
use crate::strategies::LockServiceName;

/// Where a Redis URL with a password belongs.
const REDIS_VARIABLE: &str = "SHARDBANK_REDIS";

/// Lock servers for one command; those that were started here end with this value.
#[derive(Default)]
pub(super) struct LockServers {
    backends: HashMap<LockServiceName, Backend>,
    started: Vec<LocalService>,
}

impl LockServers {
    /// Opens what `services` name.
    ///
    /// # Errors
    /// One was neither named nor can be started, or was named with a password where everybody
    /// reads it.
    pub(super) fn open(
        services: impl IntoIterator<Item = LockServiceName>,
        arguments: &LockArguments,
    ) -> Result<Self, Stop> {
        let mut servers = Self::default();
        for service in services {
            if !servers.backends.contains_key(&service) {
                let backend = servers.backend(service, arguments)?;
                servers.backends.insert(service, backend);
            }
        }
        Ok(servers)
    }

    /// Who grants the locks of `service`.
    pub(super) fn of(&self, service: LockServiceName) -> Backend {
        self.backends[&service].clone()
    }

    /// What was started here and how durable it is, one line each.
    pub(super) fn described(&self) -> Vec<String> {
        let line = |server: &LocalService| {
            format!("{}: a private server on this machine, {}", server.kind(), server.durability())
        };
        self.started.iter().map(line).collect()
    }

    fn backend(
        &mut self,
        service: LockServiceName,
        arguments: &LockArguments,
    ) -> Result<Backend, Stop> {
        let kind = match service {
            LockServiceName::Advisory => return Ok(Backend::Advisory),
            LockServiceName::Lease => return Ok(Backend::Lease),
            LockServiceName::Redis => ServiceKind::Redis,
            LockServiceName::Etcd => ServiceKind::Etcd,
            LockServiceName::ZooKeeper => ServiceKind::ZooKeeper,
        };
        let address = match given(kind, arguments)? {
            Some(address) => address,
            None => {
                let options = options(kind, arguments);
                let started = block_in_place(|| LocalService::start(&options))
                    .map_err(|error| Stop::new(Exit::Failed, error.to_string()))?;
                let address = match kind {
                    ServiceKind::Redis => format!("redis://{}", started.address()),
                    ServiceKind::Etcd => format!("http://{}", started.address()),
                    ServiceKind::ZooKeeper => started.address().to_owned(),
                };
                self.started.push(started);
                Secret::new(address)
            }
        };
        Ok(Backend::Server(LockServer { kind, address, login: login(kind)? }))
    }
}

/// Why `service` cannot be had though nobody was asked for a particular one: its program is
/// nowhere. For `--strategy all`, which leaves it out then.
pub(super) fn is_missing(service: LockServiceName, arguments: &LockArguments) -> Option<String> {
    let kind = match service {
        LockServiceName::Advisory | LockServiceName::Lease => return None,
        LockServiceName::Redis => ServiceKind::Redis,
        LockServiceName::Etcd => ServiceKind::Etcd,
        LockServiceName::ZooKeeper => ServiceKind::ZooKeeper,
    };
    if !matches!(given(kind, arguments), Ok(None)) {
        return None;
    }
    let ServiceOptions { binary, java, .. } = options(kind, arguments);
    let found = kind.find(binary.as_deref(), java.as_deref());
    found.err().filter(ServiceError::is_missing).map(|error| error.to_string())
}

fn options(kind: ServiceKind, arguments: &LockArguments) -> ServiceOptions {
    let binary = match kind {
        ServiceKind::Redis => arguments.redis_server.clone(),
        ServiceKind::Etcd => arguments.etcd_binary.clone(),
        ServiceKind::ZooKeeper => arguments.zookeeper_jar.clone(),
    };
    let durable = arguments.redis_durability == RedisDurability::Fsync;
    ServiceOptions { binary, java: arguments.java.clone(), durable, ..ServiceOptions::new(kind) }
}

/// The address that was named, if any.
fn given(kind: ServiceKind, arguments: &LockArguments) -> Result<Option<Secret>, Stop> {
    let address = match kind {
        ServiceKind::Redis => match &arguments.redis {
            Some(url) if url.contains('@') => {
                return Err(Stop::new(
                    Exit::Usage,
                    format!(
                        "--redis holds a password, which everybody on this machine can read; put \
                         the URL in {REDIS_VARIABLE} instead"
                    ),
                ));
            }
            Some(url) => Some(url.clone()),
            None => std::env::var(REDIS_VARIABLE).ok().filter(|url| !url.is_empty()),
        },
        ServiceKind::Etcd => arguments.etcd.clone(),
        ServiceKind::ZooKeeper => arguments.zookeeper.clone(),
    };
    Ok(address.map(Secret::new))
}

/// Name and password, where the environment gives them.
fn login(kind: ServiceKind) -> Result<Option<(String, Secret)>, Stop> {
    let variable = match kind {
        ServiceKind::Redis => return Ok(None),
        ServiceKind::Etcd => "SHARDBANK_ETCD_LOGIN",
        ServiceKind::ZooKeeper => "SHARDBANK_ZOOKEEPER_LOGIN",
    };
    let Some(text) = std::env::var(variable).ok().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let (name, password) = text.split_once(':').ok_or_else(|| {
        Stop::new(Exit::Usage, format!("{variable} is not of the form NAME:PASSWORD"))
    })?;
    Ok(Some((name.to_owned(), Secret::new(password.to_owned()))))
}
