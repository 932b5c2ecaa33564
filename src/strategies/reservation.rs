//! `reservation`: reserve on both accounts, decide, confirm or cancel (TCC).
//!
//! ```text
//! coordinator            shard A            shard B (home)
//!     | - reserve, COMMIT ------> |               |
//!     | - reserve, COMMIT ----------------------> |
//!     | - commit, unless abort stands ----------> |
//!     | <---------------------- what stands ----- |
//!     | - confirm, COMMIT ------> |               |
//!     | - confirm, COMMIT ----------------------> |
//! ```
//!
//! The rule it keeps: what is held can happen. The source's money is set aside and nobody else's to
//! spend; the target stays open for it. So a decision can be carried out whenever there is time for
//! it, and no row stays locked while nobody works. How a hold ends is what the register's first
//! writer wrote: a hold that expires by itself would make half a transfer, so its expiry only
//! entitles anybody to ask home, by writing `abort`, and to confirm or cancel *both* holds by what
//! then stands.
//!
//! | the coordinator dies | what stands after recovery |
//! | --- | --- |
//! | one or both accounts hold, nothing decided | nothing: recovery writes `abort` and cancels both, at once where the coordinator is dead, else when a hold has expired |
//! | decided | both effects: recovery confirms both |
//! | one is confirmed | both effects |
//! | somebody refused | nothing: `abort` stands, or recovery writes it |
//!
//! Costs: 4 round trips one after another, 5 forced flushes, 3 of them before the answer where
//! confirmations are lazy. Between reserve and confirm the balance is what it was, and what can be
//! spent is less: `balance - held`.
//!
//! Sources: Helland 2007 (tentative operations); Pardon and Pautasso 2014 (try, confirm, cancel).

use std::time::Duration;

use futures_util::join;

use crate::fail_points::FailPoint;
use crate::outcome::{
    AbortReason, Attempt, Decision, LegOutcome, Outcome, Refusal, ShardError, Tombstone,
};
use crate::strategies::recovery::{Living, Recovered};
use crate::strategies::{Coordinator, Try, ending};
use crate::transfer::{Branch, Epoch, ShardIndex, Transfer};
use crate::verbs::holding::OpenHold;
use crate::verbs::{DecisionKey, StrategyVerbs};

/// The strategy's name.
pub const NAME: &str = "reservation";

/// How often a confirmation that somebody is in the way of is tried before the rest is left to
/// recovery.
const ASKS: u32 = 5;

/// A reservation with its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// When the caller is answered.
    pub confirm: Confirm,
    /// How long a hold lasts that nobody decides on.
    pub hold: Duration,
}

/// When the caller is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confirm {
    /// When both effects are there: the caller reads its own writes.
    #[default]
    Completed,
    /// When the decision is durable. Read-your-writes is lost.
    Lazy,
}

impl Default for Reservation {
    fn default() -> Self {
        Self { confirm: Confirm::default(), hold: Duration::from_secs(10) }
    }
}

impl Coordinator for Reservation {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Earlier tries may have left a hold, so the answer is decided before it is given.
    async fn give_up<V: StrategyVerbs>(
        &self,
        verbs: &V,
        transfer: &Transfer,
        reason: AbortReason,
    ) -> Outcome {
        match verbs.epoch().await {
            Ok(epoch) => {
                Booking::of(verbs, transfer, epoch).abandon(verbs, Refusal::Aborted(reason)).await
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    async fn try_once<V: StrategyVerbs>(&self, verbs: &V, transfer: &Transfer) -> Try {
        let booking = match verbs.epoch().await {
            Ok(epoch) => Booking::of(verbs, transfer, epoch),
            Err(error) => return Try::Ended(Outcome::Failed(error)),
        };
        let [other, home] = booking.branches;

        // Nothing was sent: nothing happened.
        verbs.reached(FailPoint::ReservationStarted).await;

        match self.reserve(verbs, &other).await {
            Attempt::Done => {}
            Attempt::Rejected(why) => {
                // Nothing is held: the answer only has to be where the next call looks.
                let refusal = Refusal::Rejected(why);
                return Try::Ended(ending::record(verbs, &home, refusal, NAME).await);
            }
            Attempt::LegStands => {
                return ending::read_standing_leg(verbs, &other, &home, NAME).await;
            }
            Attempt::Retry(reason) => return Try::Again(reason),
            Attempt::Failed(error) => return Try::Ended(Outcome::Failed(error)),
            no => return Try::Ended(booking.abandon(verbs, refusal_of(&no)).await),
        }

        // One account holds its part, nothing is decided: recovery writes `abort` and cancels it.
        verbs.reached(FailPoint::ReservationFirstHeld).await;

        match self.reserve(verbs, &home).await {
            Attempt::Done => {}
            // What is held stays so: the next try finds it.
            Attempt::Retry(reason) => return Try::Again(reason),
            no => {
                // Whether home holds its part or not, nobody has decided: recovery writes `abort`.
                verbs.reached(FailPoint::ReservationRefused).await;

                return Try::Ended(booking.abandon(verbs, refusal_of(&no)).await);
            }
        }

        // Both hold, nothing is decided: recovery writes `abort` and cancels both.
        verbs.reached(FailPoint::ReservationAllHeld).await;

        let participants = Some(transfer.participants(verbs.routing()));
        let standing = match verbs.decide(&booking.key, participants, Decision::Commit).await {
            Ok(standing) => standing,
            // The reply was lost. Whatever stands now, stands for ever: ask by writing.
            Err(lost) => match ending::ask(verbs, &booking.key, AbortReason::Unreachable).await {
                Ok(standing) => standing,
                Err(_) => return Try::Ended(Outcome::InDoubt(lost)),
            },
        };
        Try::Ended(match standing {
            Decision::Abort(why) => booking.cancel(verbs, why).await,
            Decision::Commit => {
                // Decided: from here on recovery confirms whatever is still held.
                verbs.reached(FailPoint::ReservationDecided).await;

                let outcome = match self.confirm {
                    Confirm::Completed => booking.confirm(verbs).await,
                    Confirm::Lazy => {
                        verbs.confirm_later(booking.branches).await;
                        Outcome::Committed
                    }
                };

                // Confirmed, not answered: a repeated call finds the legs.
                verbs.reached(FailPoint::ReservationConfirmed).await;
                outcome
            }
        })
    }
}

impl Reservation {
    /// Reserves, also where an earlier try, or another call with the same id, holds it already.
    async fn reserve<V: StrategyVerbs>(&self, verbs: &V, branch: &Branch) -> Attempt {
        let reserved = verbs.reserve(branch, self.hold, NAME).await;
        if reserved != Attempt::LegStands {
            return reserved;
        }
        match verbs.read_leg(branch.shard, branch.transfer.id, branch.kind).await {
            Ok(Some(leg)) if leg.outcome == LegOutcome::Held && leg.agrees_with(branch) => {
                Attempt::Done
            }
            Ok(_) => Attempt::LegStands,
            Err(error) => Attempt::Failed(error),
        }
    }
}

/// Why a transfer is decided against whose reservation ended so.
const fn refusal_of(no: &Attempt) -> Refusal {
    match no {
        Attempt::Rejected(why) => Refusal::Rejected(*why),
        Attempt::Retry(why) => Refusal::Aborted(*why),
        Attempt::LegStands => Refusal::Aborted(AbortReason::Superseded),
        Attempt::Failed(_) | Attempt::Unknown(_) | Attempt::DecisionStands | Attempt::Done => {
            Refusal::Aborted(AbortReason::Unreachable)
        }
    }
}

/// What is held, or is to be, in visiting order, and where it is decided.
struct Booking {
    branches: [Branch; 2],
    key: DecisionKey,
}

impl Booking {
    fn of<V: StrategyVerbs>(verbs: &V, transfer: &Transfer, epoch: Epoch) -> Self {
        let routing = verbs.routing();
        let branches = transfer.branches(routing);
        Self { branches, key: DecisionKey::in_table(routing, epoch, transfer) }
    }

    /// Decides against the transfer, unless it is decided already, and carries out what stands.
    async fn abandon<V: StrategyVerbs>(&self, verbs: &V, refusal: Refusal) -> Outcome {
        match ending::ask(verbs, &self.key, refusal).await {
            // Another call with the same id found both accounts holding.
            Ok(Decision::Commit) => self.confirm(verbs).await,
            Ok(Decision::Abort(why)) => {
                // The abort stands: recovery cancels whatever is held.
                verbs.reached(FailPoint::ReservationDecidedAgainst).await;

                let outcome = self.cancel(verbs, why).await;

                // Cancelled, not answered: a repeated call finds the legs.
                verbs.reached(FailPoint::ReservationCancelled).await;
                outcome
            }
            Err(error) => Outcome::InDoubt(error),
        }
    }

    /// Confirms both and answers. The transfer is decided; what cannot be confirmed here recovery
    /// confirms. But a decided hold that was cancelled, or never was, is damage.
    async fn confirm<V: StrategyVerbs>(&self, verbs: &V) -> Outcome {
        match self.confirm_both(verbs).await {
            Some(Attempt::Failed(error)) => Outcome::InDoubt(error),
            _ => Outcome::Committed,
        }
    }

    /// Confirms both; returns what one of them answered that is not confirmed.
    async fn confirm_both<V: StrategyVerbs>(&self, verbs: &V) -> Option<Attempt> {
        let [first, second] = &self.branches;
        let confirmed = join!(confirm(verbs, first), async {
            // One may be confirmed by now: recovery finds the decision.
            verbs.reached(FailPoint::ReservationFirstConfirmSent).await;
            confirm(verbs, second).await
        });
        [confirmed.0, confirmed.1].into_iter().find(|attempt| *attempt != Attempt::Done)
    }

    /// Cancels both by an abort that stands, and answers with what home then says: its leg, and no
    /// other place, holds the answer.
    async fn cancel<V: StrategyVerbs>(&self, verbs: &V, why: Refusal) -> Outcome {
        let [other, home] = &self.branches;
        // Where that fails recovery cancels it: the abort stands.
        let (_, at_home) = join!(verbs.cancel(other, why, NAME), verbs.cancel(home, why, NAME));
        match at_home {
            Ok(Tombstone::Placed) => Decision::Abort(why).into(),
            Ok(Tombstone::Stands(leg)) => ending::answer_standing(verbs, &leg, home).await,
            // Nothing will happen; under which name that is recorded, recovery settles.
            Ok(Tombstone::InFlight) => Outcome::InDoubt(ShardError {
                shard: home.shard,
                sqlstate: None,
                message: "another call with this transfer id is in flight; ask again".to_owned(),
            }),
            Err(error) => Outcome::InDoubt(error),
        }
    }
}

/// Confirms, again and again while somebody is in the way.
async fn confirm<V: StrategyVerbs>(verbs: &V, branch: &Branch) -> Attempt {
    let mut asked = 1;
    loop {
        match verbs.confirm(branch).await {
            Attempt::Retry(_) if asked < ASKS => {
                asked += 1;
                verbs.back_off(asked).await;
            }
            attempt => return attempt,
        }
    }
}

/// Ends the holds of a shard whose coordinator is dead or whose time is over, each with its
/// counterpart, by what home says. Any number may be at it.
pub(super) async fn sweep<V: StrategyVerbs>(
    verbs: &V,
    shard: ShardIndex,
    living: &mut Living<'_>,
    grace: Duration,
    recovered: &mut Recovered,
) {
    let holds = match verbs.open_holds(shard).await {
        Ok(holds) => holds,
        Err(error) => {
            recovered.unreachable.push(error);
            return;
        }
    };
    if !holds.is_empty() {
        // Nothing has been done yet; another pass will see the same.
        verbs.reached(FailPoint::RecoveryHoldsListed).await;
    }
    for OpenHold { branch, epoch, is_expired } in holds {
        let is_wanted = !is_expired && living.has(verbs, epoch).await;
        if is_wanted && !grace.is_zero() {
            recovered.in_flight += 1;
            continue;
        }
        let why = if is_expired { AbortReason::Expired } else { AbortReason::Superseded };
        let booking = Booking::of(verbs, &branch.transfer, epoch);
        let owed = match verbs.decide_abort(&booking.key, Refusal::Aborted(why)).await {
            Ok(Decision::Commit) => match booking.confirm_both(verbs).await {
                None => {
                    recovered.confirmed += 1;
                    None
                }
                Some(Attempt::Failed(error) | Attempt::Unknown(error)) => Some(error),
                Some(no) => Some(ShardError {
                    shard,
                    sqlstate: None,
                    message: format!("the hold is decided and cannot be confirmed: {no:?}"),
                }),
            },
            Ok(Decision::Abort(why)) => match booking.cancel(verbs, why).await {
                Outcome::InDoubt(error) | Outcome::Failed(error) => Some(error),
                _ => {
                    recovered.cancelled += 1;
                    recovered.false_aborts += u64::from(is_wanted);
                    None
                }
            },
            Err(error) => Some(error),
        };
        recovered.owed.extend(owed.map(|error| (branch.transfer.id, error)));
    }
}
