//! The start of one lock server, up to the answer that shows that it serves.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Binary, END_LIMIT, ServiceError, ServiceKind, etcd, redis, wait_until, zookeeper};
use crate::local::server::last_lines;
use crate::local::server_user::ServerUser;
use crate::local::{LocalError, leftovers};

/// A Java on a busy machine takes a few seconds.
const START_LIMIT: Duration = Duration::from_secs(15);

/// How long a server that took a connection may think about its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Far more than any answer has.
const ANSWER_MAX_BYTES: usize = 1 << 16;

/// What one server is started with.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) kind: ServiceKind,
    pub(super) binary: Binary,
    pub(super) durable: bool,
    /// Its own, by which it is recognised.
    pub(super) directory: PathBuf,
    /// Where it serves.
    pub(super) port: u16,
    /// Where an etcd would talk to others of its kind; it cannot be told not to.
    pub(super) peer_port: u16,
}

impl Launch {
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The name that it is started under.
    pub(super) fn name(&self) -> PathBuf {
        self.directory.join(self.kind.program())
    }

    /// Starts it and waits until it serves. Where it does not, nothing of it is left running.
    pub(super) fn start(&self, user: &ServerUser) -> Result<Child, ServiceError> {
        let log_bytes = fs::metadata(self.log()).map_or(0, |file| file.len());
        let mut child = self.spawn(user)?;
        let started = Instant::now();
        loop {
            if self.serves() {
                return Ok(child);
            }
            let ended = child.try_wait().ok().flatten();
            if ended.is_none() && started.elapsed() < START_LIMIT {
                sleep(Duration::from_millis(10));
                continue;
            }
            // A script that was named as the program may have left the server behind.
            leftovers::end_all_in(&self.directory);
            wait_for(&mut child);
            let (kind, log) = (self.kind, self.log_from(log_bytes));
            return Err(match ended {
                Some(status) => ServiceError::Ended { kind, status, log },
                None => ServiceError::NotReady { kind, seconds: START_LIMIT.as_secs(), log },
            });
        }
    }

    fn spawn(&self, user: &ServerUser) -> Result<Child, ServiceError> {
        let log = self.log();
        let open = || {
            let file = File::options().create(true).append(true).open(&log)?;
            Ok((file.try_clone()?, file))
        };
        let (out, err) = open().map_err(LocalError::io("open", &log))?;
        let mut command = user.command(&self.binary.program);
        command
            .arg0(self.name())
            .current_dir(&self.directory)
            // Ctrl-C in the terminal of the tool must not stop it before the tool has drained.
            .process_group(0)
            .stdout(out)
            .stderr(err);
        self.add_arguments(&mut command, user)?;
        Ok(command.spawn().map_err(LocalError::io("run", &self.binary.program))?)
    }

    fn add_arguments(&self, command: &mut Command, user: &ServerUser) -> Result<(), ServiceError> {
        match self.kind {
            ServiceKind::Redis => redis::add_arguments(command, self),
            ServiceKind::Etcd => etcd::add_arguments(command, self),
            ServiceKind::ZooKeeper => {
                zookeeper::write_configuration(self, user)?;
                zookeeper::add_arguments(command, self);
            }
        }
        Ok(())
    }

    /// Whether the server on this port serves, and is the one in this directory.
    fn serves(&self) -> bool {
        match self.kind {
            ServiceKind::Redis => redis::serves(self),
            ServiceKind::Etcd => etcd::serves(self),
            ServiceKind::ZooKeeper => zookeeper::serves(self),
        }
    }

    fn log_from(&self, offset: u64) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let said = last_lines(&String::from_utf8_lossy(&bytes[offset..]));
        if said.is_empty() { "nothing".to_owned() } else { said }
    }
}

/// Takes note of the end of a child that was killed.
pub(super) fn wait_for(child: &mut Child) {
    // One that cannot be waited for has ended.
    wait_until(END_LIMIT, || child.try_wait().map_or(true, |status| status.is_some()));
}

/// Whether the server on `port` answers to `request` with all that is `wanted`. It need not close
/// the connection then: etcd's port for its peers is sometimes slow to.
pub(super) fn answers(port: u16, request: &str, wanted: &[&str]) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connect = || {
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(request.as_bytes())?;
        Ok::<_, io::Error>(stream)
    };
    let Ok(mut stream) = connect() else { return false };
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while answer.len() < ANSWER_MAX_BYTES {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
        }
        let text = String::from_utf8_lossy(&answer);
        if wanted.iter().all(|words| text.contains(words)) {
            return true;
        }
    }
    false
}
