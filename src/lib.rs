//! shardbank: money transfers between accounts on several Postgres servers, by every
//! coordination strategy that engineers argue about, measured and audited.

pub mod audit;
pub mod bench;
pub mod cli;
pub mod commands;
pub mod config;
pub mod coordination;
pub mod fail_points;
pub mod ledger;
pub mod local;
pub mod outcome;
pub mod shards;
pub mod strategies;
pub mod transfer;
pub mod verbs;
