//! What psql takes from its surroundings: the `PG*` variables, the home directory, the name of
//! the operating system's user. Read once, passed as a value.

use std::fs;
use std::path::{Path, PathBuf};

use super::conninfo::Conninfo;

/// The variables that complete an address, and the keyword each one fills.
const VARIABLES: [(&str, &str); 11] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
];

/// Where packagers put the Unix socket: Debian and Fedora; everybody else.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// What completes an address.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// From the `PG*` variables.
    pub conninfo: Conninfo,
    /// Whether `PGSERVICE` is set.
    pub names_a_service: bool,
    /// Where `.pgpass` is looked for.
    pub home: Option<PathBuf>,
    /// The role, where nobody names one.
    pub operating_system_user: Option<String>,
}

impl Environment {
    /// This process's.
    ///
    /// # Errors
    /// The variable whose value cannot be used, and why.
    pub fn of_this_process() -> Result<Self, String> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// From `variable`, which knows each variable's value.
    ///
    /// # Errors
    /// The variable whose value cannot be used, and why.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut conninfo = Conninfo::default();
        for (name, key) in VARIABLES {
            if let Some(value) = variable(name) {
                conninfo.set(key, value).map_err(|error| format!("{name} {error}"))?;
            }
        }
        Ok(Self {
            conninfo,
            names_a_service: variable("PGSERVICE").is_some_and(|service| !service.is_empty()),
            home: variable("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
            operating_system_user: user_name().or_else(|| variable("USER")),
        })
    }

    /// `~/.pgpass`, where there is one.
    #[must_use]
    pub fn default_passfile(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(".pgpass")).filter(|path| path.exists())
    }

    /// The directory whose socket a server on `port` has, or the most usual one.
    #[must_use]
    pub fn default_socket_directory(&self, port: u16) -> PathBuf {
        let socket = format!(".s.PGSQL.{port}");
        let found = SOCKET_DIRECTORIES.iter().find(|dir| Path::new(dir).join(&socket).exists());
        PathBuf::from(found.unwrap_or(&SOCKET_DIRECTORIES[0]))
    }

    /// Whether a file of passwords calls this directory `localhost`.
    #[must_use]
    pub fn is_default_socket_directory(&self, directory: &Path) -> bool {
        SOCKET_DIRECTORIES.iter().any(|default| Path::new(default) == directory)
    }
}

/// The name that `/etc/passwd` has for the process's effective user.
fn user_name() -> Option<String> {
    let id = rustix::process::geteuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}
