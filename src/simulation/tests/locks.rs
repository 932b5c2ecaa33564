//! Strategies under locks that exclude nobody.

use super::{
    ALL, MISSING_ACCOUNT, ONE_CRASH, ONE_CRASH_ONE_FAULT, TWO_CRASHES_TWO_FAULTS, holds_for,
    strategy,
};
use crate::simulation::locking::Tokens;
use crate::simulation::scene::{Scene, transfer};
use crate::simulation::world::Budget;
use crate::transfer::IdOrigin;

const LOCKS: &str = "lock-lease";
const REPEATS: [&str; 4] = [LOCKS, ALL[0], ALL[1], ALL[2]];
pub(super) const NONE: Budget = Budget::NONE;
/// No further credit fits.
pub(super) const FULL: i64 = i64::MAX - 20;

/// One transfer under locks, with which source and target, and how full the target is.
pub(super) fn ways() -> [(&'static str, i64, i64, i64); 6] {
    [
        ("up", 1, 2, 100),
        ("down", 2, 1, 100),
        ("up to a full account", 1, 2, FULL),
        ("down to a full account", 2, 1, FULL),
        ("up to no account", 1, MISSING_ACCOUNT, 100),
        ("down to no account", 2, MISSING_ACCOUNT + 1, 100),
    ]
}

pub(super) fn one(
    call: &str,
    way: (&str, i64, i64, i64),
    origin: IdOrigin,
    budget: Budget,
) -> Scene {
    let (_, source, target, balance) = way;
    Scene::new(2, 2, 100, budget).with_balance(target, balance).calling(
        0,
        &strategy(call),
        transfer(1, source, target, 30, origin),
    )
}

fn hold(name: &str, scene: &Scene) {
    holds_for(name, scene, &REPEATS.map(strategy));
}

#[test]
fn two_crashes_and_two_faults_beside_recovery_break_no_promise_of_an_intent() {
    for way in ways() {
        let scene = one(LOCKS, way, IdOrigin::Fresh, TWO_CRASHES_TWO_FAULTS).recovering(1);
        hold(&format!("{LOCKS} {}, recovery beside it", way.0), &scene);
    }
}

#[test]
fn two_calls_with_one_id_under_locks_get_one_answer() {
    for second in REPEATS {
        for way in ways() {
            let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
            let scene = one(LOCKS, way, IdOrigin::MayBeRepeated, ONE_CRASH_ONE_FAULT).calling(
                1,
                &strategy(second),
                again,
            );
            hold(&format!("{LOCKS} beside {second} {}", way.0), &scene);
        }
    }
}

/// Two transfers between the same accounts, in opposite directions.
pub(super) fn there_and_back(calls: [&str; 2], balances: (i64, i64), budget: Budget) -> Scene {
    Scene::new(2, 2, 100, budget)
        .with_balance(1, balances.0)
        .with_balance(2, balances.1)
        .calling(0, &strategy(calls[0]), transfer(1, 1, 2, 30, IdOrigin::Fresh))
        .calling(1, &strategy(calls[1]), transfer(2, 2, 1, 40, IdOrigin::Fresh))
}

/// Both can be paid; the first finds no room until the second has made some; the first is short.
pub(super) const BALANCES: [(i64, i64); 3] = [(100, 100), (100, FULL), (10, 100)];

#[test]
fn two_transfers_in_opposite_directions_under_locks_break_no_promise() {
    for tokens in Tokens::ALL {
        for balances in BALANCES {
            let scene = there_and_back([LOCKS; 2], balances, ONE_CRASH_ONE_FAULT).numbered(tokens);
            hold(&format!("there and back, {tokens:?}, {balances:?}"), &scene);
        }
    }
}

#[test]
fn recovery_beside_two_transfers_under_locks_breaks_no_promise() {
    for (balances, budget) in BALANCES.into_iter().zip([NONE, NONE, ONE_CRASH]) {
        let scene = there_and_back([LOCKS; 2], balances, budget).recovering(2);
        hold(&format!("there and back, {balances:?}, recovery beside it"), &scene);
    }
}

#[test]
fn locks_and_two_phase_commit_on_the_same_accounts_break_no_promise() {
    for call in ALL {
        for balances in BALANCES {
            let scene = there_and_back([LOCKS, call], balances, ONE_CRASH_ONE_FAULT);
            hold(&format!("there by {LOCKS}, back by {call}, {balances:?}"), &scene);
        }
    }
}

#[test]
fn an_account_that_is_closed_under_a_lock_breaks_no_promise() {
    let budget = Budget { closings: 1, ..TWO_CRASHES_TWO_FAULTS };
    for way in &ways()[..2] {
        let scene = one(LOCKS, *way, IdOrigin::Fresh, budget).recovering(1);
        hold(&format!("{LOCKS} {}, an account is closed", way.0), &scene);
    }
    let budget = Budget { closings: 2, ..ONE_CRASH };
    let scene = there_and_back([LOCKS; 2], (100, 100), budget);
    hold("there and back, accounts are closed", &scene);
}

#[test]
fn a_shard_that_forgets_a_closed_intent_breaks_no_promise() {
    let budget = Budget { restarts: 1, ..ONE_CRASH_ONE_FAULT };
    for way in ways() {
        let scene = one(LOCKS, way, IdOrigin::Fresh, budget).recovering(1);
        hold(&format!("{LOCKS} {}, shards restart", way.0), &scene);
    }
}

#[test]
fn statements_under_locks_that_are_turned_away_break_no_promise() {
    let budget = Budget { refusals: 2, ..ONE_CRASH };
    for way in ways() {
        let scene = one(LOCKS, way, IdOrigin::Fresh, budget).recovering(1);
        hold(&format!("{LOCKS} {}, turned away", way.0), &scene);
    }
}

#[test]
fn two_passes_of_recovery_at_one_intent_break_no_promise() {
    for way in &ways()[..4] {
        let scene = one(LOCKS, *way, IdOrigin::Fresh, ONE_CRASH).recovering(1).recovering(2);
        hold(&format!("{LOCKS} {}, two passes", way.0), &scene);
    }
}

#[test]
fn recovery_beside_two_calls_with_one_id_breaks_no_promise() {
    for second in REPEATS {
        for way in &ways()[..4] {
            let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
            let scene = one(LOCKS, *way, IdOrigin::MayBeRepeated, NONE)
                .calling(1, &strategy(second), again)
                .recovering(2);
            hold(&format!("{LOCKS} beside {second} {}, recovery", way.0), &scene);
        }
    }
}

#[test]
fn two_accounts_on_one_shard_under_locks_break_no_promise() {
    for second in [LOCKS, "2pc"] {
        for (target, balance) in [(3, 100), (3, FULL), (5, 100)] {
            let again = transfer(1, 1, target, 30, IdOrigin::MayBeRepeated);
            let scene = Scene::new(2, 4, 100, ONE_CRASH_ONE_FAULT)
                .with_balance(target, balance)
                .calling(0, &strategy(LOCKS), again)
                .calling(1, &strategy(second), again);
            hold(&format!("{LOCKS} beside {second} on one shard, {target}, {balance}"), &scene);
        }
    }
}

#[test]
fn a_call_under_locks_repeated_after_its_coordinator_died_gets_the_same_answer() {
    for (first, second) in [(LOCKS, "2pc"), ("2pc", LOCKS), (LOCKS, LOCKS)] {
        for way in &ways()[2..] {
            let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
            let scene = one(first, *way, IdOrigin::Fresh, ONE_CRASH)
                .recovering(1)
                .calling(2, &strategy(second), again)
                .after(0);
            hold(&format!("{first}, then {second}, {}", way.0), &scene);
        }
    }
}
