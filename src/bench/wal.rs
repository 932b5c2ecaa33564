//! What a run made the servers write.

use serde::Serialize;

use crate::shards::wal::ServerWal;

/// Write-ahead log of all servers together, and syncs of a decision log in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct WalUse {
    /// Forced writes of the servers' logs.
    pub flushes: u64,
    /// Bytes of the servers' logs.
    pub bytes: u64,
    /// Syncs of the coordinator's own decision log.
    pub file_syncs: u64,
}

/// What was written between two readings; nothing where a server was restarted or its counters
/// were reset in between, for then nobody knows.
#[must_use]
pub fn between(before: &[ServerWal], after: &[ServerWal], file_syncs: u64) -> Option<WalUse> {
    if before.len() != after.len() {
        return None;
    }
    let mut sum = WalUse { file_syncs, ..WalUse::default() };
    for (before, after) in before.iter().zip(after) {
        if before.server != after.server {
            return None;
        }
        sum.flushes += u64::try_from(after.flushes - before.flushes).ok()?;
        sum.bytes += u64::try_from(after.bytes - before.bytes).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(started: i64, flushes: i64, bytes: i64) -> ServerWal {
        ServerWal { server: (started, 5432), flushes, bytes }
    }

    #[test]
    fn the_use_is_the_difference_summed_over_servers() {
        let before = [server(1, 10, 1000), server(2, 5, 500)];
        let after = [server(1, 14, 1600), server(2, 6, 700)];
        let used = WalUse { flushes: 5, bytes: 800, file_syncs: 3 };
        assert_eq!(between(&before, &after, 3), Some(used));
    }

    #[test]
    fn a_restarted_or_reset_server_makes_the_use_unknown() {
        assert_eq!(between(&[server(1, 9, 9)], &[server(7, 10, 10)], 0), None);
        assert_eq!(between(&[server(1, 9, 9)], &[server(1, 2, 2)], 0), None);
    }
}
