//! The way to ZooKeeper's servers: in clear, or over TLS.

use zookeeper_client::{Client, Connector, Error};

use super::encrypted::Encrypted;
use crate::locks::tls::TlsFiles;

/// What all addresses begin with for TLS.
const ENCRYPTED: &str = "tls://";

/// Where a server listens that is not told to listen elsewhere.
const PORT: u16 = 2181;

/// The servers, and how they are spoken to.
pub(super) struct Route {
    hosts: String,
    tls: Option<Encrypted>,
}

impl Route {
    /// To `hosts`: `host:port,…`, with `tls://` before them for TLS.
    ///
    /// # Errors
    /// A line: it is no such list, or `files` cannot be used.
    pub(super) fn new(hosts: &str, files: &TlsFiles) -> Result<Self, String> {
        let (hosts, is_encrypted) = match hosts.strip_prefix(ENCRYPTED) {
            Some(hosts) => (hosts, true),
            None => (hosts, false),
        };
        if hosts.is_empty() || hosts.contains('/') {
            return Err(format!(
                "the hosts {hosts:?} must be host:port[,host:port…], with {ENCRYPTED} once before \
                 all of them for TLS, and without a path: that is the root's"
            ));
        }
        let mut route = Self { hosts: hosts.to_owned(), tls: None };
        if is_encrypted {
            route.tls = Some(Encrypted::new(&route.servers(), files)?);
        }
        Ok(route)
    }

    /// Its servers: host and port.
    pub(super) fn servers(&self) -> Vec<(&str, u16)> {
        self.hosts.split(',').map(host_and_port).collect()
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn shows_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(Encrypted::shows_certificate)
    }

    pub(super) async fn connect(&self, connector: Connector) -> Result<Client, Error> {
        match &self.tls {
            Some(encrypted) => encrypted.connect(connector, &self.hosts).await,
            None => connector.connect(&self.hosts).await,
        }
    }

    /// Why there was `error`; from the servers themselves, where TLS may be the cause.
    pub(super) async fn explain(&self, error: &Error) -> String {
        let objection = match &self.tls {
            Some(encrypted) => encrypted.objection(&self.servers()).await,
            None => None,
        };
        objection.unwrap_or_else(|| error.to_string())
    }
}

fn host_and_port(server: &str) -> (&str, u16) {
    let (host, port) = match server.rsplit_once(':') {
        // Of an address of version 6 without a port, the colon is its own.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(PORT)),
        _ => (server, PORT),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart() {
        let route = Route::new("a:1,b,10.0.0.1:2,[::1],[::2]:3", &TlsFiles::default()).unwrap();
        let expected = [("a", 1), ("b", PORT), ("10.0.0.1", 2), ("::1", PORT), ("::2", 3)];
        assert_eq!(route.servers(), expected);
    }
}
