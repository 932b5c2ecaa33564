//! A shard stopped as by a crash while the load goes on, again and again.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::task::block_in_place;

use super::ground::Ground;
use super::history::Answer;
use super::tally::Tally;
use super::victim::Victim;
use super::{ChaosError, Options};
use crate::transfer::AccountId;

/// A line every so many cycles.
const CYCLES_A_LINE: usize = 10;
/// When the shard stops, counted from the load's first committed transfer, in milliseconds.
const CRASH_MS: std::ops::RangeInclusive<u64> = 2..=1500;
/// How long it is away, in milliseconds.
const AWAY_MS: std::ops::RangeInclusive<u64> = 0..=1500;

/// Stops and starts a shard `cycles` times; stops at the first cycle that broke something.
///
/// # Errors
/// It could not be carried out.
pub async fn restart(
    ground: &Ground,
    options: &Options,
    cycles: usize,
    say: &mut dyn FnMut(&str),
) -> Result<Tally, ChaosError> {
    let mut tally = Tally::default();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(options.seed);
    let routing = ground.cluster().routing();
    while tally.cycles < cycles && tally.violations.is_empty() && tally.orphans == 0 {
        let shard = rng.random_range(0..routing.shard_count());
        let (delay, away) = (rng.random_range(CRASH_MS), rng.random_range(AWAY_MS));
        tally.cycles += 1;
        let mut victim = Victim::start(ground, options, tally.cycles, true)?;
        victim.commits(|_, _| true, "no transfer has committed").await?;
        tokio::time::sleep(Duration::from_millis(delay)).await;

        let fault = Instant::now();
        block_in_place(|| ground.local().stop_immediately(shard))?;
        tokio::time::sleep(Duration::from_millis(away)).await;
        block_in_place(|| ground.local().restart(shard))?;
        let is_there = |account| {
            AccountId::new(account).is_some_and(|account| routing.shard_of(account).0 == shard)
        };
        let what = format!("no transfer has committed on shard {shard} after its restart");
        victim.commits(|source, target| is_there(source) || is_there(target), &what).await?;
        ground.audit_running(&mut tally).await?;

        victim.stop().await?;
        ground.recover(fault, &mut tally).await?;
        ground.audit_at_rest(&victim.history, &mut tally).await?;
        let cut_off = victim.history.count(Answer::InDoubt) + victim.history.count(Answer::Failed);
        tally.hits += usize::from(cut_off > 0);
        tally.unanswered += cut_off;
        tally.answered += victim.history.transfers().count();
        if tally.cycles % CYCLES_A_LINE == 0 {
            say(&tally.line());
        }
    }
    Ok(tally)
}
