//! Who runs the servers: ourselves, or, as root, somebody without privileges.

use std::ffi::OsStr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, io::Write};

use super::LocalError;

/// What somebody wants of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// To read it.
    Read,
    /// To run it.
    Execute,
}

impl Access {
    /// For messages.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Execute => "execute",
        }
    }
}

/// The user of the servers.
#[derive(Debug, Clone)]
pub(super) struct ServerUser {
    /// For messages.
    pub(super) name: String,
    /// User and group, where they are not our own.
    ids: Option<(u32, u32)>,
}

impl ServerUser {
    /// Ourselves; as root `postgres`, else `nobody`.
    pub(super) fn choose() -> Result<Self, LocalError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { name: "yourself".into(), ids: None });
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| {
                let ids = (id_of("-u", name)?, id_of("-g", name)?);
                Some(Self { name: name.into(), ids: Some(ids) })
            })
            .ok_or(LocalError::NoServerUser)
    }

    /// A program to be run as this user, without a terminal and without the caller's `PG*`
    /// variables, which would turn it to other servers.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        command
    }

    /// Creates a directory that this user alone (and root) can enter.
    pub(super) fn create_directory(&self, path: &Path) -> Result<(), LocalError> {
        fs::DirBuilder::new().mode(0o700).create(path).map_err(LocalError::io("create", path))?;
        self.own(path)
    }

    /// Writes a file that this user alone (and root) can read, in place of any older one.
    pub(super) fn write_file(&self, path: &Path, text: &str) -> Result<(), LocalError> {
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(LocalError::io("write", path))?;
        self.own(path)
    }

    /// Fails where this user cannot get to `path`, for example below root's home.
    pub(super) fn check_reaches(&self, path: &Path) -> Result<(), LocalError> {
        let entered = self.command("sh").args(["-c", "cd \"$0\""]).arg(path).output();
        if entered.is_ok_and(|output| output.status.success()) {
            Ok(())
        } else {
            Err(LocalError::Unreachable { user: self.name.clone(), path: path.into() })
        }
    }

    /// Whether this user has access to a file, named from the root.
    pub(super) fn may(&self, access: Access, path: &Path) -> bool {
        let test = match access {
            Access::Read => "test -r \"$0\"",
            Access::Execute => "test -x \"$0\"",
        };
        let asked = self.command("sh").args(["-c", test]).arg(path).status();
        asked.is_ok_and(|status| status.success())
    }

    /// The mode of a directory that is ours but that this user must pass through.
    pub(super) fn passage_mode(&self) -> u32 {
        if self.ids.is_some() { 0o711 } else { 0o700 }
    }

    fn own(&self, path: &Path) -> Result<(), LocalError> {
        match self.ids {
            Some((user, group)) => {
                chown(path, Some(user), Some(group)).map_err(LocalError::io("chown", path))
            }
            None => Ok(()),
        }
    }
}

/// `id -u name` or `id -g name`; none where the user does not exist, or is root.
fn id_of(flag: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([flag, name]).output().ok()?;
    let id = String::from_utf8(output.stdout).ok()?.trim().parse().ok()?;
    (output.status.success() && id != 0).then_some(id)
}
