//! Which connections are still accepted in a final stop.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::client::{Held, ask};
use crate::harness::files::example;
use crate::harness::notify::ServiceManager;
use crate::harness::panzer::{End, Panzer};
use crate::harness::setup::Setup;
use crate::harness::{assert_elapsed_at_least, skip, spawn_lock};

/// Without CAP_NET_ADMIN a process may not attach a socket filter. setpriv(1)
const ORDINARY: [&str; 1] = ["--bounding-set=-net_admin"];

/// A panzer that may not attach a filter.
fn ordinary(setup: Setup) -> Setup {
    setup.through(Path::new("setpriv"), &ORDINARY)
}

/// Connects with the largest TTL, as if from this link, goes on with the usual one,
/// and prints what it receives. Such a connection is queued even by a listener with
/// a minimum TTL, and inherits that.
const LATE: &str = r#"
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
option = (41, 16) if family == socket.AF_INET6 else (0, 2)
s = socket.socket(family); s.settimeout(2)
s.setsockopt(*option, 255)
try: s.connect((sys.argv[1], int(sys.argv[2])))
except TimeoutError: print("kept out", flush=True); sys.exit()
s.setsockopt(*option, 64)
s.settimeout(20); s.sendall(b"go on\n")
print("connected", flush=True)
while said := s.recv(4096): print(said.decode(), flush=True)
"#;

/// Starts that client, and waits for its first line.
fn late(address: SocketAddr) -> (Child, BufReader<std::process::ChildStdout>, String) {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let mut child = {
        let _lock = spawn_lock();
        let mut command = Command::new("python3");
        command.args(["-c", LATE, &ip, &port]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().expect("python3 is there")
    };
    let mut out = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut line = String::new();
    out.read_line(&mut line).expect("it prints the result");
    (child, out, line)
}

/// A new connection is neither accepted nor refused.
fn expect_silence(address: SocketAddr) {
    let error = TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let error = error.expect_err("no new connection is accepted");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

/// Stops it, and waits until the stop has begun.
fn begin_stop(panzer: &mut Panzer) {
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    panzer.settle();
}

/// A connection that is accepted in the final stop of a main without rights is served.
fn accept_in_a_final_stop(listen: &str, run: &[&str]) {
    let words: Vec<_> = [listen].into_iter().chain(run.iter().copied()).collect();
    let mut panzer = ordinary(Setup::new(&example("witness"), &words).options(&["-n1"])).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    begin_stop(&mut panzer);
    expect_silence(address);
    let (mut child, mut out, line) = late(address);
    held.finish().expect("it is finished");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("it ends");
    child.wait().expect("it is our child");
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count_lines("cannot refuse new connections"), 0);
    if line.starts_with("kept out") {
        return skip("final_stop", "any user may attach a socket filter here");
    }
    assert!(rest.contains("bye"), "its request was not answered: {rest:?}");
}

/// rule: stop.filter
#[test]
fn without_net_admin_final_stop_drops_new_connections_and_serves_accepted_ones() {
    for address in ["listen=127.0.0.1:0", "listen=[::1]:0"] {
        accept_in_a_final_stop(address, &["run=hold"]);
        accept_in_a_final_stop(address, &["nonblocking", "run=any"]);
    }
}

/// Drops the answer to its SYN: its handshake stays under way. IP_MINTTL of ip(7)
const HALF_OPEN: &str = "import socket, sys; s = socket.socket(); s.setblocking(False); \
                         s.setsockopt(0, 21, 255); s.connect_ex(('127.0.0.1', int(sys.argv[1]))); \
                         sys.stdin.read()";

/// Whether the handshake of a client of that port is under way. proc(5)
fn has_half_open(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").expect("there is one");
    let row = format!(" 0100007F:{port:04X} ");
    table.lines().any(|line| line.contains(&row) && line.split_whitespace().nth(3) == Some("03"))
}

/// rule: stop.handshakes
#[test]
fn stop_is_announced_at_once_and_begins_later_while_a_handshake_is_under_way() {
    let mut above = ServiceManager::bind();
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["-n1"]).variable("NOTIFY_SOCKET", above.name()).start();
    let port = panzer.expect_address().port();
    panzer.expect_current(1);
    let mut client = {
        let _lock = spawn_lock();
        let mut command = Command::new("python3");
        command.args(["-c", HALF_OPEN, &port.to_string()]).stdin(Stdio::piped());
        command.spawn().expect("python3 is there")
    };
    panzer.eventually("a handshake is under way", || has_half_open(port));
    let begun = Instant::now();
    panzer.signal(Signal::Term);
    above.expect("STOPPING=1", |message| message == "STOPPING=1");
    panzer.expect_event("stopping", |event| event.name == "stopping");
    assert_elapsed_at_least(begun, Duration::from_millis(300));
    client.kill().and_then(|()| client.wait()).expect("it is our child");
    assert_eq!(panzer.end(), End::Status(0));
    let heard = above.heard();
    let place_of = |start: &str| heard.iter().position(|message| message.starts_with(start));
    let (announced, status) = (place_of("STOPPING=1"), place_of("STATUS=stopping"));
    assert!(status.is_none_or(|status| announced < Some(status)), "{heard:?}");
    assert_eq!(place_of("STATUS=stopping: serving for another "), None, "{heard:?}");
}

/// A program that ignores SIGTERM, and stays until it is interrupted.
const DEAF: &str = "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); \
                    os.write(2, b'deaf\\n'); signal.pause()";

/// rule: stop.filter
#[test]
fn without_net_admin_programs_get_no_minimum_ttl_and_one_warning() {
    for (options, workers) in [(&["-n1", "--ready=0"][..], 1), (&["-n2", "-x", "--ready=0"], 2)] {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.expect("a port is free");
        let bind = format!("--bind={address}");
        let setup = Setup::new(Path::new("python3"), &["-c", DEAF]).options(options);
        let mut panzer = ordinary(setup.options(&[&bind, "--bind=[::1]:0"])).start();
        panzer.expect_current(1);
        (0..workers).for_each(|_| drop(panzer.expect_line("deaf")));
        begin_stop(&mut panzer);
        let (mut child, _, line) = late(address);
        child.kill().and_then(|()| child.wait()).expect("it is our child");
        if line.starts_with("kept out") {
            return skip("final_stop", "any user may attach a socket filter here");
        }
        let newcomer = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        newcomer.expect("the program may still accept it");
        panzer.signal(Signal::Quit);
        panzer.end();
        assert_eq!(panzer.count_lines("cannot refuse new connections"), 1);
    }
}

/// Makes descriptor 4 drop every packet, by minimum TTL and by filter as a final stop
/// does, and executes its arguments, with the variables for adopting the socket.
const ABANDONED: &str = r#"
import ctypes, os, socket, struct, sys
s = socket.socket(fileno=4)
s.setsockopt(0, 21, 255)
if s.family == socket.AF_INET6: s.setsockopt(41, 73, 255)
program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
s.setsockopt(1, 26, struct.pack("HL", 1, ctypes.addressof(program)))
os.set_inheritable(s.detach(), True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2")
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// rule: stop.adopted-socket
#[test]
fn adopted_socket_is_cleared_of_filter_and_minimum_ttl() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let words = [&*address.to_string()];
        let setup = Setup::new(&example("http"), &words).options(&["-n1"]);
        let setup = setup.stdin(OwnedFd::from(listener).into()).redirect("4<&0 0</dev/null");
        let mut panzer = setup.through(Path::new("python3"), &["-c", ABANDONED]).start();
        panzer.expect_current(1);
        ask(address).expect("it serves");
        panzer.stop();
    }
}
