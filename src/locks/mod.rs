//! Distributed locks: one module a service, and what is common to all of them.

#[cfg(feature = "lock-etcd")]
pub mod etcd;
#[cfg(feature = "lock-redis")]
pub mod redis;
pub mod service;
