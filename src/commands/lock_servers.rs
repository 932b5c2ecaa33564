//! The lock servers that strategies need: those that were named, else private ones.

use std::collections::{BTreeSet, HashMap};

use tokio::task::block_in_place;

use super::{Exit, Stop};
use crate::cli::locks::{LockArguments, RedisDurability};
use crate::local::services::{LocalService, ServiceError, ServiceKind, ServiceOptions};
use crate::locks::backend::{Backend, LockServer};
use crate::locks::tls::TlsFiles;
use crate::shards::Secret;
use crate::strategies::LockServiceName;

/// Where a Redis URL with a password belongs.
const REDIS_VARIABLE: &str = "SHARDBANK_REDIS";

/// Lock servers for one command; those that were started here end with this value.
#[derive(Default)]
pub(super) struct LockServers {
    backends: HashMap<LockServiceName, Backend>,
    /// Those that were named, and whether they are reached over TLS.
    named: Vec<(LockServer, bool)>,
    started: Vec<LocalService>,
}

impl LockServers {
    /// Opens what `services` name.
    ///
    /// # Errors
    /// One was neither named nor can be started; or one was named by what cannot be used, would
    /// send a password in clear to another machine, or says it to everybody on this one.
    pub(super) fn open(
        services: impl IntoIterator<Item = LockServiceName>,
        arguments: &LockArguments,
    ) -> Result<Self, Stop> {
        let services: BTreeSet<_> = services.into_iter().collect();
        let kinds: Vec<_> = services.iter().copied().filter_map(server_of).collect();
        let named = named(&kinds, arguments)?;
        let mut servers = Self { named, ..Self::default() };
        for service in services {
            let backend = servers.backend(service, arguments)?;
            servers.backends.insert(service, backend);
        }
        Ok(servers)
    }

    /// Who grants the locks of `service`.
    pub(super) fn of(&self, service: LockServiceName) -> Backend {
        self.backends[&service].clone()
    }

    /// What was started here and how durable it is, what was named and how it is reached; one line
    /// each.
    pub(super) fn described(&self) -> Vec<String> {
        let named = self.named.iter().map(|(server, is_encrypted)| {
            let how = if *is_encrypted { "over TLS" } else { "unencrypted" };
            format!("{}: a server that was named, reached {how}", server.kind)
        });
        let started = self.started.iter().map(|server| {
            format!("{}: a private server on this machine, {}", server.kind(), server.durability())
        });
        named.chain(started).collect()
    }

    fn backend(
        &mut self,
        service: LockServiceName,
        arguments: &LockArguments,
    ) -> Result<Backend, Stop> {
        let Some(kind) = server_of(service) else {
            return Ok(match service {
                LockServiceName::Advisory => Backend::Advisory,
                _ => Backend::Lease,
            });
        };
        if let Some((server, _)) = self.named.iter().find(|(server, _)| server.kind == kind) {
            return Ok(Backend::Server(server.clone()));
        }
        let options = options(kind, arguments);
        let started = block_in_place(|| LocalService::start(&options))
            .map_err(|error| Stop::new(Exit::Failed, error.to_string()))?;
        let address = match kind {
            ServiceKind::Redis => format!("redis://{}", started.address()),
            ServiceKind::Etcd => format!("http://{}", started.address()),
            ServiceKind::ZooKeeper => started.address().to_owned(),
        };
        self.started.push(started);
        let (address, tls) = (Secret::new(address), TlsFiles::default());
        Ok(Backend::Server(LockServer { kind, address, login: login(kind)?, tls }))
    }
}

/// The servers of these kinds that were named, and whether they are reached over TLS. What cannot
/// be used, or exposes more than somebody said it may, is refused before anything is started.
fn named(
    kinds: &[ServiceKind],
    arguments: &LockArguments,
) -> Result<Vec<(LockServer, bool)>, Stop> {
    let mut named = Vec::new();
    for &kind in kinds {
        let usage = |why: String| Stop::new(Exit::Usage, format!("{kind}: {why}"));
        let Some(address) = given(kind, arguments)? else { continue };
        let server = LockServer { kind, address, login: login(kind)?, tls: arguments.tls() };
        let exposure = server.exposure().map_err(|error| usage(error.to_string()))?;
        if !arguments.lock_trust_network {
            exposure.check().map_err(|exposed| usage(exposed.to_string()))?;
        }
        named.push((server, exposure.is_encrypted));
    }
    let is_encrypted = named.iter().any(|(_, is_encrypted)| *is_encrypted);
    if !kinds.is_empty() && !is_encrypted && arguments.tls() != TlsFiles::default() {
        return Err(Stop::new(
            Exit::Usage,
            "--lock-ca, --lock-cert and --lock-key are for TLS, and no lock server is named as one \
             that is reached over TLS; write rediss://, https:// or tls:// in its address",
        ));
    }
    Ok(named)
}

/// The kind of server that grants the locks of `service`, where it is none of the shards.
const fn server_of(service: LockServiceName) -> Option<ServiceKind> {
    match service {
        LockServiceName::Advisory | LockServiceName::Lease => None,
        LockServiceName::Redis => Some(ServiceKind::Redis),
        LockServiceName::Etcd => Some(ServiceKind::Etcd),
        LockServiceName::ZooKeeper => Some(ServiceKind::ZooKeeper),
    }
}

/// Why `service` cannot be had though nobody was asked for a particular one: its program is
/// nowhere. For `--strategy all`, which leaves it out then.
pub(super) fn is_missing(service: LockServiceName, arguments: &LockArguments) -> Option<String> {
    let kind = server_of(service)?;
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
