//! `2pc`: two-phase commit by a coordinator with a durable log, presumed abort.
//!
//! ```text
//! coordinator            shard A            shard B (home)        log
//!     | - leg, effect, PREPARE -> |               |                |
//!     | <------- prepared ------- |               |                |
//!     | ------- leg, effect, PREPARE -----------> |                |
//!     | <-------------- prepared ---------------- |                |
//!     | ------------------------ commit, unless abort stands ----> |
//!     | <----------------------- what stands --------------------- |
//!     | --- COMMIT PREPARED ----> |               |
//!     | ------- COMMIT PREPARED ----------------> |
//! ```
//!
//! The rule it keeps: nobody is told to commit before the decision is durable, and the decision
//! is whatever the register's *first* writer wrote. Recovery asks the register by writing
//! `abort`, so a coordinator that was merely slow finds that it has been decided against and
//! rolls back; it never happens that one commits what the other rolled back.
//!
//! | the coordinator dies | what stands after recovery |
//! | --- | --- |
//! | before all have prepared | nothing: no decision, so recovery writes `abort` |
//! | all prepared, nothing decided | nothing, for the same reason; rows stay locked until then |
//! | decided | both effects: recovery finds `commit` |
//! | one participant committed | both effects |
//!
//! Costs: prepare, decide and commit are 3 round trips one after another when participants are
//! told together (4 here, because shards are visited in one fixed order while locks are taken);
//! 5 forced flushes with the table log, 4 and a file sync with the file log.
//!
//! Sources: Gray 1978; Mohan, Lindsay and Obermarck 1986 (presumed abort).

use futures_util::join;

use crate::fail_points::FailPoint;
use crate::outcome::{AbortReason, Attempt, Decision, Finish, Outcome, Refusal, ShardError};
use crate::strategies::ending::{self, Order};
use crate::strategies::{Coordinator, Try};
use crate::transfer::{Branch, ShardIndex, Transfer};
use crate::verbs::{DecisionKey, Gid, Preparation, Register, Statements, StrategyVerbs, Verbs};

/// The strategy's name.
pub const NAME: &str = "2pc";

/// Two-phase commit with its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TwoPhase {
    /// Where the decision is kept.
    pub log: Log,
    /// How the statements of a branch travel. One by one also tells the participants one after
    /// the other in phase two.
    pub statements: Statements,
    /// When the caller is answered.
    pub ack: Ack,
    /// In which order votes are collected.
    pub visit: Visit,
}

/// Where the decision is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Log {
    /// A row on the home shard: any recoverer anywhere can ask it.
    #[default]
    Table,
    /// A file beside the coordinator, synced in groups: only its owner can ask it.
    File,
}

/// When the caller is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// When every participant has carried the decision out: the caller reads its own writes.
    #[default]
    Completed,
    /// When the decision is durable. Read-your-writes is lost.
    Early,
}

/// In which order votes are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visit {
    /// By shard number: two transfers never wait for each other in a circle.
    #[default]
    FixedOrder,
    /// All at once: one round trip less, and distributed deadlocks that only `lock_timeout`
    /// breaks.
    Parallel,
}

impl Coordinator for TwoPhase {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn try_once<V: StrategyVerbs>(&self, verbs: &V, transfer: &Transfer) -> Try {
        let ballot = match Ballot::open(self, verbs, transfer).await {
            Ok(ballot) => ballot,
            Err(error) => return Try::Ended(Outcome::Failed(error)),
        };

        // Nothing was sent: nothing happened.
        verbs.reached(FailPoint::TwoPhaseStarted).await;

        let votes = self.collect_votes(verbs, &ballot).await;
        if !matches!(votes, [Some(Attempt::Done), Some(Attempt::Done)]) {
            return ballot.abandon(verbs, votes).await;
        }

        #[cfg(feature = "planted-late-decision")]
        ballot.commit(verbs, 0).await;

        // All prepared, nothing decided: recovery writes `abort` and rolls both back.
        verbs.reached(FailPoint::TwoPhaseAllPrepared).await;

        let participants = Some(transfer.participants(verbs.routing()));
        let standing = match verbs.decide(&ballot.key, participants, Decision::Commit).await {
            Ok(standing) => standing,
            // The reply was lost. Whatever stands now, stands for ever: ask by writing.
            Err(lost) => match ending::ask(verbs, &ballot.key, AbortReason::Unreachable).await {
                Ok(standing) => standing,
                Err(_) => return Try::Ended(Outcome::InDoubt(lost)),
            },
        };
        if standing != Decision::Commit {
            // Recovery was faster. The abort stands, so this is final even if a branch cannot be
            // rolled back now: recovery will do it.
            for (branch, gid) in ballot.branches.iter().zip(&ballot.gids) {
                ending::roll_back(verbs, branch.shard, gid).await;
            }
            return Try::Ended(ballot.answer(verbs, standing).await);
        }

        // Decided: from here on recovery commits whatever is still prepared.
        verbs.reached(FailPoint::TwoPhaseDecided).await;

        let outcome = match self.ack {
            Ack::Early => {
                verbs.commit_prepared_later(ballot.phase_two()).await;
                Outcome::Committed
            }
            Ack::Completed => self.complete(verbs, &ballot).await,
        };

        // Committed everywhere, not answered: a repeated call finds the legs.
        verbs.reached(FailPoint::TwoPhaseAllCommitted).await;
        Try::Ended(outcome)
    }
}

impl TwoPhase {
    /// Phase one. In fixed order the second is not asked where the first said no.
    async fn collect_votes<V: Verbs>(&self, verbs: &V, ballot: &Ballot) -> [Option<Attempt>; 2] {
        let [first, second] = [0, 1].map(|i| {
            verbs.prepare(&ballot.branches[i], &ballot.gids[i], ballot.preparation(self, i))
        });
        if self.visit == Visit::Parallel {
            let (first, second) = join!(first, second);
            return [Some(first), Some(second)];
        }
        let first = first.await;
        if first != Attempt::Done {
            return [Some(first), None];
        }

        // One prepared, nothing decided: recovery writes `abort` and rolls it back.
        verbs.reached(FailPoint::TwoPhaseFirstPrepared).await;

        [Some(first), Some(second.await)]
    }

    /// Phase two. The transfer is decided; what cannot be finished here is finished by recovery.
    async fn complete<V: Verbs>(&self, verbs: &V, ballot: &Ballot) -> Outcome {
        let finished = if self.statements == Statements::OneByOne {
            let first = ballot.commit(verbs, 0).await;
            // One has committed: recovery finds the decision and commits the other.
            verbs.reached(FailPoint::TwoPhaseFirstCommitted).await;
            (first, ballot.commit(verbs, 1).await)
        } else {
            join!(ballot.commit(verbs, 0), async {
                // One may have committed by now: recovery finds the decision.
                verbs.reached(FailPoint::TwoPhaseFirstCommitSent).await;
                ballot.commit(verbs, 1).await
            })
        };
        if finished == (Finish::Done, Finish::Done) {
            verbs.forget(&ballot.key);
        }
        let [first, second] = &ballot.branches;
        ending::answer_committed(verbs, &[(first, &finished.0), (second, &finished.1)]).await
    }
}

/// One try: its branches in visiting order, their names, and where it is decided.
struct Ballot {
    branches: [Branch; 2],
    gids: [Gid; 2],
    key: DecisionKey,
}

impl Ballot {
    async fn open<V: Verbs>(
        strategy: &TwoPhase,
        verbs: &V,
        transfer: &Transfer,
    ) -> Result<Self, ShardError> {
        let routing = verbs.routing();
        let register = match strategy.log {
            Log::Table => Register::Table,
            Log::File => Register::File,
        };
        let epoch = verbs.epoch().await?;
        let branches = transfer.branches(routing);
        let attempt = verbs.next_attempt();
        let gids = branches.map(|branch| Gid {
            cluster: verbs.cluster(),
            epoch,
            register,
            home: routing.home(transfer),
            transfer: transfer.id,
            kind: branch.kind,
            attempt,
        });
        let table = DecisionKey::in_table(routing, epoch, transfer);
        let key = DecisionKey { register, ..table };
        Ok(Self { branches, gids, key })
    }

    const fn home(&self) -> &Branch {
        &self.branches[1]
    }

    fn preparation(&self, strategy: &TwoPhase, i: usize) -> Preparation {
        // The file cannot see what an earlier call decided in the table, and a later call that
        // asks the table must not find it silent while branches wait for what the file says. So
        // the home branch lays its claim there as well.
        let claims_decision = strategy.log == Log::File && self.branches[i] == *self.home();
        Preparation { strategy: NAME, statements: strategy.statements, claims_decision }
    }

    fn phase_two(&self) -> Vec<(ShardIndex, Gid)> {
        self.branches.iter().map(|branch| branch.shard).zip(self.gids.iter().cloned()).collect()
    }

    async fn commit<V: Verbs>(&self, verbs: &V, i: usize) -> Finish {
        let (branch, gid) = (&self.branches[i], &self.gids[i]);
        ending::finish(verbs, branch.shard, gid, Order::Commit).await
    }

    async fn answer<V: StrategyVerbs>(&self, verbs: &V, standing: Decision) -> Outcome {
        ending::answer_decided(verbs, self.home(), standing, NAME).await
    }

    /// Ends a try in which somebody did not vote yes. Nobody but this coordinator can decide
    /// `commit`, and it never will for this attempt, so branches are rolled back at once.
    async fn abandon<V: StrategyVerbs>(&self, verbs: &V, votes: [Option<Attempt>; 2]) -> Try {
        // What had prepared is left behind: recovery writes `abort` and rolls it back.
        verbs.reached(FailPoint::TwoPhaseRefused).await;

        let mut unknown = None;
        let mut no = None;
        for (i, vote) in votes.into_iter().enumerate().rev() {
            let (branch, gid) = (&self.branches[i], &self.gids[i]);
            match vote {
                None => {}
                Some(Attempt::Done) => {
                    let rolled_back = ending::roll_back(verbs, branch.shard, gid).await;
                    unknown = unknown.or_else(|| rolled_back.left_on(branch.shard));
                }
                // It may be prepared, or still on its way there. Only seeing it go is knowledge;
                // not finding it is none.
                Some(Attempt::Unknown(error)) => {
                    match verbs.roll_back_prepared(branch.shard, gid).await {
                        Finish::Done => {
                            no = Some((branch, Attempt::Retry(AbortReason::Unreachable)))
                        }
                        _ => unknown = Some(error),
                    }
                }
                Some(vote) => no = Some((branch, vote)),
            }
        }

        if let Some(lost) = unknown {
            // A branch may turn up later. Once `abort` stands, recovery will roll it back.
            return Try::Ended(
                match ending::ask(verbs, &self.key, AbortReason::Unreachable).await {
                    Ok(standing) => self.answer(verbs, standing).await,
                    Err(_) => Outcome::InDoubt(lost),
                },
            );
        }

        // Nothing is prepared any more and nothing is written down: nothing happened, and the
        // same id may be tried again.
        verbs.reached(FailPoint::TwoPhaseRolledBack).await;

        let (branch, no) = no.expect("a ballot is abandoned because somebody did not vote yes");
        let outcome = match no {
            Attempt::Rejected(rejection) => {
                let refusal = Refusal::Rejected(rejection);
                ending::record(verbs, self.home(), refusal, NAME).await
            }
            Attempt::LegStands => {
                return ending::read_standing_leg(verbs, branch, self.home(), NAME).await;
            }
            Attempt::DecisionStands => {
                let table = DecisionKey { register: Register::Table, ..self.key };
                match ending::ask(verbs, &table, AbortReason::Superseded).await {
                    Ok(standing) => self.answer(verbs, standing).await,
                    Err(error) => Outcome::Failed(error),
                }
            }
            Attempt::Retry(reason) => return Try::Again(reason),
            Attempt::Failed(error) => Outcome::Failed(error),
            Attempt::Done | Attempt::Unknown(_) => {
                unreachable!("a yes is no refusal, and an unknown vote is dealt with above")
            }
        };

        // The refusal is written, not answered: a repeated call gets it.
        verbs.reached(FailPoint::TwoPhaseRefusalRecorded).await;
        Try::Ended(outcome)
    }
}
