//! The proof, from the shards alone, that no seat was sold twice; and what is stuck.

use std::time::Duration;

use uuid::Uuid;

use crate::ledger::box_office::{self, SeatBooks};
use crate::ledger::seat::Seat;
use crate::outcome::ShardError;
use crate::seats::office::{BoxOffice, SWEEP_EVERY};
use crate::shards::cluster::Cluster;
use crate::shards::failure::describe;
use crate::transfer::ShardIndex;
use crate::verbs::locking::LockError;

/// Connecting takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A reservation is stuck when it has been over for so many turns of the sweeper.
const TURNS_MISSED: u32 = 4;
/// A lock is left where it cannot be had for so long.
const LOCK_LEFT: Duration = Duration::from_millis(100);
/// More locks that are left are not looked for.
const LOCKS_LEFT_MAX: u64 = 50;

/// What the users were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Users who were told that they have a seat.
    pub sold: u64,
    /// Users who were told that nobody knows, and of whom the shards say nothing.
    pub in_doubt: u64,
}

/// What the shards prove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof {
    /// Payments.
    pub sales: u64,
    /// Payments for a seat that was paid for already.
    pub double_sales: u64,
    /// What must never be, in words.
    pub violations: Vec<String>,
    /// Reservations that are over and were not freed, and rows that are still locked.
    pub stuck: u64,
}

/// Empties the box office of `cluster`.
///
/// # Errors
/// A shard did not do it.
pub async fn empty(cluster: &Cluster) -> Result<(), ShardError> {
    for (shard, client) in (0..).map(ShardIndex).zip(cluster.connect_all(PATIENCE).await?) {
        box_office::empty(&client).await.map_err(|error| describe(shard, &error))?;
    }
    Ok(())
}

/// Tells the servers of `cluster` how many seats there are.
///
/// # Errors
/// A shard did not answer.
pub async fn analyze(cluster: &Cluster) -> Result<(), ShardError> {
    for (shard, client) in (0..).map(ShardIndex).zip(cluster.connect_all(PATIENCE).await?) {
        box_office::analyze(&client).await.map_err(|error| describe(shard, &error))?;
    }
    Ok(())
}

/// Whether any shard of `cluster` knows of a payment by `user`.
///
/// # Errors
/// A shard did not answer.
pub async fn has_bought(cluster: &Cluster, user: Uuid) -> Result<bool, ShardError> {
    for (shard, client) in (0..).map(ShardIndex).zip(cluster.connect_all(PATIENCE).await?) {
        let bought = box_office::has_bought(&client, user).await;
        if bought.map_err(|error| describe(shard, &error))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Audits, when nobody is buying any more.
///
/// # Errors
/// A shard did not answer.
pub async fn audit(cluster: &Cluster, told: Told) -> Result<Proof, ShardError> {
    let mut books = Vec::new();
    for (shard, client) in (0..).map(ShardIndex).zip(cluster.connect_all(PATIENCE).await?) {
        let read = box_office::read(&client, SWEEP_EVERY * TURNS_MISSED).await;
        books.push(read.map_err(|error| describe(shard, &error))?);
    }
    Ok(judge(&books, told))
}

/// Unsold seats whose lock somebody still holds, up to a limit.
///
/// # Errors
/// A line that says who did not answer.
pub async fn locks_left(cluster: &Cluster, office: &BoxOffice) -> Result<u64, String> {
    let mut left = 0;
    let clients = cluster.connect_all(PATIENCE).await.map_err(|error| error.to_string())?;
    for (shard, client) in (0..).map(ShardIndex).zip(clients) {
        let claimed = box_office::claimed(&client).await;
        for id in claimed.map_err(|error| describe(shard, &error).to_string())? {
            if left == LOCKS_LEFT_MAX {
                return Ok(left);
            }
            let locked = office.is_locked(Seat { id, shard }, LOCK_LEFT).await;
            left += u64::from(locked.map_err(|error: LockError| error.to_string())?);
        }
    }
    Ok(left)
}

/// What books say together, beside what was told.
fn judge(books: &[SeatBooks], told: Told) -> Proof {
    let mut proof = Proof::default();
    for (shard, books) in books.iter().enumerate() {
        proof.sales += books.sales.unsigned_abs();
        proof.stuck += (books.expired + books.locked).unsigned_abs();
        for (seat, sales) in &books.sold_twice {
            proof.double_sales += sales.unsigned_abs().saturating_sub(1);
            proof.violations.push(format!("shard {shard}: seat {seat} was sold {sales} times"));
        }
        for seat in &books.contradicted {
            proof
                .violations
                .push(format!("shard {shard}: seat {seat} and its sales contradict each other"));
        }
    }
    let possible = told.sold..=told.sold + told.in_doubt;
    if !possible.contains(&proof.sales) {
        proof.violations.push(format!(
            "the shards hold {} sales; {} users were told that they have a seat, and {} that \
             nobody knows",
            proof.sales, told.sold, told.in_doubt
        ));
    }
    proof
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books() -> SeatBooks {
        SeatBooks { seats: 10, sold: 3, sales: 3, ..SeatBooks::default() }
    }

    #[test]
    fn books_that_agree_with_what_was_told_have_no_violation() {
        let told = Told { sold: 6, in_doubt: 0 };
        let proof = judge(&[books(), books()], told);
        assert_eq!(proof, Proof { sales: 6, ..Proof::default() });
        let unsure = Told { sold: 5, in_doubt: 2 };
        assert_eq!(judge(&[books(), books()], unsure).violations, Vec::<String>::new());
    }

    #[test]
    fn a_seat_that_was_sold_three_times_is_two_double_sales() {
        let twice = SeatBooks { sales: 5, sold_twice: vec![(7, 3)], ..books() };
        let proof = judge(&[books(), twice], Told { sold: 8, in_doubt: 0 });
        assert_eq!(proof.double_sales, 2);
        assert_eq!(proof.violations, ["shard 1: seat 7 was sold 3 times"]);
    }

    #[test]
    fn sales_that_nobody_was_told_of_and_the_reverse_are_violations() {
        for sold in [2, 4] {
            let proof = judge(&[books()], Told { sold, in_doubt: 0 });
            assert_eq!(proof.violations.len(), 1, "{sold}");
        }
        let wrong = SeatBooks { contradicted: vec![4], ..books() };
        assert_eq!(judge(&[wrong], Told { sold: 3, in_doubt: 0 }).violations.len(), 1);
    }

    #[test]
    fn what_is_expired_or_locked_is_stuck() {
        let stuck = SeatBooks { expired: 2, locked: 1, ..books() };
        assert_eq!(judge(&[stuck], Told { sold: 3, in_doubt: 0 }).stuck, 3);
    }
}
