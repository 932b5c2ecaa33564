//! Measuring: which transfers are ordered, when, and what they took.
//!
//! The rule: clients do next to nothing but transfers. Each notes what it saw in a buffer of its
//! own and hands it over now and then; all histograms are kept elsewhere. `bench` does not know
//! which strategy it drives, and prints and writes nothing.

pub mod driver;
pub mod durations;
#[cfg(test)]
mod fake;
mod job;
pub mod load;
pub mod plan;
pub mod recorder;
pub mod sample;
pub mod statistics;
pub mod tally;
pub mod trace;
pub mod workload;
