//! Sagas, whose orchestrators, recovery among them, all take every open saga for theirs.

use super::locks::{BALANCES, FULL, NONE, one, there_and_back, ways};
use super::{ALL, ONE_CRASH, ONE_CRASH_ONE_FAULT, TWO_CRASHES_TWO_FAULTS, holds_for, strategy};
use crate::simulation::scene::{Scene, transfer};
use crate::simulation::world::Budget;
use crate::transfer::IdOrigin;

const SAGA: &str = "saga";
const REPEATS: [&str; 5] = [SAGA, "lock-lease", ALL[0], ALL[1], ALL[2]];

fn hold(name: &str, scene: &Scene) {
    holds_for(name, scene, &REPEATS.map(strategy));
}

#[test]
fn two_crashes_and_two_faults_beside_recovery_break_no_promise_of_a_saga() {
    for way in ways() {
        let scene = one(SAGA, way, IdOrigin::Fresh, TWO_CRASHES_TWO_FAULTS).recovering(1);
        hold(&format!("{SAGA} {}, recovery beside it", way.0), &scene);
    }
}

#[test]
fn two_calls_with_one_id_of_which_one_is_a_saga_get_one_answer() {
    for second in REPEATS {
        for way in ways() {
            let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
            let scene = one(SAGA, way, IdOrigin::MayBeRepeated, ONE_CRASH_ONE_FAULT).calling(
                1,
                &strategy(second),
                again,
            );
            hold(&format!("{SAGA} beside {second} {}", way.0), &scene);
        }
    }
}

#[test]
fn sagas_in_opposite_directions_and_other_strategies_beside_them_break_no_promise() {
    for call in REPEATS {
        for balances in BALANCES {
            let scene = there_and_back([SAGA, call], balances, ONE_CRASH_ONE_FAULT);
            hold(&format!("there by {SAGA}, back by {call}, {balances:?}"), &scene);
        }
    }
}

#[test]
fn an_account_that_is_closed_under_a_saga_breaks_no_promise() {
    let budget = Budget { closings: 1, ..TWO_CRASHES_TWO_FAULTS };
    for way in &ways()[..2] {
        let scene = one(SAGA, *way, IdOrigin::Fresh, budget).recovering(1);
        hold(&format!("{SAGA} {}, an account is closed", way.0), &scene);
    }
}

#[test]
fn a_shard_that_forgets_the_end_of_a_saga_breaks_no_promise() {
    let budget = Budget { restarts: 1, ..ONE_CRASH_ONE_FAULT };
    for way in ways() {
        let scene = one(SAGA, way, IdOrigin::Fresh, budget).recovering(1);
        hold(&format!("{SAGA} {}, shards restart", way.0), &scene);
    }
}

#[test]
fn two_orchestrators_at_one_saga_break_no_promise() {
    for way in &ways()[..4] {
        let scene = one(SAGA, *way, IdOrigin::Fresh, ONE_CRASH).recovering(1).recovering(2);
        hold(&format!("{SAGA} {}, two orchestrators", way.0), &scene);
    }
}

#[test]
fn steps_that_are_turned_away_break_no_promise() {
    let budget = Budget { refusals: 2, ..ONE_CRASH };
    for way in ways() {
        let scene = one(SAGA, way, IdOrigin::Fresh, budget).recovering(1);
        hold(&format!("{SAGA} {}, turned away", way.0), &scene);
    }
}

#[test]
fn a_saga_repeated_after_its_orchestrator_died_gets_the_same_answer() {
    for (first, second) in [(SAGA, "2pc"), ("2pc", SAGA), (SAGA, SAGA), ("lock-lease", SAGA)] {
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

#[test]
fn recovery_beside_two_calls_with_one_id_of_which_one_is_a_saga_breaks_no_promise() {
    for second in REPEATS {
        for (name, source, target, balance) in [("up", 1, 2, 100), ("down, full", 2, 1, FULL)] {
            let again = transfer(1, source, target, 30, IdOrigin::MayBeRepeated);
            let way = (name, source, target, balance);
            let scene = one(SAGA, way, IdOrigin::MayBeRepeated, NONE)
                .calling(1, &strategy(second), again)
                .recovering(2);
            hold(&format!("{SAGA} beside {second} {name}, recovery"), &scene);
        }
    }
}
