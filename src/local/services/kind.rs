//! Which lock servers there are.

use std::fmt;
use std::path::Path;

use super::{Binary, ServiceError, find};
use crate::local::server_user::ServerUser;

/// A kind of lock server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// Redis or Valkey.
    Redis,
    /// etcd.
    Etcd,
    /// ZooKeeper.
    ZooKeeper,
}

impl ServiceKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Redis, Self::Etcd, Self::ZooKeeper];

    /// As its makers write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Etcd => "etcd",
            Self::ZooKeeper => "ZooKeeper",
        }
    }

    /// What would be started, looked for as [`LocalService::start`](super::LocalService::start)
    /// does. Starts no server. `binary` and `java` are what the user named.
    ///
    /// # Errors
    /// It is not there: [`ServiceError::is_missing`] where nobody named it.
    pub fn find(self, binary: Option<&Path>, java: Option<&Path>) -> Result<Binary, ServiceError> {
        find::binary(self, binary, java, &ServerUser::choose()?)
    }

    /// The file name that its process shows.
    pub(super) const fn program(self) -> &'static str {
        match self {
            // Valkey answers to it as well. Their file holds several programs, told apart by name.
            Self::Redis => "redis-server",
            Self::Etcd => "etcd",
            Self::ZooKeeper => "java",
        }
    }

    /// Debian's packages.
    pub(super) const fn packages(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Etcd => "etcd-server",
            Self::ZooKeeper => "libzookeeper-java default-jre-headless",
        }
    }

    /// How a server that runs already is named instead.
    pub(super) const fn address_flag(self) -> &'static str {
        match self {
            Self::Redis => "--redis URL",
            Self::Etcd => "--etcd URL",
            Self::ZooKeeper => "--zookeeper HOSTS",
        }
    }

    pub(super) const fn durability(self, durable: bool) -> &'static str {
        match self {
            Self::Redis if durable => "appendfsync always",
            Self::Redis => "no persistence",
            Self::Etcd | Self::ZooKeeper => "fsync",
        }
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
