//! `shardbank bench`: load, measurement, proof, table and files; and `shardbank config`.

mod cell;
mod demand;
mod folder;
mod layers;
mod progress;
mod seat_cell;
mod seats;
mod session;
mod site;
mod stopping;

use std::num::NonZeroUsize;

use super::cluster::runtime;
use super::output::print;
use super::{Exit, Stop, lock_servers};
use crate::bench::plan::{Plan, Surroundings};
use crate::bench::seats::plan::SeatPlan;
use crate::cli::bench::{BenchArguments, BenchCommand};
use crate::config::{WorkloadName, to_toml};
use crate::seats::Way;
use crate::strategies::{
    LockServiceName, reservation, saga, saga_choreographed, same_shard, two_phase,
    two_phase_last_agent,
};
use folder::{Exports, Folder};
use layers::Wanted;
use seats::SeatSession;
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
    let plan = plan(&wanted)?;
    let exports = Exports::check(&command.export)?;
    let started_at = jiff::Timestamp::now();
    let base = wanted.config.output.clone().unwrap_or_default();
    let folder = Folder::create(base.as_ref(), started_at, plan.name())?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let stopped = stopping::listen();
        match plan {
            Planned::Transfers(plan) => {
                let mut session =
                    Session::new(command, wanted, plan, folder, exports, started_at, stopped);
                session.skip(skipped);
                session.run().await
            }
            Planned::Seats(plan) => {
                let (asked, files) = ((wanted, skipped), (folder, exports));
                SeatSession::new(command, asked, plan, files, started_at, stopped).run().await
            }
        }
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
    plan(&wanted)?;
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
    let measured = wanted.config.measured();
    let Some(strategies) = &mut wanted.config.strategies else { return skipped };
    let Some(place) = strategies.iter().position(|text| text == ALL) else { return skipped };
    let without_server: &[&str] = match measured {
        WorkloadName::Transfers => &[
            same_shard::NAME,
            two_phase::NAME,
            two_phase_last_agent::NAME,
            saga::NAME,
            saga_choreographed::NAME,
            reservation::NAME,
        ],
        WorkloadName::Seats => &[Way::HoldRow.name(), Way::Reserve.name()],
    };
    let mut all: Vec<String> = without_server.iter().map(|name| (*name).to_owned()).collect();
    for service in LockServiceName::ALL {
        let name = service.strategy().to_owned();
        match lock_servers::is_missing(service, &arguments.locks) {
            None => all.push(name),
            Some(reason) => skipped.push((name, reason)),
        }
    }
    all.retain(|name| !strategies.contains(name));
    strategies.splice(place..=place, all);
    skipped
}

/// What is to be run.
enum Planned {
    Transfers(Plan),
    Seats(SeatPlan),
}

impl Planned {
    fn name(&self) -> &str {
        match self {
            Self::Transfers(plan) => &plan.name,
            Self::Seats(plan) => &plan.name,
        }
    }
}

fn plan(wanted: &Wanted) -> Result<Planned, Stop> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let shards = wanted.targets.as_ref().map(Vec::len);
    let around = Surroundings {
        shards: shards.map(|count| u16::try_from(count).unwrap_or(u16::MAX)),
        cores: u32::try_from(cores).unwrap_or(1),
        seed: rand::random_range(0..DRAWN_SEED_MAX),
    };
    let planned = match wanted.config.measured() {
        WorkloadName::Transfers => Plan::new(&wanted.config, around).map(Planned::Transfers),
        WorkloadName::Seats => SeatPlan::new(&wanted.config, around).map(Planned::Seats),
    };
    planned.map_err(|lines| Stop { exit: Exit::Usage, lines })
}
