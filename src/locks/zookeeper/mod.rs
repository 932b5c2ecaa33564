//! Locks in ZooKeeper: a queue of ephemeral sequential nodes for each account.
//!
//! A holder's node is `<root>/locks/<account>/<holder>-n-<sequence>`; whose sequence is the lowest
//! holds the lock, and everybody else watches the node right before his own, and only that one, so
//! that a release wakes one waiter (the recipe of ZooKeeper's own documentation, "Locks"). Grants
//! are therefore first come, first served. The token is the transaction number (czxid) with which
//! the holder's own node was created: the sequence would start again with a new parent.
//!
//! All locks of a value hang on one session, whose timeout, as the server granted it, is their
//! lease. Three things can be known of it:
//!
//! - it answers: every answer moves the end of all leases to its question's sending plus the
//!   timeout;
//! - it is cut off: nobody knows, a renewal fails in passing, and the leases run on to where the
//!   last answer put them, for the server may have given the locks away by then;
//! - it has ended: all its nodes are gone or going, every lease is lost, and the next grant opens
//!   another.
//!
//! Messages, one awaited after another: two for a grant (enter, look), four where it had to wait
//! (watch, look again), and one for the release.
//!
//! What granted a lock is known by the random text in `<root>/identity`, read once in each
//! session: a server resumes only sessions of which it has the record, and refuses a client that
//! has seen a later state than its own. Whoever restores a server from a backup must delete that
//! node, or its tokens, which went back, are refused by the shards.

mod encrypted;
mod lease;
mod place;
mod route;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::local::services::ServiceKind;
use crate::locks::exposure::Exposure;
use crate::locks::service::{Granted, Service};
use crate::locks::tls::TlsFiles;
use crate::shards::Secret;
use crate::verbs::locking::{BoxFuture, HolderId, LockError, LockKey};

use lease::ZooKeeperLease;
use place::Place;
use route::Route;
use session::Session;

/// Where ZooKeeper is and what of it is ours.
#[derive(Debug, Clone)]
pub struct ZooKeeperSettings {
    /// Its servers: `host:port`, several with commas between them. Without a path. With `tls://`
    /// before all of them they are reached over TLS.
    pub hosts: String,
    /// By what they are recognised then.
    pub tls: TlsFiles,
    /// The node below which everything is kept, such as `/shardbank/<cluster>`. It is created,
    /// with its parents, where it does not exist.
    pub root: String,
    /// Who we are. All nodes are then ours alone; without it, everybody's.
    pub digest: Option<Digest>,
}

/// Name and password for ZooKeeper's `digest` scheme. They are sent as they are: without TLS,
/// everybody on the way can read them.
#[derive(Debug, Clone)]
pub struct Digest {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// Locks in ZooKeeper. Its session belongs to the runtime that made it, and is closed when the
/// value is dropped, with all locks that it still holds.
pub struct ZooKeeper {
    settings: ZooKeeperSettings,
    route: Route,
    ttl: Duration,
    /// Under a lock, so that after the end of one session only one other is opened.
    session: Mutex<Arc<Session>>,
}

impl ZooKeeper {
    /// Opens a session that lasts `ttl` or longer without an answer; ZooKeeper rounds it up to
    /// its smallest (`minSessionTimeout`, two ticks of, by default, 2 s).
    ///
    /// # Errors
    /// [`LockError::Unavailable`]: no server answers, the settings make no sense, the root is not
    /// ours, or the server does not grant sessions as long as that.
    pub async fn connect(settings: &ZooKeeperSettings, ttl: Duration) -> Result<Self, LockError> {
        let route = check(settings).map_err(LockError::Unavailable)?;
        let session = Session::open(settings, &route, ttl, None).await?;
        let session = Mutex::new(Arc::new(session));
        Ok(Self { settings: settings.clone(), route, ttl, session })
    }

    /// The session, or a new one where it has ended.
    async fn session(&self, until: Instant) -> Result<Arc<Session>, LockError> {
        let Ok(mut session) = timeout_at(until, self.session.lock()).await else {
            return Err(LockError::Unavailable("no new session in time".to_owned()));
        };
        if session.ended() {
            let opened = Session::open(&self.settings, &self.route, self.ttl, Some(until)).await?;
            *session = Arc::new(opened);
        }
        Ok(Arc::clone(&session))
    }
}

impl Service for ZooKeeper {
    fn grant(
        &self,
        key: LockKey,
        holder: HolderId,
        until: Instant,
    ) -> BoxFuture<'_, Result<Granted, LockError>> {
        Box::pin(async move {
            loop {
                let session = self.session(until).await?;
                match self.grant_in(&session, key, holder, until).await {
                    // Its end is learnt by the first request after it, and nothing of the session
                    // stands any more.
                    Err(LockError::Unavailable(_)) if session.ended() && Instant::now() < until => {
                    }
                    granted => return granted,
                }
            }
        })
    }
}

impl ZooKeeper {
    async fn grant_in(
        &self,
        session: &Arc<Session>,
        key: LockKey,
        holder: HolderId,
        until: Instant,
    ) -> Result<Granted, LockError> {
        let directory = format!("{}/locks/{}", self.settings.root, key.account);
        let mut place = Place::new(session, directory, holder);
        let token = place.enter(session, until).await?;
        place.wait(session, until).await?;
        Ok(Granted {
            token,
            identity: session.identity(),
            ends_at: Some(session.ends_at()),
            round_trips: place.round_trips(),
            lease: Box::new(ZooKeeperLease::new(place)),
        })
    }
}

impl ZooKeeperSettings {
    /// What somebody on the way could see.
    ///
    /// # Errors
    /// A line: the settings make no sense.
    pub fn exposure(&self) -> Result<Exposure, String> {
        let route = check(self)?;
        Ok(Exposure {
            kind: ServiceKind::ZooKeeper,
            hosts: route.servers().into_iter().map(|(host, _)| host.to_owned()).collect(),
            is_encrypted: route.is_encrypted(),
            has_password: self.digest.is_some(),
            has_certificate: route.shows_certificate(),
        })
    }
}

/// What would only be noticed later, or be taken for something else.
fn check(settings: &ZooKeeperSettings) -> Result<Route, String> {
    let root = &settings.root;
    let named = root.strip_prefix('/').is_some_and(|path| path.split('/').all(|n| !n.is_empty()));
    if !named {
        return Err(format!("the root {root:?} must be a path such as /shardbank/cluster"));
    }
    Route::new(&settings.hosts, &settings.tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(hosts: &str, root: &str) -> ZooKeeperSettings {
        let password = Secret::new("canary".to_owned());
        let digest = Some(Digest { user: "teller".to_owned(), password });
        let (hosts, root, tls) = (hosts.to_owned(), root.to_owned(), TlsFiles::default());
        ZooKeeperSettings { hosts, tls, root, digest }
    }

    #[test]
    fn settings_do_not_show_their_password() {
        let shown = format!("{:?}", settings("localhost:2181", "/shardbank"));
        assert!(shown.contains("teller") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn a_root_is_a_path_and_hosts_are_none() {
        let seen = settings("a:1,[::1]", "/shardbank/one").exposure().unwrap();
        assert_eq!(seen.hosts, ["a", "::1"]);
        assert!(seen.has_password && !seen.is_encrypted);
        for (hosts, root) in [
            ("a:1/path", "/shardbank"),
            ("a,tls://b", "/shardbank"),
            ("tcp+tls://a", "/shardbank"),
            ("tls://no name", "/shardbank"),
            ("tls://", "/shardbank"),
            ("a", "shardbank"),
            ("a", "/"),
            ("a", "/b/"),
            ("a", ""),
        ] {
            assert!(check(&settings(hosts, root)).is_err(), "{hosts} {root}");
        }
    }
}
