//! What the commands on a cluster share: which shards were given, and the time to reach them.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{Exit, Stop};
use crate::cli::cluster::ShardArguments;
use crate::shards::preflight::{Checked, Unfit};
use crate::shards::{Environment, ShardTarget, source};

/// How long connecting to a shard may take, where its address does not say.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The shards given by flag, by variable or by `file`, in this order; none where nobody gave any.
///
/// # Errors
/// Everything that is wrong with any of the addresses.
pub(super) fn given_shards(
    arguments: &ShardArguments,
    file: Option<(PathBuf, Vec<String>)>,
) -> Result<Option<Vec<ShardTarget>>, Stop> {
    let variable = std::env::var(source::VARIABLE).ok();
    let Some(given) = source::choose(&arguments.shards, variable.as_deref(), file) else {
        return Ok(None);
    };
    let environment =
        Environment::of_this_process().map_err(|problem| Stop::new(Exit::Usage, problem))?;
    let targets = source::targets(&given, &environment);
    targets.map(Some).map_err(|lines| Stop { exit: Exit::Usage, lines })
}

/// The same for a command that cannot do without.
///
/// # Errors
/// The same, and that none were given.
pub(super) fn required_shards(arguments: &ShardArguments) -> Result<Vec<ShardTarget>, Stop> {
    given_shards(arguments, None)?.ok_or_else(|| {
        let line = format!(
            "no shards given; name each with --shard postgres://USER@HOST:PORT/DATABASE, or all \
             in {}; `shardbank local up` starts local ones and prints their flags",
            source::VARIABLE
        );
        Stop::new(Exit::Usage, line)
    })
}

/// A runtime for the commands that wait for shards.
///
/// # Errors
/// The operating system gives no threads.
pub(super) fn runtime() -> Result<Runtime, Stop> {
    let built = Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| Stop::new(Exit::Failed, format!("no threads can be started: {error}")))
}

/// Tells what is no error but should be known.
pub(super) fn warn(checked: &Checked) {
    for warning in checked.warnings() {
        // Nobody can be told that standard error is closed.
        writeln!(io::stderr(), "warning: {warning}").ok();
    }
}

impl From<Unfit> for Stop {
    fn from(Unfit(lines): Unfit) -> Self {
        Self { exit: Exit::Failed, lines }
    }
}
