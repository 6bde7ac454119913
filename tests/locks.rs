//! No thread of an application waits for a thread that waits for main.

use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Only a test that fails ever waits that long.
const TIMEOUT: Duration = Duration::from_secs(20);
const TEST: &str = "dropping_a_listener_does_not_wait_for_a_main_that_is_stopped";

/// Writes one line, which the test reads.
fn tell(line: &str) {
    writeln!(io::stdout(), "{line}").expect("the test reads");
}

/// A program that drops its first listener while a second thread waits to offer another
/// one to main.
fn program() {
    let first = panzer::listen("127.0.0.1:0").expect("there are ports");
    tell("first");
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("the test says when");
    let second = thread::spawn(|| {
        let own = fs::read_link("/proc/thread-self").expect("/proc is mounted");
        tell(&own.to_string_lossy());
        panzer::listen("127.0.0.1:0").map(drop).expect("there are ports");
    });
    io::stdin().read_line(&mut line).expect("the test says when");
    drop(first);
    tell("dropped");
    second.join().expect("it has not panicked");
    tell("second");
}

/// Whether a thread sleeps in sendmsg(2).
fn sends(thread: &str) -> bool {
    let call = fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap_or_default();
    call.split(' ').next() == Some(if cfg!(target_arch = "x86_64") { "46" } else { "211" })
}

/// A program that ends with its test: else one that fails would have it speak on.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already where the test has not failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn dropping_a_listener_does_not_wait_for_a_main_that_is_stopped() {
    if env::var_os("LOCKS_PROGRAM").is_some() {
        return program();
    }
    let place = env::temp_dir().join(format!("panzer-locks-{}", std::process::id()));
    let main = UnixDatagram::bind(&place).expect("the place is free");
    let child = Command::new(env::current_exe().expect("/proc is mounted"))
        .args([TEST, "--exact", "--nocapture"])
        .env("LOCKS_PROGRAM", "1")
        .env("NOTIFY_SOCKET", &place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut child = Program(child);
    let (sender, lines) = mpsc::channel();
    let out = BufReader::new(child.0.stdout.take().expect("it is piped"));
    thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut input = child.0.stdin.take().expect("it is piped");
    let expect = |what: &dyn Fn(&str) -> bool| loop {
        let line = lines.recv_timeout(TIMEOUT).expect("it goes on");
        if what(&line) {
            return line;
        }
    };
    expect(&|line| line.ends_with("first"));
    // Another process has filled main's queue.
    let other = UnixDatagram::unbound().expect("there are descriptors");
    other.set_nonblocking(true).expect("it is ours");
    while other.send_to(b"x", &place).map_err(|error| error.kind()) != Err(ErrorKind::WouldBlock) {}
    input.write_all(b"\n").expect("it reads");
    let waits = expect(&|line| line.contains("/task/"));
    let deadline = Instant::now() + TIMEOUT;
    while !sends(&waits) {
        assert!(Instant::now() < deadline, "the thread does not wait for room in the queue");
        thread::yield_now();
    }
    input.write_all(b"\n").expect("it reads");
    expect(&|line| line == "dropped");
    assert!(sends(&waits), "the thread no longer waits");
    let mut bytes = [0; 64];
    main.set_nonblocking(true).expect("it is ours");
    while main.recv(&mut bytes).is_ok() {}
    expect(&|line| line == "second");
    assert!(child.0.wait().expect("it is ours").success());
    fs::remove_file(&place).expect("it is ours");
}
