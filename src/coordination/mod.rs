//! What outlives a coordinator: its epoch, the decisions, and the file that may hold them. One
//! module a table.

pub mod bells;
pub mod bench_lock;
pub mod coordinator;
pub mod decision;
pub mod decision_file;
pub mod decision_log;
pub mod decision_logs;
mod decision_record;
pub mod intent;
pub mod lease;
pub mod lock_epoch;
pub mod outbox;
pub mod presence;
pub mod saga;
