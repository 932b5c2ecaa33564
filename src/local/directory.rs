//! The directory of a cluster: its lock, the file that describes it, and where things lie.
//!
//! ```text
//! shardbank.lock   marks the directory as ours; locked by the owner of an ephemeral cluster for
//!                  as long as it lives, by others while they change something
//! cluster.json     [`State`]
//! password         of the superuser, for connections over TCP
//! s/               the Unix sockets
//! shard-0/         data/ and log of one server, and so on
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LocalError;
use super::server_user::ServerUser;

const LOCK: &str = "shardbank.lock";
const STATE: &str = "cluster.json";
const STATE_IN_WRITING: &str = "cluster.json.new";
const FORMAT: u32 = 1;

/// The longest socket directory: `sun_path` holds 103 bytes on macOS and 107 on Linux, and
/// `/.s.PGSQL.65535` is added.
const SOCKET_DIRECTORY_MAX_BYTES: usize = 103 - 15;

/// How long a cluster lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lifetime {
    /// As long as the process that made it.
    Ephemeral,
    /// Until it is removed.
    Persistent,
}

/// What the next process must know about a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    pub(super) lifetime: Lifetime,
    /// False while it is being made: then there is nothing in it worth keeping.
    pub(super) complete: bool,
    /// The binaries that made it.
    pub(super) binaries: PathBuf,
    pub(super) socket_directory: PathBuf,
    /// One for each shard.
    pub(super) ports: Vec<u16>,
    pub(super) settings: Vec<(String, String)>,
}

impl State {
    /// Of a cluster in `directory` that is about to be made.
    pub(super) fn new(
        directory: &Path,
        lifetime: Lifetime,
        binaries: &Path,
        settings: &[(String, String)],
    ) -> Self {
        let near = directory.join("s");
        let socket_directory = if near.as_os_str().len() <= SOCKET_DIRECTORY_MAX_BYTES {
            near
        } else {
            PathBuf::from(format!("/tmp/shardbank-s-{:08x}", rand::random::<u32>()))
        };
        Self {
            format: FORMAT,
            lifetime,
            complete: false,
            binaries: binaries.into(),
            socket_directory,
            ports: Vec::new(),
            settings: settings.to_vec(),
        }
    }

    /// The state of the cluster in `directory`, if one was written.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, LocalError> {
        let path = directory.join(STATE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LocalError::Io { action: "read", path, source }),
        };
        let bad = |reason: String| LocalError::BadState { path: path.clone(), reason };
        let state: Self = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if state.format != FORMAT {
            return Err(bad(format!("format {}, not {FORMAT}", state.format)));
        }
        Ok(Some(state))
    }

    /// Writes it whole or not at all.
    pub(super) fn write(&self, directory: &Path) -> Result<(), LocalError> {
        let text = serde_json::to_string_pretty(self).expect("a state is plain data");
        let new = directory.join(STATE_IN_WRITING);
        let path = directory.join(STATE);
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(LocalError::io("write", &path))
    }
}

/// The lock on a cluster's directory, held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// Never read: closing it is what frees the lock.
    _file: File,
}

impl Lock {
    /// Takes the lock, creating its file: `None` where somebody else has it, or has just removed
    /// the directory.
    pub(super) fn try_create(directory: &Path) -> Result<Option<Self>, LocalError> {
        let path = directory.join(LOCK);
        match File::options().create(true).append(true).open(&path) {
            Ok(file) => Ok(Self::on(file, &path, false)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LocalError::Io { action: "create", path, source }),
        }
    }

    /// Takes the lock of an existing cluster if it is free.
    pub(super) fn try_existing(directory: &Path) -> Option<Self> {
        let path = directory.join(LOCK);
        Self::on(File::options().append(true).open(&path).ok()?, &path, false)
    }

    /// Takes the lock of an existing cluster once it is free; `None` where it no longer exists.
    pub(super) fn wait_for_existing(directory: &Path) -> Option<Self> {
        let path = directory.join(LOCK);
        Self::on(File::options().append(true).open(&path).ok()?, &path, true)
    }

    fn on(file: File, path: &Path, wait: bool) -> Option<Self> {
        if wait {
            file.lock().ok()?;
        } else {
            file.try_lock().ok()?;
        }
        // Its former holder may have removed the file, and somebody else made a new one.
        let locked = file.metadata().ok()?;
        let there = fs::metadata(path).ok()?;
        (locked.dev() == there.dev() && locked.ino() == there.ino()).then_some(Self { _file: file })
    }
}

/// Creates a new directory for an ephemeral cluster, locked.
pub(super) fn create_ephemeral(user: &ServerUser) -> Result<(PathBuf, Lock), LocalError> {
    let parent = std::env::temp_dir();
    let parent = fs::canonicalize(&parent).map_err(LocalError::io("find", &parent))?;
    check_name(&parent)?;
    loop {
        let path = parent.join(format!("{EPHEMERAL_PREFIX}{:08x}", rand::random::<u32>()));
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made.map_err(LocalError::io("create", &path))?,
        }
        // A sweep of leftovers may come between; then another name it is.
        if let Some(lock) = Lock::try_create(&path)? {
            let mode = fs::Permissions::from_mode(user.passage_mode());
            fs::set_permissions(&path, mode).map_err(LocalError::io("chmod", &path))?;
            return Ok((path, lock));
        }
    }
}

/// `pg_ctl` puts the names of the data directory and the log into a line for the shell, between
/// double quotes.
fn check_name(path: &Path) -> Result<(), LocalError> {
    let odd = |c: char| matches!(c, '"' | '$' | '`' | '\\' | '\n');
    if path.to_str().is_none_or(|text| text.contains(odd)) {
        return Err(LocalError::OddName(path.into()));
    }
    Ok(())
}

/// The name of an ephemeral cluster's directory begins with this.
pub(super) const EPHEMERAL_PREFIX: &str = "shardbank-run-";

/// Creates or opens the directory of a persistent cluster, locked.
pub(super) fn open_persistent(
    path: &Path,
    user: &ServerUser,
) -> Result<(PathBuf, Lock), LocalError> {
    check_name(path)?;
    if !path.exists() {
        fs::create_dir_all(path).map_err(LocalError::io("create", path))?;
        let mode = fs::Permissions::from_mode(user.passage_mode());
        fs::set_permissions(path, mode).map_err(LocalError::io("chmod", path))?;
    }
    let path = fs::canonicalize(path).map_err(LocalError::io("open", path))?;
    let mut entries = fs::read_dir(&path).map_err(LocalError::io("read", &path))?;
    if !path.join(LOCK).exists() && entries.next().is_some() {
        return Err(LocalError::NotOurs(path));
    }
    let lock = Lock::try_create(&path)?.ok_or_else(|| LocalError::Busy(path.clone()))?;
    Ok((path, lock))
}

/// Opens the directory of an existing persistent cluster.
pub(super) fn existing_persistent(path: &Path) -> Result<(PathBuf, State), LocalError> {
    let path = fs::canonicalize(path).map_err(|_| LocalError::NoCluster(path.into()))?;
    match State::read(&path)? {
        Some(state) if state.lifetime == Lifetime::Persistent => Ok((path, state)),
        _ => Err(LocalError::NoCluster(path)),
    }
}

/// Removes what a cluster consists of, but for the lock, and leaves anything else that may be in
/// the directory by now.
pub(super) fn clear(path: &Path, state: Option<&State>) -> Result<(), LocalError> {
    if let Some(state) = state {
        remove_all(&state.socket_directory)?;
    }
    for entry in fs::read_dir(path).map_err(LocalError::io("read", path))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_server = name
            .strip_prefix("shard-")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
        if is_server || ["template", "password", "s", STATE_IN_WRITING].contains(&&*name) {
            remove_all(&entry.path())?;
        }
    }
    // Last, for it names the rest.
    remove_all(&path.join(STATE))
}

/// Removes the lock of a cleared directory, and the directory if nothing else is in it.
pub(super) fn remove_cleared(path: &Path) -> Result<(), LocalError> {
    remove_all(&path.join(LOCK))?;
    // It fails where something else is in it, which is not ours to remove.
    let _ = fs::remove_dir(path);
    Ok(())
}

/// Undoes the opening of a directory in which nothing was made.
pub(super) fn remove_if_only_lock(path: &Path) {
    let others = |entry: fs::DirEntry| entry.file_name() != LOCK;
    if fs::read_dir(path).is_ok_and(|entries| !entries.flatten().any(others)) {
        // An empty directory that stays does no harm.
        let _ = remove_cleared(path);
    }
}

/// Removes a file or a directory with all that is in it; one that is not there is no error.
pub(super) fn remove_all(path: &Path) -> Result<(), LocalError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LocalError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Where `local up` keeps its servers unless told otherwise: below `XDG_STATE_HOME` or
/// `~/.local/state`; for root, whose home the servers' user cannot enter, below `/var/lib`.
#[must_use]
pub fn default_directory() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = if rustix::process::geteuid().is_root() {
        variable("XDG_STATE_HOME").unwrap_or_else(|| "/var/lib".into())
    } else {
        variable("XDG_STATE_HOME")
            .or_else(|| Some(variable("HOME")?.join(".local/state")))
            .unwrap_or_else(std::env::temp_dir)
    };
    base.join("shardbank/local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_directory_gets_its_sockets_elsewhere() {
        let short = State::new(Path::new("/tmp/x"), Lifetime::Ephemeral, Path::new("/bin"), &[]);
        assert_eq!(short.socket_directory, Path::new("/tmp/x/s"));
        let long = Path::new("/tmp").join("x".repeat(100));
        let long = State::new(&long, Lifetime::Ephemeral, Path::new("/bin"), &[]);
        assert!(long.socket_directory.starts_with("/tmp"));
        assert!(long.socket_directory.as_os_str().len() < SOCKET_DIRECTORY_MAX_BYTES);
    }

    #[test]
    fn a_lock_is_taken_once_and_not_on_a_removed_file() {
        let path = std::env::temp_dir().join(format!("shardbank-lock-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let held = Lock::try_create(&path).unwrap();
        assert!(held.is_some());
        assert!(Lock::try_existing(&path).is_none());
        drop(held);
        assert!(Lock::try_existing(&path).is_some());
        fs::remove_dir_all(&path).unwrap();
        assert!(Lock::try_existing(&path).is_none());
        assert!(Lock::try_create(&path).unwrap().is_none());
    }
}
