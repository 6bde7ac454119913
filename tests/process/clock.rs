//! Clocks that jump, and pauses in which nobody can run.

use std::fs;
use std::path::PathBuf;
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
    let mut main = Setup::new(&example("witness"), &hold).options(&["-n1"]).options(&by_main).start();
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
