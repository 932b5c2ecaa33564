//! What is told of results, as bytes. Pure: no clock, no file, no terminal.

mod cells;
pub mod csv;
pub mod histograms;
pub mod json;
pub mod markdown;
pub mod seats;
pub mod table;
mod units;
