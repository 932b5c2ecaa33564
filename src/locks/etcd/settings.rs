//! Where etcd is, and how to get in.

use std::fmt;
use std::time::Duration;

use tonic::transport::{ClientTlsConfig, Endpoint, Identity};

use super::messages::AuthenticateRequest;
use crate::local::services::ServiceKind;
use crate::locks::exposure::Exposure;
use crate::locks::tls::{Tls, TlsFiles, TlsFilesError};
use crate::verbs::locking::LockError;

/// Where `https://` leads that names no port.
const HTTPS_PORT: u16 = 443;

/// Where etcd is, how to get in, and what our keys begin with.
#[derive(Clone)]
pub struct EtcdSettings {
    pub(super) endpoints: Vec<Endpoint>,
    tls: Option<Tls>,
    pub(super) login: Option<AuthenticateRequest>,
    pub(super) prefix: String,
    /// How long a connection, and each answer, may take before the next address is tried.
    pub answer_within: Duration,
}

/// What was given cannot be used. It may hold a password and is not repeated.
#[derive(Debug, thiserror::Error)]
pub enum EtcdAddressError {
    /// It is not a list of addresses of etcd.
    #[error(
        "not an address of etcd; write http://host:port[,http://host:port…], or https:// before \
         each for TLS (a user and a password are given separately)"
    )]
    NoAddress,
    /// Some members would be reached over TLS and some not.
    #[error("some of the addresses of etcd begin with https:// and some do not; all must, or none")]
    Mixed,
    /// The files for TLS.
    #[error(transparent)]
    Tls(#[from] TlsFilesError),
}

impl EtcdSettings {
    /// The members of one etcd cluster at `addresses`, separated by commas: `http://host:port`, or
    /// `https://host:port` for TLS by the platform's authorities. Everything is kept below
    /// `prefix`, such as `shardbank:<cluster>:`, so that clusters that share an etcd do not meet.
    ///
    /// # Errors
    /// One of them is no such address.
    pub fn new(addresses: &str, prefix: &str) -> Result<Self, EtcdAddressError> {
        Self::with_tls(addresses, prefix, &TlsFiles::default())
    }

    /// The same, with `files` for TLS.
    ///
    /// # Errors
    /// One of them is no such address, or they want TLS and the files cannot be used.
    pub fn with_tls(
        addresses: &str,
        prefix: &str,
        files: &TlsFiles,
    ) -> Result<Self, EtcdAddressError> {
        let addresses: Vec<&str> = addresses.split(',').map(str::trim).collect();
        let encrypted = addresses.iter().filter(|address| address.starts_with("https://")).count();
        let tls = match encrypted {
            0 => None,
            all if all == addresses.len() => Some(Tls::read(files)?),
            _ => return Err(EtcdAddressError::Mixed),
        };
        let endpoints = addresses.iter().map(|address| endpoint(address, tls.as_ref()));
        let endpoints = endpoints.collect::<Result<_, _>>()?;
        let (prefix, answer_within) = (prefix.to_owned(), Duration::from_secs(1));
        Ok(Self { endpoints, tls, login: None, prefix, answer_within })
    }

    /// How many addresses there are.
    pub(super) fn addresses(&self) -> usize {
        self.endpoints.len()
    }

    /// For an etcd that wants to know who calls.
    #[must_use]
    pub fn login(mut self, user: &str, password: &str) -> Self {
        let (name, password) = (user.to_owned(), password.to_owned());
        self.login = Some(AuthenticateRequest { name, password });
        self
    }

    /// What stands against TLS with one of the members, if anything does.
    pub(super) async fn objection(&self) -> Option<LockError> {
        let tls = self.tls.as_ref()?;
        let port = |endpoint: &Endpoint| endpoint.uri().port_u16().unwrap_or(HTTPS_PORT);
        let members = self.endpoints.iter().map(|endpoint| (host(endpoint), port(endpoint)));
        let objection = tls.objection(&members.collect::<Vec<_>>()).await?;
        Some(LockError::Unavailable(format!("etcd: {objection}")))
    }

    /// What somebody on the way could see.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        Exposure {
            kind: ServiceKind::Etcd,
            hosts: self.endpoints.iter().map(|endpoint| host(endpoint).to_owned()).collect(),
            is_encrypted: self.tls.is_some(),
            has_password: self.login.is_some(),
            has_certificate: self.tls.as_ref().is_some_and(Tls::shows_certificate),
        }
    }
}

fn host(endpoint: &Endpoint) -> &str {
    endpoint.uri().host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn endpoint(address: &str, tls: Option<&Tls>) -> Result<Endpoint, EtcdAddressError> {
    let scheme = if tls.is_some() { "https://" } else { "http://" };
    let authority = address.strip_prefix(scheme).unwrap_or(address);
    if authority.is_empty() || authority.contains("://") || authority.contains('@') {
        return Err(EtcdAddressError::NoAddress);
    }
    let endpoint = Endpoint::from_shared(format!("{scheme}{authority}"))
        .map_err(|_| EtcdAddressError::NoAddress)?
        // A member that hangs takes the watch with it; etcd allows a ping every 5 s.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5));
    let Some(tls) = tls else { return Ok(endpoint) };
    let mut config = ClientTlsConfig::new().trust_anchors(tls.anchors());
    if let Some((certificate, key)) = tls.identity_pem() {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    // What could be wrong here is the host's name alone: the files were looked at before.
    endpoint.tls_config(config).map_err(|_| EtcdAddressError::NoAddress)
}

impl fmt::Debug for EtcdSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> =
            self.endpoints.iter().map(|endpoint| endpoint.uri().to_string()).collect();
        f.debug_struct("EtcdSettings")
            .field("addresses", &addresses)
            .field("tls", &self.tls)
            .field("user", &self.login.as_ref().map(|login| &login.name))
            .field("prefix", &self.prefix)
            .field("answer_within", &self.answer_within)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_neither_shown_nor_repeated() {
        let settings = EtcdSettings::new("http://one:2379, two:2379", "shardbank:x:").unwrap();
        let shown = format!("{:?}", settings.login("me", "s3cret"));
        assert!(
            shown.contains("http://one:2379/") && shown.contains("http://two:2379/"),
            "{shown}"
        );
        assert!(shown.contains("\"me\"") && !shown.contains("s3cret"), "{shown}");
        for wrong in ["ftp://one:2379", "http://me:s3cret@one:2379", ""] {
            let error = EtcdSettings::new(wrong, "").expect_err("no such address").to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn all_members_are_reached_over_tls_or_none_is() {
        for mixed in ["https://one:2379,http://two:2379", "one:2379,https://two:2379"] {
            let refused = EtcdSettings::new(mixed, "");
            assert!(matches!(refused, Err(EtcdAddressError::Mixed)), "{mixed}");
        }
    }

    #[test]
    fn what_addresses_expose_is_known() {
        let settings = EtcdSettings::new("http://one.example:2379,[::1]:2379", "").unwrap();
        assert!(!settings.exposure().has_password);
        let seen = settings.login("me", "s3cret").exposure();
        assert_eq!(seen.hosts, ["one.example", "::1"]);
        assert!(seen.has_password && !seen.is_encrypted);
    }
}
