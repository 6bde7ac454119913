//! Clocks that jump, and pauses in which nobody can run.

use std::process::Command;
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::client::{Held, ask};
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::place::{Place, example, open_gate};
use crate::harness::setup::Setup;
use crate::harness::{alone, look};

/// A limit, and a pause of everybody that is longer by more than the second
/// for which a late waking is forgiven.
const LIMIT: &str = "1.5";
const PAUSE: Duration = Duration::from_millis(2_700);

/// A wall clock that is in 1970 and in 2100 by turns, and no clock but that and
/// the monotonic one: whoever asks for another is ended.
const LIES: &str = r"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static time_t lie(void) { static unsigned asked; return asked++ % 2 ? 4102444800 : 1; }
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

/// RATIONALE 1.7, 2.15
#[test]
fn a_wall_clock_that_jumps_by_a_century_is_seen_in_the_log_and_nowhere_else() {
    let place = Place::new();
    let (source, lies) = (place.write("lies.c", LIES), place.join("lies.so"));
    {
        let _alone = alone();
        let mut compile = Command::new("cc");
        let made = compile.args(["-shared", "-fPIC", "-o"]).arg(&lies).arg(&source).status();
        assert!(made.expect("a C compiler is there").success());
    }
    let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n2", "--delay=0.2"]);
    let lies = lies.display().to_string();
    let mut panzer = setup.options(&["--probation=0.2"]).variable("LD_PRELOAD", &lies).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    // The second death in a row waits, the reload has a probation.
    for _ in 0..2 {
        send(panzer.workers(monitor)[0], Signal::Kill);
        panzer.expect_event("another", |event| event.name == "respawn");
    }
    panzer.reload(2);
    ask(address).expect("it serves");
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count("rolled_back")), (2, 0));
    for time in ["1970-01-01T00:00:01.000Z", "2100-01-01T00:00:00.000Z"] {
        for role in ["main", "monitor"] {
            let so =
                |line: &String| line.starts_with(time) && line.contains(&format!("panzer:{role}"));
            assert!(panzer.lines().iter().any(so), "{role} never said {time}");
        }
    }
}

/// RATIONALE 1.7, 3.10
#[test]
fn no_timer_of_anybody_runs_by_the_wall_clock() {
    let place = Place::new();
    let timers = "trace=timer_create,timer_settime,timerfd_create,timerfd_settime,setitimer,alarm,\
                  clock_settime,settimeofday,adjtimex,ppoll,select,pselect6";
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let setup = setup.options(&["-n2"]);
    let (setup, trace) = setup.traced(place.path(), "timers", &["-e", timers]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (held, answer) = Held::hold(address).expect("it serves");
    // Left alone, a worker starts the one timer there is.
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

/// Stops everybody for the pause. The first to go on is main, and then each
/// monitor: with all others still stopped it must not press anybody.
fn pause(panzers: &mut [&mut Panzer]) {
    let began = Instant::now();
    let main = |panzer: &&mut Panzer| panzer.pid();
    let mut all: Vec<_> = panzers.iter().map(main).collect();
    all.extend(all.clone().into_iter().flat_map(look::descendants));
    all.iter().copied().for_each(stop_process);
    panzers[0].eventually("the pause is over", || began.elapsed() > PAUSE);
    all.iter().copied().for_each(continue_process);
    for panzer in panzers {
        panzer.settle();
    }
}

/// RATIONALE 1.7, 2.15
#[test]
fn nobody_is_pressed_to_leave_for_a_time_in_which_nobody_could_run() {
    let hold = ["listen=127.0.0.1:0", "run=hold"];
    let limit = format!("timeout={LIMIT}");
    let by_main = [format!("--timeout={LIMIT}")];
    let by_main: Vec<_> = by_main.iter().map(String::as_str).collect();
    let own = [&*limit, hold[0], hold[1]];
    let mut main =
        Setup::new(&example("witness"), &hold).options(&["-n1"]).options(&by_main).start();
    let mut monitor = Setup::new(&example("witness"), &own).options(&["-n1"]).start();
    let mut held = Vec::new();
    for panzer in [&mut main, &mut monitor] {
        let address = panzer.expect_address();
        panzer.expect_current(1);
        held.push(Held::hold(address).expect("it serves").0);
        panzer.signal(Signal::Term);
        panzer.expect("draining", 1);
    }
    pause(&mut [&mut main, &mut monitor]);
    for (mut panzer, held) in [main, monitor].into_iter().zip(held) {
        held.finish().expect("there was as much time left as before");
        assert_eq!(panzer.end(), End::Status(0));
    }
}

/// RATIONALE 1.7
#[test]
fn no_start_has_failed_for_a_time_in_which_nobody_could_run() {
    let place = Place::new();
    let app = place.app(&example("witness"), &["run=idle"]);
    let option = format!("--ready-timeout={LIMIT}");
    let mut panzer = Setup::new(&app, &[]).options(&["-n1", &option]).start();
    panzer.expect_current(1);
    let gate = place.gate("gate");
    let wait = format!("wait={}", gate.display());
    place.app(&example("witness"), &[&wait, "run=idle"]);
    panzer.signal(Signal::Usr1);
    panzer.expect("started", 2);
    pause(&mut [&mut panzer]);
    open_gate(&gate);
    panzer.expect_current(2);
    panzer.stop();
}
