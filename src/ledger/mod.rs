//! What the shards hold, a module a table, and the storage verbs on Postgres that are made of
//! them.

mod back_off;
pub mod books;
pub mod box_office;
mod committers;
pub mod effect;
pub mod events;
pub mod fenced;
pub mod folding;
mod hold;
pub mod inspection;
pub mod leg;
pub mod messenger;
pub mod pools;
pub mod postgres;
mod postgres_events;
mod postgres_holds;
mod postgres_locks;
mod postgres_sagas;
pub mod recent;
pub mod recovering;
mod relays;
pub mod reset;
mod retiring;
mod saga_steps;
pub mod seat;
