//! Main is restarted in place under a service manager, with another user, as process 1,
//! and without a pid file.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;

use panzer::sys::Signal;

use super::restartable::{RestartableMain, Snapshot, other_version};
use super::user::Users;
use crate::harness::client::{Held, ask_unix};
use crate::harness::control_client::{self, value};
use crate::harness::files::{TempDir, example};
use crate::harness::notify::ServiceManager;
use crate::harness::panzer::{End, send};
use crate::harness::setup::Setup;
use crate::harness::{procfs, skip};
use crate::start_conditions::may_be_process_1;

const IDLE: [&str; 2] = ["listen=127.0.0.1:0", "run=idle"];

/// rule: restart.kept
#[test]
fn sockets_of_a_service_manager_stay_adopted_after_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let address = listener.local_addr().expect("it is bound");
    let words = [&*format!("listen={address}"), "run=hold"];
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &words);
    let other = listener.try_clone().expect("there are descriptors");
    // Descriptor 3 takes the events.
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=events:web exec "$0" "$@""#;
    let setup = Setup::new(&app, &[]).options(&["-n1"]);
    let setup = setup.stdin(Stdio::from(OwnedFd::from(other))).redirect("4<&0 0</dev/null");
    let mut main = RestartableMain::begin(dir, setup.through("sh".as_ref(), &["-c", script]));
    main.panzer.expect_current(1);
    let before = main.snapshot();
    main.restart();
    main.restart();
    assert_eq!(main.snapshot(), before);
    let answer = control_client::ask(&main.pid_file, "status");
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
    // A monitor that logs twice has been round its loop, and so has signalled its worker.
    for _ in 0..2 {
        send(monitor, Signal::Ttin);
        main.panzer.expect_line(&format!("[{monitor}]: status: worker 1 ("));
    }
    let queued = Held::queue(address).expect("the kernel queues it for the next server");
    held.finish().expect("the request in hand is finished");
    assert_eq!(main.panzer.end(), End::Status(0));
    listener.set_nonblocking(true).expect("it is open");
    listener.accept().expect("a connection is queued");
    drop(queued);
}

/// What tries the new program first has no descriptor of it to ask.
/// rule: restart.kept
#[test]
fn adopted_socket_that_is_a_bind_is_that_after_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let address = listener.local_addr().expect("it is bound");
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &[&format!("listen={address}"), "run=hold"]);
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=events:web exec "$0" "$@""#;
    let bind = format!("--bind=web={address}");
    let setup = Setup::new(&app, &[]).options(&["-n1", &bind]);
    let setup = setup.stdin(Stdio::from(OwnedFd::from(listener))).redirect("4<&0 0</dev/null");
    let mut main = RestartableMain::begin(dir, setup.through("sh".as_ref(), &["-c", script]));
    main.panzer.expect_current(1);
    let before = main.snapshot();
    main.restart();
    assert_eq!(main.snapshot(), before);
    main.panzer.reload(2);
    main.panzer.stop();
}

/// rule: restart.kept
#[test]
fn service_manager_gets_no_stopping_message_in_a_restart() {
    let mut above = ServiceManager::bind();
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &IDLE);
    let setup = Setup::new(&app, &[]).options(&["-n1"]);
    let mut main = RestartableMain::begin(dir, setup.variable("NOTIFY_SOCKET", above.name()));
    main.panzer.expect_current(1);
    main.restart();
    main.panzer.reload(2);
    main.restart();
    main.install_impostor(&["exit=0"]);
    assert_eq!(main.ctl(&["restart"]).status, 1);
    main.panzer.stop();
    assert_eq!(above.transitions(), ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
}

/// rule: restart.kept
#[test]
fn generation_of_another_user_and_rights_of_main_survive_a_restart() {
    let Some(users) = Users::new("witness") else { return };
    let path = users.dir().join("sock");
    let bind = format!("--bind=web=unix:{}", path.display());
    let options = ["--user=4242:4343", &bind, "-v"];
    let setup = users.setup(&["listen=web=127.0.0.1:1", "run=idle"]).options(&options);
    let mut main = RestartableMain::begin(TempDir::new(), setup);
    let monitor = main.panzer.expect_current(1);
    let socket = fs::symlink_metadata(&path).expect("it is there");
    let before = main.snapshot();
    main.restart_to_other_version_and_back();
    assert_eq!(main.snapshot(), before);
    let now = fs::symlink_metadata(&path).expect("it is there");
    assert_eq!((now.ino(), now.uid(), now.gid()), (socket.ino(), 4242, 4343));
    for pid in [monitor, main.panzer.reload(2)] {
        // The old one may be gone by now.
        let user = procfs::status(pid, "Uid");
        assert!(user.is_empty() || user.starts_with("4242"), "{user}");
    }
    main.panzer.stop();
    assert!(!path.exists());
}

/// rule: restart.kept
#[test]
fn unix_socket_survives_a_restart_and_is_removed_at_the_stop() {
    let dir = TempDir::new();
    let path = dir.join("socket");
    let stored = dir.join("stored");
    let bind = format!("--bind=unix:{}", path.display());
    let app = dir.app(&example("http"), &[&format!("unix:{}", stored.display())]);
    let setup = Setup::new(&app, &[]).options(&["-n1", &bind]);
    let mut main = RestartableMain::begin(dir, setup);
    main.panzer.expect_current(1);
    let inode = |path: &Path| fs::symlink_metadata(path).expect("it is there").ino();
    let before = (inode(&path), inode(&stored));
    main.restart();
    main.panzer.reload(2);
    // While the old generation runs it may be the one that answers.
    main.panzer.expect_event("its end", |event| event.is("died", 1) && event.slot == 0);
    main.restart();
    assert_eq!((inode(&path), inode(&stored)), before);
    assert_eq!(ask_unix(&stored).expect("it serves").generation, 2);
    main.panzer.stop();
    assert!(!path.exists() && !stored.exists());
}

/// rule: restart.kept
#[test]
fn pool_of_exec_survives_a_restart() {
    let setup = Setup::new(Path::new("sleep"), &["1000"]);
    let setup = setup.options(&["--exec", "-n2", "--ready=0", "--timeout=0.1"]);
    let mut main = RestartableMain::begin(TempDir::new(), setup);
    main.panzer.expect_current(1);
    let before = main.snapshot();
    main.restart_to_other_version_and_back();
    assert_eq!(main.snapshot(), before);
    // The next pool is made by the program that main runs now.
    main.panzer.reload(2);
    main.panzer.expect_event("the end of the first", |event| event.is("died", 1));
    main.panzer.signal(Signal::Term);
    main.panzer.end();
}

/// rule: restart.kept
#[test]
fn process_1_still_reaps_orphans_after_a_restart() {
    if !may_be_process_1() {
        return skip("process_1_still_reaps_orphans_after_a_restart", "no unshare");
    }
    let words = ["-pf", "--kill-child", "--mount-proc"];
    let dir = TempDir::new();
    let app = dir
        .script("app", &format!("(: &); (: &); exec '{}' run=idle", example("witness").display()));
    let setup = Setup::new(&app, &[]).options(&["-n1"]).through(Path::new("unshare"), &words);
    let mut main = RestartableMain::begin(dir, setup);
    main.panzer.expect_current(1);
    let first = procfs::children(main.panzer.pid())[0];
    for generation in 2..=4 {
        send(first, Signal::Usr2);
        main.expect_restarted();
        assert_eq!(procfs::name(first), "panzer:main");
        send(first, Signal::Usr1);
        main.panzer.expect_current(generation);
    }
    main.panzer.eventually("all orphans are reaped", || procfs::children(first).len() == 1);
    send(first, Signal::Term);
    assert_eq!(main.panzer.end(), End::Status(0));
}

/// rule: restart.kept
#[test]
fn restart_works_without_pid_file_and_with_standard_descriptors_closed() {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &IDLE);
    for closed in ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"] {
        let program =
            dir.program("panzer", &fs::read(crate::harness::files::panzer()).expect("it is there"));
        let setup = Setup::new(&app, &[]).options(&["-n1"]).program(&program);
        let mut panzer = setup.directory(dir.path()).redirect(closed).start();
        panzer.expect_current(1);
        let standard = |main: u32| {
            let mut all = procfs::descriptors(main);
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

/// rule: restart.kept
#[test]
fn many_restarts_leave_nothing_behind() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    main.restart();
    let before = main.snapshot();
    for number in 0..30 {
        if number % 2 == 0 {
            main.install(&other_version());
        } else {
            main.repair();
        }
        main.restart();
    }
    assert_eq!(Snapshot::of(&mut main.panzer, &main.pid_file), before);
    main.panzer.stop();
}
