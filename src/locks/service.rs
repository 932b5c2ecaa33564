//! What each lock service implements: one grant, its renewal, its release.
//!
//! A service knows nothing of transfers, shards' fences or epochs, and runs no heartbeat: that is
//! common to all and stands in `locks`. Adding one is one file and one arm of an enum.

use std::sync::Arc;

use tokio::time::Instant;

use crate::verbs::locking::{BoxFuture, HolderId, LockError, LockKey, Released};

/// A server, or several, that grant locks. One value serves one thread: its connections belong to
/// the runtime that made them.
pub trait Service: Send + Sync + 'static {
    /// Grants `key` to `holder`, waiting until `until`. A reply that is lost leaves it unknown
    /// whether the lock is held: the service then sees to it, by the holder's id, that it is
    /// given back, or says so with [`LockError::Unavailable`] and lets it run out.
    ///
    /// # Errors
    /// It is not held.
    fn grant(
        &self,
        key: LockKey,
        holder: HolderId,
        until: Instant,
    ) -> BoxFuture<'_, Result<Granted, LockError>>;
}

/// A lock that was granted.
pub struct Granted {
    /// Grows with every grant of its key, for as long as `identity` is the same.
    pub token: i64,
    /// What granted it. Another one's tokens cannot be compared with these: a server that lost
    /// its data, or was replaced by another, has another identity.
    pub identity: Arc<str>,
    /// When the lease ends unless it is renewed: the instant at which the request was *sent* plus
    /// the time that was granted. Nothing where it lasts as long as its session.
    pub ends_at: Option<Instant>,
    /// Messages that it took, one awaited after another.
    pub round_trips: u32,
    /// To renew and release it by.
    pub lease: Box<dyn Lease>,
}

/// A lock that is held.
pub trait Lease: Send + Sync {
    /// Makes it last longer; returns when it now ends, as [`Granted::ends_at`]. A renewal that
    /// went wrong in passing may be tried again until then.
    ///
    /// # Errors
    /// [`LockError::Lost`] where it is somebody else's or gone; anything else may pass.
    fn renew(&self) -> BoxFuture<'_, Result<Option<Instant>, LockError>>;

    /// Gives it back, if it is still the holder's. One round trip.
    ///
    /// # Errors
    /// The service did not answer: it will run out.
    fn release(self: Box<Self>) -> BoxFuture<'static, Result<Released, LockError>>;
}
