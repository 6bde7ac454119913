//! With a service manager above, or nobody.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as Name, UnixDatagram};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use panzer::sys::Signal;

use super::surroundings::Alone;
use crate::harness::client::Held;
use crate::harness::panzer::{End, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::told::Told;
use crate::harness::{PATIENCE, alone, look};

/// A witness without main, and what it tells.
struct Pool {
    alone: Alone,
    told: Told<String>,
    /// What it does not read, unless it is its terminal's.
    input: Option<ChildStdin>,
}

impl Pool {
    /// Starts this command, which becomes or starts the witness.
    fn start(command: &mut Command) -> Self {
        let command = command.stderr(Stdio::piped());
        let mut child = {
            let _alone = alone();
            command.spawn().expect("it is there")
        };
        let input = child.stdin.take();
        let told = Told::read(child.stderr.take().expect("it was asked for"), |line| line);
        Self { alone: Alone(child), told, input }
    }

    fn expect(&mut self, text: &str) -> String {
        self.told.find(|line| line.contains(text)).expect(text).clone()
    }

    fn expect_address(&mut self) -> SocketAddr {
        let line = self.expect("listening on 127");
        let (_, address) = line.split_once("listening on ").expect("it was found");
        address.trim_end().parse().expect("the fixture says where")
    }

    /// Waits until it has come round again: its worker has what was sent before.
    fn come_round(&mut self) {
        for _ in 0..2 {
            send(self.pid(), Signal::Ttin);
            self.expect("worker 1 (");
        }
    }

    fn pid(&self) -> u32 {
        self.alone.0.id()
    }

    /// Waits until it and everybody below it is gone; whether it left with 0.
    fn ends_well(mut self) -> bool {
        assert!(self.told.hear_out(), "somebody is left");
        self.alone.0.wait().expect("it is our child").success()
    }
}

/// The listening sockets of a process.
fn sockets(pid: u32) -> usize {
    look::descriptors(pid).iter().filter(|shown| shown.contains(" socket:")).count()
}

/// Waits until a monitor has let go of its listeners in a final stop.
fn expect_let_go(monitor: u32) {
    assert!(look::until(|| sockets(monitor) == 0), "{:?}", look::descriptors(monitor));
}

/// A listener of ours, and where it is.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// One more number for it, as a standard input.
fn handed_down(listener: &TcpListener) -> Stdio {
    let other = listener.try_clone().expect("there are descriptors");
    OwnedFd::from(other).into()
}

/// The first who is in the queue of `listener`, which is not empty.
fn first_in_queue(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("it is open");
    let (connection, _) = listener.accept().expect("somebody is in the queue");
    connection.set_nonblocking(false).expect("it is open");
    connection
}

/// Serves a client of the witness in its place.
fn serve(mut connection: TcpStream, client: Held) {
    connection.write_all(b"bye\n").expect("it is there");
    drop(connection);
    client.finish().expect("nobody has reset it");
}

/// RATIONALE 1.36
#[test]
fn the_queue_of_a_socket_that_a_service_manager_has_opened_outlives_main() {
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
    // Once it has come round again the monitor has told its worker too.
    for _ in 0..2 {
        send(monitor, Signal::Ttin);
        panzer.expect_line(&format!("[{monitor}]: worker 1 ("));
    }
    let queued = Held::queue(address).expect("whoever comes now waits for the next server");
    held.finish().expect("what is in hand is finished");
    assert_eq!(panzer.end(), End::Status(0));
    serve(first_in_queue(&listener), queued);
}

/// RATIONALE 2.12
#[test]
fn in_a_final_stop_a_monitor_lets_go_of_its_listeners() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let numbers = |pid: u32| {
        let shown = look::descriptors(pid);
        shown.iter().map(|shown| shown.split(' ').next().map(str::to_string)).collect::<Vec<_>>()
    };
    let before = numbers(monitor);
    let (held, _) = Held::hold(address).expect("it serves");
    panzer.signal(Signal::Term);
    let is_left = |shown: &String| shown.contains(" socket:");
    // One stays: it is connected to main.
    panzer.eventually("it has let go", || {
        look::descriptors(monitor).into_iter().filter(is_left).count() == 1
    });
    assert_eq!(numbers(monitor), before, "their numbers are still the application's");
    held.finish().expect("the worker has it still");
    assert_eq!(panzer.end(), End::Status(0));
    assert_eq!(panzer.count_lines("run has returned"), 1);
}

/// RATIONALE 2.12
#[test]
fn without_main_a_monitor_keeps_newcomers_out_and_takes_its_paths_away() {
    let place = Place::new();
    let path = place.join("socket");
    let unix = format!("listen=unix:{}", path.display());
    let mut command = Command::new(example("witness"));
    command.args(["listen=127.0.0.1:0", &unix, "count=1", "run=hold"]).stdin(Stdio::null());
    let mut pool = Pool::start(&mut command);
    let address = pool.expect_address();
    pool.expect("workers are ready");
    let (held, _) = Held::hold(address).expect("it serves");
    let mut queued = Held::queue(address).expect("there is room");
    send(pool.pid(), Signal::Term);
    expect_let_go(pool.pid());
    assert!(!path.exists());
    let error = TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let error = error.expect_err("nobody new is let in");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    held.finish().expect("what is in hand is finished");
    queued.greeting().expect("it was in the queue");
    queued.finish().expect("it is served");
    assert!(pool.ends_well());
}

/// RATIONALE 2.12
#[test]
fn without_main_a_monitor_leaves_the_queue_to_the_service_manager() {
    let (listener, address) = listener();
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&0 0</dev/null"#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(example("witness"));
    command.args([&format!("listen={address}"), "count=1", "run=hold"]);
    let mut pool = Pool::start(command.stdin(handed_down(&listener)));
    pool.expect("workers are ready");
    let (held, _) = Held::hold(address).expect("it serves");
    send(pool.pid(), Signal::Term);
    pool.come_round();
    let queued = Held::queue(address).expect("whoever comes now waits for the next server");
    held.finish().expect("what is in hand is finished");
    assert!(pool.ends_well());
    serve(first_in_queue(&listener), queued);
}

/// RATIONALE 4.4
#[test]
fn a_socket_is_offered_to_the_service_manager_above_who_hears_of_readiness_after_it() {
    let name = format!("above-{}-offered", std::process::id());
    let manager = Name::from_abstract_name(&name).and_then(|name| UnixDatagram::bind_addr(&name));
    let manager = manager.expect("the name is free");
    manager.set_read_timeout(Some(PATIENCE)).expect("it has a limit");
    let mut command = Command::new(example("witness"));
    command.args(["listen=web=127.0.0.1:0", "count=1", "run=hold"]).stdin(Stdio::null());
    let mut pool = Pool::start(command.env("NOTIFY_SOCKET", format!("@{name}")));
    let mut heard = [0; 64];
    for expected in ["FDSTORE=1\nFDNAME=web\n", "READY=1"] {
        let length = manager.recv(&mut heard).expect("it says so");
        let said = String::from_utf8_lossy(&heard[..length]);
        assert_eq!(said.trim_end(), expected.trim_end());
    }
    pool.expect("workers are ready");
    send(pool.pid(), Signal::Term);
    assert!(pool.ends_well());
}

/// RATIONALE 3.6
#[test]
fn a_sigint_ends_a_worker_at_once() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, answer) = Held::hold(address).expect("it serves");
    send(answer.pid, Signal::Int);
    assert!(held.ends_without_a_word());
    let died = panzer.expect_event("its end", |event| event.name == "died" && event.slot == 1);
    assert_eq!(died.why, "killed by SIGINT");
    panzer.stop();
}

/// Runs a command on a terminal of its own; our standard input is its keyboard,
/// and our standard error its screen.
const ON_A_TERMINAL: &str = "import os, pty, sys; os.dup2(2, 1); \
                             sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// RATIONALE 3.6
#[test]
fn a_sigint_from_the_terminal_is_left_to_the_monitor() {
    let mut command = Command::new("python3");
    command.args(["-c", ON_A_TERMINAL]).arg(example("witness"));
    command.args(["listen=127.0.0.1:0", "count=1", "run=hold"]);
    let mut pool = Pool::start(command.stdin(Stdio::piped()));
    let address = pool.expect_address();
    pool.expect("workers are ready");
    let (held, _) = Held::hold(address).expect("it serves");
    // Ctrl-C, which the kernel sends to everybody in the foreground at once.
    let keyboard = pool.input.as_mut().expect("it was asked for");
    keyboard.write_all(b"\x03").expect("the terminal is there");
    expect_let_go(look::children(pool.pid())[0]);
    held.finish().expect("what is in hand is finished");
    assert!(pool.ends_well());
}
