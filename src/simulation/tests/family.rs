//! Scenes in which every family of strategies has to keep its promises.

use super::{MISSING_ACCOUNT, ONE_CRASH, holds_for, strategy};
use crate::simulation::scene::{Scene, transfer};
use crate::simulation::world::Budget;
use crate::transfer::IdOrigin;

pub const NONE: Budget = Budget::NONE;
/// No further credit fits.
pub const FULL: i64 = i64::MAX - 20;
/// Both can be paid; the first finds no room until the second has made some; the first is short.
pub const BALANCES: [(i64, i64); 3] = [(100, 100), (100, FULL), (10, 100)];

/// Which source and target a transfer has, and how full the target is.
pub type Way = (&'static str, i64, i64, i64);
/// The first two go through, the first four meet accounts that exist.
pub const WAYS: [Way; 6] = [
    ("up", 1, 2, 100),
    ("down", 2, 1, 100),
    ("up to a full account", 1, 2, FULL),
    ("down to a full account", 2, 1, FULL),
    ("up to no account", 1, MISSING_ACCOUNT, 100),
    ("down to no account", 2, MISSING_ACCOUNT + 1, 100),
];

/// One transfer.
pub fn one(call: &str, way: Way, origin: IdOrigin, budget: Budget) -> Scene {
    let (_, source, target, balance) = way;
    Scene::new(2, 2, 100, budget).with_balance(target, balance).calling(
        0,
        &strategy(call),
        transfer(1, source, target, 30, origin),
    )
}

/// Two transfers between the same accounts, in opposite directions.
pub fn there_and_back(calls: [&str; 2], balances: (i64, i64), budget: Budget) -> Scene {
    Scene::new(2, 2, 100, budget)
        .with_balance(1, balances.0)
        .with_balance(2, balances.1)
        .calling(0, &strategy(calls[0]), transfer(1, 1, 2, 30, IdOrigin::Fresh))
        .calling(1, &strategy(calls[1]), transfer(2, 2, 1, 40, IdOrigin::Fresh))
}

/// Strategies with the same promises.
pub struct Family {
    /// One of them.
    pub call: &'static str,
    /// By which strategies, its own among them, transfers are asked for again.
    pub repeats: &'static [&'static str],
}

impl Family {
    pub fn holds(&self, name: &str, scene: &Scene) {
        let repeats: Vec<_> = self.repeats.iter().copied().map(strategy).collect();
        holds_for(name, scene, &repeats);
    }

    /// One transfer, and so many passes of recovery beside it.
    pub fn holds_beside_recovery(&self, ways: &[Way], budget: Budget, passes: usize) {
        self.option_holds_beside_recovery(self.call, ways, budget, passes);
    }

    /// The same by a strategy with options.
    pub fn option_holds_beside_recovery(
        &self,
        call: &str,
        ways: &[Way],
        budget: Budget,
        passes: usize,
    ) {
        for way in ways {
            let scene = one(call, *way, IdOrigin::Fresh, budget);
            let scene = (1..=passes).fold(scene, Scene::recovering);
            let name = way.0;
            self.holds(&format!("{call} {name}, {passes} pass(es) beside it, {budget:?}"), &scene);
        }
    }

    /// Two calls with one id at the same time, with `passes` of recovery beside them.
    pub fn holds_beside_a_repeat(&self, ways: &[Way], budget: Budget, passes: usize) {
        for second in self.repeats {
            for way in ways {
                let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
                let scene = one(self.call, *way, IdOrigin::MayBeRepeated, budget);
                let scene = scene.calling(1, &strategy(second), again);
                let scene = (2..2 + passes).fold(scene, Scene::recovering);
                let (call, name) = (self.call, way.0);
                self.holds(&format!("{call} beside {second} {name}, {passes} pass(es)"), &scene);
            }
        }
    }

    /// Two transfers in opposite directions, the second by each of `others`.
    pub fn holds_there_and_back(&self, others: &[&str], balances: &[(i64, i64)], budget: Budget) {
        for other in others {
            for balances in balances {
                let scene = there_and_back([self.call, other], *balances, budget);
                let call = self.call;
                self.holds(&format!("there by {call}, back by {other}, {balances:?}"), &scene);
            }
        }
    }

    /// Two calls of which the second begins when the first has died or ended, beside recovery.
    pub fn holds_when_repeated(&self, pairs: &[(&str, &str)]) {
        for (first, second) in pairs {
            for way in &WAYS[2..] {
                let again = transfer(1, way.1, way.2, 30, IdOrigin::MayBeRepeated);
                let scene = one(first, *way, IdOrigin::Fresh, ONE_CRASH)
                    .recovering(1)
                    .calling(2, &strategy(second), again)
                    .after(0);
                self.holds(&format!("{first}, then {second}, {}", way.0), &scene);
            }
        }
    }
}
