//! The records of a decision log: each is its length, the CRC32C of its payload, and the payload:
//! verdict, transfer id, reason. A record torn or damaged anywhere ends what is believed.

use uuid::Uuid;

use crate::outcome::{Decision, Refusal};
use crate::transfer::TransferId;

/// Length and checksum.
const HEADER_BYTES: usize = 8;
/// Longer than any payload of ours: a length beyond it is damage.
const MAX_PAYLOAD_BYTES: usize = 256;

/// Appends the record of one decision to `bytes`.
pub(super) fn encode(transfer: TransferId, decision: Decision, bytes: &mut Vec<u8>) {
    let (verdict, reason) = match decision {
        Decision::Commit => (b'c', ""),
        Decision::Abort(refusal) => (b'a', refusal.name()),
    };
    let mut payload = Vec::with_capacity(32);
    payload.push(verdict);
    payload.extend_from_slice(transfer.0.as_bytes());
    payload.extend_from_slice(reason.as_bytes());
    let length = u32::try_from(payload.len()).expect("a payload is a few dozen bytes");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
}

/// The part of `bytes` before the first torn or damaged record, or before space that holds zeros
/// only, and the decisions in it.
pub(super) fn valid_prefix(bytes: &[u8]) -> (&[u8], Vec<(TransferId, Decision)>) {
    let mut decisions = Vec::new();
    let mut at = 0;
    while let Some((decision, length)) = decode(&bytes[at..]) {
        decisions.push(decision);
        at += length;
    }
    (&bytes[..at], decisions)
}

fn decode(bytes: &[u8]) -> Option<((TransferId, Decision), usize)> {
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
    let decision = match payload.first()? {
        b'c' => Decision::Commit,
        b'a' => Decision::Abort(Refusal::from_name(std::str::from_utf8(&payload[17..]).ok()?)),
        _ => return None,
    };
    Some(((transfer, decision), HEADER_BYTES + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{AbortReason, Rejection};

    fn three() -> (Vec<(TransferId, Decision)>, Vec<u8>) {
        let decisions = vec![
            (TransferId::fresh(), Decision::Commit),
            (TransferId::fresh(), Decision::Abort(Refusal::Rejected(Rejection::Overflow))),
            (TransferId::fresh(), Decision::Abort(Refusal::Aborted(AbortReason::Deadlock))),
        ];
        let mut bytes = Vec::new();
        for (transfer, decision) in &decisions {
            encode(*transfer, *decision, &mut bytes);
        }
        (decisions, bytes)
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
