//! Connecting: every way in which it fails is one line with its remedy, and TLS is verified.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use shardbank::local::LocalCluster;
use shardbank::shards::{Environment, ShardTarget};
use tokio_postgres::Client;

use crate::{certificates, support};

const PATIENCE: Duration = Duration::from_secs(20);
/// A password that must not be seen anywhere.
const CANARY: &str = "canary-4711";

fn target(text: &str) -> ShardTarget {
    ShardTarget::parse(text, &Environment::default()).expect("the address is well-formed")
}

async fn failure(text: &str) -> String {
    let error = target(text).connect(PATIENCE).await.err();
    let line = error.unwrap_or_else(|| panic!("{text} must not connect")).to_string();
    assert!(!line.contains('\n') && !line.contains(CANARY), "{line}");
    line
}

#[tokio::test]
async fn every_failure_to_connect_is_one_line_with_its_remedy() {
    let port = support::cluster().shards()[0].port;
    let socket = support::cluster().shards()[0].socket_directory.display().to_string();
    let over_tcp = format!("host=127.0.0.1 port={port} user=shardbank dbname=shardbank");
    for (text, words) in [
        (format!("{over_tcp} password={CANARY}"), ["(28P01)", "check the role's password"]),
        (over_tcp.clone(), ["password missing", "PGPASSWORD"]),
        (format!("{over_tcp} sslmode=require"), ["does not support TLS", "sslmode=disable"]),
        (
            format!("host={socket} port={port} user=nobody_here dbname=shardbank"),
            ["(28000)", "CREATE ROLE"],
        ),
        (format!("host={socket} port={port} user=shardbank dbname=none"), ["(3D000)", "createdb"]),
        (format!("host={socket} port=1 user=u"), ["No such file", "no server listens there"]),
        ("host=127.0.0.1 port=1 user=u".to_owned(), ["refused", "no server listens there"]),
        ("host=nosuch.invalid user=u sslmode=disable".to_owned(), ["lookup", "name is not known"]),
    ] {
        let line = failure(&text).await;
        assert!(words.iter().all(|word| line.contains(word)), "{text}: {line}");
    }
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("an address").port();
    let target = target(&format!("host=127.0.0.1 port={port} user=u"));
    let error = target.connect(Duration::from_millis(200)).await.expect_err("nobody answers");
    assert!(error.to_string().contains("no answer within 0.2 s"), "{error}");
}

#[tokio::test]
async fn the_password_comes_from_a_private_file() {
    let cluster = support::cluster();
    let password = std::fs::read_to_string(cluster.password_file()).expect("the password");
    let directory = Scratch::new("passfile");
    let file = directory.path().join("pgpass");
    let line = format!("127.0.0.1:*:*:shardbank:{}\n", password.trim());
    std::fs::write(&file, line).expect("written");
    let port = cluster.shards()[0].port;
    let text = format!("host=127.0.0.1 port={port} user=shardbank passfile={}", file.display());
    chmod(&file, "0640");
    let error = ShardTarget::parse(&text, &Environment::default()).expect_err("others can read it");
    assert!(error.to_string().contains("chmod 0600"), "{error}");
    chmod(&file, "0600");
    target(&text).connect(PATIENCE).await.expect("the password fits");
}

#[tokio::test]
async fn tls_is_accepted_only_from_the_server_that_was_meant() {
    let scratch = Scratch::new("tls");
    let certificates = scratch.path();
    certificates::make(certificates, "db.example");
    let cluster = LocalCluster::start(&support::options(1)).expect("a server of its own");
    let superuser = support::connect(&cluster.shards()[0]).await;
    switch_tls_on(&superuser, certificates).await;
    let password = std::fs::read_to_string(cluster.password_file()).expect("the password");

    let port = cluster.shards()[0].port;
    let base = format!(
        "port={port} user=shardbank dbname=shardbank password={} hostaddr=127.0.0.1",
        password.trim()
    );
    let authority = certificates.join("ca.crt").display().to_string();
    let stranger = certificates.join("stranger.crt").display().to_string();

    let line = failure(&format!("{base} host=localhost sslmode=disable")).await;
    assert!(line.contains("no encryption") && line.contains("sslmode=verify-full"), "{line}");
    let line = failure(&format!("{base} host=db.example sslrootcert={stranger}")).await;
    assert!(line.contains("UnknownIssuer") && line.contains("sslrootcert"), "{line}");
    let wrong_name = format!("{base} host=other.example sslrootcert={authority}");
    let line = failure(&wrong_name).await;
    assert!(line.contains("not valid for name") && line.contains("subjectAltName"), "{line}");
    let line = failure(&format!("{wrong_name} sslrootcert={stranger} sslmode=verify-ca")).await;
    assert!(line.contains("UnknownIssuer"), "{line}");

    for accepted in [
        format!("{base} host=db.example sslrootcert={authority}"),
        format!("{base} host=db.example sslrootcert={authority} channel_binding=require"),
        format!("{wrong_name} sslmode=verify-ca"),
        format!("{base} host=other.example sslmode=require"),
    ] {
        let client = target(&accepted).connect(PATIENCE).await;
        let client = client.unwrap_or_else(|error| panic!("{error}"));
        let used = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        let encrypted: bool = client.query_one(used, &[]).await.expect("answered").get(0);
        assert!(encrypted);
    }
    cluster.stop().expect("stopped");
}

/// The server writes its files itself: they must belong to its user.
async fn switch_tls_on(superuser: &Client, certificates: &Path) {
    let mut files =
        vec![("pg_hba.conf", "local all all trust\nhostssl all all all scram-sha-256".to_owned())];
    for name in ["server.crt", "server.key"] {
        files.push((name, std::fs::read_to_string(certificates.join(name)).expect("made before")));
    }
    for (name, text) in files {
        let copy = format!(
            "copy (select regexp_split_to_table('{}', '\n')) to program 'umask 077; cat > {name}'",
            text.trim_end()
        );
        superuser.batch_execute(&copy).await.expect("the server writes its own file");
    }
    superuser.batch_execute("alter system set ssl = on").await.expect("set");
    superuser.batch_execute("select pg_reload_conf()").await.expect("asked");
    while superuser
        .query_one("select current_setting('ssl')", &[])
        .await
        .expect("answered")
        .get::<_, &str>(0)
        != "on"
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn chmod(path: &Path, mode: &str) {
    assert!(Command::new("chmod").arg(mode).arg(path).status().expect("chmod").success());
}

/// A directory that goes when the test does.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shardbank-it-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
