//! What the code around a fork can rely on, in a process with one thread.
//!
//! The usual harness runs tests in threads, and forking in a process with threads is not
//! defined. So these tests have a `main` of their own and run one after the other. A child
//! that returned from a fork's closure would print every line twice.

#[path = "fork/rebuilt.rs"]
mod rebuilt;

use std::cell::RefCell;
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read as _, Write as _, pipe, stdout};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use panzer::sys::fd::Fd;
use panzer::sys::file::{self, Mode};
use panzer::sys::poll;
use panzer::sys::process::{self, Reaped};
use panzer::sys::signal::Blocked;
use panzer::sys::{Signal, last_errno, signal};
use panzer::{Context, Millis, Monitor, Outcome, Peer};

/// Only a test that fails ever waits that long.
const TIMEOUT: Duration = Duration::from_secs(20);

type Test = (&'static str, fn());

const TESTS: [Test; 20] = [
    ("panicked_child_does_not_return_from_fork", panicked_child_does_not_return_from_fork),
    ("child_runs_no_destructor_of_its_parent", child_runs_no_destructor_of_its_parent),
    ("child_does_not_run_its_parents_exit_handlers", child_does_not_run_its_parents_exit_handlers),
    (
        "signal_between_fork_and_set_up_is_handled_by_the_child",
        signal_between_fork_and_set_up_is_handled_by_the_child,
    ),
    ("each_kind_of_signal_comes_through_once", each_kind_of_signal_comes_through_once),
    ("no_signal_arrives_between_two_waits", no_signal_arrives_between_two_waits),
    ("handlers_of_main_and_monitor_keep_errno", handlers_of_main_and_monitor_keep_errno),
    ("handler_of_a_worker_keeps_errno", handler_of_a_worker_keeps_errno),
    ("panicked_worker_never_runs_the_monitors_code", panicked_worker_never_runs_the_monitors_code),
    (
        "returning_or_failing_worker_never_runs_the_monitors_code",
        returning_or_failing_worker_never_runs_the_monitors_code,
    ),
    (
        "files_of_the_monitor_are_not_removed_by_its_workers",
        files_of_the_monitor_are_not_removed_by_its_workers,
    ),
    ("panic_tests_pass_with_panic_abort", panic_tests_pass_with_panic_abort),
    ("pool_reaps_only_its_workers", pool_reaps_only_its_workers),
    ("pool_restores_all_signals", pool_restores_all_signals),
    ("pool_is_refused_while_a_second_thread_runs", pool_is_refused_while_a_second_thread_runs),
    ("pool_in_a_second_thread_is_refused", pool_in_a_second_thread_is_refused),
    ("second_pool_at_once_is_refused", second_pool_at_once_is_refused),
    (
        "dropped_listener_does_not_affect_the_next_one_with_its_number",
        dropped_listener_does_not_affect_the_next_one_with_its_number,
    ),
    (
        "stop_does_not_replace_a_descriptor_with_the_number_of_a_dropped_listener",
        stop_does_not_replace_a_descriptor_with_the_number_of_a_dropped_listener,
    ),
    (
        "signals_do_not_move_the_deadlines_of_a_pool_without_main",
        signals_do_not_move_the_deadlines_of_a_pool_without_main,
    ),
];

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    if env::var_os("PANZER_QUIET").is_none() {
        // The log of the pools would be mixed with the results.
        let own = env::current_exe().expect("/proc is mounted");
        let error = Command::new(own)
            .args(&words)
            .env("PANZER_QUIET", "1")
            .env("RUST_BACKTRACE", "0")
            .exec();
        panic!("cannot start again: {error}");
    }
    let filters: Vec<_> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let is_wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(&***filter));
    let wanted: Vec<_> = TESTS.into_iter().filter(|(name, _)| is_wanted(name)).collect();
    say(&format!("\nrunning {} tests\n", wanted.len()));
    for (name, test) in &wanted {
        test();
        say(&format!("test {name} ... ok\n"));
    }
    let (passed, others) = (wanted.len(), TESTS.len() - wanted.len());
    say(&format!(
        "\ntest result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; {others} filtered out\n\n"
    ));
}

fn say(text: &str) {
    let mut out = stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).expect("standard output is open");
}

/// Counts the processes that pass a point: each leaves one mark in a pipe.
struct Marks {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Marks {
    fn new() -> Self {
        let (reader, writer) = pipe().expect("there are descriptors");
        Self { reader, writer }
    }

    fn leave(&self) {
        (&self.writer).write_all(b"x").expect("there is room");
    }

    /// The number of marks, once every other process that could leave one has exited.
    fn count(self) -> usize {
        let Self { mut reader, writer } = self;
        drop(writer);
        reader.read_to_end(&mut Vec::new()).expect("it is open")
    }
}

/// Waits for a child; returns how it ended, as text.
fn exit_of(pid: panzer::Pid) -> String {
    loop {
        match process::reap(pid).expect("it is our child") {
            Reaped::Dead(_, exit) => return format!("{exit:?}"),
            Reaped::NoneDead => thread::yield_now(),
            Reaped::NoChild => panic!("{pid} was reaped elsewhere"),
        }
    }
}

fn panicked_child_does_not_return_from_fork() {
    let marks = Marks::new();
    let own = process::id();
    let forked = catch_unwind(|| {
        process::fork(|| panic!("it was told to panic")).expect("there is room for a process")
    });
    marks.leave();
    assert_eq!(process::id(), own);
    let exit = exit_of(forked.expect("nothing unwinds in the parent"));
    assert!(["Status(101)", "Signal { number: 6, core: false }"].contains(&&*exit), "{exit}");
    assert_eq!(marks.count(), 1);
}

/// Leaves a mark when it is dropped.
struct Parting<'m>(&'m Marks);

impl Drop for Parting<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn child_runs_no_destructor_of_its_parent() {
    for panics in [false, true] {
        let marks = Marks::new();
        let parting = Parting(&marks);
        let child = process::fork(|| if panics { panic!("it was told to panic") } else { 3 });
        let exit = exit_of(child.expect("there is room for a process"));
        assert!(panics || exit == "Status(3)", "{exit}");
        drop(parting);
        assert_eq!(marks.count(), 1);
    }
}

thread_local! {
    /// Dropped by exit(3), in any process that calls it.
    static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) };
}

/// Leaves a mark in this file when it is dropped.
struct AtExit(PipeWriter);

impl Drop for AtExit {
    fn drop(&mut self) {
        self.0.write_all(b"x").expect("there is room");
    }
}

/// rule: worker.exit
fn child_does_not_run_its_parents_exit_handlers() {
    let marks = Marks::new();
    let mark = marks.writer.try_clone().expect("there are descriptors");
    AT_EXIT.with(|at_exit| at_exit.replace(Some(AtExit(mark))));
    let child = process::fork(|| 3);
    assert_eq!(exit_of(child.expect("there is room for a process")), "Status(3)");
    // Dropped here, it leaves the only mark.
    drop(AT_EXIT.take());
    assert_eq!(marks.count(), 1);
}

fn signal_between_fork_and_set_up_is_handled_by_the_child() {
    let saved = signal::save(Signal::Term);
    signal::catch(Signal::Term);
    let mut blocked = Some(signal::block_all());
    let child = process::fork(|| {
        // The parent's handler must not take this signal.
        let sent = signal::send(process::id(), Signal::Term);
        signal::reset(Signal::Term);
        drop(blocked.take());
        if sent.is_ok() { 0 } else { 1 }
    });
    drop(blocked);
    let exit = exit_of(child.expect("there is room for a process"));
    saved.restore();
    assert_eq!(exit, "Signal { number: 15, core: false }");
}

/// A child that holds its signals back, has sent itself `sent`, and tells by its status
/// whether `holds` does then.
fn with_pending(sent: &[Signal], holds: fn(&Blocked) -> bool) {
    let child = process::fork(|| {
        let blocked = signal::block_all();
        for &signal in sent {
            signal::catch(signal);
            signal::send(process::id(), signal).expect("it is ours");
        }
        if holds(&blocked) { 0 } else { 1 }
    });
    assert_eq!(exit_of(child.expect("there is room for a process")), "Status(0)");
}

/// rule: start.signals-blocked
fn each_kind_of_signal_comes_through_once() {
    let sent = [Signal::Hup, Signal::Ttin, Signal::Winch];
    with_pending(&sent, |blocked| {
        poll::let_signals_through(blocked);
        signal::send(process::id(), Signal::Hup).expect("it is ours");
        poll::let_signals_through(blocked);
        let first = signal::take();
        poll::let_signals_through(blocked);
        let second = signal::take();
        [Signal::Hup, Signal::Ttin, Signal::Winch].into_iter().all(|it| first.has(it))
            && second.has(Signal::Hup)
            && !second.has(Signal::Ttin)
    });
}

/// rule: start.signals-blocked
fn no_signal_arrives_between_two_waits() {
    with_pending(&[Signal::Term], |blocked| {
        let before = signal::take();
        let waited = poll::wait_for_signals(&mut [], None, blocked);
        !before.has(Signal::Term) && waited == Ok(true) && signal::take().has(Signal::Term)
    });
}

/// Whether errno survives `signal`, which the process sends to itself: 0 if it does.
/// Without a pipe to write to, every handler fails and sets errno.
fn keeps_errno(signal: Signal) -> u8 {
    let before = File::open("/nowhere").map_err(|error| error.raw_os_error());
    // The handler has run when kill(2) returns.
    let sent = signal::send(process::id(), signal);
    let kept = before.is_err_and(|before| before == Some(last_errno().0));
    if kept && sent.is_ok() { 0 } else { 1 }
}

/// rule: signal.handler
fn handlers_of_main_and_monitor_keep_errno() {
    let child = process::fork(|| {
        let all = [Signal::Winch, Signal::Chld, Signal::Int, Signal::Hup, Signal::Vtalrm];
        all.into_iter().for_each(signal::catch);
        all.into_iter().map(keeps_errno).max().unwrap_or(1)
    });
    assert_eq!(exit_of(child.expect("there is room for a process")), "Status(0)");
}

/// rule: signal.handler
fn handler_of_a_worker_keeps_errno() {
    let child = process::fork(|| {
        let nowhere = file::open(c"/dev/null", Mode::ReadWrite).expect("it is there");
        let nowhere: &'static Fd = Box::leak(Box::new(nowhere));
        let parent = process::parent().expect("it has one");
        signal::install_worker_handlers(parent, nowhere.borrow(), Millis(0));
        keeps_errno(Signal::Term)
    });
    assert_eq!(exit_of(child.expect("there is room for a process")), "Status(0)");
}

/// Stops the monitor, and waits until the worker is told to stop.
fn stop_monitor(ctx: &mut Context) -> Outcome {
    ctx.ready();
    let monitor = process::parent().expect("a worker has one");
    signal::send(monitor, Signal::Term)?;
    while !ctx.is_stopping() {
        panzer::wait(&mut [panzer::Source::readable(ctx.stop_fd())], None)?;
    }
    Ok(())
}

/// Runs a whole monitor whose workers end with `leave`; only one process may return from
/// it.
fn one_process_comes_back(leave: fn() -> Outcome) {
    let marks = Marks::new();
    let own = process::id();
    let worker = |ctx: &mut Context| match ctx.slot() {
        // The second worker stops the pool, so that the first dies only once.
        2 => stop_monitor(ctx),
        _ => leave(),
    };
    let over = catch_unwind(AssertUnwindSafe(|| Monitor::new(worker).count(2).run()));
    marks.leave();
    assert_eq!(process::id(), own);
    over.expect("nothing unwinds in the monitor").expect("the stop was graceful");
    assert_eq!(marks.count(), 1);
}

/// rule: worker.exit
fn panicked_worker_never_runs_the_monitors_code() {
    one_process_comes_back(|| panic!("it was told to panic"));
}

/// rule: worker.exit
fn returning_or_failing_worker_never_runs_the_monitors_code() {
    one_process_comes_back(|| Ok(()));
    one_process_comes_back(|| Err("it was told to fail".into()));
}

/// A file that is removed when its owner is dropped, like a pid file.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("it was not removed elsewhere");
    }
}

/// rule: worker.exit
fn files_of_the_monitor_are_not_removed_by_its_workers() {
    let file = Removed(env::temp_dir().join(format!("panzer-fork-{}", process::id())));
    File::create(&file.0).expect("a temporary file can be made");
    one_process_comes_back(|| Ok(()));
    one_process_comes_back(|| Err("it was told to fail".into()));
    one_process_comes_back(|| panic!("it was told to panic"));
    assert!(file.0.exists());
}

/// The tests that panic, by the beginnings of their names.
const WHERE_PANICS_ABORT: [&str; 4] =
    ["panicked_child", "child_runs_no", "panicked_worker", "files_of_the_monitor"];

/// rule: worker.exit
fn panic_tests_pass_with_panic_abort() {
    if cfg!(panic = "abort") {
        return;
    }
    let made = env::temp_dir().join(format!("panzer-fork-aborts-{}", process::id()));
    rebuilt::to_abort(&made);
    let out = Command::new(&made).args(WHERE_PANICS_ABORT).output();
    fs::remove_file(&made).expect("it was made");
    let out = String::from_utf8_lossy(&out.expect("it can be executed").stdout).into_owned();
    for test in WHERE_PANICS_ABORT {
        let name = TESTS.iter().map(|(name, _)| *name).find(|name| name.starts_with(test));
        let line = format!("test {} ... ok", name.expect("it is one of ours"));
        assert_eq!(out.matches(&line).count(), 1, "{out}");
    }
}

fn pool_reaps_only_its_workers() {
    let mut command = Command::new("sh");
    let mut other = command.args(["-c", "exit 7"]).spawn().expect("the shell is there");
    let dying = |ctx: &mut Context| match ctx.slot() {
        1 => stop_monitor(ctx),
        _ => Ok(()),
    };
    Monitor::new(dying).count(4).run().expect("the stop was graceful");
    assert_eq!(other.wait().expect("it was not reaped elsewhere").code(), Some(7));
}

/// The lines of the blocked, ignored and caught signals.
fn signals() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let own = ["SigBlk", "SigIgn", "SigCgt"];
    let is_one = |line: &&str| own.iter().any(|key| line.starts_with(key));
    status.lines().filter(is_one).map(str::to_string).collect()
}

fn pool_restores_all_signals() {
    let before = signals();
    Monitor::new(stop_monitor).count(1).run().expect("the stop was graceful");
    assert_eq!(signals(), before);
}

fn pool_is_refused_while_a_second_thread_runs() {
    let (leave, wait) = mpsc::channel::<()>();
    let thread = thread::spawn(move || wait.recv().is_err());
    let error = Monitor::new(stop_monitor).count(1).run().expect_err("there are two threads");
    assert!(error.to_string().contains("this process has 2 threads"), "{error}");
    drop(leave);
    assert!(thread.join().expect("it has not panicked"));
    Monitor::new(stop_monitor).count(1).run().expect("one thread is left");
}

/// rule: monitor.one-thread
fn pool_in_a_second_thread_is_refused() {
    let run = || Monitor::new(stop_monitor).count(1).run().map_err(|error| error.to_string());
    let error = thread::spawn(run).join().expect("it has not panicked");
    let error = error.expect_err("the death of that thread would end its workers");
    assert!(error.contains("this process has 2 threads"), "{error}");
}

/// Handlers, wake pipe and inherited sockets belong to the pool that runs, in its forked
/// processes too.
fn second_pool_at_once_is_refused() {
    let (mut reader, mut writer) = pipe().expect("there are descriptors");
    let nested = move |ctx: &mut Context| -> Outcome {
        // A worker that panicked would be replaced, and this test would not end.
        let outcome = Monitor::new(stop_monitor).count(1).run();
        let said = outcome.map_or_else(|error| error.to_string(), |()| "it ran".into());
        writer.write_all(said.as_bytes())?;
        stop_monitor(ctx)
    };
    Monitor::new(nested).count(1).run().expect("it stops gracefully");
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("it is text");
    assert!(said.contains("cannot run a second pool in this process"), "{said}");
    // One pool after the other works.
    Monitor::new(stop_monitor).count(1).run().expect("the first one is over");
}

/// Accepts on a listener, drops it, and accepts on another one with the same descriptor
/// number; returns whether the first is closed and the second serves its own client.
fn serves_another(ctx: &mut Context) -> Result<bool, Box<dyn Error>> {
    let first = panzer::listen("127.0.0.1:0")?;
    let (number, address) = (first.as_fd().number(), first.address());
    let _client = TcpStream::connect(&address)?;
    drop(ctx.accept(&first)?);
    drop(first);
    let is_closed = TcpStream::connect(&address).is_err();
    let second = panzer::listen("127.0.0.1:0")?;
    let client = TcpStream::connect(second.address())?;
    let accepted = ctx.accept(&second)?;
    let is_its_own = accepted.is_some_and(|(_, peer)| {
        client.local_addr().is_ok_and(|address| peer == Peer::Inet(address))
    });
    Ok(is_closed && second.as_fd().number() == number && is_its_own)
}

/// A worker keeps a duplicate of each listener that it has accepted on.
fn dropped_listener_does_not_affect_the_next_one_with_its_number() {
    let marks = Marks::new();
    let worker = |ctx: &mut Context| -> Outcome {
        if serves_another(ctx).is_ok_and(|is_so| is_so) {
            marks.leave();
        }
        stop_monitor(ctx)
    };
    Monitor::new(worker).count(1).run().expect("the stop was graceful");
    assert_eq!(marks.count(), 1);
}

/// A final stop without main replaces every listener by /dev/null.
fn stop_does_not_replace_a_descriptor_with_the_number_of_a_dropped_listener() {
    let listener = panzer::listen("127.0.0.1:0").expect("there are ports");
    let number = listener.as_fd().number();
    drop(listener);
    let (mut reader, mut writer) = pipe().expect("there are descriptors");
    assert_eq!(reader.as_raw_fd(), number);
    Monitor::new(stop_monitor).count(1).run().expect("the stop was graceful");
    writer.write_all(b"x").expect("its reader is open");
    assert_eq!(
        reader.read(&mut [0]).expect("it is open"),
        1,
        "the descriptor now belongs to this pipe"
    );
}

/// Stops the monitor, and then sends it signals until this worker is killed.
fn storm(ctx: &mut Context) -> Outcome {
    signal::ignore(Signal::Term);
    signal::ignore(Signal::Int);
    ctx.ready();
    let monitor = process::parent().ok_or("a worker has one")?;
    signal::send(monitor, Signal::Term)?;
    let begun = Instant::now();
    // A worker that is never killed returns, and the test fails.
    while process::parent() == Some(monitor) && begun.elapsed() < TIMEOUT {
        for signal in [Signal::Chld, Signal::Term, Signal::Ttin, Signal::Winch] {
            signal::send(monitor, signal)?;
        }
    }
    Ok(())
}

/// rules: pool.stop, pool.stop-clock, pool.result
fn signals_do_not_move_the_deadlines_of_a_pool_without_main() {
    let begun = Instant::now();
    let pool = Monitor::new(storm).count(1).timeout(Duration::from_secs(1));
    let error = pool.run().expect_err("it is killed").to_string();
    assert!(error.contains("had to be killed"), "{error}");
    // Each of its two waits may be short by up to a millisecond.
    assert!(begun.elapsed() >= Duration::from_millis(2_998), "after {:?}", begun.elapsed());
}
