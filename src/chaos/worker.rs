//! The load: clients that order transfers by all strategies for as long as they are let, and
//! write down what they are told.
//!
//! Most orders are made once. Some use an account that does not exist, some are repeated after
//! their answer by another strategy, and where a caller is left without an answer it may ask
//! again under the same id: whatever it is told must agree.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::{join, join_all};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::sync::watch;

use super::ChaosError;
use super::history::{Answer, Event, Journal};
use crate::strategies::Strategy;
use crate::strategies::recovery::recover;
use crate::transfer::{AccountId, Amount, IdOrigin, Routing, Transfer, TransferId};
use crate::verbs::StrategyVerbs;

/// No amount is higher, in minor units.
const AMOUNT_MAX: i64 = 100;
/// One order in so many is for an account that does not exist.
const ONE_UNKNOWN_IN: u32 = 32;
/// One order in so many comes with an id that its caller made.
const ONE_GIVEN_ID_IN: u32 = 4;
/// One answered order in so many is repeated.
const ONE_REPEATED_IN: u32 = 16;
/// How often an order without a final answer is repeated.
const REPEATS: u32 = 5;
/// How long a caller waits before it repeats, or orders anew where shards do not answer.
const PAUSE: Duration = Duration::from_millis(50);
const TRIES: NonZeroU32 = NonZeroU32::new(5).expect("it is not 0");
const BETWEEN_RECOVERIES: Duration = Duration::from_secs(1);
/// How long branches of living coordinators are left alone by the worker's own recovery.
const GRACE: Duration = Duration::from_secs(2);

/// What the worker does.
#[derive(Debug, Clone)]
pub struct Work {
    /// How many transfers are in flight at a time.
    pub clients: u32,
    /// Accounts 1 to this, at least one a shard.
    pub accounts: u64,
    /// Where all chance comes from.
    pub seed: u64,
    /// What the orders are carried by.
    pub strategies: Vec<Strategy>,
    /// Whether it also recovers, every second.
    pub recovers: bool,
}

/// Orders until `stopped` is raised; then answers what is in flight.
///
/// # Errors
/// The history cannot be written.
pub async fn work<V: StrategyVerbs>(
    verbs: &V,
    journal: &Journal,
    work: &Work,
    stopped: watch::Receiver<bool>,
) -> Result<(), ChaosError> {
    let clients = (0..work.clients).map(|number| {
        let rng = Xoshiro256PlusPlus::seed_from_u64(work.seed ^ (u64::from(number) << 32));
        Client { verbs, journal, work, rng, routing: verbs.routing() }.order(&stopped)
    });
    let recovering = async {
        while work.recovers && !*stopped.borrow() {
            recover(verbs, GRACE).await;
            tokio::time::sleep(BETWEEN_RECOVERIES).await;
        }
    };
    let (ended, ()) = join(join_all(clients), recovering).await;
    ended.into_iter().collect()
}

struct Client<'a, V> {
    verbs: &'a V,
    journal: &'a Journal,
    work: &'a Work,
    rng: Xoshiro256PlusPlus,
    routing: Routing,
}

impl<V: StrategyVerbs> Client<'_, V> {
    async fn order(mut self, stopped: &watch::Receiver<bool>) -> Result<(), ChaosError> {
        while !*stopped.borrow() {
            let strategy = self.pick(|_| true).expect("there is a strategy");
            let mut transfer = self.draw(&strategy);
            let mut answer = self.carry(&strategy, &transfer).await?;
            transfer.origin = IdOrigin::MayBeRepeated;
            if self.one_in(ONE_REPEATED_IN) {
                let crosses = strategy.crosses_shards();
                if let Some(other) = self.pick(|other| other.crosses_shards() == crosses) {
                    answer = self.carry(&other, &transfer).await?;
                }
            }
            let mut repeats = 0;
            while matches!(answer, Answer::Failed | Answer::InDoubt) {
                tokio::time::sleep(PAUSE).await;
                if repeats == REPEATS || *stopped.borrow() || self.one_in(2) {
                    break;
                }
                repeats += 1;
                answer = self.carry(&strategy, &transfer).await?;
            }
        }
        Ok(())
    }

    async fn carry(&self, strategy: &Strategy, transfer: &Transfer) -> Result<Answer, ChaosError> {
        self.journal.write(&Event::ordered(transfer, strategy.to_string()))?;
        let report = strategy.transfer(self.verbs, transfer, TRIES).await;
        let answer = Answer::from(&report.outcome);
        self.journal.write(&Event::Answered { id: transfer.id, answer })?;
        Ok(answer)
    }

    fn pick(&mut self, fits: impl Fn(&Strategy) -> bool) -> Option<Strategy> {
        let fitting: Vec<&Strategy> =
            self.work.strategies.iter().filter(|strategy| fits(strategy)).collect();
        fitting.choose(&mut self.rng).map(|strategy| (*strategy).clone())
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.rng.random_ratio(1, many)
    }

    /// An order that `strategy` can carry: on one shard, or between two.
    fn draw(&mut self, strategy: &Strategy) -> Transfer {
        let (source, target) = loop {
            let (source, target) = (self.account(), self.account());
            let crosses = self.routing.shard_of(source) != self.routing.shard_of(target);
            if source != target && crosses == strategy.crosses_shards() {
                break (source, target);
            }
        };
        // On the same shard as the one that was drawn.
        let missing = target.get() + (1 << 40) * i64::from(self.routing.shard_count());
        let target = if self.one_in(ONE_UNKNOWN_IN) {
            AccountId::new(missing).expect("it is positive")
        } else {
            target
        };
        let given = self.one_in(ONE_GIVEN_ID_IN);
        Transfer {
            id: TransferId::fresh(),
            source,
            target,
            amount: Amount::new(self.rng.random_range(1..=AMOUNT_MAX)).expect("it is positive"),
            origin: if given { IdOrigin::MayBeRepeated } else { IdOrigin::Fresh },
        }
    }

    fn account(&mut self) -> AccountId {
        let number = self.rng.random_range(1..=self.work.accounts);
        AccountId::new(i64::try_from(number).expect("few accounts")).expect("it is positive")
    }
}
