//! A ZooKeeper server of a test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use zookeeper_client::Client;

const INSTALL: &str =
    "apt-get install --no-install-recommends libzookeeper-java default-jre-headless";

const JAR: &str = "/usr/share/java/zookeeper.jar";

/// What it needs beside its own class path to speak TLS.
const CLASS_PATH: &str = "/usr/share/java/zookeeper.jar:/usr/share/java/netty-codec.jar:\
                          /usr/share/java/netty-resolver.jar:\
                          /usr/share/java/netty-transport-native-unix-common.jar";

/// One server on loopback; killed, and its files removed, when it is dropped.
pub struct Server {
    child: Child,
    directory: PathBuf,
    pub port: u16,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| String::new()).await
    }

    /// One that is also reached over TLS: by `port + 1`, with the certificate and the key in
    /// `server.pem`, for clients whose authority is `ca.crt`, both in `certificates`.
    #[cfg(feature = "lock-zookeeper-tls")]
    pub async fn start_with_tls(certificates: &Path, client_auth: &str) -> Self {
        let directory = certificates.display();
        let server = Self::start_with(|port| {
            format!(
                "secureClientPort={}\nsecureClientPortAddress=127.0.0.1\n\
                 serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
                 ssl.keyStore.location={directory}/server.pem\nssl.keyStore.type=PEM\n\
                 ssl.trustStore.location={directory}/ca.crt\nssl.trustStore.type=PEM\n\
                 ssl.clientAuth={client_auth}\n",
                port + 1
            )
        })
        .await;
        // It opens this port last.
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", server.port + 1)).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "it does not serve over TLS");
            sleep(Duration::from_millis(20)).await;
        }
        server
    }

    async fn start_with(more: impl FnOnce(u16) -> String) -> Self {
        assert!(Path::new(JAR).exists(), "{JAR} is missing: {INSTALL}");
        let directory = std::env::temp_dir().join(format!("zookeeper-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).expect("a new directory");
        // Below the ports of outgoing connections: a client of a server that is down could
        // otherwise be given the server's own port.
        let port = loop {
            let port = rand::rng().random_range(15_000..30_000);
            let is_free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
            if is_free(port) && is_free(port + 1) {
                break port;
            }
        };
        let config = format!(
            "tickTime=500\ndataDir={}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\n4lw.commands.whitelist=srvr\nmaxClientCnxns=0\n\
             minSessionTimeout=1000\nmaxSessionTimeout=60000\n{}",
            directory.display(),
            more(port)
        );
        std::fs::write(directory.join("zoo.cfg"), config).expect("written");
        let child = spawn(&directory);
        let mut server = Self { child, directory, port };
        server.ready().await;
        server
    }

    pub fn hosts(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Somebody who only looks on.
    pub async fn watcher(&self) -> Client {
        Client::connect(&self.hosts()).await.expect("a session")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }

    /// Starts it again on what it has written.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.directory);
        self.ready().await;
    }

    /// Forgets everything; while it is down.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(self.directory.join("data")).expect("it has written");
    }

    /// `ruok` is answered before the server serves; `srvr` names its mode only from then on.
    async fn ready(&mut self) {
        let started = Instant::now();
        // Asked too early it may never answer, hence the limit.
        let port = self.port;
        let asking = || timeout(Duration::from_millis(500), Self::srvr(port));
        while !asking().await.is_ok_and(|said| said.is_ok_and(|said| said.contains("Mode:"))) {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                panic!("the server ended with {status}; is {JAR} whole? {INSTALL}");
            }
            assert!(started.elapsed() < Duration::from_secs(60), "the server does not serve");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn srvr(port: u16) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"srvr").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn spawn(directory: &Path) -> Child {
    Command::new("java")
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", CLASS_PATH])
        .arg("org.apache.zookeeper.server.ZooKeeperServerMain")
        .arg(directory.join("zoo.cfg"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run java ({error}): {INSTALL}"))
}
