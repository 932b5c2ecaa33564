//! Which lock service a strategy under locks is given.

use super::{Exit, Stop};
use crate::locks::backend::Backend;
use crate::strategies::LockServiceName;

/// The service of that name.
///
/// # Errors
/// None was given, and none can be started.
pub(super) fn of(service: LockServiceName) -> Result<Backend, Stop> {
    match service {
        LockServiceName::Advisory => Ok(Backend::Advisory),
        LockServiceName::Lease => Ok(Backend::Lease),
        LockServiceName::Redis | LockServiceName::Etcd | LockServiceName::ZooKeeper => {
            Err(Stop::new(Exit::Failed, format!("{}: no such server", service.strategy())))
        }
    }
}
