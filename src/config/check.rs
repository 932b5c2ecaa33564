//! Whether a complete configuration makes sense.

use std::fmt::Display;

use super::seats::{self, WorkloadName};
use super::{BenchConfig, Distribution, Values};

/// The largest seed that every reader of JSON keeps exact.
const SEED_MAX: u64 = 1 << 53;
/// Accounts are at least this many a shard, so that every shard has a source and a target.
const ACCOUNTS_PER_SHARD_MIN: u64 = 2;

/// Everything that is wrong with `config`, all layers laid over one another: one line each, with
/// what would be right. Empty where it can be run, as far as numbers go.
#[must_use]
pub fn problems(config: &BenchConfig) -> Vec<String> {
    let mut found = Vec::new();
    let c = config;
    numbers(&mut found, "clients", c.clients.as_ref(), 1, 10_000);
    numbers(&mut found, "jobs", c.jobs.as_ref(), 1, 1024);
    numbers(&mut found, "accounts", c.accounts.as_ref(), 2, 1_000_000_000);
    numbers(&mut found, "transfers", c.transfers.as_ref(), 1, 1_000_000_000_000);
    numbers(&mut found, "amount_max", c.amount_max.as_ref(), 1, 1_000_000_000_000);
    numbers(&mut found, "hot_accounts", c.hot_accounts.as_ref(), 1, 1_000_000_000);
    numbers(&mut found, "max_tries", c.max_tries.as_ref(), 1, 1000);
    numbers(&mut found, "shards", c.shards.as_ref(), 1, 64);
    numbers(&mut found, "seed", c.seed.as_ref(), 0, SEED_MAX);
    numbers(&mut found, "time", c.time.as_ref(), 0.1, 604_800.0);
    numbers(&mut found, "warmup", c.warmup.as_ref(), 0.0, 86_400.0);
    numbers(&mut found, "zipf_theta", c.zipf_theta.as_ref(), 0.0, 10.0);
    numbers(&mut found, "hot_percent", c.hot_percent.as_ref(), 0.0, 100.0);
    numbers(&mut found, "cross_shard_percent", c.cross_shard_percent.as_ref(), 0.0, 100.0);
    numbers(&mut found, "reject_percent", c.reject_percent.as_ref(), 0.0, 100.0);
    number(&mut found, "runs", c.runs, 1, 1000);
    number(&mut found, "opening_balance", c.opening_balance, 0, 1_000_000_000_000);
    number(&mut found, "progress", c.progress, 0.1, 3600.0);
    if c.distribution.as_ref().is_some_and(|given| given.as_slice().is_empty()) {
        found.push("distribution is an empty list; give at least one value".to_owned());
    }
    if c.strategies.as_ref().is_some_and(Vec::is_empty) {
        found.push("strategies is an empty list; give at least one".to_owned());
    }
    if let Some(name) = &c.name
        && (name.is_empty()
            || name.len() > 64
            || !name.chars().all(|x| x.is_ascii_alphanumeric() || "-_.".contains(x))
            || name.starts_with('.'))
    {
        found.push(format!(
            "name {name:?} cannot be part of a folder's name; use up to 64 letters, digits, - and _"
        ));
    }
    seats::keys_of_the_other(&mut found, c);
    if c.shards.is_some() && c.shard.is_some() {
        found.push(
            "shards starts local servers and shard names servers that run; give one of them"
                .to_owned(),
        );
    }
    match c.measured() {
        WorkloadName::Transfers => clashes(&mut found, c),
        WorkloadName::Seats => seats::problems(&mut found, c),
    }
    found
}

/// What is right by itself and wrong together, of transfers.
fn clashes(found: &mut Vec<String>, c: &BenchConfig) {
    if c.time.is_some() && c.transfers.is_some() {
        found.push("time and transfers both end a run; give one of them".to_owned());
    }
    only_with_distribution(found, c);

    let most_shards = match &c.shard {
        Some(given) => given.len() as u64,
        None => most(c.shards.as_ref()).map_or(2, u64::from),
    };
    if let Some(accounts) = least(c.accounts.as_ref())
        && accounts < ACCOUNTS_PER_SHARD_MIN * most_shards
    {
        found.push(format!(
            "accounts = {accounts} is too few for {most_shards} shards: each needs a source and a \
             target; give {} or more",
            ACCOUNTS_PER_SHARD_MIN * most_shards
        ));
    }
    if let (Some(hot), Some(accounts)) = (most(c.hot_accounts.as_ref()), least(c.accounts.as_ref()))
        && hot > accounts
    {
        found.push(format!("hot_accounts = {hot} is more than accounts = {accounts}"));
    }
    let fewest_shards = match &c.shard {
        Some(given) => given.len() as u64,
        None => least(c.shards.as_ref()).map_or(2, u64::from),
    };
    if fewest_shards < 2 && c.cross_shard_percent.as_ref().is_none_or(|p| most_f64(p) > 0.0) {
        found.push(
            "one shard carries no cross-shard transfer; set cross_shard_percent = 0 or give two \
             shards or more"
                .to_owned(),
        );
    }
}

/// Knobs of distributions that nobody asked for.
pub(super) fn only_with_distribution(found: &mut Vec<String>, c: &BenchConfig) {
    let picks = |distribution| {
        let given = c.distribution.as_ref().map(Values::as_slice).unwrap_or_default();
        given.contains(&distribution)
    };
    let mut only_with = |key: &str, given: bool, distribution: Distribution| {
        if given && !picks(distribution) {
            let name = distribution.name();
            found.push(format!(
                "{key} has no effect unless distribution is {name}; add distribution = {name:?} \
                 or leave it out"
            ));
        }
    };
    only_with("zipf_theta", c.zipf_theta.is_some(), Distribution::Zipfian);
    only_with("hot_accounts", c.hot_accounts.is_some(), Distribution::Hotspot);
    only_with("hot_percent", c.hot_percent.is_some(), Distribution::Hotspot);
}

fn most<T: Ord + Copy>(values: Option<&Values<T>>) -> Option<T> {
    values.and_then(|values| values.as_slice().iter().copied().max())
}

fn least<T: Ord + Copy>(values: Option<&Values<T>>) -> Option<T> {
    values.and_then(|values| values.as_slice().iter().copied().min())
}

fn most_f64(values: &Values<f64>) -> f64 {
    values.as_slice().iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

pub(super) fn numbers<T: PartialOrd + Display + Copy>(
    found: &mut Vec<String>,
    key: &str,
    values: Option<&Values<T>>,
    least: T,
    most: T,
) {
    let Some(values) = values else { return };
    if values.as_slice().is_empty() {
        found.push(format!("{key} is an empty list; give at least one value"));
    }
    for value in values.as_slice() {
        number(found, key, Some(*value), least, most);
    }
}

fn number<T: PartialOrd + Display + Copy>(
    found: &mut Vec<String>,
    key: &str,
    value: Option<T>,
    least: T,
    most: T,
) {
    // Not the other way round: a NaN is in no range.
    if let Some(value) = value
        && !(least..=most).contains(&value)
    {
        found.push(format!("{key} = {value} is out of range; give {least} to {most}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(change: impl FnOnce(&mut BenchConfig)) -> Vec<String> {
        let mut config = BenchConfig::defaults();
        change(&mut config);
        problems(&config)
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let lines = found(|c| {
            c.clients = Some(Values::one(0));
            c.time = Some(Values::one(f64::NAN));
            c.hot_percent = Some(Values::one(120.0));
        });
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("time = NaN is out of range")));
    }

    #[test]
    fn a_knob_of_another_distribution_is_refused() {
        let lines = found(|c| c.zipf_theta = Some(Values::one(0.9)));
        assert!(lines[0].contains("distribution = \"zipfian\""), "{lines:?}");
    }

    #[test]
    fn one_shard_carries_nothing_across() {
        let lines = found(|c| c.shards = Some(Values::one(1)));
        assert!(lines[0].contains("cross_shard_percent = 0"), "{lines:?}");
        let none = found(|c| {
            c.shards = Some(Values::one(1));
            c.cross_shard_percent = Some(Values::one(0.0));
        });
        assert_eq!(none, Vec::<String>::new());
    }

    #[test]
    fn too_few_accounts_for_the_shards_are_refused() {
        let lines = found(|c| c.accounts = Some(Values::one(3)));
        assert!(lines[0].contains("give 4 or more"), "{lines:?}");
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        for name in ["../x", "", "a/b", ".hidden"] {
            assert_eq!(found(|c| c.name = Some(name.to_owned())).len(), 1, "{name}");
        }
    }
}
