//! Finding Postgres' binaries: the directory that was named, else `PATH`, `pg_config --bindir`
//! and the usual places of Debian, Fedora, Homebrew and Postgres.app, newest version first.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::LocalError;
use super::server_user::ServerUser;

/// The oldest version that local servers may have.
const MINIMUM_VERSION: u32 = 14;

/// What an installation must contain.
const PROGRAMS: [&str; 3] = ["postgres", "initdb", "pg_ctl"];

/// Directories of versions, `*` being the version.
const USUAL_PLACES: [&str; 7] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib64/pgsql/postgresql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// A usable installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    /// Where the programs are.
    pub(super) directory: PathBuf,
    /// Major version; 0 where it was not asked for.
    pub(super) version: u32,
}

impl Binaries {
    /// The path of one of the programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The installation in `explicit`, else the first usable one that is found. `user` is who
    /// will run it and must be able to.
    pub(super) fn find(explicit: Option<&Path>, user: &ServerUser) -> Result<Self, LocalError> {
        if let Some(path) = explicit {
            return Self::in_directory(path, user)
                .map_err(|reason| LocalError::UnusableBinaries { path: path.into(), reason });
        }
        let mut rejected = Vec::new();
        for candidate in candidates() {
            match Self::in_directory(&candidate, user) {
                Ok(found) => return Ok(found),
                Err(reason) => rejected.push(format!("{}: {reason}", candidate.display())),
            }
        }
        Err(LocalError::NoBinaries {
            minimum: MINIMUM_VERSION,
            looked: format!("PATH, pg_config --bindir, {}", USUAL_PLACES.join(", ")),
            rejected: if rejected.is_empty() {
                String::new()
            } else {
                format!(" ({})", rejected.join("; "))
            },
            install: install_line(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
        })
    }

    /// Those in `directory`, if they are still there.
    pub(super) fn unchecked(directory: &Path) -> Self {
        Self { directory: directory.into(), version: 0 }
    }

    fn in_directory(directory: &Path, user: &ServerUser) -> Result<Self, String> {
        // A package may link one program alone into PATH; the others lie where the link leads.
        let complete = |d: &Path| PROGRAMS.iter().all(|name| d.join(name).is_file());
        let directory = if complete(directory) {
            directory.to_owned()
        } else {
            fs::canonicalize(directory.join("postgres"))
                .ok()
                .and_then(|program| program.parent().map(Path::to_owned))
                .filter(|target| complete(target))
                .ok_or_else(|| format!("it does not hold all of {}", PROGRAMS.join(", ")))?
        };
        let output = user.command(directory.join("postgres")).arg("--version").output().map_err(
            |error| format!("the user {} cannot run postgres there: {error}", user.name),
        )?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = major_version(&text)
            .ok_or_else(|| format!("`postgres --version` answers {:?}", text.trim()))?;
        if version < MINIMUM_VERSION {
            return Err(format!("version {version} is older than {MINIMUM_VERSION}"));
        }
        Ok(Self { directory, version })
    }
}

/// Every directory that might hold an installation, best first.
fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> =
        std::env::split_paths(&path).filter(|d| d.join("postgres").is_file()).collect();
    found.extend(pg_config_directory().filter(|d| d.join("postgres").is_file()));
    for pattern in USUAL_PLACES {
        found.extend(versions_of(pattern));
    }
    let mut seen = Vec::new();
    found.retain(|directory| {
        let new = !seen.contains(directory);
        seen.push(directory.clone());
        new
    });
    found
}

fn pg_config_directory() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(text.trim())).filter(|path| path.is_absolute())
}

/// The directories that match `pattern`, which has one `*` in one component, newest first.
fn versions_of(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return Vec::new() };
    let Some((parent, prefix)) = before.rsplit_once('/') else { return Vec::new() };
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = leading_number(name.to_str()?.strip_prefix(prefix)?)?;
            let directory = entry.path().join(after.trim_start_matches('/'));
            directory.join("postgres").is_file().then_some((version, directory))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, directory)| directory).collect()
}

/// 15 of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, 18 of `18devel`.
fn major_version(text: &str) -> Option<u32> {
    text.split_once("(PostgreSQL)").and_then(|(_, rest)| leading_number(rest.trim_start()))
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok()
}

/// How this platform installs a Postgres server; `os_release` is the text of `/etc/os-release`,
/// empty where there is none.
fn install_line(os_release: &str) -> String {
    let value = |key: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned()
    };
    let families = format!("{} {}", value("ID"), value("ID_LIKE"));
    let is = |names: &[&str]| families.split_whitespace().any(|family| names.contains(&family));
    if is(&["debian", "ubuntu"]) {
        "apt-get install postgresql"
    } else if is(&["fedora", "rhel", "centos"]) {
        "dnf install postgresql-server"
    } else if is(&["alpine"]) {
        "apk add postgresql"
    } else if is(&["arch"]) {
        "pacman -S postgresql"
    } else if is(&["suse", "opensuse"]) {
        "zypper install postgresql-server"
    } else {
        // macOS has no os-release, and Homebrew runs on any Linux.
        "brew install postgresql@17"
    }
    .to_owned()
}

/// Major version that made the data in `data_directory`.
pub(super) fn data_version(data_directory: &Path) -> Option<u32> {
    fs::read_to_string(data_directory.join(OsStr::new("PG_VERSION")))
        .ok()
        .and_then(|text| leading_number(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_kind_of_release() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18devel"), Some(18));
        assert_eq!(major_version("postgres (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(major_version("postgres (EnterpriseDB) 1"), None);
    }

    #[test]
    fn the_newest_version_comes_first_by_number_not_by_letter() {
        let root = std::env::temp_dir().join(format!("shardbank-versions-{}", std::process::id()));
        for version in ["9", "14", "17", "x"] {
            let bin = root.join(format!("v{version}")).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join("postgres"), "").unwrap();
        }
        let found = versions_of(&format!("{}/v*/bin", root.display()));
        fs::remove_dir_all(&root).unwrap();
        let expected: Vec<_> =
            ["v17", "v14", "v9"].iter().map(|v| root.join(v).join("bin")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_platform_gets_its_own_install_line() {
        assert!(install_line("ID=ubuntu\nID_LIKE=debian\n").starts_with("apt-get"));
        assert!(
            install_line("NAME=Rocky\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n")
                .starts_with("dnf")
        );
        assert!(install_line("").starts_with("brew"));
    }
}
