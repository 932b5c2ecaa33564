//! The subcommands, one file each: gather, call, print. Printing happens here and in `main`,
//! nowhere else.

pub mod audit;
pub mod bench;
pub mod chaos;
pub mod clean;
mod cluster;
mod coordinator;
pub mod init;
pub mod local;
mod lock_servers;
mod output;
pub mod prune;
pub mod recover;
pub mod status;
pub mod transfer;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

/// How the tool ends. Nothing else is ever returned; where several apply, the first of
/// invariant, incomplete, threshold, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: the tool could not do its work.
    Failed = 1,
    /// 2: wrong usage.
    Usage = 2,
    /// 3: an invariant does not hold. Money.
    InvariantBroken = 3,
    /// 4: a threshold or baseline failed.
    ThresholdFailed = 4,
    /// 5: interrupted, shards lost, or transfers left in doubt; partial results written.
    Incomplete = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command ended otherwise than well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// With which exit code.
    pub exit: Exit,
    /// What to print on standard error: one problem a line, each with its remedy.
    pub lines: Vec<String>,
}

impl Stop {
    /// A stop with one line.
    #[must_use]
    pub fn new(exit: Exit, line: impl Into<String>) -> Self {
        Self { exit, lines: vec![line.into()] }
    }
}

/// Runs the command that was asked for.
///
/// # Errors
/// Whatever stopped it, with the exit code that says so.
pub fn run(cli: Cli) -> Result<(), Stop> {
    match cli.command {
        Command::Bench(command) => bench::run(&command),
        Command::Config(arguments) => bench::config(&arguments),
        Command::Local(arguments) => local::run(arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Clean(arguments) => clean::run(&arguments),
        Command::Transfer(arguments) => transfer::run(&arguments),
        Command::Recover(arguments) => recover::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Chaos(arguments) => chaos::run(&arguments),
        Command::Prune(arguments) => prune::run(&arguments),
    }
}
