//! Strategies under locks that exclude nobody.

use super::{
    ALL, MISSING_ACCOUNT, ONE_CRASH_ONE_FAULT, TWO_CRASHES_TWO_FAULTS, holds_for, strategy,
};
use crate::simulation::scene::{Scene, transfer};
use crate::simulation::world::Budget;
use crate::transfer::IdOrigin;

const LOCKS: &str = "lock-lease";
const REPEATS: [&str; 4] = [LOCKS, ALL[0], ALL[1], ALL[2]];
/// No further credit fits.
const FULL: i64 = i64::MAX - 20;

/// One transfer under locks, with which source and target, and how full the target is.
fn ways() -> [(&'static str, i64, i64, i64); 6] {
    [
        ("up", 1, 2, 100),
        ("down", 2, 1, 100),
        ("up to a full account", 1, 2, FULL),
        ("down to a full account", 2, 1, FULL),
        ("up to no account", 1, MISSING_ACCOUNT, 100),
        ("down to no account", 2, MISSING_ACCOUNT + 1, 100),
    ]
}

fn one(call: &str, way: (&str, i64, i64, i64), origin: IdOrigin, budget: Budget) -> Scene {
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
