//! `lock-…`: a lock by a service is held through the whole checkout.
//!
//! The rule: the lock keeps others out for as long as it is really held, and its holder is the
//! last to learn that it is gone. So the seat is claimed with the lock's fence before anything is
//! done on its strength, and the statement that sells checks that fence.
//!
//! ```text
//! office                 lock service        shard
//!   lock the seat          granted
//!   claim                                      the fence is raised, if the seat is unsold
//!   … the user thinks …    renewed; others wait
//!   sell                                       sold, if nobody else has claimed it since
//!   unlock                 free
//! ```
//!
//! | the office dies | the seat |
//! | --- | --- |
//! | before it has sold | is free when the lock runs out, or goes with its session |
//! | after it | is sold; the lock goes the same way |
//! | it is stopped, and wakes up | is what others made of it: the sale is fenced out |
//!
//! What it costs: the service's messages on top of two short transactions, and everybody who wants
//! the seat waits, as for a row; but no transaction stays open.

use std::sync::Arc;

use tokio::time::Instant;

use crate::ledger::seat::{self, Seat};
use crate::seats::office::{BoxOffice, Thought};
use crate::seats::{Ending, User, Way};
use crate::strategies::LockServiceName;
use crate::verbs::locking::{Lock, LockError};

/// Buys `seat`.
pub async fn buy(
    office: &Arc<BoxOffice>,
    service: LockServiceName,
    seat: Seat,
    user: &User,
) -> Ending {
    let lock = match office.lock(seat).await {
        Ok(lock) => lock,
        Err(LockError::Timeout) => return Ending::LockTimeout,
        Err(error) => {
            office.complain(&error);
            return Ending::Failed;
        }
    };
    let since = Instant::now();
    let (id, fence) = (seat.id, lock.fence());
    let claimed =
        office.ask(seat.shard, async |session| seat::claim(session, id, fence).await).await;

    let turned_away = match claimed {
        Ok(true) => None,
        Ok(false) => Some(Ending::NotFree),
        Err(failure) => Some(office.not_done(&failure)),
    };
    if let Some(ending) = turned_away {
        release(office, lock).await;
        return ending;
    }

    if user.abandons {
        let told = Arc::clone(office);
        office.leave_behind(user, since, async move { release(&told, lock).await });
        return Ending::Abandoned;
    }
    let ending = think_and_sell(office, service, seat, user, lock.as_ref()).await;
    release(office, lock).await;
    office.held(user, since.elapsed());
    ending
}

async fn think_and_sell(
    office: &BoxOffice,
    service: LockServiceName,
    seat: Seat,
    user: &User,
    lock: &dyn Lock,
) -> Ending {
    let hold = office.terms().hold;
    if office.think(user.thinks.min(hold)).await == Thought::Dismissed {
        return Ending::Dismissed;
    }
    let is_over = lock.stop_at().is_some_and(|at| at <= Instant::now());
    if user.thinks > hold || is_over {
        return Ending::Late;
    }
    let (fence, name) = (lock.fence(), Way::UnderLock(service).name());
    let sold = office
        .ask(seat.shard, async |session| {
            seat::sell_under_fence(session, seat.id, user.id, fence, name).await
        })
        .await;
    match sold {
        Ok(true) => Ending::Sold,
        // It is sold, or somebody with a later grant has claimed it.
        Ok(false) => Ending::Late,
        Err(failure) => office.not_sold(&failure),
    }
}

/// Gives a lock back; what cannot be given back runs out.
async fn release(office: &BoxOffice, lock: Box<dyn Lock>) {
    if let Err(error) = lock.release().await {
        office.complain(&error);
    }
}
