//! The real executable as a child process, to be run to its end or killed on the way.

use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use shardbank::fail_points::FailPoint;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::bank::Bank;
use crate::support::executable;

/// How long a slow machine may take over one step.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command of the tool on this bank.
pub fn shardbank(bank: &Bank, arguments: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command
        .args(arguments)
        .env("SHARDBANK_SHARDS", bank.urls().join(" "))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if matches!(arguments[0], "transfer" | "recover") {
        command.arg("--decision-log").arg(bank.log_directory());
    }
    command
}

/// Runs one to its end.
pub async fn run(bank: &Bank, arguments: &[&str]) -> Output {
    let running = shardbank(bank, arguments).output();
    let ended = tokio::time::timeout(PATIENCE, running).await;
    ended.unwrap_or_else(|_| panic!("{arguments:?} does not end")).expect("the executable runs")
}

/// What it said, on whichever stream.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A coordinator process that was told where to die.
pub struct Doomed {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    heard: String,
}

impl Doomed {
    /// Starts it.
    pub fn start(bank: &Bank, arguments: &[&str]) -> Self {
        let mut child = shardbank(bank, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the executable runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines, heard: String::new() }
    }

    /// Waits for a line that begins with `start`.
    pub async fn hears(&mut self, start: &str) -> String {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("no {start:?} in:\n{}", self.heard));
            let Some(line) = line.expect("readable") else {
                panic!("it ended without {start:?}:\n{}", self.heard)
            };
            self.heard.push_str(&line);
            self.heard.push('\n');
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// Waits until it is at `point`, and checks that it is this one.
    pub async fn reaches(&mut self, point: FailPoint) {
        assert_eq!(self.hears("HIT ").await, format!("HIT {}", point.name()));
    }

    /// SIGCONT, to a process that was stopped; waits for its end, and says how it ended.
    pub async fn goes_on(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).expect("it is running");
        rustix::process::kill_process(pid, Signal::CONT).expect("it is ours");
        while let Some(line) = tokio::time::timeout(PATIENCE, self.lines.next_line())
            .await
            .unwrap_or_else(|_| panic!("it does not end:\n{}", self.heard))
            .expect("readable")
        {
            self.heard.push_str(&line);
            self.heard.push('\n');
        }
        (self.child.wait().await.expect("it ends").code(), self.heard)
    }

    /// `kill -9`, as by an operator: nothing of the process runs after this.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it is running");
    }
}
