//! `reserve`: the seat is reserved until a date, and nothing is held while the user thinks.
//!
//! The rule: a reservation that runs out by the shard's clock is nobody's, whether or not anybody
//! has swept it away. So it needs nobody who stays alive, and paying checks it in the statement
//! that sells.
//!
//! ```text
//! office                 shard
//!   reserve                      available → reserved, until a date
//!   … the user thinks …          no lock, no transaction; others are told at once
//!   pay                          reserved → sold, if it still is this user's
//! ```
//!
//! | the office dies | the seat |
//! | --- | --- |
//! | before or while it reserves | is free, or reserved until its date |
//! | before it has paid | is free again at that date: for the next user, or by the sweeper |
//! | after it | is sold |
//!
//! What it costs: a second short transaction; and a user who thinks for too long loses the seat.

use std::sync::Arc;

use tokio::time::Instant;

use crate::ledger::seat::{self, Seat};
use crate::seats::office::{BoxOffice, Thought};
use crate::seats::{Ending, User, Way};

/// Buys `seat`.
pub async fn buy(office: &Arc<BoxOffice>, seat: Seat, user: &User) -> Ending {
    let (id, shard, hold) = (seat.id, seat.shard, office.terms().hold);
    let sent = Instant::now();
    let reserved =
        office.ask(shard, async |session| seat::reserve(session, id, user.id, hold).await).await;
    match reserved {
        Ok(true) => office.held(user, sent.elapsed()),
        Ok(false) => return Ending::NotFree,
        Err(failure) => return office.not_done(&failure),
    }

    if user.abandons {
        // Nothing is to be done about it.
        return Ending::Abandoned;
    }
    if office.think(user.thinks).await == Thought::Dismissed {
        let given_back =
            office.ask(shard, async |session| seat::give_back(session, id, user.id).await).await;
        return given_back.map_or_else(|failure| office.not_done(&failure), |_| Ending::Dismissed);
    }

    let sent = Instant::now();
    let name = Way::Reserve.name();
    let paid = office.ask(shard, async |session| seat::pay(session, id, user.id, name).await).await;
    match paid {
        Ok(true) => {
            office.held(user, sent.elapsed());
            Ending::Sold
        }
        Ok(false) => Ending::Late,
        Err(failure) => office.not_sold(&failure),
    }
}
