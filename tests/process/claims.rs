//! What is claimed and handed over on a notify socket, and what never comes of it.

use std::io::Read as _;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::ctl::python;
use crate::harness::operator::{ask, ask_briefly};
use crate::harness::panzer::{Panzer, continue_process, stop_process};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::{PATIENCE, alone, look};

/// An idle pool, and where its monitor may speak to main.
fn idle(options: &[&str], words: &[&str]) -> (Panzer, String) {
    let setup = Setup::new(&example("witness"), &[&["report=monitor"], words].concat());
    let mut panzer = setup.options(&["-n1", "-v"]).options(options).start();
    let line = panzer.expect_line("monitor env NOTIFY_SOCKET=@");
    let (_, name) = line.split_once('@').expect("it was found");
    panzer.expect_current(1);
    (panzer, name.to_string())
}

fn say(name: &str, words: &str) {
    let address = SocketAddr::from_abstract_name(name).expect("main has made it");
    let socket = UnixDatagram::unbound().expect("there are descriptors");
    socket.send_to_addr(words.as_bytes(), &address).expect("main listens");
}

/// RATIONALE 1.45, 1.48, 6.3
#[test]
fn somebody_who_says_that_he_stops_ends_nothing() {
    let above = SocketAddr::from_abstract_name(format!("above-{}", std::process::id()));
    let manager = UnixDatagram::bind_addr(&above.expect("a name")).expect("it is free");
    manager.set_read_timeout(Some(PATIENCE)).expect("it has a limit");
    let name = format!("@above-{}", std::process::id());
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let setup = setup.options(&["-n1", "-v"]).variable("NOTIFY_SOCKET", &name);
    let mut panzer = setup.start();
    let line = panzer.expect_line("monitor env NOTIFY_SOCKET=@");
    let (_, below) = line.split_once('@').expect("it was found");
    let monitor = panzer.expect_current(1);
    let worker = panzer.workers(monitor);
    say(below, "STOPPING=1\n");
    panzer.expect_line("generation 1 says that it stops");
    panzer.settle();
    assert_eq!(panzer.workers(monitor), worker);
    panzer.reload(2);
    panzer.stop();
    let mut heard = [0; 64];
    for expected in ["READY=1", "READY=1", "STOPPING=1"] {
        let length = manager.recv(&mut heard).expect("main has said it");
        assert_eq!(String::from_utf8_lossy(&heard[..length]), expected);
    }
}

/// RATIONALE 4.5
#[test]
fn a_worker_does_not_have_the_notify_socket() {
    let (mut panzer, name) = idle(&[], &["run=child"]);
    panzer.expect_line("child end");
    let said = panzer.lines();
    let environment: Vec<_> = said.iter().filter(|line| line.starts_with("child env ")).collect();
    assert!(!environment.is_empty());
    assert!(!environment.iter().any(|line| line.contains(&name)), "{environment:?}");
    let monitor = panzer.expect_monitor(1);
    let worker = panzer.workers(monitor)[0];
    let sockets = look::descriptors(worker).into_iter().filter(|fd| fd.contains("socket:"));
    assert_eq!(sockets.count(), 0, "nor what is connected to it");
    panzer.stop();
}

/// Hands a connection over whose other end reads nothing, and which its last
/// owner is to close only when all has been read.
const LINGERING: &str = r#"
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
main.connect("\0" + sys.argv[2])
socket.send_fds(main, [sys.argv[3].encode()], [connection.fileno()])
"#;

/// RATIONALE 1.41, 1.46
#[test]
fn a_connection_that_lingers_is_refused_and_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let (mut panzer, name) = idle(&[], &["run=idle"]);
    let descriptors = look::descriptors(panzer.pid());
    for words in ["FDSTORE=1\nFDNAME=x\n", "STATUS=here\n", "FDSTOREREMOVE=1\nFDNAME=x\n"] {
        // Main must be the last that has it.
        stop_process(panzer.pid());
        {
            let _alone = alone();
            let mut send = Command::new("python3");
            let sent = send.args(["-c", LINGERING, &port, &name, words]).status();
            assert!(sent.expect("python3 is there").success());
        }
        continue_process(panzer.pid());
        // Not a signal, which would end its waiting in close(2).
        say(&name, "STOPPING=1\n");
        panzer.expect_line("says that it stops");
        panzer.settle();
        assert_eq!(look::descriptors(panzer.pid()), descriptors);
        // What was on its way comes all the same, and then the end.
        let (mut other, _) = listener.accept().expect("it has connected");
        let read = other.read_to_end(&mut Vec::new()).expect("it was closed in peace");
        assert!(read > 0);
    }
    assert_eq!(panzer.count_lines("does not listen: closed"), 1);
    panzer.stop();
}

/// Hands one listening socket over three times, as two descriptors.
const TWICE: &str = r#"
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
main.connect("\0" + sys.argv[1])
other = listener.dup()
for descriptors in [[listener.fileno(), other.fileno()], [other.fileno()]]:
    socket.send_fds(main, [b"FDSTORE=1\nFDNAME=x\n"], descriptors)
"#;

/// RATIONALE 1.42
#[test]
fn a_socket_that_is_handed_over_twice_is_stored_once() {
    let (mut panzer, name) = idle(&[], &["run=idle"]);
    panzer.settle();
    let before = look::descriptors(panzer.pid()).len();
    assert_eq!(python(TWICE, &[&name], "").status, 0);
    panzer.settle();
    assert_eq!(panzer.count("stored"), 1);
    assert_eq!(look::descriptors(panzer.pid()).len(), before + 1);
    panzer.stop();
}

/// Writes its board as no library does, and becomes something that waits.
const SCRIBBLER: &str = r#"
import os, socket, struct
board = int(os.environ["PANZER_BOARD"])
row = lambda pid, state: struct.pack("<8Q", pid, 2**64 - 1, 2**64 - 1, state, 2**64 - 1, 9, 9, 9)
os.pwrite(board, struct.pack("<8Q", 0x504E5A5200000001, 2**64 - 1, 2**64 - 1, 0, 2, 2**64 - 1, 0, 0), 0)
rows = [row(2**31, 2 << 56), row(2**32 - 1, 3 << 56), row(77, 255 << 56), row(78, 4 << 56), row(0, 0)]
os.pwrite(board, b"".join(rows), 64)
main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
main.sendto(b"READY=1", "\0" + os.environ["NOTIFY_SOCKET"][1:])
os.execvp("sleep", ["sleep", "1000"])
"#;

/// RATIONALE 1.47
#[test]
fn what_stands_on_a_board_is_bounded_and_checked_and_never_mapped_by_main() {
    let setup = Setup::new("python3".as_ref(), &["-c", SCRIBBLER]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    panzer.signal(Signal::Ttin);
    // Neither a number that no process has, nor a state that there is not.
    for slot in 1..=2 {
        panzer.expect_line(&format!(": status: worker {slot} is missing"));
    }
    panzer.expect_line(": status: worker 3 (77) unknown, up 0 ms");
    panzer.expect_line(": status: worker 4 (78) draining, up 0 ms, 0 restarts");
    // For all of what it may have there may be no room in the log.
    panzer.settle();
    assert_eq!(panzer.count_lines("status: worker 16384"), 0);
    // The board says nothing of handlers, so it was not signalled.
    assert_eq!(look::state(monitor), Some('S'));
    assert!(!look::maps(panzer.pid()).contains("board"));
    panzer.signal(Signal::Term);
    panzer.end();
}

/// RATIONALE 1.5, 10.15
#[test]
fn main_goes_on_while_the_kernel_gives_it_no_memory() {
    let place = Place::new();
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    // More than a page each: the file, and the answer to whoever asks.
    let file = place.write("panzer.yml", &"# nothing\n".repeat(3_000));
    let pid_file = place.join("panzer.pid");
    let mut options = vec![option("config", &file), option("pid", &pid_file)];
    let path = |number| format!("-bunix:{}", place.join(&format!("{number:050}")).display());
    options.extend((0..60).map(path));
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let (mut panzer, name) = idle(&options, &["run=idle"]);
    let limit = |pid: u32, bytes: &str| {
        let _alone = alone();
        let mut limit = Command::new("prlimit");
        let limit = limit.args(["--pid", &pid.to_string(), &format!("--as={bytes}:")]).status();
        assert!(limit.expect("prlimit is there").success());
    };
    limit(panzer.pid(), "4096");
    for letter in ["x", "y"] {
        say(&name, &format!("STATUS={}\n", letter.repeat(4_000)));
        panzer.settle();
    }
    assert_eq!(ask(&pid_file, "status").len(), 63);
    let answer = ask_briefly(&pid_file, "reload");
    assert!(answer.starts_with("failed generation 2 failed: "), "{answer}");
    place.write("panzer.yml", &"# nothing\n".repeat(13_000));
    assert!(ask_briefly(&pid_file, "reload").ends_with("out of memory (ENOMEM)"));
    limit(panzer.pid(), "unlimited");
    panzer.reload(3);
    panzer.stop();
}
