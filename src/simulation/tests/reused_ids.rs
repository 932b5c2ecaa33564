//! Two orders under one id, on shards that overlap: whichever goes through, each has both its effects
//! or none.

use super::{ONE_CRASH_ONE_FAULT, holds_for, strategy};
use crate::simulation::scene::{Scene, transfer};
use crate::transfer::IdOrigin::MayBeRepeated;

const CALLS: [&str; 7] = [
    "2pc",
    "2pc:log=file",
    "2pc-last-agent",
    "reservation",
    "saga",
    "saga-choreographed",
    "lock-lease",
];

/// Beside an order from account 1 to 3, which are on shards 0 and 2: one that shares the home shard,
/// one that goes back, one within home, one that shares the other shard.
const OTHERS: [(i64, i64); 4] = [(2, 6), (6, 4), (3, 6), (2, 4)];

#[test]
fn two_orders_under_one_id_are_each_whole_or_not_there() {
    for first in CALLS {
        for second in CALLS {
            for (from, to) in OTHERS {
                let scene = Scene::new(3, 6, 100, ONE_CRASH_ONE_FAULT)
                    .calling(0, &strategy(first), transfer(1, 1, 3, 30, MayBeRepeated))
                    .calling(1, &strategy(second), transfer(1, from, to, 30, MayBeRepeated));
                let name = format!("{first} beside {second} from {from} to {to} under its id");
                holds_for(&name, &scene, &[strategy(first), strategy(second)]);
            }
        }
    }
}
