//! The folder of one benchmark's results. A file appears whole or not at all, and nothing that
//! is there is written over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::bench::ExportArguments;
use crate::commands::{Exit, Stop};

/// How many benchmarks may begin in one second under one name.
const NAMES_MAX: u32 = 100;
/// Where a run's histograms are, in the folder.
const HISTOGRAMS: &str = "histograms";

/// The folder.
pub struct Folder {
    path: PathBuf,
    id: String,
}

impl Folder {
    /// A new folder below `base`, named after when and what.
    ///
    /// # Errors
    /// It cannot be made, or nothing can be written there.
    pub fn create(base: &Path, at: jiff::Timestamp, name: &str) -> Result<Self, Stop> {
        let failed = |path: &Path, error: &io::Error| {
            let line = format!(
                "cannot write results to {}: {error}; name another folder with --output",
                path.display()
            );
            Stop::new(Exit::Failed, line)
        };
        fs::create_dir_all(base).map_err(|error| failed(base, &error))?;
        let stem = format!("{}-{name}", at.strftime("%Y%m%dT%H%M%SZ"));
        for attempt in 1..=NAMES_MAX {
            let id = if attempt == 1 { stem.clone() } else { format!("{stem}-{attempt}") };
            let path = base.join(&id);
            match fs::create_dir(&path) {
                Ok(()) => {
                    let folder = Self { path, id };
                    let probed = fs::create_dir(folder.path.join(HISTOGRAMS));
                    probed.map_err(|error| failed(&folder.path, &error))?;
                    return Ok(folder);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, &error)),
            }
        }
        let taken = io::Error::from(io::ErrorKind::AlreadyExists);
        Err(failed(&base.join(stem), &taken))
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file `name`, whole, in the place of its earlier version.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Stop> {
        replace(&self.path.join(name), bytes)
    }

    /// Writes a file of histograms.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_histograms(&self, name: &str, bytes: &[u8]) -> Result<(), Stop> {
        replace(&self.path.join(HISTOGRAMS).join(name), bytes)
    }

    /// A new file that grows.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn grow(&self, name: &str) -> Result<File, Stop> {
        let path = self.path.join(name);
        let opened = OpenOptions::new().append(true).create_new(true).open(&path);
        opened.map_err(|error| cannot_write(&path, &error))
    }

    /// Removes the folder where nothing was measured: it holds nothing.
    pub fn abandon(&self) {
        // What cannot be removed is an empty folder: not worth a word beside the error that is
        // about to be told.
        fs::remove_dir(self.path.join(HISTOGRAMS)).ok();
        fs::remove_dir(&self.path).ok();
        if let Some(base) = self.path.parent() {
            fs::remove_dir(base).ok();
        }
    }
}

/// Files that are written beside the folder.
pub struct Exports {
    /// `summary.csv`.
    pub csv: Option<PathBuf>,
    /// `run.json`.
    pub json: Option<PathBuf>,
    /// `report.md`.
    pub markdown: Option<PathBuf>,
}

impl Exports {
    /// Writes what was asked for.
    ///
    /// # Errors
    /// One of them cannot be written.
    pub fn write(&self, csv: &[u8], json: &[u8], markdown: &[u8]) -> Result<(), Stop> {
        let wanted = [(&self.csv, csv), (&self.json, json), (&self.markdown, markdown)];
        for (path, bytes) in wanted {
            path.as_deref().map_or(Ok(()), |path| replace(path, bytes))?;
        }
        Ok(())
    }

    /// The files that were asked for.
    ///
    /// # Errors
    /// One of them is in no folder, or is a folder: better known before than after.
    pub fn check(arguments: &ExportArguments) -> Result<Self, Stop> {
        let mut lines = Vec::new();
        let files = [
            ("--export-csv", &arguments.export_csv),
            ("--export-json", &arguments.export_json),
            ("--export-markdown", &arguments.export_markdown),
        ];
        for (flag, path) in files {
            let Some(path) = path else { continue };
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            if path.is_dir() {
                lines.push(format!("{flag} {}: that is a folder; name a file", path.display()));
            } else if folder.is_some_and(|folder| !folder.is_dir()) {
                lines.push(format!("{flag} {}: there is no such folder", path.display()));
            }
        }
        if !lines.is_empty() {
            return Err(Stop { exit: Exit::Usage, lines });
        }
        Ok(Self {
            csv: arguments.export_csv.clone(),
            json: arguments.export_json.clone(),
            markdown: arguments.export_markdown.clone(),
        })
    }
}

/// Writes `bytes` beside `path` and renames them there.
///
/// # Errors
/// They cannot be written.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Stop> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        fs::remove_file(&temporary).ok();
        cannot_write(path, &error)
    })
}

fn cannot_write(path: &Path, error: &io::Error) -> Stop {
    Stop::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_benchmarks_of_one_second_have_folders_of_their_own() {
        let base = std::env::temp_dir().join(format!("shardbank-{}", rand::random::<u64>()));
        let at = jiff::Timestamp::UNIX_EPOCH;
        let first = Folder::create(&base, at, "x").expect("made");
        let second = Folder::create(&base, at, "x").expect("made");
        assert_eq!((first.id(), second.id()), ("19700101T000000Z-x", "19700101T000000Z-x-2"));
        first.write("a", b"1").expect("written");
        first.write("a", b"2").expect("written again");
        assert_eq!(fs::read(first.path().join("a")).expect("there"), b"2");
        first.abandon();
        second.abandon();
        assert!(first.path().exists() && !second.path().exists());
        fs::remove_dir_all(&base).expect("removed");
    }
}
