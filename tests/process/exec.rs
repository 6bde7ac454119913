//! `--exec`: a pool whose workers are copies of any program.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::ctl::ctl;
use crate::harness::files::{TempDir, open_gate};
use crate::harness::notify::{notify, socket_of};
use crate::harness::panzer::{End, Panzer, continue_process, send};
use crate::harness::setup::Setup;
use crate::harness::strace::Attached;
use crate::harness::{TIMEOUT, assert_elapsed_at_least, procfs, skip};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/program.py");
const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello.py");

/// Copies of a Python script.
fn python(script: &str, words: &[&str], options: &[&str]) -> Setup {
    let words: Vec<_> = [script].into_iter().chain(words.iter().copied()).collect();
    Setup::new(Path::new("python3"), &words).options(&["--exec"]).options(options)
}

/// Copies of the fixture.
fn program(words: &[&str], options: &[&str]) -> Setup {
    python(PROGRAM, words, options)
}

/// A pid file in a directory, and the option for it.
fn pid_file(dir: &TempDir) -> (PathBuf, String) {
    let path = dir.join("panzer.pid");
    let option = format!("--pid={}", path.display());
    (path, option)
}

/// The text after the slot in a line that the fixture has logged.
fn logged(panzer: &mut Panzer, slot: u32, text: &str) -> String {
    let line = panzer.expect_line(&format!("slot {slot}: {text}"));
    line.split_once(": ").expect("it was found").1.to_string()
}

/// Where the first socket of `--bind` listens.
fn address(dir: &TempDir) -> SocketAddr {
    let (pid_file, _) = pid_file(dir);
    let shown = ctl(&pid_file, &["status"]).stdout;
    let line = shown.lines().find(|line| line.contains(" bound")).expect("it is bound");
    let mut addresses = line.split_whitespace().filter_map(|word| word.parse().ok());
    addresses.find(|address: &SocketAddr| address.port() > 0).expect("it has one")
}

/// rule: ready.sigvtalrm
#[test]
fn sigvtalrm_from_program_does_not_affect_monitor() {
    let words = ["-c", "kill -s VTALRM $PPID; exec sleep 1000"];
    let options = ["--exec", "-n1", "--ready=0.05"];
    let mut panzer = Setup::new(Path::new("sh"), &words).options(&options).start();
    let monitor = panzer.expect_current(1);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines(&format!("monitor (pid {monitor}) of generation 1: exited")), 1);
    assert_eq!(panzer.count_lines("SIGVTALRM"), 0, "{:?}", panzer.lines());
}

/// rule: exec.given
#[test]
fn program_gets_listeners_slot_and_generation_and_nothing_else() {
    let dir = TempDir::new();
    let bind = format!("--bind=web=unix:{}", dir.join("web").display());
    let words = ["2:show=LISTEN_", "2:show=PANZER_", "2:open"];
    let options = ["-n2", "--ready=0", &bind, "--bind=127.0.0.1:0", "--timeout=9", "-v"];
    let mut panzer = program(&words, &options).start();
    let monitor = panzer.expect_current(1);
    let listen = logged(&mut panzer, 2, "LISTEN_FDNAMES");
    let pid = listen.rsplit_once("LISTEN_PID=").expect("it is there").1.parse::<u32>();
    let pid = pid.expect("it is a number");
    let expected = format!("LISTEN_FDNAMES=web:127.0.0.1\\x3a0 LISTEN_FDS=2 LISTEN_PID={pid}");
    assert_eq!(listen, expected);
    assert_eq!(logged(&mut panzer, 2, "PANZER"), "PANZER_GENERATION=1 PANZER_SLOT=2");
    let open = logged(&mut panzer, 2, "0 ");
    assert_eq!(open, "0 /dev/null, 1 pipe, 2 pipe, 3 socket, 4 socket");
    let row = procfs::row(pid).expect("it is there");
    assert_eq!((row.parent, row.group, row.session), (monitor, pid, monitor));
    assert_eq!(procfs::name(monitor), "panzer:monitor");
    assert_eq!(procfs::status(pid, "SigBlk"), "0000000000000000");
    panzer.stop();
}

/// rule: exec.given
#[test]
fn program_inherits_ignored_signals_except_sigchld() {
    // The monitor catches SIGINT, so exec alone would reset it to its default.
    let ignore = r#"trap "" INT USR2 CHLD; exec "$@""#;
    let setup = Setup::new(Path::new("sleep"), &["1000"]).options(&["-x", "-n1", "--ready=0"]);
    let mut panzer = setup.through(Path::new("sh"), &["-c", ignore, "sh"]).start();
    let monitor = panzer.expect_current(1);
    let worker = panzer.workers(monitor)[0];
    let ignored = u64::from_str_radix(&procfs::status(worker, "SigIgn"), 16).expect("it is a mask");
    // The signals from 32 on are the C library's own.
    let [int, usr2] = [Signal::Int, Signal::Usr2].map(|signal| 1 << (signal.number() - 1));
    assert_eq!(ignored & 0x7fff_ffff, int | usr2);
    panzer.stop();
}

/// rule: exec.ready
#[test]
fn silent_program_is_ready_after_ready_time() {
    let begun = Instant::now();
    let mut panzer = program(&[], &["-n2", "--ready=0.4"]).start();
    panzer.expect_current(1);
    assert_elapsed_at_least(begun, Duration::from_millis(400));
    panzer.stop();
}

/// rule: exec.ready
#[test]
fn program_that_sends_ready_is_ready_at_once() {
    let mut panzer = program(&["notify=READY=1"], &["-n2", "--ready=1000"]).start();
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: exec.turn
#[test]
fn notify_socket_is_read_only_when_it_was_named() {
    let dir = TempDir::new();
    let options = ["-x", "-n4", "--ready=0.1", "--delay=0", "-v"];
    let setup = Setup::new(Path::new("sleep"), &["1000"]).options(&options);
    let (setup, trace) = setup.traced(dir.path(), "calls", &["-yy", "-e", "trace=recvmsg"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    send(panzer.workers(monitor)[0], Signal::Kill);
    let pid = panzer.expect("respawn", 1).pid;
    // It begins to live when its exec pipe was read.
    panzer.expect_line(&format!("(pid {pid}): ready"));
    panzer.stop();
    let calls = trace.calls();
    for number in 1..=5 {
        let path = format!("/worker.{number}\"");
        let reads = calls.iter().filter(|call| call.pid == monitor && call.words.contains(&path));
        // With what its exec pipe says, and before it is closed.
        assert_eq!(reads.count(), 2, "{path}: {calls:#?}");
    }
}

/// rule: exec.start
#[test]
fn program_is_started_without_a_copy_of_thousands_of_descriptors() {
    let dir = TempDir::new();
    let options = ["-x", "-n2100", "--ready=0", "--delay=0", "-v"];
    let mut panzer = Setup::new(Path::new("sleep"), &["1000"]).options(&options).start();
    let monitor = panzer.expect_current(1);
    let calls = dir.join("calls");
    let traced = Attached::to(monitor, &calls, &["-e", "trace=clone"]);
    send(panzer.workers(monitor)[0], Signal::Kill);
    let pid = panzer.expect("respawn", 1).pid;
    // Its group was made before it was executed, and that is known.
    panzer.expect_line(&format!("(pid {pid}): ready"));
    drop(traced);
    let row = procfs::row(pid).expect("it is there");
    assert_eq!((row.parent, row.group, row.session), (monitor, pid, monitor));
    panzer.stop();
    let calls = fs::read_to_string(&calls).expect("it was traced");
    let clones: Vec<_> = calls.lines().filter(|line| line.starts_with("clone(")).collect();
    assert!(clones.len() == 1 && clones[0].contains("CLONE_VFORK"), "{calls}");
}

/// The monitor has heard all programs and reaps, and the kernel names 64 others first.
///
/// rule: exec.ready
#[test]
fn dead_program_was_ready_where_64_others_have_something_to_say() {
    let dir = TempDir::new();
    let options = ["-x", "-n66", "--ready=notify", "-v"];
    let mut panzer = Setup::new(Path::new("sleep"), &["1000"]).options(&options).start();
    let monitor = panzer.expect_monitor(1);
    let is_program = |pid: &u32| procfs::name(*pid) == "sleep";
    let all_run = || procfs::children(monitor).iter().filter(|pid| is_program(pid)).count() == 66;
    panzer.eventually("all run", all_run);
    panzer.settle_monitor(monitor);
    let workers = panzer.workers(monitor);
    let (first, last, others) = (workers[0], workers[1], &workers[2..]);
    let sockets: Vec<_> = others.iter().map(|pid| socket_of(*pid)).collect();
    let words = ["-e", "trace=waitid", "-e", "inject=waitid:signal=STOP:when=1"];
    let calls = dir.join("calls");
    let _traced = Attached::to(monitor, &calls, &words);
    send(first, Signal::Kill);
    let reaps = || fs::read_to_string(&calls).is_ok_and(|calls| calls.contains("stopped by"));
    panzer.eventually("it reaps", reaps);
    sockets.iter().for_each(|name| notify(name, "STATUS=up"));
    notify(&socket_of(last), "READY=1");
    send(last, Signal::Kill);
    panzer.eventually("it is dead", || procfs::state(last) == Some('Z'));
    continue_process(monitor);
    panzer.expect_line(&format!("(pid {last}) of generation 1: killed by SIGKILL"));
    assert_eq!(panzer.count_lines(&format!("(pid {last}): ready")), 1, "{:#?}", panzer.lines());
    panzer.stop();
}

/// rule: exec.ready
#[test]
fn ready_notify_waits_for_every_program() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("2:gate={}", gate.display());
    let words = ["1:plain=READY=1", "1:say=ready", "2:say=here", &wait, "2:notify=READY=1"];
    let mut panzer = program(&words, &["-n2", "--ready=notify"]).start();
    let monitor = panzer.expect_monitor(1);
    panzer.expect_line("slot 1: ready");
    panzer.settle_monitor(monitor);
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&gate);
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: exec.ready
#[test]
fn other_notify_messages_are_ignored_and_their_descriptors_closed() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("gate={}", gate.display());
    let words = [
        // What comes behind a descriptor waits for the child that receives it.
        "plain=STATUS=READY=1",
        "notify=STOPPING=1",
        "notify=FDSTORE=1\nFDNAME=mine",
        "notify=STATUS=READY=1",
        "notify=\n=\n\n",
        "say=sent",
        &wait,
        "notify=X=1\nREADY=1\n",
    ];
    let mut panzer = program(&words, &["-n1", "--ready=notify"]).start();
    let monitor = panzer.expect_monitor(1);
    panzer.expect_line("slot 1: sent");
    panzer.settle_monitor(monitor);
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&gate);
    panzer.expect_current(1);
    let nowhere = |line: &String| line.ends_with(" /dev/null");
    let open = procfs::descriptors(monitor);
    // Its standard input, what replaces the listeners that it closes, and the low number
    // for a start beside very many.
    assert_eq!(open.iter().filter(|line| nowhere(line)).count(), 3, "{open:?}");
    panzer.stop();
}

/// rule: exec.ready
#[test]
fn ready_message_of_another_user_is_ignored() {
    if panzer::sys::process::user() != 0 {
        return skip("ready_message_of_another_user_is_ignored", "only root is two users");
    }
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("gate={}", gate.display());
    let words = ["other=READY=1", "say=sent", &wait, "notify=READY=1"];
    let mut panzer = program(&words, &["-n1", "--ready=notify"]).start();
    let monitor = panzer.expect_monitor(1);
    panzer.expect_line("slot 1: sent");
    panzer.settle_monitor(monitor);
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&gate);
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: exec.ready
#[test]
fn ready_message_after_program_death_is_ignored() {
    let dir = TempDir::new();
    let first = format!("once={}", dir.join("first").display());
    let words = [&first, "late", "exit=1"];
    let mut panzer = program(&words, &["-n1", "--ready=notify"]).start();
    panzer.expect_line("slot 1: too late: ");
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: exec.ready
#[test]
fn flood_of_notify_messages_does_not_block_monitor() {
    let dir = TempDir::new();
    let (file, option) = pid_file(&dir);
    let words = ["1:flood", "1:flood", "1:flood", "notify=READY=1"];
    let mut panzer = program(&words, &["-n2", "--ready=notify", &option]).start();
    panzer.expect_current(1);
    assert_eq!(ctl(&file, &["scale", "3"]).status, 0);
    panzer.stop();
}

/// rule: exec.board
#[test]
fn status_shows_state_of_each_program() {
    let dir = TempDir::new();
    let (file, option) = pid_file(&dir);
    let gate = dir.gate("gate");
    let wait = format!("2:gate={}", gate.display());
    let words = ["tell=TERM", "1:notify=READY=1", "1:say=ready", &wait, "2:notify=READY=1"];
    let options = ["-n2", "--ready=notify", "--timeout=1000", &option];
    let mut panzer = program(&words, &options).start();
    let monitor = panzer.expect_monitor(1);
    panzer.expect_line("slot 1: ready");
    let shows = |states: [&str; 2]| {
        let shown = ctl(&file, &["status"]).stdout;
        let state = |slot: usize| {
            let line = shown.lines().find(|line| line.contains(&format!("worker {slot} ")));
            line.is_some_and(|line| line.contains(states[slot - 1]))
        };
        state(1) && state(2)
    };
    panzer.eventually("only one is ready", || shows([" ready ", " starting "]));
    open_gate(&gate);
    panzer.expect_current(1);
    assert!(shows([" ready ", " ready "]));
    assert!(!ctl(&file, &["status"]).stdout.contains("handled"), "no program counts requests");
    panzer.signal(Signal::Term);
    panzer.expect_line(": TERM");
    panzer.expect_line(": TERM");
    panzer.eventually("both are draining", || shows([" draining ", " draining "]));
    for worker in panzer.workers(monitor) {
        send(worker, Signal::Kill);
    }
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: exec.monitor
#[test]
fn dead_program_is_replaced_in_its_slot() {
    let mut panzer = program(&[], &["-n2", "--ready=0"]).start();
    let monitor = panzer.expect_current(1);
    let before = panzer.workers(monitor);
    send(before[0], Signal::Kill);
    let died = panzer.expect("died", 1);
    assert_eq!((died.pid, died.reason.as_str()), (before[0], "killed by SIGKILL"));
    let respawn = panzer.expect("respawn", 1);
    assert_eq!(respawn.slot, died.slot);
    panzer.expect_line("of generation 1: killed by SIGKILL after");
    let mut after = [before[1], respawn.pid];
    after.sort_unstable();
    // A child of the monitor that closes a socket has the monitor's name at first.
    assert!(procfs::until(|| panzer.workers(monitor) == after));
    panzer.stop();
}

/// rule: exec.monitor
#[test]
fn program_that_ignores_sigterm_gets_sigint_then_sigkill() {
    let words = ["tell=TERM", "tell=INT", "notify=READY=1"];
    let mut panzer = program(&words, &["-n1", "--ready=notify", "--timeout=0.2"]).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Term);
    panzer.expect_line("slot 1: TERM");
    panzer.expect_line("slot 1: INT");
    assert_eq!(panzer.end(), End::Status(4));
    // The kernel sends SIGTERM once more when the monitor is killed.
    assert_eq!(panzer.count_lines("slot 1: INT"), 1);
}

/// rules: lifetime.replacement, exec.monitor
#[test]
fn program_is_recycled_after_its_replacement_is_ready() {
    let options = ["-n1", "--ready=notify", "--lifetime=0.2", "-v"];
    let mut panzer = program(&["notify=READY=1", "say=ready"], &options).start();
    panzer.expect_current(1);
    panzer.expect_line("slot 1: ready");
    // The old one is stopped only after its replacement is ready.
    panzer.expect_line("slot 1: ready");
    panzer.expect_line("of generation 1: killed by SIGTERM after");
    assert_eq!(panzer.expect("respawn", 1).slot, 1);
    panzer.stop();
}

/// rule: exec.monitor
#[test]
fn reload_and_scale_work_for_programs() {
    let dir = TempDir::new();
    let (file, option) = pid_file(&dir);
    let mut panzer = program(&["notify=READY=1"], &["-n2", "--ready=notify", &option]).start();
    panzer.expect_current(1);
    let scaled = ctl(&file, &["scale", "3"]);
    assert_eq!((scaled.status, scaled.stdout.trim()), (0, "3 workers"), "{}", scaled.stderr);
    assert_eq!(ctl(&file, &["reload"]).status, 0);
    let monitor = panzer.expect_current(2);
    // A child that receives a message for the monitor may exist for a moment.
    assert!(procfs::until(|| panzer.workers(monitor).len() == 3));
    panzer.stop();
}

/// rule: exec.not-executable
#[test]
fn first_start_of_unexecutable_command_exits_with_126_or_127() {
    let dir = TempDir::new();
    dir.write("text", "no program\n");
    for (name, status, reason) in [
        ("nothing", 127, "no such file or directory (ENOENT)"),
        ("text", 126, "permission denied (EACCES)"),
    ] {
        let path = dir.join(name);
        let mut panzer = Setup::new(&path, &[]).options(&["-x", "-n2"]).start();
        let path = path.display();
        panzer.expect_line(&format!("generation 1: failed: cannot execute '{path}': {reason}"));
        assert_eq!(panzer.end(), End::Status(status));
        assert_eq!(panzer.count("started"), 1);
    }
}

/// Waits until two shells run their script, which they open only after their exec.
fn expect_both(panzer: &mut Panzer) {
    panzer.expect_line("it is up");
    panzer.expect_line("it is up");
}

/// rule: exec.not-executable
#[test]
fn reload_with_missing_command_fails_and_changes_nothing() {
    let dir = TempDir::new();
    let (file, option) = pid_file(&dir);
    let app = dir.script("app", "echo it is up; exec sleep 1000");
    let setup = Setup::new(&app, &[]).options(&["-x", "-n2", "--ready=0", &option]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_monitor(1);
    expect_both(&mut panzer);
    panzer.expect_current(1);
    let before = panzer.workers(monitor);
    fs::remove_file(&app).expect("it was there");
    let reload = ctl(&file, &["reload"]);
    let reason = format!("cannot execute '{}': no such file or directory (ENOENT)", app.display());
    assert_eq!(reload.status, 1);
    assert!(reload.stderr.contains(&reason), "{}", reload.stderr);
    assert_eq!(panzer.workers(monitor), before);
    assert_eq!(before.len(), 2);
    dir.script("app", "exec sleep 1000");
    assert_eq!(ctl(&file, &["reload"]).status, 0);
    panzer.stop();
}

/// rule: exec.not-executable
#[test]
fn command_removed_later_is_retried_until_it_is_back() {
    let dir = TempDir::new();
    let app = dir.script("app", "echo it is up; exec sleep 1000");
    let options = ["-x", "-n2", "--ready=0", "--delay=0.05", "--max-delay=0.05"];
    let mut panzer = Setup::new(&app, &[]).options(&options).start();
    let monitor = panzer.expect_monitor(1);
    expect_both(&mut panzer);
    panzer.expect_current(1);
    fs::remove_file(&app).expect("it was there");
    send(panzer.workers(monitor)[0], Signal::Kill);
    let reason = format!("exited with status 127 after {{}} (cannot execute '{}'", app.display());
    let (before, after) = reason.split_once("{}").expect("it is there");
    let line = panzer.expect_line(before);
    assert!(line.contains(after), "{line}");
    let same_path = dir.script("app", "echo back; exec sleep 1000");
    assert_eq!(same_path, app);
    panzer.expect_line("back");
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count("started"), 1);
}

/// rule: exec.kind
#[test]
fn option_exec_cannot_be_changed_by_reload() {
    let dir = TempDir::new();
    let file = |exec: bool| dir.write("panzer.yml", &format!("exec: {exec}\ncount: 1\n"));
    let config = format!("--config={}", file(true).display());
    let setup = Setup::new(Path::new("python3"), &[PROGRAM, "notify=READY=1"]);
    let mut panzer = setup.options(&[&config, "--ready=notify"]).start();
    panzer.expect_current(1);
    file(false);
    let monitor = panzer.reload(2);
    panzer.expect_line("'exec' cannot be changed by a reload");
    assert_eq!(procfs::name(monitor), "panzer:monitor");
    panzer.stop();
}

/// rule: exec.monitor
#[test]
fn panzer_exec_variable_does_not_turn_main_into_a_monitor() {
    let setup = Setup::new(Path::new("sleep"), &["1000"]).options(&["--ready=0"]);
    let mut panzer = setup.variable("PANZER_EXEC", "1").start();
    panzer.expect_current(1);
    panzer.stop();
}

/// The fixture, whose worker holds a connection.
fn holding(options: &[&str]) -> (TempDir, Panzer, u32, Held) {
    let dir = TempDir::new();
    let (_, option) = pid_file(&dir);
    let words = ["notify=READY=1", "hold", "exit=0"];
    let setup = program(&words, &["-n1", "--ready=notify", "--bind=127.0.0.1:0", &option]);
    let mut panzer = setup.options(options).start();
    let monitor = panzer.expect_current(1);
    let (held, _) = Held::hold(address(&dir)).expect("it serves");
    (dir, panzer, monitor, held)
}

/// rule: exec.main-lost
#[test]
fn programs_finish_connections_after_main_is_killed() {
    let (_dir, mut panzer, _, held) = holding(&[]);
    panzer.signal(Signal::Kill);
    panzer.expect_line("slot 1: TERM");
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), End::Signal(9));
}

/// rule: exec.main-lost
#[test]
fn programs_finish_and_are_replaced_after_monitor_is_killed() {
    let (_dir, mut panzer, monitor, held) = holding(&[]);
    send(monitor, Signal::Kill);
    panzer.expect_line("slot 1: TERM");
    panzer.expect_current(2);
    held.finish().expect("it is finished");
    panzer.stop();
}

/// rule: exec.main-lost
#[test]
fn programs_get_sigterm_after_main_and_monitor_are_killed() {
    let (_dir, mut panzer, monitor, held) = holding(&[]);
    [panzer.pid(), monitor].into_iter().for_each(|pid| send(pid, Signal::Kill));
    panzer.expect_line("slot 1: TERM");
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), End::Signal(9));
}

/// One request to the example, and its answer.
fn hello(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn is_hello(answer: &str) -> bool {
    answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("\r\n\r\nhello from ")
}

/// rule: exec.example
#[test]
fn hello_example_reloads_under_load_without_a_failed_request() {
    let dir = TempDir::new();
    let (file, option) = pid_file(&dir);
    let options = ["-n2", "--ready=notify", "--bind=127.0.0.1:0", &option];
    let mut panzer = python(HELLO, &[], &options).start();
    panzer.expect_current(1);
    let address = address(&dir);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = hello(address).expect("every request is answered");
                    assert!(is_hello(&answer), "{answer:?}");
                }
            })
        })
        .collect();
    for _ in 0..5 {
        assert_eq!(ctl(&file, &["reload"]).status, 0);
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("no request fails"));
    panzer.expect_current(6);
    panzer.stop();
}
