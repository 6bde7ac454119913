//! Which sockets are open, and for how long.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use panzer::sys::Signal;

use crate::harness::client::{Held, ask, ask_unix, is_refused};
use crate::harness::look;
use crate::harness::panzer::{End, Panzer};
use crate::harness::place::{Place, example, open_gate};
use crate::harness::setup::Setup;

/// Waits until nobody of a generation is left, and main has dealt with that.
fn expect_gone(panzer: &mut Panzer, generation: u32) {
    panzer.expect_line(&format!("nobody of generation {generation} is left"));
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

/// RATIONALE 1.40
#[test]
fn every_process_of_every_generation_has_the_one_socket() {
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2"]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    let mut monitor = panzer.expect_current(1);
    let socket = listening(address);
    assert_eq!(socket.len(), 1, "{socket:?}");
    let shown = format!("socket:[{}]", socket[0]);
    for generation in 2..6 {
        for pid in panzer.workers(monitor).into_iter().chain([panzer.pid(), monitor]) {
            let descriptors = look::descriptors(pid);
            assert!(descriptors.iter().any(|fd| fd.ends_with(&shown)), "{pid}: {descriptors:?}");
        }
        assert_eq!(listening(address), socket);
        monitor = panzer.reload(generation);
    }
    panzer.stop();
}

#[test]
fn a_socket_that_main_has_bound_is_the_applications_by_name_or_by_address() {
    for (bind, listen) in [("web=127.0.0.1:0", "web=127.0.0.1:1"), ("127.0.0.1:0", "127.0.0.1:0")] {
        let bind = format!("--bind={bind}");
        let mut panzer = Setup::new(&example("http"), &[listen]).options(&["-n2", &bind]).start();
        let address = panzer.expect_address();
        panzer.expect_current(1);
        ask(address).expect("it serves");
        panzer.reload(2);
        assert_eq!(panzer.expect_address(), address);
        let mut panzer = panzer.stop();
        assert_eq!(panzer.count("stored"), 0, "it was main's from the beginning");
        assert!(is_refused(address));
    }
}

#[test]
fn a_bound_socket_queues_before_anybody_listens() {
    let place = Place::new();
    let gate = place.gate("gate");
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

/// RATIONALE 1.43, 2.5
#[test]
fn a_socket_that_is_given_back_is_closed_after_the_old_generation() {
    let place = Place::new();
    let witness = example("witness");
    let (kept, given_back) = ("listen=a=127.0.0.1:0", "listen=b=127.0.0.1:0");
    let app = place.app(&witness, &[given_back, kept, "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n2", "-v"]).start();
    let (other, address) = (panzer.expect_address(), panzer.expect_address());
    panzer.expect_current(1);
    // The workers take from the first; one is kept busy, so it stays open.
    let (held, _) = Held::hold(other).expect("it serves");
    place.app(&witness, &[kept, "run=hold"]);
    panzer.reload(2);
    assert_eq!(panzer.expect_address(), address);
    panzer.settle();
    let sockets = |pid| look::descriptors(pid).iter().filter(|fd| fd.contains("socket")).count();
    // One of each generation's own, and the two of the store, as long as the
    // old one lives: should the new one fail now, the next would need both.
    assert_eq!(sockets(panzer.pid()), 4);
    held.finish().expect("it is finished");
    expect_gone(&mut panzer, 1);
    assert_eq!(sockets(panzer.pid()), 2);
    assert!(is_refused(other));
    let (held, _) = Held::hold(address).expect("it serves");
    held.finish().expect("it is finished");
    panzer.stop();
}

/// RATIONALE 1.43
#[test]
fn a_socket_that_is_given_back_and_taken_again_stays_open() {
    let place = Place::new();
    let witness = example("witness");
    let (kept, given_back) = ("listen=a=127.0.0.1:0", "listen=b=127.0.0.1:0");
    let app = place.app(&witness, &[given_back, kept, "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1", "-v"]).start();
    let (other, _) = (panzer.expect_address(), panzer.expect_address());
    panzer.expect_current(1);
    let (held, _) = Held::hold(other).expect("it serves");
    place.app(&witness, &[kept, "run=hold"]);
    panzer.reload(2);
    place.app(&witness, &[given_back, kept, "run=hold"]);
    panzer.reload(3);
    held.finish().expect("it is finished");
    for _ in ["the first", "the second, perhaps before"] {
        panzer.expect_line("nobody of generation ");
    }
    let (held, answer) = Held::hold(other).expect("it is open");
    assert_eq!(answer.generation, 3);
    held.finish().expect("it is finished");
    // Main has it too: the next one is given it.
    panzer.reload(4);
    expect_gone(&mut panzer, 3);
    let (held, answer) = Held::hold(other).expect("it is open");
    assert_eq!(answer.generation, 4);
    held.finish().expect("it is finished");
    panzer.stop();
}

#[test]
fn the_new_port_of_a_generation_that_failed_is_closed() {
    let place = Place::new();
    let witness = example("witness");
    let app = place.app(&witness, &["listen=a=127.0.0.1:0", "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n2", "-v"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    panzer.settle();
    let before = look::descriptors(panzer.pid()).len();
    place.app(&witness, &["listen=a=127.0.0.1:0", "listen=b=127.0.0.1:0", "exit=1"]);
    panzer.signal(Signal::Usr1);
    assert_eq!(panzer.expect_address(), address);
    let new = panzer.expect_address();
    panzer.expect("stored", 2);
    panzer.expect("failed", 2);
    expect_gone(&mut panzer, 2);
    assert!(is_refused(new));
    assert!(!is_refused(address));
    assert_eq!(look::descriptors(panzer.pid()).len(), before);
    panzer.stop();
}

/// RATIONALE 1.40, 4.3
#[test]
fn a_unix_path_keeps_its_inode_over_a_hundred_reloads_and_is_gone_after_the_stop() {
    for (bound_by_main, reloads) in [(false, 100), (true, 4)] {
        let place = Place::new();
        let path = place.join("socket");
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
fn a_stale_unix_path_is_taken_over() {
    for option in [true, false] {
        let place = Place::new();
        let path = place.join("socket");
        drop(UnixListener::bind(&path).expect("it is a new place"));
        assert!(path.exists(), "std leaves it behind");
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
fn a_unix_path_on_which_somebody_listens_is_refused_and_left_alone() {
    let place = Place::new();
    let path = place.join("socket");
    let other = UnixListener::bind(&path).expect("it is a new place");
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
fn a_unix_path_that_is_somebody_elses_by_now_is_left_alone() {
    let place = Place::new();
    let path = place.join("socket");
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
fn connections_in_the_queue_at_the_stop_are_all_answered() {
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
fn requests_in_the_queue_of_busy_workers_are_all_answered_at_the_stop() {
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
fn nobody_new_is_let_in_once_the_stop_has_begun() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    panzer.settle();
    // Nobody answers: neither a refusal, which a client would believe, nor a
    // connection, which nobody would serve. The next server on this port does.
    let patience = std::time::Duration::from_millis(200);
    let error = std::net::TcpStream::connect_timeout(&address, patience);
    let error = error.expect_err("nobody new is let in");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), End::Status(0));
}
