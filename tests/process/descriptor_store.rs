//! What a service manager above keeps of main's sockets, and a main that was killed.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use panzer::sys::Signal;

use super::restartable::RestartableMain;
use crate::harness::client::{Held, ask_unix};
use crate::harness::control_client::{ask, value};
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::notify::ServiceManager;
use crate::harness::panzer::{End, Panzer};
use crate::harness::setup::Setup;

/// The witness, below one that keeps sockets.
fn below(above: &ServiceManager, words: &[&str], options: &[&str]) -> Setup {
    let setup = Setup::new(&example("witness"), words).options(&["-n1"]).options(options);
    setup.variable("NOTIFY_SOCKET", above.name()).variable("FDSTORE", "64")
}

/// The same, handed down what is kept under this name. Descriptor 3 takes the events.
fn again(above: &ServiceManager, name: &str, words: &[&str], options: &[&str]) -> Setup {
    let script =
        r#"[ -z "$GATE" ] || read -r _ <"$GATE"; LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#;
    let setup = below(above, words, options).stdin(Stdio::from(above.hand_down(name)));
    let setup = setup.variable("LISTEN_FDNAMES", &format!("events:{name}"));
    setup.redirect("4<&0 0</dev/null").through("sh".as_ref(), &["-c", script])
}

/// Kills main, and waits until nothing of it is left.
fn kill(mut panzer: Panzer) {
    panzer.signal(Signal::Kill);
    assert_eq!(panzer.end(), End::Signal(9));
}

fn count(above: &mut ServiceManager, start: &str) -> usize {
    above.heard().iter().filter(|message| message.starts_with(start)).count()
}

/// rule: store.above
#[test]
fn own_sockets_are_kept_above_until_the_final_stop() {
    let (mut above, dir) = (ServiceManager::bind(), TempDir::new());
    let config = dir.write("panzer.yml", "bind:\n- web=127.0.0.1:0\n");
    let option = format!("--config={}", config.display());
    let words = ["listen=app=127.0.0.1:0", "run=idle"];
    let mut panzer = below(&above, &words, &[&option]).start();
    panzer.expect_current(1);
    panzer.settle();
    assert_eq!(above.kept(), ["panzer/app", "panzer/web"]);
    dir.write("panzer.yml", "bind:\n- more=127.0.0.1:0\n");
    panzer.reload(2);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    panzer.settle();
    assert_eq!(above.kept(), ["panzer/app", "panzer/more"]);
    assert_eq!(count(&mut above, "FDSTORE=1"), 3, "each is kept once");
    panzer.stop();
    assert_eq!(above.kept(), [""; 0]);
    // Without a store nothing is said of sockets.
    let setup = below(&above, &words, &["--bind=127.0.0.1:0"]).variable("FDSTORE", "0");
    let mut panzer = setup.start();
    panzer.expect_current(1);
    panzer.stop();
    assert_eq!(count(&mut above, "FDSTORE=1"), 3);
}

/// rule: store.above
#[test]
fn sockets_are_kept_above_as_soon_as_it_has_room() {
    let mut above = ServiceManager::bind();
    above.fill();
    let mut panzer = below(&above, &["run=idle"], &["--bind=web=127.0.0.1:0"]).start();
    panzer.expect_current(1);
    panzer.eventually("it is kept", || above.kept() == ["panzer/web"]);
    panzer.stop();
}

/// rules: store.above, restart.kept
#[test]
fn restarted_main_knows_what_is_kept_above() {
    let mut above = ServiceManager::bind();
    let dir = TempDir::new();
    let mut main =
        RestartableMain::begin(dir, below(&above, &["run=idle"], &["--bind=web=127.0.0.1:0"]));
    main.panzer.expect_current(1);
    main.restart();
    main.panzer.reload(2);
    assert_eq!(above.kept(), ["panzer/web"]);
    assert_eq!(count(&mut above, "FDSTORE=1"), 1);
    main.panzer.stop();
    assert_eq!(above.kept(), [""; 0]);
}

/// rules: store.above, stop.filter
#[test]
fn queue_of_a_kept_socket_is_emptied_in_a_final_stop() {
    let above = ServiceManager::bind();
    let words = ["listen=web=127.0.0.1:1", "run=hold"];
    let mut panzer = below(&above, &words, &["--bind=web=127.0.0.1:0"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    let mut queued = Held::queue(address).expect("there is room");
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    held.finish().expect("the request is finished");
    queued.greeting().expect("it was in the queue");
    queued.finish().expect("it is served");
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: store.reclaimed
#[test]
fn start_that_a_kept_socket_is_in_the_way_of_has_it_given_up() {
    let mut above = ServiceManager::bind();
    let words = ["listen=web=127.0.0.1:1", "run=idle"];
    let mut panzer = below(&above, &words, &["--bind=web=127.0.0.1:0"]).start();
    let port = panzer.expect_address().port();
    panzer.expect_current(1);
    panzer.settle();
    assert_eq!(above.kept(), ["panzer/web"]);
    kill(panzer);
    let wider = format!("--bind=web=0.0.0.0:{port}");
    // The first may find it still open above.
    let mut panzer = again(&above, "panzer/web", &words, &[&wider]).start();
    panzer.expect_line("address already in use");
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(above.kept(), [""; 0]);
    let mut panzer = below(&above, &words, &[&wider]).start();
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: store.reclaimed
#[test]
fn killed_main_loses_no_queue_of_a_bind() {
    let mut above = ServiceManager::bind();
    let options = ["--bind=web=127.0.0.1:0", "--timeout=1"];
    // The first has no workers that accept, so that all clients wait.
    let words = ["listen=web=127.0.0.1:1", "run=idle"];
    let mut panzer = below(&above, &words, &options).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    panzer.settle();
    let before = Held::queue(address).expect("it waits");
    assert_eq!(above.kept(), ["panzer/web"]);
    kill(panzer);
    let after = Held::queue(address).expect("it waits too");
    let dir = TempDir::new();
    let pid_file = dir.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let words = ["listen=web=127.0.0.1:1", "run=hold"];
    let options = [&options[..], &[&option]].concat();
    let mut panzer = again(&above, "panzer/web", &words, &options).start();
    assert_eq!(panzer.expect_address(), address);
    panzer.expect_current(1);
    for mut client in [before, after] {
        client.greeting().expect("it was in the queue");
        client.finish().expect("it is served");
    }
    let status = ask(&pid_file, "status");
    let sockets: Vec<_> = status.iter().filter(|line| line.starts_with("listener ")).collect();
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    assert_eq!(value(sockets[0], "origin"), Some("bound"));
    assert_eq!(value(sockets[0], "name"), Some("web"));
    assert_eq!(count(&mut above, "FDSTORE=1"), 1, "it was kept still");
    panzer.stop();
    assert_eq!(above.kept(), [""; 0]);
    TcpStream::connect(address).expect_err("the port is free");
}

/// rule: store.reclaimed
#[test]
fn killed_main_loses_no_queue_of_a_socket_that_a_program_stored() {
    let mut above = ServiceManager::bind();
    let mut panzer = below(&above, &["listen=app=127.0.0.1:0", "run=idle"], &[]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    panzer.settle();
    let mut client = Held::queue(address).expect("it waits");
    assert_eq!(above.kept(), ["panzer/app"]);
    kill(panzer);
    let words = ["listen=app=127.0.0.1:0", "run=hold"];
    let mut panzer = again(&above, "panzer/app", &words, &[]).start();
    assert_eq!(panzer.expect_address(), address);
    panzer.expect_current(1);
    client.greeting().expect("it was in the queue");
    client.finish().expect("it is served");
    panzer.stop();
    assert_eq!(above.kept(), [""; 0]);
}

/// rules: store.above, store.reclaimed
#[test]
fn kept_socket_without_a_name_comes_back_as_its_address() {
    let mut above = ServiceManager::bind();
    let mut panzer = below(&above, &["listen=127.0.0.1:0", "run=idle"], &[]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    panzer.settle();
    let kept = "panzer/127.0.0.1%3a0";
    assert_eq!(above.kept(), [kept]);
    kill(panzer);
    let dir = TempDir::new();
    let pid_file = dir.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let mut panzer = again(&above, kept, &["listen=127.0.0.1:0", "run=idle"], &[&option]).start();
    assert_eq!(panzer.expect_address(), address);
    panzer.expect_current(1);
    let status = ask(&pid_file, "status");
    let sockets: Vec<_> = status.iter().filter(|line| line.starts_with("listener ")).collect();
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    assert_eq!(value(sockets[0], "name"), Some("127.0.0.1:0"));
    panzer.stop();
    assert_eq!(above.kept(), [""; 0]);
}

/// rule: store.reclaimed
#[test]
fn reclaimed_unix_socket_keeps_its_path_until_the_final_stop() {
    let (mut above, dir) = (ServiceManager::bind(), TempDir::new());
    let path = dir.join("socket");
    let bind = format!("--bind=web=unix:{}", path.display());
    let listen = format!("listen=web=unix:{}", path.display());
    let mut panzer = below(&above, &[&listen, "run=idle"], &[&bind]).start();
    panzer.expect_current(1);
    panzer.settle();
    assert_eq!(above.kept(), ["panzer/web"]);
    let inode = |path: &Path| fs::symlink_metadata(path).expect("it is there").ino();
    let before = inode(&path);
    kill(panzer);
    let app = example("http").display().to_string();
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#;
    let setup = Setup::new(Path::new(&app), &[&format!("web=unix:{}", path.display())]);
    let setup = setup.options(&["-n1", &bind]).stdin(Stdio::from(above.hand_down("panzer/web")));
    let setup = setup.variable("LISTEN_FDNAMES", "events:panzer/web");
    let setup = setup.redirect("4<&0 0</dev/null").through("sh".as_ref(), &["-c", script]);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    assert_eq!(inode(&path), before);
    ask_unix(&path).expect("it serves");
    panzer.stop();
    assert!(!path.exists());
}

/// rule: store.reclaimed
#[test]
fn reclaimed_unix_socket_whose_path_is_another_s_is_given_up() {
    let (mut above, dir) = (ServiceManager::bind(), TempDir::new());
    let path = dir.join("socket");
    let bind = format!("--bind=web=unix:{}", path.display());
    let words = [&*format!("listen=web=unix:{}", path.display()), "run=idle"];
    let mut panzer = below(&above, &words, &[&bind]).start();
    panzer.expect_current(1);
    panzer.settle();
    assert_eq!(above.kept(), ["panzer/web"]);
    kill(panzer);
    fs::remove_file(&path).expect("it was left");
    let _other = UnixListener::bind(&path).expect("the path is free");
    let inode = fs::symlink_metadata(&path).expect("it is there").ino();
    let mut panzer = again(&above, "panzer/web", &words, &[&bind]).start();
    panzer.expect_line("refused descriptor 4: its path does not lead to it any more");
    panzer.expect_line("cannot listen on");
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(fs::symlink_metadata(&path).expect("it is there").ino(), inode);
}

/// rule: store.reclaimed
#[test]
fn reclaimed_socket_in_the_way_of_a_bind_is_closed() {
    let mut above = ServiceManager::bind();
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        free.local_addr().expect("it is bound").port()
    };
    let bind = format!("--bind=web=127.0.0.1:{port}");
    let mut panzer = below(&above, &["run=idle"], &[&bind]).start();
    panzer.expect_current(1);
    panzer.settle();
    assert_eq!(above.kept(), ["panzer/web"]);
    kill(panzer);
    let bind = format!("--bind=all=0.0.0.0:{port}");
    let (dir, words) = (TempDir::new(), ["listen=all=127.0.0.1:1", "run=idle"]);
    let gate = dir.gate("gate");
    let setup = again(&above, "panzer/web", &words, &[&bind]);
    let mut panzer = setup.variable("GATE", &gate.display().to_string()).start();
    // The test itself, as the service manager, must not keep it.
    above.forget("panzer/web");
    open_gate(&gate);
    let address: SocketAddr = panzer.expect_address();
    assert_eq!((address.ip().is_unspecified(), address.port()), (true, port));
    panzer.expect_current(1);
    panzer.stop();
    assert_eq!(count(&mut above, "FDSTOREREMOVE=1\nFDNAME=panzer/web"), 1);
}

/// rule: store.reclaimed
#[test]
fn pool_of_programs_gets_only_the_reclaimed_sockets_of_binds() {
    let mut above = ServiceManager::bind();
    let mut panzer = below(&above, &["run=idle"], &["--bind=old=127.0.0.1:0"]).start();
    panzer.expect_current(1);
    panzer.settle();
    assert_eq!(above.kept(), ["panzer/old"]);
    kill(panzer);
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#;
    let show = "echo sockets: $LISTEN_FDS $LISTEN_FDNAMES >&2; exec sleep 1000";
    let setup = Setup::new(Path::new("sh"), &["-c", show]);
    let options = ["-x", "-n1", "--ready=0", "--timeout=0.1", "--bind=new=127.0.0.1:0"];
    let setup = setup.options(&options).stdin(Stdio::from(above.hand_down("panzer/old")));
    let setup = setup.variable("LISTEN_FDNAMES", "events:panzer/old");
    let setup = setup.redirect("4<&0 0</dev/null").through("sh".as_ref(), &["-c", script]);
    let mut panzer = setup.start();
    let line = panzer.expect_line("sockets: ");
    assert!(line.ends_with("sockets: 1 new"), "{line}");
    panzer.expect_current(1);
    panzer.signal(Signal::Term);
    panzer.end();
}
