//! An auditor that looks on while transfers run: how often is only half of one visible?
//!
//! At random instants, about 25 times a second, it picks two shards and the transfers that were
//! started within some ten milliseconds of the last hundred, and reads their applied legs on the
//! first shard, on the second, and on the first again. A transfer counts as half-visible only where
//! that is proved: its leg was there on one shard, and later its other leg was not there on the
//! other; for a leg does not go away. One that became visible on the first shard between the two
//! readings is undetermined and left out, unless both its legs are on one shard, which are read
//! together. So nothing is called half-visible that is not, windows shorter than a look are seen
//! too seldom, and how long a look took and how many it could not judge is told with the result.
//! Which transfers are looked at depends on when they were *started* and on nothing else, so long
//! and short ones, waiting ones and refused ones are met as often as there are of them; and the
//! share of half-visible ones is about the mean window divided by the hundred milliseconds less
//! the time until the first effect is there. It does not depend on how many transfers there are.
//!
//! It asks nothing of the clients: it has connections of its own and reads a few rows by the
//! primary key, three statements a look.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution as _, Exp};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::ledger::recent::{YoungLeg, YoungLegs};
use crate::outcome::ShardError;
use crate::shards::cluster::Cluster;
use crate::shards::failure::describe;
use crate::transfer::{AccountId, ShardIndex, TransferId};

/// Looks a second, on average.
const LOOKS_PER_S: f64 = 25.0;
/// Transfers that were started longer ago are not looked at.
const RECENT_MS: u64 = 100;
/// Of these, those that were started within so long are looked at together.
const SLICE_MS: u64 = 10;
/// How long a shard may take to answer before the look is given up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an auditor has seen of the transfers that it looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct HalfVisible {
    /// How often it looked.
    pub looks: u64,
    /// How often it could not, because a shard did not answer.
    pub failed_looks: u64,
    /// Samples of transfers of which something was visible at the instant of the look.
    pub visible: u64,
    /// Those among them of which only half was.
    pub half: u64,
    /// Samples that are neither, because they changed while they were looked at.
    pub undetermined: u64,
    /// All looks together, from the first question to the last answer, in microseconds.
    pub looking_us: u64,
}

impl HalfVisible {
    /// The share of samples that were half-visible, where there are samples.
    #[must_use]
    pub fn ratio(self) -> Option<f64> {
        (self.visible > 0).then(|| self.half as f64 / self.visible as f64)
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            looks: self.looks + other.looks,
            failed_looks: self.failed_looks + other.failed_looks,
            visible: self.visible + other.visible,
            half: self.half + other.half,
            undetermined: self.undetermined + other.undetermined,
            looking_us: self.looking_us + other.looking_us,
        }
    }

    fn count(&mut self, state: State) {
        match state {
            State::Half => {
                self.visible += 1;
                self.half += 1;
            }
            State::Whole => self.visible += 1,
            State::Undetermined => self.undetermined += 1,
        }
    }
}

/// When transfers were started: milliseconds since 1970, the last one not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// From then on.
    pub from_ms: u64,
    /// Up to then.
    pub until_ms: u64,
}

/// An auditor, connected.
pub struct Auditor {
    cluster: Cluster,
    shards: Vec<Option<YoungLegs>>,
    chance: Xoshiro256PlusPlus,
}

/// An auditor at work.
pub struct AtWork {
    stop: oneshot::Sender<()>,
    seen: tokio::task::JoinHandle<HalfVisible>,
}

impl AtWork {
    /// Ends it and says what it has seen.
    pub async fn end(self) -> HalfVisible {
        // It may have ended by itself only by a panic, which the next line passes on.
        let _ = self.stop.send(());
        self.seen.await.expect("an auditor does not panic and is not cancelled")
    }
}

impl Auditor {
    /// One with a connection to each shard of `cluster`, whose chance comes from `seed`.
    ///
    /// # Errors
    /// A shard did not answer.
    pub async fn open(cluster: Cluster, seed: u64) -> Result<Self, ShardError> {
        let shards = cluster.routing().shards().map(|_| None).collect();
        let chance = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut auditor = Self { cluster, shards, chance };
        for shard in auditor.cluster.routing().shards() {
            auditor.connect(shard).await?;
        }
        Ok(auditor)
    }

    /// Lets it look at random instants, at nothing that was started before now.
    #[must_use]
    pub fn work(mut self) -> AtWork {
        let (stop, mut stopped) = oneshot::channel();
        let began_ms = now_ms();
        let seen = tokio::spawn(async move {
            let gap = Exp::new(LOOKS_PER_S).expect("the rate is above 0");
            let mut seen = HalfVisible::default();
            loop {
                let wait = Duration::from_secs_f64(gap.sample(&mut self.chance));
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = &mut stopped => return seen,
                }
                let pair = self.pair();
                let slice = self.slice(began_ms);
                match self.look(pair, slice).await {
                    Ok(looked) => seen = seen.and(looked),
                    Err(_) => seen.failed_looks += 1,
                }
            }
        });
        AtWork { stop, seen }
    }

    /// Two shards of a cluster that has as many.
    fn pair(&mut self) -> [ShardIndex; 2] {
        let count = self.cluster.routing().shard_count();
        let first = self.chance.random_range(0..count);
        let second = (first + self.chance.random_range(1..count)) % count;
        [first, second].map(ShardIndex)
    }

    fn slice(&mut self, began_ms: u64) -> Slice {
        let from_ms = now_ms().saturating_sub(self.chance.random_range(0..RECENT_MS)).max(began_ms);
        Slice { from_ms, until_ms: from_ms + SLICE_MS }
    }

    /// Looks once at the transfers between two shards, and within each, that were started in
    /// `slice`.
    ///
    /// # Errors
    /// A shard did not answer.
    pub async fn look(
        &mut self,
        [first, second]: [ShardIndex; 2],
        slice: Slice,
    ) -> Result<HalfVisible, ShardError> {
        for shard in [first, second] {
            self.connect(shard).await?;
        }
        let started = Instant::now();
        let before = self.read(first, slice).await?;
        let then = self.read(second, slice).await?;
        let after = self.read(first, slice).await?;
        let looking_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut seen = HalfVisible { looks: 1, looking_us, ..HalfVisible::default() };

        for state in states(
            &self.sides(&before, second),
            &self.sides(&then, first),
            &self.sides(&after, second),
        ) {
            seen.count(state);
        }
        // Two shards are looked at in one of so many looks as there are pairs, each in more: those
        // that stay on a shard are counted as seldom as those that cross.
        let partners = u32::from(self.cluster.routing().shard_count()) - 1;
        for (legs, shard) in [(&before, first), (&then, second)] {
            for _whole in self.sides(legs, shard) {
                if self.chance.random_ratio(1, partners) {
                    seen.count(State::Whole);
                }
            }
        }
        Ok(seen)
    }

    /// The transfers with a leg among `legs` whose other end is on `other`.
    fn sides(&self, legs: &[YoungLeg], other: ShardIndex) -> HashMap<TransferId, Side> {
        let routing = self.cluster.routing();
        let mut sides = HashMap::new();
        for leg in legs {
            let counter = AccountId::new(leg.counter_account);
            if counter.is_some_and(|counter| routing.shard_of(counter) == other) {
                let side = sides.entry(leg.transfer).or_insert(Side::Applied);
                if leg.is_refund {
                    *side = Side::Refunded;
                }
            }
        }
        sides
    }

    async fn connect(&mut self, shard: ShardIndex) -> Result<(), ShardError> {
        let place = &mut self.shards[usize::from(shard.0)];
        if place.is_none() {
            let client = self.cluster.connect(shard, PATIENCE).await?;
            let opened = YoungLegs::open(client, PATIENCE).await;
            *place = Some(opened.map_err(|error| describe(shard, &error))?);
        }
        Ok(())
    }

    /// The legs on `shard` of the transfers of `slice`. A connection that fails is not used again.
    async fn read(&mut self, shard: ShardIndex, slice: Slice) -> Result<Vec<YoungLeg>, ShardError> {
        let place = &mut self.shards[usize::from(shard.0)];
        let legs = place.take().expect("a look connects before it reads");
        let [from, until] = [slice.from_ms, slice.until_ms].map(TransferId::first_of);
        match timeout(PATIENCE, legs.read(from, until)).await {
            Ok(Ok(read)) => {
                *place = Some(legs);
                Ok(read)
            }
            Ok(Err(error)) => Err(describe(shard, &error)),
            Err(_) => {
                Err(ShardError { shard, sqlstate: None, message: "no answer in time".to_owned() })
            }
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What is there of a transfer on one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Applied,
    Refunded,
}

/// What a look says of a transfer of which it saw something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Half,
    Undetermined,
}

type Sides = HashMap<TransferId, Side>;

/// Judges every transfer that was seen on the first shard, on the second, or on the first again.
fn states(before: &Sides, then: &Sides, after: &Sides) -> Vec<State> {
    let mut ids: Vec<&TransferId> = before.keys().chain(then.keys()).chain(after.keys()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(|id| state(before.get(id), then.get(id), after.get(id))).collect()
}

fn state(before: Option<&Side>, then: Option<&Side>, after: Option<&Side>) -> State {
    match (before, then, after) {
        // Made good, so nothing is under way, whatever the other end never had.
        (Some(Side::Refunded), _, _) | (_, Some(Side::Refunded), _) => State::Whole,
        (Some(Side::Applied), Some(Side::Applied), _) => State::Whole,
        // There before, and later the other was not there; or the other way round.
        (Some(Side::Applied), None, _) | (None, Some(Side::Applied), None) => State::Half,
        (None, _, _) => State::Undetermined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLIED: Option<&Side> = Some(&Side::Applied);
    const REFUNDED: Option<&Side> = Some(&Side::Refunded);

    #[test]
    fn only_what_is_proved_is_half_visible() {
        for (before, then, after, expected) in [
            (APPLIED, APPLIED, APPLIED, State::Whole),
            (APPLIED, None, APPLIED, State::Half),
            (None, APPLIED, None, State::Half),
            // The other became visible before or after the second shard was read.
            (None, APPLIED, APPLIED, State::Undetermined),
            (None, None, APPLIED, State::Undetermined),
        ] {
            assert_eq!(state(before, then, after), expected, "{before:?} {then:?} {after:?}");
        }
    }

    #[test]
    fn a_debit_is_half_a_transfer_until_it_is_made_good() {
        assert_eq!(state(APPLIED, None, REFUNDED), State::Half);
        assert_eq!(state(REFUNDED, None, REFUNDED), State::Whole);
        assert_eq!(state(None, REFUNDED, None), State::Whole);
    }

    #[test]
    fn each_transfer_is_judged_once_wherever_it_was_seen() {
        let ids = [(); 4].map(|()| TransferId::fresh());
        let sides = |seen: &[usize]| seen.iter().map(|i| (ids[*i], Side::Applied)).collect();
        let mut states = states(&sides(&[0, 1]), &sides(&[1, 2]), &sides(&[0, 1, 3]));
        states.sort_by_key(|state| *state as u8);
        assert_eq!(states, [State::Whole, State::Half, State::Half, State::Undetermined]);
    }

    #[test]
    fn shares_are_of_samples_and_none_of_nothing() {
        assert_eq!(HalfVisible::default().ratio(), None);
        let seen = HalfVisible { looks: 1, visible: 3, half: 1, ..HalfVisible::default() };
        assert_eq!(
            seen.and(HalfVisible { visible: 1, ..HalfVisible::default() }).ratio(),
            Some(0.25)
        );
    }
}
