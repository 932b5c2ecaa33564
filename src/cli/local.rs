//! `shardbank local`: flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::local::{DEFAULT_SHARDS, MAX_SHARDS};

/// Local servers.
#[derive(Debug, Args)]
pub struct LocalArguments {
    /// What to do with them.
    #[command(subcommand)]
    pub action: LocalAction,
}

/// What can be done with local servers.
#[derive(Debug, Subcommand)]
pub enum LocalAction {
    /// Start servers that keep running, made where they do not exist yet, and print their --shard
    /// flags.
    Up {
        /// How many servers to make [default: 3, or as many as there are].
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_SHARDS)))]
        shards: Option<u16>,
        /// Where they are.
        #[command(flatten)]
        place: Place,
        /// The binaries to use.
        #[command(flatten)]
        binaries: PostgresBinaries,
    },
    /// Print each server and the --shard flags.
    Status {
        /// Where they are.
        #[command(flatten)]
        place: Place,
    },
    /// Stop the servers and remove them with their data; also remove what killed runs have left.
    Down {
        /// Where they are.
        #[command(flatten)]
        place: Place,
        /// Only stop the servers: `local up` starts them again with their data.
        #[arg(long)]
        keep_data: bool,
    },
    /// Run throw-away servers until Ctrl-C; however this process ends, they end with it and
    /// leave nothing behind.
    Run {
        /// How many servers.
        #[arg(long, value_name = "N", default_value_t = DEFAULT_SHARDS, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_SHARDS)))]
        shards: u16,
        /// The binaries to use.
        #[command(flatten)]
        binaries: PostgresBinaries,
    },
    /// Wait for the end of the process at the other end of standard input, then remove the
    /// servers it had. Started by the tool itself.
    #[command(hide = true)]
    Janitor {
        /// The directory of its servers.
        directory: PathBuf,
    },
}

/// Where local servers are kept.
#[derive(Debug, Args)]
pub struct Place {
    /// Directory of the servers [default: shardbank/local below $XDG_STATE_HOME or
    /// ~/.local/state; for root below /var/lib].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Which Postgres to run local servers with.
#[derive(Debug, Clone, Args)]
pub struct PostgresBinaries {
    /// Directory of the binaries of Postgres (postgres, initdb, pg_ctl), version 14 or newer
    /// [default: looked for in PATH, by pg_config and in the usual places].
    #[arg(long, value_name = "DIR", env = "PGBIN")]
    pub pgbin: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::local::janitor;

    #[test]
    fn the_arguments_of_a_janitor_make_a_janitor() {
        let line = ["shardbank"].into_iter().chain(janitor::ARGUMENTS).chain(["/tmp/x"]);
        let parsed = Cli::parse_from(line).command;
        assert!(matches!(
            parsed,
            Command::Local(LocalArguments { action: LocalAction::Janitor { directory } })
                if directory == Path::new("/tmp/x")
        ));
    }
}
