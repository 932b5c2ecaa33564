//! Local servers: durable, private, and gone afterwards.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use shardbank::local::{LocalCluster, LocalError};

use crate::places::{Place, eventually, kill_9, runs, shardbank, text};
use crate::support::{cluster, connect, executable, options};

#[tokio::test(flavor = "multi_thread")]
async fn every_server_of_a_cluster_is_durable_and_ready_for_two_phase_commit() {
    let mut names = Vec::new();
    for shard in cluster().shards() {
        let client = connect(shard).await;
        let show = async |setting: &str| -> String {
            client.query_one("SELECT current_setting($1)", &[&setting]).await.unwrap().get(0)
        };
        for setting in ["fsync", "full_page_writes", "synchronous_commit", "autovacuum"] {
            assert_eq!(show(setting).await, "on", "{setting}");
        }
        assert_eq!(show("max_prepared_transactions").await, "256");
        assert_eq!(show("listen_addresses").await, "127.0.0.1");
        names.push(show("cluster_name").await);
    }
    assert_eq!(names, ["shardbank-0", "shardbank-1", "shardbank-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_take_no_connection_over_tcp_without_the_password() {
    let shard = &cluster().shards()[0];
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(shard.port).user(&shard.user).dbname(&shard.database);
    assert!(config.connect(tokio_postgres::NoTls).await.is_err());
    config.password("wrong");
    assert!(config.connect(tokio_postgres::NoTls).await.is_err());
    let password = fs::read_to_string(cluster().password_file()).unwrap();
    config.password(password.trim());
    assert!(config.connect(tokio_postgres::NoTls).await.is_ok());
}

#[test]
fn only_their_user_and_root_can_enter_the_directory_of_the_sockets() {
    for path in [&cluster().shards()[0].socket_directory, &cluster().directory().join("shard-0")] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
    let mode = fs::metadata(cluster().password_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
}

#[test]
fn stopping_a_cluster_leaves_no_process_and_no_directory() {
    let cluster = LocalCluster::start(&options(2)).unwrap();
    let pids = [0, 1].map(|shard| cluster.pid(shard).unwrap().expect("it is running"));
    let directory = cluster.directory().to_owned();
    assert!(directory.exists());
    cluster.stop().unwrap();
    assert!(!pids.into_iter().any(runs));
    assert!(!directory.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_server_comes_back_with_what_was_committed() {
    let cluster = LocalCluster::start(&options(1)).unwrap();
    let shard = cluster.shards()[0].clone();
    let client = connect(&shard).await;
    client.batch_execute("CREATE TABLE kept (n int)").await.unwrap();

    for n in 1..=2 {
        let client = connect(&shard).await;
        client.execute("INSERT INTO kept VALUES ($1)", &[&n]).await.unwrap();
        if n == 1 {
            cluster.stop_immediately(0).unwrap();
            assert_eq!(cluster.pid(0).unwrap(), None);
        } else {
            kill_9(cluster.pid(0).unwrap().unwrap());
        }
        cluster.restart(0).unwrap();
        let rows = connect(&shard).await.query("SELECT n FROM kept ORDER BY n", &[]).await.unwrap();
        let rows: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(rows, (1..=n).collect::<Vec<i32>>());
    }
    assert!(matches!(cluster.pid(1), Err(LocalError::NoSuchShard { shard: 1, count: 1 })));
    cluster.stop().unwrap();
}

/// A `shardbank local run` with the postmasters of its servers.
struct Run {
    child: std::process::Child,
    directory: PathBuf,
    servers: Vec<i32>,
}

impl Run {
    fn start(temporary: &Path) -> Self {
        let mut child = Command::new(executable())
            .args(["local", "run", "--shards", "2"])
            .env("TMPDIR", temporary)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut output = child.stdout.take().unwrap();
        while !said.contains("Ctrl-C") {
            let mut buffer = [0; 1000];
            let count = output.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "it ended: {said}");
            said.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        let directory = said.lines().next().unwrap().rsplit(' ').next().unwrap().into();
        let servers = pids_in(&said);
        assert_eq!(servers.len(), 2);
        Self { child, directory, servers }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The child that would clean up after it.
    fn janitor(&self) -> i32 {
        let children = format!("/proc/{0}/task/{0}/children", self.pid());
        fs::read_to_string(children).unwrap().trim().parse().expect("it has one child")
    }

    fn is_gone(&self) -> bool {
        !self.directory.exists() && !self.servers.iter().copied().any(runs)
    }
}

/// A test that fails must not leave it behind either.
impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pids_in(said: &str) -> Vec<i32> {
    said.split("pid ")
        .skip(1)
        .map(|rest| rest.split(',').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn however_a_run_ends_its_servers_end_with_it() {
    let place = Place::new();
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        let mut run = Run::start(&place.0);
        assert!(run.servers.iter().copied().all(runs));
        kill_process(Pid::from_raw(run.pid()).unwrap(), signal).unwrap();
        run.child.wait().unwrap();
        eventually("the servers and their directory are gone", || run.is_gone());
    }
}

#[test]
fn a_run_killed_while_it_makes_its_servers_leaves_nothing() {
    let place = Place::new();
    for milliseconds in [20, 100, 300, 600] {
        let mut child = Command::new(executable())
            .args(["local", "run"])
            .env("TMPDIR", &place.0)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        // Killed before it had a lock, it leaves an empty directory, which the next run removes.
        eventually("nothing works in the directory and nothing is in it", || {
            fs::read_dir(&place.0).unwrap().flatten().all(|e| fs::remove_dir(e.path()).is_ok())
        });
        assert_eq!(servers_in(&place.0), Vec::<String>::new());
    }
}

/// The command lines that mention `directory`.
fn servers_in(directory: &Path) -> Vec<String> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|line| line.contains("postgres") && line.contains(&*directory.to_string_lossy()))
        .collect()
}

#[test]
fn what_a_run_leaves_when_its_janitor_is_killed_too_is_removed_by_down() {
    let place = Place::new();
    let mut killed = Run::start(&place.0);
    let mut alive = Run::start(&place.0);
    kill_9(killed.janitor());
    kill_9(killed.pid());
    killed.child.wait().unwrap();
    assert!(killed.servers.iter().copied().all(runs));

    let none = place.0.join("none");
    let down = shardbank(&["local", "down", "--dir", none.to_str().unwrap()], &place.0);
    assert!(down.status.success(), "{}", text(&down));
    assert!(killed.is_gone(), "{}", text(&down));
    assert!(alive.servers.iter().copied().all(runs), "{}", text(&down));
    assert!(text(&down).contains("goes on"), "{}", text(&down));

    alive.child.kill().unwrap();
    alive.child.wait().unwrap();
    eventually("the other one is gone as well", || alive.is_gone());
}

#[tokio::test(flavor = "multi_thread")]
async fn up_status_and_down_keep_a_cluster_between_commands() {
    let place = Place::new();
    let directory = place.0.join("kept");
    let local = |action: &str, more: &[&str]| {
        let arguments = [&["local", action, "--dir", directory.to_str().unwrap()], more].concat();
        shardbank(&arguments, &place.0)
    };
    let nothing = local("status", &[]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing).contains("shardbank local up"), "{}", text(&nothing));

    let up = local("up", &["--shards", "2"]);
    assert!(up.status.success(), "{}", text(&up));
    let first = pids_in(&text(&up));
    assert_eq!(first.len(), 2);
    let shards = LocalCluster::attach(&directory).unwrap().shards().to_vec();
    for shard in &shards {
        let flag = format!("--shard '{}'", shard.url());
        assert!(text(&up).contains(&flag), "{}", text(&up));
    }
    connect(&shards[1]).await.batch_execute("CREATE TABLE kept (n int)").await.unwrap();

    // Once more changes nothing; another number of shards is refused.
    assert_eq!(pids_in(&text(&local("up", &[]))), first);
    let other = local("up", &["--shards", "3"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other).contains("holds 2 shards, not 3"), "{}", text(&other));

    // Stopped and started again, it has its data, at the same place.
    assert!(local("down", &["--keep-data"]).status.success());
    assert!(!first.into_iter().any(runs));
    assert!(text(&local("status", &[])).contains("shard 1: stopped"));
    assert!(local("up", &[]).status.success());
    connect(&shards[1]).await.batch_execute("SELECT n FROM kept").await.unwrap();

    // What else is in the directory by now is left alone.
    fs::write(directory.join("notes.txt"), "mine").unwrap();
    let last = pids_in(&text(&local("status", &[])));
    assert!(local("down", &[]).status.success());
    assert!(!last.into_iter().any(runs));
    let left: Vec<_> = fs::read_dir(&directory).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
    let foreign = local("up", &[]);
    assert_eq!(foreign.status.code(), Some(1));
    assert!(text(&foreign).contains("not empty"), "{}", text(&foreign));
    assert!(local("down", &[]).status.success(), "nothing to do is done");
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let place = Place::new();
    let directory = place.0.join("new");
    let up = |directory: &Path, more: &[&str]| {
        let arguments = [&["local", "up", "--dir", directory.to_str().unwrap()], more].concat();
        let up = shardbank(&arguments, &place.0);
        assert_eq!(up.status.code(), Some(1), "{}", text(&up));
        text(&up)
    };
    let said = up(&directory, &["--pgbin", place.0.to_str().unwrap()]);
    assert!(said.contains("does not hold all of postgres, initdb, pg_ctl"), "{said}");
    let said = up(&place.0.join("a$b"), &[]);
    assert!(said.contains("choose another --dir"), "{said}");
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_with_a_long_and_awkward_name_serves_as_well() {
    let place = Place::new();
    let directory = place.0.join(format!("it's, a & {}", "long ".repeat(20).trim()));
    let cluster = LocalCluster::up(&directory, Some(1), None).unwrap();
    let sockets = cluster.shards()[0].socket_directory.clone();
    connect(&cluster.shards()[0]).await.batch_execute("SELECT 1").await.unwrap();
    LocalCluster::remove(&directory).unwrap();
    assert!(!directory.exists() && !sockets.exists());
}
