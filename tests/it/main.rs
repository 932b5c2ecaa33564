//! Everything that needs servers: one binary, over one local cluster that is started once. Where
//! Postgres or a lock server is not installed these tests fail, and the message says how to
//! install it.

#[cfg(test)]
mod auditing;
#[cfg(test)]
mod bank;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod bench_consistency;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod connecting;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod doomed;
#[cfg(test)]
mod effects;
#[cfg(test)]
mod events;
#[cfg(test)]
mod events_relayed;
#[cfg(test)]
mod forcing;
#[cfg(test)]
mod half_visible;
#[cfg(test)]
mod local;
#[cfg(test)]
mod lock_checks;
#[cfg(test)]
mod lock_etcd;
#[cfg(test)]
mod lock_leftovers;
#[cfg(test)]
mod lock_outages;
#[cfg(test)]
mod lock_redis;
#[cfg(test)]
mod lock_servers;
#[cfg(test)]
mod lock_tls;
#[cfg(test)]
mod lock_zookeeper;
#[cfg(test)]
mod locks;
#[cfg(test)]
mod outliving;
#[cfg(test)]
mod places;
#[cfg(test)]
mod prune;
#[cfg(test)]
mod recovering;
#[cfg(test)]
mod reservations;
#[cfg(test)]
mod resetting;
#[cfg(test)]
mod reused_ids;
#[cfg(test)]
mod sagas;
#[cfg(test)]
mod seats;
#[cfg(test)]
mod seats_bench;
#[cfg(test)]
mod services;
#[cfg(test)]
mod shards;
#[cfg(test)]
mod support;
