//! Which transfers are finished: a pure judgement of what stands of them on all shards.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use crate::ledger::folding::Standing;
use crate::transfer::ShardIndex;

/// What stands of one transfer, by shard.
pub type Everywhere = Vec<(ShardIndex, Standing)>;

/// What becomes of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is old, and whole or not applied at all, on all shards: it is folded.
    Finished,
    /// Something of it is young: it stays for now.
    Young,
    /// A branch of it is prepared: it stays until that is resolved.
    InFlight,
    /// It was decided against by somebody who could not see how far it was: it stays for good. Its
    /// coordinator may be stalled, for longer than any retention time, with the other branch yet to
    /// send; only that decision stops it when it wakes.
    DecidedAgainst,
    /// One effect is there and the other is not, or a decision says otherwise: it stays for good,
    /// as evidence.
    Evidence,
}

/// Judges one transfer. `prepared` are the transfers that had a branch prepared on any shard
/// before `everywhere` was read.
#[must_use]
pub fn judge(transfer: Uuid, everywhere: &Everywhere, prepared: &HashSet<Uuid>) -> Judgement {
    let here = || everywhere.iter().map(|(_, standing)| standing);
    if prepared.contains(&transfer) {
        return Judgement::InFlight;
    }
    if !here().all(|standing| standing.is_old) {
        return Judgement::Young;
    }
    let change: i128 = here().map(|standing| i128::from(standing.change)).sum();
    let is_applied = here().any(|standing| standing.is_applied);
    let decisions = || here().filter_map(|standing| standing.is_committed);
    if change != 0 || decisions().any(|is_committed| is_committed != is_applied) {
        return Judgement::Evidence;
    }
    if decisions().any(|is_committed| !is_committed) {
        return Judgement::DecidedAgainst;
    }
    Judgement::Finished
}

/// Puts together the pages of all shards, each of at most `limit` transfers after one and the same
/// id in the order of ids. Returns what is complete, and the id after which the next pages begin;
/// none where these were the last.
#[must_use]
pub fn merge(
    pages: Vec<(ShardIndex, Vec<Standing>)>,
    limit: usize,
) -> (BTreeMap<Uuid, Everywhere>, Option<Uuid>) {
    // A page that is full says nothing of ids beyond its last.
    let full = pages.iter().filter(|(_, page)| page.len() >= limit);
    let horizon = full.filter_map(|(_, page)| page.last().map(|last| last.transfer)).min();
    let mut merged: BTreeMap<Uuid, Everywhere> = BTreeMap::new();
    for (shard, page) in pages {
        for standing in page {
            if horizon.is_none_or(|horizon| standing.transfer <= horizon) {
                merged.entry(standing.transfer).or_default().push((shard, standing));
            }
        }
    }
    (merged, horizon)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Uuid = Uuid::from_u128(7);

    fn applied(change: i64) -> Standing {
        Standing {
            transfer: T,
            is_old: true,
            is_applied: true,
            is_batch: false,
            change,
            legs: 1,
            decisions: 0,
            is_committed: None,
            bytes: 100,
        }
    }

    fn refused() -> Standing {
        Standing { is_applied: false, ..applied(0) }
    }

    fn of(standing: &[Standing]) -> Everywhere {
        (0..).map(ShardIndex).zip(standing.iter().cloned()).collect()
    }

    #[test]
    fn only_what_is_old_and_whole_everywhere_is_finished() {
        let nothing = HashSet::new();
        let decided = |standing, is_committed| Standing {
            is_committed: Some(is_committed),
            decisions: 1,
            ..standing
        };
        let young = Standing { is_old: false, ..applied(5) };
        let only_decision = Standing { legs: 0, ..refused() };
        for (standing, expected) in [
            (vec![applied(-5), applied(5)], Judgement::Finished),
            (vec![applied(-5), decided(applied(5), true)], Judgement::Finished),
            (vec![applied(0)], Judgement::Finished),
            (vec![refused()], Judgement::Finished),
            (vec![refused(), decided(refused(), false)], Judgement::DecidedAgainst),
            (vec![decided(only_decision.clone(), false)], Judgement::DecidedAgainst),
            (vec![applied(-5), young], Judgement::Young),
            (vec![applied(-5)], Judgement::Evidence),
            (vec![applied(-5), refused()], Judgement::Evidence),
            (vec![applied(-5), decided(applied(5), false)], Judgement::Evidence),
            // Decided, and no branch is prepared any more: somebody rolled back by hand.
            (vec![decided(only_decision, true)], Judgement::Evidence),
        ] {
            let everywhere = of(&standing);
            assert_eq!(judge(T, &everywhere, &nothing), expected, "{everywhere:?}");
            assert_eq!(judge(T, &everywhere, &HashSet::from([T])), Judgement::InFlight);
        }
    }

    #[test]
    fn a_transfer_is_complete_only_up_to_where_every_full_page_reaches() {
        let page = |ids: &[u128]| -> Vec<Standing> {
            let standing = |id: &u128| Standing { transfer: Uuid::from_u128(*id), ..applied(0) };
            ids.iter().map(standing).collect()
        };
        let shards = |pages: [&[u128]; 2]| {
            vec![(ShardIndex(0), page(pages[0])), (ShardIndex(1), page(pages[1]))]
        };
        let (merged, next) = merge(shards([&[1, 3, 8], &[2, 3, 4]]), 3);
        assert_eq!(next, Some(Uuid::from_u128(4)));
        let found: Vec<(u128, usize)> =
            merged.iter().map(|(id, everywhere)| (id.as_u128(), everywhere.len())).collect();
        assert_eq!(found, [(1, 1), (2, 1), (3, 2), (4, 1)]);

        // The second shard has nothing more, so the first page alone says where to go on.
        let (merged, next) = merge(shards([&[1, 3, 8], &[9]]), 3);
        assert_eq!((merged.len(), next), (3, Some(Uuid::from_u128(8))));
        let (merged, next) = merge(shards([&[1, 3], &[]]), 3);
        assert_eq!((merged.len(), next), (2, None));
    }
}
