//! The clean-up after an owner that could not do it: a child process of the same executable waits
//! until the pipe from its parent closes, which happens however the parent ends, kill -9
//! included; then it stops the servers and removes the directory.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::directory::Lock;
use super::{LocalError, leftovers};

/// The arguments that make the executable a janitor; the directory follows.
pub const ARGUMENTS: [&str; 2] = ["local", "janitor"];

/// What a janitor prints once it waits.
pub const READY: &str = "shardbank janitor is ready";

/// Set for janitors. An executable that is not shardbank, such as a test binary, could take the
/// arguments for something else and make a cluster, which would make a janitor, and so on.
const MARK: &str = "SHARDBANK_JANITOR";

/// The janitor as its owner sees it.
#[derive(Debug)]
pub(super) struct Janitor {
    child: Child,
}

impl Janitor {
    /// Starts one for `directory`, by `executable` or the running one.
    pub(super) fn start(executable: Option<&Path>, directory: &Path) -> Result<Self, LocalError> {
        let current = || std::env::current_exe().unwrap_or_else(|_| "shardbank".into());
        let path: PathBuf = executable.map_or_else(current, Path::to_owned);
        let failed = |reason: String| LocalError::Janitor { path: path.clone(), reason };
        if std::env::var_os(MARK).is_some() {
            return Err(failed(format!("{MARK} is set, so this process should be one itself")));
        }
        let mut child = Command::new(&path)
            .args(ARGUMENTS)
            .arg(directory)
            .env(MARK, OsStr::new("1"))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let output = child.stdout.take().expect("its output is a pipe");
        let mut line = String::new();
        let read = BufReader::new(output.take(1000)).read_line(&mut line);
        if read.is_err() || line.trim_end() != READY {
            // It may have ended already, which is all that is wanted.
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(format!("it answered {:?}; is it shardbank?", line.trim_end())));
        }
        Ok(Self { child })
    }

    /// Closes the pipe and waits for its end. The owner has freed its lock.
    pub(super) fn dismiss(mut self) {
        drop(self.child.stdin.take());
        // If it cannot be waited for, it has ended.
        let _ = self.child.wait();
    }
}

/// In the janitor: leaves the session of the owner, so that neither Ctrl-C nor the end of the
/// terminal reaches this process. To be called before [`READY`] is printed.
pub fn detach() {
    // It fails only for the leader of a process group, which has left already.
    let _ = rustix::process::setsid();
}

/// In the janitor: waits for the end of the owner, then stops and removes what it left in
/// `directory`, if anything.
///
/// # Errors
/// What could not be removed.
pub fn keep(directory: &Path) -> Result<(), LocalError> {
    // An error is an end as well.
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    let lock = Lock::wait_for_existing(directory);
    if !leftovers::is_ephemeral(directory) {
        return Ok(());
    }
    if lock.is_some() {
        return leftovers::tear_down(directory);
    }
    // The owner has removed it, or a sweep of temporary files: some servers go on without any.
    leftovers::end_all_in(directory);
    Ok(())
}
