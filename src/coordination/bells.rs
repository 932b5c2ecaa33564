//! Who of this process is woken by whom: callers by the ends of their transfers, relays by the
//! writing of events. All threads share it. It only saves waiting: whoever is not woken looks for
//! himself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::transfer::{ShardIndex, TransferId};
use crate::verbs::events::{Settled, Slot, Ticket};

/// So many tickets are kept before those of callers that went away are cleared out.
const TICKETS: usize = 1024;

/// The bells of one process.
#[derive(Clone, Default)]
pub struct Bells(Arc<Belfry>);

#[derive(Default)]
struct Belfry {
    tickets: Mutex<HashMap<TransferId, Weak<Slot>>>,
    shards: Mutex<HashMap<ShardIndex, Arc<ShardBell>>>,
    /// Messages of relays that no transfer was charged for yet.
    messages: AtomicU32,
}

/// What belongs to the events of one shard.
#[derive(Default)]
pub struct ShardBell {
    /// Rung when one is written.
    pub written: Notify,
    /// Whose turn it is, of this process, to relay them. Others stand by.
    pub turn: tokio::sync::Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bells {
    /// A ticket that is found under `transfer` for as long as it lives.
    #[must_use]
    pub fn expect(&self, transfer: TransferId) -> Ticket {
        let ticket = Ticket::default();
        let mut tickets = lock(&self.0.tickets);
        if tickets.len() >= TICKETS && tickets.len() == tickets.capacity() {
            tickets.retain(|_, slot| slot.strong_count() > 0);
        }
        tickets.insert(transfer, ticket.slot());
        ticket
    }

    /// What belongs to the events of `shard`.
    #[must_use]
    pub fn of(&self, shard: ShardIndex) -> Arc<ShardBell> {
        Arc::clone(lock(&self.0.shards).entry(shard).or_default())
    }

    /// A relay has sent a message.
    pub fn spent(&self) {
        self.0.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// Transfers have ended. Whoever of this process waits for one is woken, and charged its share
    /// of what relays have sent since others were: over all transfers, every message once.
    pub fn ended(&self, ends: impl Iterator<Item = (TransferId, Settled)>) {
        let mut tickets = lock(&self.0.tickets);
        let awaited: Vec<(Arc<Slot>, Settled)> = ends
            .filter_map(|(transfer, settled)| {
                Some((tickets.remove(&transfer)?.upgrade()?, settled))
            })
            .collect();
        drop(tickets);
        let Ok(count) = u32::try_from(awaited.len()) else { return };
        if count == 0 {
            return;
        }
        let messages = self.0.messages.swap(0, Ordering::Relaxed);
        for (place, (slot, settled)) in (0..).zip(awaited) {
            slot.put(settled, messages / count + u32::from(place < messages % count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_a_relay_is_charged_to_one_transfer() {
        let bells = Bells::default();
        let ids = [(); 3].map(|()| TransferId::fresh());
        let tickets = ids.map(|id| bells.expect(id));
        (0..7).for_each(|_| bells.spent());
        bells.ended(ids[..2].iter().map(|id| (*id, Settled::Completed)));
        bells.spent();
        bells.ended(ids.iter().map(|id| (*id, Settled::Completed)));
        let charged = tickets.map(|ticket| ticket.ended());
        let completed = |messages| Some((Settled::Completed, messages));
        assert_eq!(charged, [completed(4), completed(3), completed(1)]);
    }

    #[test]
    fn a_caller_that_went_away_is_woken_by_nobody_and_kept_by_nobody() {
        let bells = Bells::default();
        for _ in 0..10 * TICKETS {
            drop(bells.expect(TransferId::fresh()));
        }
        assert!(lock(&bells.0.tickets).len() < 4 * TICKETS);
    }
}
