//! The hall: which seats there are, where they live, and which batch of them is on sale.
//!
//! A rate cannot be measured on seats that are gone, so when nobody sees a free seat on a shard
//! the next batch opens there: the same numbers over again, one hall's length on.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use crate::config::SeatsOn;
use crate::ledger::seat::Row;
use crate::transfer::{Routing, ShardIndex};

/// The seats of a run.
pub struct Hall {
    seats: i64,
    seats_on: SeatsOn,
    routing: Routing,
    batches: Vec<Batch>,
}

/// The batch that is on sale on one shard.
#[derive(Default)]
struct Batch {
    /// Counted from 0.
    current: AtomicI64,
    opening: Mutex<()>,
}

impl Hall {
    /// A hall of `seats` seats; at least one a shard that has any.
    #[must_use]
    pub fn new(seats: u64, seats_on: SeatsOn, routing: Routing) -> Self {
        let seats = i64::try_from(seats).expect("seats were checked");
        let batches = routing.shards().map(|_| Batch::default()).collect();
        Self { seats, seats_on, routing, batches }
    }

    /// The shards that have seats.
    pub fn shards(&self) -> impl Iterator<Item = ShardIndex> {
        let count = match self.seats_on {
            SeatsOn::AllShards => usize::MAX,
            SeatsOn::OneShard => 1,
        };
        self.routing.shards().take(count)
    }

    /// Where the seat with this number in its batch lives.
    #[must_use]
    pub fn shard_of(&self, number: u64) -> ShardIndex {
        match self.seats_on {
            SeatsOn::OneShard => ShardIndex(0),
            SeatsOn::AllShards => {
                let shard = (number - 1) % u64::from(self.routing.shard_count());
                ShardIndex(u16::try_from(shard).expect("a remainder of a number of shards"))
            }
        }
    }

    /// The batch that is on sale on `shard`.
    #[must_use]
    pub fn batch(&self, shard: ShardIndex) -> i64 {
        self.of(shard).current.load(Ordering::Acquire)
    }

    /// How many batches have been opened, over all shards.
    #[must_use]
    pub fn opened(&self) -> u64 {
        let opened = |shard| self.batch(shard).unsigned_abs() + 1;
        self.shards().map(opened).sum()
    }

    /// The id of the seat with this number in batch `batch`.
    #[must_use]
    pub fn id(&self, batch: i64, number: u64) -> i64 {
        batch * self.length() + i64::try_from(number).expect("seats were checked")
    }

    /// The seats of batch `batch` on `shard`.
    #[must_use]
    pub fn row(&self, batch: i64, shard: ShardIndex) -> Row {
        let before = batch * self.length();
        let (first, step) = match self.seats_on {
            SeatsOn::OneShard => (1, 1),
            SeatsOn::AllShards => (i64::from(shard.0) + 1, i64::from(self.routing.shard_count())),
        };
        Row { first: before + first, last: before + self.seats, step }
    }

    /// The right to open the batch after `batch` on `shard`; nothing where somebody has.
    pub async fn next(&self, batch: i64, shard: ShardIndex) -> Option<Opening<'_>> {
        let here = self.of(shard);
        let guard = here.opening.lock().await;
        (here.current.load(Ordering::Acquire) == batch)
            .then_some(Opening { batch: here, _guard: guard })
    }

    fn of(&self, shard: ShardIndex) -> &Batch {
        &self.batches[usize::from(shard.0)]
    }

    /// From a seat to the same seat in the next batch: a multiple of the number of shards, so
    /// that both live in one place.
    fn length(&self) -> i64 {
        let shards = u64::from(self.routing.shard_count());
        let length = self.seats.unsigned_abs().next_multiple_of(shards);
        i64::try_from(length).expect("seats were checked")
    }
}

/// The right to open a batch, of one user at a time.
pub struct Opening<'a> {
    batch: &'a Batch,
    _guard: MutexGuard<'a, ()>,
}

impl Opening<'_> {
    /// It is open.
    pub fn done(self) {
        self.batch.current.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_lives_where_its_number_says_in_every_batch() {
        let hall = Hall::new(10, SeatsOn::AllShards, Routing::new(3));
        for batch in 0..4 {
            let mut ids = Vec::new();
            for shard in hall.shards() {
                let Row { first, last, step } = hall.row(batch, shard);
                ids.extend((first..=last).step_by(usize::try_from(step).expect("positive")));
            }
            ids.sort_unstable();
            let numbers: Vec<i64> = (1..=10).map(|number| hall.id(batch, number)).collect();
            assert_eq!(ids, numbers);
            for number in 1..=10 {
                let shard = i64::from(hall.shard_of(number).0);
                assert_eq!((hall.id(batch, number) - 1) % 3, shard);
            }
        }
    }

    #[test]
    fn one_shard_may_have_all() {
        let hall = Hall::new(5, SeatsOn::OneShard, Routing::new(3));
        assert_eq!(hall.shards().collect::<Vec<_>>(), [ShardIndex(0)]);
        assert_eq!(hall.row(0, ShardIndex(0)), Row { first: 1, last: 5, step: 1 });
        assert_eq!(hall.shard_of(5), ShardIndex(0));
    }

    #[tokio::test]
    async fn a_batch_is_opened_by_one_user_alone() {
        let hall = Hall::new(4, SeatsOn::AllShards, Routing::new(2));
        let shard = ShardIndex(1);
        hall.next(0, shard).await.expect("nobody has opened it").done();
        assert!(hall.next(0, shard).await.is_none());
        assert_eq!((hall.batch(shard), hall.batch(ShardIndex(0)), hall.opened()), (1, 0, 3));
        drop(hall.next(1, shard).await.expect("given up"));
        assert_eq!(hall.batch(shard), 1);
    }
}
