//! The file of a decision log: who owns it, and how its records come to be durable.
//!
//! Records are written into space that was filled with zeros, and synced, before. A sync of
//! records then writes these and nothing else; where a file grows with each, the file system has
//! to make its new length durable as well. A zero length is no record, so zeros end what is
//! believed just as something torn does.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::coordination::decision_record::valid_prefix;
use crate::outcome::Verdict;
use crate::transfer::{Epoch, TransferId};

/// How much space is filled at a time: some forty thousand decisions.
const STEP_BYTES: usize = 1024 * 1024;

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is none for this epoch.
    #[error(
        "no decision log of epoch {epoch} at {path}; name its directory with --decision-log, or \
         decide its branches by hand with recover --force"
    )]
    Missing {
        /// Whose log.
        epoch: Epoch,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Its owner is alive, perhaps stopped.
    #[error(
        "the decision log {path} is held by a living process; only that one may resolve its transfers"
    )]
    Owned {
        /// Which file.
        path: PathBuf,
    },
    /// Writing or syncing failed, now or before; what was being written is unknown.
    #[error("the decision log {path} failed and takes nothing more: {cause}")]
    Failed {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// It could not be created, opened or copied.
    #[error("the decision log {path} cannot be used: {cause}")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// An open file, locked by this process for as long as it is open.
pub(super) struct DecisionFile {
    file: File,
    /// Where the next record goes.
    end: u64,
    /// Up to where the space is filled.
    filled: u64,
}

impl DecisionFile {
    /// One whose disk is full, with space filled up to `filled`.
    #[cfg(test)]
    pub(super) fn on_a_full_disk(filled: u64) -> Self {
        let file = OpenOptions::new().write(true).open("/dev/full").expect("opened");
        Self { file, end: 0, filled }
    }

    /// A new one without records.
    ///
    /// # Errors
    /// It is there already, or cannot be created, locked or filled.
    pub(super) fn create(path: &Path) -> Result<Self, LogError> {
        unusable(path, || {
            let directory = directory_of(path);
            std::fs::create_dir_all(directory)?;
            let file = Self::with_records(path, &[])?;
            sync_directory(directory)?;
            Ok(file)
        })
    }

    /// The one that a dead coordinator left at `path`, and its decisions in the order of writing.
    /// Its valid prefix is in a new file by then, which has taken the old one's place durably.
    ///
    /// # Errors
    /// There is none, its owner lives, or it cannot be copied.
    pub(super) fn adopt(
        path: &Path,
        epoch: Epoch,
    ) -> Result<(Self, Vec<(TransferId, Verdict)>), LogError> {
        let old = lock_existing(path, epoch)?;
        unusable(path, || {
            let mut bytes = Vec::new();
            (&old).read_to_end(&mut bytes)?;
            let (valid, decisions) = valid_prefix(&bytes);
            let copy_path = path.with_extension("log.new");
            match std::fs::remove_file(&copy_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let copy = Self::with_records(&copy_path, valid)?;
            std::fs::rename(&copy_path, path)?;
            sync_directory(directory_of(path))?;
            Ok((copy, decisions))
        })
    }

    /// A new file at `path`, locked, that holds `records` durably.
    fn with_records(path: &Path, records: &[u8]) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut new = Self { file, end: records.len() as u64, filled: 0 };
        new.fill_beyond(new.end)?;
        new.file.write_all_at(records, 0)?;
        new.file.sync_all()?;
        Ok(new)
    }

    /// Writes `records` behind the others and syncs them.
    ///
    /// # Errors
    /// They, or some of them, may be found after a crash or not: nothing more may be appended.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let end = self.end + records.len() as u64;
        if end > self.filled {
            self.fill_beyond(end)?;
            self.file.sync_all()?;
        }
        self.file.write_all_at(records, self.end)?;
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Fills space with zeros, a step at a time, until some is left behind `end`.
    fn fill_beyond(&mut self, end: u64) -> io::Result<()> {
        let zeros = vec![0; STEP_BYTES];
        while self.filled <= end {
            self.file.write_all_at(&zeros, self.filled)?;
            self.filled += STEP_BYTES as u64;
        }
        Ok(())
    }
}

fn unusable<T>(path: &Path, act: impl FnOnce() -> io::Result<T>) -> Result<T, LogError> {
    act().map_err(|cause| LogError::Unusable { path: path.to_owned(), cause })
}

fn directory_of(path: &Path) -> &Path {
    path.parent().expect("a log lies in a directory")
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The file at `path`, locked, and still the one at `path` once it is locked.
fn lock_existing(path: &Path, epoch: Epoch) -> Result<File, LogError> {
    loop {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LogError::Missing { epoch, path: path.to_owned() });
            }
            Err(cause) => return Err(LogError::Unusable { path: path.to_owned(), cause }),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LogError::Owned { path: path.to_owned() });
            }
            Err(errno) => {
                return Err(LogError::Unusable { path: path.to_owned(), cause: errno.into() });
            }
        }
        let (ours, theirs) = unusable(path, || Ok((file.metadata()?, std::fs::metadata(path)?)))?;
        if ours.ino() == theirs.ino() && ours.dev() == theirs.dev() {
            return Ok(file);
        }
        // Another recoverer has put its copy here between our opening and our locking.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordination::decision_record::encode;
    use crate::outcome::Decision;
    use uuid::Uuid;

    fn directory() -> PathBuf {
        let directory = std::env::temp_dir().join(format!("shardbank-file-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        directory
    }

    /// Records of so many commits, and whose.
    fn commits(count: usize) -> (Vec<u8>, Vec<(TransferId, Verdict)>) {
        let commit = Verdict { decision: Decision::Commit, participants: None };
        let verdicts: Vec<_> = (0..count).map(|_| (TransferId::fresh(), commit)).collect();
        let mut bytes = Vec::new();
        for (transfer, verdict) in &verdicts {
            encode(*transfer, *verdict, &mut bytes);
        }
        (bytes, verdicts)
    }

    fn step() -> u64 {
        STEP_BYTES as u64
    }

    #[test]
    fn records_go_into_space_that_was_filled_before_and_leave_its_length_alone() {
        let directory = directory();
        let path = directory.join("log");
        let mut file = DecisionFile::create(&path).expect("created");
        let (first, mut written) = commits(3);
        let (second, more) = commits(2);
        written.extend(more);
        for records in [first, second] {
            assert_eq!(std::fs::metadata(&path).expect("it is there").len(), step());
            file.append(&records).expect("appended");
        }
        assert_eq!(std::fs::metadata(&path).expect("it is there").len(), step());
        drop(file);
        let (_, read) = DecisionFile::adopt(&path, Epoch(1)).expect("adopted");
        assert_eq!(read, written);
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_log_grows_beyond_what_was_filled_and_loses_nothing() {
        let directory = directory();
        let path = directory.join("log");
        let mut file = DecisionFile::create(&path).expect("created");
        let mut written = Vec::new();
        // Groups that end nowhere near a boundary, then one that is longer than a step.
        for count in [20_000, 20_000, 20_000, 100_000, 1] {
            let (records, decisions) = commits(count);
            file.append(&records).expect("appended");
            written.extend(decisions);
        }
        let length = std::fs::metadata(&path).expect("it is there").len();
        assert!(length > 3 * step() && length.is_multiple_of(step()), "{length}");
        drop(file);
        let (mut file, read) = DecisionFile::adopt(&path, Epoch(1)).expect("adopted");
        assert!(read == written, "{} of {} are read again", read.len(), written.len());

        let (records, decisions) = commits(5);
        file.append(&records).expect("appended");
        written.extend(decisions);
        drop(file);
        let (_, read) = DecisionFile::adopt(&path, Epoch(1)).expect("adopted");
        assert!(read == written, "an adopted log is added to");
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_group_that_fills_the_last_step_to_its_end_leaves_room_for_the_next() {
        let directory = directory();
        let path = directory.join("log");
        let mut file = DecisionFile::create(&path).expect("created");
        let (record, _) = commits(1);
        file.end = step() - record.len() as u64;
        file.append(&record).expect("appended");
        assert_eq!((file.end, file.filled), (step(), step()));
        file.append(&record).expect("appended");
        assert_eq!(file.filled, 2 * step());
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn nothing_behind_a_torn_record_is_in_an_adopted_file() {
        let directory = directory();
        let path = directory.join("log");
        let (first, stands) = commits(1);
        let (mut torn, _) = commits(2);
        torn[12] ^= 1;
        std::fs::write(&path, [first.clone(), torn].concat()).expect("written");
        let (_, read) = DecisionFile::adopt(&path, Epoch(1)).expect("adopted");
        assert_eq!(read, stands);
        let bytes = std::fs::read(&path).expect("read");
        assert_eq!(bytes[..first.len()], first);
        assert!(bytes[first.len()..].iter().all(|byte| *byte == 0));
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_full_disk_is_an_error_when_records_are_written_and_when_space_is_filled() {
        for filled in [0, step()] {
            let mut file = DecisionFile::on_a_full_disk(filled);
            let error = file.append(&commits(1).0).expect_err("there is no space");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
            assert_eq!(file.end, 0);
        }
    }
}
