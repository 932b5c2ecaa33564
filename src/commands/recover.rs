//! `shardbank recover`: finishes what dead coordinators left, once or for as long as it runs.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::cluster::{PATIENCE, required_shards, runtime};
use super::coordinator::{context, settings};
use super::output::print;
use super::{Exit, Stop};
use crate::cli::operate::{Forced, RecoverArguments};
use crate::coordination::presence::{Presence, process_name};
use crate::coordination::saga;
use crate::ledger::postgres::PostgresVerbs;
use crate::outcome::{AbortReason, Decision, Finish, Refusal, ShardError};
use crate::shards::ShardTarget;
use crate::shards::cluster::Cluster;
use crate::shards::failure::describe;
use crate::shards::reachable;
use crate::strategies::recovery::{Recovered, recover};
use crate::transfer::{LegKind, Participants, ShardIndex};
use crate::verbs::saga::{ATTEMPTS_MAX, SagaEvent};
use crate::verbs::{DecisionKey, Gid, Register, Verbs};

/// How long the branches of a living coordinator are left alone, where nobody says otherwise.
pub(super) const GRACE: Duration = Duration::from_secs(5);
const BETWEEN_PASSES: Duration = Duration::from_millis(200);
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Recovers.
///
/// # Errors
/// Something is left in doubt, or somebody acted against a verdict.
pub fn run(arguments: &RecoverArguments) -> Result<(), Stop> {
    let forced = arguments.forced().map_err(|line| Stop::new(Exit::Usage, line))?;
    let targets = required_shards(&arguments.shards)?;
    runtime()?.block_on(async {
        let verbs = open(targets, arguments).await?;
        let ended = match forced {
            Some((verdict, gid)) => force(&verbs, verdict, &gid, arguments.yes).await,
            None if arguments.retry_dead => {
                revive_and_recover(&verbs, SagaEvent::Retried, arguments.grace()).await
            }
            None if arguments.refund_dead => {
                revive_and_recover(&verbs, SagaEvent::CompensationOrdered, arguments.grace()).await
            }
            None if arguments.watch => watch(&verbs, arguments.grace()).await,
            None => tokio::select! {
                ended = once(&verbs, arguments.grace()) => ended,
                never = hasten(&verbs) => match never {},
            },
        };
        verbs.retire().await;
        ended
    })
}

/// Opens the cluster with whatever shards can be reached: one that is away delays no other.
async fn open(
    targets: Vec<ShardTarget>,
    arguments: &RecoverArguments,
) -> Result<PostgresVerbs, Stop> {
    let found = reachable::look(&targets, PATIENCE)
        .await
        .map_err(|lines| Stop { exit: Exit::Failed, lines })?;
    for line in &found.unreachable {
        writeln!(io::stderr(), "warning: {line}").ok();
    }
    let cluster = Cluster::new(found.cluster, targets);
    let target = cluster.target(ShardIndex(0)).clone();
    let presence = match Presence::begin(cluster.id(), target.clone(), process_name()).await {
        Ok(presence) => presence,
        Err(error) => {
            writeln!(
                io::stderr(),
                "warning: {error}; nobody's sessions can be ended without it, and nobody can be \
                 called dead; verdicts are right all the same"
            )
            .ok();
            Presence::begin_when_reachable(cluster.id(), target, process_name())
        }
    };
    let context = context(cluster, presence, &arguments.coordinator);
    Ok(PostgresVerbs::new(context, settings(&arguments.coordinator)))
}

/// Whoever recovers by hand does not wait until a saga's next attempt is due. Beside the passes, of
/// which there is another as long as a saga is open: a shard that is away delays no other, and is
/// told of by them.
async fn hasten(verbs: &PostgresVerbs) -> Infallible {
    let cluster = verbs.pools().cluster();
    join_all(cluster.targets().map(async |(shard, _)| {
        if let Ok(client) = cluster.connect(shard, PATIENCE).await {
            saga::hasten(&client).await.ok();
        }
    }))
    .await;
    pending().await
}

/// Lets the sagas that were given up go on as `event` says, and recovers.
async fn revive_and_recover(
    verbs: &PostgresVerbs,
    event: SagaEvent,
    grace: Duration,
) -> Result<(), Stop> {
    let cluster = verbs.pools().cluster();
    for (shard, _) in cluster.targets() {
        let failed = |error: ShardError| Stop::new(Exit::Failed, error.to_string());
        let client = cluster.connect(shard, PATIENCE).await.map_err(failed)?;
        let revived = saga::revive(&client, event).await;
        for transfer in revived.map_err(|error| failed(describe(shard, &error)))? {
            print(&format!("shard {shard}: saga {transfer} goes on"))?;
        }
    }
    once(verbs, grace).await
}

async fn once(verbs: &PostgresVerbs, grace: Duration) -> Result<(), Stop> {
    let started = Instant::now();
    let mut done = Recovered::default();
    // What was young at the first look is old enough, or gone, once the grace period is over.
    let deadline = started + grace + Duration::from_secs(1);
    let total = loop {
        let mut pass = recover(verbs, grace).await;
        if (pass.in_flight == 0 && pass.is_clean()) || Instant::now() >= deadline {
            pass.merge(done);
            break pass;
        }
        done.merge(pass.done());
        tokio::time::sleep(BETWEEN_PASSES).await;
    };
    print(&in_words(&total, started.elapsed()))?;
    verdict(&total)
}

async fn watch(verbs: &PostgresVerbs, grace: Duration) -> Result<(), Stop> {
    print("recovering every second; Ctrl-C ends it")?;
    let mut last = Recovered::default();
    loop {
        let started = Instant::now();
        let pass = recover(verbs, grace).await;
        let did_something = pass.committed + pass.rolled_back + pass.credited + pass.refunded > 0
            || pass.confirmed + pass.cancelled > 0
            || !pass.closed_epochs.is_empty()
            || pass.is_clean() != last.is_clean();
        if did_something {
            print(&in_words(&pass, started.elapsed()))?;
        }
        last = pass;
        tokio::select! {
            () = tokio::time::sleep(WATCH_EVERY) => {}
            _ = tokio::signal::ctrl_c() => return verdict(&last),
        }
    }
}

fn in_words(recovered: &Recovered, took: Duration) -> String {
    let mut line = format!(
        "{} branch(es) committed, {} rolled back, {} in flight, {} dead coordinator(s) cleared \
         away, in {:.0} ms",
        recovered.committed,
        recovered.rolled_back,
        recovered.in_flight,
        recovered.closed_epochs.len(),
        took.as_secs_f64() * 1000.0
    );
    if recovered.credited + recovered.refunded > 0 {
        line.push_str(&format!(
            "; {} credit(s) made that intents, sagas or events had promised, {} debit(s) refunded",
            recovered.credited, recovered.refunded
        ));
    }
    if recovered.confirmed + recovered.cancelled > 0 {
        line.push_str(&format!(
            "; {} hold(s) confirmed, {} cancelled",
            recovered.confirmed, recovered.cancelled
        ));
    }
    if recovered.false_aborts > 0 {
        line.push_str(&format!(
            "; {} of those rolled back belonged to coordinators that were alive and slow",
            recovered.false_aborts
        ));
    }
    line
}

fn verdict(recovered: &Recovered) -> Result<(), Stop> {
    let mut lines = Vec::new();
    for (shard, gid, verdict) in &recovered.damage {
        lines.push(format!(
            "shard {shard}: heuristic damage: {gid} was finished by hand against its verdict \
             ({}); compare both accounts and correct them by a transfer of their own",
            super::transfer::decision_in_words(*verdict)
        ));
    }
    for (shard, gid, why) in &recovered.in_doubt {
        lines.push(format!("shard {shard}: {gid} stays in doubt: {why}"));
    }
    for (transfer, why) in &recovered.owed {
        lines.push(format!("transfer {transfer} has not ended: {why}"));
    }
    for (transfer, why) in &recovered.given_up {
        lines.push(format!(
            "saga {transfer} was given up after {ATTEMPTS_MAX} attempts: {why}; its money is \
             accounted for: recover --retry-dead tries the credits again, recover --refund-dead \
             gives the debits back"
        ));
    }
    for (shard, gid) in &recovered.unfinished {
        lines.push(format!("shard {shard}: {gid} could not be finished; recover again"));
    }
    lines.extend(recovered.unreachable.iter().map(ToString::to_string));
    if !recovered.damage.is_empty() {
        Err(Stop { exit: Exit::InvariantBroken, lines })
    } else if !lines.is_empty() {
        Err(Stop { exit: Exit::Incomplete, lines })
    } else {
        Ok(())
    }
}

/// Decides a transfer by hand and carries it out on every shard that has a branch of it.
async fn force(
    verbs: &PostgresVerbs,
    forced: Forced,
    gid: &Gid,
    confirmed: bool,
) -> Result<(), Stop> {
    if gid.cluster != verbs.cluster() {
        return Err(Stop::new(
            Exit::Usage,
            format!("{gid} belongs to another cluster; these shards are {}", verbs.cluster()),
        ));
    }
    let failed = |error: crate::outcome::ShardError| Stop::new(Exit::Failed, error.to_string());
    let mut branches = Vec::new();
    for shard in verbs.routing().shards() {
        let here = verbs.list_prepared(shard).await.map_err(failed)?;
        branches.extend(
            here.into_iter()
                .filter(|branch| branch.gid.transfer == gid.transfer)
                .map(|branch| (shard, branch.gid)),
        );
    }
    let Some(on) = branches.iter().find(|(_, found)| found == gid).map(|(shard, _)| *shard) else {
        return Err(Stop::new(Exit::Failed, format!("{gid} is prepared on none of the shards")));
    };
    let word = match forced {
        Forced::Commit => "commit",
        Forced::Abort => "abort",
    };
    print(&format!("transfer {} has these prepared branches:", gid.transfer))?;
    for (shard, found) in &branches {
        print(&format!("  shard {shard}: {found}"))?;
    }
    if !confirmed {
        print(&format!(
            "forcing `{word}` overrules whatever its lost log says; if a branch was finished \
             otherwise elsewhere, money is made or lost. Type the transfer id to go on:"
        ))?;
        let mut typed = String::new();
        io::stdin().lock().read_line(&mut typed).ok();
        if typed.trim() != gid.transfer.to_string() {
            return Err(Stop::new(Exit::Usage, "that is not the transfer id; nothing was done"));
        }
    }
    let key = DecisionKey { register: Register::Table, ..gid.decision_key(on) };
    // A home branch whose decision is in a file holds the table's row until it is finished, and
    // no verdict can stand there yet. Everybody else's table is asked first, by writing: a
    // decision that stands there is not overruled by anybody.
    let holds_the_row = gid.register == Register::File
        && branches.iter().any(|(shard, found)| *shard == found.home);
    if !holds_the_row {
        agree(verbs, forced, &key, &branches).await?;
    }
    for (shard, found) in &branches {
        let finish = match forced {
            Forced::Commit => verbs.commit_prepared(*shard, found).await,
            Forced::Abort => verbs.roll_back_prepared(*shard, found).await,
        };
        match finish {
            Finish::Done => print(&format!("  shard {shard}: {found}: {word}, done"))?,
            other => {
                return Err(Stop::new(
                    Exit::Incomplete,
                    format!("shard {shard}: {found}: not finished ({other:?}); force it again"),
                ));
            }
        }
    }
    if holds_the_row {
        agree(verbs, forced, &key, &branches).await?;
    }
    Ok(())
}

/// Makes the table on home say what is forced.
async fn agree(
    verbs: &PostgresVerbs,
    forced: Forced,
    key: &DecisionKey,
    branches: &[(ShardIndex, Gid)],
) -> Result<(), Stop> {
    let standing = match forced {
        Forced::Commit => {
            let shard_of =
                |kind| branches.iter().find(|(_, gid)| gid.kind == kind).map(|(shard, _)| *shard);
            let participants = shard_of(LegKind::Debit)
                .zip(shard_of(LegKind::Credit))
                .map(|(debit, credit)| Participants { debit, credit });
            verbs.decide(key, participants, Decision::Commit).await
        }
        Forced::Abort => verbs.decide_abort(key, Refusal::Aborted(AbortReason::Forced)).await,
    };
    let standing = standing.map_err(|error| Stop::new(Exit::Failed, error.to_string()))?;
    if (standing == Decision::Commit) != (forced == Forced::Commit) {
        return Err(Stop::new(
            Exit::Failed,
            format!(
                "home shard {} says otherwise: {}; run recover without --force",
                key.home,
                super::transfer::decision_in_words(standing)
            ),
        ));
    }
    Ok(())
}
