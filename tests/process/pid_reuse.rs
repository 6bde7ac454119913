//! Pid reuse: a new process with the number of an old one is never signalled.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::files::{TempDir, example, open_gate, pass_gate};
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::setup::Setup;
use crate::harness::strace::{Call, Trace};
use crate::harness::{procfs, skip, spawn_lock};

/// The calls that fork, look at, signal and reap processes.
const PINS: &str = "trace=?fork,?vfork,?clone,?clone3,waitid,getsid,?getpgid,kill,tkill,tgkill";

/// Two workers of a witness whose processes are traced.
fn traced(dir: &TempDir) -> (Panzer, Trace) {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let (setup, trace) = setup.options(&["-n2"]).traced(dir.path(), "pins", &["-e", PINS]);
    (setup.start(), trace)
}

/// The number after `key` in the arguments that strace shows.
fn number(words: &str, key: &str) -> Option<u32> {
    let (_, rest) = words.split_once(key)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Counts the signals of a process. Each must go to itself, to an unreaped child, or to
/// a group that the kernel has shown, since the last reaping, to hold a process in the
/// session of a child.
fn signalled(calls: &[Call], pid: u32) -> usize {
    let [mut ours, mut sessions, mut members, mut pinned] = [const { BTreeSet::<u32>::new() }; 4];
    let mut count = 0;
    // A kill that fails counts as well: it was sent too late.
    let is_meant = |call: &&Call| call.pid == pid && (call.name == "kill" || call.is_done());
    for call in calls.iter().filter(is_meant) {
        let answer = call.answer.parse::<u32>().ok();
        match &*call.name {
            "waitid" if call.words.contains("WNOWAIT") => {}
            "waitid" => {
                if let Some(dead) = number(&call.words, "si_pid=") {
                    ours.remove(&dead);
                    (members, pinned) = (BTreeSet::new(), BTreeSet::new());
                }
            }
            "getsid" if answer.is_some_and(|session| sessions.contains(&session)) => {
                members.extend(number(&call.words, ""));
            }
            "getpgid" if number(&call.words, "").is_some_and(|pid| members.contains(&pid)) => {
                pinned.extend(answer);
            }
            "getsid" | "getpgid" => {}
            "kill" => {
                count += 1;
                match number(&call.words, "-") {
                    Some(group) => assert!(pinned.contains(&group), "{call:?}"),
                    None => assert!(
                        number(&call.words, "").is_some_and(|to| to == pid || ours.contains(&to)),
                        "{call:?}"
                    ),
                }
            }
            "tkill" | "tgkill" => {}
            _ => {
                ours.extend(answer);
                sessions.extend(answer);
            }
        }
    }
    count
}

/// Checks the calls of all processes; returns the number of main's signals.
fn check(trace: &Trace, main: u32) -> usize {
    let calls = trace.calls();
    let processes: BTreeSet<_> = calls.iter().map(|call| call.pid).collect();
    let counts = processes.into_iter().map(|pid| (pid, signalled(&calls, pid)));
    counts.filter(|(pid, _)| *pid == main).map(|(_, count)| count).sum()
}

/// rules: main.turn-order, signal.pinned
#[test]
fn monitor_that_died_in_the_turn_of_the_stop_is_not_signalled() {
    let dir = TempDir::new();
    let (mut panzer, trace) = traced(&dir);
    panzer.expect_current(1);
    let monitor = panzer.reload(2);
    panzer.expect("died", 1);
    // Main finds the death and the stop request in one turn.
    stop_process(panzer.pid());
    send(monitor, Signal::Kill);
    panzer.eventually("it is dead", || !procfs::is_alive(monitor));
    panzer.signal(Signal::Term);
    continue_process(panzer.pid());
    assert_eq!(panzer.end(), End::Status(0));
    assert!(check(&trace, panzer.pid()) > 0);
}

/// rules: main.subreaper, signal.pinned
#[test]
fn group_that_became_empty_in_the_turn_of_the_stop_is_not_signalled() {
    let dir = TempDir::new();
    let (mut panzer, trace) = traced(&dir);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (_held, answer) = Held::hold(address).expect("it serves");
    send(monitor, Signal::Kill);
    panzer.expect_current(2);
    let main = panzer.pid();
    panzer.eventually("one worker is left beside the new monitor", || {
        procfs::children(main).len() == 2
    });
    stop_process(panzer.pid());
    send(answer.pid, Signal::Kill);
    panzer.eventually("it is dead", || !procfs::is_alive(answer.pid));
    panzer.signal(Signal::Quit);
    continue_process(panzer.pid());
    assert!(matches!(panzer.end(), End::Status(0 | 4)));
    assert!(check(&trace, panzer.pid()) > 0);
}

/// A pid namespace, with its process 1.
struct Inside {
    /// The pid of its process 1 outside.
    first: u32,
    dir: TempDir,
}

/// A process that logs every signal that can be caught, and says that it runs.
const UNRELATED: &str = r#"
for name in HUP INT QUIT USR1 USR2 TERM CHLD TTIN TTOU VTALRM WINCH PIPE; do
    trap "echo $name >>$1.hit" $name
done
: >"$1.ready"
read line <"$1.gate"
echo alive >"$1.answer"
"#;

impl Inside {
    /// Starts a process with `number` as its pid, group and session, or the next free
    /// number; returns that. Its parent has exited.
    fn unrelated(&self, name: &str, number: u32) -> u32 {
        self.dir.gate(&format!("{name}.gate"));
        self.dir.gate(&format!("{name}.answer"));
        let name = self.dir.join(name).display().to_string();
        let script = self.dir.script("unrelated", UNRELATED).display().to_string();
        let start = format!(
            "echo {} >/proc/sys/kernel/ns_last_pid; setsid {script} {name} >&2 & echo $!",
            number - 1
        );
        let _lock = spawn_lock();
        let first = self.first.to_string();
        let mut enter = Command::new("nsenter");
        enter.args(["-t", &first, "-p", "-m", "sh", "-c", &start]).stdin(Stdio::null());
        let log = self.dir.join("unrelated.log");
        let log = std::fs::File::create(log).expect("the directory is ours");
        let said = enter.stderr(log).output().expect("nsenter is there").stdout;
        let said = String::from_utf8_lossy(&said).trim().parse();
        said.expect("it has a number")
    }

    /// Whether that process runs and got no signal.
    fn is_unharmed(&self, name: &str) -> bool {
        open_gate(&self.dir.join(&format!("{name}.gate")));
        pass_gate(&self.dir.join(&format!("{name}.answer")));
        !self.dir.join(&format!("{name}.hit")).exists()
    }

    /// The pid of process `pid` inside the namespace.
    fn number(pid: u32) -> u32 {
        let numbers = procfs::status(pid, "NSpid");
        let last = numbers.split_whitespace().last().and_then(|last| last.parse().ok());
        last.expect("it is there")
    }
}

/// rules: signal.pinned, main.reap
#[test]
fn unrelated_process_with_a_reused_pid_is_not_signalled() {
    let name = "unrelated_process_with_a_reused_pid_is_not_signalled";
    if !crate::start_conditions::may_be_process_1() {
        return skip(name, "no unshare");
    }
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let setup = setup.options(&["-n1", "-v", "--timeout=2"]);
    let words = ["-pf", "--kill-child", "--mount-proc"];
    let mut panzer = setup.through(Path::new("unshare"), &words).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let first = procfs::children(panzer.pid())[0];
    let inside = Inside { first, dir: TempDir::new() };
    let monitor = procfs::children(first)[0];
    let worker = procfs::children(monitor)[0];
    let (leader, lost) = (Inside::number(monitor), Inside::number(worker));
    send(worker, Signal::Kill);
    panzer.expect_event("another", |event| event.name == "respawn");
    assert_eq!(inside.unrelated("worker", lost), lost);
    // Its busy worker keeps the session number in use.
    let (held, _) = Held::hold(address).expect("it serves");
    send(monitor, Signal::Kill);
    panzer.expect_current(2);
    assert_ne!(inside.unrelated("early", leader), leader, "the session still uses the number");
    held.finish().expect("it is finished");
    panzer.expect_line("generation 1: all processes exited");
    assert_eq!(inside.unrelated("monitor", leader), leader);
    // All steps of a drain that a busy worker holds up.
    let _held = Held::hold(address).expect("it serves");
    send(first, Signal::Usr1);
    panzer.expect_current(3);
    panzer.expect_line("generation 2: all processes exited");
    assert!(["worker", "early", "monitor"].iter().all(|name| inside.is_unharmed(name)));
    send(first, Signal::Quit);
    assert!(matches!(panzer.end(), End::Status(0 | 4)));
    assert_eq!(panzer.count("died"), 4, "no unrelated death was taken for one of ours");
}
