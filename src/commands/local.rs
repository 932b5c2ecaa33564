//! `shardbank local up | status | down | run`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;

use super::{Exit, Stop};
use crate::cli::local::{LocalAction, LocalArguments, Place};
use crate::local::{LocalCluster, LocalError, LocalOptions, default_directory, janitor, leftovers};

/// Does what was asked for.
///
/// # Errors
/// What kept it from being done.
pub fn run(arguments: LocalArguments) -> Result<(), Stop> {
    match arguments.action {
        LocalAction::Up { shards, place, binaries } => {
            let cluster = LocalCluster::up(&directory(place), shards, binaries.pgbin.as_deref())?;
            print(&description(&cluster))
        }
        LocalAction::Status { place } => {
            let cluster = LocalCluster::attach(&directory(place))?;
            print(&description(&cluster))
        }
        LocalAction::Down { place, keep_data } => down(directory(place), keep_data),
        LocalAction::Run { shards, binaries } => {
            let options = LocalOptions { binaries: binaries.pgbin, ..LocalOptions::new(shards) };
            let cluster = LocalCluster::start(&options)?;
            print(&description(&cluster))?;
            print("they run until Ctrl-C")?;
            // Signals keep their default action: the process dies and the janitor cleans up.
            loop {
                thread::park();
            }
        }
        LocalAction::Janitor { directory } => {
            janitor::detach();
            // The owner waits for the line.
            print(janitor::READY)?;
            Ok(janitor::keep(&directory)?)
        }
    }
}

fn down(directory: PathBuf, keep_data: bool) -> Result<(), Stop> {
    let ended = if keep_data {
        LocalCluster::attach(&directory).and_then(LocalCluster::stop)
    } else {
        LocalCluster::remove(&directory)
    };
    let mut lines = Vec::new();
    match ended {
        Ok(()) if keep_data => {
            lines.push(format!("stopped; the data stays in {}", directory.display()));
        }
        Ok(()) => lines.push(format!("stopped and removed {}", directory.display())),
        // To have nothing to do is to have done it.
        Err(LocalError::NoCluster(path)) => {
            lines.push(format!("no local shards in {}", path.display()));
        }
        Err(error) => return Err(error.into()),
    }
    let found = leftovers::remove();
    lines.extend(
        found
            .removed
            .iter()
            .map(|path| format!("removed what a killed run left in {}", path.display())),
    );
    lines.extend(
        found
            .in_use
            .iter()
            .map(|path| format!("left {} alone: it belongs to a run that goes on", path.display())),
    );
    print(&lines.join("\n"))?;
    if found.failed.is_empty() {
        return Ok(());
    }
    Err(Stop { exit: Exit::Failed, lines: found.failed.iter().map(ToString::to_string).collect() })
}

fn directory(place: Place) -> PathBuf {
    place.dir.unwrap_or_else(default_directory)
}

fn description(cluster: &LocalCluster) -> String {
    let mut lines = vec![format!("local shards in {}", cluster.directory().display())];
    let status = cluster.status();
    for (server, shard) in status.iter().zip(cluster.shards()) {
        lines.push(format!(
            "  shard {}: {}, port {}, Postgres {}, {:.1} MB, log {}",
            server.shard,
            server.pid.map_or("stopped".to_owned(), |pid| format!("running, pid {pid}")),
            shard.port,
            server.version.map_or("of unknown version".to_owned(), |v| v.to_string()),
            server.data_bytes as f64 / 1e6,
            server.log.display()
        ));
    }
    lines.push("to use them:".to_owned());
    lines.extend(cluster.shards().iter().map(|shard| format!("  --shard '{}'", shard.url())));
    lines.push(format!(
        "over TCP: user shardbank on 127.0.0.1, password in {}",
        cluster.password_file().display()
    ));
    if status.iter().any(|server| server.pid.is_none()) {
        lines.push("start the stopped ones with `shardbank local up`".to_owned());
    }
    lines.join("\n")
}

/// Whoever reads the output may have seen enough of it: a closed pipe is no error.
fn print(text: &str) -> Result<(), Stop> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Stop::new(Exit::Failed, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

impl From<LocalError> for Stop {
    fn from(error: LocalError) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}
