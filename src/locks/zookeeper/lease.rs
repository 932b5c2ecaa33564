//! A lock that is held: as long as its session, and no longer than its node.

use std::time::Duration;

use tokio::time::Instant;
use zookeeper_client::Error;

use crate::locks::service::Lease;
use crate::verbs::locking::{BoxFuture, LockError, Released};

use super::place::Place;
use super::session::{Standing, Trouble};

/// How old, in parts of the session's timeout, the last answer may be for a renewal to do without
/// one of its own. One that comes every third of the timeout sends little where others are busy.
const FRESH: u32 = 4;

/// Held until it is released. Dropped, it is released in the background.
pub(super) struct ZooKeeperLease {
    place: Place,
}

impl ZooKeeperLease {
    pub(super) fn new(place: Place) -> Self {
        Self { place }
    }

    async fn extend(&self) -> Result<Option<Instant>, LockError> {
        let Some(session) = self.place.session() else {
            return Err(LockError::Lost("its ZooKeeper session was closed".to_owned()));
        };
        match session.standing() {
            Standing::Connected => {}
            Standing::CutOff => {
                return Err(LockError::Unavailable("ZooKeeper: disconnected".to_owned()));
            }
            Standing::Ended(why) => return Err(LockError::Lost(why)),
        }
        let ends_at = session.ends_at();
        let needed = session.timeout() - session.timeout() / FRESH;
        if ends_at.saturating_duration_since(Instant::now()) >= needed {
            return Ok(Some(ends_at));
        }
        // Its own node is asked for, so that a lock that somebody took away is noticed as well.
        let path = self.place.path();
        let until = Instant::now() + session.timeout() / 2;
        match session.ask(until, || session.client().check_stat(&path)).await {
            Ok(Some(_)) => Ok(Some(session.ends_at())),
            Ok(None) => Err(LockError::Lost("its node in ZooKeeper is gone".to_owned())),
            Err(Trouble::Ended(why)) => Err(LockError::Lost(why)),
            Err(trouble) => Err(trouble.into()),
        }
    }

    async fn give_back(mut self) -> Result<Released, LockError> {
        let Some(session) = self.place.session() else {
            return Ok(Released::AlreadyGone);
        };
        let patience = match session.standing() {
            Standing::Connected => session.timeout() / 2,
            // The deletion goes on in the background until the connection is back.
            Standing::CutOff => Duration::ZERO,
            Standing::Ended(_) => return Ok(Released::AlreadyGone),
        };
        let path = self.place.path();
        let until = Instant::now() + patience;
        let released = match session.ask(until, || session.client().delete(&path, None)).await {
            Ok(()) => Released::Owned,
            Err(Trouble::Refused(Error::NoNode) | Trouble::Ended(_)) => Released::AlreadyGone,
            Err(trouble) => return Err(trouble.into()),
        };
        self.place.left();
        Ok(released)
    }
}

impl Lease for ZooKeeperLease {
    fn renew(&self) -> BoxFuture<'_, Result<Option<Instant>, LockError>> {
        Box::pin(self.extend())
    }

    fn release(self: Box<Self>) -> BoxFuture<'static, Result<Released, LockError>> {
        Box::pin(self.give_back())
    }
}
