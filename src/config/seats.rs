//! The configuration of the workload of seats: its words, its defaults, and what makes no sense
//! with it.

use serde::{Deserialize, Serialize};

use super::check::{numbers, only_with_distribution};
use super::{BenchConfig, Values};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadName {
    /// Transfers between accounts.
    #[default]
    Transfers,
    /// Seats that are looked for, thought about and paid for.
    Seats,
}

/// Where seats live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeatsOn {
    /// Seat n on shard (n − 1) mod count.
    #[default]
    AllShards,
    /// All on shard 0.
    OneShard,
}

impl SeatsOn {
    /// As files spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllShards => "all-shards",
            Self::OneShard => "one-shard",
        }
    }
}

impl BenchConfig {
    /// What is measured; transfers where nobody says.
    #[must_use]
    pub fn measured(&self) -> WorkloadName {
        self.workload.unwrap_or_default()
    }

    /// The lowest layer under the workload of seats: three ways on two local servers.
    #[must_use]
    pub(super) fn seat_defaults() -> Self {
        Self {
            workload: Some(WorkloadName::Seats),
            name: Some("seats".to_owned()),
            strategies: Some(["hold-row", "reserve", "lock-lease"].map(str::to_owned).to_vec()),
            runs: Some(5),
            time: Some(Values::one(5.0)),
            warmup: Some(Values::one(1.0)),
            clients: Some(Values::one(16)),
            distribution: Some(Values::one(super::Distribution::Uniform)),
            seats: Some(Values::one(2000)),
            seats_on: Some(SeatsOn::AllShards),
            think_time: Some(Values::one(100)),
            hold_time: Some(Values::one(1000)),
            abandon_percent: Some(Values::one(5.0)),
            output: Some("results".to_owned()),
            ..Self::default()
        }
    }
}

/// Keys that only transfers have and that are given.
fn of_transfers(c: &BenchConfig) -> Vec<&'static str> {
    let given = [
        ("transfers", c.transfers.is_some()),
        ("jobs", c.jobs.is_some()),
        ("accounts", c.accounts.is_some()),
        ("opening_balance", c.opening_balance.is_some()),
        ("amount_max", c.amount_max.is_some()),
        ("hot_on", c.hot_on.is_some()),
        ("cross_shard_percent", c.cross_shard_percent.is_some()),
        ("max_tries", c.max_tries.is_some()),
        ("log", c.log.is_some()),
    ];
    given.into_iter().filter_map(|(key, is_given)| is_given.then_some(key)).collect()
}

/// Keys that only seats have and that are given.
fn of_seats(c: &BenchConfig) -> Vec<&'static str> {
    let given = [
        ("seats", c.seats.is_some()),
        ("seats_on", c.seats_on.is_some()),
        ("think_time", c.think_time.is_some()),
        ("hold_time", c.hold_time.is_some()),
        ("abandon_percent", c.abandon_percent.is_some()),
    ];
    given.into_iter().filter_map(|(key, is_given)| is_given.then_some(key)).collect()
}

/// Finds keys of the workload that is not measured.
pub(super) fn keys_of_the_other(found: &mut Vec<String>, c: &BenchConfig) {
    let (keys, here, there) = match c.measured() {
        WorkloadName::Transfers => (of_seats(c), "transfers", "seats"),
        WorkloadName::Seats => (of_transfers(c), "seats", "transfers"),
    };
    for key in keys {
        found.push(format!(
            "{key} is of the workload of {there} and has no effect on {here}; leave it out, or \
             set workload = {there:?}"
        ));
    }
}

/// Finds what is wrong with a configuration of seats beyond what any workload has.
pub(super) fn problems(found: &mut Vec<String>, c: &BenchConfig) {
    numbers(found, "seats", c.seats.as_ref(), 2, 1_000_000);
    numbers(found, "think_time", c.think_time.as_ref(), 0, 600_000);
    // A transaction that stays open for longer is ended by its server.
    numbers(found, "hold_time", c.hold_time.as_ref(), 10, 30_000);
    numbers(found, "abandon_percent", c.abandon_percent.as_ref(), 0.0, 100.0);
    only_with_distribution(found, c);
    let shards = match &c.shard {
        Some(given) => given.len() as u64,
        None => c.shards.iter().flat_map(Values::as_slice).max().map_or(2, |most| u64::from(*most)),
    };
    if let Some(seats) = c.seats.iter().flat_map(Values::as_slice).min()
        && *seats < shards
    {
        found
            .push(format!("seats = {seats} is too few for {shards} shards; give {shards} or more"));
    }
    let most_hot = c.hot_accounts.iter().flat_map(Values::as_slice).max();
    if let (Some(hot), Some(seats)) = (most_hot, c.seats.iter().flat_map(Values::as_slice).min())
        && hot > seats
    {
        found.push(format!(
            "hot_accounts = {hot}, which counts seats here, is more than seats = {seats}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problems;

    fn found(change: impl FnOnce(&mut BenchConfig)) -> Vec<String> {
        let mut config = BenchConfig::seat_defaults();
        change(&mut config);
        problems(&config)
    }

    #[test]
    fn the_defaults_have_no_problem_also_on_one_shard() {
        assert_eq!(found(|_| {}), Vec::<String>::new());
        assert_eq!(found(|c| c.shards = Some(Values::one(1))), Vec::<String>::new());
    }

    #[test]
    fn what_makes_no_sense_with_the_workload_is_refused_by_name() {
        let lines = found(|c| {
            c.transfers = Some(Values::one(10));
            c.time = None;
            c.max_tries = Some(Values::one(3));
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("transfers is of the workload of transfers"), "{lines:?}");
        let mut transfers = BenchConfig::defaults();
        transfers.hold_time = Some(Values::one(100));
        let lines = problems(&transfers);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("workload = \"seats\""), "{lines:?}");
    }

    #[test]
    fn every_shard_has_a_seat() {
        let lines = found(|c| {
            c.seats = Some(Values::one(2));
            c.shards = Some(Values::one(3));
        });
        assert!(lines[0].contains("give 3 or more"), "{lines:?}");
    }
}
