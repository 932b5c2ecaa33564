//! Every schedule of transfers by events, with relays, recovery and other strategies beside them.

use super::family::{BALANCES, Family, NONE, WAYS, Way, one};
use super::{ALL, ONE_CRASH, ONE_CRASH_ONE_FAULT, strategy};
use crate::simulation::scene::{Scene, account, transfer};
use crate::simulation::world::Budget;
use crate::transfer::{IdOrigin, Routing};

const EVENTS: &str = "saga-choreographed";
const FAMILY: Family =
    Family { call: EVENTS, repeats: &[EVENTS, ALL[0], ALL[1], ALL[2], "lock-lease"] };
const TWO_CRASHES_ONE_FAULT: Budget = Budget { crashes: 2, ..ONE_CRASH_ONE_FAULT };

/// On which shards a relay makes its rounds that carries such a transfer to its end.
fn rounds((_, source, target, _): Way) -> [u16; 2] {
    [source, target].map(|id| Routing::new(2).shard_of(account(id)).0)
}

/// One transfer by events and one relay.
fn holds_beside_a_relay(ways: &[Way], budget: Budget) {
    for way in ways {
        let scene = one(EVENTS, *way, IdOrigin::Fresh, budget).relaying(1, rounds(*way));
        FAMILY.holds(&format!("{EVENTS} {}, a relay beside it, {budget:?}", way.0), &scene);
    }
}

#[test]
fn crashes_and_faults_beside_a_relay_lose_no_event_and_apply_none_twice() {
    holds_beside_a_relay(&WAYS, TWO_CRASHES_ONE_FAULT);
}

#[test]
fn two_relays_at_one_event_apply_it_once() {
    for way in WAYS {
        let scene = one(EVENTS, way, IdOrigin::Fresh, ONE_CRASH);
        let scene = scene.relaying(1, rounds(way)).relaying(2, rounds(way));
        FAMILY.holds(&format!("{EVENTS} {}, two relays", way.0), &scene);
    }
}

#[test]
fn recovery_beside_a_relay_breaks_no_promise_of_an_event() {
    for way in WAYS {
        let scene = one(EVENTS, way, IdOrigin::Fresh, ONE_CRASH);
        let scene = scene.relaying(1, rounds(way)).recovering(2);
        FAMILY.holds(&format!("{EVENTS} {}, a relay and recovery", way.0), &scene);
    }
}

#[test]
fn recovery_alone_carries_an_event_to_its_end() {
    FAMILY.holds_beside_recovery(&WAYS, TWO_CRASHES_ONE_FAULT, 1);
}

#[test]
fn a_shard_that_forgets_what_was_not_waited_for_breaks_no_promise() {
    holds_beside_a_relay(&WAYS, Budget { restarts: 1, ..ONE_CRASH });
}

#[test]
fn statements_of_events_that_are_turned_away_break_no_promise() {
    holds_beside_a_relay(&WAYS, Budget { refusals: 2, ..ONE_CRASH });
}

#[test]
fn an_account_that_is_closed_between_the_two_commits_breaks_no_promise() {
    holds_beside_a_relay(&WAYS[..2], Budget { closings: 1, ..ONE_CRASH_ONE_FAULT });
}

#[test]
fn two_calls_with_one_id_one_of_them_by_events_get_one_answer() {
    FAMILY.holds_beside_a_repeat(&WAYS, ONE_CRASH_ONE_FAULT, 0);
}

#[test]
fn a_relay_beside_two_calls_with_one_id_breaks_no_promise() {
    for second in FAMILY.repeats {
        for way in WAYS.into_iter().take(4) {
            let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
            let scene = one(EVENTS, way, IdOrigin::MayBeRepeated, NONE)
                .calling(1, &strategy(second), again)
                .relaying(2, rounds(way));
            FAMILY.holds(&format!("{EVENTS} beside {second} {}, a relay", way.0), &scene);
        }
    }
}

#[test]
fn a_call_repeated_by_another_strategy_after_its_process_died_gets_the_same_answer() {
    FAMILY.holds_when_repeated(&[(EVENTS, "2pc"), ("2pc", EVENTS), (EVENTS, "lock-lease")]);
}

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
        FAMILY.holds(&format!("two from one account, {balances:?}"), &both);
        let against = scene([(1, 2), (2, 1)], NONE).relaying(2, [0, 1]);
        FAMILY.holds(&format!("there and back, {balances:?}"), &against);
    }
}
