//! Everything that one call of `bench` found out: what the reports are made of.

use serde::Serialize;

use crate::bench::plan::Point;
use crate::bench::recorder::Interval;
use crate::bench::standing::Standing;
use crate::bench::summary::Summary;
use crate::config::BenchConfig;
use crate::shards::facts::ShardFacts;

/// The version of the files' columns and keys.
pub const SCHEMA_VERSION: u32 = 1;

/// What made the results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Its version.
    pub version: String,
    /// The commit that it was built from, or `unknown`.
    pub commit: String,
    /// How it was built: `release` or `debug`.
    pub profile: String,
}

impl Tool {
    /// This very tool.
    #[must_use]
    pub fn this() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("SHARDBANK_COMMIT").unwrap_or("unknown").to_owned(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        }
    }
}

/// The machine that the load came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Host {
    /// Its operating system and architecture.
    pub platform: String,
    /// Processors that this process may use.
    pub cores: u32,
    /// Bytes of memory, where the system says.
    pub memory_bytes: Option<u64>,
}

/// The shards of one or several points.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ClusterFacts {
    /// The cluster's identity.
    pub cluster: String,
    /// Whether the tool started the servers itself.
    pub local: bool,
    /// Its shards in order.
    pub shards: Vec<ShardFacts>,
    /// Lock servers, in words: private ones that were started beside it, and how durable each is;
    /// those that were named, and whether they are reached over TLS.
    pub lock_servers: Vec<String>,
}

/// A strategy that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Which.
    pub strategy: String,
    /// Why, and what to do.
    pub reason: String,
}

/// One call of `bench`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// The version of this structure.
    pub schema_version: u32,
    /// The name of its folder; the beginning of its rows' ids.
    pub id: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// What made it.
    pub tool: Tool,
    /// The configuration in effect.
    pub config: BenchConfig,
    /// The seed, wherever it came from.
    pub seeds: Vec<u64>,
    /// Where the load came from.
    pub host: Host,
    /// The shards.
    pub clusters: Vec<ClusterFacts>,
    /// The points of the sweep.
    pub points: Vec<Point>,
    /// Runs that were planned.
    pub runs_planned: usize,
    /// Whether all of them were made.
    pub complete: bool,
    /// The strategy that the others are compared with.
    pub reference: String,
    /// Strategies that `all` stands for and that cannot be had here.
    pub skipped: Vec<Skipped>,
    /// A row for each run, in the order in which they were made.
    pub summaries: Vec<Summary>,
    /// A row for each strategy at each point.
    pub standings: Vec<Standing>,
    /// What concerns all rows.
    pub warnings: Vec<String>,
}

/// The intervals of one run, for `intervals.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct RunIntervals {
    /// The run's row.
    pub run_id: String,
    /// When its measured window began, in microseconds since 1970.
    pub began_us: i64,
    /// The strategy with its options.
    pub strategy: String,
    /// Which block, counted from 1.
    pub run: u32,
    /// The length of the load; what ends after it was drained.
    pub load_ns: Option<u64>,
    /// The intervals.
    pub intervals: Vec<Interval>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::standing::standings;
    use crate::bench::summary::tests::summary;

    /// Five blocks of two strategies, for the tests of reports.
    pub fn results() -> Results {
        let mut summaries = Vec::new();
        for run in 1..=5 {
            summaries.push(summary("same-shard", run, 50));
            summaries.push(summary("2pc:log=file", run, 200));
        }
        Results {
            schema_version: SCHEMA_VERSION,
            id: "20260102T030405Z-test".to_owned(),
            started_at: "2026-01-02T03:04:05Z".to_owned(),
            tool: Tool::this(),
            config: BenchConfig::defaults(),
            seeds: vec![1],
            host: Host { platform: "linux x86_64".to_owned(), cores: 2, memory_bytes: None },
            clusters: vec![ClusterFacts::default()],
            points: vec![summaries[0].point],
            skipped: Vec::new(),
            runs_planned: 10,
            complete: true,
            reference: "same-shard".to_owned(),
            standings: standings(&summaries, "same-shard"),
            summaries,
            warnings: Vec::new(),
        }
    }
}
