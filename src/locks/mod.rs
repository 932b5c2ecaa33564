//! Distributed locks: one module a service, and what is common to all of them.

pub mod service;
#[cfg(feature = "lock-zookeeper")]
pub mod zookeeper;
