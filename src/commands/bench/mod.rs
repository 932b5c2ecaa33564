//! `shardbank bench`: load, measurement, proof, table and files; and `shardbank config`.

mod cell;
mod folder;
mod layers;
mod progress;
mod session;
mod site;
mod stopping;

use std::num::NonZeroUsize;

use super::cluster::runtime;
use super::output::print;
use super::{Exit, Stop, lock_servers};
use crate::bench::plan::{Plan, Surroundings};
use crate::cli::bench::{BenchArguments, BenchCommand};
use crate::config::to_toml;
use crate::strategies::{
    LockServiceName, reservation, saga, saga_choreographed, same_shard, two_phase,
    two_phase_last_agent,
};
use folder::{Exports, Folder};
use layers::Wanted;
use session::Session;

/// What stands for every safe strategy.
const ALL: &str = "all";

/// Seeds that are drawn are short enough to be typed again.
const DRAWN_SEED_MAX: u64 = 1 << 32;

/// Runs the benchmark.
///
/// # Errors
/// Wrong usage, shards that are not fit, an invariant that does not hold, or a run that was cut
/// short.
pub fn run(command: &BenchCommand) -> Result<(), Stop> {
    let mut wanted = layers::gather(&command.bench)?;
    let skipped = expand(&mut wanted, &command.bench);
    let plan = plan(&mut wanted)?;
    let exports = Exports::check(&command.export)?;
    let started_at = jiff::Timestamp::now();
    let base = wanted.config.output.clone().unwrap_or_default();
    let folder = Folder::create(base.as_ref(), started_at, &plan.name)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let stopped = stopping::listen();
        let mut session = Session::new(command, wanted, plan, folder, exports, started_at, stopped);
        session.skip(skipped);
        session.run().await
    });
    // A message that is still on its way to a shard that is away must not keep the tool.
    runtime.shutdown_background();
    outcome
}

/// Prints the configuration in effect.
///
/// # Errors
/// Everything that is wrong with it.
pub fn config(arguments: &BenchArguments) -> Result<(), Stop> {
    let mut wanted = layers::gather(arguments)?;
    expand(&mut wanted, arguments);
    plan(&mut wanted)?;
    // Addresses may hold passwords, so the shards are told by name.
    wanted.config.shard = None;
    let mut text = to_toml(&wanted.config);
    for target in wanted.targets.iter().flatten() {
        text.push_str(&format!("# shard: {}\n", target.name()));
    }
    print(text.trim_end())
}

/// Puts every safe strategy in the place of `all`, but for those whose lock servers nobody named
/// and nobody finds; returns these, each with the reason.
fn expand(wanted: &mut Wanted, arguments: &BenchArguments) -> Vec<(String, String)> {
    let mut skipped = Vec::new();
    let Some(strategies) = &mut wanted.config.strategies else { return skipped };
    let Some(place) = strategies.iter().position(|text| text == ALL) else { return skipped };
    let mut all: Vec<String> =
        [same_shard::NAME, two_phase::NAME, two_phase_last_agent::NAME, saga::NAME]
            .into_iter()
            .chain([reservation::NAME])
            .map(str::to_owned)
            .collect();
    for service in LockServiceName::ALL {
        let name = service.strategy().to_owned();
        match lock_servers::is_missing(service, &arguments.locks) {
            None => all.push(name),
            Some(reason) => skipped.push((name, reason)),
        }
    }
    all.push(saga_choreographed::NAME.to_owned());
    all.retain(|name| !strategies.contains(name));
    strategies.splice(place..=place, all);
    skipped
}

fn plan(wanted: &mut Wanted) -> Result<Plan, Stop> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let shards = wanted.targets.as_ref().map(Vec::len);
    let around = Surroundings {
        shards: shards.map(|count| u16::try_from(count).unwrap_or(u16::MAX)),
        cores: u32::try_from(cores).unwrap_or(1),
        seed: rand::random_range(0..DRAWN_SEED_MAX),
    };
    Plan::new(&wanted.config, around).map_err(|lines| Stop { exit: Exit::Usage, lines })
}
