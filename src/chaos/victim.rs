//! The process under load that a fault is for.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::Child;

use super::ground::Ground;
use super::history::{Answer, Event, History, Reader};
use super::{ChaosError, Options};

/// How long a load may take to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A worker in a child process, and what it has written so far.
#[derive(Debug)]
pub struct Victim {
    child: Child,
    log: PathBuf,
    reader: Reader,
    /// What it ordered and was told.
    pub history: History,
}

impl Victim {
    /// Starts a worker whose history and log are numbered `number`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        ground: &Ground,
        options: &Options,
        number: usize,
        recovers: bool,
    ) -> Result<Self, ChaosError> {
        let path = ground.place().join(format!("history-{number}.jsonl"));
        let log = ground.place().join(format!("worker-{number}.log"));
        let seed = (options.seed ^ (number as u64).rotate_left(48)).to_string();
        let names: Vec<String> = options.strategies.iter().map(ToString::to_string).collect();
        let names = names.join(",");
        let (accounts, clients) = (options.accounts.to_string(), options.clients.to_string());
        let mut command = ground.tool().coordinator(&["chaos", "worker"]);
        command
            .args(["--accounts", &accounts, "--clients", &clients, "--seed", &seed])
            .args(["--strategy", &names])
            .arg("--history")
            .arg(&path);
        if recovers {
            command.arg("--recovers");
        }
        ground.tool().log_to(&mut command, &log)?;
        // It ends in order when this pipe closes, so also when this process dies.
        let child = command
            .stdin(Stdio::piped())
            .spawn()
            .map_err(ChaosError::io("cannot start a worker for", &path))?;
        Ok(Self { child, log, reader: Reader::new(&path), history: History::default() })
    }

    /// Takes in what it has written since the last look.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn look(&mut self) -> Result<Vec<Event>, ChaosError> {
        let events = self.reader.read()?;
        self.history.extend(events.clone());
        Ok(events)
    }

    /// Waits until a transfer that was ordered from now on and `fits` is answered by "committed".
    ///
    /// # Errors
    /// None is, within a minute, or it ends before.
    pub async fn commits(
        &mut self,
        fits: impl Fn(i64, i64) -> bool,
        what: &str,
    ) -> Result<(), ChaosError> {
        self.look()?;
        let waiting = Instant::now();
        let mut fitting = Vec::new();
        loop {
            for event in self.look()? {
                match event {
                    Event::Ordered { id, source, target, .. } if fits(source, target) => {
                        fitting.push(id);
                    }
                    Event::Answered { id, answer: Answer::Committed } if fitting.contains(&id) => {
                        return Ok(());
                    }
                    _ => {}
                }
            }
            self.must_run()?;
            if waiting.elapsed() > PATIENCE {
                return Err(self.too_late(what));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// `kill -9`. Nothing of it runs after this; what it had sent does.
    ///
    /// # Errors
    /// It had ended by itself.
    pub async fn kill(&mut self) -> Result<(), ChaosError> {
        self.must_run()?;
        self.child.kill().await.map_err(ChaosError::io("cannot kill", "the worker"))?;
        self.look().map(drop)
    }

    /// Lets it answer what is in flight and end.
    ///
    /// # Errors
    /// It does not, or not well.
    pub async fn stop(&mut self) -> Result<(), ChaosError> {
        drop(self.child.stdin.take());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended
            .map_err(|_| self.too_late("the worker has not ended"))?
            .map_err(ChaosError::io("cannot wait for", "the worker"))?;
        if !status.success() {
            return Err(self.ended(status));
        }
        self.look().map(drop)
    }

    fn must_run(&mut self) -> Result<(), ChaosError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(self.ended(status)),
            Ok(None) => Ok(()),
            Err(error) => Err(ChaosError::io("cannot look at", "the worker")(error)),
        }
    }

    fn ended(&self, status: ExitStatus) -> ChaosError {
        ChaosError::Ended {
            what: "the worker".to_owned(),
            status: status.to_string(),
            words: last_words(&self.log),
        }
    }

    fn too_late(&self, what: &str) -> ChaosError {
        ChaosError::TooLate {
            what: what.to_owned(),
            seconds: PATIENCE.as_secs(),
            words: last_words(&self.log),
        }
    }
}

fn last_words(log: &Path) -> String {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}
