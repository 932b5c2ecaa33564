//! Opening one connection, within a time, and saying in one line why it could not be opened.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

use rustls::CertificateError;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, Socket};

use super::tls;
use crate::outcome::ShardError;
use crate::transfer::ShardIndex;

/// A shard could not be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shard}: {cause}; {remedy}")]
pub struct ConnectError {
    /// The shard's name.
    pub shard: String,
    /// What happened, with the SQLSTATE in brackets where the server gave one.
    pub cause: String,
    /// What to do.
    pub remedy: String,
    /// The server's code, where the server answered.
    pub sqlstate: Option<String>,
}

impl ConnectError {
    /// As what befell shard `index`. The code stays in the text.
    #[must_use]
    pub fn of(&self, index: ShardIndex) -> ShardError {
        ShardError { shard: index, sqlstate: None, message: self.to_string() }
    }
}

/// Why a connection was not opened.
pub(super) enum Failure {
    /// It took too long.
    Timeout(Duration),
    /// It was refused.
    Refused(tokio_postgres::Error),
}

/// Connects within `deadline`, all told: the client's own timeout covers the first packet only,
/// and a stopped server accepts that one.
pub(super) async fn within<T>(
    deadline: Duration,
    config: &Config,
    tls: T,
) -> Result<Client, Failure>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    match tokio::time::timeout(deadline, config.connect(tls)).await {
        Err(_) => Err(Failure::Timeout(deadline)),
        Ok(Err(error)) => Err(Failure::Refused(error)),
        Ok(Ok((client, connection))) => {
            // Ends with the client. Its error is the client's too, which reports it.
            tokio::spawn(async move { connection.await.is_ok() });
            Ok(client)
        }
    }
}

/// Connects within `deadline`, listens to `channel` and calls `heard` at every notification, until
/// the connection ends. It makes no other use of it.
pub(super) async fn listening<T>(
    deadline: Duration,
    config: &Config,
    tls: T,
    channel: &str,
    heard: impl Fn() + Send,
) -> Result<(), Failure>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let connected = tokio::time::timeout(deadline, config.connect(tls)).await;
    let connected = connected.map_err(|_| Failure::Timeout(deadline))?;
    let (client, mut connection) = connected.map_err(Failure::Refused)?;
    let hearing = async {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if matches!(message, AsyncMessage::Notification(_)) {
                heard();
            }
        }
    };
    let listen = format!("listen {channel}");
    let listening = async {
        match client.batch_execute(&listen).await {
            Ok(()) => std::future::pending().await,
            Err(error) => Err(Failure::Refused(error)),
        }
    };
    tokio::select! {
        failed = listening => failed,
        () = hearing => Ok(()),
    }
}

impl Failure {
    /// The failure as a line about the shard called `shard`.
    pub(super) fn on(self, shard: &str, had_password: bool) -> ConnectError {
        let (cause, remedy, sqlstate) = match &self {
            Self::Timeout(deadline) => (
                format!("no answer within {} s", deadline.as_secs_f64()),
                "the server is stopped or overloaded, or a firewall swallows packets; check it, \
                 or raise connect_timeout"
                    .to_owned(),
                None,
            ),
            Self::Refused(error) => match error.as_db_error() {
                Some(answer) => (
                    format!("{} ({})", answer.message(), answer.code().code()),
                    remedy_for(answer.code(), answer.message(), had_password).to_owned(),
                    Some(answer.code().code().to_owned()),
                ),
                None => {
                    let (cause, remedy) = explain(error);
                    (cause, remedy, None)
                }
            },
        };
        ConnectError { shard: shard.to_owned(), cause, remedy, sqlstate }
    }
}

fn remedy_for(code: &SqlState, message: &str, had_password: bool) -> &'static str {
    match code.code() {
        "28P01" if had_password => "check the role's password (PGPASSWORD, ~/.pgpass, passfile)",
        "28P01" => "give the role's password in PGPASSWORD, ~/.pgpass or passfile",
        "28000" if message.contains("no encryption") => {
            "the server wants TLS for this role and address; set sslmode=verify-full"
        }
        "28000" if message.contains("pg_hba.conf") => {
            "the server's pg_hba.conf does not let this role in from here; add a line for it and \
             reload"
        }
        "28000" => "the role does not exist or may not log in; check user= and CREATE ROLE",
        "3D000" => "the database does not exist; check the name or create it with createdb",
        "42501" => "grant the role CONNECT on the database",
        "53300" => {
            "the server's connections are all taken; use fewer clients or raise max_connections"
        }
        "57P03" => "the server is starting, stopping or recovering; try again in a moment",
        _ => "see the server's log",
    }
}

/// Cause and remedy of what happened without an answer of the server's.
fn explain(error: &tokio_postgres::Error) -> (String, String) {
    let source = error.source();
    if let Some(problem) = source.and_then(|source| tls::find::<rustls::Error>(source)) {
        return explain_tls(problem);
    }
    let text = source.map_or_else(|| error.to_string(), ToString::to_string);
    let remedy = match source.and_then(|source| tls::find::<io::Error>(source)).map(io::Error::kind)
    {
        Some(io::ErrorKind::ConnectionRefused) => "no server listens there; check host and port",
        Some(io::ErrorKind::NotFound) => {
            "no server listens there; check the socket's directory and the port"
        }
        Some(io::ErrorKind::PermissionDenied) => "the socket's directory may not be entered",
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {
            "the server closed the connection; is it Postgres? see its log"
        }
        _ if text.contains("lookup") => "the host's name is not known; check host",
        _ if text.contains("does not support TLS") => {
            "switch TLS on at the server (ssl = on), or say sslmode=disable if the network is \
             trusted"
        }
        _ if text.contains("password missing") => {
            "give the role's password in PGPASSWORD, ~/.pgpass or passfile"
        }
        _ if text.contains("channel binding") => {
            "the server or its certificate cannot bind SCRAM to TLS; say channel_binding=prefer"
        }
        _ => "check host, port and the server's log",
    };
    (text, remedy.to_owned())
}

fn explain_tls(problem: &rustls::Error) -> (String, String) {
    let (cause, mut remedy) = tls::explain(problem, "sslrootcert");
    if let rustls::Error::InvalidCertificate(
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
    ) = problem
    {
        remedy.push_str(", or say sslmode=verify-ca");
    }
    (cause, remedy)
}
