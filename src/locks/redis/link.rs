//! How the server is reached: one connection, opened again by ourselves when it broke, so that
//! what is known of the server is known of the connection that a lock was granted on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, PushInfo, PushKind, RedisError, Script};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::settings::RedisSettings;
use super::waiting::Waiting;
use crate::verbs::locking::LockError;

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
                state.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Link, LockError> {
        let within = self.settings.answer_within;
        let waiting = Arc::clone(&self.waiting);
        let broken = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&broken);
        let config = AsyncConnectionConfig::new()
            // The crate's own limits, 1 s and 500 ms, are not ours.
            .set_connection_timeout(Some(within))
            .set_response_timeout(Some(within))
            .set_push_sender(move |push: PushInfo| {
                // Noticed while nothing is sent, so that the next request does not die of it.
                closed.fetch_or(push.kind == PushKind::Disconnection, Ordering::Relaxed);
                waiting.hear(&push);
                Ok::<(), ()>(())
            });
        let connection = self.connect(config).await?;
        self.prepare(connection, broken).await.map_err(|error| unavailable(&error))
    }

    async fn connect(
        &self,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, LockError> {
        let (server, within) = (&self.settings.server, self.settings.answer_within);
        let Some((tls, host, port)) = self.settings.encrypted() else {
            let client = Client::open(server.clone()).map_err(|error| unavailable(&error))?;
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            return connection.map_err(|error| unavailable(&error));
        };
        // Not the crate's own TLS, which would take the whole process's cryptography provider.
        let stream = tls.connect(host, port, within).await;
        let stream = stream.map_err(|why| LockError::Unavailable(format!("Redis: {why}")))?;
        let login = server.redis_settings();
        let connecting = MultiplexedConnection::new_with_config(login, stream, config);
        let (connection, driver) = timeout(within, connecting)
            .await
            .map_err(|_| LockError::Unavailable("Redis: no answer in time".to_owned()))?
            .map_err(|error| unavailable(&error))?;
        // It ends with the connection's last handle.
        tokio::spawn(driver);
        Ok(connection)
    }

    async fn prepare(
        &self,
        mut connection: MultiplexedConnection,
        broken: Arc<AtomicBool>,
    ) -> Result<Link, RedisError> {
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
