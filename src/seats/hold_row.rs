//! `hold-row`: the row's lock is kept through the whole checkout, in one transaction.
//!
//! The rule: nobody else can touch the seat until this transaction ends. It is the simplest way
//! and safe by itself: the server forgets the lock with its session.
//!
//! ```text
//! office                 shard
//!   begin; select … for update   the row is locked
//!   … the user thinks …          it stays locked, and a connection with it; others wait
//!   sell; commit                 it is free
//! ```
//!
//! | the office dies | the seat |
//! | --- | --- |
//! | before the commit | is as it was, as soon as the server sees that the session is gone |
//! | after it | is sold |
//!
//! What it costs: everybody who wants the seat waits for as long as its user thinks, with a
//! connection each, only to be told that it is gone.

use std::sync::Arc;

use tokio::time::Instant;

use crate::ledger::seat::{HeldRow, Seat};
use crate::seats::office::{BoxOffice, Thought};
use crate::seats::{Ending, User, Way};

/// Buys `seat`.
pub async fn buy(office: &Arc<BoxOffice>, seat: Seat, user: &User) -> Ending {
    let row = match HeldRow::take(office.pools(), seat).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ending::NotFree,
        Err(failure) => return office.not_done(&failure),
    };
    let since = Instant::now();

    if user.abandons {
        let told = Arc::clone(office);
        office.leave_behind(user, since, async move {
            if let Err(failure) = row.let_go().await {
                told.complain(&failure.error);
            }
        });
        return Ending::Abandoned;
    }
    let hold = office.terms().hold;
    let thought = office.think(user.thinks.min(hold)).await;
    if thought == Thought::Dismissed || user.thinks > hold {
        let let_go = row.let_go().await;
        office.held(user, since.elapsed());
        if let Err(failure) = let_go {
            return office.not_done(&failure);
        }
        return if thought == Thought::Dismissed { Ending::Dismissed } else { Ending::Late };
    }

    let sold = row.sell(user.id, Way::HoldRow.name()).await;
    office.held(user, since.elapsed());
    match sold {
        Ok(true) => Ending::Sold,
        Ok(false) => Ending::NotFree,
        Err(failure) => office.not_sold(&failure),
    }
}
