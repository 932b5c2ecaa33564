//! Where one shard is and how to get in: parsed, completed, checked, and ready to connect.
//!
//! What an address leaves out is filled as psql does, from `PG*` variables and `~/.pgpass`.
//! TLS is verified unless the host is this machine or somebody says otherwise.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, RecyclingMethod};
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::{self, ConnectError};
use super::conninfo::{Conninfo, SyntaxError};
use super::environment::Environment;
use super::passfile::{self, PassfileError, Wanted};
use super::secret::Secret;
use super::tls::{self, Roots, TlsError, Verification};

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
        match &self.tls {
            None => Manager::from_config(self.config.clone(), NoTls, manager),
            Some(tls) => Manager::from_config(self.config.clone(), tls.clone(), manager),
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

/// Where the server listens.
enum Place {
    Socket { directory: PathBuf, is_default: bool },
    Network { host: String, address: Option<IpAddr> },
}

impl Place {
    fn of(conninfo: &Conninfo, environment: &Environment, port: u16) -> Result<Self, TargetError> {
        let address = conninfo.hostaddr.as_deref().map(str::parse::<IpAddr>).transpose();
        let address = address.map_err(|_| TargetError::HostAddress)?;
        match (&conninfo.host, address) {
            (Some(host), None) if host.starts_with('/') => {
                let is_default = environment.is_default_socket_directory(Path::new(host));
                Ok(Self::Socket { directory: PathBuf::from(host), is_default })
            }
            (Some(host), _) if !is_host_name(host) => Err(TargetError::Host),
            (Some(host), address) => Ok(Self::Network { host: host.clone(), address }),
            (None, Some(address)) => {
                Ok(Self::Network { host: address.to_string(), address: Some(address) })
            }
            (None, None) => Ok(Self::Socket {
                directory: environment.default_socket_directory(port),
                is_default: true,
            }),
        }
    }

    fn apply(&self, config: &mut Config) {
        match self {
            Self::Socket { directory, .. } => {
                config.host_path(directory);
            }
            Self::Network { host, address } => {
                config.host(host);
                if let Some(address) = address {
                    config.hostaddr(*address);
                }
            }
        }
    }

    fn is_this_machine(&self) -> bool {
        match self {
            Self::Socket { .. } => true,
            Self::Network { address: Some(address), .. } => address.is_loopback(),
            Self::Network { host, address: None } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Socket { directory, .. } => directory.display().to_string(),
            Self::Network { host, .. } if host.contains(':') => format!("[{host}]"),
            Self::Network { host, .. } => host.clone(),
        }
    }

    /// As a file of passwords spells it.
    fn password_host(&self) -> &str {
        match self {
            Self::Socket { is_default: true, .. } => "localhost",
            Self::Socket { directory, .. } => directory.to_str().unwrap_or("localhost"),
            Self::Network { host, .. } => host,
        }
    }
}

fn is_host_name(host: &str) -> bool {
    host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'))
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

/// How TLS is used, or that it is not.
fn security(
    conninfo: &Conninfo,
    place: &Place,
) -> Result<Option<(Verification, Roots)>, TargetError> {
    let file = conninfo.sslrootcert.as_deref().filter(|file| *file != "system");
    let default = match place {
        Place::Network { .. } if conninfo.sslrootcert.is_some() => "verify-full",
        _ if place.is_this_machine() => "disable",
        _ => "verify-full",
    };
    let verification = match conninfo.sslmode.as_deref().unwrap_or(default) {
        "disable" => None,
        // As in libpq: who names an authority wants it asked.
        "require" if conninfo.sslrootcert.is_some() => Some(Verification::Authority),
        "require" => Some(Verification::None),
        "verify-ca" => Some(Verification::Authority),
        "verify-full" => Some(Verification::Full),
        "prefer" => return Err(TargetError::OpportunisticTls("prefer")),
        "allow" => return Err(TargetError::OpportunisticTls("allow")),
        _ => return Err(TargetError::SslMode),
    };
    if matches!(place, Place::Socket { .. }) {
        // As in libpq: there is no TLS on a socket, which never leaves the machine.
        return Ok(None);
    }
    let roots = file.map_or(Roots::Platform, |file| Roots::File(PathBuf::from(file)));
    Ok(verification.map(|verification| (verification, roots)))
}

fn channel_binding(conninfo: &Conninfo, tls: bool) -> Result<ChannelBinding, TargetError> {
    match conninfo.channel_binding.as_deref().unwrap_or("prefer") {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" if tls => Ok(ChannelBinding::Require),
        "require" => Err(TargetError::ChannelBindingWithoutTls),
        _ => Err(TargetError::ChannelBinding),
    }
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
