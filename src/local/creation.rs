//! Making servers: one `initdb`, copied for each shard, and their settings.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Output, Stdio};

use super::binaries::Binaries;
use super::directory::State;
use super::server::{Server, last_lines};
use super::server_user::ServerUser;
use super::{LocalError, USER, cluster};

/// Results count only if they would survive a crash, so every one of these is a promise to the
/// reader of a table: nothing was switched off to look fast.
const SETTINGS: [(&str, &str); 13] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("wal_level", "replica"),
    ("autovacuum", "on"),
    // 0 by default, which forbids two-phase commit.
    ("max_prepared_transactions", "256"),
    ("max_connections", "300"),
    ("shared_buffers", "128MB"),
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_permissions", "0700"),
    ("password_encryption", "scram-sha-256"),
    ("log_lock_waits", "off"),
    ("logging_collector", "off"),
];

/// Ends the statements of coordinators that have died. Elsewhere than on Linux, version 14
/// refuses it.
const LINUX_SETTINGS: [(&str, &str); 1] = [("client_connection_check_interval", "500ms")];

const SETTINGS_FILE: &str = "shardbank.conf";

/// Makes the data directories of all `servers`, not yet with their settings. `keep` says whether
/// they must survive a crash of the machine from the start.
pub(super) fn make_data(
    directory: &Path,
    servers: &[Server],
    keep: bool,
) -> Result<(), LocalError> {
    let first = servers.first().expect("a cluster has a shard");
    let (binaries, user) = (&first.binaries, &first.user);
    user.check_reaches(directory)?;
    let password = directory.join("password");
    user.write_file(&password, &format!("{:032x}\n", rand::random::<u128>()))?;
    let template = directory.join("template");
    make_template(&template, &password, binaries, user)?;

    for server in servers {
        user.create_directory(&server.directory)?;
    }
    // The first shard gets the template itself.
    cluster::in_parallel(&servers[1..], |server| {
        let output = user.command("cp").arg("-Rp").arg(&template).arg(server.data()).output();
        succeeded("cp", Some(server.shard), output).map(drop)
    })?;
    let data = first.data();
    fs::rename(&template, &data).map_err(LocalError::io("move the template to", &data))?;
    if keep {
        cluster::in_parallel(servers, |server| {
            let output = user
                .command(binaries.program("initdb"))
                .args(["--sync-only", "-D"])
                .arg(server.data())
                .output();
            succeeded("initdb --sync-only", Some(server.shard), output).map(drop)
        })?;
    }
    Ok(())
}

fn make_template(
    template: &Path,
    password: &Path,
    binaries: &Binaries,
    user: &ServerUser,
) -> Result<(), LocalError> {
    user.create_directory(template)?;
    let output = user
        .command(binaries.program("initdb"))
        .args(["--username", USER, "--auth-local=trust", "--auth-host=scram-sha-256"])
        .args(["--encoding=UTF8", "--locale=C", "--no-sync"])
        .arg("--pwfile")
        .arg(password)
        .arg("-D")
        .arg(template)
        .output();
    succeeded("initdb", None, output)?;

    // A server in single-user mode needs no port, no socket and no client.
    let mut single = user
        .command(binaries.program("postgres"))
        .args(["--single", "-c", "exit_on_error=true", "-D"])
        .arg(template)
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(LocalError::io("run", &binaries.program("postgres")))?;
    let mut statements = single.stdin.take().expect("its input is a pipe");
    let written = statements.write_all(include_bytes!("../../sql/local/database.sql"));
    drop(statements);
    let output = single.wait_with_output();
    succeeded("postgres --single", None, output)?;
    written.map_err(LocalError::io("create a database in", template))?;

    let main = template.join("postgresql.conf");
    fs::OpenOptions::new()
        .append(true)
        .open(&main)
        .and_then(|mut file| writeln!(file, "include '{SETTINGS_FILE}'"))
        .map_err(LocalError::io("write", &main))
}

/// Writes the settings of one server, in place of any it had.
pub(super) fn write_settings(server: &Server, state: &State, port: u16) -> Result<(), LocalError> {
    let text = settings_text(server.shard, state, port);
    server.user.write_file(&server.data().join(SETTINGS_FILE), &text)
}

fn settings_text(shard: u16, state: &State, port: u16) -> String {
    let mut text = String::from("# Written by shardbank; the last line for a setting counts.\n");
    let mut set = |name: &str, value: &str| {
        let value = value.replace('\\', "\\\\").replace('\'', "''");
        text.push_str(&format!("{name} = '{value}'\n"));
    };
    for (name, value) in SETTINGS {
        set(name, value);
    }
    if cfg!(target_os = "linux") {
        for (name, value) in LINUX_SETTINGS {
            set(name, value);
        }
    }
    for (name, value) in &state.settings {
        set(name, value);
    }
    set("cluster_name", &format!("shardbank-{shard}"));
    set("port", &port.to_string());
    // A list, so quoted once more: a comma may be part of the path.
    let sockets = state.socket_directory.to_string_lossy().replace('"', "\"\"");
    set("unix_socket_directories", &format!("\"{sockets}\""));
    text
}

fn succeeded(
    program: &str,
    shard: Option<u16>,
    output: io::Result<Output>,
) -> Result<Output, LocalError> {
    let output = output.map_err(LocalError::io("run", Path::new(program)))?;
    if output.status.success() {
        return Ok(output);
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(LocalError::Program { program: program.into(), shard, output: last_lines(&said) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::directory::Lifetime;

    #[test]
    fn settings_given_by_the_caller_override_the_usual_ones() {
        let extra = [("shared_buffers".to_owned(), "1GB".to_owned())];
        let state =
            State::new(Path::new("/tmp/it's"), Lifetime::Ephemeral, Path::new("/bin"), &extra);
        let text = settings_text(2, &state, 15_432);
        let usual = text.find("shared_buffers = '128MB'").expect("the usual setting");
        let given = text.find("shared_buffers = '1GB'").expect("the caller's setting");
        assert!(usual < given, "the last line counts");
        assert!(text.contains("fsync = 'on'"));
        assert!(text.contains("unix_socket_directories = '\"/tmp/it''s/s\"'"));
    }
}
