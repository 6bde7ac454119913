//! What a process is made with fails, at the first start, a refill, a repair
//! and a reload: whoever serves goes on, and once the cause is gone so does
//! the rest.

use std::path::Path;

use panzer::sys::Signal;

use crate::harness::client::{Held, ask};
use crate::harness::look;
use crate::harness::panzer::{End, Panzer, continue_process, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

/// Whichever call fork(3) is made of.
const FORK: &str = "?fork,?vfork,?clone,?clone3";

/// Has main alone, or everybody, run under strace with these faults.
fn faulty(setup: Setup, place: &Place, options: &[&str]) -> Setup {
    let output = place.join("trace").display().to_string();
    let words = [&["-D", "-qqq", "-o", &output], options].concat();
    setup.through(Path::new("strace"), &words)
}

fn http(options: &[&str]) -> Setup {
    Setup::new(&example("http"), &["127.0.0.1:0"]).options(options)
}

/// Waits until any generation serves alone; which.
fn expect_any_current(panzer: &mut Panzer) -> u32 {
    panzer.expect_event("current", |event| event.name == "current").generation
}

/// RATIONALE 1.18, 1.19, 7.27
#[test]
fn whatever_main_cannot_make_for_a_reload_the_old_generation_serves_on() {
    let calls = [
        ("socket", "EMFILE", 2, "make a notify socket"),
        ("socket", "ENFILE", 2, "make a notify socket"),
        ("memfd_create", "ENFILE", 2, "make a board"),
        ("ftruncate", "ENOMEM", 2, "make a board"),
        ("pipe2", "EMFILE", 4, "make a process"),
        (FORK, "EAGAIN", 2, "make a process"),
        (FORK, "ENOMEM", 2, "make a process"),
    ];
    for (call, error, which, step) in calls {
        let place = Place::new();
        let fault = format!("inject={call}:error={error}:when={which}");
        let mut panzer = faulty(http(&["-n1"]), &place, &["-e", &fault]).start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        // What became of the exec is known by then, and its pipe is closed.
        panzer.settle();
        let descriptors = look::descriptors(panzer.pid());
        panzer.signal(Signal::Usr1);
        let why = panzer.expect("failed", 2).why;
        assert!(why.contains(&format!("cannot {step}")) && why.contains(error), "{why}");
        assert_eq!(ask(address).expect("it serves").generation, 1);
        assert_eq!(look::children(panzer.pid()), [monitor]);
        assert_eq!(look::descriptors(panzer.pid()), descriptors);
        panzer.reload(3);
        ask(address).expect("it serves");
        panzer.stop();
    }
}

/// RATIONALE 1.13, 1.23, 2.6
#[test]
fn a_first_start_that_cannot_fork_is_tried_again_until_it_can() {
    let place = Place::new();
    // Main, and after it the monitor, each fail two times.
    let fault = format!("inject={FORK}:error=EAGAIN:when=1..2");
    let setup = faulty(http(&["-n2"]), &place, &["-f", "-e", &fault]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    panzer.expect_current(3);
    ask(address).expect("it serves");
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count("failed"), panzer.count("started")), (2, 1));
    assert_eq!(panzer.count_lines("cannot make a process"), 2);
    assert_eq!(panzer.count_lines("cannot fork worker"), 2);
}

/// RATIONALE 2.6
#[test]
fn a_refill_that_cannot_fork_is_tried_again_and_the_others_serve_on() {
    let place = Place::new();
    let fault = format!("inject={FORK}:error=EAGAIN:when=3..4");
    let setup = faulty(http(&["-n2"]), &place, &["-f", "-e", &fault]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let [lost, other] = panzer.workers(monitor)[..] else { panzer.fail("no two workers") };
    send(lost, Signal::Kill);
    panzer.expect_line("cannot fork worker");
    assert_eq!(ask(address).expect("the other one serves").pid, other);
    panzer.expect_event("another", |event| event.name == "respawn");
    let mut panzer = panzer.stop();
    assert_eq!((panzer.count_lines("cannot fork worker"), panzer.count("started")), (2, 1));
    assert_eq!(panzer.count_lines("is missing; next start in"), 2, "each waits");
}

/// RATIONALE 1.22, 1.23, 1.25
#[test]
fn a_repair_that_cannot_fork_is_tried_again_and_what_is_in_hand_is_finished() {
    let place = Place::new();
    let fault = format!("inject={FORK}:error=EAGAIN:when=2..3");
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let setup = faulty(setup.options(&["-n1"]), &place, &["-e", &fault]);
    let mut panzer = setup.start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    send(monitor, Signal::Kill);
    panzer.expect("failed", 2);
    let mut queued = Held::queue(address).expect("the port was never closed");
    panzer.expect("failed", 3);
    panzer.expect_current(4);
    assert_eq!(queued.greeting().expect("it waited in the queue").generation, 4);
    held.finish().expect("it is finished all the same");
    queued.finish().expect("it serves");
    panzer.stop();
}

/// RATIONALE 1.12, 1.19
#[test]
fn an_exec_that_fails_for_a_reason_that_may_pass_is_a_failed_start_like_others() {
    for error in ["EAGAIN", "ENOMEM", "ETXTBSY"] {
        let place = Place::new();
        let good = example("http");
        let good = good.parent().expect("it is in a directory");
        std::fs::create_dir(place.join("bad")).expect("the place is ours");
        let bad = place.script("bad/http", "exit 1");
        let look_in = |path: &Path| place.write("env", &format!("PATH={}\n", path.display()));
        let env = look_in(&place.join("bad")).display().to_string();
        let options = ["-n1", "--give-up=0", "--delay=0.05", "--env-file", &env];
        let setup = Setup::new(Path::new("http"), &["127.0.0.1:0"]).options(&options);
        let (path, fault) = (bad.display().to_string(), format!("inject=execve:error={error}"));
        let mut panzer = faulty(setup, &place, &["-f", "-P", &path, "-e", &fault]).start();
        let why = panzer.expect("failed", 1).why;
        assert!(why.contains("cannot execute") && why.contains(error), "{why}");
        panzer.expect("failed", 2);
        look_in(good);
        let address = panzer.expect_address();
        let first = expect_any_current(&mut panzer);
        look_in(&place.join("bad"));
        panzer.signal(Signal::Usr1);
        let why = panzer.expect("failed", first + 1).why;
        assert!(why.contains("cannot execute") && why.contains(error), "{why}");
        assert_eq!(ask(address).expect("it serves").generation, first);
        look_in(good);
        panzer.reload(first + 2);
        ask(address).expect("it serves");
        panzer.stop();
    }
}

/// RATIONALE 1.9, 1.12
#[test]
fn whichever_step_before_the_exec_fails_is_named_and_is_a_failed_start() {
    let steps = [
        ("dup2", "EMFILE", "cannot hand the descriptors to"),
        // Main's own first one gives it its name, and may fail.
        ("prctl", "EINVAL", "cannot tie to its parent"),
        ("chdir", "EIO", "cannot enter"),
    ];
    for (call, error, step) in steps {
        let place = Place::new();
        let fault = format!("inject={call}:error={error}:when=1");
        let setup = http(&["-n1", "--give-up=2", "--delay=0"]);
        let mut panzer = faulty(setup, &place, &["-f", "-e", &fault]).start();
        assert_eq!(panzer.end(), End::Status(1));
        let whys: Vec<_> =
            panzer.events().into_iter().filter(|event| event.name == "failed").collect();
        assert_eq!(whys.len(), 2, "{whys:?}");
        for event in whys {
            assert!(event.why.contains(step) && event.why.contains(error), "{event:?}");
        }
    }
}

/// RATIONALE 1.9
#[test]
fn main_does_not_wait_for_an_exec() {
    let place = Place::new();
    // It stops there, as on a file server that is away.
    let words = ["-f", "-e", "trace=chdir", "-e", "inject=chdir:signal=STOP:when=1"];
    let mut panzer = faulty(http(&["-n1"]), &place, &words).start();
    let child = panzer.expect("started", 1).pid;
    panzer.settle();
    assert_eq!(look::name(child), "panzer:main", "it is not executed yet");
    // Whoever is traced seems to stop at every call.
    panzer.eventually("it goes on", || {
        continue_process(child);
        look::name(child) != "panzer:main"
    });
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 2.1, 3.10
#[test]
fn a_kernel_that_has_no_timer_and_counts_no_threads_is_served_all_the_same() {
    let place = Place::new();
    let faults = ["inject=timer_create:error=EAGAIN", "inject=unshare:error=EPERM"];
    let words = ["-f", "-e", faults[0], "-e", faults[1]];
    let mut panzer = faulty(http(&["-n1"]), &place, &words).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    ask(address).expect("it serves");
    panzer.reload(2);
    panzer.stop();
}
