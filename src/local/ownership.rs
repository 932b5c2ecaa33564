//! What ties a directory of servers to this process, so that they end with it however it ends.

use std::path::{Path, PathBuf};

use super::directory::{self, Lock};
use super::janitor::Janitor;
use super::server_user::ServerUser;
use super::{LocalError, leftovers};

/// The lock of an ephemeral directory and its janitor.
#[derive(Debug)]
pub(super) struct Ownership {
    lock: Lock,
    janitor: Janitor,
}

impl Ownership {
    /// Makes a directory below `TMPDIR` that ends with this process, and removes on the way what
    /// killed runs have left. `executable` is the janitor's; where `None`, the running one.
    pub(super) fn of_new_directory(
        user: &ServerUser,
        executable: Option<&Path>,
    ) -> Result<(PathBuf, Self), LocalError> {
        // What cannot be removed now concerns `local down`, not this run.
        let _ = leftovers::remove();
        let (directory, lock) = directory::create_ephemeral(user)?;
        match Janitor::start(executable, &directory) {
            Ok(janitor) => Ok((directory, Self { lock, janitor })),
            Err(error) => {
                directory::remove_all(&directory)?;
                Err(error)
            }
        }
    }

    /// Stops whatever works in the directory and removes it, then lets the janitor go: should
    /// this process be killed meanwhile, the janitor goes on.
    pub(super) fn end(self, directory: &Path) -> Result<(), LocalError> {
        let removed = leftovers::tear_down(directory);
        drop(self.lock);
        self.janitor.dismiss();
        removed
    }
}
