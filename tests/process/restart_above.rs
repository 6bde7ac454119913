//! Main is restarted in place under whoever has started it: a service manager,
//! another user's rights, nobody at all.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr as Name, UnixDatagram};
use std::path::Path;
use std::process::Stdio;

use panzer::sys::Signal;

use super::restarting::{Picture, Restarting, other_version};
use super::user::Users;
use crate::harness::client::{Held, ask_unix};
use crate::harness::operator::{self, value};
use crate::harness::panzer::{End, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::{look, skip};
use crate::surroundings::may_be_process_1;

const IDLE: [&str; 2] = ["listen=127.0.0.1:0", "run=idle"];

/// RATIONALE 13.1
#[test]
fn the_sockets_of_a_service_manager_are_still_its_after_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let address = listener.local_addr().expect("it is bound");
    let words = [&*format!("listen={address}"), "run=hold"];
    let place = Place::new();
    let app = place.app(&example("witness"), &words);
    let other = listener.try_clone().expect("there are descriptors");
    // Descriptor 3 is for the events.
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=events:web exec "$0" "$@""#;
    let setup = Setup::new(&app, &[]).options(&["-n1"]);
    let setup = setup.stdin(Stdio::from(OwnedFd::from(other))).redirect("4<&0 0</dev/null");
    let mut main = Restarting::begin(place, setup.through("sh".as_ref(), &["-c", script]));
    main.panzer.expect_current(1);
    let before = main.picture();
    main.restart();
    main.restart();
    assert_eq!(main.picture(), before);
    let answer = operator::ask(&main.pid_file, "status");
    let sockets: Vec<_> = answer.iter().filter(|line| line.starts_with("listener ")).collect();
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    assert_eq!(value(sockets[0], "origin"), Some("adopted"));
    assert_eq!(value(sockets[0], "name"), Some("web"));
    let monitor = main.panzer.reload(2);
    main.panzer.expect_event("the end of the first", |event| event.is("died", 1));
    let (held, answer) = Held::hold(address).expect("it serves");
    assert_eq!(answer.generation, 2);
    main.panzer.signal(Signal::Term);
    main.panzer.expect_event("stopping", |event| event.name == "stopping");
    main.panzer.settle();
    // Once it has come round again the monitor has told its worker too.
    for _ in 0..2 {
        send(monitor, Signal::Ttin);
        main.panzer.expect_line(&format!("[{monitor}]: worker 1 ("));
    }
    let queued = Held::queue(address).expect("whoever comes now waits for the next server");
    held.finish().expect("what is in hand is finished");
    assert_eq!(main.panzer.end(), End::Status(0));
    listener.set_nonblocking(true).expect("it is open");
    listener.accept().expect("somebody is in the queue");
    drop(queued);
}

/// RATIONALE 13.1
#[test]
fn a_service_manager_hears_of_a_restart_nothing_that_would_end_the_service() {
    let name = format!("above-{}-restart", std::process::id());
    let manager = Name::from_abstract_name(&name).and_then(|name| UnixDatagram::bind_addr(&name));
    let manager = manager.expect("the name is free");
    let place = Place::new();
    let app = place.app(&example("witness"), &IDLE);
    let setup = Setup::new(&app, &[]).options(&["-n1"]);
    let mut main = Restarting::begin(place, setup.variable("NOTIFY_SOCKET", &format!("@{name}")));
    main.panzer.expect_current(1);
    main.restart();
    main.panzer.reload(2);
    main.restart();
    main.impose(&["exit=0"]);
    assert_eq!(main.ctl(&["restart"]).status, 1);
    main.panzer.stop();
    manager.set_nonblocking(true).expect("it is open");
    let mut heard = Vec::new();
    let mut message = [0; 256];
    while let Ok(length) = manager.recv(&mut message) {
        heard.push(String::from_utf8_lossy(&message[..length]).trim_end().to_string());
    }
    assert!(heard.iter().filter(|said| *said == "READY=1").count() >= 2, "{heard:?}");
    assert_eq!(heard.pop().as_deref(), Some("STOPPING=1"));
    assert!(heard.iter().all(|said| said == "READY=1"), "{heard:?}");
}

/// RATIONALE 13.1
#[test]
fn another_user_serves_on_and_main_may_still_do_what_it_may() {
    let Some(users) = Users::new("witness") else { return };
    let path = users.place().join("sock");
    let bind = format!("--bind=web=unix:{}", path.display());
    let options = ["--user=4242:4343", &bind, "-v"];
    let setup = users.setup(&["listen=web=127.0.0.1:1", "run=idle"]).options(&options);
    let mut main = Restarting::begin(Place::new(), setup);
    let monitor = main.panzer.expect_current(1);
    let socket = fs::symlink_metadata(&path).expect("it is there");
    let before = main.picture();
    main.there_and_back();
    assert_eq!(main.picture(), before);
    let now = fs::symlink_metadata(&path).expect("it is there");
    assert_eq!((now.ino(), now.uid(), now.gid()), (socket.ino(), 4242, 4343));
    for pid in [monitor, main.panzer.reload(2)] {
        if look::is_alive(pid) {
            assert!(look::status(pid, "Uid").starts_with("4242"), "{}", look::status(pid, "Uid"));
        }
    }
    main.panzer.stop();
    assert!(!path.exists());
}

/// RATIONALE 13.1
#[test]
fn a_unix_socket_is_the_same_after_a_restart_and_taken_away_in_the_end() {
    let place = Place::new();
    let path = place.join("socket");
    let stored = place.join("stored");
    let bind = format!("--bind=unix:{}", path.display());
    let app = place.app(&example("http"), &[&format!("unix:{}", stored.display())]);
    let setup = Setup::new(&app, &[]).options(&["-n1", &bind]);
    let mut main = Restarting::begin(place, setup);
    main.panzer.expect_current(1);
    let inode = |path: &Path| fs::symlink_metadata(path).expect("it is there").ino();
    let before = (inode(&path), inode(&stored));
    main.restart();
    main.panzer.reload(2);
    // As long as the old one is there it may be the one that answers.
    main.panzer.expect_event("its end", |event| event.is("died", 1) && event.slot == 0);
    main.restart();
    assert_eq!((inode(&path), inode(&stored)), before);
    assert_eq!(ask_unix(&stored).expect("it serves").generation, 2);
    main.panzer.stop();
    assert!(!path.exists() && !stored.exists());
}

/// RATIONALE 13.1
#[test]
fn a_pool_of_any_program_knows_nothing_of_a_restart() {
    let setup = Setup::new(Path::new("sleep"), &["1000"]);
    let setup = setup.options(&["--exec", "-n2", "--ready=0", "--timeout=0.1"]);
    let mut main = Restarting::begin(Place::new(), setup);
    main.panzer.expect_current(1);
    let before = main.picture();
    main.there_and_back();
    assert_eq!(main.picture(), before);
    // The next pool is panzer's own too, of the program that main is now.
    main.panzer.reload(2);
    main.panzer.expect_event("the end of the first", |event| event.is("died", 1));
    main.panzer.signal(Signal::Term);
    main.panzer.end();
}

/// RATIONALE 13.1
#[test]
fn process_1_is_restarted_and_reaps_on() {
    if !may_be_process_1() {
        return skip("process_1_is_restarted_and_reaps_on", "no unshare");
    }
    let words = ["-pf", "--kill-child", "--mount-proc"];
    let place = Place::new();
    let app = place
        .script("app", &format!("(: &); (: &); exec '{}' run=idle", example("witness").display()));
    let setup = Setup::new(&app, &[]).options(&["-n1"]).through(Path::new("unshare"), &words);
    let mut main = Restarting::begin(place, setup);
    main.panzer.expect_current(1);
    let first = look::children(main.panzer.pid())[0];
    for generation in 2..=4 {
        send(first, Signal::Usr2);
        main.expect_restarted();
        assert_eq!(look::name(first), "panzer:main");
        send(first, Signal::Usr1);
        main.panzer.expect_current(generation);
    }
    main.panzer.eventually("all orphans are reaped", || look::children(first).len() == 1);
    send(first, Signal::Term);
    assert_eq!(main.panzer.end(), End::Status(0));
}

/// RATIONALE 13.1
#[test]
fn without_a_pid_file_and_with_nothing_open_a_restart_is_one_all_the_same() {
    let place = Place::new();
    let app = place.app(&example("witness"), &IDLE);
    for closed in ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"] {
        let program = place
            .program("panzer", &fs::read(crate::harness::place::panzer()).expect("it is there"));
        let setup = Setup::new(&app, &[]).options(&["-n1"]).program(&program);
        let mut panzer = setup.directory(place.path()).redirect(closed).start();
        panzer.expect_current(1);
        let standard = |main: u32| {
            let mut all = look::descriptors(main);
            all.retain(|shown| {
                shown.starts_with(['0', '1', '2']) && shown.chars().nth(1) == Some(' ')
            });
            all
        };
        let before = standard(panzer.pid());
        assert_eq!(before.len(), 3, "{before:?}");
        for _ in 0..2 {
            panzer.signal(Signal::Usr2);
            panzer.expect_event("restart", |event| event.name == "restarted");
        }
        assert_eq!(standard(panzer.pid()), before);
        panzer.signal(Signal::Term);
        assert_eq!(panzer.end(), End::Status(0), "{closed}");
    }
}

/// RATIONALE 13.1
#[test]
fn many_restarts_leave_nothing_behind() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    main.restart();
    let before = main.picture();
    for number in 0..30 {
        if number % 2 == 0 {
            main.install(&other_version());
        } else {
            main.repair();
        }
        main.restart();
    }
    assert_eq!(Picture::of(&mut main.panzer, &main.pid_file), before);
    main.panzer.stop();
}
