//! Locks on one Redis or Valkey server: `SET NX PX` with a token, in one script.
//!
//! The rules it keeps:
//!
//! - A lock is a key with a time to live, and its value the holder's id: whoever renews or
//!   releases compares that first, in the server (<https://redis.io/docs/latest/develop/use/patterns/distributed-locks/>).
//! - The token comes from a counter that never expires, raised in the script that grants. The
//!   counter and a random `incarnation` are two fields of *one* hash, so that they are lost
//!   together, whether by `FLUSHALL`, by eviction or by an empty restart: a counter that begins
//!   again has another [`Granted::identity`]. The server's `run_id`, read on the very connection
//!   that grants, tells a replica that was promoted from the master whose data it carries.
//! - An answer that is lost may have been a grant: the lock is taken back by its holder's id,
//!   on the same connection where that still works, since the server answers one in order.
//!
//! One server and not five: what Redlock adds is availability. It gives no more safety, for the
//! lock is only as good as the shards' check of its token, whoever grants it
//! (<https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html>). Replication is
//! asynchronous and a time to live runs on the server's wall clock: two may hold at once.
//!
//! All keys share a hash tag, and so a slot, but the client follows no redirection: it speaks to
//! one server, not to a Redis Cluster. No TLS. Waiting is described in `waiting`.

mod link;
mod settings;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use redis::Script;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use self::link::{Link, Links};
pub use self::settings::{RedisAddressError, RedisSettings};
use self::waiting::{Patience, Waiting};
use super::service::{Granted, Lease, Service};
use crate::verbs::locking::{BoxFuture, HolderId, LockError, LockKey, Released};

/// Grants, or says for how many milliseconds the holder's lease still runs and notes that somebody
/// waits. The second part of the answer is empty where it was refused.
const ACQUIRE: &str = "
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('HSETNX', KEYS[2], 'incarnation', ARGV[3])
  local token = redis.call('HINCRBY', KEYS[2], 'token', 1)
  return {token, redis.call('HGET', KEYS[2], 'incarnation')}
end
redis.call('SET', KEYS[3], '', 'PX', ARGV[4])
return {redis.call('PTTL', KEYS[1]), ''}";

const RENEW: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// Tells those who wait, if anybody does. A user who may not publish still releases.
const RELEASE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.pcall('PUBLISH', ARGV[2], ARGV[3]) end
return 1";

/// How much longer than it is waited for the last answer may take: an attempt that is on its way
/// is nearly always answered at once, and else costs a message that takes it back.
const LAST_ANSWER: Duration = Duration::from_millis(100);

/// A Redis server that grants locks.
#[derive(Debug)]
pub struct Redis(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    links: Links,
    waiting: Arc<Waiting>,
    ttl: Duration,
    acquire: Script,
    renew: Script,
    release: Script,
}

impl Redis {
    /// Connects, and loads the scripts. A grant lasts for `ttl`, to the millisecond.
    ///
    /// # Errors
    /// [`LockError::Unavailable`]: the server does not answer, wants another password, or denies
    /// its user one of `INFO`, `SUBSCRIBE`, `EVALSHA` and `SCRIPT LOAD`.
    pub async fn connect(settings: &RedisSettings, ttl: Duration) -> Result<Self, LockError> {
        let waiting = Arc::new(Waiting::default());
        let scripts = [ACQUIRE, RENEW, RELEASE].map(Script::new);
        let links = Links::new(settings.clone(), scripts.to_vec(), Arc::clone(&waiting));
        let [acquire, renew, release] = scripts;
        let ttl = ttl.max(Duration::from_millis(1));
        let inner = Inner { links, waiting, ttl, acquire, renew, release };
        match inner.links.current().await {
            Ok(_) => Ok(Self(Arc::new(inner))),
            Err(error) => Err(settings.objection().await.unwrap_or(error)),
        }
    }
}

impl Service for Redis {
    fn grant(
        &self,
        key: LockKey,
        holder: HolderId,
        until: Instant,
    ) -> BoxFuture<'_, Result<Granted, LockError>> {
        Box::pin(grant(Arc::clone(&self.0), key, holder, until))
    }
}

async fn grant(
    inner: Arc<Inner>,
    key: LockKey,
    holder: HolderId,
    until: Instant,
) -> Result<Granted, LockError> {
    // Before the first attempt, so that no release between a refusal and the wait is missed.
    let place = inner.waiting.join(key);
    let request = Request { inner, key, holder, link: None };
    let mut claim = Claim { request, may_hold: false };
    let mut patience = Patience::default();
    let mut round_trips = 0;
    let mut gave_up = LockError::Timeout;
    while Instant::now() < until {
        // Dropping the claim takes back what may have been granted.
        let too_late = |_| LockError::Unavailable("Redis: no answer in time".to_owned());
        let answer = timeout_at(until + LAST_ANSWER, claim.attempt()).await.map_err(too_late)?;
        round_trips += 1;
        match answer {
            Ok(Answer::Granted { token, identity, ends_at }) => {
                let (ends_at, lease) = (Some(ends_at), Box::new(claim));
                return Ok(Granted { token, identity, ends_at, round_trips, lease });
            }
            Ok(Answer::Held { left }) => {
                gave_up = LockError::Timeout;
                place.wait(until.min(Instant::now() + patience.next(left))).await;
            }
            Err(error) => {
                if claim.may_hold {
                    round_trips += 1;
                    let taken_back = timeout_at(until + LAST_ANSWER, claim.give_back()).await;
                    taken_back.map_err(too_late)??;
                }
                gave_up = error;
                sleep_until(until.min(Instant::now() + patience.next(None))).await;
            }
        }
    }
    Err(gave_up)
}

enum Answer {
    Granted { token: i64, identity: Arc<str>, ends_at: Instant },
    Held { left: Option<Duration> },
}

/// What is asked of the server: one lock for one holder.
#[derive(Clone)]
struct Request {
    inner: Arc<Inner>,
    key: LockKey,
    holder: HolderId,
    /// On which it was sent last.
    link: Option<Arc<Link>>,
}

impl Request {
    /// The key that is locked, as others see it.
    fn lock(&self) -> String {
        self.inner.links.key(&format!("lock:{}", waiting::name(self.key)))
    }

    /// The key that stands while somebody waits for this lock.
    fn wanted(&self) -> String {
        self.inner.links.key(&format!("wanted:{}", waiting::name(self.key)))
    }

    async fn acquire(&self, link: &Link) -> Result<Answer, LockError> {
        let sent = Instant::now();
        let ttl = self.inner.ttl;
        let mut call = self.inner.acquire.key(self.lock());
        call.key(self.inner.links.key("grants")).key(self.wanted());
        call.arg(self.holder.to_string()).arg(milliseconds(ttl));
        call.arg(HolderId::fresh().to_string()).arg(milliseconds(waiting::WANTED_FOR));
        let answer = call.invoke_async::<(i64, String)>(&mut link.connection()).await;
        let (number, incarnation) = answer.map_err(|error| link.blame(&error))?;
        if incarnation.is_empty() {
            return Ok(Answer::Held {
                left: u64::try_from(number).ok().map(Duration::from_millis),
            });
        }
        let identity = format!("redis:{}:{incarnation}", link.run_id()).into();
        Ok(Answer::Granted { token: number, identity, ends_at: sent + ttl })
    }

    /// Takes the lock off, if it is this holder's.
    async fn give_back(&mut self) -> Result<Released, LockError> {
        let link = match self.link.take().filter(|link| link.works()) {
            // Behind the request that it takes back.
            Some(link) => link,
            None => self.inner.links.current().await?,
        };
        let mut call = self.inner.release.key(self.lock());
        call.key(self.wanted()).arg(self.holder.to_string());
        call.arg(self.inner.links.channel()).arg(waiting::name(self.key));
        let answer = call.invoke_async::<bool>(&mut link.connection()).await;
        let owned = answer.map_err(|error| link.blame(&error))?;
        Ok(if owned { Released::Owned } else { Released::AlreadyGone })
    }

    /// Tries until it is off, or has run out anyway.
    async fn give_back_at_last(mut self) {
        let runs_out = Instant::now() + self.inner.ttl;
        while self.give_back().await.is_err() && Instant::now() < runs_out {
            let pause = rand::rng().random_range(20..200);
            sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// A lock that is, or may be, its holder's: it was asked for and no answer denies it. Dropped, it
/// is given back behind the caller's back.
struct Claim {
    request: Request,
    may_hold: bool,
}

impl Claim {
    async fn attempt(&mut self) -> Result<Answer, LockError> {
        let link = self.request.inner.links.current().await?;
        self.request.link = Some(Arc::clone(&link));
        self.may_hold = true;
        let answer = self.request.acquire(&link).await?;
        self.may_hold = matches!(answer, Answer::Granted { .. });
        Ok(answer)
    }

    async fn give_back(&mut self) -> Result<Released, LockError> {
        let released = self.request.give_back().await?;
        self.may_hold = false;
        Ok(released)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Without a runtime the process is about to end, and the lock runs out.
        if self.may_hold
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(self.request.clone().give_back_at_last());
        }
    }
}

impl Lease for Claim {
    fn renew(&self) -> BoxFuture<'_, Result<Option<Instant>, LockError>> {
        Box::pin(async {
            let Request { inner, holder, .. } = &self.request;
            let link = inner.links.current().await?;
            let sent = Instant::now();
            let mut call = inner.renew.key(self.request.lock());
            call.arg(holder.to_string()).arg(milliseconds(inner.ttl));
            let answer = call.invoke_async::<bool>(&mut link.connection()).await;
            if answer.map_err(|error| link.blame(&error))? {
                Ok(Some(sent + inner.ttl))
            } else {
                Err(LockError::Lost("Redis has it no more, or has granted it again".to_owned()))
            }
        })
    }

    fn release(mut self: Box<Self>) -> BoxFuture<'static, Result<Released, LockError>> {
        Box::pin(async move { self.give_back().await })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
