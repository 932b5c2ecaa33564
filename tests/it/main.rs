//! Everything that needs Postgres: one binary, over one local cluster that is started once.
//! Where no Postgres is installed these tests fail, and the message says how to install it.

#[cfg(test)]
mod auditing;
#[cfg(test)]
mod bank;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod connecting;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod doomed;
#[cfg(test)]
mod effects;
#[cfg(test)]
mod forcing;
#[cfg(test)]
mod local;
#[cfg(test)]
#[cfg(any(feature = "lock-etcd", feature = "lock-redis"))]
mod lock_checks;
#[cfg(test)]
#[cfg(feature = "lock-etcd")]
mod lock_etcd;
#[cfg(test)]
#[cfg(feature = "lock-redis")]
mod lock_redis;
#[cfg(test)]
#[cfg(any(feature = "lock-etcd", feature = "lock-redis"))]
mod lock_servers;
#[cfg(test)]
mod prune;
#[cfg(test)]
mod recovering;
#[cfg(test)]
mod resetting;
#[cfg(test)]
mod shards;
#[cfg(test)]
mod support;
