//! Under a service manager: sockets that it opened, and pools that run without main.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as Name, UnixDatagram};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use panzer::sys::Signal;

use super::start_conditions::StandalonePool;
use crate::harness::client::Held;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, send};
use crate::harness::setup::Setup;
use crate::harness::stream::Stream;
use crate::harness::{TIMEOUT, procfs, spawn_lock};

/// A monitor without main: the witness, and its log.
struct Pool {
    alone: StandalonePool,
    log: Stream<String>,
    /// Its standard input, if that is a pipe.
    input: Option<ChildStdin>,
}

impl Pool {
    /// Starts this command, which executes or starts the witness.
    fn start(command: &mut Command) -> Self {
        let command = command.stderr(Stdio::piped());
        let mut child = {
            let _lock = spawn_lock();
            command.spawn().expect("it is there")
        };
        let input = child.stdin.take();
        let log = Stream::read(child.stderr.take().expect("it is a pipe"), |line| line);
        Self { alone: StandalonePool(child), log, input }
    }

    fn expect(&mut self, text: &str) -> String {
        self.log.find(|line| line.contains(text)).expect(text).clone()
    }

    fn expect_address(&mut self) -> SocketAddr {
        let line = self.expect("listening on 127");
        let (_, address) = line.split_once("listening on ").expect("it was found");
        address.trim_end().parse().expect("the fixture logs its address")
    }

    /// Waits for one turn of its loop: by then it has passed on what it was sent before.
    fn pass_one_turn(&mut self) {
        for _ in 0..2 {
            send(self.pid(), Signal::Ttin);
            self.expect("worker 1 (");
        }
    }

    fn pid(&self) -> u32 {
        self.alone.0.id()
    }

    /// Waits until it and all its descendants have exited; whether its status was 0.
    fn exits_with_0(mut self) -> bool {
        assert!(self.log.read_to_end(), "a process is left");
        self.alone.0.wait().expect("it is our child").success()
    }
}

/// The listening sockets of a process.
fn sockets(pid: u32) -> usize {
    procfs::descriptors(pid).iter().filter(|shown| shown.contains(" socket:")).count()
}

/// Waits until a monitor has closed its listeners in a final stop.
fn expect_listeners_closed(monitor: u32) {
    assert!(procfs::until(|| sockets(monitor) == 0), "{:?}", procfs::descriptors(monitor));
}

/// A listener of the test, and its address.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// A duplicate of it, as a standard input.
fn handed_down(listener: &TcpListener) -> Stdio {
    let other = listener.try_clone().expect("there are descriptors");
    OwnedFd::from(other).into()
}

/// Accepts the first connection in the queue of `listener`, which is not empty.
fn first_in_queue(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("it is open");
    let (connection, _) = listener.accept().expect("a client is in the queue");
    connection.set_nonblocking(false).expect("it is open");
    connection
}

/// Serves a client as the witness would.
fn serve(mut connection: TcpStream, client: Held) {
    connection.write_all(b"bye\n").expect("it is there");
    drop(connection);
    client.finish().expect("the connection was not reset");
}

/// rule: stop.adopted-socket
#[test]
fn queue_of_adopted_socket_survives_main_exit() {
    let (listener, address) = listener();
    let words = [&*format!("listen={address}"), "run=hold"];
    // Descriptor 3 is for the events.
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#;
    let setup = Setup::new(&example("witness"), &words).options(&["-n1"]);
    let setup = setup.stdin(handed_down(&listener)).redirect("4<&0 0</dev/null");
    let mut panzer = setup.through("sh".as_ref(), &["-c", script]).start();
    let monitor = panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    panzer.settle();
    // After one turn of its loop the monitor has signalled its worker too.
    for _ in 0..2 {
        send(monitor, Signal::Ttin);
        panzer.expect_line(&format!("[{monitor}]: status: worker 1 ("));
    }
    let queued = Held::queue(address).expect("a new client waits for the next server");
    held.finish().expect("the request is finished");
    assert_eq!(panzer.end(), End::Status(0));
    serve(first_in_queue(&listener), queued);
}

/// rule: pool.final-stop
#[test]
fn monitor_closes_its_listeners_in_final_stop() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let numbers = |pid: u32| {
        let shown = procfs::descriptors(pid);
        shown.iter().map(|shown| shown.split(' ').next().map(str::to_string)).collect::<Vec<_>>()
    };
    let before = numbers(monitor);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Term);
    let is_left = |shown: &String| shown.contains(" socket:");
    // One stays: it is connected to main.
    panzer.eventually("it has closed its listeners", || {
        procfs::descriptors(monitor).into_iter().filter(is_left).count() == 1
    });
    assert_eq!(numbers(monitor), before, "their numbers are still the application's");
    held.finish().expect("the worker still has it");
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count_lines("run has returned"), 1);
}

/// rule: pool.final-stop
#[test]
fn monitor_without_main_drops_new_connections_and_unlinks_its_paths_on_stop() {
    let dir = TempDir::new();
    let path = dir.join("socket");
    let unix = format!("listen=unix:{}", path.display());
    let mut command = Command::new(example("witness"));
    command.args(["listen=127.0.0.1:0", &unix, "count=1", "run=hold"]).stdin(Stdio::null());
    let mut pool = Pool::start(&mut command);
    let address = pool.expect_address();
    pool.expect("1 worker ready");
    let (held, _) = Held::hold(address).expect("it serves");
    let mut queued = Held::queue(address).expect("there is room");
    send(pool.pid(), Signal::Term);
    expect_listeners_closed(pool.pid());
    assert!(!path.exists());
    let error = TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let error = error.expect_err("no new connection is accepted");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    held.finish().expect("the request is finished");
    queued.greeting().expect("it was in the queue");
    queued.finish().expect("it is served");
    assert!(pool.exits_with_0());
}

/// rule: pool.final-stop
#[test]
fn monitor_without_main_keeps_queue_of_adopted_socket() {
    let (listener, address) = listener();
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&0 0</dev/null"#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(example("witness"));
    command.args([&format!("listen={address}"), "count=1", "run=hold"]);
    let mut pool = Pool::start(command.stdin(handed_down(&listener)));
    pool.expect("1 worker ready");
    let (held, _) = Held::hold(address).expect("it serves");
    send(pool.pid(), Signal::Term);
    pool.pass_one_turn();
    let queued = Held::queue(address).expect("a new client waits for the next server");
    held.finish().expect("the request is finished");
    assert!(pool.exits_with_0());
    serve(first_in_queue(&listener), queued);
}

/// rule: listen.offered
#[test]
fn monitor_without_main_sends_fdstore_before_ready() {
    let name = format!("above-{}-offered", std::process::id());
    let manager = Name::from_abstract_name(&name).and_then(|name| UnixDatagram::bind_addr(&name));
    let manager = manager.expect("the name is free");
    manager.set_read_timeout(Some(TIMEOUT)).expect("it has a limit");
    let mut command = Command::new(example("witness"));
    command.args(["listen=web=127.0.0.1:0", "count=1", "run=hold"]).stdin(Stdio::null());
    let mut pool = Pool::start(command.env("NOTIFY_SOCKET", format!("@{name}")));
    let mut buffer = [0; 64];
    for expected in ["FDSTORE=1\nFDNAME=web\n", "READY=1"] {
        let length = manager.recv(&mut buffer).expect("it sends it");
        let message = String::from_utf8_lossy(&buffer[..length]);
        assert_eq!(message.trim_end(), expected.trim_end());
    }
    pool.expect("1 worker ready");
    send(pool.pid(), Signal::Term);
    assert!(pool.exits_with_0());
}

/// rule: listen.offered
#[test]
fn ready_is_sent_later_if_notify_socket_is_full() {
    let name = format!("above-{}-full", std::process::id());
    let manager = Name::from_abstract_name(&name).and_then(|name| UnixDatagram::bind_addr(&name));
    let manager = manager.expect("the name is free");
    manager.set_nonblocking(true).expect("it is ours");
    let other = UnixDatagram::unbound().expect("there are descriptors");
    other.set_nonblocking(true).expect("it is ours");
    let to = Name::from_abstract_name(&name).expect("it is short");
    while other.send_to_addr(b"x", &to).is_ok() {}
    let mut command = Command::new(example("witness"));
    command.args(["count=1", "delay=0", "run=idle"]).stdin(Stdio::null());
    let mut pool = Pool::start(command.env("NOTIFY_SOCKET", format!("@{name}")));
    pool.expect("1 worker ready");
    pool.pass_one_turn();
    send(procfs::children(pool.pid())[0], Signal::Kill);
    // The second one: READY=1 for the first is sent after its fork.
    pool.expect("run in worker 1");
    let mut buffer = [0; 64];
    let has_sent_ready = || {
        let length = manager.recv(&mut buffer).unwrap_or(0);
        buffer[..length].starts_with(b"READY=1")
    };
    assert!(procfs::until(has_sent_ready), "it does not send READY=1");
    send(pool.pid(), Signal::Term);
    assert!(pool.exits_with_0());
}

/// rule: worker.sigint
#[test]
fn sigint_ends_worker_at_once() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, answer) = Held::hold(address).expect("it serves");
    send(answer.pid, Signal::Int);
    assert!(held.ends_without_reply());
    let died = panzer.expect_event("a death", |event| event.name == "died" && event.slot == 1);
    assert_eq!(died.reason, "killed by SIGINT");
    panzer.stop();
}

/// Runs a command on a terminal of its own; our standard input is its keyboard,
/// and our standard error its screen.
const ON_A_TERMINAL: &str = "import os, pty, sys; os.dup2(2, 1); \
                             sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// rule: worker.sigint
#[test]
fn sigint_from_terminal_drains_workers() {
    let mut command = Command::new("python3");
    command.args(["-c", ON_A_TERMINAL]).arg(example("witness"));
    command.args(["listen=127.0.0.1:0", "count=1", "run=hold"]);
    let mut pool = Pool::start(command.stdin(Stdio::piped()));
    let address = pool.expect_address();
    pool.expect("1 worker ready");
    let (held, _) = Held::hold(address).expect("it serves");
    // Ctrl-C, which the kernel sends to the whole foreground group at once.
    let keyboard = pool.input.as_mut().expect("it is a pipe");
    keyboard.write_all(b"\x03").expect("the terminal is there");
    expect_listeners_closed(procfs::children(pool.pid())[0]);
    held.finish().expect("the request is finished");
    assert!(pool.exits_with_0());
}
