//! Processes by their command lines. A pid read from a file may by now belong to somebody else;
//! nothing is signalled unless its command line says that it works on our directory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What servers consist of, and what makes them.
const PROGRAMS: [&str; 8] =
    ["postgres", "initdb", "pg_ctl", "cp", "redis-server", "valkey-server", "etcd", "java"];

/// A process and its command line, the arguments joined by blanks.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) pid: i32,
    command_line: String,
}

impl Process {
    /// The process `pid` if it is the postmaster of the server in `data_directory`.
    pub(super) fn postmaster(pid: i32, data_directory: &Path) -> Option<Self> {
        let found = Self { pid, command_line: command_line(pid)? };
        (found.is_postmaster() && found.works_in(data_directory)).then_some(found)
    }

    /// The process `pid` if it is a server in `directory`.
    pub(super) fn server(pid: i32, directory: &Path) -> Option<Self> {
        let found = Self { pid, command_line: command_line(pid)? };
        found.is_server_in(directory).then_some(found)
    }

    /// Every program that servers consist of or are made with and that works in `directory` or
    /// below, and whatever was started under a name there. An editor with a log open is neither.
    pub(super) fn all_in(directory: &Path) -> Vec<Self> {
        all().into_iter().filter(|process| process.is_server_in(directory)).collect()
    }

    fn is_server_in(&self, directory: &Path) -> bool {
        let known = PROGRAMS.contains(&self.program()) && self.works_in(directory);
        known || self.is_named_in(directory)
    }

    /// Whether its first argument is a path below `directory`, as lock servers have it.
    fn is_named_in(&self, directory: &Path) -> bool {
        self.command_line
            .strip_prefix(&*directory.to_string_lossy())
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether it is a server rather than a tool.
    pub(super) fn is_postmaster(&self) -> bool {
        self.program() == "postgres"
    }

    /// Sends a signal; a process that has ended meanwhile is no error.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            // It fails where the process is gone, which is looked at again anyway.
            let _ = kill_process(pid, signal);
        }
    }

    fn program(&self) -> &str {
        let first = self.command_line.split(' ').next().unwrap_or_default();
        first.rsplit('/').next().unwrap_or_default()
    }

    fn works_in(&self, directory: &Path) -> bool {
        let directory = directory.to_string_lossy();
        self.command_line.match_indices(&*directory).any(|(at, _)| {
            // `/a/shard-1` is not `/a/shard-12`.
            let next = self.command_line[at + directory.len()..].chars().next();
            next.is_none_or(|c| matches!(c, '/' | ' ' | '"' | '\''))
        })
    }
}

/// Waits until `ended` says so; false when it did not within `limit`.
pub(super) fn wait_until(limit: Duration, mut ended: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if ended() {
            return true;
        }
        if started.elapsed() >= limit {
            return false;
        }
        sleep(Duration::from_millis(20));
    }
}

/// The command line of a living process; a zombie has none.
fn command_line(pid: i32) -> Option<String> {
    let text = if Path::new("/proc/self/cmdline").exists() {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        joined(&bytes)
    } else {
        let output = Command::new("ps")
            .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
            .output()
            .ok()?;
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    (!text.is_empty()).then_some(text)
}

fn all() -> Vec<Process> {
    if Path::new("/proc/self/cmdline").exists() {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        return entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some(Process { pid, command_line: command_line(pid)? }))
            .collect();
    }
    let Ok(output) = Command::new("ps").args(["-axww", "-o", "pid=,command="]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let (pid, command_line) = line.trim().split_once(' ')?;
            let command_line = command_line.trim().to_owned();
            Some(Process { pid: pid.parse().ok()?, command_line })
        })
        .collect()
}

fn joined(arguments: &[u8]) -> String {
    String::from_utf8_lossy(arguments).trim_end_matches('\0').replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(command_line: &str) -> Process {
        Process { pid: 1, command_line: command_line.into() }
    }

    #[test]
    fn a_directory_is_not_mistaken_for_one_with_a_longer_name() {
        let server = process("/usr/lib/postgresql/15/bin/postgres -D /t/shard-12/data");
        assert!(server.is_postmaster());
        assert!(server.works_in(Path::new("/t/shard-12/data")));
        assert!(server.works_in(Path::new("/t")));
        assert!(!server.works_in(Path::new("/t/shard-1")));
    }

    #[test]
    fn a_lock_server_is_known_by_its_program_or_by_its_name() {
        let directory = Path::new("/t/a b/shardbank-run-1");
        let serves = |line: &str| process(line).is_server_in(directory);
        assert!(serves("/usr/bin/etcd --name x --data-dir /t/a b/shardbank-run-1/data"));
        assert!(serves("/usr/lib/jvm/17/bin/java Main /t/a b/shardbank-run-1/zoo.cfg"));
        // Redis replaces its whole command line but for the name it was started by.
        assert!(serves("/t/a b/shardbank-run-1/redis-server 127.0.0.1:16379   "));
        assert!(!serves("/t/a b/shardbank-run-12/redis-server 127.0.0.1:16379"));
        assert!(!serves("/usr/bin/redis-server 127.0.0.1:6379"));
        assert!(!serves("tail -f /t/a b/shardbank-run-1/log"));
    }

    #[test]
    fn a_backend_is_not_a_postmaster() {
        assert!(!process("postgres: shardbank-1: checkpointer ").is_postmaster());
    }

    #[test]
    fn our_own_command_line_is_found() {
        let pid = i32::try_from(std::process::id()).expect("a pid is small");
        assert!(command_line(pid).is_some());
        assert!(Process::postmaster(pid, Path::new("/")).is_none());
    }
}
