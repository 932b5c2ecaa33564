//! Where one shard is and how to get in: parsed, completed, checked, and ready to connect.
//!
//! What an address leaves out is filled as psql does, from `PG*` variables and `~/.pgpass`.
//! TLS is verified unless the host is this machine or somebody says otherwise.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, RecyclingMethod};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::{self, ConnectError};
use super::conninfo::{Conninfo, SyntaxError};
use super::environment::Environment;
use super::passfile::{self, PassfileError, Wanted};
use super::place::Place;
use super::quiet_socket::{self, QuietConnect};
use super::secret::Secret;
use super::security::{channel_binding, security};
use super::tls::{self, TlsError, Verification};

/// Idle time before the first probe of a silent TCP connection.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Why an address cannot be used. No message contains a value of it.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The text is no address.
    #[error("the address {0}")]
    Syntax(#[from] SyntaxError),
    /// A port that is none.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A `hostaddr` that is none.
    #[error("hostaddr is not an IP address; a name belongs into host")]
    HostAddress,
    /// A host that no name can be.
    #[error("the host contains a character that no host name has")]
    Host,
    /// A timeout that is none.
    #[error("connect_timeout is not a whole number of seconds from 1 to 3600")]
    ConnectTimeout,
    /// A mode that gives up encryption when asked to.
    #[error(
        "sslmode {0} gives up encryption as soon as anybody on the way refuses it; say disable, \
         require, verify-ca or verify-full"
    )]
    OpportunisticTls(&'static str),
    /// A mode that nobody knows.
    #[error("sslmode is none of disable, require, verify-ca, verify-full")]
    SslMode,
    /// A word that is none of the three.
    #[error("channel_binding is none of disable, prefer, require")]
    ChannelBinding,
    /// Binding to a channel that there is none of.
    #[error("channel_binding=require needs TLS; say sslmode=verify-full as well")]
    ChannelBindingWithoutTls,
    /// Nobody to log in as.
    #[error("the role is missing; give user= or PGUSER")]
    User,
    /// Service files are not read, so that the wrong server would be used.
    #[error("PGSERVICE is set, which shardbank does not support; unset it and name the host")]
    Service,
    /// The trusted certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file of passwords that was named.
    #[error("passfile {0}")]
    Passfile(#[from] PassfileError),
}

/// A local server's address, from plain values.
#[derive(Debug, Clone)]
pub struct LocalShardParams {
    /// The directory of its Unix socket.
    pub socket_directory: PathBuf,
    /// The port, which is a part of the socket's name.
    pub port: u16,
    /// The role, let in without a password.
    pub user: String,
    /// The database.
    pub database: String,
}

/// One shard's address, with everything that is needed to connect.
#[derive(Clone)]
pub struct ShardTarget {
    name: String,
    config: Config,
    tls: Option<MakeRustlsConnect>,
    connect_timeout: Option<Duration>,
    warnings: Vec<String>,
}

impl fmt::Debug for ShardTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ShardTarget").field(&self.name).finish()
    }
}

impl ShardTarget {
    /// Reads a URL or a `key=value` string and completes it from `environment`.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, TargetError> {
        Self::complete(Conninfo::parse(text)?, environment)
    }

    /// A local server's.
    #[must_use]
    pub fn local(params: &LocalShardParams) -> Self {
        let LocalShardParams { socket_directory, port, user, database } = params;
        let mut config = new_config(user, database, *port);
        config.host_path(socket_directory).ssl_mode(SslMode::Disable);
        Self {
            name: format!("{}:{port}/{database}", socket_directory.display()),
            config,
            tls: None,
            connect_timeout: None,
            warnings: Vec::new(),
        }
    }

    /// Fills what `said` leaves out.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead.
    pub fn complete(said: Conninfo, environment: &Environment) -> Result<Self, TargetError> {
        if environment.names_a_service && said.host.is_none() {
            return Err(TargetError::Service);
        }
        let conninfo = said.or(&environment.conninfo);
        let port = conninfo.port.as_deref().map_or(Ok(5432), parse_port)?;
        let place = Place::of(&conninfo, environment, port)?;
        let user = conninfo.user.clone().or_else(|| environment.operating_system_user.clone());
        let user = user.ok_or(TargetError::User)?;
        let database = conninfo.dbname.clone().unwrap_or_else(|| user.clone());
        let name = format!("{}:{port}/{database}", place.shown());

        let mut warnings = Vec::new();
        let mut config = new_config(&user, &database, port);
        place.apply(&mut config);
        let tls = match security(&conninfo, &place)? {
            None => None,
            Some((verification, roots)) => {
                if verification == Verification::None {
                    warnings.push(format!(
                        "{name}: sslmode=require encrypts but believes whoever answers; \
                         sslmode=verify-full checks who it is"
                    ));
                }
                Some(tls::connector(verification, &roots)?)
            }
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.channel_binding(channel_binding(&conninfo, tls.is_some())?);
        let wanted = Wanted { host: place.password_host(), port, database: &database, user: &user };
        if let Some(password) = password(&conninfo, environment, wanted, &mut warnings)? {
            config.password(password.reveal());
        }
        let connect_timeout = conninfo.connect_timeout.as_deref().map(parse_timeout).transpose()?;
        Ok(Self { name, config, tls, connect_timeout, warnings })
    }

    /// `host:port/database`, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the user should know and nothing fails for, each one line.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A maker of pooled connections, for sessions whose state the pool's owner sets itself:
    /// nothing is reset between users. It does not bound the time to connect; the pool's
    /// `create` timeout must.
    #[must_use]
    pub fn manager(&self) -> Manager {
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let config = self.config.clone();
        match (&self.tls, quiet_socket::path_of(&config)) {
            (None, Some(path)) => Manager::from_connect(config, QuietConnect(path), manager),
            (None, None) => Manager::from_config(config, NoTls, manager),
            (Some(tls), _) => Manager::from_config(config, tls.clone(), manager),
        }
    }

    /// Connects. The whole of it, from lookup to login, takes at most `deadline`, or the address's
    /// own `connect_timeout` where it has one. The connection lives until the client is dropped.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub async fn connect(&self, deadline: Duration) -> Result<Client, ConnectError> {
        let deadline = self.connect_timeout.unwrap_or(deadline);
        let connected = match &self.tls {
            None => connect::within(deadline, &self.config, NoTls).await,
            Some(tls) => connect::within(deadline, &self.config, tls.clone()).await,
        };
        connected.map_err(|failure| failure.on(&self.name, self.config.get_password().is_some()))
    }

    /// Connects, listens to `channel` (a name of `[a-z_]`) and calls `heard` at every notification,
    /// until the connection ends.
    ///
    /// # Errors
    /// There is no connection to listen on.
    pub async fn listen(
        &self,
        channel: &str,
        deadline: Duration,
        heard: impl Fn() + Send,
    ) -> Result<(), ConnectError> {
        let deadline = self.connect_timeout.unwrap_or(deadline);
        let listened = match &self.tls {
            None => connect::listening(deadline, &self.config, NoTls, channel, heard).await,
            Some(tls) => {
                connect::listening(deadline, &self.config, tls.clone(), channel, heard).await
            }
        };
        listened.map_err(|failure| failure.on(&self.name, self.config.get_password().is_some()))
    }
}

fn new_config(user: &str, database: &str, port: u16) -> Config {
    let mut config = Config::new();
    config
        .user(user)
        .dbname(database)
        .port(port)
        .application_name("shardbank")
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(TCP_USER_TIMEOUT);
    config
}

/// ASCII digits only: Rust's own parser would also take a sign.
fn parse_port(text: &str) -> Result<u16, TargetError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(TargetError::Port)
}

fn parse_timeout(text: &str) -> Result<Duration, TargetError> {
    let seconds = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or(TargetError::ConnectTimeout)
}

/// The password that was said, or the one in the file of passwords.
fn password(
    conninfo: &Conninfo,
    environment: &Environment,
    wanted: Wanted<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Secret>, TargetError> {
    if let Some(password) = &conninfo.password {
        return Ok(Some(password.clone()));
    }
    if let Some(path) = &conninfo.passfile {
        return Ok(passfile::look_up(Path::new(path), wanted)?);
    }
    match environment.default_passfile().map(|path| passfile::look_up(&path, wanted)) {
        None => Ok(None),
        Some(Ok(password)) => Ok(password),
        // psql says so too, and goes on: perhaps no password is needed.
        Some(Err(error)) => {
            warnings.push(error.to_string());
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let found = Environment::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        });
        Environment { operating_system_user: Some("me".to_owned()), ..found.unwrap() }
    }

    fn parse(text: &str) -> Result<ShardTarget, TargetError> {
        ShardTarget::parse(text, &environment(&[]))
    }

    #[test]
    fn a_name_says_where_it_is_and_nothing_else() {
        for (text, name) in [
            ("postgres://u:canary@db.example/bank?sslmode=disable", "db.example:5432/bank"),
            ("postgres://[::1]:5433/bank", "[::1]:5433/bank"),
            ("host=/tmp/pg port=1 user=u password=canary", "/tmp/pg:1/u"),
            ("hostaddr=127.0.0.1", "127.0.0.1:5432/me"),
            ("postgresql:///bank?host=/tmp/pg&port=7&user=u", "/tmp/pg:7/bank"),
        ] {
            let target = parse(text).unwrap();
            assert_eq!(target.name(), name);
            assert!(!format!("{target:?}").contains("canary"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for text in [
            "host=h port=canary",
            "host=h port=0",
            "host=h port=65536",
            "host=h port=+5432",
            "host=h port=５４３２",
            "host=h port=-1",
            "host=h port=1e3",
            "host='canary h'",
            "host=canary;h",
            "hostaddr=canary",
            "host=localhost connect_timeout=0",
            "host=localhost connect_timeout=canary",
            "host=localhost sslmode=canary",
            "host=localhost sslmode=prefer",
            "host=localhost sslmode=allow",
            "host=localhost channel_binding=canary",
            "host=localhost channel_binding=require",
            "host=localhost password=x passfile=/nonexistent/canary sslrootcert=/nonexistent",
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(!message.contains("canary"), "{message}");
        }
    }

    #[test]
    fn to_believe_whoever_answers_is_warned_of() {
        let target = parse("host=db.example sslmode=require").unwrap();
        assert!(target.warnings()[0].contains("verify-full"), "{:?}", target.warnings());
        assert!(parse("host=localhost").unwrap().warnings().is_empty());
    }

    #[test]
    fn the_environment_fills_what_is_missing() {
        let environment = environment(&[
            ("PGHOST", "localhost"),
            ("PGPORT", "5433"),
            ("PGDATABASE", "bank"),
            ("PGUSER", "teller"),
            ("PGPASSWORD", "canary"),
        ]);
        let target = ShardTarget::parse("user=boss", &environment).unwrap();
        assert_eq!(target.name(), "localhost:5433/bank");
        assert_eq!(target.config.get_user(), Some("boss"));
        assert_eq!(target.config.get_password(), Some(b"canary".as_slice()));
        let message =
            Environment::from_variables(|name| (name == "PGHOST").then(|| "one,two".to_owned()));
        assert!(message.unwrap_err().starts_with("PGHOST "));
    }
}
