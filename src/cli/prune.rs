//! The flags of `prune`.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use super::cluster::ShardArguments;
use super::operate::CoordinatorArguments;
use crate::prune::PruneSettings;

/// `prune`.
#[derive(Debug, Args)]
pub struct PruneArguments {
    /// The shards.
    #[command(flatten)]
    pub shards: ShardArguments,
    /// How long transfers are kept, as in 7d, 36h, 90m or 0s. A call with the id of a transfer
    /// that is gone moves the money anew, so keep them for as long as callers repeat theirs.
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = age)]
    pub older_than: Duration,
    /// By how much the shards' clocks may differ.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = age)]
    pub clock_margin: Duration,
    /// How many transfers are folded at a time. Their accounts are locked for that moment.
    #[arg(long, value_name = "N", default_value = "1000")]
    pub batch: NonZeroU32,
    /// Only show what would be folded.
    #[arg(long)]
    pub dry_run: bool,
    /// How to coordinate.
    #[command(flatten)]
    pub coordinator: CoordinatorArguments,
}

impl PruneArguments {
    /// What to prune, and how.
    #[must_use]
    pub const fn settings(&self) -> PruneSettings {
        PruneSettings {
            older_than: self.older_than,
            clock_margin: self.clock_margin,
            batch: self.batch,
            dry_run: self.dry_run,
        }
    }
}

/// A whole number and its unit.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "a whole number and a unit are needed: s, m, h, d or w, as in 36h".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wrong()),
    };
    let number = &text[..text.len() - 1];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: Option<u64> = number.parse().ok();
    let longest = Duration::from_secs(100 * 366 * 86_400);
    number
        .and_then(|number| number.checked_mul(seconds))
        .map(Duration::from_secs)
        .filter(|age| *age <= longest)
        .ok_or_else(|| "at most a hundred years can be asked for".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_whole_number_and_a_unit() {
        for (text, seconds) in [("0s", 0), ("90m", 5_400), ("36h", 129_600), ("7d", 604_800)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "7", "d", "-1d", "+1d", "1.5h", "7 d", "7D", "1é", "99999999999999999999s"]
        {
            assert!(age(bad).is_err(), "{bad:?}");
        }
        assert!(age("36601d").is_err());
    }
}
