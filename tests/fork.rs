//! What fork promises to the code around it, in a process with one thread.
//!
//! The usual harness runs its tests in threads, in which a fork is undefined
//! territory; so this one has none, and runs its tests one after the other.
//! Whoever comes back from a fork twice would print everything twice.

use std::env;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _, pipe, stdout};
use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use panzer::sys::fd::Fd;
use panzer::sys::file::{self, Mode};
use panzer::sys::process::{self, Reaped};
use panzer::sys::{Signal, last_errno, signal};
use panzer::{Context, Monitor, Outcome};

type Test = (&'static str, fn());

const TESTS: [Test; 9] = [
    ("a_child_that_panics_never_comes_back", a_child_that_panics_never_comes_back),
    ("a_child_runs_no_destructor_of_its_parent", a_child_runs_no_destructor_of_its_parent),
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
    ("a_pool_reaps_nobody_but_its_workers", a_pool_reaps_nobody_but_its_workers),
    ("after_a_pool_every_signal_is_as_it_was", after_a_pool_every_signal_is_as_it_was),
    (
        "a_second_thread_is_refused_and_a_joined_one_forgotten",
        a_second_thread_is_refused_and_a_joined_one_forgotten,
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
        signal::serve(process::parent().expect("it has one"), nowhere.borrow());
        keeps_errno(Signal::Term)
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

fn a_worker_that_panics_never_runs_the_monitors_code() {
    let marks = Marks::new();
    let own = process::id();
    let worker = |ctx: &mut Context| match ctx.slot() {
        // The second one stops everything, so that the first dies only once.
        2 => stop_monitor(ctx),
        _ => panic!("it was told to panic"),
    };
    let over = catch_unwind(AssertUnwindSafe(|| Monitor::new(worker).count(2).run()));
    marks.leave();
    assert_eq!(process::id(), own);
    over.expect("nothing unwinds in the monitor").expect("the stop was graceful");
    assert_eq!(marks.count(), 1);
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
