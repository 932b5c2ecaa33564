//! Recovery beside coordinators that are alive and at full load: whether it ever decides wrongly,
//! how often it aborts what was merely slow, and what it costs.
//!
//! Periods without recovery, with it and no grace, and with it and the usual grace follow each
//! other in turn, so that a machine that slows down slows all three.

use std::time::{Duration, Instant};

use super::ground::Ground;
use super::history::{Answer, Event};
use super::tally::Tally;
use super::victim::Victim;
use super::{ChaosError, Options};
use crate::strategies::recovery::recover;

const PERIOD: Duration = Duration::from_secs(5);
/// A machine may be so fast that a pass meets nothing prepared: then there are more rounds than were
/// asked for, up to as many as this.
const ROUNDS_MAX: u32 = 24;
const BETWEEN_PASSES: Duration = Duration::from_secs(1);
/// How long branches of living coordinators are usually left alone.
const GRACE: Duration = Duration::from_secs(5);

/// What one kind of period came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// Which, in words.
    pub name: &'static str,
    /// How long, all told.
    pub time: Duration,
    /// Transfers committed in it.
    pub committed: u64,
    /// Passes of recovery in it.
    pub passes: u64,
    /// Branches of living coordinators that recovery raced for.
    pub raced: u64,
    /// Branches that recovery finished by a decision it found.
    pub finished: u64,
    /// Branches of living coordinators that recovery rolled back.
    pub false_aborts: u64,
}

impl Side {
    /// Transfers committed a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.committed as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

/// Recovers beside a worker for `time` of each kind.
///
/// # Errors
/// It could not be carried out.
pub async fn recover_beside(
    ground: &Ground,
    options: &Options,
    time: Duration,
) -> Result<([Side; 3], Tally), ChaosError> {
    let mut tally = Tally { cycles: 1, ..Tally::default() };
    let recoverer = ground.coordinator().await?;
    let mut victim = Victim::start(ground, options, 1, false)?;
    victim.commits(|_, _| true, "no transfer has committed").await?;
    let side = |name| Side { name, ..Side::default() };
    let mut sides = [side("no recovery"), side("every second, no grace"), side("5 s grace")];
    let is_over = |sides: &[Side; 3], rounds: u32| {
        let has_raced = sides.iter().any(|side| side.raced > 0);
        sides.iter().all(|side| side.time >= time) && (has_raced || rounds >= ROUNDS_MAX)
    };
    let mut rounds = 0;
    while !is_over(&sides, rounds) {
        rounds += 1;
        for (side, grace) in sides.iter_mut().zip([None, Some(Duration::ZERO), Some(GRACE)]) {
            victim.look()?;
            let began = Instant::now();
            while began.elapsed() < PERIOD.min(time) {
                if let Some(grace) = grace {
                    let pass = recover(&recoverer, grace).await;
                    side.passes += 1;
                    side.raced += pass.raced;
                    side.finished += pass.committed;
                    side.false_aborts += pass.false_aborts;
                    let damage = pass.damage.iter();
                    tally.violations.extend(damage.map(|found| format!("damage: {found:?}")));
                }
                tokio::time::sleep(BETWEEN_PASSES).await;
            }
            side.time += began.elapsed();
            let is_commit =
                |event: &&Event| matches!(event, Event::Answered { answer: Answer::Committed, .. });
            side.committed += victim.look()?.iter().filter(is_commit).count() as u64;
        }
    }
    victim.stop().await?;
    tally.hits = usize::from(sides.iter().any(|side| side.raced > 0));
    tally.answered = victim.history.transfers().count();
    tally.unanswered = victim.history.count(Answer::InDoubt);
    recoverer.retire().await;
    ground.recover(Instant::now(), &mut tally).await?;
    ground.audit_at_rest(&victim.history, &mut tally).await?;
    Ok((sides, tally))
}
