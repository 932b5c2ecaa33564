//! `shardbank chaos`: faults on purpose, on servers of its own.

use std::time::Duration;

use tokio::sync::watch;

use super::cluster::{required_shards, runtime};
use super::coordinator::{begin, open, settings};
use super::output::print;
use super::{Exit, Stop};
use crate::chaos::beside::{Side, recover_beside};
use crate::chaos::ground::Ground;
use crate::chaos::history::Journal;
use crate::chaos::kill::kill;
use crate::chaos::restart::restart;
use crate::chaos::tally::{Tally, Verdict};
use crate::chaos::worker::{Work, work};
use crate::chaos::{ChaosError, MIX, Options};
use crate::cli::chaos::{ChaosArguments, ChaosLoad, ChaosScenario, WorkerArguments};
use crate::ledger::pools::PoolSettings;
use crate::ledger::postgres::PostgresVerbs;
use crate::locks::backend::Backend;
use crate::strategies::name::split_list;
use crate::strategies::{LockServiceName, Strategy};
use crate::verbs::locking::LockTerms;

/// Connections to a shard beside the clients': committers', recovery's, the epoch's.
const SPARE_CONNECTIONS: u32 = 8;
/// What a dead worker held is waited for no longer than that.
const LOCK_TERMS: LockTerms =
    LockTerms { ttl: Duration::from_secs(1), wait: Duration::from_secs(3) };

/// Runs a scenario, or its load.
///
/// # Errors
/// Something was lost, the faults hit nothing, or the scenario could not be carried out.
pub fn run(arguments: &ChaosArguments) -> Result<(), Stop> {
    let (load, scenario) = match &arguments.scenario {
        ChaosScenario::Worker(worker) => return runtime()?.block_on(load_shards(worker)),
        scenario @ (ChaosScenario::Kill { load, .. }
        | ChaosScenario::Restart { load, .. }
        | ChaosScenario::RecoverBeside { load, .. }) => (load, scenario),
    };
    let options = options(load)?;
    if u64::from(options.shards) >= options.accounts {
        let line = "--accounts must exceed --shards: same-shard needs two on one shard";
        return Err(Stop::new(Exit::Usage, line));
    }
    runtime()?.block_on(async {
        print(&format!(
            "{} accounts on {} shards, {} clients, seed {}",
            options.accounts, options.shards, options.clients, options.seed
        ))?;
        let ground = Ground::open(&options).await?;
        let played = play(&ground, &options, scenario).await;
        let kept = ground.close(played.is_err())?;
        played.map_err(|mut stop| {
            stop.lines.push(format!("seed {}", options.seed));
            stop.lines.extend(kept);
            stop
        })
    })
}

async fn play(ground: &Ground, options: &Options, scenario: &ChaosScenario) -> Result<(), Stop> {
    let mut say = |line: &str| {
        // A closed pipe must not end a scenario half-way.
        print(line).ok();
    };
    let tally = match scenario {
        ChaosScenario::Kill { cycles, .. } => kill(ground, options, *cycles, &mut say).await?,
        ChaosScenario::Restart { cycles, .. } => {
            restart(ground, options, *cycles, &mut say).await?
        }
        ChaosScenario::RecoverBeside { seconds, .. } => {
            beside(ground, options, Duration::from_secs(*seconds)).await?
        }
        ChaosScenario::Worker(_) => unreachable!("the load is no scenario"),
    };
    print(&tally.line())?;
    match tally.verdict() {
        Verdict::Held => print("held: nothing was lost, nothing stayed behind"),
        Verdict::Broken => {
            let mut lines = tally.shown();
            lines.push("BROKEN: money, an answer or a branch was lost".to_owned());
            Err(Stop { exit: Exit::InvariantBroken, lines })
        }
        Verdict::Invalid => Err(Stop::new(
            Exit::Failed,
            "INVALID: too few faults hit anything, so nothing is shown; use more clients",
        )),
    }
}

async fn beside(ground: &Ground, options: &Options, time: Duration) -> Result<Tally, Stop> {
    let (sides, tally) = recover_beside(ground, options, time).await?;
    let without = sides[0].rate();
    for side in &sides {
        print(&side_in_words(side, without))?;
    }
    Ok(tally)
}

fn side_in_words(side: &Side, without: f64) -> String {
    format!(
        "{:<22} {:>5.0} s, {:>6.0} transfers/s ({:>+6.1} %), {} passes, {} living branches \
         raced for, {} finished, {} rolled back",
        side.name,
        side.time.as_secs_f64(),
        side.rate(),
        (side.rate() / without.max(1e-9) - 1.0) * 100.0,
        side.passes,
        side.raced,
        side.finished,
        side.false_aborts
    )
}

fn options(load: &ChaosLoad) -> Result<Options, Stop> {
    let given: Vec<String> = load.strategies.iter().flat_map(|text| split_list(text)).collect();
    let names =
        if given.is_empty() { MIX.iter().map(|n| (*n).to_owned()).collect() } else { given };
    Ok(Options {
        accounts: load.accounts,
        clients: load.clients,
        shards: load.shards,
        seed: load.seed.unwrap_or_else(|| rand::random::<u32>().into()),
        strategies: strategies(&names)?,
        directory: load.dir.clone(),
        binaries: load.binaries.pgbin.clone(),
    })
}

fn strategies(names: &[String]) -> Result<Vec<Strategy>, Stop> {
    let parsed: Result<Vec<Strategy>, _> = names.iter().map(|name| name.parse()).collect();
    parsed.map_err(|error| Stop::new(Exit::Usage, format!("--strategy: {error}")))
}

/// The load: orders until standard input closes.
async fn load_shards(arguments: &WorkerArguments) -> Result<(), Stop> {
    let names: Vec<String> =
        arguments.strategies.iter().flat_map(|text| split_list(text)).collect();
    let wanted = Work {
        clients: arguments.clients,
        accounts: arguments.accounts,
        seed: arguments.seed,
        strategies: strategies(&names)?,
        recovers: arguments.recovers,
    };
    let targets = required_shards(&arguments.shards)?;
    let connections = arguments.clients + SPARE_CONNECTIONS;
    let cluster = open(targets, connections, connections).await?;
    let context = begin(cluster, &arguments.coordinator).await?;
    let settings = PoolSettings {
        connections: usize::try_from(connections).unwrap_or(usize::MAX),
        ..settings(&arguments.coordinator)
    };
    let verbs =
        under_locks(PostgresVerbs::new(context, settings), &wanted.strategies, connections).await?;
    let journal = Journal::create(&arguments.history)?;
    work(&verbs, &journal, &wanted, end_of_input()).await?;
    verbs.retire().await;
    Ok(())
}

/// `verbs` with the locks that `strategies` work under, if any does. One value has one service.
async fn under_locks(
    verbs: PostgresVerbs,
    strategies: &[Strategy],
    clients: u32,
) -> Result<PostgresVerbs, Stop> {
    let mut services = strategies.iter().filter_map(Strategy::lock_service);
    let Some(service) = services.next() else { return Ok(verbs) };
    let backend = match service {
        LockServiceName::Advisory => Backend::Advisory,
        LockServiceName::Lease => Backend::Lease,
        _ => {
            return Err(Stop::new(
                Exit::Usage,
                "chaos knows the locks lock-advisory and lock-lease; try the others with \
                 scripts/chaos",
            ));
        }
    };
    if services.any(|other| other != service) {
        return Err(Stop::new(Exit::Usage, "chaos takes locks of one service at a time"));
    }
    let clients = usize::try_from(clients).unwrap_or(usize::MAX);
    let pools = verbs.pools();
    let opened = backend.open(pools.cluster(), pools.presence(), clients, LOCK_TERMS).await;
    let opened = opened.map_err(|error| Stop::new(Exit::Failed, error.to_string()))?;
    Ok(verbs.with_locks(opened, LOCK_TERMS))
}

/// Raised when standard input closes: whoever started this process is gone or has had enough.
fn end_of_input() -> watch::Receiver<bool> {
    let (ended, end) = watch::channel(false);
    std::thread::spawn(move || {
        // What is there to be read says nothing; neither does an error.
        std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()).ok();
        ended.send_replace(true);
    });
    end
}

impl From<ChaosError> for Stop {
    fn from(error: ChaosError) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}
