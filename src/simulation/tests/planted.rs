//! The test of the tests under locks: what is broken is caught. The bugs are planted between the
//! protocols and the shards, so that they need no feature; and one strategy is one.

use super::{ONE_CRASH, strategy};
use crate::simulation::cluster::Plant;
use crate::simulation::explore::{Failure, every_schedule};
use crate::simulation::scene::{Scene, transfer};
use crate::simulation::world::Budget;
use crate::transfer::IdOrigin;

const LOCKS: &str = "lock-lease";

fn caught(scene: &Scene) -> Failure {
    let failure = every_schedule(scene, &[]).expect_err("it is there");
    println!("{failure}");
    *failure
}

fn scene(call: &str, target_balance: i64, budget: Budget) -> Scene {
    Scene::new(2, 2, 100, budget).with_balance(2, target_balance).calling(
        0,
        &strategy(call),
        transfer(1, 1, 2, 30, IdOrigin::Fresh),
    )
}

#[test]
fn a_refund_that_does_not_wait_for_the_credits_leg_is_caught() {
    let plain = scene(LOCKS, i64::MAX - 20, Budget::NONE);
    assert_eq!(every_schedule(&plain, &[]).map_err(|failure| failure.to_string()).err(), None);
    let failure = caught(&plain.planting(Plant::RefusalOfCredit));
    assert!(failure.violation.0.contains("the credit's leg is None"), "{failure}");
}

#[test]
fn a_saga_whose_refund_does_not_wait_for_the_credits_leg_is_caught() {
    let plain = scene("saga", i64::MAX - 20, Budget::NONE);
    assert_eq!(every_schedule(&plain, &[]).map_err(|failure| failure.to_string()).err(), None);
    let failure = caught(&plain.planting(Plant::RefusalOfCredit));
    assert!(failure.violation.0.contains("the credit's leg is None"), "{failure}");
}

#[test]
fn a_hold_that_expires_by_itself_is_caught() {
    let plain = scene("reservation", 100, Budget::NONE).recovering(1);
    assert_eq!(every_schedule(&plain, &[]).map_err(|failure| failure.to_string()).err(), None);
    let failure = caught(&plain.planting(Plant::ExpiryByItself));
    assert!(failure.violation.0.contains("what stands is"), "{failure}");
}

#[test]
fn a_finisher_that_credits_without_the_leg_is_caught() {
    let plain = scene(LOCKS, 100, Budget::NONE).recovering(1);
    assert_eq!(every_schedule(&plain, &[]).map_err(|failure| failure.to_string()).err(), None);
    let failure = caught(&plain.planting(Plant::CreditWithoutLeg));
    assert!(failure.violation.0.contains("its legs say"), "{failure}");
}

const EVENTS: &str = "saga-choreographed";

#[test]
fn an_event_that_is_credited_without_the_leg_is_caught() {
    let plain = scene(EVENTS, 100, Budget::NONE).recovering(1);
    assert_eq!(every_schedule(&plain, &[]).map_err(|failure| failure.to_string()).err(), None);
    let failure = caught(&plain.planting(Plant::EventWithoutLeg));
    assert!(failure.violation.0.contains("but the credit's leg is None"), "{failure}");
}

#[test]
fn a_refund_because_no_answer_came_is_caught() {
    let budget = Budget { faults: 1, ..Budget::NONE };
    let plain = scene(EVENTS, 100, budget).recovering(1);
    assert_eq!(every_schedule(&plain, &[]).map_err(|failure| failure.to_string()).err(), None);
    let failure = caught(&plain.planting(Plant::RefundOnSilence));
    assert!(failure.violation.0.contains("but the credit's leg is"), "{failure}");
}

#[test]
fn locks_that_are_believed_in_lose_half_a_transfer_with_their_holder() {
    let failure = caught(&scene("lock-naive", 100, ONE_CRASH));
    assert!(failure.violation.0.contains("half a transfer"), "{failure}");
}

#[test]
fn locks_that_are_believed_in_lose_an_update_to_a_second_holder() {
    let back = transfer(2, 2, 1, 40, IdOrigin::Fresh);
    let both = scene("lock-naive", 100, Budget::NONE).calling(1, &strategy("lock-naive"), back);
    let failure = caught(&both);
    assert!(failure.violation.0.contains("its legs say"), "{failure}");
}
