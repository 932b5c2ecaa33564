//! What the shards hold, a module a table, and the storage verbs on Postgres that are made of
//! them.

mod back_off;
pub mod books;
pub mod box_office;
mod committers;
pub mod effect;
pub mod fenced;
pub mod folding;
pub mod inspection;
pub mod leg;
pub mod messenger;
pub mod pools;
pub mod postgres;
mod postgres_locks;
pub mod recovering;
pub mod reset;
pub mod seat;
