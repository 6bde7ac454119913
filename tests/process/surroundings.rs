//! Started under the worst of circumstances.

use std::io::{ErrorKind, PipeWriter, Write as _, pipe};
use std::os::fd::AsFd as _;
use std::process::Command;

use panzer::sys::Signal;
use panzer::sys::fd::{Blocking, Borrowed, set_blocking};

use crate::harness::client::ask_unix;
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::{alone, look, skip};

/// The HTTP example on a Unix socket of this place.
fn http(place: &Place) -> Setup {
    let address = format!("unix:{}", place.join("socket").display());
    Setup::new(&example("http"), &[&address]).options(&["-n2"])
}

/// A whole life: it serves, is reloaded, loses a worker, and stops.
fn lives(place: &Place, mut panzer: Panzer) -> Panzer {
    let path = place.join("socket");
    panzer.expect_current(1);
    ask_unix(&path).expect("it serves");
    panzer.signal(Signal::Hup);
    let monitor = panzer.expect_current(2);
    let worker = panzer.workers(monitor)[0];
    send(worker, Signal::Kill);
    panzer.expect_event("its end", |event| event.name == "died" && event.pid == worker);
    panzer.expect_event("another", |event| event.name == "respawn" && event.generation == 2);
    ask_unix(&path).expect("it serves");
    panzer.reload(3);
    ask_unix(&path).expect("it serves");
    let panzer = panzer.stop();
    assert!(!path.exists());
    panzer
}

#[test]
fn with_everything_blocked_and_ignored_the_whole_life_works() {
    let place = Place::new();
    let setup = http(&place).through(&example("witness"), &["smother"]);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    // SIGHUP that was ignored stays ignored, as nohup wants it.
    panzer.signal(Signal::Hup);
    // Taken in together with the next signal it would be one reload with it.
    panzer.settle();
    panzer.signal(Signal::Usr1);
    let monitor = panzer.expect_current(2);
    panzer.settle();
    assert_eq!(panzer.count("started"), 2);
    let worker = panzer.workers(monitor)[0];
    send(worker, Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn");
    ask_unix(&place.join("socket")).expect("it serves");
    panzer.stop();
}

#[test]
fn an_application_finds_ignored_what_main_was_started_with_ignored() {
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let mut panzer = setup.options(&["-n1"]).through(&example("witness"), &["smother"]).start();
    panzer.expect_line("monitor SigBlk: 0000000000000000");
    let line = panzer.expect_line("monitor SigIgn: ");
    let mask = line.rsplit(' ').next().and_then(|mask| u64::from_str_radix(mask, 16).ok());
    let mask = mask.expect("it is a number");
    let is_ignored = |number: i32| mask & (1 << (number - 1)) != 0;
    for signal in [Signal::Hup, Signal::Int, Signal::Quit, Signal::Usr1, Signal::Term] {
        assert!(is_ignored(signal.number()), "{signal:?}");
    }
    assert!(!is_ignored(Signal::Chld.number()), "it could not wait for its children");
    panzer.expect_current(1);
    panzer.stop();
}

#[test]
fn with_any_of_the_standard_descriptors_closed_the_whole_life_works() {
    for closed in 0..8 {
        let words = ["0<&-", "1>&-", "2>&-"];
        let some: Vec<_> =
            (0..3).filter(|number| closed >> number & 1 == 1).map(|number| words[number]).collect();
        let place = Place::new();
        lives(&place, http(&place).redirect(&some.join(" ")).start());
    }
}

#[test]
fn a_closed_standard_descriptor_never_becomes_one_of_ours() {
    let place = Place::new();
    let mut panzer = http(&place).redirect("0<&- 1>&- 2>&-").start();
    let monitor = panzer.expect_current(1);
    let worker = panzer.workers(monitor)[0];
    for pid in [panzer.pid(), monitor, worker] {
        let standard = look::descriptors(pid);
        let standard: Vec<_> = standard
            .iter()
            .filter(|fd| ["0 ", "1 ", "2 "].iter().any(|start| fd.starts_with(start)))
            .collect();
        assert_eq!(standard, ["0 /dev/null", "1 /dev/null", "2 /dev/null"]);
    }
    panzer.stop();
}

#[test]
fn a_full_pipe_as_log_that_nobody_reads_blocks_nobody() {
    let (reader, mut writer) = pipe().expect("there are descriptors");
    fill(&mut writer);
    let place = Place::new();
    let panzer = http(&place).options(&["-v"]).stderr(writer.into()).start();
    let mut panzer = lives(&place, panzer);
    assert!(panzer.count("dropped") > 0, "what is dropped is counted");
    drop(reader);
}

#[test]
fn a_log_whose_reader_is_gone_ends_nobody() {
    let (reader, writer) = pipe().expect("there are descriptors");
    drop(reader);
    let place = Place::new();
    let panzer = http(&place).options(&["-v"]).stderr(writer.into()).start();
    lives(&place, panzer);
}

/// Fills a pipe, and leaves it as blocking as it was.
fn fill(writer: &mut PipeWriter) {
    let set = |writer: &PipeWriter, blocking| {
        set_blocking(Borrowed::from(writer.as_fd()), blocking).expect("it is open");
    };
    set(writer, Blocking::No);
    loop {
        match writer.write(&[b'.'; 4_096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("a pipe says {error}"),
        }
    }
    set(writer, Blocking::Yes);
}

/// Whether we may make a pid namespace.
pub fn may_be_process_1() -> bool {
    let _alone = alone();
    let made = Command::new("unshare").args(["-pf", "--mount-proc", "true"]).output();
    made.is_ok_and(|made| made.status.success())
}

#[test]
fn as_process_1_it_serves_reloads_and_stops_and_reaps_orphans() {
    if !may_be_process_1() {
        return skip("as_process_1_it_serves_reloads_and_stops_and_reaps_orphans", "no unshare");
    }
    let place = Place::new();
    let (witness, orphan) = (example("witness"), "(true &); ".repeat(50));
    let body = format!("{orphan} exec '{}' run=idle", witness.display());
    let setup = Setup::new(&place.script("app", &body), &[]).options(&["-n1"]);
    let words = ["-pf", "--kill-child", "--mount-proc"];
    let mut panzer = setup.through("unshare".as_ref(), &words).start();
    panzer.expect_current(1);
    let main = look::children(panzer.pid())[0];
    assert_eq!(look::name(main), "panzer:main");
    send(main, Signal::Usr1);
    panzer.expect_current(2);
    panzer.eventually("all orphans are reaped", || {
        let children = look::children(main);
        children.len() == 1 && children.iter().all(|pid| look::is_alive(*pid))
    });
    send(main, Signal::Term);
    assert_eq!(panzer.end(), End::Status(0), "the exit status goes out");
}

#[test]
fn orphans_are_reaped_in_silence() {
    let place = Place::new();
    let body =
        format!("{} exec '{}' run=idle", "(true &); ".repeat(50), example("witness").display());
    let mut panzer = Setup::new(&place.script("app", &body), &[]).options(&["-n1"]).start();
    panzer.expect_current(1);
    let main = panzer.pid();
    panzer.eventually("all orphans are reaped", || look::children(main).len() == 1);
    assert_eq!((panzer.count("died"), panzer.count_lines("WARN")), (0, 0));
    panzer.stop();
}
