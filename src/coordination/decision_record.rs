//! The records of a decision log: each is its length, the CRC32C of its payload, and the payload:
//! verdict, transfer id, and the reason of an abort or the participants of a commit. A record torn or damaged anywhere ends what is believed.

use uuid::Uuid;

use crate::outcome::{Decision, Refusal, Verdict};
use crate::transfer::{Participants, ShardIndex, TransferId};

/// Length and checksum.
const HEADER_BYTES: usize = 8;
/// Longer than any payload of ours: a length beyond it is damage.
const MAX_PAYLOAD_BYTES: usize = 256;

/// Appends the record of one decision to `bytes`.
pub(super) fn encode(transfer: TransferId, verdict: Verdict, bytes: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(32);
    match verdict.decision {
        Decision::Commit => {
            payload.push(b'c');
            payload.extend_from_slice(transfer.0.as_bytes());
            if let Some(Participants { debit, credit }) = verdict.participants {
                payload.extend_from_slice(&debit.0.to_le_bytes());
                payload.extend_from_slice(&credit.0.to_le_bytes());
            }
        }
        Decision::Abort(refusal) => {
            payload.push(b'a');
            payload.extend_from_slice(transfer.0.as_bytes());
            payload.extend_from_slice(refusal.name().as_bytes());
        }
    }
    let length = u32::try_from(payload.len()).expect("a payload is a few dozen bytes");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
}

/// The part of `bytes` before the first torn or damaged record, or before space that holds zeros
/// only, and the verdicts in it.
pub(super) fn valid_prefix(bytes: &[u8]) -> (&[u8], Vec<(TransferId, Verdict)>) {
    let mut verdicts = Vec::new();
    let mut at = 0;
    while let Some((verdict, length)) = decode(&bytes[at..]) {
        verdicts.push(verdict);
        at += length;
    }
    (&bytes[..at], verdicts)
}

fn decode(bytes: &[u8]) -> Option<((TransferId, Verdict), usize)> {
    let length: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let checksum: [u8; 4] = bytes.get(4..HEADER_BYTES)?.try_into().ok()?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    if length > MAX_PAYLOAD_BYTES {
        return None;
    }
    // Of length zero is what was filled ahead: its payload is too short to be one.
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
    if crc32c::crc32c(payload) != u32::from_le_bytes(checksum) {
        return None;
    }
    let transfer = TransferId(Uuid::from_slice(payload.get(1..17)?).ok()?);
    let rest = &payload[17..];
    let verdict = match payload.first()? {
        b'c' => Verdict { decision: Decision::Commit, participants: participants(rest)? },
        b'a' => {
            let why = Refusal::from_name(std::str::from_utf8(rest).ok()?);
            Verdict { decision: Decision::Abort(why), participants: None }
        }
        _ => return None,
    };
    Some(((transfer, verdict), HEADER_BYTES + length))
}

/// Nothing where the bytes are no participants at all.
fn participants(bytes: &[u8]) -> Option<Option<Participants>> {
    match *bytes {
        [] => Some(None),
        [d0, d1, c0, c1] => {
            let [debit, credit] = [[d0, d1], [c0, c1]].map(u16::from_le_bytes).map(ShardIndex);
            Some(Some(Participants { debit, credit }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{AbortReason, Rejection};

    fn three() -> (Vec<(TransferId, Verdict)>, Vec<u8>) {
        let abort = |why| Verdict { decision: Decision::Abort(why), participants: None };
        let participants = Participants { debit: ShardIndex(u16::MAX), credit: ShardIndex(1) };
        let verdicts = vec![
            Verdict { decision: Decision::Commit, participants: Some(participants) },
            abort(Refusal::Rejected(Rejection::Overflow)),
            abort(Refusal::Aborted(AbortReason::Deadlock)),
        ];
        let verdicts: Vec<_> = verdicts.into_iter().map(|one| (TransferId::fresh(), one)).collect();
        let mut bytes = Vec::new();
        for (transfer, verdict) in &verdicts {
            encode(*transfer, *verdict, &mut bytes);
        }
        (verdicts, bytes)
    }

    #[test]
    fn what_was_written_is_read_again() {
        let (decisions, bytes) = three();
        assert_eq!(valid_prefix(&bytes), (&bytes[..], decisions));
    }

    #[test]
    fn a_tail_torn_anywhere_is_ignored_and_the_rest_stands() {
        let (decisions, bytes) = three();
        for length in 0..bytes.len() {
            let (valid, read) = valid_prefix(&bytes[..length]);
            assert!(valid.len() <= length);
            assert_eq!(read, decisions[..read.len()], "torn at {length}");
            assert!(read.len() < 3);
        }
    }

    #[test]
    fn zeros_end_what_was_written_and_are_no_record() {
        let (decisions, mut bytes) = three();
        let length = bytes.len();
        bytes.extend([0; 4096]);
        assert_eq!(valid_prefix(&bytes), (&bytes[..length], decisions));
        assert_eq!(valid_prefix(&[0; 4096]), (&[][..], Vec::new()));
    }

    #[test]
    fn what_was_torn_in_space_full_of_zeros_is_ignored_and_the_rest_stands() {
        let (decisions, bytes) = three();
        for length in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[length..].fill(0);
            torn.extend([0; 4096]);
            let (valid, read) = valid_prefix(&torn);
            // Zeros that the record held anyway are not missing: then it is there.
            assert_eq!(valid, &bytes[..valid.len()], "torn at {length}");
            assert_eq!(read, decisions[..read.len()], "torn at {length}");
        }
    }

    #[test]
    fn what_lies_behind_a_hole_is_never_reached() {
        let (decisions, mut bytes) = three();
        let second = valid_prefix(&bytes[..bytes.len() / 2]).0.len();
        bytes[second..second + 8].fill(0);
        assert_eq!(valid_prefix(&bytes), (&bytes[..second], decisions[..1].to_vec()));
    }

    #[test]
    fn one_flipped_bit_anywhere_ends_the_valid_prefix() {
        let (decisions, bytes) = three();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (_, read) = valid_prefix(&damaged);
            assert!(read.len() < 3, "bit {bit}");
            assert_eq!(read, decisions[..read.len()], "bit {bit}");
        }
    }
}
