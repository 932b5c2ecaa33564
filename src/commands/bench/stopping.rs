//! Being asked to stop: once to finish in order, twice to leave at once.

use std::io::{self, Write};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::commands::Exit;

/// Listens for Ctrl-C and SIGTERM from now on. The flag is raised by the first of them; the
/// second ends the process.
pub fn listen() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    if let (Ok(mut interrupt), Ok(mut terminate)) = signals {
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            // Nobody listens any more only where the benchmark has ended.
            stop.send_replace(true);
            say("stopping: no more transfers are started, what is in flight is finished or \
                 recovered; once more to leave at once");
            either(&mut interrupt, &mut terminate).await;
            say("left at once; local servers are removed; on shards of your own run `shardbank \
                 recover` with the same --shard flags");
            std::process::exit(Exit::Incomplete as i32);
        });
    }
    stopped
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn say(line: &str) {
    // Nobody can be told that standard error is closed.
    writeln!(io::stderr(), "{line}").ok();
}
