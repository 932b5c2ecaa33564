//! Where a server listens: on a Unix socket of this machine or on a port of some host.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;

use super::conninfo::Conninfo;
use super::environment::Environment;
use super::target::TargetError;

/// Where the server listens.
pub(super) enum Place {
    /// On a Unix socket in this directory.
    Socket { directory: PathBuf, is_default: bool },
    /// On a TCP port of this host, whose lookup an address saves.
    Network { host: String, address: Option<IpAddr> },
}

impl Place {
    /// Where `conninfo` says, or this machine's usual socket.
    ///
    /// # Errors
    /// The host or address is none.
    pub(super) fn of(
        conninfo: &Conninfo,
        environment: &Environment,
        port: u16,
    ) -> Result<Self, TargetError> {
        let address = conninfo.hostaddr.as_deref().map(str::parse::<IpAddr>).transpose();
        let address = address.map_err(|_| TargetError::HostAddress)?;
        match (&conninfo.host, address) {
            (Some(host), None) if host.starts_with('/') => {
                let is_default = environment.is_default_socket_directory(Path::new(host));
                Ok(Self::Socket { directory: PathBuf::from(host), is_default })
            }
            (Some(host), _) if !is_host_name(host) => Err(TargetError::Host),
            (Some(host), address) => Ok(Self::Network { host: host.clone(), address }),
            (None, Some(address)) => {
                Ok(Self::Network { host: address.to_string(), address: Some(address) })
            }
            (None, None) => Ok(Self::Socket {
                directory: environment.default_socket_directory(port),
                is_default: true,
            }),
        }
    }

    /// Tells the client.
    pub(super) fn apply(&self, config: &mut Config) {
        match self {
            Self::Socket { directory, .. } => {
                config.host_path(directory);
            }
            Self::Network { host, address } => {
                config.host(host);
                if let Some(address) = address {
                    config.hostaddr(*address);
                }
            }
        }
    }

    /// Whether what is sent there never leaves this machine.
    pub(super) fn is_this_machine(&self) -> bool {
        match self {
            Self::Socket { .. } => true,
            Self::Network { address: Some(address), .. } => address.is_loopback(),
            Self::Network { host, address: None } => is_this_machine(host),
        }
    }

    /// For messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Socket { directory, .. } => directory.display().to_string(),
            Self::Network { host, .. } if host.contains(':') => format!("[{host}]"),
            Self::Network { host, .. } => host.clone(),
        }
    }

    /// As a file of passwords spells it.
    pub(super) fn password_host(&self) -> &str {
        match self {
            Self::Socket { is_default: true, .. } => "localhost",
            Self::Socket { directory, .. } => directory.to_str().unwrap_or("localhost"),
            Self::Network { host, .. } => host,
        }
    }
}

/// Whether what is sent to `host` never leaves this machine.
pub(crate) fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_host_name(host: &str) -> bool {
    host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'))
}
