//! etcd, a cluster of one.

use std::process::Command;

use super::launch::{Launch, answers};

/// The most that etcd's authors advise; by default it stops writing at 2 GB of history.
const QUOTA_BYTES: u64 = 8 << 30;

pub(super) fn add_arguments(command: &mut Command, launch: &Launch) {
    // Its own variables would set what is not set here, and ETCD, which names the program, makes
    // it complain.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("ETCD") {
            command.env_remove(variable);
        }
    }
    let client = format!("http://127.0.0.1:{}", launch.port);
    let peer = format!("http://127.0.0.1:{}", launch.peer_port);
    let name = member_name(launch);
    command.args(["--name", &name, "--data-dir"]).arg(launch.data());
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("{name}={peer}")]);
    command.args(["--initial-cluster-state", "new"]);
    command.args(["--quota-backend-bytes", &QUOTA_BYTES.to_string()]);
    command.args(["--log-level", "warn", "--logger", "zap"]);
    // There is nobody to lose an election to. By these it starts sooner, and the shortest lease
    // that it grants is one second, not two.
    command.args(["--heartbeat-interval", "10", "--election-timeout", "100"]);
}

pub(super) fn serves(launch: &Launch) -> bool {
    let get = |port, path, wanted: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        answers(port, &request, &[" 200 OK\r\n", wanted])
    };
    // It listens on both ports or on none.
    get(launch.port, "/health", "true")
        && get(launch.peer_port, "/members", &format!("\"{}\"", member_name(launch)))
}

/// As nobody else's: the directory's.
fn member_name(launch: &Launch) -> String {
    launch.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
