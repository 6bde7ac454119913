//! `--exec`: any program, in as many copies as there are to be workers.

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
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::place::{Place, open_gate};
use crate::harness::setup::Setup;
use crate::harness::{PATIENCE, expect_passed, look, skip};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/program.py");
const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello.py");

/// Copies of a program of Python's.
fn python(script: &str, words: &[&str], options: &[&str]) -> Setup {
    let words: Vec<_> = [script].into_iter().chain(words.iter().copied()).collect();
    Setup::new(Path::new("python3"), &words).options(&["--exec"]).options(options)
}

/// Copies of the fixture.
fn program(words: &[&str], options: &[&str]) -> Setup {
    python(PROGRAM, words, options)
}

/// A pid file in a place.
fn pid_file(place: &Place) -> (PathBuf, String) {
    let path = place.join("panzer.pid");
    let option = format!("--pid={}", path.display());
    (path, option)
}

/// The programs of a monitor, without who watches over them.
fn programs(panzer: &Panzer, monitor: u32) -> Vec<u32> {
    let mut workers = panzer.workers(monitor);
    workers.retain(|pid| look::name(*pid) != "panzer:keeper");
    workers
}

/// Who watches over them.
fn keeper_of(panzer: &Panzer, monitor: u32) -> u32 {
    let mut below = panzer.workers(monitor).into_iter();
    below.find(|pid| look::name(*pid) == "panzer:keeper").expect("it is there")
}

/// What stands behind the name of a slot in a line that it has said.
fn said(panzer: &mut Panzer, slot: u32, text: &str) -> String {
    let line = panzer.expect_line(&format!("slot {slot}: {text}"));
    line.split_once(": ").expect("it was found").1.to_string()
}

/// Where the first socket of `--bind` listens.
fn address(place: &Place) -> SocketAddr {
    let (pid_file, _) = pid_file(place);
    let shown = ctl(&pid_file, &["status"]).shown;
    let line = shown.lines().find(|line| line.contains(" bound")).expect("it is bound");
    let mut addresses = line.split_whitespace().filter_map(|word| word.parse().ok());
    addresses.find(|address: &SocketAddr| address.port() > 0).expect("it has one")
}

/// RATIONALE 15.3
#[test]
fn a_worker_finds_its_sockets_and_what_is_its_own_and_nothing_of_ours() {
    let place = Place::new();
    let bind = format!("--bind=web=unix:{}", place.join("web").display());
    let words = ["2:show=LISTEN_", "2:show=PANZER_", "2:open"];
    let options = ["-n2", "--ready=0", &bind, "--bind=127.0.0.1:0", "--timeout=9", "-v"];
    let mut panzer = program(&words, &options).start();
    let monitor = panzer.expect_current(1);
    let listen = said(&mut panzer, 2, "LISTEN_FDNAMES");
    let pid = listen.rsplit_once("LISTEN_PID=").expect("it is there").1.parse::<u32>();
    let pid = pid.expect("it is a number");
    let expected = format!("LISTEN_FDNAMES=web:127.0.0.1\\x3a0 LISTEN_FDS=2 LISTEN_PID={pid}");
    assert_eq!(listen, expected);
    assert_eq!(said(&mut panzer, 2, "PANZER"), "PANZER_GENERATION=1 PANZER_SLOT=2");
    let open = said(&mut panzer, 2, "0 ");
    assert_eq!(open, "0 /dev/null, 1 pipe, 2 pipe, 3 socket, 4 socket");
    let row = look::row(pid).expect("it is there");
    assert_eq!((row.parent, row.group), (monitor, monitor));
    assert_eq!(look::name(monitor), "panzer:monitor");
    assert_eq!(look::status(pid, "SigBlk"), "0000000000000000");
    panzer.stop();
}

/// RATIONALE 15.3
#[test]
fn a_worker_ignores_what_main_was_started_to_ignore_and_has_the_default_of_sigchld() {
    // The monitor catches SIGINT, and so would have it at its default behind an exec.
    let ignore = r#"trap "" INT USR2 CHLD; exec "$@""#;
    let setup = Setup::new(Path::new("sleep"), &["1000"]).options(&["-x", "-n1", "--ready=0"]);
    let mut panzer = setup.through(Path::new("sh"), &["-c", ignore, "sh"]).start();
    let monitor = panzer.expect_current(1);
    let worker = programs(&panzer, monitor)[0];
    let ignored = u64::from_str_radix(&look::status(worker, "SigIgn"), 16).expect("it is a mask");
    // The signals from 32 on are the C library's own.
    let [int, usr2] = [Signal::Int, Signal::Usr2].map(|it| 1 << (it.number() - 1));
    assert_eq!(ignored & 0x7fff_ffff, int | usr2);
    panzer.stop();
}

/// RATIONALE 15.4
#[test]
fn a_worker_that_says_nothing_is_ready_once_it_has_lived_so_long() {
    let begun = Instant::now();
    let mut panzer = program(&[], &["-n2", "--ready=0.4"]).start();
    panzer.expect_current(1);
    expect_passed(begun, Duration::from_millis(400));
    panzer.stop();
}

/// RATIONALE 15.4
#[test]
fn a_worker_that_says_that_it_is_ready_is_believed_at_once() {
    let mut panzer = program(&["notify=READY=1"], &["-n2", "--ready=1000"]).start();
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 15.4
#[test]
fn where_workers_have_to_say_it_the_generation_waits_for_the_last_of_them() {
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("2:gate={}", gate.display());
    let words = ["1:notify=READY=1", "1:say=ready", "2:say=here", &wait, "2:notify=READY=1"];
    let mut panzer = program(&words, &["-n2", "--ready=notify"]).start();
    panzer.expect_line("slot 1: ready");
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&gate);
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 15.4
#[test]
fn nothing_but_ready_counts_and_no_descriptor_stays_open() {
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("gate={}", gate.display());
    let words = [
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
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&gate);
    panzer.expect_current(1);
    let nowhere = |line: &String| line.ends_with(" /dev/null");
    let open = look::descriptors(monitor);
    // Its standard input, and what it puts in the place of what it lets go of.
    assert_eq!(open.iter().filter(|line| nowhere(line)).count(), 2, "{open:?}");
    panzer.stop();
}

/// RATIONALE 15.4
#[test]
fn another_user_cannot_say_that_a_worker_is_ready() {
    if panzer::sys::process::user() != 0 {
        return skip("another_user_cannot_say_that_a_worker_is_ready", "only root is two users");
    }
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("gate={}", gate.display());
    let words = ["other=READY=1", "say=sent", &wait, "notify=READY=1"];
    let mut panzer = program(&words, &["-n1", "--ready=notify"]).start();
    panzer.expect_line("slot 1: sent");
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&gate);
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 15.4
#[test]
fn what_a_dead_worker_has_left_to_say_is_heard_by_nobody() {
    let place = Place::new();
    let first = format!("once={}", place.join("first").display());
    let words = [&first, "late", "exit=1"];
    let mut panzer = program(&words, &["-n1", "--ready=notify"]).start();
    panzer.expect_line("slot 1: too late: Connection refused");
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 15.4
#[test]
fn a_worker_that_never_stops_talking_keeps_its_monitor_from_nothing() {
    let place = Place::new();
    let (file, option) = pid_file(&place);
    let words = ["1:flood", "1:flood", "1:flood", "notify=READY=1"];
    let mut panzer = program(&words, &["-n2", "--ready=notify", &option]).start();
    panzer.expect_current(1);
    assert_eq!(ctl(&file, &["scale", "3"]).status, 0);
    panzer.stop();
}

/// RATIONALE 15.5
#[test]
fn the_board_shows_what_each_program_does() {
    let place = Place::new();
    let (file, option) = pid_file(&place);
    let gate = place.gate("gate");
    let wait = format!("2:gate={}", gate.display());
    let words = ["tell=TERM", "1:notify=READY=1", "1:say=ready", &wait, "2:notify=READY=1"];
    let options = ["-n2", "--ready=notify", "--timeout=1000", &option];
    let mut panzer = program(&words, &options).start();
    let monitor = panzer.expect_monitor(1);
    panzer.expect_line("slot 1: ready");
    let shows = |states: [&str; 2]| {
        let shown = ctl(&file, &["status"]).shown;
        let state = |slot: usize| {
            let line = shown.lines().find(|line| line.contains(&format!("worker {slot} ")));
            line.is_some_and(|line| line.contains(states[slot - 1]))
        };
        state(1) && state(2)
    };
    panzer.eventually("only one is idle", || shows([" idle ", " starting "]));
    open_gate(&gate);
    panzer.expect_current(1);
    assert!(shows([" idle ", " idle "]));
    assert!(!ctl(&file, &["status"]).shown.contains("handled"), "nobody counts");
    panzer.signal(Signal::Term);
    panzer.expect_line(": TERM");
    panzer.expect_line(": TERM");
    panzer.eventually("both are draining", || shows([" draining ", " draining "]));
    for worker in programs(&panzer, monitor) {
        send(worker, Signal::Kill);
    }
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 15.1
#[test]
fn a_program_that_dies_is_replaced_in_its_slot_alone() {
    let mut panzer = program(&[], &["-n2", "--ready=0"]).start();
    let monitor = panzer.expect_current(1);
    let before = programs(&panzer, monitor);
    send(before[0], Signal::Kill);
    let died = panzer.expect("died", 1);
    assert_eq!((died.pid, died.why.as_str()), (before[0], "killed by SIGKILL"));
    let respawn = panzer.expect("respawn", 1);
    assert_eq!(respawn.slot, died.slot);
    panzer.expect_line("of generation 1 killed by SIGKILL after");
    let mut after = [before[1], respawn.pid];
    after.sort_unstable();
    assert_eq!(programs(&panzer, monitor), after);
    panzer.stop();
}

/// RATIONALE 15.1
#[test]
fn a_program_that_will_not_go_is_interrupted_and_killed() {
    let words = ["tell=TERM", "tell=INT", "notify=READY=1"];
    let mut panzer = program(&words, &["-n1", "--ready=notify", "--timeout=0.2"]).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Term);
    panzer.expect_line("slot 1: TERM");
    panzer.expect_line("slot 1: INT");
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count_lines("slot 1:"), 2);
}

/// RATIONALE 2.22, 15.1
#[test]
fn a_program_is_recycled_once_its_heir_is_ready() {
    let options = ["-n1", "--ready=notify", "--lifetime=0.2", "-v"];
    let mut panzer = program(&["notify=READY=1", "say=ready"], &options).start();
    panzer.expect_current(1);
    panzer.expect_line("slot 1: ready");
    // Whoever is asked to leave is so after another one has said that it is ready.
    panzer.expect_line("slot 1: ready");
    panzer.expect_line("of generation 1 killed by SIGTERM after");
    assert_eq!(panzer.expect("respawn", 1).slot, 1);
    panzer.stop();
}

/// RATIONALE 15.1
#[test]
fn a_reload_and_another_number_of_workers_are_as_for_any_other_pool() {
    let place = Place::new();
    let (file, option) = pid_file(&place);
    let mut panzer = program(&["notify=READY=1"], &["-n2", "--ready=notify", &option]).start();
    panzer.expect_current(1);
    let scaled = ctl(&file, &["scale", "3"]);
    assert_eq!((scaled.status, scaled.shown.trim()), (0, "3 workers"), "{}", scaled.told);
    assert_eq!(ctl(&file, &["reload"]).status, 0);
    let monitor = panzer.expect_current(2);
    assert_eq!(programs(&panzer, monitor).len(), 3);
    panzer.stop();
}

/// RATIONALE 15.6
#[test]
fn a_first_command_that_cannot_be_executed_ends_main_as_a_shell_would() {
    let place = Place::new();
    place.write("text", "no program\n");
    for (name, status, why) in [
        ("nothing", 127, "no such file or directory (ENOENT)"),
        ("text", 126, "permission denied (EACCES)"),
    ] {
        let path = place.join(name);
        let mut panzer = Setup::new(&path, &[]).options(&["-x", "-n2"]).start();
        let path = path.display();
        panzer.expect_line(&format!("generation 1 failed: cannot execute '{path}': {why}"));
        assert_eq!(panzer.end(), End::Status(status));
        assert_eq!(panzer.count("started"), 1);
    }
}

/// Waits until two shells have opened their script, which they do after their exec.
fn expect_both(panzer: &mut Panzer) {
    panzer.expect_line("it is up");
    panzer.expect_line("it is up");
}

/// RATIONALE 15.6
#[test]
fn a_reload_whose_command_is_gone_fails_with_the_reason_and_changes_nothing() {
    let place = Place::new();
    let (file, option) = pid_file(&place);
    let app = place.script("app", "echo it is up; exec sleep 1000");
    let setup = Setup::new(&app, &[]).options(&["-x", "-n2", "--ready=0", &option]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_monitor(1);
    expect_both(&mut panzer);
    panzer.expect_current(1);
    let before = programs(&panzer, monitor);
    fs::remove_file(&app).expect("it was there");
    let reload = ctl(&file, &["reload"]);
    let why = format!("cannot execute '{}': no such file or directory (ENOENT)", app.display());
    assert_eq!(reload.status, 1);
    assert!(reload.told.contains(&why), "{}", reload.told);
    assert_eq!(programs(&panzer, monitor), before);
    assert_eq!(before.len(), 2);
    place.script("app", "exec sleep 1000");
    assert_eq!(ctl(&file, &["reload"]).status, 0);
    panzer.stop();
}

/// RATIONALE 15.6
#[test]
fn a_command_that_is_gone_later_is_waited_for() {
    let place = Place::new();
    let app = place.script("app", "echo it is up; exec sleep 1000");
    let options = ["-x", "-n2", "--ready=0", "--delay=0.05", "--max-delay=0.05"];
    let mut panzer = Setup::new(&app, &[]).options(&options).start();
    let monitor = panzer.expect_monitor(1);
    expect_both(&mut panzer);
    panzer.expect_current(1);
    fs::remove_file(&app).expect("it was there");
    send(programs(&panzer, monitor)[0], Signal::Kill);
    let why = format!("exited with status 127 after {{}}: cannot execute '{}'", app.display());
    let (before, after) = why.split_once("{}").expect("it is there");
    let line = panzer.expect_line(before);
    assert!(line.contains(after), "{line}");
    let place_again = place.script("app", "echo back; exec sleep 1000");
    assert_eq!(place_again, app);
    panzer.expect_line("back");
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count("started"), 1);
}

/// RATIONALE 15.7
#[test]
fn what_the_command_is_stays_until_main_is_started_anew() {
    let place = Place::new();
    let file = |exec: bool| place.write("panzer.yml", &format!("exec: {exec}\ncount: 1\n"));
    let config = format!("--config={}", file(true).display());
    let setup = Setup::new(Path::new("python3"), &[PROGRAM, "notify=READY=1"]);
    let mut panzer = setup.options(&[&config, "--ready=notify"]).start();
    panzer.expect_current(1);
    file(false);
    let monitor = panzer.reload(2);
    panzer.expect_line("exec stays as it is until main is started anew");
    assert_eq!(look::name(monitor), "panzer:monitor");
    panzer.stop();
}

/// RATIONALE 15.1
#[test]
fn a_variable_alone_makes_no_monitor_of_main() {
    let setup = Setup::new(Path::new("sleep"), &["1000"]).options(&["--ready=0"]);
    let mut panzer = setup.variable("PANZER_EXEC", "1").start();
    panzer.expect_current(1);
    panzer.stop();
}

/// A worker of the fixture that has something in hand.
fn holding(options: &[&str]) -> (Place, Panzer, u32, Held) {
    let place = Place::new();
    let (_, option) = pid_file(&place);
    let words = ["notify=READY=1", "hold", "exit=0"];
    let setup = program(&words, &["-n1", "--ready=notify", "--bind=127.0.0.1:0", &option]);
    let mut panzer = setup.options(options).start();
    let monitor = panzer.expect_current(1);
    let (held, _) = Held::hold(address(&place)).expect("it serves");
    (place, panzer, monitor, held)
}

/// RATIONALE 15.8
#[test]
fn when_main_is_killed_its_programs_finish_what_they_have_in_hand() {
    let (_place, mut panzer, _, held) = holding(&[]);
    panzer.signal(Signal::Kill);
    panzer.expect_line("slot 1: TERM");
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), End::Signal(9));
}

/// RATIONALE 15.8
#[test]
fn when_the_monitor_is_killed_its_programs_finish_and_others_follow() {
    let (_place, mut panzer, monitor, held) = holding(&[]);
    send(monitor, Signal::Kill);
    panzer.expect_line("slot 1: TERM");
    panzer.expect_current(2);
    held.finish().expect("it is finished");
    panzer.stop();
}

/// RATIONALE 15.8
#[test]
fn when_both_are_killed_the_kernel_asks_the_programs_to_leave() {
    let (_place, mut panzer, monitor, held) = holding(&[]);
    [panzer.pid(), monitor].into_iter().for_each(|pid| send(pid, Signal::Kill));
    panzer.expect_line("slot 1: TERM");
    held.finish().expect("it is finished");
    assert_eq!(panzer.end(), End::Signal(9));
}

/// RATIONALE 15.8
#[test]
fn programs_that_do_not_leave_are_killed_when_both_are_gone_and_their_time_is_over() {
    let words = ["tell=TERM", "tell=INT", "tell=HUP", "notify=READY=1"];
    let options = ["-n2", "--ready=notify", "--timeout=0.3"];
    let mut panzer = program(&words, &options).start();
    let monitor = panzer.expect_current(1);
    assert_eq!(programs(&panzer, monitor).len(), 2);
    let begun = Instant::now();
    [panzer.pid(), monitor].into_iter().for_each(|pid| send(pid, Signal::Kill));
    panzer.expect_line(": TERM");
    assert_eq!(panzer.end(), End::Signal(9));
    expect_passed(begun, Duration::from_millis(2_300));
}

/// RATIONALE 15.8
#[test]
fn whoever_watches_over_programs_leaves_with_the_last_of_them() {
    let mut panzer = program(&["notify=READY=1"], &["-n1", "--ready=notify"]).start();
    let monitor = panzer.expect_current(1);
    let keeper = keeper_of(&panzer, monitor);
    let row = look::row(keeper).expect("it is there");
    assert_eq!((row.group, look::descriptors(keeper).len()), (keeper, 2));
    send(monitor, Signal::Kill);
    panzer.eventually("it is gone too", || !look::is_alive(keeper));
    let monitor = panzer.expect_current(2);
    let keeper = keeper_of(&panzer, monitor);
    panzer.stop();
    assert!(look::until(|| !look::is_alive(keeper)), "it stays");
}

/// One request to the example, and what it has answered.
fn hello(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn is_hello(answer: &str) -> bool {
    answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("\r\n\r\nhello from ")
}

/// RATIONALE 15.9
#[test]
fn the_example_of_any_program_is_reloaded_under_load_without_a_failed_request() {
    let place = Place::new();
    let (file, option) = pid_file(&place);
    let options = ["-n2", "--ready=notify", "--bind=127.0.0.1:0", &option];
    let mut panzer = python(HELLO, &[], &options).start();
    panzer.expect_current(1);
    let address = address(&place);
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
