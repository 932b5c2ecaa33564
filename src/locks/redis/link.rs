//! How the server is reached: one connection, opened again by ourselves when it broke, so that
//! what is known of the server is known of the connection that a lock was granted on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, RedisError, Script,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::waiting::Waiting;
use crate::verbs::locking::LockError;

/// Where a Redis server is, how to get in, and what our keys begin with.
#[derive(Clone)]
pub struct RedisSettings {
    server: ConnectionInfo,
    prefix: String,
    /// How long a connection, and each answer, may take before the server counts as unavailable.
    pub answer_within: Duration,
}

/// What was given is not the URL of a Redis server. It may hold a password and is not repeated.
#[derive(Debug, thiserror::Error)]
#[error(
    "not a Redis URL; write redis://[user:password@]host[:port][/database] (TLS is not built in)"
)]
pub struct NotARedisUrl;

impl RedisSettings {
    /// The server at `url`: `redis://[user:password@]host[:port][/database]`, or
    /// `unix:///path?db=…`. Everything is kept below `prefix`, such as `shardbank:<cluster>:`, so
    /// that clusters that share a server do not meet.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn new(url: &str, prefix: &str) -> Result<Self, NotARedisUrl> {
        let server = url.into_connection_info().map_err(|_| NotARedisUrl)?;
        if !server.addr().is_supported() || prefix.contains(['{', '}']) {
            return Err(NotARedisUrl);
        }
        let login = server.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let server = server
            .set_redis_settings(login)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Ok(Self { server, prefix: prefix.to_owned(), answer_within: Duration::from_secs(1) })
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("server", &self.server.addr().to_string())
            .field("database", &self.server.redis_settings().db())
            .field("prefix", &self.prefix)
            .field("answer_within", &self.answer_within)
            .finish_non_exhaustive()
    }
}

/// The one connection, and how to open the next.
pub(super) struct Links {
    settings: RedisSettings,
    scripts: Vec<Script>,
    waiting: Arc<Waiting>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    /// The last attempt to connect that failed: when it ended, and why it did.
    failure: Option<(Instant, LockError)>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl Links {
    pub(super) fn new(
        settings: RedisSettings,
        scripts: Vec<Script>,
        waiting: Arc<Waiting>,
    ) -> Self {
        Self { settings, scripts, waiting, state: Mutex::default() }
    }

    /// The name on the server of `what`. The hash tag keeps all of them in one slot.
    pub(super) fn key(&self, what: &str) -> String {
        format!("{{{}}}{what}", self.settings.prefix)
    }

    /// On which is published what was released while somebody waited.
    pub(super) fn channel(&self) -> String {
        self.key("released")
    }

    /// A connection that works as far as anybody knows.
    ///
    /// # Errors
    /// None could be opened; nothing was sent.
    pub(super) async fn current(&self) -> Result<Arc<Link>, LockError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(link) = state.link.as_ref().filter(|link| link.works()) {
            return Ok(Arc::clone(link));
        }
        // Many may have queued up behind one attempt; what it found is true for all of them.
        if let Some((_, error)) = state.failure.as_ref().filter(|(ended, _)| *ended >= asked) {
            return Err(error.clone());
        }
        match self.open().await {
            Ok(link) => Ok(Arc::clone(state.link.insert(Arc::new(link)))),
            Err(error) => {
                let error = unavailable(&error);
                state.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Link, RedisError> {
        // The crate's own limits, 1 s and 500 ms, are not ours.
        let within = Some(self.settings.answer_within);
        let waiting = Arc::clone(&self.waiting);
        let broken = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&broken);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(within)
            .set_response_timeout(within)
            .set_push_sender(move |push: PushInfo| {
                // Noticed while nothing is sent, so that the next request does not die of it.
                closed.fetch_or(push.kind == PushKind::Disconnection, Ordering::Relaxed);
                waiting.hear(&push);
                Ok::<(), ()>(())
            });
        let client = Client::open(self.settings.server.clone())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(self.channel()).await?;
        let about: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        let run_id = about.lines().find_map(|line| line.strip_prefix("run_id:"));
        let run_id = run_id.ok_or((ErrorKind::UnexpectedReturnType, "INFO tells no run_id"))?;
        for script in &self.scripts {
            script.prepare_invoke().load_async(&mut connection).await?;
        }
        Ok(Link { run_id: run_id.trim().to_owned(), broken, connection })
    }
}

/// One connection, and whom it leads to.
pub(super) struct Link {
    connection: MultiplexedConnection,
    run_id: String,
    broken: Arc<AtomicBool>,
}

impl Link {
    /// A handle to send on; many may send at once.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// The server's id of this run of its process.
    pub(super) fn run_id(&self) -> &str {
        &self.run_id
    }

    pub(super) fn works(&self) -> bool {
        !self.broken.load(Ordering::Relaxed)
    }

    /// Whoever met `error` says so here. A server that refuses a command is still well; after
    /// anything else the next one gets a new connection.
    pub(super) fn blame(&self, error: &RedisError) -> LockError {
        if !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) {
            self.broken.store(true, Ordering::Relaxed);
        }
        unavailable(error)
    }
}

/// The crate's words: a code of the server or of the operating system, never a password.
pub(super) fn unavailable(error: &RedisError) -> LockError {
    LockError::Unavailable(format!("Redis: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_neither_shown_nor_repeated() {
        let url = "redis://me:s3cret@127.0.0.1:6379/2";
        let shown = format!("{:?}", RedisSettings::new(url, "shardbank:x:").unwrap());
        assert!(shown.contains("127.0.0.1:6379") && shown.contains("database: 2"), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
        for wrong in ["http://me:s3cret@host", "rediss://me:s3cret@host", "me:s3cret@host"] {
            let error = RedisSettings::new(wrong, "").expect_err("no such URL").to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
