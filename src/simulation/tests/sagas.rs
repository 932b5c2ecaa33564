//! Sagas, whose orchestrators, recovery among them, all take every open saga for theirs.

use super::family::{BALANCES, FULL, Family, NONE, WAYS};
use super::{ALL, ONE_CRASH, ONE_CRASH_ONE_FAULT, TWO_CRASHES_TWO_FAULTS};
use crate::simulation::world::Budget;

const SAGA: &str = "saga";
const FAMILY: Family =
    Family { call: SAGA, repeats: &[SAGA, "lock-lease", ALL[0], ALL[1], ALL[2]] };

#[test]
fn two_crashes_and_two_faults_beside_recovery_break_no_promise_of_a_saga() {
    FAMILY.holds_beside_recovery(&WAYS, TWO_CRASHES_TWO_FAULTS, 1);
}

#[test]
fn two_calls_with_one_id_of_which_one_is_a_saga_get_one_answer() {
    FAMILY.holds_beside_a_repeat(&WAYS, ONE_CRASH_ONE_FAULT, 0);
}

#[test]
fn sagas_in_opposite_directions_and_other_strategies_beside_them_break_no_promise() {
    FAMILY.holds_there_and_back(FAMILY.repeats, &BALANCES, ONE_CRASH_ONE_FAULT);
}

#[test]
fn an_account_that_is_closed_under_a_saga_breaks_no_promise() {
    let budget = Budget { closings: 1, ..TWO_CRASHES_TWO_FAULTS };
    FAMILY.holds_beside_recovery(&WAYS[..2], budget, 1);
}

#[test]
fn a_shard_that_forgets_the_end_of_a_saga_breaks_no_promise() {
    FAMILY.holds_beside_recovery(&WAYS, Budget { restarts: 1, ..ONE_CRASH_ONE_FAULT }, 1);
}

#[test]
fn two_orchestrators_at_one_saga_break_no_promise() {
    FAMILY.holds_beside_recovery(&WAYS[..4], ONE_CRASH, 2);
}

#[test]
fn steps_that_are_turned_away_break_no_promise() {
    FAMILY.holds_beside_recovery(&WAYS, Budget { refusals: 2, ..ONE_CRASH }, 1);
}

#[test]
fn a_saga_repeated_after_its_orchestrator_died_gets_the_same_answer() {
    let pairs = [(SAGA, "2pc"), ("2pc", SAGA), (SAGA, SAGA), ("lock-lease", SAGA)];
    FAMILY.holds_when_repeated(&pairs);
}

#[test]
fn recovery_beside_two_calls_with_one_id_of_which_one_is_a_saga_breaks_no_promise() {
    FAMILY.holds_beside_a_repeat(&[WAYS[0], ("down, full", 2, 1, FULL)], NONE, 1);
}
