//! The flags of `transfer`, `recover`, `status` and `audit`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::cluster::ShardArguments;
use super::locks::LockArguments;
use crate::fail_points::{FailPoint, Fate};
use crate::strategies::Strategy;
use crate::transfer::{AccountId, Amount, TransferId};
use crate::verbs::Gid;

/// Where decision logs lie, and for tests where to die.
#[derive(Debug, Args)]
pub struct CoordinatorArguments {
    /// The directory of the decision logs that `2pc:log=file` keeps; by default in the user's
    /// state directory.
    #[arg(long, value_name = "DIR")]
    pub decision_log: Option<PathBuf>,
    /// How long a statement waits for another's lock, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub lock_timeout: u64,
    /// Announce this fail point and wait to be killed there.
    #[arg(long, value_name = "POINT", hide = true, value_parser = fail_point)]
    pub fail_at: Option<FailPoint>,
    /// Announce this fail point and be stopped there (SIGSTOP), to go on at SIGCONT.
    #[arg(long, value_name = "POINT", hide = true, value_parser = fail_point, conflicts_with = "fail_at")]
    pub pause_at: Option<FailPoint>,
}

impl CoordinatorArguments {
    /// Where this process is to die or to be stopped.
    #[must_use]
    pub fn armed(&self) -> Option<(FailPoint, Fate)> {
        let dies = self.fail_at.map(|point| (point, Fate::Dies));
        dies.or_else(|| self.pause_at.map(|point| (point, Fate::Pauses)))
    }
}

/// `transfer`.
#[derive(Debug, Args)]
pub struct TransferArguments {
    /// The shards.
    #[command(flatten)]
    pub shards: ShardArguments,
    /// The account that pays.
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    pub from: AccountId,
    /// The account that is paid.
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    pub to: AccountId,
    /// How much, in minor units (cents): a whole number, 1 or more.
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    pub amount: Amount,
    /// By which strategy: same-shard, 2pc, 2pc-last-agent, lock-advisory, lock-lease, lock-redis,
    /// lock-etcd, lock-zookeeper, lock-naive (unsafe), saga,
    /// saga-choreographed, reservation, with options as in
    /// 2pc:log=file,statements=one-by-one.
    #[arg(long, value_name = "STRATEGY", default_value = "2pc-last-agent")]
    pub strategy: Strategy,
    /// The transfer's id, a UUID. Repeating a call with the same id and arguments is safe: the
    /// money moves once, and the answer is the first one. Without it a new id is made and shown.
    #[arg(long, value_name = "UUID")]
    pub id: Option<TransferId>,
    /// How often to try when another transaction is in the way.
    #[arg(long, value_name = "N", default_value = "5")]
    pub max_tries: NonZeroU32,
    /// How to coordinate.
    #[command(flatten)]
    pub coordinator: CoordinatorArguments,
    /// Who grants locks.
    #[command(flatten)]
    pub locks: LockArguments,
}

/// What a branch is forced to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Forced {
    /// Both effects are to be there.
    Commit,
    /// Neither is.
    Abort,
}

/// `recover`.
#[derive(Debug, Args)]
pub struct RecoverArguments {
    /// The shards.
    #[command(flatten)]
    pub shards: ShardArguments,
    /// Go on until interrupted, a pass every second.
    #[arg(long, conflicts_with = "force")]
    pub watch: bool,
    /// Leave the branches of living coordinators alone until they are this old, in seconds.
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    pub grace: f64,
    /// Decide a transfer by hand, for the day when its decision log is lost: commit or abort,
    /// and the name of one of its prepared branches as `status` shows it. Every branch of the
    /// transfer follows.
    #[arg(long, num_args = 2, value_names = ["VERDICT", "GID"])]
    pub force: Option<Vec<String>>,
    /// Try the credits of sagas again that were given up after too many attempts.
    #[arg(long, conflicts_with_all = ["force", "watch", "refund_dead"])]
    pub retry_dead: bool,
    /// Give back the debits of sagas that were given up, unless their credits turn out to be there.
    #[arg(long, conflicts_with_all = ["force", "watch"])]
    pub refund_dead: bool,
    /// Do not ask before forcing.
    #[arg(long, requires = "force")]
    pub yes: bool,
    /// How to coordinate.
    #[command(flatten)]
    pub coordinator: CoordinatorArguments,
}

impl RecoverArguments {
    /// What is to be forced, if anything.
    ///
    /// # Errors
    /// It is neither a verdict nor a name of ours.
    pub fn forced(&self) -> Result<Option<(Forced, Gid)>, String> {
        let Some(words) = &self.force else { return Ok(None) };
        let [verdict, gid] = words.as_slice() else {
            return Err("--force takes a verdict and a gid".to_owned());
        };
        let verdict = Forced::from_str(verdict, false)
            .map_err(|_| format!("--force {verdict}: the verdict is commit or abort"))?;
        let gid = gid.parse().map_err(|error| format!("--force: {error}"))?;
        Ok(Some((verdict, gid)))
    }

    /// The grace period.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_secs_f64(self.grace)
    }
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// The shards.
    #[command(flatten)]
    pub shards: ShardArguments,
}

/// `audit`.
#[derive(Debug, Args)]
pub struct AuditArguments {
    /// The shards.
    #[command(flatten)]
    pub shards: ShardArguments,
    /// Nothing may be in flight either: exit code 5 where something is prepared.
    #[arg(long)]
    pub at_rest: bool,
    /// Hold off every writer on all shards until each has taken its snapshot, a moment long, and
    /// say what is on no account at that one instant: nothing under 2pc; under locks what is
    /// between its two commits. That is no violation.
    #[arg(long)]
    pub locking: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

fn fail_point(text: &str) -> Result<FailPoint, String> {
    FailPoint::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = FailPoint::ALL.iter().map(|point| point.name()).collect();
        format!("there are: {}", names.join(", "))
    })
}

/// A whole number in plain digits: no sign, no exponent, no other script's digits.
fn digits(text: &str) -> Result<i64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a whole number in the digits 0 to 9 is needed".to_owned());
    }
    text.parse().map_err(|_| format!("it must not exceed {}", i64::MAX))
}

fn account(text: &str) -> Result<AccountId, String> {
    AccountId::new(digits(text)?).ok_or_else(|| "accounts are numbered from 1".to_owned())
}

fn amount(text: &str) -> Result<Amount, String> {
    Amount::new(digits(text)?).ok_or_else(|| "at least 1 minor unit must be moved".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0 to 86400 is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_a_whole_number_in_plain_digits() {
        assert_eq!(amount("17").map(Amount::get), Ok(17));
        for bad in ["", "0", "-1", "+5", "1e3", "1.5", " 1", "1 ", "１２", "9223372036854775808"]
        {
            assert!(amount(bad).is_err(), "{bad:?}");
        }
    }
}
