//! What a plan demands of the site where it runs.

use std::time::Duration;

use crate::bench::plan::{Plan, Point};
use crate::bench::seats::plan::{SeatPlan, SeatPoint};
use crate::bench::seats::run;
use crate::locks::backend::Backend;
use crate::strategies::{LockServiceName, Strategy};
use crate::verbs::locking::LockTerms;

/// Seats need no accounts, but a cluster has some.
const ACCOUNTS_A_SHARD: u64 = 2;

/// What a plan demands of the site where it runs.
pub struct Demand {
    /// How many shards.
    pub shards: u16,
    /// Transfers, or users, at a time.
    pub clients: u32,
    /// Connections to each shard for them, beside those for their locks.
    pub connections: u32,
    /// Slots for prepared transactions on each shard.
    pub slots: u32,
    /// Who grants locks.
    pub services: Vec<LockServiceName>,
    /// How long a lock is waited for where no flag says it.
    pub lock_wait: Duration,
    /// How many accounts.
    pub accounts: u64,
    /// What each begins with, in minor units.
    pub opening_balance: u64,
}

impl Demand {
    /// That of transfers. Where the shards are given, all points run on them.
    pub fn of_transfers(plan: &Plan, given: bool, shards: u16) -> Self {
        let here = |point: &&Point| given || point.shards == shards;
        let most = |figure: fn(&Point) -> u32| {
            plan.points.iter().filter(here).map(figure).max().unwrap_or(0)
        };
        let prepares = plan.strategies.iter().any(|strategy| strategy.prepares());
        let clients = most(|point| point.clients);
        let accounts = plan.points.iter().filter(here).map(Point::accounts_needed).max();
        Self {
            shards,
            clients,
            connections: clients,
            slots: if prepares { most(|point| point.clients + 2 * point.jobs) } else { 0 },
            services: plan.strategies.iter().filter_map(Strategy::lock_service).collect(),
            lock_wait: LockTerms::default().wait,
            accounts: accounts.unwrap_or(0),
            opening_balance: plan.opening_balance,
        }
    }

    /// That of seats. Somebody who wants one waits as long for a lock as for a row, so that the
    /// ways compare.
    pub fn of_seats(plan: &SeatPlan, given: bool, shards: u16, lock_wait: Duration) -> Self {
        let here = |point: &&SeatPoint| given || point.shards == shards;
        let clients = plan.points.iter().filter(here).map(|point| point.clients).max();
        let clients = clients.unwrap_or(0);
        Self {
            shards,
            clients,
            connections: run::connections(clients),
            slots: u32::from(shards),
            services: plan.ways.iter().filter_map(|way| way.lock_service()).collect(),
            lock_wait,
            accounts: ACCOUNTS_A_SHARD * u64::from(shards),
            opening_balance: 0,
        }
    }

    /// Connections to each shard, those for locks by `backends` among them.
    pub fn connections_with(&self, backends: impl Iterator<Item = Backend>) -> u32 {
        let for_locks = backends.map(|backend| backend.connections(self.clients as usize)).max();
        self.connections + u32::try_from(for_locks.unwrap_or(0)).unwrap_or(u32::MAX)
    }
}
