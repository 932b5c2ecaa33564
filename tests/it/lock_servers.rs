//! Redis and etcd servers of a test's own: a child process on a free port, with its files in a
//! directory of its own; killed and removed with the value.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;

/// Nobody waits longer for a server to answer.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

pub struct Server {
    program: &'static str,
    install: &'static str,
    arguments: Vec<String>,
    directory: PathBuf,
    pub port: u16,
    ready: fn(u16) -> bool,
    child: Option<Child>,
}

impl Server {
    /// A Redis that keeps nothing on disk: after a restart it is empty.
    #[cfg(feature = "lock-redis")]
    pub fn redis(more: &[&str]) -> Self {
        let (directory, port) = (directory("redis"), free_port());
        let mut arguments: Vec<String> = format!(
            "--bind 127.0.0.1 --port {port} --dir {} --appendonly no --daemonize no \
             --protected-mode yes --save",
            directory.display()
        )
        .split(' ')
        .map(str::to_owned)
        .collect();
        arguments.push(String::new());
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let ready = |port| ask(port, "PING\r\n").starts_with(['+', '-']);
        let install = "apt-get install --no-install-recommends redis-server";
        Self::started("redis-server", install, arguments, directory, port, ready)
    }

    /// An etcd of one member that keeps its data when it is restarted.
    #[cfg(feature = "lock-etcd")]
    pub fn etcd() -> Self {
        Self::etcd_with("", &[])
    }

    /// One that also serves at `address`, such as `,https://127.0.0.1:1`, told `more`.
    #[cfg(feature = "lock-etcd")]
    pub fn etcd_with(address: &str, more: &[&str]) -> Self {
        let (directory, port, peer) = (directory("etcd"), free_port(), free_port());
        let arguments = format!(
            "--name n1 --data-dir {}/data --listen-client-urls http://127.0.0.1:{port}{address} \
             --advertise-client-urls http://127.0.0.1:{port} \
             --listen-peer-urls http://127.0.0.1:{peer} \
             --initial-advertise-peer-urls http://127.0.0.1:{peer} \
             --initial-cluster n1=http://127.0.0.1:{peer} --initial-cluster-state new \
             --log-level error --logger zap --heartbeat-interval 10 --election-timeout 100",
            directory.display()
        );
        let arguments = arguments.split(' ').chain(more.iter().copied());
        let arguments = arguments.map(str::to_owned).collect();
        let ready = |port| {
            ask(port, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .contains("\"true\"")
        };
        let install = "apt-get install --no-install-recommends etcd-server";
        Self::started("etcd", install, arguments, directory, port, ready)
    }

    fn started(
        program: &'static str,
        install: &'static str,
        arguments: Vec<String>,
        directory: PathBuf,
        port: u16,
        ready: fn(u16) -> bool,
    ) -> Self {
        let child = None;
        let mut server = Self { program, install, arguments, directory, port, ready, child };
        server.start();
        server
    }

    /// Starts it, again if need be, and waits until it answers.
    pub fn start(&mut self) {
        let child = Command::new(self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; {}", self.program, self.install));
        self.child = Some(child);
        let latest = Instant::now() + STARTS_WITHIN;
        while !(self.ready)(self.port) {
            assert!(Instant::now() < latest, "{} does not answer", self.program);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it, as `kill -9` does. What it had stored on disk stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Stops it in its tracks, its connections open; `CONT` lets it go on.
    #[cfg(feature = "lock-etcd")]
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill is everywhere").success());
    }

    /// Removes what it had stored on disk.
    #[cfg(feature = "lock-etcd")]
    pub fn wipe(&self) {
        std::fs::remove_dir_all(&self.directory).expect("our own directory");
        std::fs::create_dir(&self.directory).expect("our own directory");
    }

    /// Says `text` to it and returns what it answers first.
    pub fn ask(&self, text: &str) -> String {
        ask(self.port, text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("shardbank-{name}-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&path).expect("a directory below that for temporary files");
    path
}

/// Below the ports that outgoing connections are given, or one of them could take it.
pub fn free_port() -> u16 {
    loop {
        let port = rand::rng().random_range(15_000..30_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn ask(port: u16, text: &str) -> String {
    let mut answer = [0; 4096];
    let length = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(text.as_bytes())?;
        stream.read(&mut answer)
    });
    String::from_utf8_lossy(&answer[..length.unwrap_or(0)]).into_owned()
}
