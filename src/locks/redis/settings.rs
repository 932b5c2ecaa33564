//! Where a Redis server is, and how to get in.

use std::fmt;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::local::services::ServiceKind;
use crate::locks::exposure::Exposure;
use crate::locks::tls::{Tls, TlsFiles, TlsFilesError};
use crate::verbs::locking::LockError;

/// Where a Redis server is, how to get in, and what our keys begin with.
#[derive(Clone)]
pub struct RedisSettings {
    /// Without a word of TLS, which is not left to the crate.
    pub(super) server: ConnectionInfo,
    tls: Option<Tls>,
    pub(super) prefix: String,
    /// How long a connection, and each answer, may take before the server counts as unavailable.
    pub answer_within: Duration,
}

/// What was given cannot be used. It may hold a password and is not repeated.
#[derive(Debug, thiserror::Error)]
pub enum RedisAddressError {
    /// It is not the URL of a Redis server.
    #[error(
        "not a Redis URL; write redis://[user:password@]host[:port][/database], or rediss:// for \
         TLS"
    )]
    NoUrl,
    /// It ends in `#insecure`, or the like.
    #[error(
        "a Redis URL has nothing behind a # (write one in a password as %23): certificates are \
         always verified, and --lock-ca names your own authority"
    )]
    Fragment,
    /// The files for TLS.
    #[error(transparent)]
    Tls(#[from] TlsFilesError),
}

impl RedisSettings {
    /// The server at `url`: `redis://[user:password@]host[:port][/database]`, `rediss://…` for
    /// TLS by the platform's authorities, or `unix:///path?db=…`. Everything is kept below
    /// `prefix`, such as `shardbank:<cluster>:`, so that clusters that share a server do not meet.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn new(url: &str, prefix: &str) -> Result<Self, RedisAddressError> {
        Self::with_tls(url, prefix, &TlsFiles::default())
    }

    /// The same, with `files` for TLS.
    ///
    /// # Errors
    /// It is no such URL, or the URL wants TLS and the files cannot be used.
    pub fn with_tls(url: &str, prefix: &str, files: &TlsFiles) -> Result<Self, RedisAddressError> {
        if url.contains('#') {
            return Err(RedisAddressError::Fragment);
        }
        let (scheme, rest) = url.split_once("://").ok_or(RedisAddressError::NoUrl)?;
        let (plain, tls) = match scheme.to_ascii_lowercase().as_str() {
            "rediss" | "valkeys" => (format!("redis://{rest}"), Some(Tls::read(files)?)),
            _ => (url.to_owned(), None),
        };
        let server = plain.into_connection_info().map_err(|_| RedisAddressError::NoUrl)?;
        if !server.addr().is_supported() || prefix.contains(['{', '}']) {
            return Err(RedisAddressError::NoUrl);
        }
        let login = server.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let server = server
            .set_redis_settings(login)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let (prefix, answer_within) = (prefix.to_owned(), Duration::from_secs(1));
        Ok(Self { server, tls, prefix, answer_within })
    }

    /// By what to speak TLS, and with which port of which host; nothing where it is not wanted.
    pub(super) fn encrypted(&self) -> Option<(&Tls, &str, u16)> {
        match (&self.tls, self.server.addr()) {
            (Some(tls), ConnectionAddr::Tcp(host, port)) => Some((tls, host, *port)),
            _ => None,
        }
    }

    /// What stands against TLS with the server, if anything does.
    pub(super) async fn objection(&self) -> Option<LockError> {
        let (tls, host, port) = self.encrypted()?;
        let objection = tls.objection(&[(host, port)]).await?;
        Some(LockError::Unavailable(format!("Redis: {objection}")))
    }

    /// What somebody on the way could see.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        let hosts = match self.server.addr() {
            ConnectionAddr::Tcp(host, _) => vec![host.clone()],
            _ => Vec::new(),
        };
        Exposure {
            kind: ServiceKind::Redis,
            hosts,
            is_encrypted: self.tls.is_some(),
            has_password: self.server.redis_settings().password().is_some(),
            has_certificate: self.tls.as_ref().is_some_and(Tls::shows_certificate),
        }
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("server", &self.server.addr().to_string())
            .field("tls", &self.tls)
            .field("database", &self.server.redis_settings().db())
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
        let url = "redis://me:s3cret@127.0.0.1:6379/2";
        let shown = format!("{:?}", RedisSettings::new(url, "shardbank:x:").unwrap());
        assert!(shown.contains("127.0.0.1:6379") && shown.contains("database: 2"), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
        for wrong in [
            "http://me:s3cret@host",
            "redis://me:s3cret@",
            "me:s3cret@host",
            " rediss://me:s3cret@host",
            "rediss://me:s3cret@host#insecure",
        ] {
            let error = RedisSettings::new(wrong, "").expect_err("no such URL").to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn there_is_no_insecure_tls() {
        for url in ["rediss://host#insecure", "rediss://host/0#", "redis://host#insecure"] {
            let refused = RedisSettings::new(url, "");
            assert!(matches!(refused, Err(RedisAddressError::Fragment)), "{url}");
        }
    }

    #[test]
    fn what_a_url_exposes_is_known() {
        let exposure = |url: &str| RedisSettings::new(url, "").unwrap().exposure();
        let seen = exposure("redis://me:s3cret@cache.example:6379/2");
        assert_eq!(seen.hosts, ["cache.example"]);
        assert!(seen.has_password && !seen.is_encrypted);
        let seen = exposure("valkey://me@[::1]:7/1");
        assert_eq!(seen.hosts, ["::1"]);
        assert!(!seen.has_password, "a name alone opens nothing");
        let seen = exposure("unix:///run/redis.sock?pass=s3cret");
        assert!(seen.hosts.is_empty() && seen.has_password);
    }
}
