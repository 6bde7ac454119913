//! The numbers of processes that are gone: whoever has one now is left alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::place::{Place, example, open_gate, pass_gate};
use crate::harness::setup::Setup;
use crate::harness::strace::{Call, Trace};
use crate::harness::{alone, look, skip};

/// The calls that make, pin, signal and let go of processes.
const PINS: &str = "trace=?fork,?vfork,?clone,?clone3,waitid,kill,tkill,tgkill";

/// Two workers of a witness whose processes are traced.
fn traced(place: &Place) -> (Panzer, Trace) {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let (setup, trace) = setup.options(&["-n2"]).traced(place.path(), "pins", &["-e", PINS]);
    (setup.start(), trace)
}

/// The number behind `key` in what strace shows.
fn number(words: &str, key: &str) -> Option<u32> {
    let (_, rest) = words.split_once(key)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// What a process has signalled, of which each was itself, its unreaped child, or a
/// group that the kernel had just said a child of it is in.
fn signalled(calls: &[Call], pid: u32) -> usize {
    let (mut ours, mut pinned, mut count) = (BTreeSet::new(), None, 0);
    // A signal that came too late is one too many, whatever the kernel said.
    let is_meant = |call: &&Call| call.pid == pid && (call.name == "kill" || call.is_done());
    for call in calls.iter().filter(is_meant) {
        let is_group = call.words.starts_with("P_PGID");
        match &*call.name {
            "waitid" if is_group => pinned = number(&call.words, "P_PGID, "),
            "waitid" if call.words.contains("WNOWAIT") => {}
            "waitid" => {
                number(&call.words, "si_pid=").map(|dead| ours.remove(&dead));
                pinned = None;
            }
            "kill" => {
                count += 1;
                match number(&call.words, "-") {
                    Some(group) => assert_eq!(Some(group), pinned, "{call:?}"),
                    None => assert!(
                        number(&call.words, "").is_some_and(|to| to == pid || ours.contains(&to)),
                        "{call:?}"
                    ),
                }
            }
            "tkill" | "tgkill" => {}
            _ => drop(call.answer.parse().map(|child: u32| ours.insert(child))),
        }
    }
    count
}

/// Everybody's calls were as they must be; how many signals main has sent.
fn check(trace: &Trace, main: u32) -> usize {
    let calls = trace.calls();
    let everybody: BTreeSet<_> = calls.iter().map(|call| call.pid).collect();
    let counts = everybody.into_iter().map(|pid| (pid, signalled(&calls, pid)));
    counts.filter(|(pid, _)| *pid == main).map(|(_, count)| count).sum()
}

/// RATIONALE 1.6, 1.26
#[test]
fn a_monitor_that_died_in_the_turn_of_the_stop_is_not_signalled() {
    let place = Place::new();
    let (mut panzer, trace) = traced(&place);
    panzer.expect_current(1);
    let monitor = panzer.reload(2);
    panzer.expect("died", 1);
    // Main finds the death and the order at once.
    stop_process(panzer.pid());
    send(monitor, Signal::Kill);
    panzer.eventually("it is dead", || !look::is_alive(monitor));
    panzer.signal(Signal::Term);
    continue_process(panzer.pid());
    assert_eq!(panzer.end(), End::Status(0));
    assert!(check(&trace, panzer.pid()) > 0);
}

/// RATIONALE 1.4, 1.26
#[test]
fn a_group_that_became_empty_in_the_turn_of_the_stop_is_not_signalled() {
    let place = Place::new();
    let (mut panzer, trace) = traced(&place);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (_held, answer) = Held::hold(address).expect("it serves");
    send(monitor, Signal::Kill);
    panzer.expect_current(2);
    let main = panzer.pid();
    panzer.eventually("one is left beside the new monitor", || look::children(main).len() == 2);
    stop_process(panzer.pid());
    send(answer.pid, Signal::Kill);
    panzer.eventually("it is dead", || !look::is_alive(answer.pid));
    panzer.signal(Signal::Quit);
    continue_process(panzer.pid());
    assert!(matches!(panzer.end(), End::Status(0 | 1)));
    assert!(check(&trace, panzer.pid()) > 0);
}

/// A pid namespace of our own in which somebody is process 1.
struct Inside {
    /// Process 1, as it is called outside.
    first: u32,
    place: Place,
}

/// Somebody who notes every signal that can be noted, and says that he lives.
const STRANGER: &str = r#"
for name in HUP INT QUIT USR1 USR2 TERM CHLD TTIN TTOU VTALRM WINCH PIPE; do
    trap "echo $name >>$1.hit" $name
done
: >"$1.ready"
read line <"$1.gate"
echo alive >"$1.answer"
"#;

impl Inside {
    /// A script that has `number` as its pid, group and session, or as near as
    /// can be; its number. Whoever has started it is gone.
    fn stranger(&self, name: &str, number: u32) -> u32 {
        self.place.gate(&format!("{name}.gate"));
        self.place.gate(&format!("{name}.answer"));
        let name = self.place.join(name).display().to_string();
        let script = self.place.script("stranger", STRANGER).display().to_string();
        let start = format!(
            "echo {} >/proc/sys/kernel/ns_last_pid; setsid {script} {name} >&2 & echo $!",
            number - 1
        );
        let _alone = alone();
        let first = self.first.to_string();
        let mut enter = Command::new("nsenter");
        enter.args(["-t", &first, "-p", "-m", "sh", "-c", &start]).stdin(Stdio::null());
        let log = self.place.join("stranger.log");
        let log = std::fs::File::create(log).expect("the place is ours");
        let said = enter.stderr(log).output().expect("nsenter is there").stdout;
        let said = String::from_utf8_lossy(&said).trim().parse();
        said.expect("it has a number")
    }

    /// Whether that stranger is there, and nothing came to him.
    fn is_unharmed(&self, name: &str) -> bool {
        open_gate(&self.place.join(&format!("{name}.gate")));
        pass_gate(&self.place.join(&format!("{name}.answer")));
        !self.place.join(&format!("{name}.hit")).exists()
    }

    /// What process `pid` is called inside.
    fn number(pid: u32) -> u32 {
        let numbers = look::status(pid, "NSpid");
        let last = numbers.split_whitespace().last().and_then(|last| last.parse().ok());
        last.expect("it is there")
    }
}

/// RATIONALE 1.26, 1.27
#[test]
fn a_stranger_with_the_number_of_a_dead_worker_monitor_or_group_is_left_alone() {
    let name = "a_stranger_with_the_number_of_a_dead_worker_monitor_or_group_is_left_alone";
    if !crate::surroundings::may_be_process_1() {
        return skip(name, "no unshare");
    }
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let setup = setup.options(&["-n1", "-v", "--timeout=0.1"]);
    let words = ["-pf", "--kill-child", "--mount-proc"];
    let mut panzer = setup.through(Path::new("unshare"), &words).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let first = look::children(panzer.pid())[0];
    let inside = Inside { first, place: Place::new() };
    let monitor = look::children(first)[0];
    let worker = look::children(monitor)[0];
    let (leader, lost) = (Inside::number(monitor), Inside::number(worker));
    send(worker, Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn");
    assert_eq!(inside.stranger("worker", lost), lost);
    // Its worker is stopped, and holds the group's number.
    let pin = look::children(monitor)[0];
    stop_process(pin);
    send(monitor, Signal::Kill);
    panzer.expect_current(2);
    assert_ne!(inside.stranger("early", leader), leader, "it is pinned");
    continue_process(pin);
    panzer.expect_line("nobody of generation 1 is left");
    assert_eq!(inside.stranger("monitor", leader), leader);
    // All steps of a drain that somebody holds up.
    let _held = Held::hold(address).expect("it serves");
    send(first, Signal::Usr1);
    panzer.expect_current(3);
    panzer.expect_line("nobody of generation 2 is left");
    assert!(["worker", "early", "monitor"].iter().all(|name| inside.is_unharmed(name)));
    send(first, Signal::Quit);
    assert!(matches!(panzer.end(), End::Status(0 | 1)));
    assert_eq!(panzer.count("died"), 4, "no stranger's end was taken for one of ours");
}
