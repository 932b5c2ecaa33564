//! `kill -9` of a coordinator under load, again and again on the same shards.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::ground::Ground;
use super::history::Answer;
use super::tally::Tally;
use super::victim::Victim;
use super::{ChaosError, Options};

/// A line every so many cycles.
const CYCLES_A_LINE: usize = 10;
/// When the load dies, counted from its first committed transfer, in milliseconds.
const DEATH_MS: std::ops::RangeInclusive<u64> = 2..=1500;

/// Kills and recovers `cycles` times; stops at the first cycle that broke something.
///
/// # Errors
/// It could not be carried out.
pub async fn kill(
    ground: &Ground,
    options: &Options,
    cycles: usize,
    say: &mut dyn FnMut(&str),
) -> Result<Tally, ChaosError> {
    let mut tally = Tally::default();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(options.seed);
    while tally.cycles < cycles && tally.violations.is_empty() && tally.orphans == 0 {
        let delay = Duration::from_millis(rng.random_range(DEATH_MS));
        tally.cycles += 1;
        let mut victim = Victim::start(ground, options, tally.cycles, false)?;
        victim.commits(|_, _| true, "no transfer has committed").await?;
        tokio::time::sleep(delay).await;
        let fault = Instant::now();
        victim.kill().await?;

        let dangling = ground.dangling().await?;
        tally.dangling += dangling;
        tally.hits += usize::from(dangling > 0);
        ground.recover(fault, &mut tally).await?;
        ground.audit_at_rest(&victim.history, &mut tally).await?;
        let open = victim.history.transfers().filter(|(_, told)| told.is_open()).count();
        tally.unanswered += open + victim.history.count(Answer::InDoubt);
        tally.answered += victim.history.transfers().count() - open;
        if tally.cycles % CYCLES_A_LINE == 0 {
            say(&tally.line());
        }
    }
    Ok(tally)
}
