//! What the network between here and a lock server gets to see, decided from the address alone.
//!
//! Two things are refused unless somebody says that the network is trusted: a password that would
//! travel in clear to another machine, and a Redis on another machine that asks for nothing at
//! all, for whoever reaches it could grant and take away locks as he likes. Neither puts money at
//! risk, which the shards' fences guard; a password that is known and a server that obeys
//! everybody are bad enough.

use crate::local::services::ServiceKind;
use crate::shards::is_this_machine;

/// What could be seen on the way to a lock server, or be done by whoever reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// Which kind it is.
    pub kind: ServiceKind,
    /// Its hosts; none where it is reached by a socket of this machine.
    pub hosts: Vec<String>,
    /// Whether it is reached over TLS.
    pub is_encrypted: bool,
    /// Whether it is told a password.
    pub has_password: bool,
    /// Whether it is shown a certificate.
    pub has_certificate: bool,
}

/// More would be exposed than somebody may have meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exposed {
    /// The password.
    #[error(
        "the password for {kind} would go to {host} unencrypted; name the server by {encrypted} \
         for TLS, or say --lock-trust-network if nobody else reads that network"
    )]
    Password {
        /// For which kind of server.
        kind: ServiceKind,
        /// To which host.
        host: String,
        /// How an address begins that means TLS.
        encrypted: &'static str,
    },
    /// The server.
    #[error(
        "Redis on {0} is to be used without a password, and so by everybody who reaches it; give \
         it one (its URL then belongs in SHARDBANK_REDIS) or a certificate (--lock-cert), or say \
         --lock-trust-network if nobody else does"
    )]
    Server(String),
}

impl Exposure {
    /// Whether that may be, on a network that nobody has called trusted.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self) -> Result<(), Exposed> {
        let Some(host) = self.hosts.iter().find(|host| !is_this_machine(host)) else {
            return Ok(());
        };
        if self.has_password && !self.is_encrypted {
            let (kind, host) = (self.kind, host.clone());
            let encrypted = match kind {
                ServiceKind::Redis => "rediss://",
                ServiceKind::Etcd => "https://",
                ServiceKind::ZooKeeper => "tls://",
            };
            return Err(Exposed::Password { kind, host, encrypted });
        }
        let is_asked = self.has_password || self.has_certificate;
        if self.kind == ServiceKind::Redis && !is_asked {
            return Err(Exposed::Server(host.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(kind: ServiceKind, hosts: &[&str]) -> Exposure {
        Exposure {
            kind,
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            is_encrypted: false,
            has_password: false,
            has_certificate: false,
        }
    }

    #[test]
    fn a_password_goes_to_other_machines_over_tls_only() {
        for kind in ServiceKind::ALL {
            for (hosts, is_safe) in [
                (&["localhost", "127.0.0.9", "::1"][..], true),
                (&[], true),
                (&["127.0.0.1", "10.0.0.1"], false),
                (&["localhost.example"], false),
                (&["0.0.0.0"], false),
            ] {
                let clear = Exposure { has_password: true, ..exposure(kind, hosts) };
                assert_eq!(clear.check().is_ok(), is_safe, "{kind} {hosts:?}");
                let encrypted = Exposure { is_encrypted: true, ..clear };
                assert_eq!(encrypted.check(), Ok(()));
            }
        }
    }

    #[test]
    fn a_redis_elsewhere_must_want_to_know_who_comes() {
        let open = exposure(ServiceKind::Redis, &["cache.example"]);
        assert_eq!(open.check(), Err(Exposed::Server("cache.example".to_owned())));
        let encrypted = Exposure { is_encrypted: true, ..open.clone() };
        assert!(encrypted.check().is_err(), "whom it lets in is another matter");
        let shown = Exposure { has_certificate: true, ..encrypted };
        assert_eq!(shown.check(), Ok(()));
        assert_eq!(exposure(ServiceKind::Redis, &["127.0.0.1"]).check(), Ok(()));
    }
}
