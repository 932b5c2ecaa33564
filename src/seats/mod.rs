//! Seats: the workload that the reservation pattern was born from. A user looks for a free seat,
//! thinks, and pays; the ways differ in what keeps the seat meanwhile.
//!
//! | way | keeps the seat by | while the user thinks |
//! | --- | --- | --- |
//! | [`hold_row`] | the row's lock | a transaction and its connection stay open, and others wait |
//! | [`reserve`] | a date in the row | nothing is held: others are told at once |
//! | [`under_lock`] | a lock by a service, and a fence | a lock is held and renewed, and others wait |
//!
//! Each is a file, to be read side by side. All of them give a seat up again after the hold time:
//! a reservation by the shard's clock, whoever is still alive; the others by the clock of the
//! process that holds it, for which their TTL or their connection's end is only the net. A seat
//! is sold by one statement that checks what it rests on and writes the sale with it.
//!
//! Absent: money. A sale is a row and moves no balance, because the seat is the contended thing;
//! paying across shards is what the strategies are for.

pub mod books;
pub mod hall;
pub mod hold_row;
pub mod office;
pub mod reserve;
pub mod under_lock;
pub mod way;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

pub use way::Way;

use crate::ledger::seat::Seat;
use office::BoxOffice;

/// Somebody who would like a seat. One user comes once.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// Who, by an id that nobody else has.
    pub id: Uuid,
    /// When the user came.
    pub came_at: Instant,
    /// The seat that the user would like best, counted from 1 within a batch.
    pub prefers: u64,
    /// How long the user thinks before paying.
    pub thinks: Duration,
    /// Whether the user walks away without a word instead.
    pub abandons: bool,
}

/// How a user's visit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With a seat.
    Sold,
    /// Turned away: the seat that seemed free was not, or none was.
    NotFree,
    /// Turned away: others held the seat, or its lock, for as long as it was waited for.
    LockTimeout,
    /// Walked away without a word.
    Abandoned,
    /// Paid too late: the seat was not the user's any more.
    Late,
    /// The tool, a connection or a lock service failed; nothing was sold, for certain.
    Failed,
    /// Not known.
    InDoubt,
    /// Sent home because the run was stopped.
    Dismissed,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Sold,
        Self::NotFree,
        Self::LockTimeout,
        Self::Abandoned,
        Self::Late,
        Self::Failed,
        Self::InDoubt,
        Self::Dismissed,
    ];
}

/// A user's visit, from looking to leaving, by `way`.
pub async fn visit(office: &Arc<BoxOffice>, way: Way, user: &User) -> Ending {
    match office.look(user).await {
        Ok(Some(seat)) => buy(office, way, seat, user).await,
        Ok(None) => Ending::NotFree,
        Err(failure) => office.not_done(&failure),
    }
}

/// The rest of a visit by a user who has chosen `seat`.
pub async fn buy(office: &Arc<BoxOffice>, way: Way, seat: Seat, user: &User) -> Ending {
    match way {
        Way::HoldRow => hold_row::buy(office, seat, user).await,
        Way::Reserve => reserve::buy(office, seat, user).await,
        Way::UnderLock(service) => under_lock::buy(office, service, seat, user).await,
    }
}
