//! `2pc-last-agent`: two-phase commit in which the last participant decides.
//!
//! ```text
//! coordinator            shard A                shard B (home)
//!     | - leg, effect, PREPARE -> |                   |
//!     | <------- prepared ------- |                   |
//!     | ------- leg, effect, decision, COMMIT ------> |
//!     | <----------------- committed ---------------- |
//!     | --- COMMIT PREPARED ----> |
//! ```
//!
//! The rule it keeps: home's local commit *is* the decision. Home needs no second phase, because
//! its effect and the verdict are one transaction; the other participant waits, prepared, for
//! what home decides. Recovery asks home by writing `abort`: if that insert wins, home's own
//! transaction can no longer commit.
//!
//! | the coordinator dies | what stands after recovery |
//! | --- | --- |
//! | before home has committed | nothing: recovery writes `abort` and rolls A back |
//! | home's commit is on its way | what home makes of it: recovery's insert waits for it |
//! | home has committed | both effects: recovery finds `commit` and commits A |
//!
//! Costs: 3 round trips, 3 forced flushes.
//!
//! Source: Gray 1978; Samaras et al. 1993 ("last agent").

use crate::fail_points::FailPoint;
use crate::outcome::{AbortReason, Attempt, Decision, Finish, Outcome, Refusal, ShardError};
use crate::strategies::ending::{self, Order};
use crate::strategies::two_phase::Ack;
use crate::strategies::{Coordinator, Try};
use crate::transfer::{Branch, Transfer};
use crate::verbs::{DecisionKey, Gid, Preparation, Register, Statements, StrategyVerbs, Verbs};

/// The strategy's name.
pub const NAME: &str = "2pc-last-agent";

/// Two-phase commit whose last participant decides, with its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TwoPhaseLastAgent {
    /// How the statements of the prepared branch travel.
    pub statements: Statements,
    /// When the caller is answered.
    pub ack: Ack,
}

impl Coordinator for TwoPhaseLastAgent {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn try_once<V: StrategyVerbs>(&self, verbs: &V, transfer: &Transfer) -> Try {
        let routing = verbs.routing();
        let [other, home] = transfer.branches(routing);
        let epoch = match verbs.epoch().await {
            Ok(epoch) => epoch,
            Err(error) => return Try::Ended(Outcome::Failed(error)),
        };
        let gid = Gid {
            cluster: verbs.cluster(),
            epoch,
            register: Register::Table,
            home: home.shard,
            transfer: transfer.id,
            kind: other.kind,
            attempt: verbs.next_attempt(),
        };

        // Nothing was sent: nothing happened.
        verbs.reached(FailPoint::LastAgentStarted).await;

        let how =
            Preparation { strategy: NAME, statements: self.statements, claims_decision: false };
        match verbs.prepare(&other, &gid, how).await {
            Attempt::Done => {}
            Attempt::Unknown(lost) => return ask_home(verbs, &other, &home, &gid, lost).await,
            no => return refused(verbs, &other, &home, &gid, no).await,
        }

        // A has prepared, home knows nothing: recovery writes `abort` and rolls A back.
        verbs.reached(FailPoint::LastAgentPrepared).await;

        let participants = transfer.participants(routing);
        match verbs.apply_and_decide(&home, participants, NAME).await {
            Attempt::Done => {}
            // The reply was lost. Whatever stands on home now, stands for ever.
            Attempt::Unknown(lost) => {
                match ending::ask(verbs, &key(verbs, &gid, &home), AbortReason::Unreachable).await {
                    Ok(Decision::Commit) => {}
                    Ok(standing) => {
                        ending::roll_back(verbs, other.shard, &gid).await;
                        let answer = ending::answer_decided(verbs, &home, standing, NAME).await;
                        return Try::Ended(answer);
                    }
                    Err(_) => return Try::Ended(Outcome::InDoubt(lost)),
                }
            }
            no => {
                // Home said no: recovery writes `abort` and rolls A back.
                verbs.reached(FailPoint::LastAgentRefused).await;

                let rolled_back = ending::roll_back(verbs, other.shard, &gid).await;
                return match rolled_back.left_on(other.shard) {
                    None => refused(verbs, &home, &home, &gid, no).await,
                    Some(lost) => ask_home(verbs, &other, &home, &gid, lost).await,
                };
            }
        }

        // Home has committed, and with it the decision: recovery commits A.
        verbs.reached(FailPoint::LastAgentDecided).await;

        let outcome = match self.ack {
            Ack::Early => {
                verbs.commit_prepared_later(vec![(other.shard, gid)]).await;
                Outcome::Committed
            }
            Ack::Completed => {
                let finish = ending::finish(verbs, other.shard, &gid, Order::Commit).await;
                ending::answer_committed(verbs, &[(&other, &finish)]).await
            }
        };

        // Committed everywhere, not answered: a repeated call finds the legs.
        verbs.reached(FailPoint::LastAgentCompleted).await;
        Try::Ended(outcome)
    }
}

/// Where the transfer is decided whose branch `gid` is.
fn key<V: Verbs>(verbs: &V, gid: &Gid, home: &Branch) -> DecisionKey {
    DecisionKey::in_table(verbs.routing(), gid.epoch, &home.transfer)
}

/// Ends a try after which it is not known whether A is, or will be, prepared. Only seeing the
/// branch go is knowledge; otherwise home is asked by writing, and recovery rolls A back on the
/// strength of what then stands there.
async fn ask_home<V: StrategyVerbs>(
    verbs: &V,
    other: &Branch,
    home: &Branch,
    gid: &Gid,
    lost: ShardError,
) -> Try {
    if verbs.roll_back_prepared(other.shard, gid).await == Finish::Done {
        return Try::Again(AbortReason::Unreachable);
    }
    match ending::ask(verbs, &key(verbs, gid, home), AbortReason::Unreachable).await {
        Ok(standing) => Try::Ended(ending::answer_decided(verbs, home, standing, NAME).await),
        Err(_) => Try::Ended(Outcome::InDoubt(lost)),
    }
}

/// Ends a try in which `branch` said `no` and nothing is prepared any more.
async fn refused<V: StrategyVerbs>(
    verbs: &V,
    branch: &Branch,
    home: &Branch,
    gid: &Gid,
    no: Attempt,
) -> Try {
    // Nothing happened and nothing is written down: the same id may be tried again.
    verbs.reached(FailPoint::LastAgentRolledBack).await;

    match no {
        Attempt::Rejected(rejection) => {
            let refusal = Refusal::Rejected(rejection);
            Try::Ended(ending::record(verbs, home, refusal, NAME).await)
        }
        Attempt::LegStands => ending::read_standing_leg(verbs, branch, home, NAME).await,
        Attempt::DecisionStands => {
            match ending::ask(verbs, &key(verbs, gid, home), AbortReason::Superseded).await {
                Ok(standing) => {
                    Try::Ended(ending::answer_decided(verbs, home, standing, NAME).await)
                }
                Err(error) => Try::Ended(Outcome::Failed(error)),
            }
        }
        Attempt::Retry(reason) => Try::Again(reason),
        Attempt::Failed(error) => Try::Ended(Outcome::Failed(error)),
        Attempt::Done | Attempt::Unknown(_) => {
            unreachable!("a yes is no refusal, and an unknown answer is asked about")
        }
    }
}
