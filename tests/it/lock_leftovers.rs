//! After a run, after Ctrl-C: no lock, key, lease, session or intent is left, looked for in the
//! services themselves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use shardbank::local::services::ServiceKind;
use shardbank::locks::backend::{Backend, LockServer};
use shardbank::locks::tls::TlsFiles;
use shardbank::shards::Secret;
use shardbank::transfer::ShardIndex;
use shardbank::verbs::locking::{LockKey, LockTerms};
use tokio::time::Instant;
use zookeeper_client::Client;

use crate::bank::{Bank, SHARDS};
use crate::doomed::{run, said, shardbank};
use crate::support::{lock_flags, lock_server};

const STRATEGIES: &str = "lock-advisory,lock-lease,lock-redis,lock-etcd,lock-zookeeper";

fn words(bank: &Bank, output: &str, more: &str) -> Vec<String> {
    let place = bank.log_directory().join(output);
    let mut words: Vec<String> = format!(
        "bench --strategy {STRATEGIES} --runs 1 --clients 8 --accounts 12 --warmup 0 --quiet \
         --distribution hotspot --hot-accounts 2 --output {} {more}",
        place.display()
    )
    .split_whitespace()
    .map(str::to_owned)
    .collect();
    for strategy in ["lock-redis", "lock-etcd", "lock-zookeeper"] {
        words.extend(lock_flags(strategy));
    }
    words
}

/// What a service answers to these bytes, until `end` has come.
fn asked(kind: ServiceKind, question: &str, end: &str) -> String {
    let mut stream = TcpStream::connect(lock_server(kind).address()).expect("it serves");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream.write_all(question.as_bytes()).expect("asked");
    let (mut answer, mut bytes) = (String::new(), [0; 4096]);
    while !answer.contains(end) {
        let count = stream.read(&mut bytes).expect("answered");
        answer.push_str(&String::from_utf8_lossy(&bytes[..count]));
        assert!(count > 0 || answer.contains(end), "{answer}");
    }
    answer
}

/// Everything of this bank's that is held anywhere, in words.
async fn held(bank: &Bank) -> Vec<String> {
    let id = bank.cluster.id();
    let mut held = Vec::new();
    let keys = asked(ServiceKind::Redis, &format!("KEYS *{id}*lock:*\r\n"), "\r\n");
    if !keys.starts_with("*0") {
        held.push(format!("keys in Redis: {keys}"));
    }
    // Everything of the cluster's; its incarnation stays.
    let (from, until) = (format!("shardbank:{id}:"), format!("shardbank:{id};"));
    let body = format!(r#"{{"key":"{}","range_end":"{}"}}"#, base64(&from), base64(&until));
    let question = format!(
        "POST /v3/kv/range HTTP/1.1\r\nHost: e\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let keys = asked(ServiceKind::Etcd, &question, "}");
    let keys: Vec<&str> = keys.split("\"key\":").skip(1).collect();
    if keys.len() > 1 {
        held.push(format!("keys in etcd beside its incarnation: {keys:?}"));
    }

    let client = Client::connect(lock_server(ServiceKind::ZooKeeper).address());
    let client = client.await.expect("it serves");
    let locks = format!("/shardbank/{id}/locks");
    for account in client.list_children(&locks).await.unwrap_or_default() {
        let queue = client.list_children(&format!("{locks}/{account}")).await.unwrap_or_default();
        if !queue.is_empty() {
            held.push(format!("nodes in ZooKeeper: {queue:?}"));
        }
    }

    for shard in 0..SHARDS {
        let client = bank.client(shard).await;
        for (what, question) in [
            ("leases", "select count(*) from shardbank.lease where expires_at > clock_timestamp()"),
            ("open intents", "select count(*) from shardbank.intent where state = 'open'"),
            (
                "advisory locks on accounts",
                "select count(*) from pg_locks where locktype = 'advisory' and objsubid = 1 and \
                 database = (select oid from pg_database where datname = current_database())",
            ),
            (
                "sessions",
                "select count(*) from pg_stat_activity where datname = current_database() \
                 and application_name like 'shardbank/%'",
            ),
        ] {
            let left: i64 = client.query_one(question, &[]).await.expect("counted").get(0);
            if left > 0 {
                held.push(format!("{left} {what} on shard {shard}"));
            }
        }
    }
    held
}

async fn nothing_is_left(bank: &Bank, when: &str) {
    assert_eq!(held(bank).await, Vec::<String>::new(), "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_seen_in_every_service() {
    let bank = Bank::open().await;
    let (context, _verbs) = bank.coordinator().await;
    let server = |kind| {
        let address = lock_flags(match kind {
            ServiceKind::Redis => "lock-redis",
            ServiceKind::Etcd => "lock-etcd",
            ServiceKind::ZooKeeper => "lock-zookeeper",
        });
        let address = Secret::new(address[1].clone());
        Backend::Server(LockServer { kind, address, login: None, tls: TlsFiles::default() })
    };
    let key = LockKey { shard: ShardIndex(0), account: bank.account(0, 0) };
    for (backend, word) in [
        (Backend::Advisory, "advisory locks"),
        (Backend::Lease, "leases"),
        (server(ServiceKind::Redis), "Redis"),
        (server(ServiceKind::Etcd), "etcd"),
        (server(ServiceKind::ZooKeeper), "ZooKeeper"),
    ] {
        let terms = LockTerms::default();
        let service = backend.open(&bank.cluster, &context.presence, 1, terms).await;
        let service = service.unwrap_or_else(|error| panic!("{word}: {error}"));
        let lock = service.acquire(key, Instant::now() + terms.wait).await;
        let lock = lock.unwrap_or_else(|error| panic!("{word}: {error}"));
        let seen = held(&bank).await;
        assert!(seen.iter().any(|line| line.contains(word)), "{word} is not in {seen:?}");
        lock.release().await.unwrap_or_else(|error| panic!("{word}: {error}"));
        let left = held(&bank).await;
        assert!(!left.iter().any(|line| line.contains(word)), "{word}: {left:?}");
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            let there = digit <= three.len();
            encoded.push(if there { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    encoded
}

#[tokio::test(flavor = "multi_thread")]
async fn a_benchmark_under_locks_leaves_none() {
    let bank = Bank::open().await;
    let words = words(&bank, "locks-to-the-end", "--transfers 20");
    let output = run(&bank, &words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    nothing_is_left(&bank, "after a run").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_benchmark_under_locks_that_is_interrupted_leaves_none() {
    let bank = Bank::open().await;
    // Each strategy in its turn is the one that is stopped.
    for strategy in STRATEGIES.split(',') {
        let words = words(&bank, strategy, "--time 600");
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words[2] = strategy;
        let child = shardbank(&bank, &words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the executable runs");
        let client = bank.client(0).await;
        loop {
            let legs = "select count(*) from shardbank.leg where strategy = $1";
            let legs: i64 = client.query_one(legs, &[&strategy]).await.expect("counted").get(0);
            if legs > 10 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(pid.expect("it runs"), Signal::INT).expect("it is ours");
        let output = child.wait_with_output().await.expect("it ends");
        assert_eq!(output.status.code(), Some(5), "{strategy}: {}", said(&output));
        nothing_is_left(&bank, &format!("after Ctrl-C of {strategy}")).await;
    }
}
