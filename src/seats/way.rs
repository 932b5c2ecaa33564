//! The ways of keeping a seat, by name.

use std::fmt;
use std::str::FromStr;

use crate::strategies::LockServiceName;

/// A way of keeping a seat while its user thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// The row's lock, in a transaction that stays open.
    HoldRow,
    /// A reservation that runs out.
    Reserve,
    /// A lock by a service.
    UnderLock(LockServiceName),
}

/// There is no such way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no way {0:?} of selling seats; there are hold-row, reserve, lock (which is \
     lock-lease), lock-advisory, lock-lease, lock-redis, lock-etcd and lock-zookeeper"
)]
pub struct UnknownWay(String);

/// What stands for the lock that needs no server beside the shards.
const LOCK: &str = "lock";

impl Way {
    /// The name on the command line, in the sales and in every file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HoldRow => "hold-row",
            Self::Reserve => "reserve",
            Self::UnderLock(service) => service.strategy(),
        }
    }

    /// Who grants its locks, where it works under any.
    #[must_use]
    pub const fn lock_service(self) -> Option<LockServiceName> {
        match self {
            Self::HoldRow | Self::Reserve => None,
            Self::UnderLock(service) => Some(service),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Way {
    type Err = UnknownWay;

    fn from_str(text: &str) -> Result<Self, UnknownWay> {
        if text == LOCK {
            return Ok(Self::UnderLock(LockServiceName::Lease));
        }
        let locks = LockServiceName::ALL.into_iter().map(Self::UnderLock);
        [Self::HoldRow, Self::Reserve]
            .into_iter()
            .chain(locks)
            .find(|way| way.name() == text)
            .ok_or_else(|| UnknownWay(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_found_by_its_name_and_lock_is_a_lease() {
        for name in ["hold-row", "reserve", "lock-advisory", "lock-lease", "lock-zookeeper"] {
            assert_eq!(name.parse::<Way>().expect(name).to_string(), name);
        }
        assert_eq!("lock".parse(), Ok(Way::UnderLock(LockServiceName::Lease)));
        assert!("2pc".parse::<Way>().expect_err("no way").to_string().contains("reserve"));
    }
}
