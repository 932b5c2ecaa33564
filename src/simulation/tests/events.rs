//! Every schedule of transfers by events, with relays, recovery and other strategies beside them.

use super::{ALL, MISSING_ACCOUNT, ONE_CRASH, ONE_CRASH_ONE_FAULT, holds_for, strategy};
use crate::simulation::scene::{Scene, transfer};
use crate::simulation::world::Budget;
use crate::transfer::IdOrigin;

const EVENTS: &str = "saga-choreographed";
const REPEATS: [&str; 5] = [EVENTS, ALL[0], ALL[1], ALL[2], "lock-lease"];
const NONE: Budget = Budget::NONE;
const TWO_CRASHES_ONE_FAULT: Budget = Budget { crashes: 2, ..ONE_CRASH_ONE_FAULT };
/// No further credit fits.
const FULL: i64 = i64::MAX - 20;

/// One transfer by events: which source and target, how full the target is, and on which shards a
/// relay makes its rounds to carry it to its end.
const WAYS: [(&str, i64, i64, i64, [u16; 2]); 6] = [
    ("up", 1, 2, 100, [0, 1]),
    ("down", 2, 1, 100, [1, 0]),
    ("up to a full account", 1, 2, FULL, [0, 1]),
    ("down to a full account", 2, 1, FULL, [1, 0]),
    ("up to no account", 1, MISSING_ACCOUNT, 100, [0, 1]),
    ("down to no account", 2, MISSING_ACCOUNT + 1, 100, [1, 0]),
];

type Way = (&'static str, i64, i64, i64, [u16; 2]);

fn one(call: &str, way: Way, origin: IdOrigin, budget: Budget) -> Scene {
    let (_, source, target, balance, _) = way;
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
fn crashes_and_faults_beside_a_relay_lose_no_event_and_apply_none_twice() {
    for way in WAYS {
        let scene = one(EVENTS, way, IdOrigin::Fresh, TWO_CRASHES_ONE_FAULT).relaying(1, way.4);
        hold(&format!("{EVENTS} {}, a relay beside it", way.0), &scene);
    }
}

#[test]
fn two_relays_at_one_event_apply_it_once() {
    for way in WAYS {
        let scene = one(EVENTS, way, IdOrigin::Fresh, ONE_CRASH);
        let scene = scene.relaying(1, way.4).relaying(2, way.4);
        hold(&format!("{EVENTS} {}, two relays", way.0), &scene);
    }
}

#[test]
fn recovery_beside_a_relay_breaks_no_promise_of_an_event() {
    for way in WAYS {
        let scene = one(EVENTS, way, IdOrigin::Fresh, ONE_CRASH);
        let scene = scene.relaying(1, way.4).recovering(2);
        hold(&format!("{EVENTS} {}, a relay and recovery", way.0), &scene);
    }
}

#[test]
fn recovery_alone_carries_an_event_to_its_end() {
    for way in WAYS {
        let scene = one(EVENTS, way, IdOrigin::Fresh, TWO_CRASHES_ONE_FAULT).recovering(1);
        hold(&format!("{EVENTS} {}, recovery", way.0), &scene);
    }
}

#[test]
fn a_shard_that_forgets_what_was_not_waited_for_breaks_no_promise() {
    let budget = Budget { restarts: 1, ..ONE_CRASH };
    for way in WAYS {
        let scene = one(EVENTS, way, IdOrigin::Fresh, budget).relaying(1, way.4);
        hold(&format!("{EVENTS} {}, shards restart", way.0), &scene);
    }
}

#[test]
fn statements_of_events_that_are_turned_away_break_no_promise() {
    let budget = Budget { refusals: 2, ..ONE_CRASH };
    for way in WAYS {
        let scene = one(EVENTS, way, IdOrigin::Fresh, budget).relaying(1, way.4);
        hold(&format!("{EVENTS} {}, turned away", way.0), &scene);
    }
}

#[test]
fn an_account_that_is_closed_between_the_two_commits_breaks_no_promise() {
    let budget = Budget { closings: 1, ..ONE_CRASH_ONE_FAULT };
    for way in &WAYS[..2] {
        let scene = one(EVENTS, *way, IdOrigin::Fresh, budget).relaying(1, way.4);
        hold(&format!("{EVENTS} {}, an account is closed", way.0), &scene);
    }
}

#[test]
fn two_calls_with_one_id_one_of_them_by_events_get_one_answer() {
    for second in REPEATS {
        for way in WAYS {
            let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
            let scene = one(EVENTS, way, IdOrigin::MayBeRepeated, ONE_CRASH_ONE_FAULT).calling(
                1,
                &strategy(second),
                again,
            );
            hold(&format!("{EVENTS} beside {second} {}", way.0), &scene);
        }
    }
}

#[test]
fn a_relay_beside_two_calls_with_one_id_breaks_no_promise() {
    for second in REPEATS {
        for way in &WAYS[..4] {
            let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
            let scene = one(EVENTS, *way, IdOrigin::MayBeRepeated, NONE)
                .calling(1, &strategy(second), again)
                .relaying(2, way.4);
            hold(&format!("{EVENTS} beside {second} {}, a relay", way.0), &scene);
        }
    }
}

#[test]
fn a_call_repeated_by_another_strategy_after_its_process_died_gets_the_same_answer() {
    for (first, second) in [(EVENTS, "2pc"), ("2pc", EVENTS), (EVENTS, "lock-lease")] {
        for way in &WAYS[2..] {
            let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
            let scene = one(first, *way, IdOrigin::Fresh, ONE_CRASH)
                .recovering(1)
                .calling(2, &strategy(second), again)
                .after(0);
            hold(&format!("{first}, then {second}, {}", way.0), &scene);
        }
    }
}

/// Both can be paid; the first finds no room until the second has made some; the first is short.
const BALANCES: [(i64, i64); 3] = [(100, 100), (100, FULL), (10, 100)];

#[test]
fn two_transfers_by_events_in_one_batch_and_against_each_other_break_no_promise() {
    for balances in BALANCES {
        let scene = |pairs: [(i64, i64); 2], budget| {
            let calls = (1..)
                .zip(pairs)
                .map(|(id, (from, to))| transfer(id, from, to, 30, IdOrigin::Fresh));
            let opened = Scene::new(2, 2, 100, budget)
                .with_balance(1, balances.0)
                .with_balance(2, balances.1);
            calls.enumerate().fold(opened, |scene, (process, one)| {
                scene.calling(process, &strategy(EVENTS), one)
            })
        };
        let both = scene([(1, 2), (1, 2)], NONE).relaying(2, [0, 1]);
        hold(&format!("two from one account, {balances:?}"), &both);
        let against = scene([(1, 2), (2, 1)], NONE).relaying(2, [0, 1]);
        hold(&format!("there and back, {balances:?}"), &against);
    }
}
