//! Who may say that a generation is ready, and how.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use panzer::sys::Signal;

use crate::harness::client::ask;
use crate::harness::expect_passed;
use crate::harness::panzer::{continue_process, send, stop_process};
use crate::harness::place::{Place, example, open_gate, pass_gate};
use crate::harness::setup::Setup;
use crate::harness::strace::Trace;
use crate::harness::told::Told;
use crate::harness::{alone, look};

/// What a foreign program does when it has nothing to do.
const STAY: &str = "exec sleep 1000";

/// Starts this script, reloads it once, and stops it.
fn lives_through_a_reload(body: &str) {
    let place = Place::new();
    let script = place.script("app", &format!("{body}\n{STAY}"));
    let mut panzer = Setup::new(&script, &[]).start();
    let first = panzer.expect_current(1);
    let second = panzer.reload(2);
    assert_ne!(first, second);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.pid == first);
    panzer.stop();
}

/// RATIONALE 1.32
#[test]
fn a_shell_script_is_ready_when_its_shell_sends_sigvtalrm() {
    lives_through_a_reload("kill -s VTALRM $PPID");
}

/// RATIONALE 1.32
#[test]
fn a_sender_of_sigvtalrm_may_be_a_helper() {
    lives_through_a_reload("/bin/kill -s VTALRM $PPID");
}

/// RATIONALE 1.32
#[test]
fn a_sender_of_sigvtalrm_that_is_gone_before_main_looks_counts() {
    let place = Place::new();
    let (arrived, gate, sent) = (place.gate("arrived"), place.gate("gate"), place.gate("sent"));
    let body = format!(
        "echo here >'{}'; cat '{}' >/dev/null; /bin/kill -s VTALRM $PPID; echo sent >'{}'; {STAY}",
        arrived.display(),
        gate.display(),
        sent.display()
    );
    let mut panzer = Setup::new(&place.script("app", &body), &[]).start();
    pass_gate(&arrived);
    // Main sleeps until the sender was reaped by its shell.
    stop_process(panzer.pid());
    open_gate(&gate);
    pass_gate(&sent);
    continue_process(panzer.pid());
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 1.14
#[test]
fn a_foreign_program_is_ready_when_it_says_so_to_the_notify_socket() {
    let witness = example("witness");
    let place = Place::new();
    let mut panzer = Setup::new(&witness, &["notify=READY=1", "hang"]).start();
    panzer.expect_current(1);
    panzer.reload(2);
    panzer.stop();
    drop(place);
}

/// RATIONALE 1.45
#[test]
fn a_helper_that_is_gone_at_once_may_say_it_for_a_foreign_program() {
    lives_through_a_reload(&format!("'{}' notify=READY=1", example("witness").display()));
}

/// RATIONALE 1.45
#[test]
fn a_helper_in_a_session_of_its_own_may_say_it_too() {
    lives_through_a_reload(&format!("setsid '{}' notify=READY=1", example("witness").display()));
}

/// RATIONALE 1.32
#[test]
fn a_strangers_sigvtalrm_is_no_readiness_and_swallows_none() {
    let place = Place::new();
    let (arrived, gate) = (place.gate("arrived"), place.gate("gate"));
    let body = format!(
        "echo here >'{}'; cat '{}' >/dev/null; kill -s VTALRM $PPID; {STAY}",
        arrived.display(),
        gate.display()
    );
    let mut panzer = Setup::new(&place.script("app", &body), &[]).start();
    // It runs, so its group is the one whose signals count.
    pass_gate(&arrived);
    panzer.signal(Signal::Vtalrm);
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&gate);
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 1.32
#[test]
fn sigvtalrm_from_the_old_generation_says_nothing_of_the_new_one() {
    let place = Place::new();
    let (arrived, gate, old) = (place.gate("arrived"), place.gate("gate"), place.gate("old"));
    let body = format!(
        "if [ $PANZER_GENERATION = 1 ]; then kill -s VTALRM $PPID; cat '{0}' >/dev/null\n\
         else echo here >'{1}'; cat '{2}' >/dev/null; fi; kill -s VTALRM $PPID; {STAY}",
        old.display(),
        arrived.display(),
        gate.display()
    );
    let mut panzer = Setup::new(&place.script("app", &body), &[]).start();
    let monitor = panzer.expect_current(1);
    panzer.signal(Signal::Usr1);
    pass_gate(&arrived);
    open_gate(&old);
    panzer.eventually("the old one has said it again", || look::name(monitor) == "sleep");
    panzer.settle();
    assert_eq!(panzer.count("ready"), 1);
    open_gate(&gate);
    panzer.expect_current(2);
    panzer.stop();
}

/// RATIONALE 1.14
#[test]
fn a_generation_may_be_taken_as_ready_when_it_has_lived_long_enough() {
    let place = Place::new();
    let begun = Instant::now();
    let mut panzer = Setup::new(&place.script("app", STAY), &[]).options(&["--ready=0.2"]).start();
    panzer.expect("ready", 1);
    expect_passed(begun, Duration::from_millis(200));
    panzer.stop();
}

/// RATIONALE 4.6
#[test]
fn a_wrapper_that_stays_in_between_is_said_in_one_line() {
    let place = Place::new();
    let body = format!("'{}' 127.0.0.1:0", example("http").display());
    // A second command keeps the shell from executing the first in its place.
    let script = place.script("app", &format!("{body}\nexit 0"));
    let mut panzer = Setup::new(&script, &[]).options(&["-n1"]).start();
    panzer.expect_line("which is not our parent");
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// RATIONALE 4.6
#[test]
fn without_panzer_a_program_serves_and_signals_nobody() {
    // A shell has no handler for the signal, which would end it.
    let place = Place::new();
    let signals = "-etrace=kill,tkill,tgkill,pidfd_send_signal";
    let (trace, words) = Trace::new(place.path(), "alone", &[signals]);
    let inner = r#"echo "pid $$"; exec "$@" 2>&1"#;
    let script = r#"sh -c "$0" sh "$@" & wait "$!"; echo "left with $?""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, inner, "strace"]).args(words).arg(example("http"));
    command.arg("127.0.0.1:0").stdout(Stdio::piped()).stdin(Stdio::null());
    let mut shell = {
        let _alone = alone();
        command.spawn().expect("the shell is there")
    };
    let mut told = Told::read(shell.stdout.take().expect("it was asked for"), |line| line);
    let mut after = |text: &str| {
        let line = told.find(|line| line.contains(text)).expect(text);
        line.rsplit(' ').next().unwrap_or_default().to_string()
    };
    let pid = after("pid ").parse().expect("the shell says it");
    let address = after("listening on ").parse().expect("the program says it");
    after("workers are ready");
    let answer = ask(address).expect("it serves");
    assert_eq!(answer.generation, 0);
    let workers = look::children(pid);
    send(pid, Signal::Term);
    assert_eq!(after("left with"), "0");
    assert!(shell.wait().expect("it is our child").success());
    assert!(told.hear_out(), "somebody is left");
    let sent = trace.calls();
    assert_eq!(sent.len(), workers.len(), "{sent:?}");
    let to = |pid: &u32| format!("{pid}, SIGTERM");
    assert!(sent.iter().all(|call| workers.iter().map(to).any(|to| call.words == to)), "{sent:?}");
}
