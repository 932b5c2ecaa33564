//! Strategies under locks that exclude nobody.

use super::family::{BALANCES, FULL, Family, NONE, WAYS, there_and_back};
use super::{ALL, ONE_CRASH, ONE_CRASH_ONE_FAULT, TWO_CRASHES_TWO_FAULTS, strategy};
use crate::simulation::locking::Tokens;
use crate::simulation::scene::{Scene, transfer};
use crate::simulation::world::Budget;
use crate::transfer::IdOrigin;

const LOCKS: &str = "lock-lease";
const FAMILY: Family = Family { call: LOCKS, repeats: &[LOCKS, ALL[0], ALL[1], ALL[2]] };

#[test]
fn two_crashes_and_two_faults_beside_recovery_break_no_promise_of_an_intent() {
    FAMILY.holds_beside_recovery(&WAYS, TWO_CRASHES_TWO_FAULTS, 1);
}

#[test]
fn two_calls_with_one_id_under_locks_get_one_answer() {
    FAMILY.holds_beside_a_repeat(&WAYS, ONE_CRASH_ONE_FAULT, 0);
}

#[test]
fn two_transfers_in_opposite_directions_under_locks_break_no_promise() {
    for tokens in Tokens::ALL {
        for balances in BALANCES {
            let scene = there_and_back([LOCKS; 2], balances, ONE_CRASH_ONE_FAULT).numbered(tokens);
            FAMILY.holds(&format!("there and back, {tokens:?}, {balances:?}"), &scene);
        }
    }
}

#[test]
fn recovery_beside_two_transfers_under_locks_breaks_no_promise() {
    for (balances, budget) in BALANCES.into_iter().zip([NONE, NONE, ONE_CRASH]) {
        let scene = there_and_back([LOCKS; 2], balances, budget).recovering(2);
        FAMILY.holds(&format!("there and back, {balances:?}, recovery beside it"), &scene);
    }
}

#[test]
fn locks_and_two_phase_commit_on_the_same_accounts_break_no_promise() {
    FAMILY.holds_there_and_back(&ALL, &BALANCES, ONE_CRASH_ONE_FAULT);
}

#[test]
fn an_account_that_is_closed_under_a_lock_breaks_no_promise() {
    let budget = Budget { closings: 1, ..TWO_CRASHES_TWO_FAULTS };
    FAMILY.holds_beside_recovery(&WAYS[..2], budget, 1);
    let budget = Budget { closings: 2, ..ONE_CRASH };
    let scene = there_and_back([LOCKS; 2], (100, 100), budget);
    FAMILY.holds("there and back, accounts are closed", &scene);
}

#[test]
fn a_shard_that_forgets_a_closed_intent_breaks_no_promise() {
    FAMILY.holds_beside_recovery(&WAYS, Budget { restarts: 1, ..ONE_CRASH_ONE_FAULT }, 1);
}

#[test]
fn statements_under_locks_that_are_turned_away_break_no_promise() {
    FAMILY.holds_beside_recovery(&WAYS, Budget { refusals: 2, ..ONE_CRASH }, 1);
}

#[test]
fn two_passes_of_recovery_at_one_intent_break_no_promise() {
    FAMILY.holds_beside_recovery(&WAYS[..4], ONE_CRASH, 2);
}

#[test]
fn recovery_beside_two_calls_with_one_id_breaks_no_promise() {
    FAMILY.holds_beside_a_repeat(&WAYS[..4], NONE, 1);
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
            FAMILY.holds(&format!("{LOCKS} beside {second} on one shard, {target}"), &scene);
        }
    }
}

#[test]
fn a_call_under_locks_repeated_after_its_coordinator_died_gets_the_same_answer() {
    FAMILY.holds_when_repeated(&[(LOCKS, "2pc"), ("2pc", LOCKS), (LOCKS, LOCKS)]);
}
