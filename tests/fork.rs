//! What fork promises to the code around it, in a process with one thread.
//!
//! The usual harness runs its tests in threads, in which a fork is undefined
//! territory; so this one has none, and runs its tests one after the other.
//! Whoever comes back from a fork twice would print everything twice.

#[path = "fork/rebuilt.rs"]
mod rebuilt;

use std::cell::RefCell;
use std::env;
use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read as _, Write as _, pipe, stdout};
use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use panzer::sys::fd::Fd;
use panzer::sys::file::{self, Mode};
use panzer::sys::process::{self, Reaped};
use panzer::sys::{Signal, last_errno, signal};
use panzer::{Context, Monitor, Outcome};

/// Only a test that fails ever waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

type Test = (&'static str, fn());

const TESTS: [Test; 15] = [
    ("a_child_that_panics_never_comes_back", a_child_that_panics_never_comes_back),
    ("a_child_runs_no_destructor_of_its_parent", a_child_runs_no_destructor_of_its_parent),
    ("a_child_never_leaves_by_its_parents_exit", a_child_never_leaves_by_its_parents_exit),
    (
        "a_signal_between_fork_and_set_up_is_the_childs",
        a_signal_between_fork_and_set_up_is_the_childs,
    ),
    ("a_handler_of_main_or_monitor_keeps_errno", a_handler_of_main_or_monitor_keeps_errno),
    ("a_handler_of_a_worker_keeps_errno", a_handler_of_a_worker_keeps_errno),
    (
        "a_worker_that_panics_never_runs_the_monitors_code",
        a_worker_that_panics_never_runs_the_monitors_code,
    ),
    (
        "a_worker_that_returns_or_fails_never_runs_the_monitors_code",
        a_worker_that_returns_or_fails_never_runs_the_monitors_code,
    ),
    ("what_the_monitor_would_remove_is_still_there", what_the_monitor_would_remove_is_still_there),
    ("where_panics_abort_it_is_the_same", where_panics_abort_it_is_the_same),
    ("a_pool_reaps_nobody_but_its_workers", a_pool_reaps_nobody_but_its_workers),
    ("after_a_pool_every_signal_is_as_it_was", after_a_pool_every_signal_is_as_it_was),
    (
        "a_second_thread_is_refused_and_a_joined_one_forgotten",
        a_second_thread_is_refused_and_a_joined_one_forgotten,
    ),
    ("a_pool_in_a_second_thread_is_refused", a_pool_in_a_second_thread_is_refused),
    (
        "no_signal_moves_the_deadlines_of_a_pool_that_runs_alone",
        no_signal_moves_the_deadlines_of_a_pool_that_runs_alone,
    ),
];

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    if env::var_os("PANZER_QUIET").is_none() {
        // What the pools have to say would stand between the results.
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
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).expect("somebody listens");
}

/// Who has passed somewhere: every process that does leaves one mark.
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

    /// The number of marks, once every other process that could leave one is
    /// gone.
    fn count(self) -> usize {
        let Self { mut reader, writer } = self;
        drop(writer);
        reader.read_to_end(&mut Vec::new()).expect("it is open")
    }
}

/// Waits for a child of ours; how it ended, in words.
fn fate(pid: panzer::Pid) -> String {
    loop {
        match process::reap(pid).expect("it is our child") {
            Reaped::Dead(_, exit) => return format!("{exit:?}"),
            Reaped::NoneDead => thread::yield_now(),
            Reaped::NoChild => panic!("somebody else has reaped {pid}"),
        }
    }
}

fn a_child_that_panics_never_comes_back() {
    let marks = Marks::new();
    let own = process::id();
    let forked = catch_unwind(|| {
        process::fork(|| panic!("it was told to panic")).expect("there is room for a process")
    });
    marks.leave();
    assert_eq!(process::id(), own);
    let fate = fate(forked.expect("nothing unwinds in the parent"));
    assert!(["Status(101)", "Signal { number: 6, core: false }"].contains(&&*fate), "{fate}");
    assert_eq!(marks.count(), 1);
}

/// Leaves a mark when it is dropped.
struct Parting<'m>(&'m Marks);

impl Drop for Parting<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn a_child_runs_no_destructor_of_its_parent() {
    for panics in [false, true] {
        let marks = Marks::new();
        let parting = Parting(&marks);
        let child = process::fork(|| if panics { panic!("it was told to panic") } else { 3 });
        let fate = fate(child.expect("there is room for a process"));
        assert!(panics || fate == "Status(3)", "{fate}");
        drop(parting);
        assert_eq!(marks.count(), 1);
    }
}

thread_local! {
    /// What exit(3) drops, in whichever process calls it.
    static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) };
}

/// Leaves a mark in this file when it is dropped.
struct AtExit(PipeWriter);

impl Drop for AtExit {
    fn drop(&mut self) {
        self.0.write_all(b"x").expect("there is room");
    }
}

/// RATIONALE 3.7
fn a_child_never_leaves_by_its_parents_exit() {
    let marks = Marks::new();
    let mark = marks.writer.try_clone().expect("there are descriptors");
    AT_EXIT.with(|at_exit| at_exit.replace(Some(AtExit(mark))));
    let child = process::fork(|| 3);
    assert_eq!(fate(child.expect("there is room for a process")), "Status(3)");
    // Taken back here, its mark is the only one.
    drop(AT_EXIT.take());
    assert_eq!(marks.count(), 1);
}

fn a_signal_between_fork_and_set_up_is_the_childs() {
    let saved = signal::save(Signal::Term);
    signal::catch(Signal::Term);
    let mut blocked = Some(signal::block_all());
    let child = process::fork(|| {
        // What comes now must not be taken by the handler of the parent.
        let sent = signal::send(process::id(), Signal::Term);
        signal::reset(Signal::Term);
        drop(blocked.take());
        if sent.is_ok() { 0 } else { 1 }
    });
    drop(blocked);
    let fate = fate(child.expect("there is room for a process"));
    saved.restore();
    assert_eq!(fate, "Signal { number: 15, core: false }");
}

/// Whether `signal`, which the process sends to itself, leaves the reason of
/// the failure before it alone. Without a pipe to write to, all handlers fail.
fn keeps_errno(signal: Signal) -> u8 {
    let before = File::open("/nowhere").map_err(|error| error.raw_os_error());
    // The handler has run when kill(2) returns.
    let sent = signal::send(process::id(), signal);
    let kept = before.is_err_and(|before| before == Some(last_errno().0));
    if kept && sent.is_ok() { 0 } else { 1 }
}

/// RATIONALE 1.33
fn a_handler_of_main_or_monitor_keeps_errno() {
    let child = process::fork(|| {
        let all = [Signal::Winch, Signal::Chld, Signal::Int, Signal::Hup, Signal::Vtalrm];
        all.into_iter().for_each(signal::catch);
        all.into_iter().map(keeps_errno).max().unwrap_or(1)
    });
    assert_eq!(fate(child.expect("there is room for a process")), "Status(0)");
}

/// RATIONALE 1.33
fn a_handler_of_a_worker_keeps_errno() {
    let child = process::fork(|| {
        let nowhere = file::open(c"/dev/null", Mode::ReadWrite).expect("it is there");
        let nowhere: &'static Fd = Box::leak(Box::new(nowhere));
        let parent = process::parent().expect("it has one");
        // What can be read is a lifeline that has ended.
        signal::serve(parent, nowhere.borrow(), nowhere.borrow());
        [Signal::Term, Signal::Io].into_iter().map(keeps_errno).max().unwrap_or(1)
    });
    assert_eq!(fate(child.expect("there is room for a process")), "Status(0)");
}

/// Has the monitor stop, and waits for that.
fn stop_monitor(ctx: &mut Context) -> Outcome {
    ctx.ready();
    let monitor = process::parent().expect("a worker has one");
    signal::send(monitor, Signal::Term)?;
    while !ctx.is_stopping() {
        panzer::wait(&mut [panzer::Source::readable(ctx.stop_fd())], None)?;
    }
    Ok(())
}

/// The whole monitor is caught: only one process comes back from it when the
/// workers leave in this way.
fn one_process_comes_back(leave: fn() -> Outcome) {
    let marks = Marks::new();
    let own = process::id();
    let worker = |ctx: &mut Context| match ctx.slot() {
        // The second one stops everything, so that the first dies only once.
        2 => stop_monitor(ctx),
        _ => leave(),
    };
    let over = catch_unwind(AssertUnwindSafe(|| Monitor::new(worker).count(2).run()));
    marks.leave();
    assert_eq!(process::id(), own);
    over.expect("nothing unwinds in the monitor").expect("the stop was graceful");
    assert_eq!(marks.count(), 1);
}

/// RATIONALE 3.7
fn a_worker_that_panics_never_runs_the_monitors_code() {
    one_process_comes_back(|| panic!("it was told to panic"));
}

/// RATIONALE 3.7
fn a_worker_that_returns_or_fails_never_runs_the_monitors_code() {
    one_process_comes_back(|| Ok(()));
    one_process_comes_back(|| Err("it was told to fail".into()));
}

/// A file that is gone when its owner is, as a pid file is.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("nobody else has removed it");
    }
}

/// RATIONALE 3.7
fn what_the_monitor_would_remove_is_still_there() {
    let file = Removed(env::temp_dir().join(format!("panzer-fork-{}", process::id())));
    File::create(&file.0).expect("a temporary file can be made");
    one_process_comes_back(|| Ok(()));
    one_process_comes_back(|| Err("it was told to fail".into()));
    one_process_comes_back(|| panic!("it was told to panic"));
    assert!(file.0.exists());
}

/// What has to do with panics.
const WHERE_PANICS_ABORT: [&str; 4] =
    ["a_child_that_panics", "a_child_runs_no", "a_worker_that_panics", "what_the_monitor_would"];

/// RATIONALE 3.7
fn where_panics_abort_it_is_the_same() {
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

fn a_pool_reaps_nobody_but_its_workers() {
    let mut command = Command::new("sh");
    let mut other = command.args(["-c", "exit 7"]).spawn().expect("the shell is there");
    let dying = |ctx: &mut Context| match ctx.slot() {
        1 => stop_monitor(ctx),
        _ => Ok(()),
    };
    Monitor::new(dying).count(4).run().expect("the stop was graceful");
    assert_eq!(other.wait().expect("nobody else has reaped it").code(), Some(7));
}

/// Which signals are blocked, ignored and caught.
fn signals() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let own = ["SigBlk", "SigIgn", "SigCgt"];
    let is_one = |line: &&str| own.iter().any(|key| line.starts_with(key));
    status.lines().filter(is_one).map(str::to_string).collect()
}

fn after_a_pool_every_signal_is_as_it_was() {
    let before = signals();
    Monitor::new(stop_monitor).count(1).run().expect("the stop was graceful");
    assert_eq!(signals(), before);
}

fn a_second_thread_is_refused_and_a_joined_one_forgotten() {
    let (leave, wait) = mpsc::channel::<()>();
    let thread = thread::spawn(move || wait.recv().is_err());
    let error = Monitor::new(stop_monitor).count(1).run().expect_err("there are two threads");
    assert!(error.to_string().contains("the program has 2 threads"), "{error}");
    drop(leave);
    assert!(thread.join().expect("it has not panicked"));
    Monitor::new(stop_monitor).count(1).run().expect("one thread is left");
}

/// RATIONALE 2.1
fn a_pool_in_a_second_thread_is_refused() {
    let run = || Monitor::new(stop_monitor).count(1).run().map_err(|error| error.to_string());
    let error = thread::spawn(run).join().expect("it has not panicked");
    let error = error.expect_err("the death of that thread would end its workers");
    assert!(error.contains("the program has 2 threads"), "{error}");
}

/// Asks the monitor to stop, and goes on signalling it until it is killed.
fn storm(ctx: &mut Context) -> Outcome {
    signal::ignore(Signal::Term);
    signal::ignore(Signal::Int);
    ctx.ready();
    let monitor = process::parent().ok_or("a worker has one")?;
    signal::send(monitor, Signal::Term)?;
    let begun = Instant::now();
    // Whoever is never killed leaves by himself, and the test fails.
    while process::parent() == Some(monitor) && begun.elapsed() < PATIENCE {
        for signal in [Signal::Chld, Signal::Term, Signal::Ttin, Signal::Winch] {
            signal::send(monitor, signal)?;
        }
    }
    Ok(())
}

/// RATIONALE 2.9, 2.10, 2.13
fn no_signal_moves_the_deadlines_of_a_pool_that_runs_alone() {
    let begun = Instant::now();
    let pool = Monitor::new(storm).count(1).timeout(Duration::from_secs(1));
    let error = pool.run().expect_err("it is killed").to_string();
    assert!(error.contains("had to be killed"), "{error}");
    // Each of its two waits is counted in whole milliseconds.
    assert!(begun.elapsed() >= Duration::from_millis(2_998), "after {:?}", begun.elapsed());
}
