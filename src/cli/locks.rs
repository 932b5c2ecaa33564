//! Who grants locks, and on which terms.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::locks::tls::TlsFiles;
use crate::verbs::locking::LockTerms;

/// For the strategies under locks. A lock server that is not named is started for as long as the
/// command runs, on loopback, where its program is found.
#[derive(Debug, Args)]
pub struct LockArguments {
    /// How long a lock lasts unless it is renewed, in milliseconds. It is renewed when a third of
    /// that is over, and work stops a tenth of it before the end.
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1000..=3_600_000))]
    pub lock_ttl: u64,
    /// How long the two locks of a transfer are waited for, together, in milliseconds [default:
    /// 2000]; or the lock of a seat [default: as --lock-timeout].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub lock_wait: Option<u64>,
    /// A Redis or Valkey server of yours: rediss://HOST:PORT for TLS, redis://HOST:PORT without.
    /// One with a password belongs in SHARDBANK_REDIS.
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// An etcd of yours: https://HOST:PORT for TLS, http://HOST:PORT without; several members with
    /// commas. Name and password, if it wants any, belong in SHARDBANK_ETCD_LOGIN, as
    /// NAME:PASSWORD.
    #[arg(long, value_name = "URL")]
    pub etcd: Option<String>,
    /// A ZooKeeper of yours: HOST:PORT, several servers with commas; with tls:// before all of
    /// them for TLS, on their secureClientPort. Name and password for its digest scheme belong in
    /// SHARDBANK_ZOOKEEPER_LOGIN, as NAME:PASSWORD.
    #[arg(long, value_name = "HOSTS")]
    pub zookeeper: Option<String>,
    /// The authority, in PEM format, that signed the certificates of lock servers reached over
    /// TLS; else those that this machine trusts. Certificate and host name are always verified.
    #[arg(long, value_name = "FILE")]
    pub lock_ca: Option<PathBuf>,
    /// Our own certificate, in PEM format, for lock servers that want to see one.
    #[arg(long, value_name = "FILE", requires = "lock_key")]
    pub lock_cert: Option<PathBuf>,
    /// Its key, in PEM format.
    #[arg(long, value_name = "FILE", requires = "lock_cert")]
    pub lock_key: Option<PathBuf>,
    /// Nobody else is on the network to the lock servers. Without this, a password that would go
    /// unencrypted to another machine is refused, and so is a Redis on another machine that is
    /// told no password and shown no certificate.
    #[arg(long)]
    pub lock_trust_network: bool,
    /// The redis-server or valkey-server to start; else REDIS_SERVER, PATH and the usual places.
    #[arg(long, value_name = "FILE")]
    pub redis_server: Option<PathBuf>,
    /// Whether a Redis that is started here answers only for what is on the disk.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = RedisDurability::Fsync)]
    pub redis_durability: RedisDurability,
    /// The etcd to start; else ETCD, PATH and the usual places.
    #[arg(long, value_name = "FILE")]
    pub etcd_binary: Option<PathBuf>,
    /// The jar of the ZooKeeper to start; else ZOOKEEPER_JAR and the usual places.
    #[arg(long, value_name = "FILE")]
    pub zookeeper_jar: Option<PathBuf>,
    /// The Java to start it with; else JAVA, JAVA_HOME and PATH.
    #[arg(long, value_name = "FILE")]
    pub java: Option<PathBuf>,
}

/// `--redis-durability`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RedisDurability {
    /// appendfsync always: as durable as the shards.
    Fsync,
    /// No persistence: fast, and a restart forgets every lock.
    None,
}

impl LockArguments {
    /// The files for TLS.
    #[must_use]
    pub fn tls(&self) -> TlsFiles {
        let identity = self.lock_cert.clone().zip(self.lock_key.clone());
        TlsFiles { authority: self.lock_ca.clone(), identity }
    }

    /// The terms. Locks are waited for as long as a flag says, or else `wait`.
    #[must_use]
    pub fn terms_or(&self, wait: Duration) -> LockTerms {
        LockTerms {
            ttl: Duration::from_millis(self.lock_ttl),
            wait: self.lock_wait.map_or(wait, Duration::from_millis),
        }
    }

    /// The terms of a transfer's locks.
    #[must_use]
    pub fn terms(&self) -> LockTerms {
        self.terms_or(LockTerms::default().wait)
    }
}
