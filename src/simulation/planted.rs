//! The test of the tests: `cargo test --lib --features planted-late-decision simulation`.

use super::explore::every_schedule;
use super::random::play;
use super::scene::{Scene, transfer};
use super::world::Budget;
use crate::transfer::IdOrigin;

#[test]
fn a_commit_prepared_before_the_decision_is_caught_by_every_schedule() {
    let strategy = "2pc".parse().expect("it is there");
    let one = transfer(1, 1, 2, 30, IdOrigin::Fresh);
    // Nothing at all needs to go wrong: recovery that comes in between is enough.
    let scene = Scene::new(2, 2, 100, Budget::default()).calling(0, &strategy, one).recovering(1);
    let failure = every_schedule(&scene, &[strategy]).unwrap_err();
    println!("{failure}");
}

#[test]
fn a_commit_prepared_before_the_decision_is_caught_by_random_schedules() {
    let caught = (0..5_000).find_map(|seed| play(seed).err().map(|failure| (seed, failure)));
    let (seed, failure) = caught.expect("it is there");
    println!("seed {seed}:\n{failure}");
}
