//! What is done about transfers whose coordinator died, or is slow.
//!
//! One pass visits every shard, each on its own, so that a shard that cannot be reached delays
//! no other. On each it ends the sessions of dead coordinators (their last messages may still be
//! running), lists the prepared branches of this cluster, asks each one's register for the
//! verdict *by writing* `abort`, and carries out what stands there. Nothing is inferred from
//! absence, so a pass may run at any time, beside live coordinators and beside other recoverers,
//! with or without the power to end sessions. Beside a live coordinator its young branches are
//! left alone for a grace period: that is politeness, never safety.
//!
//! | verdict | gid seen here | leg here | meaning |
//! | --- | --- | --- | --- |
//! | commit | yes | | `COMMIT PREPARED` |
//! | commit, of another order under this id | yes | | as abort: it never will be commit for this one |
//! | commit | gone since | applied | somebody else has done it |
//! | commit | gone since | prepared by a later attempt | that one is committed in its turn |
//! | commit | gone since | absent | heuristic damage: somebody rolled it back by hand |
//! | abort | yes | | `ROLLBACK PREPARED`, and a tombstone, so that no late attempt runs |
//! | abort in a table | gone since | applied | heuristic damage: somebody committed it by hand |
//! | abort in a file | gone since | applied | a later call with the same id went through |
//! | abort in a table | gone since | applied under locks, by a saga or by events | so did another, which asks no register |
//! | register silent | any | any | in doubt; listed; never guessed |
//!
//! Then it keeps the promises of open intents, as whoever comes next under a lock would, drives the
//! sagas that nobody drives, and delivers the events that relays have left: `promises`, `saga`,
//! `relay`. And it ends the holds whose time, or whose coordinator's, is over: `reservation`.
//!
//! A branch can turn up after a pass: its `PREPARE` was still waiting for a row when the shard
//! was listed. It is prepared, therefore named, therefore found by the next pass.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;

use crate::fail_points::FailPoint;
use crate::outcome::{AbortReason, Decision, Finish, LegOutcome, Refusal, ShardError, Tombstone};
use crate::strategies::ending::{self, Order};
use crate::strategies::promises::{self, Kept, Promise};
pub use crate::strategies::recovered::Recovered;
use crate::strategies::{relay, reservation, saga};
use crate::transfer::{Epoch, ShardIndex};
use crate::verbs::events::OpenEvent;
use crate::verbs::locking::{Concerning, Intent};
use crate::verbs::saga::Owner;
use crate::verbs::{Gid, Liveness, PreparedBranch, Register, StrategyVerbs};

/// What the legs that recovery writes are recorded under.
const NAME: &str = promises::ON_BEHALF;

/// One pass over all shards. Branches of live coordinators that are younger than `grace` are
/// left alone.
pub async fn recover<V: StrategyVerbs>(verbs: &V, grace: Duration) -> Recovered {
    let mut recovered = Recovered::default();
    let dead = match dead_epochs(verbs).await {
        Ok(dead) => dead,
        // Without shard 0 nobody can be called dead. The registers alone keep verdicts right.
        Err(error) => {
            recovered.unreachable.push(error);
            Vec::new()
        }
    };
    let owner = verbs.fresh_owner();
    let on_shards =
        verbs.routing().shards().map(|shard| recover_shard(verbs, shard, owner, &dead, grace));
    for on_shard in join_all(on_shards).await {
        recovered.merge(on_shard);
    }
    if recovered.is_clean() {
        // Every shard was visited after the sessions of these epochs were gone, so no branch of
        // theirs can turn up any more.
        for epoch in dead {
            match verbs.close_epoch(epoch).await {
                Ok(()) => recovered.closed_epochs.push(epoch),
                Err(error) => recovered.unreachable.push(error),
            }
        }
    }
    recovered
}

async fn dead_epochs<V: StrategyVerbs>(verbs: &V) -> Result<Vec<Epoch>, ShardError> {
    let mut dead = Vec::new();
    for epoch in verbs.open_epochs().await? {
        if verbs.liveness(epoch).await? == Liveness::Dead {
            dead.push(epoch);
        }
    }
    Ok(dead)
}

async fn recover_shard<V: StrategyVerbs>(
    verbs: &V,
    shard: ShardIndex,
    owner: Owner,
    dead: &[Epoch],
    grace: Duration,
) -> Recovered {
    let mut recovered = Recovered::default();
    // First end what a dead coordinator may still be doing, then look: a message of its that
    // runs on could prepare a branch behind our back.
    for epoch in dead {
        if let Err(error) = verbs.end_sessions(shard, *epoch).await {
            recovered.unreachable.push(error);
        }
    }
    let branches = match verbs.list_prepared(shard).await {
        Ok(branches) => branches,
        Err(error) => {
            recovered.unreachable.push(error);
            return recovered;
        }
    };
    if !branches.is_empty() {
        // Nothing has been done yet; another pass will see the same.
        verbs.reached(FailPoint::RecoveryListed).await;
    }
    let mut living = Living { dead, known: HashMap::new() };
    for PreparedBranch { gid, age } in branches {
        let is_alive = living.has(verbs, gid.epoch).await;
        if is_alive && age < grace {
            recovered.in_flight += 1;
            continue;
        }
        recovered.raced += u64::from(is_alive);
        resolve(verbs, shard, gid, is_alive, &mut recovered).await;
    }
    keep_promises(verbs, shard, &mut living, grace, &mut recovered).await;
    saga::resume(verbs, shard, owner, dead, grace, &mut recovered).await;
    reservation::sweep(verbs, shard, &mut living, grace, &mut recovered).await;
    relay_events(verbs, shard, &mut living, grace, &mut recovered).await;
    recovered
}

/// Carries the open events of a shard to the ends of their transfers.
async fn relay_events<V: StrategyVerbs>(
    verbs: &V,
    shard: ShardIndex,
    living: &mut Living<'_>,
    grace: Duration,
    recovered: &mut Recovered,
) {
    // Whoever delivers what another may be pruning must be seen to be alive.
    let open = match verbs.epoch().await {
        Ok(_) => verbs.open_events(shard).await,
        Err(error) => Err(error),
    };
    let (open, good_until) = match open {
        Ok(open) => open,
        Err(error) => {
            recovered.unreachable.push(error);
            return;
        }
    };
    if !open.is_empty() {
        // Nothing has been done yet; another pass will see the same.
        verbs.reached(FailPoint::RecoveryEventsListed).await;
    }
    let mut left = Vec::new();
    for OpenEvent { event, epoch, age } in open {
        if age < grace && living.has(verbs, epoch).await {
            recovered.in_flight += 1;
        } else {
            left.push(event);
        }
    }
    let (settled, owed) = relay::settle_all(verbs, left, good_until).await;
    recovered.credited += settled.completed;
    recovered.refunded += settled.refunded;
    recovered.owed.extend(owed);
}

/// Finishes the open intents of a shard.
async fn keep_promises<V: StrategyVerbs>(
    verbs: &V,
    shard: ShardIndex,
    living: &mut Living<'_>,
    grace: Duration,
    recovered: &mut Recovered,
) {
    let intents = match verbs.open_intents(shard, Concerning::Anybody).await {
        Ok(intents) => intents,
        Err(error) => {
            recovered.unreachable.push(error);
            return;
        }
    };
    if !intents.is_empty() {
        // Nothing has been done yet; another pass will see the same.
        verbs.reached(FailPoint::RecoveryIntentsListed).await;
    }
    for Intent { transfer, epoch, age } in intents {
        if age < grace && living.has(verbs, epoch).await {
            recovered.in_flight += 1;
            continue;
        }
        match promises::keep(verbs, &transfer, Promise::Intent, NAME).await {
            Kept::Credited => recovered.credited += 1,
            Kept::Refunded(_) => recovered.refunded += 1,
            Kept::Owed(error) => recovered.owed.push((transfer.id, error)),
        }
    }
}

/// Which coordinators may still act, as far as it was asked in this pass.
pub(super) struct Living<'a> {
    dead: &'a [Epoch],
    known: HashMap<Epoch, bool>,
}

impl Living<'_> {
    /// Whether the coordinator of `epoch` may still act. When nobody can tell, it may.
    pub(super) async fn has<V: StrategyVerbs>(&mut self, verbs: &V, epoch: Epoch) -> bool {
        if let Some(known) = self.known.get(&epoch) {
            return *known;
        }
        let is_alive =
            !self.dead.contains(&epoch) && verbs.liveness(epoch).await != Ok(Liveness::Dead);
        self.known.insert(epoch, is_alive);
        is_alive
    }
}

/// Carries out on one branch what its register says.
async fn resolve<V: StrategyVerbs>(
    verbs: &V,
    shard: ShardIndex,
    gid: Gid,
    is_alive: bool,
    recovered: &mut Recovered,
) {
    let superseded = Refusal::Aborted(AbortReason::Superseded);
    let verdict = match verbs.decide_abort(&gid.decision_key(shard), superseded).await {
        Ok(verdict) => verdict,
        Err(error) => {
            recovered.in_doubt.push((shard, gid, error));
            return;
        }
    };

    // The verdict stands; another pass reads the same one.
    verbs.reached(FailPoint::RecoveryDecided).await;

    match verdict {
        Decision::Commit => commit(verbs, shard, gid, recovered).await,
        Decision::Abort(_) => roll_back(verbs, shard, gid, is_alive, recovered).await,
    }
}

async fn commit<V: StrategyVerbs>(
    verbs: &V,
    shard: ShardIndex,
    gid: Gid,
    recovered: &mut Recovered,
) {
    match ending::finish(verbs, shard, &gid, Order::Commit).await {
        Finish::Done => recovered.committed += 1,
        Finish::Missing => match is_accounted_for(verbs, shard, &gid).await {
            Ok(true) => {}
            Ok(false) => recovered.damage.push((shard, gid, Decision::Commit)),
            Err(error) => recovered.unreachable.push(error),
        },
        Finish::Busy | Finish::Unknown(_) => recovered.unfinished.push((shard, gid)),
    }
}

/// Whether the effect of a committed transfer whose branch is gone is there, or on its way. Its
/// coordinator may have rolled that branch back itself and committed a later attempt, which
/// holds the leg's key from before the decision until the leg can be read: so look for the leg,
/// for whoever holds the key, and once more for the leg.
async fn is_accounted_for<V: StrategyVerbs>(
    verbs: &V,
    shard: ShardIndex,
    gid: &Gid,
) -> Result<bool, ShardError> {
    if is_applied(verbs, shard, gid).await? {
        return Ok(true);
    }
    let of_same_leg = |branch: &PreparedBranch| {
        (branch.gid.transfer, branch.gid.kind) == (gid.transfer, gid.kind)
    };
    Ok(verbs.list_prepared(shard).await?.iter().any(of_same_leg)
        || is_applied(verbs, shard, gid).await?)
}

async fn is_applied<V: StrategyVerbs>(
    verbs: &V,
    shard: ShardIndex,
    gid: &Gid,
) -> Result<bool, ShardError> {
    let leg = verbs.read_leg(shard, gid.transfer, gid.kind).await?;
    Ok(leg.is_some_and(|leg| leg.outcome == LegOutcome::Applied))
}

async fn roll_back<V: StrategyVerbs>(
    verbs: &V,
    shard: ShardIndex,
    gid: Gid,
    is_alive: bool,
    recovered: &mut Recovered,
) {
    match ending::finish(verbs, shard, &gid, Order::RollBack).await {
        Finish::Done => {
            recovered.rolled_back += 1;
            recovered.false_aborts += u64::from(is_alive);
        }
        Finish::Missing => {}
        Finish::Busy | Finish::Unknown(_) => {
            recovered.unfinished.push((shard, gid));
            return;
        }
    }

    // One branch is rolled back; another pass does the rest.
    verbs.reached(FailPoint::RecoveryFinishedOne).await;

    match verbs.entomb(shard, gid.transfer, gid.kind).await {
        // In flight: a later attempt at the same id, which will meet the verdict by itself.
        Ok(Tombstone::Placed | Tombstone::InFlight) => {}
        // A table's abort binds every attempt at the transfer but those by strategies that ask no
        // register; a file's only those of its epoch; neither another order under the id whose home
        // is elsewhere. So another call of the same id may have gone through.
        Ok(Tombstone::Stands(leg))
            if leg.outcome == LegOutcome::Applied
                && gid.register == Register::Table
                && leg.home(verbs.routing()).is_none_or(|home| home == gid.home)
                && !promises::asks_no_register(&leg) =>
        {
            let verdict = Decision::Abort(Refusal::Aborted(AbortReason::Superseded));
            recovered.damage.push((shard, gid, verdict));
        }
        Ok(Tombstone::Stands(_)) => {}
        Err(error) => recovered.unreachable.push(error),
    }
}
