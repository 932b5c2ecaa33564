//! Reservations, whose holds recovery takes for expired whenever it looks.

use super::family::{Family, NONE, WAYS};
use super::{ALL, ONE_CRASH, ONE_CRASH_ONE_FAULT, TWO_CRASHES_TWO_FAULTS};
use crate::simulation::world::Budget;

const RESERVATION: &str = "reservation";
const FAMILY: Family = Family {
    call: RESERVATION,
    repeats: &[RESERVATION, "saga", "lock-lease", ALL[0], ALL[1], ALL[2]],
};
/// Both can be paid; the first is short. (No account is full: a credit that was promised would not
/// fit once others have filled it up, which needs more money than init lets in.)
const BALANCES: [(i64, i64); 2] = [(100, 100), (10, 100)];

#[test]
fn two_crashes_and_two_faults_beside_a_sweeper_break_no_promise_of_a_hold() {
    FAMILY.holds_beside_recovery(&WAYS, TWO_CRASHES_TWO_FAULTS, 1);
}

#[test]
fn lazy_confirmations_keep_the_promises() {
    let call = "reservation:confirm=lazy";
    FAMILY.option_holds_beside_recovery(call, &WAYS[..3], ONE_CRASH_ONE_FAULT, 1);
}

#[test]
fn two_sweepers_at_one_hold_break_no_promise() {
    FAMILY.holds_beside_recovery(&WAYS[..2], NONE, 2);
}

#[test]
fn two_calls_with_one_id_of_which_one_is_a_reservation_get_one_answer() {
    FAMILY.holds_beside_a_repeat(&WAYS[..4], ONE_CRASH, 0);
}

#[test]
fn reservations_in_opposite_directions_and_other_strategies_beside_them_break_no_promise() {
    FAMILY.holds_there_and_back(FAMILY.repeats, &BALANCES, ONE_CRASH);
}

#[test]
fn an_account_that_is_closed_beside_a_reservation_breaks_no_promise() {
    let budget = Budget { closings: 1, ..ONE_CRASH_ONE_FAULT };
    FAMILY.holds_beside_recovery(&WAYS[..2], budget, 1);
}

#[test]
fn shards_that_restart_or_turn_statements_away_break_no_promise_of_a_hold() {
    for budget in [Budget { restarts: 1, ..ONE_CRASH }, Budget { refusals: 2, ..ONE_CRASH }] {
        FAMILY.holds_beside_recovery(&WAYS[..3], budget, 1);
    }
}

#[test]
fn a_reservation_repeated_after_its_coordinator_died_gets_the_same_answer() {
    let pairs = [(RESERVATION, "2pc"), ("2pc", RESERVATION), ("saga", RESERVATION)];
    FAMILY.holds_when_repeated(&pairs);
}
