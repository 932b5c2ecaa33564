mod events;
mod family;
mod locks;
mod planted;
mod reservations;
mod reused_ids;
mod sagas;

use super::explore::every_schedule;
use super::random::{play, trace};
use super::scene::{Scene, transfer};
use super::world::Budget;
use crate::strategies::Strategy;
use crate::transfer::IdOrigin;

const TWO_CRASHES_TWO_FAULTS: Budget = Budget { crashes: 2, faults: 2, ..Budget::NONE };
const ONE_SESSION_TOO: Budget = Budget { sessions: 1, ..ONE_CRASH_ONE_FAULT };
const ONE_CRASH_ONE_REFUSAL: Budget = Budget { refusals: 1, ..ONE_CRASH };
const ONE_CRASH_ONE_FAULT: Budget = Budget { faults: 1, ..ONE_CRASH };
const ONE_CRASH: Budget = Budget { crashes: 1, ..Budget::NONE };

/// There are two accounts, on a shard each.
const MISSING_ACCOUNT: i64 = 4;

const ALL: [&str; 3] = ["2pc", "2pc:log=file", "2pc-last-agent"];

fn strategy(text: &str) -> Strategy {
    text.parse().expect("a strategy that there is")
}

/// One transfer by `call`, to an account that exists or not.
fn one_transfer(call: &str, target: i64, budget: Budget) -> Scene {
    let one = transfer(1, 1, target, 30, IdOrigin::Fresh);
    Scene::new(2, 2, 100, budget).calling(0, &strategy(call), one)
}

fn holds(name: &str, scene: &Scene) {
    holds_for(name, scene, &ALL.map(strategy));
}

fn holds_for(name: &str, scene: &Scene, repeats: &[Strategy]) {
    let began = std::time::Instant::now();
    match every_schedule(scene, repeats) {
        Ok(explored) => println!("{name}: {explored}, {:.1?}", began.elapsed()),
        Err(failure) => panic!("{name}:\n{failure}"),
    }
}

#[test]
fn two_crashes_and_two_faults_beside_recovery_break_no_promise() {
    for call in ALL {
        for target in [2, MISSING_ACCOUNT] {
            let scene = one_transfer(call, target, TWO_CRASHES_TWO_FAULTS).recovering(1);
            holds(&format!("{call} to account {target}, recovery beside it"), &scene);
        }
    }
}

#[test]
fn two_passes_of_recovery_side_by_side_break_no_promise() {
    for target in [2, MISSING_ACCOUNT] {
        let scene = one_transfer("2pc-last-agent", target, ONE_CRASH_ONE_FAULT);
        let scene = scene.recovering(1).recovering(2);
        holds(&format!("2pc-last-agent to account {target}, two passes"), &scene);
    }
}

#[test]
fn a_coordinator_that_loses_its_session_and_lives_breaks_no_promise() {
    for call in ALL {
        for target in [2, MISSING_ACCOUNT] {
            let scene = one_transfer(call, target, ONE_SESSION_TOO).recovering(1);
            holds(&format!("{call} to account {target}, a session lost"), &scene);
        }
    }
}

#[test]
fn every_option_keeps_the_promises() {
    for call in [
        "2pc:visit=parallel",
        "2pc:ack=early",
        "2pc:statements=one-by-one",
        "2pc:log=file,visit=parallel,ack=early",
        "2pc-last-agent:ack=early",
    ] {
        for target in [2, MISSING_ACCOUNT] {
            for budget in [ONE_CRASH_ONE_FAULT, ONE_CRASH_ONE_REFUSAL] {
                let scene = one_transfer(call, target, budget).recovering(1);
                holds(&format!("{call} to account {target}"), &scene);
            }
        }
    }
}

#[test]
fn two_calls_with_one_id_get_one_answer() {
    for first in ALL {
        for second in ALL {
            for target in [2, MISSING_ACCOUNT] {
                let one = transfer(1, 1, target, 30, IdOrigin::MayBeRepeated);
                let scene = Scene::new(2, 2, 100, ONE_CRASH_ONE_FAULT)
                    .calling(0, &strategy(first), one)
                    .calling(1, &strategy(second), one);
                holds(&format!("{first} beside {second} to account {target}"), &scene);
            }
        }
    }
}

#[test]
fn a_call_repeated_after_its_coordinator_died_gets_the_same_answer() {
    for (first, second) in [ALL[0], ALL[1], ALL[2]].into_iter().zip([ALL[1], ALL[2], ALL[0]]) {
        let again = transfer(1, 1, MISSING_ACCOUNT, 30, IdOrigin::MayBeRepeated);
        let scene = one_transfer(first, MISSING_ACCOUNT, ONE_CRASH)
            .recovering(1)
            .calling(2, &strategy(second), again)
            .after(0);
        holds(&format!("{first}, then {second}"), &scene);
    }
}

const SCHEDULES: u64 = 50_000;

/// One schedule is played again, and printed, with `SHARDBANK_SIMULATION_SEED=<n> cargo test --lib
/// random_schedules -- --nocapture`.
#[test]
fn random_schedules_of_three_transfers_break_no_promise() {
    if let Ok(seed) = std::env::var("SHARDBANK_SIMULATION_SEED") {
        let seed = seed.parse().expect("SHARDBANK_SIMULATION_SEED is a number");
        println!("{}", trace(seed).join("\n"));
        play(seed).expect("it is there");
        return;
    }
    let mut steps = 0;
    for seed in 0..SCHEDULES {
        match play(seed) {
            Ok(played) => steps += played.steps,
            Err(failure) => panic!("seed {seed}:\n{failure}"),
        }
    }
    println!("{SCHEDULES} random schedules, {steps} steps");
}

#[test]
fn a_seed_is_always_the_same_schedule() {
    for seed in 0..50 {
        assert_eq!(trace(seed), trace(seed));
    }
}
