//! Standard output, which may be closed.

use std::io::{self, Write};

use super::{Exit, Stop};

/// Prints `text` and a line break. Whoever reads may have seen enough: a closed pipe is no error.
///
/// # Errors
/// It cannot be written for another reason, such as a full disk.
pub(super) fn print(text: &str) -> Result<(), Stop> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Stop::new(Exit::Failed, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
