//! Measuring: which transfers are ordered, when, and what they took.
//!
//! The rule: clients do next to nothing but transfers. Each notes what it saw in a buffer of its
//! own and hands it over now and then; all histograms are kept elsewhere. `bench` does not know
//! which strategy it drives, and prints and writes nothing.

pub mod auditor;
pub mod comparing;
pub mod connector;
pub mod driver;
pub mod durations;
#[cfg(test)]
pub(crate) mod fake;
mod job;
pub mod load;
pub mod plan;
pub mod recorder;
pub mod results;
pub mod sample;
pub mod seats;
pub mod setback;
pub mod skew;
pub mod standing;
pub mod statistics;
pub mod summary;
pub mod tally;
pub mod trace;
pub mod wal;
pub mod workload;
