//! Clocks that jump, and pauses in which no process can run.

use std::process::Command;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::client::{Held, ask};
use crate::harness::files::{TempDir, example, open_gate};
use crate::harness::panzer::{End, Panzer, continue_all, send, stop_process};
use crate::harness::setup::Setup;
use crate::harness::{procfs, spawn_lock};

/// A timeout, and a pause of all processes that is longer by more than the second
/// of delay that is not counted as a stall.
const LIMIT: &str = "1.5";
const PAUSE: Duration = Duration::from_millis(2_700);

/// A wall clock that is in 1970 and in 2100 by turns; a process that reads any
/// clock but that and the monotonic one is aborted.
const LIES: &str = r"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static time_t lie(void) { static unsigned calls; return calls++ % 2 ? 4102444800 : 1; }
int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock == CLOCK_REALTIME) { time->tv_sec = lie(); time->tv_nsec = 0; return 0; }
    if (clock != CLOCK_MONOTONIC) abort();
    return syscall(SYS_clock_gettime, clock, time);
}
time_t time(time_t *when) { time_t now = lie(); if (when) *when = now; return now; }
int gettimeofday(struct timeval *time, void *zone) {
    time->tv_sec = lie(); time->tv_usec = 0; return 0;
}
";

/// rules: clock.stall, pool.stall
#[test]
fn wall_clock_jump_changes_only_log_timestamps() {
    let dir = TempDir::new();
    let (source, lies) = (dir.write("lies.c", LIES), dir.join("lies.so"));
    {
        let _lock = spawn_lock();
        let mut compile = Command::new("cc");
        let made = compile.args(["-shared", "-fPIC", "-o"]).arg(&lies).arg(&source).status();
        assert!(made.expect("a C compiler is there").success());
    }
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2", "--delay=0.2"]);
    let lies = lies.display().to_string();
    let mut panzer = setup.options(&["--probation=0.2"]).variable("LD_PRELOAD", &lies).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    // The second death in a row has a back-off, the reload has a probation.
    for _ in 0..2 {
        send(panzer.workers(monitor)[0], Signal::Kill);
        panzer.expect_event("a respawn", |event| event.name == "respawn");
    }
    panzer.reload(2);
    ask(address).expect("it serves");
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count("rolled_back")), (2, 0));
    for time in ["1970-01-01T00:00:01.000Z", "2100-01-01T00:00:00.000Z"] {
        for role in ["main", "monitor"] {
            let so =
                |line: &String| line.starts_with(time) && line.contains(&format!("panzer:{role}"));
            assert!(panzer.lines().iter().any(so), "{role} never logged {time}");
        }
    }
}

/// rules: clock.stall, worker.monitor-lost
#[test]
fn no_timer_uses_the_wall_clock() {
    let dir = TempDir::new();
    let timers = "trace=timer_create,timer_settime,timerfd_create,timerfd_settime,setitimer,alarm,\
                  clock_settime,settimeofday,adjtimex,select,pselect6";
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let setup = setup.options(&["-n2"]);
    let (setup, trace) = setup.traced(dir.path(), "timers", &["-e", timers]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (held, answer) = Held::hold(address).expect("it serves");
    // Without main and monitor a worker starts its timer, the only one.
    [panzer.pid(), monitor].into_iter().for_each(|pid| send(pid, Signal::Kill));
    panzer.eventually("its timer runs", || {
        trace.calls().iter().any(|call| call.name == "timer_settime" && call.pid == answer.pid)
    });
    held.finish().expect("it is finished");
    panzer.end();
    for call in trace.calls() {
        let relative = call.name == "timer_settime" && !call.words.contains("TIMER_ABSTIME");
        let monotonic = call.name == "timer_create" && call.words.starts_with("CLOCK_MONOTONIC");
        assert!(relative || monotonic, "{call:?}");
    }
}

/// Stops all processes for the pause. Main goes on first, and then each monitor:
/// while the others are still stopped, it must not escalate against them.
fn pause(panzers: &mut [&mut Panzer]) {
    let began = Instant::now();
    let main = |panzer: &&mut Panzer| panzer.pid();
    let mut all: Vec<_> = panzers.iter().map(main).collect();
    // A parent before its children: it then forks and reaps no more.
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        stop_process(pid);
        all.extend(procfs::children(pid));
        next += 1;
    }
    all.retain(|pid| procfs::is_alive(*pid));
    panzers[0].eventually("the pause is over", || began.elapsed() > PAUSE);
    // At once: from now on time counts again.
    continue_all(&all);
    for panzer in panzers {
        panzer.settle();
    }
}

/// rules: clock.stall, pool.stall
#[test]
fn stop_timeout_excludes_time_when_all_processes_were_stopped() {
    let hold = ["listen=127.0.0.1:0", "run=hold"];
    let limit = format!("timeout={LIMIT}");
    let by_main = [format!("--timeout={LIMIT}")];
    let by_main: Vec<_> = by_main.iter().map(String::as_str).collect();
    let own = [&*limit, hold[0], hold[1]];
    let mut main =
        Setup::new(&example("witness"), &hold).options(&["-n1"]).options(&by_main).start();
    let mut monitor = Setup::new(&example("witness"), &own).options(&["-n1"]).start();
    let held = [&mut main, &mut monitor].map(|panzer| {
        let address = panzer.expect_address();
        panzer.expect_current(1);
        Held::hold(address).expect("it serves").0
    });
    // The time of a stop runs until the pause.
    [&main, &monitor].into_iter().for_each(|panzer| panzer.signal(Signal::Term));
    for panzer in [&mut main, &mut monitor] {
        panzer.expect("draining", 1);
    }
    pause(&mut [&mut main, &mut monitor]);
    for (mut panzer, held) in [main, monitor].into_iter().zip(held) {
        held.finish().expect("there was as much time left as before");
        assert_eq!(panzer.end(), End::Status(0));
    }
}

/// rule: clock.stall
#[test]
fn ready_timeout_excludes_time_when_all_processes_were_stopped() {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &["run=idle"]);
    let option = format!("--ready-timeout={LIMIT}");
    let mut panzer = Setup::new(&app, &[]).options(&["-n1", &option]).start();
    panzer.expect_current(1);
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    dir.app(&example("witness"), &[&wait, "run=idle"]);
    panzer.signal(Signal::Usr1);
    panzer.expect("started", 2);
    pause(&mut [&mut panzer]);
    open_gate(&gate);
    panzer.expect_current(2);
    panzer.stop();
}
