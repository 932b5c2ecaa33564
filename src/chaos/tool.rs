//! The tool itself in child processes, on the shards of one ground.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::ChaosError;
use crate::shards::source;

/// No command but the load takes longer, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How to call the tool.
#[derive(Debug, Clone)]
pub struct Tool {
    executable: PathBuf,
    shards: String,
    decisions: PathBuf,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; none where it was killed.
    pub code: Option<i32>,
    /// All that it said.
    pub said: String,
}

impl Tool {
    /// This very executable on the shards at `urls`, its decision logs in `decisions`.
    ///
    /// # Errors
    /// The system does not say what this executable is.
    pub fn new(urls: &[String], decisions: PathBuf) -> Result<Self, ChaosError> {
        let executable =
            std::env::current_exe().map_err(ChaosError::io("cannot name", "this executable"))?;
        Ok(Self { executable, shards: urls.join(" "), decisions })
    }

    /// A command, to be started. It ends when its handle is dropped.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .args(words)
            .env(source::VARIABLE, &self.shards)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// One that coordinates, to be started.
    #[must_use]
    pub fn coordinator(&self, words: &[&str]) -> Command {
        let mut command = self.command(words);
        command.arg("--decision-log").arg(&self.decisions);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// It cannot be started, or does not end.
    pub async fn run(&self, mut command: Command) -> Result<Ended, ChaosError> {
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output
            .map_err(|_| ChaosError::TooLate {
                what: format!("{:?} has not ended", command.as_std()),
                seconds: PATIENCE.as_secs(),
                words: String::new(),
            })?
            .map_err(ChaosError::io("cannot run", &self.executable))?;
        let said = [output.stdout, output.stderr].concat();
        Ok(Ended {
            code: output.status.code(),
            said: String::from_utf8_lossy(&said).trim_end().to_owned(),
        })
    }

    /// Sends all that `command` says to the end of `log`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn log_to(&self, command: &mut Command, log: &Path) -> Result<(), ChaosError> {
        let open = || File::options().create(true).append(true).open(log);
        let opened = open().and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = opened.map_err(ChaosError::io("cannot open", log))?;
        command.stdout(out).stderr(err);
        Ok(())
    }
}
