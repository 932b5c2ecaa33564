//! Measuring the workload of seats.
//!
//! The same rules as for transfers: the run is the unit, every way is in each block once, in an
//! order and for users that are functions of the seed, and nothing of the warm-up is counted. What
//! differs: users mostly think, so clients are tasks of one runtime and not dealt to threads; and
//! a run's rate is that of the seats that were sold before its window closed, because how long
//! the last users go on thinking or waiting says nothing about a rate.

pub mod plan;
pub mod record;
pub mod results;
pub mod run;
pub mod standing;
pub mod users;
