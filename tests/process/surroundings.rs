//! Started under the worst of circumstances.

use std::fs::File;
use std::io::pipe;
use std::process::{Child, Command, Stdio};

use panzer::sys::Signal;

use crate::harness::client::ask_unix;
use crate::harness::panzer::{End, Panzer, send};
use crate::harness::pipe::fill;
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::told::Told;
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

/// RATIONALE 1.1, 1.28
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

/// A pool without main, of which nobody is left when it is dropped.
pub struct Alone(pub Child);

impl Drop for Alone {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let below = look::descendants(self.0.id());
            below.into_iter().chain([self.0.id()]).for_each(|pid| send(pid, Signal::Kill));
            let _ = self.0.wait();
        }
    }
}

/// RATIONALE 2.3
#[test]
fn without_main_a_pool_works_too_with_everything_blocked_and_ignored() {
    let witness = example("witness");
    let words = ["smother", &witness.display().to_string(), "count=2", "run=idle"];
    let mut command = Command::new(&witness);
    command.args(words).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut pool = {
        let _alone = alone();
        Alone(command.spawn().expect("it is built"))
    };
    let mut told = Told::read(pool.0.stderr.take().expect("it was asked for"), |line| line);
    told.find(|line| line.contains("2 workers are ready")).expect("both have said so");
    send(look::children(pool.0.id())[0], Signal::Term);
    // The new one may speak before the end of the old one is told.
    let is_either =
        |line: &String| line.contains("exited with status 0") || line.contains("run in worker");
    for what in ["one of the two", "the other"] {
        told.find(is_either).expect(what);
    }
    send(pool.0.id(), Signal::Term);
    told.find(|line| line.contains("run has returned")).expect("the stop is over");
    assert!(told.hear_out(), "somebody is left");
    assert!(pool.0.wait().expect("it is our child").success());
}

/// RATIONALE 1.28
#[test]
fn with_nohup_a_hangup_does_nothing_and_the_whole_life_works() {
    let place = Place::new();
    let mut panzer = http(&place).through("nohup".as_ref(), &[]).start();
    panzer.expect_current(1);
    panzer.signal(Signal::Hup);
    panzer.settle();
    let monitor = panzer.reload(2);
    let worker = panzer.workers(monitor)[0];
    // A worker and a monitor are as deaf to it as nohup wants them to be.
    for pid in [worker, monitor] {
        send(pid, Signal::Hup);
    }
    panzer.settle();
    assert_eq!(panzer.count("started"), 2);
    assert!(!panzer.events().iter().any(|event| event.is("died", 2)));
    assert!(panzer.workers(monitor).contains(&worker));
    ask_unix(&place.join("socket")).expect("it serves");
    panzer.stop();
}

/// RATIONALE 1.29
#[test]
fn in_the_background_of_a_shell_sigint_and_sigquit_stop_all_the_same() {
    for signal in [Signal::Int, Signal::Quit] {
        let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
        let job = r#""$@" & wait "$!""#;
        let mut panzer = setup.options(&["-n2"]).through("sh".as_ref(), &["-c", job, "sh"]).start();
        let line = panzer.expect_line("monitor SigIgn: ");
        for given in [Signal::Int, Signal::Quit] {
            assert!(is_ignored(&line, given), "the shell has it ignored: {line}");
        }
        panzer.expect_current(1);
        let main = look::children(panzer.pid())[0];
        send(main, signal);
        assert_eq!(panzer.end(), End::Status(0), "{signal:?}");
    }
}

/// Whether a line of /proc/PID/status says that `signal` is in its set.
fn is_ignored(line: &str, signal: Signal) -> bool {
    let mask = line.split_whitespace().last().and_then(|mask| u64::from_str_radix(mask, 16).ok());
    mask.expect("it is a number") & 1 << (signal.number() - 1) != 0
}

/// RATIONALE 6.1
#[test]
fn an_application_does_not_find_ignored_what_main_ignores() {
    // A shell would let through for itself what is blocked.
    let words = ["-e", "SigBlk", "-e", "SigIgn", "/proc/self/status"];
    let mut panzer = Setup::new("grep".as_ref(), &words).options(&["--give-up=1"]).start();
    let line = panzer.expect_line("SigBlk");
    assert!(line.ends_with("\t0000000000000000"), "{line}");
    let line = panzer.expect_line("SigIgn");
    for signal in [Signal::Ttou, Signal::Winch, Signal::Pipe, Signal::Xfsz] {
        assert!(!is_ignored(&line, signal), "{signal:?}: {line}");
    }
    panzer.end();
}

/// RATIONALE 6.1
#[test]
fn an_application_finds_ignored_what_main_was_started_with_ignored() {
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let mut panzer = setup.options(&["-n1"]).through(&example("witness"), &["smother"]).start();
    panzer.expect_line("monitor SigBlk: 0000000000000000");
    let line = panzer.expect_line("monitor SigIgn: ");
    for signal in [Signal::Hup, Signal::Int, Signal::Quit, Signal::Usr1, Signal::Term] {
        assert!(is_ignored(&line, signal), "{signal:?}");
    }
    assert!(!is_ignored(&line, Signal::Chld), "it could not wait for its children");
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 1.2
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

/// RATIONALE 1.2
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

/// RATIONALE 5.3
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

/// RATIONALE 5.3
#[test]
fn a_log_whose_reader_is_gone_ends_nobody() {
    let (reader, writer) = pipe().expect("there are descriptors");
    drop(reader);
    let place = Place::new();
    let panzer = http(&place).options(&["-v"]).stderr(writer.into()).start();
    lives(&place, panzer);
}

/// RATIONALE 5.3
#[test]
fn a_log_that_is_as_large_as_a_file_may_be_ends_nobody() {
    const LIMIT: u64 = 4 << 20;
    let place = Place::new();
    let log = File::options().append(true).create(true).open(place.join("log"));
    let log = log.expect("the place is ours");
    log.set_len(LIMIT).expect("there is room");
    let limit = format!("--fsize={LIMIT}");
    let setup = http(&place).options(&["-v"]).through("prlimit".as_ref(), &[&limit]);
    let mut panzer = lives(&place, setup.stderr(log.into()).start());
    assert!(panzer.count("dropped") > 0, "what is dropped is counted");
}

/// Whether we may make a pid namespace.
pub fn may_be_process_1() -> bool {
    let _alone = alone();
    let made = Command::new("unshare").args(["-pf", "--mount-proc", "true"]).output();
    made.is_ok_and(|made| made.status.success())
}

/// RATIONALE 1.27
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
    panzer.eventually_at(main, "all orphans are reaped", || {
        let children = look::children(main);
        children.len() == 1 && children.iter().all(|pid| look::is_alive(*pid))
    });
    send(main, Signal::Term);
    assert_eq!(panzer.end(), End::Status(0), "the exit status goes out");
}

/// RATIONALE 1.27
#[test]
fn orphans_are_reaped_in_silence() {
    let place = Place::new();
    let body =
        format!("{} exec '{}' run=idle", "(true &); ".repeat(50), example("witness").display());
    let mut panzer = Setup::new(&place.script("app", &body), &[]).options(&["-n1"]).start();
    panzer.expect_current(1);
    let main = panzer.pid();
    panzer.eventually_at(main, "all orphans are reaped", || look::children(main).len() == 1);
    assert_eq!((panzer.count("died"), panzer.count_lines("WARN")), (0, 0));
    panzer.stop();
}
