//! `shardbank transfer`: one transfer, explained step by step.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::cluster::{required_shards, runtime};
use super::coordinator::{begin, open, settings};
use super::lock_servers::LockServers;
use super::output::print;
use super::{Exit, Stop};
use crate::cli::operate::TransferArguments;
use crate::ledger::postgres::PostgresVerbs;
use crate::outcome::{Attempt, Decision, Finish, Outcome, Refusal, Tombstone};
use crate::shards::ShardTarget;
use crate::strategies::Report;
use crate::strategies::recovery::recover;
use crate::transfer::{IdOrigin, Transfer, TransferId};
use crate::verbs::events::Settled;
use crate::verbs::locking::{Claimed, Released};
use crate::verbs::observed::{Answer, Observed, Observer, Seen, span};

/// Connections to a shard: the transfer's, a recoverer's, the epoch's.
const CONNECTIONS: u32 = 5;
/// How long a transfer in doubt is waited for.
const RESOLVING: Duration = Duration::from_secs(15);

/// Carries out one transfer.
///
/// # Errors
/// It was not carried out, or nobody knows yet.
pub fn run(arguments: &TransferArguments) -> Result<(), Stop> {
    if arguments.from == arguments.to {
        return Err(Stop::new(Exit::Usage, "--from and --to are the same account; name two"));
    }
    let targets = required_shards(&arguments.shards)?;
    runtime()?.block_on(transfer(targets, arguments))
}

async fn transfer(targets: Vec<ShardTarget>, arguments: &TransferArguments) -> Result<(), Stop> {
    let slots = u32::from(arguments.strategy.prepares());
    let cluster = open(targets, slots, CONNECTIONS).await?;
    let routing = cluster.routing();
    let servers = LockServers::open(arguments.strategy.lock_service(), &arguments.locks)?;
    let context = begin(cluster, &arguments.coordinator).await?;
    let locks = (context.cluster.clone(), context.presence.clone());
    let mut verbs = PostgresVerbs::new(context, settings(&arguments.coordinator));
    if let Some(service) = arguments.strategy.lock_service() {
        let (cluster, presence) = locks;
        let (backend, terms) = (servers.of(service), arguments.locks.terms());
        let service = backend.open(&cluster, &presence, 1, terms).await;
        let service = match service {
            Ok(service) => service,
            Err(error) => {
                verbs.retire().await;
                return Err(Stop::new(Exit::Failed, error.to_string()));
            }
        };
        verbs = verbs.with_locks(service, terms);
    }
    let transfer = Transfer {
        id: arguments.id.unwrap_or_else(TransferId::fresh),
        source: arguments.from,
        target: arguments.to,
        amount: arguments.amount,
        origin: if arguments.id.is_some() { IdOrigin::MayBeRepeated } else { IdOrigin::Fresh },
    };
    print(&format!(
        "transfer {} by {}\n  {} from account {} (shard {}) to account {} (shard {})",
        transfer.id,
        arguments.strategy,
        transfer.amount,
        transfer.source,
        routing.shard_of(transfer.source),
        transfer.target,
        routing.shard_of(transfer.target),
    ))?;

    // What a dead coordinator left may hold the very rows that are needed now.
    if arguments.coordinator.fail_at.is_none() {
        recover(&verbs, super::recover::GRACE).await;
    }
    // Connecting is not a part of the protocol, and would be timed with its first step.
    let filled = verbs.pools().fill().await;
    filled.map_err(|error| Stop::new(Exit::Failed, error.to_string()))?;
    let explanation = Explanation { began: Instant::now() };
    let observed = Observed::new(&verbs, &explanation);
    let strategy = &arguments.strategy;
    let mut report = strategy.transfer(&observed, &transfer, arguments.max_tries).await;
    if let Outcome::InDoubt(error) = &report.outcome {
        print(&format!("  in doubt: {error}; recovering"))?;
        report = resolve(&verbs, &transfer, arguments, report).await;
    }
    let took = explanation.began.elapsed();
    if !matches!(report.outcome, Outcome::InDoubt(_)) {
        verbs.retire().await;
    }
    conclude(&transfer, &report, took)
}

/// Recovers and asks again under the same id, until there is an answer or patience ends.
async fn resolve(
    verbs: &PostgresVerbs,
    transfer: &Transfer,
    arguments: &TransferArguments,
    mut report: Report,
) -> Report {
    let again = Transfer { origin: IdOrigin::MayBeRepeated, ..*transfer };
    let deadline = Instant::now() + RESOLVING;
    while Instant::now() < deadline {
        recover(verbs, Duration::ZERO).await;
        report = arguments.strategy.transfer(verbs, &again, arguments.max_tries).await;
        if !matches!(report.outcome, Outcome::InDoubt(_) | Outcome::Failed(_)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    report
}

fn conclude(transfer: &Transfer, report: &Report, took: Duration) -> Result<(), Stop> {
    let tries =
        if report.tries == 1 { "1 try".to_owned() } else { format!("{} tries", report.tries) };
    let path = if report.one_phase { ", one-phase: both accounts are on one shard" } else { "" };
    let end = format!("in {:.3} ms, {tries}{path}", took.as_secs_f64() * 1000.0);
    let again = format!("repeat with --id {} to get the same answer", transfer.id);
    match &report.outcome {
        Outcome::Committed => print(&format!("committed {end}")),
        Outcome::Rejected(why) => Err(Stop::new(
            Exit::Failed,
            format!("rejected ({}) {end}; nothing changed, and that is final", why.name()),
        )),
        Outcome::Aborted(why) => Err(Stop::new(
            Exit::Failed,
            format!(
                "aborted ({}) {end}; nothing changed, and that is final for this id: order it \
                 anew under another",
                why.name()
            ),
        )),
        Outcome::Failed(error) => Err(Stop::new(
            Exit::Failed,
            format!("failed {end}: {error}; nothing changed and nothing is recorded: {again}"),
        )),
        Outcome::InDoubt(error) => Err(Stop::new(
            Exit::Incomplete,
            format!(
                "in doubt {end}: {error}; `shardbank recover` resolves it once its shards can be \
                 reached; {again}"
            ),
        )),
        Outcome::IdReused => Err(Stop::new(
            Exit::Usage,
            format!(
                "transfer id {} was used before for other accounts or another amount; nothing \
                 changed",
                transfer.id
            ),
        )),
    }
}

/// Prints every step as it ends.
struct Explanation {
    began: Instant,
}

impl Observer for Explanation {
    fn saw(&self, seen: Seen) {
        let at = seen.started.saturating_duration_since(self.began).as_secs_f64() * 1000.0;
        let took = span(&seen).as_secs_f64() * 1000.0;
        let place = match (seen.shard, seen.kind) {
            (Some(shard), Some(kind)) => format!("shard {shard}: {}, ", kind.name()),
            (Some(shard), None) => format!("shard {shard}: "),
            (None, _) => String::new(),
        };
        let answer = in_words(&seen.answer);
        // A closed pipe must not stop a transfer half-way.
        writeln!(
            io::stdout(),
            "  {at:>9.3} ms  {place}{}{answer}  ({took:.3} ms)",
            seen.step.name()
        )
        .ok();
    }
}

fn in_words(answer: &Answer) -> String {
    let text = match answer {
        Answer::None => return String::new(),
        Answer::Attempt(attempt) | Answer::Claimed(Claimed::Not(attempt)) => {
            attempt_in_words(attempt)
        }
        Answer::Claimed(Claimed::Done) => "done".to_owned(),
        Answer::Claimed(Claimed::Left(_)) => "first finish what others left".to_owned(),
        Answer::Locked(Ok(token)) => format!("granted, token {token}"),
        Answer::Released(Ok(Released::Owned)) => "done".to_owned(),
        Answer::Released(Ok(Released::AlreadyGone)) => "it was gone already".to_owned(),
        Answer::Locked(Err(error)) | Answer::Released(Err(error)) => error.to_string(),
        Answer::Decision(Ok(decision)) => decision_in_words(*decision),
        Answer::Finish(finish) => match finish {
            Finish::Done => "done".to_owned(),
            Finish::Missing => "no such branch any more".to_owned(),
            Finish::Busy => "somebody else is at it".to_owned(),
            Finish::Unknown(error) => error.to_string(),
        },
        Answer::Tombstone(Ok(tombstone)) => match tombstone {
            Tombstone::Placed => "recorded".to_owned(),
            Tombstone::Stands(_) => "a leg of this id stands already".to_owned(),
            Tombstone::InFlight => "still in flight".to_owned(),
        },
        Answer::Leg(Ok(leg)) => leg.as_ref().map_or("none stands", |_| "one stands").to_owned(),
        Answer::Ended(Ok(None)) => "no end in sight yet".to_owned(),
        Answer::Ended(Ok(Some(Settled::Completed))) => "completed".to_owned(),
        Answer::Ended(Ok(Some(Settled::Refunded(why)))) => format!("refunded, {}", why.name()),
        Answer::Decision(Err(error))
        | Answer::Tombstone(Err(error))
        | Answer::Leg(Err(error))
        | Answer::Ended(Err(error)) => error.to_string(),
    };
    format!(": {text}")
}

fn attempt_in_words(attempt: &Attempt) -> String {
    match attempt {
        Attempt::Done => "done".to_owned(),
        Attempt::Rejected(why) => format!("refused, {}", why.name()),
        Attempt::LegStands => "a leg of this id stands already".to_owned(),
        Attempt::DecisionStands => "a decision on this id stands already".to_owned(),
        Attempt::Retry(why) => format!("not now, {}", why.name()),
        Attempt::Failed(error) | Attempt::Unknown(error) => error.to_string(),
    }
}

/// A decision, for a person.
pub(super) fn decision_in_words(decision: Decision) -> String {
    match decision {
        Decision::Commit => "commit stands".to_owned(),
        Decision::Abort(Refusal::Rejected(why)) => format!("abort stands, {}", why.name()),
        Decision::Abort(Refusal::Aborted(why)) => format!("abort stands, {}", why.name()),
    }
}
