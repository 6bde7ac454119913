//! Which processes may report a generation ready, and how.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use panzer::sys::{Signal, process};

use crate::harness::assert_elapsed_at_least;
use crate::harness::client::ask;
use crate::harness::files::{TempDir, example, open_gate, pass_gate};
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::setup::Setup;
use crate::harness::strace::Trace;
use crate::harness::stream::Stream;
use crate::harness::{procfs, skip, spawn_lock};

/// Sends many messages before READY=1, and exits.
const TALKATIVE: &str = r#"
import os, socket, sys
main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
main.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
main.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
open(sys.argv[1]).read()
for _ in range(300):
    main.send(b"STATUS=here", socket.MSG_DONTWAIT)
main.send(b"READY=1", socket.MSG_DONTWAIT)
"#;

/// What a foreign program does once it is ready.
const STAY: &str = "exec sleep 1000";

/// Starts this script, reloads it once, and stops it.
fn lives_through_a_reload(body: &str) {
    let dir = TempDir::new();
    let script = dir.script("app", &format!("{body}\n{STAY}"));
    let mut panzer = Setup::new(&script, &[]).start();
    let first = panzer.expect_current(1);
    let second = panzer.reload(2);
    assert_ne!(first, second);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.pid == first);
    panzer.stop();
}

/// rule: ready.sigvtalrm
#[test]
fn shell_script_becomes_ready_by_sending_sigvtalrm() {
    lives_through_a_reload("kill -s VTALRM $PPID");
}

/// On many systems a socket queues 512 messages; with a limit of 10 this could not be
/// shown. A network namespace has its own limit, and making one needs root.
#[test]
fn ready_behind_300_messages_counts_before_the_death_of_its_sender() {
    if process::user() != 0 {
        return;
    }
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let script = dir.write("app.py", TALKATIVE);
    let words = [script.to_str(), gate.to_str()].map(|word| word.expect("it is text"));
    let setup = Setup::new(Path::new("python3"), &words);
    let raise = r#"echo 512 >/proc/sys/net/unix/max_dgram_qlen && exec "$@""#;
    let mut panzer = setup.through(Path::new("unshare"), &["-n", "sh", "-c", raise, "sh"]).start();
    let monitor = panzer.expect_monitor(1);
    let main = panzer.pid();
    stop_process(main);
    open_gate(&gate);
    panzer.eventually("the monitor is dead", || procfs::state(monitor) == Some('Z'));
    continue_process(main);
    panzer.expect("ready", 1);
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// rule: ready.sigvtalrm
#[test]
fn sigvtalrm_may_be_sent_by_a_child_of_the_monitor() {
    lives_through_a_reload("/bin/kill -s VTALRM $PPID");
}

/// rule: ready.sigvtalrm
#[test]
fn sigvtalrm_counts_although_its_sender_has_exited() {
    let dir = TempDir::new();
    let (arrived, gate, sent) = (dir.gate("arrived"), dir.gate("gate"), dir.gate("sent"));
    let body = format!(
        "echo here >'{}'; cat '{}' >/dev/null; /bin/kill -s VTALRM $PPID; echo sent >'{}'; {STAY}",
        arrived.display(),
        gate.display(),
        sent.display()
    );
    let mut panzer = Setup::new(&dir.script("app", &body), &[]).start();
    pass_gate(&arrived);
    // Main stays stopped until the shell has reaped the sender.
    stop_process(panzer.pid());
    open_gate(&gate);
    pass_gate(&sent);
    continue_process(panzer.pid());
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: ready.sources
#[test]
fn foreign_program_becomes_ready_through_the_notify_socket() {
    let witness = example("witness");
    let dir = TempDir::new();
    let mut panzer = Setup::new(&witness, &["notify=READY=1", "hang"]).start();
    panzer.expect_current(1);
    panzer.reload(2);
    panzer.stop();
    drop(dir);
}

/// rule: notify.sender
#[test]
fn ready_of_a_child_that_exits_at_once_counts() {
    lives_through_a_reload(&format!("'{}' notify=READY=1", example("witness").display()));
}

/// rule: notify.sender
#[test]
fn ready_of_a_child_in_its_own_session_counts() {
    lives_through_a_reload(&format!("setsid '{}' notify=READY=1", example("witness").display()));
}

/// rule: ready.sigvtalrm
#[test]
fn sigvtalrm_of_an_unrelated_process_neither_counts_nor_hides_a_real_one() {
    let dir = TempDir::new();
    let (arrived, gate) = (dir.gate("arrived"), dir.gate("gate"));
    let body = format!(
        "echo here >'{}'; cat '{}' >/dev/null; kill -s VTALRM $PPID; {STAY}",
        arrived.display(),
        gate.display()
    );
    let mut panzer = Setup::new(&dir.script("app", &body), &[]).start();
    // It runs by now, so its process group is the one whose signals count.
    pass_gate(&arrived);
    panzer.signal(Signal::Vtalrm);
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&gate);
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: ready.sigvtalrm
#[test]
fn sigvtalrm_of_a_process_that_entered_the_container_does_not_count() {
    let name = "sigvtalrm_of_a_process_that_entered_the_container_does_not_count";
    if !crate::start_conditions::may_be_process_1() {
        return skip(name, "no unshare");
    }
    let dir = TempDir::new();
    let [sent, gate, end] = ["sent", "gate", "end"].map(|name| dir.gate(name));
    let body = format!("cat '{}' >/dev/null; kill -s VTALRM $PPID; {STAY}", gate.display());
    let setup = Setup::new(&dir.script("app", &body), &[]);
    let words = ["-pf", "--kill-child", "--mount-proc"];
    let mut panzer = setup.through("unshare".as_ref(), &words).start();
    panzer.expect_monitor(1);
    let main = procfs::children(panzer.pid())[0];
    // The leader of its session is outside the namespace and has no pid in it.
    let body = format!("kill -s VTALRM 1; echo >'{}'; read x <'{}'", sent.display(), end.display());
    let mut entered = {
        let _lock = spawn_lock();
        let mut enter = Command::new("nsenter");
        enter.args(["-t", &main.to_string(), "-p", "-m", "sh", "-c", &body]);
        enter.stdin(Stdio::null()).spawn().expect("nsenter is there")
    };
    pass_gate(&sent);
    panzer.settle_at(main);
    assert_eq!(panzer.count("ready"), 0);
    open_gate(&end);
    assert!(entered.wait().expect("it is our child").success());
    open_gate(&gate);
    panzer.expect_current(1);
    send(main, Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
}

/// Two generations: the old one sends SIGVTALRM again when its gate is opened and then
/// does `last`, the new one starts and sends it when its own is.
struct OldAndNew {
    panzer: Panzer,
    /// The process of the old one.
    monitor: u32,
    old: PathBuf,
    new: PathBuf,
    _dir: TempDir,
}

impl OldAndNew {
    fn start(last: &str) -> Self {
        let dir = TempDir::new();
        let (arrived, new, old) = (dir.gate("arrived"), dir.gate("new"), dir.gate("old"));
        let body = format!(
            "if [ $PANZER_GENERATION = 1 ]\n\
             then kill -s VTALRM $PPID; cat '{}' >/dev/null; kill -s VTALRM $PPID; {last}\n\
             else echo here >'{}'; cat '{}' >/dev/null; kill -s VTALRM $PPID; {STAY}\n\
             fi",
            old.display(),
            arrived.display(),
            new.display()
        );
        let mut panzer = Setup::new(&dir.script("app", &body), &[]).start();
        let monitor = panzer.expect_current(1);
        panzer.signal(Signal::Usr1);
        pass_gate(&arrived);
        Self { panzer, monitor, old, new, _dir: dir }
    }
}

/// rule: ready.sigvtalrm
#[test]
fn sigvtalrm_of_the_old_generation_does_not_make_the_new_one_ready() {
    let OldAndNew { mut panzer, monitor, old, new, _dir } = OldAndNew::start(STAY);
    open_gate(&old);
    panzer.eventually("the old monitor has sent the signal again", || {
        procfs::name(monitor) == "sleep"
    });
    panzer.settle();
    assert_eq!(panzer.count("ready"), 1);
    open_gate(&new);
    panzer.expect_current(2);
    panzer.stop();
}

/// Main finds the signal and the death of its sender in one turn.
///
/// rule: ready.sigvtalrm
#[test]
fn sigvtalrm_of_a_dead_generation_does_not_make_the_new_one_ready() {
    let OldAndNew { mut panzer, monitor, old, new: _, _dir } = OldAndNew::start("exit 0");
    stop_process(panzer.pid());
    open_gate(&old);
    assert!(procfs::until(|| !procfs::is_alive(monitor)), "the old monitor does not exit");
    continue_process(panzer.pid());
    panzer.expect_event("its death", |event| event.is("died", 1));
    panzer.settle();
    assert_eq!(panzer.count("ready"), 1);
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// rule: ready.sources
#[test]
fn ready_after_counts_a_generation_as_ready_by_its_age() {
    let dir = TempDir::new();
    let begun = Instant::now();
    let mut panzer = Setup::new(&dir.script("app", STAY), &[]).options(&["--ready=0.2"]).start();
    panzer.expect("ready", 1);
    assert_elapsed_at_least(begun, Duration::from_millis(200));
    panzer.stop();
}

/// rule: listen.wrapper
#[test]
fn wrapper_between_main_and_monitor_is_one_line() {
    let dir = TempDir::new();
    let body = format!("'{}' 127.0.0.1:0", example("http").display());
    // Because of a second command the shell forks the first instead of executing it.
    let script = dir.script("app", &format!("{body}\nexit 0"));
    let mut panzer = Setup::new(&script, &[]).options(&["-n1"]).start();
    panzer.expect_line("is not the parent process");
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// rule: listen.wrapper
#[test]
fn program_without_panzer_serves_and_sends_no_ready_signal() {
    // SIGVTALRM would end the shell, which has no handler for it.
    let dir = TempDir::new();
    let signals = "-etrace=kill,tkill,tgkill,pidfd_send_signal";
    let (trace, words) = Trace::new(dir.path(), "alone", &[signals]);
    let inner = r#"echo "pid $$"; exec "$@" 2>&1"#;
    let script = r#"sh -c "$0" sh "$@" & wait "$!"; echo "left with $?""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, inner, "strace"]).args(words).arg(example("http"));
    command.arg("127.0.0.1:0").stdout(Stdio::piped()).stdin(Stdio::null());
    let mut shell = {
        let _lock = spawn_lock();
        command.spawn().expect("the shell is there")
    };
    let mut log = Stream::read(shell.stdout.take().expect("it was asked for"), |line| line);
    let mut after = |text: &str| {
        let line = log.find(|line| line.contains(text)).expect(text);
        line.rsplit(' ').next().unwrap_or_default().to_string()
    };
    let pid = after("pid ").parse().expect("the shell says it");
    let address = after("listening on ").parse().expect("the program says it");
    after("ready");
    let answer = ask(address).expect("it serves");
    assert_eq!(answer.generation, 0);
    let workers = procfs::children(pid);
    send(pid, Signal::Term);
    assert_eq!(after("left with"), "0");
    assert!(shell.wait().expect("it is our child").success());
    assert!(log.read_to_end(), "a process is left");
    let sent = trace.calls();
    assert_eq!(sent.len(), workers.len(), "{sent:?}");
    let to = |pid: &u32| format!("{pid}, SIGTERM");
    assert!(sent.iter().all(|call| workers.iter().map(to).any(|to| call.words == to)), "{sent:?}");
}
