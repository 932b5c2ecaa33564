//! TLS to real lock servers: encrypted, and only with the server that was meant. And what is not
//! sent without it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use shardbank::local::services::ServiceKind;
use shardbank::locks::etcd::{Etcd, EtcdSettings};
use shardbank::locks::redis::{Redis, RedisSettings};
use shardbank::locks::service::Service;
use shardbank::locks::tls::TlsFiles;
use shardbank::locks::zookeeper::{Digest, ZooKeeper, ZooKeeperSettings};
use shardbank::shards::Secret;
use shardbank::verbs::locking::{HolderId, Released};

use crate::lock_checks::{key, run, soon};
use crate::lock_servers::{Server, free_port};
use crate::lock_zookeeper::server::Server as ZooKeeperServer;
use crate::places::{Place, text};
use crate::support::executable;
use crate::{bank::Bank, certificates};

const TTL: Duration = Duration::from_secs(5);
/// A password that must not be seen anywhere.
const CANARY: &str = "canary-4711";

/// A server that can be asked for locks on `port` in clear and on `encrypted` over TLS.
struct Target<'a> {
    kind: ServiceKind,
    port: u16,
    encrypted: u16,
    certificates: &'a Path,
    /// Whether it is told the password.
    has_password: bool,
}

impl Target<'_> {
    fn files(&self, authority: &str) -> TlsFiles {
        TlsFiles { authority: Some(self.certificates.join(authority)), identity: None }
    }

    fn with_identity(&self, authority: &str) -> TlsFiles {
        let identity = ["client.crt", "client.key"].map(|file| self.certificates.join(file));
        TlsFiles { identity: Some(identity.into()), ..self.files(authority) }
    }

    /// Takes a lock over TLS at `host:port` and gives it back; else the line that says why not.
    async fn lock(&self, host: &str, port: u16, files: &TlsFiles) -> Result<(), String> {
        let service: Box<dyn Service> = match self.kind {
            ServiceKind::Redis => {
                let login = if self.has_password { format!(":{CANARY}@") } else { String::new() };
                let url = format!("rediss://{login}{host}:{port}");
                let settings = RedisSettings::with_tls(&url, "shardbank:test:", files)
                    .map_err(|error| error.to_string())?;
                let redis = Redis::connect(&settings, TTL).await;
                Box::new(redis.map_err(|error| error.to_string())?)
            }
            ServiceKind::Etcd => {
                let address = format!("https://{host}:{port}");
                let settings = EtcdSettings::with_tls(&address, "shardbank:test:", files)
                    .map_err(|error| error.to_string())?;
                let etcd = Etcd::connect(&settings, TTL).await;
                Box::new(etcd.map_err(|error| error.to_string())?)
            }
            ServiceKind::ZooKeeper => {
                let password = Secret::new(CANARY.to_owned());
                let settings = ZooKeeperSettings {
                    hosts: format!("tls://{host}:{port}"),
                    tls: files.clone(),
                    root: "/shardbank/test".to_owned(),
                    digest: Some(Digest { user: "teller".to_owned(), password }),
                };
                let zookeeper = ZooKeeper::connect(&settings, TTL).await;
                Box::new(zookeeper.map_err(|error| error.to_string())?)
            }
        };
        let granted = service.grant(key(1), HolderId::fresh(), soon(10_000)).await;
        let granted = granted.map_err(|error| error.to_string())?;
        granted.lease.renew().await.map_err(|error| error.to_string())?;
        assert_eq!(granted.lease.release().await, Ok(Released::Owned));
        Ok(())
    }

    /// The line that says why no lock was granted; it must hold all of `words`.
    async fn refusal(&self, host: &str, port: u16, files: &TlsFiles, words: &[&str]) {
        let line = self.lock(host, port, files).await.expect_err("it must be refused");
        assert!(words.iter().all(|word| line.contains(word)), "{}: {line}", self.kind);
        assert!(!line.contains('\n') && !line.contains(CANARY), "{line}");
    }

    /// Locks are granted over TLS by the server that was meant, and nobody else is spoken to.
    async fn is_verified(&self, trusted: &TlsFiles) {
        self.lock("localhost", self.encrypted, trusted).await.expect("it is who it says it is");
        let stranger = TlsFiles {
            authority: self.files("stranger.crt").authority,
            identity: trusted.identity.clone(),
        };
        self.refusal("localhost", self.encrypted, &stranger, &["UnknownIssuer", "--lock-ca"]).await;
        let words = ["not valid for name", "subjectAltName"];
        self.refusal("127.0.0.1", self.encrypted, trusted, &words).await;
        self.refusal("localhost", self.port, trusted, &["does not speak TLS"]).await;
    }

    /// One that wants to see a certificate is shown it.
    async fn wants_certificate(&self) {
        let without = self.files("ca.crt");
        self.refusal("localhost", self.encrypted, &without, &["--lock-cert"]).await;
        self.lock("localhost", self.encrypted, &self.with_identity("ca.crt"))
            .await
            .expect("it trusts the certificate's authority");
    }
}

fn redis_over_tls(certificates: &Path, more: &[&str]) -> (Server, u16) {
    let port = free_port();
    let [certificate, key, authority] =
        ["server.crt", "server.key", "ca.crt"].map(|file| certificates.join(file));
    let arguments = format!(
        "--tls-port {port} --tls-cert-file {} --tls-key-file {} --tls-ca-cert-file {}",
        certificate.display(),
        key.display(),
        authority.display()
    );
    let arguments: Vec<&str> = arguments.split(' ').chain(more.iter().copied()).collect();
    (Server::redis(&arguments), port)
}

fn etcd_over_tls(certificates: &Path, more: &[&str]) -> (Server, u16) {
    let port = free_port();
    let [certificate, key] = ["server.crt", "server.key"].map(|file| certificates.join(file));
    let arguments = format!("--cert-file {} --key-file {}", certificate.display(), key.display());
    let arguments: Vec<&str> = arguments.split(' ').chain(more.iter().copied()).collect();
    (Server::etcd_with(&format!(",https://127.0.0.1:{port}"), &arguments), port)
}

#[test]
fn redis_is_reached_over_tls_where_it_is_the_one_that_was_meant() {
    run(async {
        let place = Place::new();
        certificates::make(&place.0, "localhost");
        let more = ["--tls-auth-clients", "no", "--requirepass", CANARY];
        let (server, encrypted) = redis_over_tls(&place.0, &more);
        let (kind, port, certificates) = (ServiceKind::Redis, server.port, place.0.as_path());
        let target = Target { kind, port, encrypted, certificates, has_password: true };
        let trusted = target.files("ca.crt");
        target.is_verified(&trusted).await;
        let stranger = Target { has_password: false, ..target };
        stranger.refusal("localhost", encrypted, &trusted, &["NOAUTH"]).await;
    });
}

#[test]
fn a_redis_that_wants_a_certificate_is_shown_one() {
    run(async {
        let place = Place::new();
        certificates::make(&place.0, "localhost");
        let (server, encrypted) = redis_over_tls(&place.0, &["--tls-auth-clients", "yes"]);
        let (kind, port, certificates) = (ServiceKind::Redis, server.port, place.0.as_path());
        let target = Target { kind, port, encrypted, certificates, has_password: false };
        target.wants_certificate().await;
    });
}

#[test]
fn a_redis_connection_over_tls_ends_with_its_last_user() {
    run(async {
        let place = Place::new();
        certificates::make(&place.0, "localhost");
        let (server, encrypted) = redis_over_tls(&place.0, &["--tls-auth-clients", "no"]);
        let authority = Some(place.0.join("ca.crt"));
        let files = TlsFiles { authority, identity: None };
        let url = format!("rediss://localhost:{encrypted}");
        let settings = RedisSettings::with_tls(&url, "shardbank:test:", &files).expect("a URL");
        let redis = Redis::connect(&settings, TTL).await.expect("a server of our own");
        let clients = || server.ask("CLIENT LIST TYPE pubsub\r\n").matches("id=").count();
        assert_eq!(clients(), 1);
        drop(redis);
        let gone = async {
            while clients() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("it was closed");
    });
}

#[test]
fn etcd_is_reached_over_tls_where_it_is_the_one_that_was_meant() {
    run(async {
        let place = Place::new();
        certificates::make(&place.0, "localhost");
        let (server, encrypted) = etcd_over_tls(&place.0, &[]);
        let (kind, port, certificates) = (ServiceKind::Etcd, server.port, place.0.as_path());
        let target = Target { kind, port, encrypted, certificates, has_password: false };
        target.is_verified(&target.files("ca.crt")).await;
    });
}

#[test]
fn an_etcd_that_wants_a_certificate_is_shown_one() {
    run(async {
        let place = Place::new();
        certificates::make(&place.0, "localhost");
        let authority = place.0.join("ca.crt").display().to_string();
        let more = ["--client-cert-auth", "--trusted-ca-file", &authority];
        let (server, encrypted) = etcd_over_tls(&place.0, &more);
        let (kind, port, certificates) = (ServiceKind::Etcd, server.port, place.0.as_path());
        let target = Target { kind, port, encrypted, certificates, has_password: false };
        target.wants_certificate().await;
    });
}

#[test]
fn zookeeper_is_reached_over_tls_where_it_is_the_one_that_was_meant() {
    run(async {
        let place = Place::new();
        certificates::make(&place.0, "localhost");
        // Its own default: who shows no certificate is refused.
        let server = ZooKeeperServer::start_with_tls(&place.0, "need").await;
        let (kind, certificates) = (ServiceKind::ZooKeeper, place.0.as_path());
        let (port, encrypted) = (server.port, server.port + 1);
        let target = Target { kind, port, encrypted, certificates, has_password: true };
        target.is_verified(&target.with_identity("ca.crt")).await;
        target.wants_certificate().await;
    });
}

/// `bench` with these arguments, its password in the environment, stops with what it says. It
/// starts nothing before that.
fn refused(arguments: &[&str]) -> String {
    let place = Place::new();
    let output = Command::new(executable())
        .args(["bench", "--quiet", "--strategy", "lock-redis,lock-etcd,lock-zookeeper"])
        .args(arguments)
        .env("TMPDIR", &place.0)
        .env("SHARDBANK_REDIS", format!("redis://:{CANARY}@cache.invalid"))
        .env("SHARDBANK_ETCD_LOGIN", format!("teller:{CANARY}"))
        .env("SHARDBANK_ZOOKEEPER_LOGIN", format!("teller:{CANARY}"))
        .output()
        .expect("the executable runs");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains(CANARY), "{said}");
    assert_eq!(std::fs::read_dir(&place.0).expect("ours").count(), 0);
    said
}

#[test]
fn nothing_is_told_in_clear_to_another_machine_unless_its_network_is_trusted() {
    let here = ["--redis", "redis://localhost:1"];
    for (arguments, words) in [
        (&[][..], ["Redis", "unencrypted", "rediss://"]),
        (&["--redis", "redis://cache.invalid"], ["Redis", "without a password", "cache.invalid"]),
        (&[here[0], here[1], "--etcd", "http://e.invalid:1"], ["etcd", "e.invalid", "https://"]),
        (
            &[here[0], here[1], "--etcd", "localhost:1", "--zookeeper", "localhost:1,z.invalid"],
            ["ZooKeeper", "z.invalid", "tls://"],
        ),
    ] {
        let said = refused(arguments);
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(said.contains("--lock-trust-network"), "{said}");
    }
}

#[test]
fn files_for_tls_that_cannot_be_used_are_refused_before_anything_is_started() {
    let trusting = |more: &[&str]| refused(&[&["--lock-trust-network"], more].concat());
    let said = trusting(&["--lock-ca", "/no/such/file"]);
    assert!(said.contains("--lock-ca") && said.contains("no lock server"), "{said}");
    let over_tls = ["--redis", "rediss://cache.invalid", "--lock-ca"];
    let said = trusting(&[over_tls.as_slice(), &["/no/such/file"]].concat());
    assert!(said.contains("--lock-ca /no/such/file cannot be read"), "{said}");
    let said = trusting(&[over_tls.as_slice(), &["/dev/null"]].concat());
    assert!(said.contains("--lock-ca /dev/null contains no certificate"), "{said}");
    let said = trusting(&["--redis", "rediss://cache.invalid#insecure"]);
    assert!(said.contains("always verified"), "{said}");
    let said = trusting(&["--etcd", "https://one:1,http://two:1"]);
    assert!(said.contains("all must, or none"), "{said}");
    let said = trusting(&["--zookeeper", "tls://one:1,tls://two:1"]);
    assert!(said.contains("once before all of them"), "{said}");

    let place = Place::new();
    certificates::make(&place.0, "localhost");
    let file = |name| place.0.join(name).display().to_string();
    let (authority, certificate) = (file("ca.crt"), file("client.crt"));
    let identity = |key: &str| {
        let files = [&authority, "--lock-cert", &certificate, "--lock-key", key];
        trusting(&[over_tls.as_slice(), &files].concat())
    };
    let said = identity(&certificate);
    assert!(said.contains("--lock-key") && said.contains("contains no key"), "{said}");
    let said = identity(&file("server.key"));
    assert!(said.contains("--lock-cert and --lock-key cannot be used"), "{said}");
}

#[tokio::test]
async fn a_transfer_goes_by_locks_that_were_taken_over_tls() {
    let bank = Bank::open().await;
    let place = Place::new();
    certificates::make(&place.0, "localhost");
    let more = ["--tls-auth-clients", "no", "--requirepass", CANARY];
    let (_server, encrypted) = redis_over_tls(&place.0, &more);
    let (source, target) = (bank.account(0, 0), bank.account(1, 0));
    let before = bank.balance(target).await;
    let mut command = Command::new(executable());
    command.args(["transfer", "--strategy", "lock-redis", "--amount", "1"]);
    command.args(["--from", &source.to_string(), "--to", &target.to_string(), "--lock-ca"]);
    command.arg(place.0.join("ca.crt"));
    for url in bank.urls() {
        command.args(["--shard", &url]);
    }
    let url = format!("rediss://:{CANARY}@localhost:{encrypted}");
    let output = command.env("SHARDBANK_REDIS", url).output().expect("the executable runs");
    assert!(output.status.success(), "{}", text(&output));
    assert!(!text(&output).contains(CANARY));
    assert_eq!(bank.balance(target).await, before + 1);
}
