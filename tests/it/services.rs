//! Lock servers of our own: they serve, they come back, and they are gone afterwards.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::park;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use shardbank::local::services::{LocalService, ServiceError, ServiceKind, ServiceOptions};

use crate::places::{Place, eventually, kill_9, runs, shardbank, text};
use crate::support::executable;

fn options(kind: ServiceKind) -> ServiceOptions {
    ServiceOptions { executable: Some(executable()), ..ServiceOptions::new(kind) }
}

fn start(kind: ServiceKind) -> LocalService {
    LocalService::start(&options(kind)).unwrap_or_else(|error| panic!("{error}"))
}

fn ask(service: &LocalService, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(service: &LocalService, path: &str, json: &str) -> String {
    let length = json.len();
    let head = format!("POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
    let answer = ask(service, (head + json).as_bytes());
    assert!(answer.contains(" 200 OK\r\n"), "{answer}");
    answer
}

/// Has the server keep something.
fn write(service: &LocalService) {
    match service.kind() {
        ServiceKind::Redis => {
            assert_eq!(ask(service, b"SET kept it\r\nQUIT\r\n"), "+OK\r\n+OK\r\n");
        }
        ServiceKind::Etcd => {
            post(service, "/v3/kv/put", r#"{"key": "a2VwdA==", "value": "aXQ="}"#);
        }
        ServiceKind::ZooKeeper => {
            // To open a session, which is a change like any other: version 0, nothing seen, ten
            // seconds, no session before and thus no password.
            let request = [&44_i32.to_be_bytes()[..], &[0; 12], &10_000_i32.to_be_bytes(), &[0; 8]];
            let request = [&request.concat()[..], &16_i32.to_be_bytes(), &[0; 16]].concat();
            let mut stream = TcpStream::connect(service.address()).unwrap();
            stream.write_all(&request).unwrap();
            stream.read_exact(&mut [0; 20]).unwrap();
        }
    }
}

/// Whether it still has that.
fn has_it(service: &LocalService) -> bool {
    match service.kind() {
        ServiceKind::Redis => ask(service, b"GET kept\r\nQUIT\r\n").starts_with("$2\r\nit\r\n"),
        ServiceKind::Etcd => {
            post(service, "/v3/kv/range", r#"{"key": "a2VwdA=="}"#).contains("aXQ=")
        }
        ServiceKind::ZooKeeper => {
            let answer = ask(service, b"srvr");
            assert!(answer.contains("Zxid: "), "{answer}");
            !answer.contains("Zxid: 0x0\n")
        }
    }
}

#[test]
fn every_lock_server_serves_and_leaves_no_process_and_no_directory() {
    for kind in ServiceKind::ALL {
        let service = start(kind);
        let pid = service.pid().expect("it is running");
        let directory = service.directory().to_owned();
        assert!(runs(pid) && directory.exists());
        assert!(!has_it(&service));
        write(&service);
        assert!(has_it(&service), "{kind}");
        // Nobody but its user gets at the data, and root runs no servers.
        let data = fs::metadata(directory.join("data")).unwrap();
        assert_eq!(data.permissions().mode() & 0o077, 0);
        let process = fs::metadata(format!("/proc/{pid}")).unwrap();
        assert_eq!(process.uid(), data.uid());
        assert_eq!(process.uid() == geteuid().as_raw(), !geteuid().is_root());
        service.stop().unwrap();
        assert!(!runs(pid) && !directory.exists(), "{kind}");
    }
}

#[test]
fn a_lock_server_ends_with_a_panic() {
    let mut seen = None;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let service = start(ServiceKind::Redis);
        seen = Some((service.pid().unwrap(), service.directory().to_owned()));
        panic!("on purpose");
    }));
    assert!(ended.is_err());
    let (pid, directory) = seen.unwrap();
    assert!(!runs(pid) && !directory.exists());
}

#[test]
fn a_killed_lock_server_comes_back_on_its_port_with_its_data_or_without() {
    for kind in ServiceKind::ALL {
        let mut service = start(kind);
        let (address, first) = (service.address().to_owned(), service.pid());
        write(&service);
        service.kill();
        assert_eq!(service.pid(), None);
        assert!(TcpStream::connect(&address).is_err());

        service.start_again(true).unwrap();
        assert!(service.pid().is_some() && service.pid() != first);
        assert_eq!(service.address(), address);
        assert!(has_it(&service), "{kind} has lost what it had");

        // It need not have been killed before.
        service.start_again(false).unwrap();
        assert_eq!(service.address(), address);
        assert!(!has_it(&service), "{kind} still has what it had");
        service.stop().unwrap();
    }
}

#[test]
fn what_a_restart_loses_is_what_the_durability_says() {
    let not_durable = ServiceOptions { durable: false, ..options(ServiceKind::Redis) };
    let mut service = LocalService::start(&not_durable).unwrap();
    assert_eq!(service.durability(), "no persistence");
    write(&service);
    service.start_again(true).unwrap();
    assert!(!has_it(&service));
    assert_eq!(start(ServiceKind::Redis).durability(), "appendfsync always");
}

#[test]
fn a_port_that_somebody_else_has_by_now_is_an_error_and_left_alone() {
    for kind in ServiceKind::ALL {
        let mut service = start(kind);
        service.kill();
        let other = TcpListener::bind(service.address()).unwrap();
        other.set_nonblocking(true).unwrap();
        let refused = service.start_again(true).unwrap_err();
        assert!(matches!(refused, ServiceError::Ended { .. }), "{refused}");
        drop(other);
        service.start_again(true).unwrap();
    }
}

#[test]
fn a_lock_server_that_is_not_there_is_said_with_the_flag_that_names_it() {
    for (kind, flag) in [
        (ServiceKind::Redis, "--redis-server"),
        (ServiceKind::Etcd, "--etcd-binary"),
        (ServiceKind::ZooKeeper, "--zookeeper-jar"),
    ] {
        assert!(kind.find(None, None).is_ok());
        let nowhere = Path::new("/no/such/file");
        let said = kind.find(Some(nowhere), None).unwrap_err().to_string();
        assert!(said.contains("/no/such/file") && said.contains(flag), "{said}");
        let named = ServiceOptions { binary: Some(nowhere.into()), ..options(kind) };
        assert_eq!(LocalService::start(&named).unwrap_err().to_string(), said);
    }
    let said = ServiceKind::ZooKeeper.find(None, Some(Path::new("/no/java"))).unwrap_err();
    assert!(said.to_string().contains("correct --java"), "{said}");
}

#[test]
fn a_lock_server_that_does_not_start_is_an_error_with_the_end_of_its_log() {
    let place = Place::new();
    let program = place.0.join("etcd");
    fs::write(&program, "#!/bin/sh\necho 'no such luck'; exit 3\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let named = ServiceOptions { binary: Some(program), ..options(ServiceKind::Etcd) };
    let said = LocalService::start(&named).unwrap_err().to_string();
    assert!(said.contains("no such luck") && said.contains("exit status: 3"), "{said}");
}

/// Set in a process that is there to be killed.
const HOLDS: &str = "SHARDBANK_TEST_HOLDS_LOCK_SERVERS";
/// Such a process runs this test alone.
const HOLDER: &str = "services::however_a_process_ends_its_lock_servers_end_with_it";

/// In such a process: has one server of each kind, says so, and never returns.
fn hold() {
    let services = ServiceKind::ALL.map(start);
    for service in &services {
        println!("\nholds {} {}", service.pid().unwrap(), service.directory().display());
    }
    loop {
        park();
    }
}

/// A process with a server of each kind, as its owner sees it.
struct Holder {
    child: Child,
    servers: Vec<(i32, PathBuf)>,
}

impl Holder {
    fn start(temporary: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", HOLDER, "--nocapture"])
            .env(HOLDS, "1")
            .env("TMPDIR", temporary)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let held = lines.filter_map(|line| {
            let (pid, directory) = line.strip_prefix("holds ")?.split_once(' ')?;
            Some((pid.parse().unwrap(), directory.into()))
        });
        let servers: Vec<_> = held.take(ServiceKind::ALL.len()).collect();
        assert_eq!(servers.len(), ServiceKind::ALL.len(), "it ended");
        Self { child, servers }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The children that would clean up after it.
    fn janitors(&self) -> Vec<i32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().flatten();
        let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap());
        let pids = children.collect::<Vec<_>>().join(" ");
        let pids = pids.split_whitespace().map(|pid| pid.parse().unwrap());
        pids.filter(|pid| self.servers.iter().all(|(server, _)| server != pid)).collect()
    }

    fn all_run(&self) -> bool {
        self.servers.iter().all(|(pid, _)| runs(*pid))
    }

    fn is_gone(&self) -> bool {
        self.servers.iter().all(|(pid, directory)| !runs(*pid) && !directory.exists())
    }
}

/// A test that fails must not leave it behind either.
impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn however_a_process_ends_its_lock_servers_end_with_it() {
    if std::env::var_os(HOLDS).is_some() {
        hold();
    }
    let place = Place::new();
    // A name that none of them may stumble over.
    let temporary = place.0.join("it's, a & é");
    fs::create_dir(&temporary).unwrap();
    for signal in [Signal::KILL, Signal::TERM] {
        let mut holder = Holder::start(&temporary);
        assert!(holder.all_run());
        kill_process(Pid::from_raw(holder.pid()).unwrap(), signal).unwrap();
        holder.child.wait().unwrap();
        eventually("the servers and their directories are gone", || holder.is_gone());
    }
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn lock_servers_whose_janitors_were_killed_too_are_removed_by_down() {
    let place = Place::new();
    let mut killed = Holder::start(&place.0);
    let mut alive = Holder::start(&place.0);
    let janitors = killed.janitors();
    assert_eq!(janitors.len(), ServiceKind::ALL.len());
    janitors.into_iter().for_each(kill_9);
    kill_9(killed.pid());
    killed.child.wait().unwrap();
    assert!(killed.all_run());

    let none = place.0.join("none");
    let down = shardbank(&["local", "down", "--dir", none.to_str().unwrap()], &place.0);
    assert!(down.status.success(), "{}", text(&down));
    assert!(killed.is_gone(), "{}", text(&down));
    assert!(alive.all_run(), "{}", text(&down));
    assert!(text(&down).contains("goes on"), "{}", text(&down));

    alive.child.kill().unwrap();
    eventually("the others are gone as well", || alive.is_gone());
}

#[test]
fn lock_servers_whose_files_somebody_removed_end_with_their_process_too() {
    let place = Place::new();
    let mut holder = Holder::start(&place.0);
    for (_, directory) in &holder.servers {
        fs::remove_dir_all(directory).unwrap();
    }
    holder.child.kill().unwrap();
    eventually("the servers are gone", || holder.is_gone());
}
