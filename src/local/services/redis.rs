//! Redis, or its descendant Valkey, which takes the same options.

use std::process::Command;

use super::launch::{Launch, answers};

/// Anybody on this machine can connect to loopback. By these commands they could have files
/// written and code run as the server's user, which may be ourselves.
const FORBIDDEN: [&str; 2] = ["CONFIG", "MODULE"];

pub(super) fn add_arguments(command: &mut Command, launch: &Launch) {
    command
        .args(["--bind", "127.0.0.1", "--port", &launch.port.to_string(), "--dir"])
        .arg(launch.data())
        .args(["--daemonize", "no", "--protected-mode", "yes", "--save", ""]);
    if launch.durable {
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    } else {
        command.args(["--appendonly", "no"]);
    }
    for forbidden in FORBIDDEN {
        command.args(["--rename-command", forbidden, ""]);
    }
}

/// While it reads its files it answers `-LOADING`.
pub(super) fn serves(launch: &Launch) -> bool {
    let ours = format!("executable:{}\r\n", launch.name().display());
    answers(launch.port, "PING\r\nINFO server\r\nQUIT\r\n", &["+PONG\r\n", &ours])
}
