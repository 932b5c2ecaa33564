//! The users who come: which seat each prefers, how long each thinks, who walks away; a pure
//! function of the seed, but for the ids.

use std::time::Duration;

use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::time::Instant;
use uuid::Uuid;

use crate::bench::seats::plan::SeatPoint;
use crate::bench::workload::{Drawer, Orders, stream};
use crate::seats::User;

/// The streams beside those of preferences, which are numbered below.
const THINKING: u64 = 16;
const ABANDONING: u64 = 17;

/// The endless row of users whom one client stands for.
pub struct Users {
    preferences: Orders,
    thinking: Xoshiro256PlusPlus,
    abandoning: Xoshiro256PlusPlus,
    think: Duration,
    abandon_percent: f64,
}

impl Users {
    /// The users of one client.
    #[must_use]
    pub fn new(point: &SeatPoint, drawer: Drawer) -> Self {
        let words = [u64::from(drawer.block), drawer.stretch as u64, u64::from(drawer.client)];
        let [block, stretch, client] = words;
        let stream = |kind| stream(point.seed, [block, stretch, client, kind]);
        Self {
            preferences: point.preferences().orders(drawer),
            thinking: stream(THINKING),
            abandoning: stream(ABANDONING),
            think: point.think,
            abandon_percent: point.abandon_percent,
        }
    }

    /// The next user, who comes now.
    pub fn next_user(&mut self) -> User {
        let prefers = self.preferences.next_order().source.get().unsigned_abs();
        // The inverse of the exponential distribution; 1 − u is never 0.
        let times = -(1.0 - self.thinking.random::<f64>()).ln();
        User {
            id: Uuid::new_v4(),
            came_at: Instant::now(),
            prefers,
            thinks: self.think.mul_f64(times),
            abandons: self.abandoning.random::<f64>() * 100.0 < self.abandon_percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::seats::plan::tests::plan;
    use crate::bench::workload::Stretch;

    fn users(client: u32, count: usize) -> Vec<User> {
        let point = plan(|_| {}).expect("valid").points[0];
        let drawer = Drawer { block: 0, stretch: Stretch::Measured, client };
        let mut users = Users::new(&point, drawer);
        (0..count).map(|_| users.next_user()).collect()
    }

    #[test]
    fn the_same_seed_sends_the_same_users_under_ids_of_their_own() {
        let of = |user: &User| (user.prefers, user.thinks, user.abandons);
        let (one, two) = (users(3, 200), users(3, 200));
        assert!(one.iter().zip(&two).all(|(a, b)| of(a) == of(b) && a.id != b.id));
        assert!(users(4, 200).iter().zip(&two).any(|(a, b)| of(a) != of(b)));
    }

    #[test]
    fn users_think_for_the_mean_on_average_and_walk_away_as_often_as_asked() {
        let users = users(0, 20_000);
        let mean = users.iter().map(|user| user.thinks.as_secs_f64()).sum::<f64>() / 20_000.0;
        assert!((mean - 0.1).abs() < 0.003, "{mean}");
        let abandon = users.iter().filter(|user| user.abandons).count();
        assert!((900..1100).contains(&abandon), "{abandon}");
        assert!(users.iter().all(|user| (1..=2000).contains(&user.prefers)));
    }
}
