//! One session: what the server grants it, what its answers mean, and how long it is known to
//! last.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error, SessionState};

use crate::verbs::locking::LockError;

use super::ZooKeeperSettings;
use super::route::Route;

/// Between two attempts at a request that had no answer. The client holds requests back while it
/// has no connection, so that this is rarely what is waited for.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What went wrong with a request.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server did not do it, and said so.
    Refused(Error),
    /// No answer: it may have been done, or still be.
    Unanswered(String),
    /// The session or the node is gone, as the sentence says; of the former the server may hear
    /// later, within its timeout.
    Ended(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::SessionExpired | Error::AuthFailed | Error::ClientClosed => {
                Self::Ended(format!("its ZooKeeper session has ended: {error}"))
            }
            Error::NoNode
            | Error::NoAuth
            | Error::NodeExists
            | Error::BadVersion
            | Error::NotEmpty
            | Error::NoChildrenForEphemerals
            | Error::InvalidAcl
            | Error::QuotaExceeded
            | Error::MarshallingError
            | Error::Unimplemented
            | Error::NotReadOnly
            | Error::BadArguments(_) => Self::Refused(error),
            // A broken connection has many names here, that of the socket's error among them.
            _ => Self::Unanswered(error.to_string()),
        }
    }
}

impl From<Trouble> for LockError {
    fn from(trouble: Trouble) -> Self {
        Self::Unavailable(match trouble {
            Trouble::Refused(Error::NoAuth) => {
                "ZooKeeper: not authorized; give the user and password that created the root".into()
            }
            Trouble::Refused(error) => format!("ZooKeeper: {error}"),
            Trouble::Unanswered(why) => format!("ZooKeeper: {why}"),
            Trouble::Ended(why) => why,
        })
    }
}

/// Whether a session is there, as far as can be known on this side.
pub(super) enum Standing {
    /// It was when it last answered, and its connection stands.
    Connected,
    /// Its connection is lost: it may have ended, or go on.
    CutOff,
    /// It has ended.
    Ended(String),
}

pub(super) struct Session {
    client: Client,
    identity: Arc<str>,
    /// When the latest question that was answered was sent. The server counts from its arrival;
    /// only of several one that dies can take half a tick away with it, for it passes on so often
    /// whom it has heard from.
    contact: Mutex<Instant>,
    acls: Acls<'static>,
    /// Whether the server has nodes that it removes once they are empty (since 3.5).
    has_containers: AtomicBool,
}

impl Session {
    /// Opens one of `ttl` or longer. Without `until` it fails at once where no server listens;
    /// with it, servers that are starting are waited for.
    pub(super) async fn open(
        settings: &ZooKeeperSettings,
        route: &Route,
        ttl: Duration,
        until: Option<Instant>,
    ) -> Result<Self, LockError> {
        // The protocol has milliseconds; never less than was asked for.
        let asked = Duration::from_micros(u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX))
            + Duration::from_micros(999);
        let mut connector = Client::connector().with_session_timeout(asked);
        let mut acls = Acls::anyone_all();
        if let Some(digest) = &settings.digest {
            let credentials = format!("{}:{}", digest.user, digest.password.reveal());
            connector = connector.with_auth("digest", credentials.as_bytes());
            acls = Acls::creator_all();
        }
        let sent = Instant::now();
        let connected = match until {
            None => route.connect(connector.with_fail_eagerly()).await,
            Some(until) => {
                timeout_at(until, route.connect(connector)).await.unwrap_or(Err(Error::Timeout))
            }
        };
        let client = match connected {
            Ok(client) => client,
            Err(error) => {
                let why = match until {
                    None => route.explain(&error).await,
                    Some(_) => error.to_string(),
                };
                let hosts = &settings.hosts;
                return Err(LockError::Unavailable(format!(
                    "no ZooKeeper session from {hosts}: {why}"
                )));
            }
        };
        let granted = client.session_timeout();
        if granted < ttl {
            return Err(LockError::Unavailable(format!(
                "ZooKeeper keeps a session for {granted:?} at most and {ttl:?} are wanted: \
                 set its maxSessionTimeout to {} or more",
                ttl.as_millis()
            )));
        }
        let mut session = Self {
            client,
            identity: Arc::from(""),
            contact: Mutex::new(sent),
            acls,
            has_containers: AtomicBool::new(true),
        };
        session.identity = session.find_identity(&settings.root, until).await?.into();
        Ok(session)
    }

    /// The marker's text; written, with the root, by whoever comes first.
    async fn find_identity(&self, root: &str, until: Option<Instant>) -> Result<String, LockError> {
        let until = until.unwrap_or_else(|| Instant::now() + self.timeout());
        let path = format!("{root}/identity");
        loop {
            match self.insist(until, || self.client.get_data(&path)).await {
                Ok((text, _)) => {
                    return String::from_utf8(text)
                        .map_err(|_| LockError::Unavailable(format!("{path} is not ours")));
                }
                Err(Trouble::Refused(Error::NoNode)) => {}
                Err(trouble) => return Err(trouble.into()),
            }
            let locks = format!("{root}/locks");
            let persistent = self.persistent();
            self.insist(until, || self.client.mkdir(&locks, &persistent)).await?;
            let text = Uuid::new_v4().simple().to_string();
            // Whether it was this one or another's is told by reading it.
            match self.ask(until, || self.client.create(&path, text.as_bytes(), &persistent)).await
            {
                Ok(_) | Err(Trouble::Refused(Error::NodeExists) | Trouble::Unanswered(_)) => {}
                Err(trouble) => return Err(trouble.into()),
            }
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn identity(&self) -> Arc<str> {
        Arc::clone(&self.identity)
    }

    /// How long the server keeps it without a message.
    pub(super) fn timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    /// Until when it lasts for certain.
    pub(super) fn ends_at(&self) -> Instant {
        *self.contact.lock().unwrap_or_else(PoisonError::into_inner) + self.timeout()
    }

    pub(super) fn standing(&self) -> Standing {
        match self.client.state() {
            SessionState::SyncConnected => Standing::Connected,
            // A server that is cut off from the others cannot vouch for a session.
            SessionState::Disconnected | SessionState::ConnectedReadOnly => Standing::CutOff,
            state => Standing::Ended(format!("its ZooKeeper session has ended: {state}")),
        }
    }

    pub(super) fn ended(&self) -> bool {
        matches!(self.standing(), Standing::Ended(_))
    }

    pub(super) fn ephemeral_sequential(&self) -> CreateOptions<'static> {
        CreateMode::EphemeralSequential.with_acls(self.acls)
    }

    fn persistent(&self) -> CreateOptions<'static> {
        CreateMode::Persistent.with_acls(self.acls)
    }

    /// Sends one request and waits for its answer until `until`. The client sends when the
    /// request is *made*, and in the order of making, hence the closure.
    pub(super) async fn ask<T, F>(
        &self,
        until: Instant,
        request: impl FnOnce() -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let sent = Instant::now();
        let answer = match timeout_at(until, request()).await {
            Ok(answer) => answer.map_err(Trouble::from),
            Err(_) => Err(Trouble::Unanswered("no answer in time".to_owned())),
        };
        if matches!(answer, Ok(_) | Err(Trouble::Refused(_))) {
            let mut contact = self.contact.lock().unwrap_or_else(PoisonError::into_inner);
            *contact = sent.max(*contact);
        }
        answer
    }

    /// The same for a request that may be done twice: repeated until there is an answer.
    pub(super) async fn insist<T, F>(
        &self,
        until: Instant,
        request: impl Fn() -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            match self.ask(until, &request).await {
                Err(Trouble::Unanswered(_)) if Instant::now() < until => sleep(AGAIN_AFTER).await,
                answer => return answer,
            }
        }
    }

    /// Makes an account's directory; the server removes it again when it has been empty for some
    /// time.
    pub(super) async fn make_directory(&self, path: &str, until: Instant) -> Result<(), Trouble> {
        if self.has_containers.load(Ordering::Relaxed) {
            let container = CreateMode::Container.with_acls(self.acls);
            match self.insist(until, || self.client.mkdir(path, &container)).await {
                Err(Trouble::Refused(Error::Unimplemented)) => {
                    self.has_containers.store(false, Ordering::Relaxed);
                }
                answer => return answer,
            }
        }
        let persistent = self.persistent();
        self.insist(until, || self.client.mkdir(path, &persistent)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_denied_was_certainly_not_done() {
        assert!(matches!(Trouble::from(Error::NoNode), Trouble::Refused(_)));
        assert!(matches!(Trouble::from(Error::SessionExpired), Trouble::Ended(_)));
        for error in [Error::ConnectionLoss, Error::Timeout, Error::Throttled] {
            assert!(matches!(Trouble::from(error), Trouble::Unanswered(_)));
        }
    }
}
