//! The shards as servers: where they are, how to connect, what state they are in.

pub mod cluster;
pub mod connect;
pub mod conninfo;
mod copy_rows;
pub mod creation;
pub mod environment;
pub mod facts;
pub mod failure;
pub mod marker;
pub mod passfile;
mod place;
pub mod preflight;
pub mod prepared;
mod quiet_socket;
pub mod reachable;
pub mod removal;
pub mod schema;
pub mod secret;
mod security;
pub mod session;
pub mod source;
pub mod target;
pub mod tls;
pub mod url;
mod verdicts;
pub mod wal;

pub use connect::ConnectError;
pub use environment::Environment;
pub(crate) use place::is_this_machine;
pub use secret::Secret;
pub use target::{LocalShardParams, ShardTarget, TargetError};
