//! Which sockets are kept open, and for how long.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use panzer::sys::Signal;

use crate::harness::client::{Held, ask, ask_unix, is_refused};
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::{End, Panzer};
use crate::harness::procfs;
use crate::harness::setup::Setup;

/// Waits until all processes of a generation have exited, and main has handled that.
fn expect_gone(panzer: &mut Panzer, generation: u32) {
    panzer.expect_line(&format!("generation {generation}: all processes exited"));
    panzer.settle();
}

#[test]
fn port_0_keeps_its_port_over_reloads() {
    let mut panzer = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    for generation in 2..5 {
        panzer.reload(generation);
        assert_eq!(panzer.expect_address(), address);
    }
    ask(address).expect("it serves");
    panzer.stop();
}

/// The sockets that listen at an address, by their inodes: proc_net(5).
fn listening(address: SocketAddr) -> Vec<String> {
    let text = fs::read_to_string("/proc/net/tcp").expect("the kernel has TCP");
    let port = format!(":{:04X}", address.port());
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = lines.filter(|words| words.len() > 9 && words[1].ends_with(&port));
    ours.filter(|words| words[3] == "0A").map(|words| words[9].to_string()).collect()
}

/// rule: store.kept
#[test]
fn all_processes_of_all_generations_share_one_socket() {
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    let mut monitor = panzer.expect_current(1);
    let socket = listening(address);
    assert_eq!(socket.len(), 1, "{socket:?}");
    let shown = format!("socket:[{}]", socket[0]);
    for generation in 2..6 {
        for pid in panzer.workers(monitor).into_iter().chain([panzer.pid(), monitor]) {
            let descriptors = procfs::descriptors(pid);
            assert!(descriptors.iter().any(|fd| fd.ends_with(&shown)), "{pid}: {descriptors:?}");
        }
        assert_eq!(listening(address), socket);
        monitor = panzer.reload(generation);
    }
    panzer.stop();
}

#[test]
fn socket_bound_by_main_is_found_by_name_or_by_address() {
    for (bind, listen) in [("web=127.0.0.1:0", "web=127.0.0.1:1"), ("127.0.0.1:0", "127.0.0.1:0")] {
        let bind = format!("--bind={bind}");
        let mut panzer = Setup::new(&example("http"), &[listen]).options(&["-n2", &bind]).start();
        let address = panzer.expect_address();
        panzer.expect_current(1);
        ask(address).expect("it serves");
        panzer.reload(2);
        assert_eq!(panzer.expect_address(), address);
        let mut panzer = panzer.stop();
        assert_eq!(panzer.count("stored"), 0, "main bound it at the start");
        assert!(is_refused(address));
    }
}

#[test]
fn bound_socket_queues_before_a_worker_accepts() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    let words = [&*wait, "listen=web=127.0.0.1:1", "run=hold"];
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = free.expect("there are ports");
    let bind = format!("--bind=web={address}");
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1", &bind]).start();
    panzer.expect("started", 1);
    let mut held = Held::queue(address).expect("the kernel has room");
    open_gate(&gate);
    held.greeting().expect("it is answered");
    held.finish().expect("it is served");
    panzer.expect_current(1);
    panzer.stop();
}

/// rules: store.given-back, pool.ready
#[test]
fn socket_no_longer_used_is_closed_after_the_old_generation() {
    let dir = TempDir::new();
    let witness = example("witness");
    let (kept, given_back) = ("listen=a=127.0.0.1:0", "listen=b=127.0.0.1:0");
    let app = dir.app(&witness, &[given_back, kept, "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n2", "-v"]).start();
    let (other, address) = (panzer.expect_address(), panzer.expect_address());
    panzer.expect_current(1);
    // The workers accept on the first listener; a busy worker keeps it open.
    let (held, _) = Held::hold(other).expect("it serves");
    dir.app(&witness, &[kept, "run=hold"]);
    panzer.reload(2);
    assert_eq!(panzer.expect_address(), address);
    panzer.settle();
    let sockets = |pid| procfs::descriptors(pid).iter().filter(|fd| fd.contains("socket")).count();
    // The notify socket of each generation and the two of the store, as long as the old
    // generation runs: should the new one fail now, the next would need both.
    assert_eq!(sockets(panzer.pid()), 4);
    held.finish().expect("it is finished");
    expect_gone(&mut panzer, 1);
    assert_eq!(sockets(panzer.pid()), 2);
    assert!(is_refused(other));
    let (held, _) = Held::hold(address).expect("it serves");
    held.finish().expect("it is finished");
    panzer.stop();
}

/// rule: store.given-back
#[test]
fn socket_dropped_and_used_again_stays_open() {
    let dir = TempDir::new();
    let witness = example("witness");
    let (kept, given_back) = ("listen=a=127.0.0.1:0", "listen=b=127.0.0.1:0");
    let app = dir.app(&witness, &[given_back, kept, "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1", "-v"]).start();
    let (other, _) = (panzer.expect_address(), panzer.expect_address());
    panzer.expect_current(1);
    let (held, _) = Held::hold(other).expect("it serves");
    dir.app(&witness, &[kept, "run=hold"]);
    panzer.reload(2);
    dir.app(&witness, &[given_back, kept, "run=hold"]);
    panzer.reload(3);
    held.finish().expect("it is finished");
    for _ in ["the first", "the second, perhaps before"] {
        panzer.expect_line(": all processes exited");
    }
    let (held, answer) = Held::hold(other).expect("it is open");
    assert_eq!(answer.generation, 3);
    held.finish().expect("it is finished");
    // Main has it in the store: the next generation gets it.
    panzer.reload(4);
    expect_gone(&mut panzer, 3);
    let (held, answer) = Held::hold(other).expect("it is open");
    assert_eq!(answer.generation, 4);
    held.finish().expect("it is finished");
    panzer.stop();
}

#[test]
fn new_port_of_a_failed_generation_is_closed() {
    let dir = TempDir::new();
    let witness = example("witness");
    let app = dir.app(&witness, &["listen=a=127.0.0.1:0", "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n2", "-v"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    panzer.settle();
    let before = procfs::descriptors(panzer.pid()).len();
    dir.app(&witness, &["listen=a=127.0.0.1:0", "listen=b=127.0.0.1:0", "exit=1"]);
    panzer.signal(Signal::Usr1);
    assert_eq!(panzer.expect_address(), address);
    let new = panzer.expect_address();
    panzer.expect("stored", 2);
    panzer.expect("failed", 2);
    expect_gone(&mut panzer, 2);
    assert!(is_refused(new));
    assert!(!is_refused(address));
    assert_eq!(procfs::descriptors(panzer.pid()).len(), before);
    panzer.stop();
}

/// rules: store.kept, listen.unix-path
#[test]
fn unix_socket_keeps_its_inode_over_100_reloads_and_is_removed_at_the_stop() {
    for (bound_by_main, reloads) in [(false, 100), (true, 4)] {
        let dir = TempDir::new();
        let path = dir.join("socket");
        let address = format!("unix:{}", path.display());
        let bind = format!("--bind={address}");
        let mut options = vec!["-n1"];
        options.extend(bound_by_main.then_some(&*bind));
        let mut panzer = Setup::new(&example("http"), &[&address]).options(&options).start();
        panzer.expect_current(1);
        let inode = |path: &Path| fs::metadata(path).expect("it is there").ino();
        let before = inode(&path);
        for generation in 2..2 + reloads {
            panzer.reload(generation);
            assert_eq!(inode(&path), before);
        }
        ask_unix(&path).expect("it serves");
        panzer.stop();
        assert!(!path.exists());
    }
}

#[test]
fn stale_unix_socket_is_replaced() {
    for option in [true, false] {
        let dir = TempDir::new();
        let path = dir.join("socket");
        drop(UnixListener::bind(&path).expect("the directory is empty"));
        assert!(path.exists(), "std does not remove it");
        let address = format!("unix:{}", path.display());
        let bind = format!("--bind={address}");
        let mut options = vec!["-n1"];
        options.extend(option.then_some(&*bind));
        let mut panzer = Setup::new(&example("http"), &[&address]).options(&options).start();
        panzer.expect_current(1);
        ask_unix(&path).expect("it serves");
        panzer.stop();
    }
}

#[test]
fn unix_path_with_a_listening_process_is_refused() {
    let dir = TempDir::new();
    let path = dir.join("socket");
    let other = UnixListener::bind(&path).expect("the directory is empty");
    let address = format!("unix:{}", path.display());
    let bind = format!("--bind={address}");
    let mut panzer = Setup::new(&example("http"), &[&address]).options(&[&bind]).start();
    assert_eq!(panzer.end(), End::Status(1));
    let mut panzer = Setup::new(&example("http"), &[&address]).options(&["--give-up=1"]).start();
    assert_eq!(panzer.end(), End::Status(1));
    assert!(path.exists());
    drop(other);
}

#[test]
fn unix_path_that_was_replaced_meanwhile_is_not_removed() {
    let dir = TempDir::new();
    let path = dir.join("socket");
    let address = format!("unix:{}", path.display());
    let mut panzer = Setup::new(&example("http"), &[&address]).options(&["-n1"]).start();
    panzer.expect_current(1);
    fs::remove_file(&path).expect("it is there");
    let other = UnixListener::bind(&path).expect("the path is free");
    panzer.stop();
    assert!(path.exists());
    drop(other);
}

#[test]
fn queued_connections_are_all_served_at_the_stop() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n2"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let busy: Vec<_> = (0..2).map(|_| Held::hold(address).expect("a worker is free").0).collect();
    let queued: Vec<_> = (0..50).map(|_| Held::queue(address).expect("there is room")).collect();
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    busy.into_iter().for_each(|held| held.finish().expect("it is finished"));
    for mut held in queued {
        held.greeting().expect("it was in the queue");
        held.finish().expect("it is served");
    }
    assert_eq!(panzer.end(), End::Status(0));
}

#[test]
fn queued_requests_of_busy_workers_are_all_answered_at_the_stop() {
    use crate::harness::client::Request;
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]);
    let mut panzer = setup.variable("HTTP_DELAY_MS", "20").start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let requests: Vec<_> =
        (0..50).map(|_| Request::send(address).expect("there is room")).collect();
    panzer.signal(Signal::Term);
    for request in requests {
        request.answer().expect("it was accepted by the kernel");
    }
    assert_eq!(panzer.end(), End::Status(0));
}

#[test]
fn no_new_connection_is_accepted_once_the_stop_has_begun() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    panzer.settle();
    // The kernel answers neither with a refusal, which a client would take as final, nor
    // with a connection that no worker would serve. The client's retry reaches the next
    // server on this port.
    let timeout = std::time::Duration::from_millis(200);
    let error = std::net::TcpStream::connect_timeout(&address, timeout);
    let error = error.expect_err("no new connection is accepted");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), End::Status(0));
}
