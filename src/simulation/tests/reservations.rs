//! Reservations, whose holds recovery takes for expired whenever it looks.

use super::locks::{NONE, one, there_and_back, ways};
use super::{ALL, ONE_CRASH, ONE_CRASH_ONE_FAULT, TWO_CRASHES_TWO_FAULTS, holds_for, strategy};
use crate::simulation::scene::{Scene, transfer};
use crate::simulation::world::Budget;
use crate::transfer::IdOrigin;

const RESERVATION: &str = "reservation";
const REPEATS: [&str; 6] = [RESERVATION, "saga", "lock-lease", ALL[0], ALL[1], ALL[2]];
/// Both can be paid; the first is short. (No account is full: a credit that was promised would not
/// fit once others have filled it up, which needs more money than init lets in.)
const BALANCES: [(i64, i64); 2] = [(100, 100), (10, 100)];

fn hold(name: &str, scene: &Scene) {
    holds_for(name, scene, &REPEATS.map(strategy));
}

#[test]
fn two_crashes_and_two_faults_beside_a_sweeper_break_no_promise_of_a_hold() {
    for way in ways() {
        let scene = one(RESERVATION, way, IdOrigin::Fresh, TWO_CRASHES_TWO_FAULTS).recovering(1);
        hold(&format!("{RESERVATION} {}, sweeper beside it", way.0), &scene);
    }
}

#[test]
fn lazy_confirmations_keep_the_promises() {
    for way in &ways()[..3] {
        let call = "reservation:confirm=lazy";
        let scene = one(call, *way, IdOrigin::Fresh, ONE_CRASH_ONE_FAULT).recovering(1);
        hold(&format!("{call} {}, sweeper beside it", way.0), &scene);
    }
}

#[test]
fn two_sweepers_at_one_hold_break_no_promise() {
    for way in &ways()[..2] {
        let scene = one(RESERVATION, *way, IdOrigin::Fresh, NONE).recovering(1).recovering(2);
        hold(&format!("{RESERVATION} {}, two sweepers", way.0), &scene);
    }
}

#[test]
fn two_calls_with_one_id_of_which_one_is_a_reservation_get_one_answer() {
    for second in REPEATS {
        for way in &ways()[..4] {
            let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
            let scene = one(RESERVATION, *way, IdOrigin::MayBeRepeated, ONE_CRASH).calling(
                1,
                &strategy(second),
                again,
            );
            hold(&format!("{RESERVATION} beside {second} {}", way.0), &scene);
        }
    }
}

#[test]
fn reservations_in_opposite_directions_and_other_strategies_beside_them_break_no_promise() {
    for call in REPEATS {
        for balances in BALANCES {
            let scene = there_and_back([RESERVATION, call], balances, ONE_CRASH);
            hold(&format!("there by {RESERVATION}, back by {call}, {balances:?}"), &scene);
        }
    }
}

#[test]
fn an_account_that_is_closed_beside_a_reservation_breaks_no_promise() {
    let budget = Budget { closings: 1, ..ONE_CRASH_ONE_FAULT };
    for way in &ways()[..2] {
        let scene = one(RESERVATION, *way, IdOrigin::Fresh, budget).recovering(1);
        hold(&format!("{RESERVATION} {}, an account is closed", way.0), &scene);
    }
}

#[test]
fn shards_that_restart_or_turn_statements_away_break_no_promise_of_a_hold() {
    for budget in [Budget { restarts: 1, ..ONE_CRASH }, Budget { refusals: 2, ..ONE_CRASH }] {
        for way in &ways()[..3] {
            let scene = one(RESERVATION, *way, IdOrigin::Fresh, budget).recovering(1);
            hold(&format!("{RESERVATION} {}, {budget:?}", way.0), &scene);
        }
    }
}

#[test]
fn a_reservation_repeated_after_its_coordinator_died_gets_the_same_answer() {
    for (first, second) in [(RESERVATION, "2pc"), ("2pc", RESERVATION), ("saga", RESERVATION)] {
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
