//! A place in an account's queue: one ephemeral node, and nothing left of it when it is dropped.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use zookeeper_client::{Error, Stat};

use crate::verbs::locking::{HolderId, LockError};

use super::session::{Session, Trouble};

/// Between the holder's id and the sequence in a node's name.
const SEPARATOR: &str = "-n-";

/// A queue's directory may be removed, being empty, between its making and our entering it.
const MOST_DIRECTORIES: u32 = 4;

/// How much longer than it was allowed to wait a waiter takes to learn that it has left the queue.
const LEAVING: Duration = Duration::from_millis(500);

/// A place in a queue. Dropped, it sees to it that its node is deleted.
pub(super) struct Place {
    /// Not a strong one: the session ends with the value that opened it, whoever holds a lock.
    session: Weak<Session>,
    directory: String,
    /// What the names of this holder's nodes begin with.
    prefix: String,
    /// The node's name, once it is known.
    name: Option<String>,
    /// Whether there may be a node.
    entered: bool,
    round_trips: u32,
}

impl Place {
    pub(super) fn new(session: &Arc<Session>, directory: String, holder: HolderId) -> Self {
        Self {
            session: Arc::downgrade(session),
            directory,
            prefix: format!("{holder}{SEPARATOR}"),
            name: None,
            entered: false,
            round_trips: 0,
        }
    }

    pub(super) fn round_trips(&self) -> u32 {
        self.round_trips
    }

    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.session.upgrade()
    }

    /// The node's path; before its name is known, that of no node.
    pub(super) fn path(&self) -> String {
        self.path_of(self.name.as_ref().unwrap_or(&self.prefix))
    }

    fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    /// Says that the node is gone.
    pub(super) fn left(&mut self) {
        self.entered = false;
    }

    /// Creates the node, once; returns the number of the transaction that did.
    pub(super) async fn enter(
        &mut self,
        session: &Session,
        until: Instant,
    ) -> Result<i64, LockError> {
        let start = self.path_of(&self.prefix);
        let options = session.ephemeral_sequential();
        for _ in 0..MOST_DIRECTORIES {
            // Before it is sent: dropped from here on, the node has to be looked for.
            self.entered = true;
            self.round_trips += 1;
            match session.ask(until, || session.client().create(&start, b"", &options)).await {
                Ok((stat, sequence)) => {
                    self.name = Some(format!("{}{sequence}", self.prefix));
                    return Ok(self.created_by(session, stat, until).await?);
                }
                Err(Trouble::Refused(Error::NoNode)) => {
                    self.entered = false;
                    self.round_trips += 1;
                    session.make_directory(&self.directory, until).await?;
                }
                // It may have been created and only the answer lost (ZOOKEEPER-1262). A second
                // one would stand before or behind the first, and one of them for ever.
                Err(Trouble::Unanswered(why)) => {
                    let found = find(session, &self.directory, &self.prefix, until).await?;
                    self.round_trips += 3;
                    let Some((name, stat)) = found else {
                        return Err(Trouble::Unanswered(why).into());
                    };
                    // One of an earlier session goes with it (CURATOR-604).
                    if stat.ephemeral_owner != session.client().session_id().0 {
                        return Err(Trouble::Unanswered(why).into());
                    }
                    self.name = Some(name);
                    return Ok(stat.czxid);
                }
                Err(trouble) => {
                    self.entered = false;
                    return Err(trouble.into());
                }
            }
        }
        Err(LockError::Unavailable(format!("ZooKeeper removes {} at once", self.directory)))
    }

    /// The number of the transaction that created the node, as its answer has it or, where the
    /// server is too old to say, as the node itself has it.
    async fn created_by(
        &mut self,
        session: &Session,
        stat: Stat,
        until: Instant,
    ) -> Result<i64, Trouble> {
        if !stat.is_invalid() {
            return Ok(stat.czxid);
        }
        self.round_trips += 1;
        let path = self.path();
        let stat = session.insist(until, || session.client().check_stat(&path)).await?;
        stat.map(|stat| stat.czxid).ok_or_else(vanished)
    }

    /// Waits until the node is the first. Leaves the queue where that is not so by `until`.
    pub(super) async fn wait(
        &mut self,
        session: &Session,
        until: Instant,
    ) -> Result<(), LockError> {
        match self.come_first(session, until).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.give_up(session).await),
            // Asked when the time was up already, as like as not.
            Err(Trouble::Unanswered(_)) => Err(self.give_up(session).await),
            Err(trouble) => Err(trouble.into()),
        }
    }

    async fn come_first(&mut self, session: &Session, until: Instant) -> Result<bool, Trouble> {
        let client = session.client();
        loop {
            // Its own node must be among them, whatever the wait ended with: a session can end
            // while it waits, and another's end must not be taken for a turn.
            self.round_trips += 1;
            let names = session.insist(until, || client.list_children(&self.directory)).await?;
            let ahead = match ahead(&names, self.name.as_deref().unwrap_or_default()) {
                Ahead::Nobody => return Ok(true),
                Ahead::Vanished => return Err(vanished()),
                Ahead::Next(name) => self.path_of(name),
            };
            // Reading it, and not asking whether it exists: that would leave a watch behind on
            // the name of a node that is gone.
            self.round_trips += 1;
            match session.insist(until, || client.get_and_watch_data(&ahead)).await {
                Ok((_, _, watcher)) => {
                    if timeout_at(until, watcher.changed()).await.is_err() {
                        return Ok(false);
                    }
                }
                Err(Trouble::Refused(Error::NoNode)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Deletes the node; says how the wait ended.
    async fn give_up(&mut self, session: &Session) -> LockError {
        let path = self.path();
        let until = Instant::now() + LEAVING;
        match session.insist(until, || session.client().delete(&path, None)).await {
            Ok(()) | Err(Trouble::Refused(Error::NoNode)) => {
                self.left();
                LockError::Timeout
            }
            Err(trouble) => trouble.into(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.entered {
            return;
        }
        // Without a session there is no node; without a runtime the session is about to end.
        let (Some(session), Ok(runtime)) = (self.session.upgrade(), Handle::try_current()) else {
            return;
        };
        let name = self.name.take();
        let (directory, prefix) =
            (std::mem::take(&mut self.directory), std::mem::take(&mut self.prefix));
        runtime.spawn(async move { clear(&session, &directory, &prefix, name).await });
    }
}

fn vanished() -> Trouble {
    Trouble::Ended("its node in ZooKeeper is gone".to_owned())
}

/// The holder's node, where there is one.
async fn find(
    session: &Session,
    directory: &str,
    prefix: &str,
    until: Instant,
) -> Result<Option<(String, Stat)>, Trouble> {
    let client = session.client();
    // Another server than the one that did it may not have heard of it yet.
    session.insist(until, || client.sync(directory)).await?;
    let names = session.insist(until, || client.list_children(directory)).await?;
    let Some(name) = names.into_iter().find(|name| name.starts_with(prefix)) else {
        return Ok(None);
    };
    let path = format!("{directory}/{name}");
    let stat = session.insist(until, || client.check_stat(&path)).await?;
    Ok(stat.map(|stat| (name, stat)))
}

/// Deletes the holder's node, however long that takes: it ends with the session at the latest,
/// and as long as that lasts the node would be in everybody's way.
async fn clear(session: &Session, directory: &str, prefix: &str, mut name: Option<String>) {
    loop {
        let until = Instant::now() + session.timeout();
        let cleared = async {
            if name.is_none() {
                name = find(session, directory, prefix, until).await?.map(|(name, _)| name);
            }
            let Some(name) = &name else { return Ok(()) };
            let path = format!("{directory}/{name}");
            session.insist(until, || session.client().delete(&path, None)).await
        };
        if !matches!(cleared.await, Err(Trouble::Unanswered(_))) {
            return;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ahead<'a> {
    Nobody,
    /// The last of those before.
    Next(&'a str),
    /// The own node is not there.
    Vanished,
}

/// Who comes right before `own`.
fn ahead<'a>(names: &'a [String], own: &str) -> Ahead<'a> {
    let Some(mine) = names.iter().find(|name| *name == own).and_then(|name| sequence(name)) else {
        return Ahead::Vanished;
    };
    // How far behind: below zero is in front. The server's counter is a 32-bit one that wraps
    // round, so that the distance has a meaning and the order of the numbers has none.
    let behind = |name: &'a String| Some((sequence(name)?.wrapping_sub(mine), name));
    let before = names.iter().filter_map(behind).filter(|(distance, _)| *distance < 0);
    before.max().map_or(Ahead::Nobody, |(_, name)| Ahead::Next(name))
}

/// The number that the server put at the end of a name; nothing where it is not of a place.
fn sequence(name: &str) -> Option<i32> {
    let (_, digits) = name.rsplit_once(SEPARATOR)?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_sequence_alone_says_who_is_first() {
        let queue = names(&["c-n-0000000001", "a-n-0000000003", "b-n-0000000002", "lost+found"]);
        assert_eq!(ahead(&queue, "c-n-0000000001"), Ahead::Nobody);
        assert_eq!(ahead(&queue, "b-n-0000000002"), Ahead::Next("c-n-0000000001"));
        assert_eq!(ahead(&queue, "a-n-0000000003"), Ahead::Next("b-n-0000000002"));
    }

    #[test]
    fn whoever_is_not_in_the_queue_is_not_first_in_it() {
        assert_eq!(ahead(&names(&["a-n-0000000003"]), "b-n-0000000002"), Ahead::Vanished);
        assert_eq!(ahead(&[], ""), Ahead::Vanished);
    }

    #[test]
    fn the_order_outlives_the_end_of_the_numbers() {
        let queue = names(&["b-n--2147483648", "a-n-2147483647", "c-n--2147483647"]);
        assert_eq!(ahead(&queue, "a-n-2147483647"), Ahead::Nobody);
        assert_eq!(ahead(&queue, "b-n--2147483648"), Ahead::Next("a-n-2147483647"));
        assert_eq!(ahead(&queue, "c-n--2147483647"), Ahead::Next("b-n--2147483648"));
    }
}
