//! Rows of three `bigint`s in Postgres' binary COPY format, in large chunks.
//!
//! The client library's own writer hands over every 4 kB. Each handover wakes another thread, and
//! that is what loading then waits for.

use std::io::Cursor;

/// Large enough for the handover not to matter, small enough for a few to be nothing.
const CHUNK_BYTES: usize = 128 * 1024;

const COLUMNS: usize = 3;
/// The number of columns, then a length and eight bytes for each.
const ROW_BYTES: usize = 2 + COLUMNS * (4 + 8);

/// Signature, no flags, no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Rows on their way.
pub(super) struct CopyRows {
    bytes: Vec<u8>,
    rows: u64,
}

impl CopyRows {
    /// No rows yet.
    pub(super) fn new() -> Self {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        bytes.extend_from_slice(HEADER);
        Self { bytes, rows: 0 }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: [i64; COLUMNS]) {
        self.bytes.extend_from_slice(&(COLUMNS as i16).to_be_bytes());
        for value in row {
            self.bytes.extend_from_slice(&8_i32.to_be_bytes());
            self.bytes.extend_from_slice(&value.to_be_bytes());
        }
        self.rows += 1;
    }

    /// What to send, and how many rows it holds, once there is enough of it.
    pub(super) fn take_if_full(&mut self) -> Option<(Cursor<Vec<u8>>, u64)> {
        if self.bytes.len() + ROW_BYTES <= CHUNK_BYTES {
            return None;
        }
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(CHUNK_BYTES));
        Some((Cursor::new(bytes), std::mem::take(&mut self.rows)))
    }

    /// The rest, with the end of the format.
    pub(super) fn finish(mut self) -> (Cursor<Vec<u8>>, u64) {
        self.bytes.extend_from_slice(&TRAILER);
        (Cursor::new(self.bytes), self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_bounded_and_no_row_is_lost() {
        let mut rows = CopyRows::new();
        let (mut sent, mut bytes) = (0, Vec::new());
        for id in 0..10_000 {
            rows.push([id, 1, -1]);
            if let Some((chunk, count)) = rows.take_if_full() {
                assert!(chunk.get_ref().len() <= CHUNK_BYTES);
                bytes.extend(chunk.into_inner());
                sent += count;
            }
        }
        let (chunk, count) = rows.finish();
        bytes.extend(chunk.into_inner());
        assert_eq!(sent + count, 10_000);
        assert_eq!(HEADER.len(), 19);
        assert_eq!(bytes.len(), HEADER.len() + 10_000 * ROW_BYTES + TRAILER.len());
    }
}
