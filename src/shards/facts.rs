//! What one server says about itself, and what follows from it for a result.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// Settings that a result cannot be judged without.
const SETTINGS: [&str; 20] = [
    "autovacuum",
    "checkpoint_timeout",
    "commit_delay",
    "commit_siblings",
    "data_checksums",
    "default_transaction_isolation",
    "fsync",
    "full_page_writes",
    "huge_pages",
    "jit",
    "max_connections",
    "max_prepared_transactions",
    "max_wal_size",
    "shared_buffers",
    "synchronous_commit",
    "synchronous_standby_names",
    "wal_buffers",
    "wal_compression",
    "wal_level",
    "wal_sync_method",
];

/// How often the round trip is measured; the quickest counts.
const ROUND_TRIPS: u32 = 5;

/// A clock that differs by more than this, and by more than the round trip explains, is told.
const CLOCK_SKEW_MAX: Duration = Duration::from_millis(500);

/// One shard, as found before the first transfer. Part of every result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardFacts {
    /// `host:port/database`.
    pub name: String,
    /// As the server spells it.
    pub server_version: String,
    /// Given by `initdb`; a copy of a data directory has the same.
    pub system_identifier: String,
    /// Those that a result cannot be judged without.
    pub settings: BTreeMap<String, String>,
    /// The quickest of five round trips of an empty question, in microseconds.
    pub round_trip_us: u64,
    /// The server's clock less this machine's, in microseconds, give or take half a round trip.
    pub clock_skew_us: i64,
    /// Whether what the server calls committed survives a crash of its machine.
    pub durable: bool,
    /// What makes results less than they seem, each one line.
    pub warnings: Vec<String>,
    /// What is left of the server's limits.
    pub capacity: Capacity,
}

/// What a server has left, for everybody who shares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// `max_prepared_transactions`.
    pub prepared_transactions_max: i64,
    /// Taken already, in all its databases.
    pub prepared_transactions_used: i64,
    /// Connections that plain roles may have.
    pub connections_max: i64,
    /// Taken already, in all its databases.
    pub connections_used: i64,
}

/// Asks the server. `name` is how the shard is called.
///
/// # Errors
/// The server did not answer.
pub(super) async fn gather(client: &Client, name: &str) -> Result<ShardFacts, Error> {
    let settings = "select name, pg_catalog.current_setting(name) from pg_catalog.pg_settings \
         where name = any($1)";
    let rows = client.query(settings, &[&SETTINGS.as_slice()]).await?;
    let settings: BTreeMap<String, String> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let one = "select pg_catalog.current_setting('server_version'), \
         (select system_identifier::text from pg_catalog.pg_control_system()), \
         pg_catalog.current_setting('max_prepared_transactions')::int8, \
         (select count(*) from pg_catalog.pg_prepared_xacts), \
         pg_catalog.current_setting('max_connections')::int8 \
           - pg_catalog.current_setting('superuser_reserved_connections')::int8 \
           - coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::int8, \
         (select sum(numbackends)::int8 from pg_catalog.pg_stat_database where datid <> 0)";
    let row = client.query_one(one, &[]).await?;
    let (round_trip, clock_skew_us) = round_trip(client).await?;
    let mut facts = ShardFacts {
        name: name.to_owned(),
        server_version: row.get(0),
        system_identifier: row.get(1),
        round_trip_us: u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX),
        clock_skew_us,
        durable: true,
        warnings: Vec::new(),
        capacity: Capacity {
            prepared_transactions_max: row.get(2),
            prepared_transactions_used: row.get(3),
            connections_max: row.get(4),
            connections_used: row.get(5),
        },
        settings,
    };
    judge(&mut facts);
    Ok(facts)
}

/// Draws the conclusions. `synchronous_commit` is not looked at: every session sets its own.
fn judge(facts: &mut ShardFacts) {
    for (setting, loss) in [
        ("fsync", "a crash of the machine loses committed transfers or the whole database"),
        ("full_page_writes", "a crash of the machine may corrupt pages"),
    ] {
        if facts.settings.get(setting).is_some_and(|value| value == "off") {
            facts.durable = false;
            facts.warnings.push(format!(
                "{setting} = off: {loss}; results are marked durable = false; set {setting} = on"
            ));
        }
    }
    let skew = Duration::from_micros(facts.clock_skew_us.unsigned_abs());
    if skew > CLOCK_SKEW_MAX + Duration::from_micros(facts.round_trip_us) {
        facts.warnings.push(format!(
            "its clock differs from this machine's by {:.1} s; times from both do not compare; \
             synchronise the clocks",
            skew.as_secs_f64()
        ));
    }
}

/// The quickest round trip, and the skew seen during it.
async fn round_trip(client: &Client) -> Result<(Duration, i64), Error> {
    let mut best = (Duration::MAX, 0);
    for _ in 0..ROUND_TRIPS {
        let (sent, started) = (SystemTime::now(), Instant::now());
        let answer = client
            .simple_query("select (extract(epoch from clock_timestamp()) * 1000000)::int8")
            .await?;
        let taken = started.elapsed();
        if taken >= best.0 {
            continue;
        }
        let midway = (sent + taken / 2).duration_since(UNIX_EPOCH).unwrap_or_default();
        let theirs = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse::<i64>().ok(),
            _ => None,
        });
        let ours = i64::try_from(midway.as_micros()).unwrap_or(i64::MAX);
        best = (taken, theirs.unwrap_or(ours).saturating_sub(ours));
    }
    Ok(best)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn facts() -> ShardFacts {
        ShardFacts {
            name: "h:1/d".to_owned(),
            server_version: "15.18".to_owned(),
            system_identifier: "1".to_owned(),
            settings: BTreeMap::new(),
            round_trip_us: 100,
            clock_skew_us: 0,
            durable: true,
            warnings: Vec::new(),
            capacity: Capacity {
                prepared_transactions_max: 64,
                prepared_transactions_used: 0,
                connections_max: 97,
                connections_used: 2,
            },
        }
    }

    #[test]
    fn a_server_that_does_not_flush_is_not_durable() {
        for (setting, value, durable) in [
            ("fsync", "off", false),
            ("full_page_writes", "off", false),
            ("fsync", "on", true),
            // Every session sets it for itself.
            ("synchronous_commit", "off", true),
        ] {
            let mut found = facts();
            found.settings.insert(setting.to_owned(), value.to_owned());
            judge(&mut found);
            assert_eq!((found.durable, found.warnings.is_empty()), (durable, durable), "{setting}");
        }
    }

    #[test]
    fn a_clock_is_told_of_only_where_the_round_trip_does_not_explain_it() {
        for (skew_us, round_trip_us, told) in
            [(400_000, 100, false), (-600_000, 100, true), (900_000, 500_000, false)]
        {
            let mut found = ShardFacts { clock_skew_us: skew_us, round_trip_us, ..facts() };
            judge(&mut found);
            assert_eq!(!found.warnings.is_empty(), told, "{skew_us}");
        }
    }
}
