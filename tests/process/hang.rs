//! A worker that does one thing for ever.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::harness::client::Held;
use crate::harness::ctl::ctl;
use crate::harness::look;
use crate::harness::operator::ask_briefly;
use crate::harness::panzer::Panzer;
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

/// Workers that keep what they have accepted in hand, and may do so for so long.
fn holding(place: &Place, options: &[&str]) -> (Panzer, SocketAddr, u32) {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let pid_file = format!("--pid={}", pid_file(place).display());
    let mut panzer = setup.options(&[&pid_file, "-n2"]).options(options).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    (panzer, address, monitor)
}

fn pid_file(place: &Place) -> PathBuf {
    place.join("panzer.pid")
}

/// RATIONALE 2.20, 5.4
#[test]
fn a_worker_that_loops_for_ever_is_ended_and_its_siblings_are_untouched() {
    let place = Place::new();
    let (mut panzer, address, monitor) = holding(&place, &["--hang-timeout=0.3"]);
    let before = panzer.workers(monitor);
    let (mut held, hung) = Held::hold(address).expect("it serves");
    held.say("loop").expect("it reads");
    let who = format!("worker {} ({}) of generation 1", hung.slot, hung.pid);
    let line = panzer.expect_line("has hung: sent SIGABRT");
    assert!(line.contains(&who), "{line}");
    let line = panzer.expect_line("killed by SIGABRT");
    assert!(line.contains(&who) && line.contains(": hung"), "{line}");
    assert!(held.ends_without_a_word());
    panzer.expect_event("its end", |event| {
        event.name == "died" && event.pid == hung.pid && event.why.ends_with(": hung")
    });
    panzer.expect_event("another", |event| event.name == "respawn" && event.slot == hung.slot);
    let mut after = panzer.workers(monitor);
    after.retain(|pid| before.contains(pid));
    assert_eq!(after, before.into_iter().filter(|pid| *pid != hung.pid).collect::<Vec<_>>());
    let (held, _) = Held::hold(address).expect("it serves");
    held.finish().expect("it serves");
    panzer.stop();
}

/// RATIONALE 2.20
#[test]
fn a_worker_that_hangs_and_does_not_hear_sigabrt_is_killed() {
    let place = Place::new();
    let (mut panzer, address, _) = holding(&place, &["--hang-timeout=0.3"]);
    let (mut held, hung) = Held::hold(address).expect("it serves");
    held.say("numb").expect("it reads");
    panzer.expect_line("has hung: sent SIGABRT");
    let line = panzer.expect_line(&format!("({}) of generation 1 killed by SIGKILL", hung.pid));
    assert!(line.contains(": hung"), "{line}");
    panzer.stop();
}

/// RATIONALE 2.20, 11.8
#[test]
fn the_status_says_who_has_hung() {
    let place = Place::new();
    let (mut panzer, address, _) = holding(&place, &["--hang-timeout=0.3"]);
    let (mut held, hung) = Held::hold(address).expect("it serves");
    held.say("loop").expect("it reads");
    panzer.expect_event("another", |event| event.name == "respawn" && event.slot == hung.slot);
    let tree = ctl(&pid_file(&place), &["status"]).shown;
    let lines: Vec<_> = tree.lines().filter(|line| line.contains("before: ")).collect();
    assert!(lines.len() == 1 && lines[0].ends_with(": hung"), "{tree}");
    let json = ctl(&pid_file(&place), &["status", "--json"]).shown;
    assert_eq!(json.matches(r#""last_reason":"hung""#).count(), 1, "{json}");
    panzer.stop();
}

/// RATIONALE 2.20
#[test]
fn a_worker_that_was_told_to_leave_may_take_its_time() {
    let place = Place::new();
    let (mut panzer, address, _) = holding(&place, &["--hang-timeout=1", "--timeout=60"]);
    let both = [(); 2].map(|()| Held::hold(address).expect("it serves"));
    assert_eq!(ask_briefly(&pid_file(&place), "scale 1"), "done 1 workers");
    // The one that stays has been busy for no longer than the one that leaves.
    panzer.expect_line("has hung: sent SIGABRT");
    for (held, answer) in both {
        match answer.slot {
            1 => assert!(held.ends_without_a_word()),
            _ => held.finish().expect("it takes its time"),
        }
    }
    panzer.expect_line(": hung");
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("has hung"), 1);
}

/// RATIONALE 2.20
#[test]
fn nobody_wakes_for_workers_that_are_idle() {
    let place = Place::new();
    let (mut panzer, address, monitor) = holding(&place, &["--hang-timeout=0.2"]);
    panzer.eventually("it waits for nothing that is due", || look::waits_for_ever(monitor));
    let poll = look::call(monitor).map(|(number, _)| number);
    let (held, _) = Held::hold(address).expect("it serves");
    // In the same call, and not for ever.
    let is_watching = || {
        let call = look::call(monitor);
        call.is_some_and(|(number, timeout)| Some(number) == poll && !timeout.ends_with("ffffffff"))
    };
    panzer.eventually("somebody is watched", is_watching);
    held.finish().expect("it serves");
    panzer.eventually("it waits for nothing that is due", || look::waits_for_ever(monitor));
    // Whoever is busy next is watched as well.
    let (mut held, _) = Held::hold(address).expect("it serves");
    held.say("loop").expect("it reads");
    panzer.expect_line("has hung: sent SIGABRT");
    panzer.stop();
}
