//! Messages and descriptors that are sent to main's notify socket.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::control_client::{ask, ask_result};
use crate::harness::ctl::python;
use crate::harness::files::{TempDir, example};
use crate::harness::notify::{ServiceManager, notify};
use crate::harness::panzer::{End, Panzer, continue_process, stop_process};
use crate::harness::setup::Setup;
use crate::harness::{procfs, spawn_lock};

/// An idle pool, and the name of its notify socket.
fn idle(options: &[&str], words: &[&str]) -> (Panzer, String) {
    let setup = Setup::new(&example("witness"), &[&["report=monitor"], words].concat());
    let mut panzer = setup.options(&["-n1", "-v"]).options(options).start();
    let line = panzer.expect_line("monitor env NOTIFY_SOCKET=");
    let (_, name) = line.split_once("NOTIFY_SOCKET=").expect("it was found");
    panzer.expect_current(1);
    (panzer, name.to_string())
}

/// rules: notify.sender, notify.service-manager, notify.messages
#[test]
fn stopping_message_to_main_ends_nothing() {
    let mut above = ServiceManager::bind();
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let setup = setup.options(&["-n1", "-v"]).variable("NOTIFY_SOCKET", above.name());
    let mut panzer = setup.start();
    let line = panzer.expect_line("monitor env NOTIFY_SOCKET=");
    let (_, below) = line.split_once("NOTIFY_SOCKET=").expect("it was found");
    let monitor = panzer.expect_current(1);
    let worker = panzer.workers(monitor);
    notify(below, "STOPPING=1\n");
    panzer.expect_line("generation 1: sent STOPPING=1");
    panzer.settle();
    assert_eq!(panzer.workers(monitor), worker);
    panzer.reload(2);
    panzer.stop();
    assert_eq!(above.transitions(), ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
}

/// rule: listen.environment
#[test]
fn worker_has_no_notify_socket() {
    let (mut panzer, name) = idle(&[], &["run=child"]);
    panzer.expect_line("child end");
    let lines = panzer.lines();
    let environment: Vec<_> = lines.iter().filter(|line| line.starts_with("child env ")).collect();
    assert!(!environment.is_empty());
    assert!(!environment.iter().any(|line| line.contains(&name)), "{environment:?}");
    let monitor = panzer.expect_monitor(1);
    let worker = panzer.workers(monitor)[0];
    let sockets = procfs::descriptors(worker).into_iter().filter(|fd| fd.contains("socket:"));
    assert_eq!(sockets.count(), 0, "nor what is connected to it");
    panzer.stop();
}

/// Sends main a connection whose peer does not read, with SO_LINGER set: closing
/// the last descriptor blocks until everything was read.
const SEND_LINGERING: &str = r#"
import socket, struct, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
connection.setblocking(False)
try:
    while True:
        connection.send(b"." * 65536)
except BlockingIOError:
    pass
main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
main.connect(sys.argv[2])
socket.send_fds(main, [sys.argv[3].encode()], [connection.fileno()])
"#;

/// rules: store.receiver, notify.truncated
#[test]
fn lingering_connection_is_refused_without_blocking_main() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let (mut panzer, name) = idle(&[], &["run=idle"]);
    panzer.rest();
    let descriptors = procfs::descriptors(panzer.pid());
    for words in ["FDSTORE=1\nFDNAME=x\n", "STATUS=here\n", "FDSTOREREMOVE=1\nFDNAME=x\n"] {
        // Main must have the last descriptor of it.
        stop_process(panzer.pid());
        {
            let _lock = spawn_lock();
            let mut send = Command::new("python3");
            let sent = send.args(["-c", SEND_LINGERING, &port, &name, words]).status();
            assert!(sent.expect("python3 is there").success());
        }
        continue_process(panzer.pid());
        // What was already sent still arrives, and then the end.
        let (mut other, _) = listener.accept().expect("it has connected");
        let read = other.read_to_end(&mut Vec::new()).expect("it was closed without a reset");
        assert!(read > 0);
        notify(&name, "STOPPING=1\n");
        let main = panzer.pid();
        panzer.eventually("main has closed it", || procfs::descriptors(main) == descriptors);
    }
    assert_eq!(panzer.count_lines("refused FDSTORE 'x': not a listening socket"), 1);
    panzer.stop();
}

/// Sends main one listening socket three times, as two descriptors.
const SEND_TWICE: &str = r#"
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
main.connect(sys.argv[1])
other = listener.dup()
for descriptors in [[listener.fileno(), other.fileno()], [other.fileno()]]:
    socket.send_fds(main, [b"FDSTORE=1\nFDNAME=x\n"], descriptors)
"#;

/// rule: store.duplicate
#[test]
fn socket_sent_twice_is_stored_once() {
    let (mut panzer, name) = idle(&[], &["run=idle"]);
    panzer.settle();
    let before = procfs::descriptors(panzer.pid()).len();
    assert_eq!(python(SEND_TWICE, &[&name], "").status, 0);
    // A child receives each descriptor, and a later message waits for it.
    notify(&name, "STOPPING=1\n");
    panzer.expect_line("sent STOPPING=1");
    panzer.rest();
    assert_eq!(panzer.count("stored"), 1);
    assert_eq!(procfs::descriptors(panzer.pid()).len(), before + 1);
    panzer.stop();
}

/// Writes nonsense to its scoreboard, and executes sleep(1).
const CORRUPT_SCOREBOARD: &str = r#"
import os, socket, struct
board = int(os.environ["PANZER_BOARD"])
row = lambda pid, state, slot: struct.pack("<8Q", pid, 2**64 - 1, 2**64 - 1, state, 2**64 - 1, slot, 9, 9)
os.pwrite(board, struct.pack("<8Q", 0x504E5A5200000002, 2**32 - 1, 0, 0, (2**32 - 1) << 32 | 4, 0, 0, 0), 0)
rows = [row(2**31, 2 << 56, 1), row(2**32 - 1, 3 << 56, 2), row(77, 255 << 56, 3), row(78, 4 << 56, 4)]
rows += [row(79, 0, 0), row(80, 0, 16384), row(81, 0, 2**64 - 1)]
os.pwrite(board, b"".join(rows), 64)
main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
main.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
os.execvp("sleep", ["sleep", "1000"])
"#;

/// rule: board.pread
#[test]
fn corrupt_scoreboard_is_checked_and_never_mapped_by_main() {
    let setup = Setup::new("python3".as_ref(), &["-c", CORRUPT_SCOREBOARD]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    panzer.signal(Signal::Ttin);
    // Pids and states that are impossible are not shown.
    for slot in 1..=2 {
        panzer.expect_line(&format!(": status: generation 1: worker {slot}: no process"));
    }
    panzer.expect_line(": status: generation 1: worker 3 (pid 77): unknown, up 0 ms");
    panzer.expect_line(": status: generation 1: worker 4 (pid 78): draining, up 0 ms, 0 restarts");
    // The log may have no room for all rows.
    panzer.settle();
    assert_eq!(panzer.count_lines("worker 16384"), 0);
    // The scoreboard does not say that it has a handler, so it was not signalled.
    panzer.eventually("it sleeps", || {
        procfs::name(monitor) == "sleep" && procfs::state(monitor) == Some('S')
    });
    assert!(!procfs::maps(panzer.pid()).contains("board"));
    panzer.signal(Signal::Term);
    panzer.end();
}

/// Writes the pid of another process onto its scoreboard as that of a worker, ignores
/// the signals of a stop, and executes sleep(1).
const NAME_A_STRANGER: &str = r#"
import os, signal, socket, struct, sys
board = int(os.environ["PANZER_BOARD"])
os.pwrite(board, struct.pack("<8Q", 0x504E5A5200000002, 1, 0, 0, 1 << 32, 0, 0, 0), 0)
os.pwrite(board, struct.pack("<8Q", int(sys.argv[1]), 0, 0, 2 << 56, 0, 1, 0, 0), 64)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
main.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
os.execvp("sleep", ["sleep", "1000"])
"#;

/// rule: stop.session
#[test]
fn stranger_on_the_scoreboard_is_not_killed() {
    let mut stranger = {
        let _lock = spawn_lock();
        Command::new("sleep").arg("1000").spawn().expect("sleep is there")
    };
    let pid = stranger.id().to_string();
    let mut panzer = Setup::new("python3".as_ref(), &["-c", NAME_A_STRANGER, &pid]).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Ttin);
    panzer.expect_line(&format!(": status: generation 1: worker 1 (pid {pid}): idle"));
    panzer.signal(Signal::Quit);
    assert_eq!(panzer.end(), End::Status(4));
    assert_eq!(panzer.count_lines("generation 1: sent SIGKILL"), 1);
    let is_alive = matches!(stranger.try_wait(), Ok(None));
    stranger.kill().and_then(|()| stranger.wait()).expect("it is ours");
    assert!(is_alive);
}

/// rules: main.loads-nothing, heap.own
#[test]
fn main_keeps_running_when_out_of_memory() {
    let dir = TempDir::new();
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    // The file and the answer to a status request need more than a page each.
    let file = dir.write("panzer.yml", &"# nothing\n".repeat(3_000));
    let pid_file = dir.join("panzer.pid");
    let mut options = vec![option("config", &file), option("pid", &pid_file)];
    let path = |number| format!("-bunix:{}", dir.join(&format!("{number:050}")).display());
    options.extend((0..60).map(path));
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let (mut panzer, name) = idle(&options, &["run=idle"]);
    let limit = |pid: u32, bytes: &str| {
        let _lock = spawn_lock();
        let mut limit = Command::new("prlimit");
        let limit = limit.args(["--pid", &pid.to_string(), &format!("--as={bytes}:")]).status();
        assert!(limit.expect("prlimit is there").success());
    };
    limit(panzer.pid(), "4096");
    for letter in ["x", "y"] {
        notify(&name, &format!("STATUS={}\n", letter.repeat(4_000)));
        panzer.settle();
    }
    assert_eq!(ask(&pid_file, "status").len(), 63);
    let answer = ask_result(&pid_file, "reload");
    assert!(answer.starts_with("failed generation 2 failed: "), "{answer}");
    limit(panzer.pid(), "unlimited");
    panzer.reload(3);
    panzer.stop();
}
