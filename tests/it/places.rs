//! Directories of a test's own, and the processes that should, or should not, be there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::executable;

/// A directory of one test's own that the servers' user can enter, removed in the end.
pub struct Place(pub PathBuf);

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        let name = format!("shardbank-test-{:08x}", rand::random::<u32>());
        let path = fs::canonicalize(std::env::temp_dir()).unwrap().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the tool with its temporary files in `temporary`.
pub fn shardbank(arguments: &[&str], temporary: &Path) -> Output {
    Command::new(executable())
        .args(arguments)
        .env("TMPDIR", temporary)
        .output()
        .expect("the executable runs")
}

/// What it said, on whichever stream.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A process that has ended but that nobody has waited for has no command line any more.
pub fn runs(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Waits until it holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        sleep(Duration::from_millis(50));
    }
}

/// As an operator would.
pub fn kill_9(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}
