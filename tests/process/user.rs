//! Monitors and workers that run as another user than main.
//!
//! Only root can start them. Without root each test shows that panzer fails with a
//! reason.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use panzer::sys::{Signal, process};

use crate::harness::client::ask_unix;
use crate::harness::files::{self, TempDir, example};
use crate::harness::panzer::{End, Panzer, continue_process, send};
use crate::harness::setup::Setup;
use crate::harness::{procfs, spawn_lock};
use crate::orphans::tampered;

/// The user of most of these tests: numbers without an entry in passwd.
const OTHER_USER: &str = "--user=4242:4343";

const PASSWD: &str = "root:x:0:0::/:\nwww:x:4242:4343:::\nother:x:4545:4545:::\n";
const GROUP: &str = "www:x:4343:\nlogs:x:4444:other,www\nothers:x:4545:other\n";

/// A program and its directory, which all users can reach.
pub struct Users {
    dir: TempDir,
    program: PathBuf,
}

impl Users {
    /// `None` without root, after a check that panzer refuses to start.
    pub fn new(name: &str) -> Option<Self> {
        if process::user() != 0 {
            refused();
            return None;
        }
        let dir = TempDir::new();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), mode).expect("it is ours");
        let program = fs::read(example(name)).expect("it was built");
        let program = dir.program("app", &program);
        Some(Self { dir, program })
    }

    /// The directory of its sockets.
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// Sets it up with these arguments.
    pub fn setup(&self, words: &[&str]) -> Setup {
        Setup::new(&self.program, words).directory(self.dir.path()).options(&["-n1"])
    }

    /// The same with /etc/passwd and /etc/group replaced by files that a test can change.
    fn named(&self, words: &[&str]) -> Setup {
        let mount = r#"mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/group &&
            shift 2 && exec "$@""#;
        let files = [self.dir.write("passwd", PASSWD), self.dir.write("group", GROUP)];
        let [passwd, group] = files.map(|file| file.display().to_string());
        let inside = ["-m", "sh", "-c", mount, "sh", &passwd, &group];
        self.setup(words).through(Path::new("unshare"), &inside)
    }
}

/// The user ids, group ids and supplementary groups of a process.
fn credentials(pid: u32) -> String {
    let words = ["Uid", "Gid", "Groups"].map(|key| procfs::status(pid, key));
    words.map(|word| word.split_whitespace().collect::<Vec<_>>().join(" ")).join(" / ")
}

/// The credentials of a monitor and its workers, without repetitions.
fn tree(panzer: &Panzer, monitor: u32) -> Vec<String> {
    let mut tree: Vec<_> = panzer.workers(monitor).into_iter().map(credentials).collect();
    assert!(!tree.is_empty());
    tree.push(credentials(monitor));
    tree.dedup();
    tree
}

/// Main is root of a user namespace without other users.
fn refused() {
    let setup = Setup::new(Path::new("echo"), &["it runs"]).options(&[OTHER_USER, "--give-up=1"]);
    let mut panzer = setup.through(Path::new("unshare"), &["-r"]).start();
    panzer.expect_line("cannot switch to user '4242:4343': operation not permitted (EPERM)");
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count_lines("it runs"), 0);
}

/// rules: user.switched, user.verified
#[test]
fn start_that_cannot_change_users_fails_with_a_reason() {
    refused();
}

/// rules: user.switched, user.environment
#[test]
fn monitor_and_workers_have_the_ids_and_groups_of_the_user_only() {
    let Some(users) = Users::new("witness") else { return };
    for (user, expected) in [
        ("www", "4242 4242 4242 4242 / 4343 4343 4343 4343 / 4343 4444"),
        ("4242", "4242 4242 4242 4242 / 4343 4343 4343 4343 / 4343 4444"),
        ("www:logs", "4242 4242 4242 4242 / 4444 4444 4444 4444 / 4444"),
        ("www:7", "4242 4242 4242 4242 / 7 7 7 7 / 7 4444"),
        ("8:logs", "8 8 8 8 / 4444 4444 4444 4444 / "),
    ] {
        let setup = users.named(&["listen=127.0.0.1:0", "run=hold"]).options(&["--user", user]);
        let mut panzer = setup.start();
        let monitor = panzer.expect_current(1);
        assert_eq!(tree(&panzer, monitor), [expected]);
        assert!(credentials(panzer.pid()).starts_with("0 0 0 0 / "));
        // The same after the death of a worker and after a reload.
        send(panzer.workers(monitor)[0], Signal::Kill);
        panzer.expect_event("another", |event| event.name == "respawn");
        assert_eq!(tree(&panzer, monitor), [expected]);
        let monitor = panzer.reload(2);
        assert_eq!(tree(&panzer, monitor), [expected]);
        panzer.stop();
    }
}

/// rule: user.verified
#[test]
fn capabilities_of_main_are_not_passed_to_another_user() {
    let Some(users) = Users::new("witness") else { return };
    let may = "+setuid,+setgid,+kill";
    let words = ["--reuid=4545", "--regid=4545", "--clear-groups", "--inh-caps", may];
    let words: Vec<_> = words.into_iter().chain(["--ambient-caps", may]).collect();
    let setup = users.setup(&["run=idle"]).options(&[OTHER_USER]);
    let mut panzer = setup.through(Path::new("setpriv"), &words).start();
    let monitor = panzer.expect_current(1);
    assert_eq!(tree(&panzer, monitor), ["4242 4242 4242 4242 / 4343 4343 4343 4343 / "]);
    for key in ["CapPrm", "CapEff", "CapAmb", "CapInh"] {
        assert_ne!(procfs::status(panzer.pid(), key), "0000000000000000");
        assert_eq!(procfs::status(monitor, key), "0000000000000000");
    }
    panzer.stop();
}

/// Main could not stop a process that it may not signal.
#[test]
fn user_that_main_may_not_signal_is_refused_at_the_start() {
    let Some(users) = Users::new("witness") else { return };
    let may = "+setuid,+setgid";
    let words = ["--reuid=4545", "--regid=4545", "--clear-groups", "--inh-caps", may];
    let words: Vec<_> = words.into_iter().chain(["--ambient-caps", may]).collect();
    let setup = users.setup(&["run=idle"]).options(&[OTHER_USER]);
    let mut panzer = setup.through(Path::new("setpriv"), &words).start();
    panzer.expect_line("cannot run as user 4242: main lacks CAP_KILL");
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count("started"), 0);
}

/// As in a container, standard output is a pipe that belongs to root.
#[test]
fn another_user_can_open_dev_stdout_and_dev_stderr() {
    let Some(users) = Users::new("witness") else { return };
    for exec in [&[][..], &["--exec"]] {
        let script = "echo it opens >/dev/stdout && echo it opens >/dev/stderr; exec sleep 60";
        let options = [&["-n1", "--ready=0.1", "--stop-signal=TERM", OTHER_USER], exec].concat();
        let setup = Setup::new(Path::new("sh"), &["-c", script]).options(&options);
        let mut panzer = setup.directory(users.dir().path()).start();
        panzer.expect_line("it opens");
        panzer.expect_line("it opens");
        panzer.expect_current(1);
        panzer.stop();
    }
}

/// rule: user.verified
#[test]
fn change_of_user_is_verified_after_the_system_call() {
    let Some(users) = Users::new("witness") else { return };
    for (call, answer, reason) in [
        ("setgroups", "retval=0", "operation not permitted (EPERM)"),
        ("setresgid", "retval=0", "operation not permitted (EPERM)"),
        ("setresuid", "retval=0", "operation not permitted (EPERM)"),
        ("setresuid", "error=EAGAIN", "resource temporarily unavailable (EAGAIN)"),
    ] {
        let setup = users.named(&["say=it runs"]).options(&["--user=www", "--give-up=1"]);
        let mut panzer = tampered(setup, &format!("{call}:{answer}")).start();
        panzer.expect_line(&format!("cannot switch to user 'www': {reason}"));
        assert_eq!(panzer.end(), End::Status(1));
        assert_eq!(panzer.count_lines("it runs"), 0);
    }
}

/// rule: user.death-signal
#[test]
fn processes_of_another_user_do_not_outlive_main() {
    let Some(users) = Users::new("witness") else { return };
    // A foreign monitor has PR_SET_PDEATHSIG alone.
    for words in [&["hang"][..], &["listen=127.0.0.1:0", "run=hold"]] {
        let mut panzer = users.setup(words).options(&[OTHER_USER, "--ready=0"]).start();
        panzer.expect_current(1);
        panzer.signal(Signal::Kill);
        assert_eq!(panzer.end(), End::Signal(9));
    }
}

/// rule: user.death-signal
#[test]
fn processes_of_another_user_do_not_outlive_main_and_monitor() {
    let Some(users) = Users::new("witness") else { return };
    let accepting = || users.setup(&["listen=127.0.0.1:0", "run=hold"]).options(&[OTHER_USER]);
    // Without PR_SET_PDEATHSIG a monitor still has its lifeline.
    let without = || tampered(accepting(), "prctl:retval=0");
    for (setup, also_monitor) in [(accepting(), true), (without(), false)] {
        let mut panzer = setup.start();
        let monitor = panzer.expect_current(1);
        panzer.signal(Signal::Kill);
        if also_monitor {
            send(monitor, Signal::Kill);
        }
        assert_eq!(panzer.end(), End::Signal(9));
    }
}

/// rule: user.death-signal
#[test]
fn dead_pool_of_another_user_is_ended_and_replaced() {
    let Some(users) = Users::new("witness") else { return };
    // Without its monitor, only main can end a worker that ignores signals.
    let setup = users.setup(&["run=deaf"]).options(&[OTHER_USER, "-v", "--timeout=0.1"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    send(monitor, Signal::Kill);
    panzer.expect_current(2);
    panzer.expect_line("generation 1: all processes exited");
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(4));
}

/// rule: user.unix-socket
#[test]
fn unix_socket_gets_its_owner_before_it_listens() {
    let Some(users) = Users::new("http") else { return };
    let path = users.dir.join("sock");
    let bind = format!("--bind=unix:{}", path.display());
    let setup = users.setup(&[&format!("unix:{}", path.display())]).options(&[OTHER_USER, &bind]);
    let select = ["-e", "trace=bind,fchownat,listen,connect"];
    let (setup, trace) = setup.traced(users.dir.path(), "calls", &select);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    let owner = fs::symlink_metadata(&path).expect("it is there");
    assert_eq!((owner.uid(), owner.gid()), (4242, 4343));
    ask_unix(&path).expect("it serves");
    let main = panzer.pid();
    panzer.stop();
    let calls: Vec<_> = trace.calls().into_iter().filter(|call| call.pid == main).collect();
    let names: Vec<_> = calls.iter().map(|call| (&*call.name, &*call.answer)).collect();
    // The first three calls are for the notify socket of the generation.
    assert_eq!(names[..3], [("bind", "0"), ("fchownat", "0"), ("listen", "0")], "{calls:#?}");
    assert!(!path.exists());
}

/// rule: user.unix-socket
#[test]
fn unix_socket_is_removed_if_its_owner_cannot_be_set() {
    let Some(users) = Users::new("witness") else { return };
    let path = users.dir.join("sock");
    let bind = format!("--bind=unix:{}", path.display());
    let setup = users.setup(&["say=it runs"]).options(&[OTHER_USER, &bind]);
    let mut panzer = tampered(setup, "fchownat:error=EPERM").start();
    panzer.expect_line("cannot listen on unix:/");
    assert_eq!((panzer.end(), path.exists()), (End::Status(1), false));
    assert_eq!(panzer.count_lines("it runs"), 0);
}

/// rule: user.unix-socket
#[test]
fn owner_is_not_changed_on_a_file_that_replaced_the_unix_socket() {
    let Some(users) = Users::new("witness") else { return };
    let (path, other) = (users.dir.join("sock"), users.dir.join("other"));
    let bind = format!("--bind=unix:{}", path.display());
    let file = users.dir.write("file", "");
    let socket = std::os::unix::net::UnixListener::bind(&other).expect("the directory is ours");
    for replacement in [&file, &other] {
        let setup = users.setup(&[]).options(&[OTHER_USER, &bind]);
        let mut panzer = tampered(setup, "bind:signal=STOP:when=1").start();
        let main = panzer.pid();
        panzer.eventually("it is bound", || {
            path.exists() && matches!(procfs::state(main), Some('T' | 't'))
        });
        fs::remove_file(&path).expect("it is there");
        fs::hard_link(replacement, &path).expect("it is our directory");
        continue_process(main);
        panzer.expect_line("operation not permitted (EPERM)");
        assert_eq!(panzer.end(), End::Status(1));
        assert_eq!(fs::metadata(replacement).expect("it is there").uid(), 0);
        fs::remove_file(&path).expect("it was not touched");
    }
    drop(socket);
}

#[test]
fn stale_unix_socket_is_replaced_only_if_main_or_the_user_owns_it() {
    let Some(users) = Users::new("witness") else { return };
    let path = users.dir.join("sock");
    let bind = format!("--bind=unix:{}", path.display());
    for (owner, is_taken) in [(0, true), (4242, true), (65_534, false)] {
        drop(std::os::unix::net::UnixListener::bind(&path).expect("the path is free"));
        std::os::unix::fs::chown(&path, Some(owner), None).expect("root may");
        let mut panzer = users.setup(&["run=idle"]).options(&["-n1", OTHER_USER, &bind]).start();
        if is_taken {
            panzer.expect_current(1);
            panzer.stop();
        } else {
            panzer.expect_line("address already in use (EADDRINUSE)");
            assert_eq!(panzer.end(), End::Status(1));
            assert_eq!(fs::symlink_metadata(&path).expect("it was not touched").uid(), owner);
        }
    }
}

/// Connects as root to the socket at the second argument, and sends READY=1 as the user
/// of the first.
const READY: &str = "import os, socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
    s.connect(sys.argv[2])\nos.setgroups([])\nos.setgid(4343)\nos.setuid(int(sys.argv[1]))\n\
    s.send(b'READY=1')";

/// rule: notify.sender
#[test]
fn ready_counts_from_the_user_of_the_generation_only() {
    let Some(users) = Users::new("witness") else { return };
    let setup = users.setup(&["report=monitor", "hang"]).options(&[OTHER_USER]);
    let mut panzer = setup.start();
    let line = panzer.expect_line("monitor env NOTIFY_SOCKET=");
    let (_, name) = line.split_once("NOTIFY_SOCKET=").expect("it was found");
    let say = |user: &str| {
        let _lock = spawn_lock();
        let said = Command::new("python3").args(["-c", READY, user, name]).status();
        assert!(said.expect("python3 is there").success());
    };
    say("4343");
    panzer
        .expect_line("generation 1: ignored a message to its NOTIFY_SOCKET: sent by another user");
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    say("4242");
    panzer.expect_current(1);
    panzer.stop();
}

/// Makes standard error a terminal that root alone can open, and copies its output to
/// the old standard error.
const TERMINAL: &str = "import os, sys\nmaster, slave = os.openpty()\nos.fchmod(slave, 0o600)\n\
    if os.fork() == 0:\n  os.close(slave)\n  try:\n    while True: os.write(2, os.read(master, 999))\n\
    \x20 except OSError: os._exit(0)\nos.close(master)\nos.dup2(slave, 2)\nos.close(slave)\n\
    os.execvp(sys.argv[1], sys.argv[1:])";

/// rules: user.environment, log.never-waits
#[test]
fn another_user_writes_to_the_log_that_main_has_open() {
    let Some(users) = Users::new("witness") else { return };
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let setup = users.setup(&words).options(&[OTHER_USER]);
    let mut panzer = setup.through(Path::new("python3"), &["-c", TERMINAL]).start();
    panzer.expect_current(1);
    panzer.expect_line("run in worker 1");
    let mut panzer = panzer.stop();
    assert!(panzer.count_lines("panzer:monitor[") > 0);
    // A file that the user could not open.
    let log = fs::File::create(users.dir.join("log")).expect("the directory is ours");
    let closed = fs::Permissions::from_mode(0o600);
    fs::set_permissions(users.dir.join("log"), closed).expect("it is ours");
    let mut panzer = users.setup(&words).options(&[OTHER_USER]).stderr(log.into()).start();
    panzer.expect_current(1);
    panzer.stop();
    let log = fs::read_to_string(users.dir.join("log")).expect("it is there");
    assert!(log.contains("run in worker 1") && log.contains("panzer:monitor["), "{log}");
}

/// rule: config.user
#[test]
fn unknown_user_is_a_bad_option_value() {
    for (user, reason) in [
        ("no-such-user", "no such user"),
        ("0:no-such-group", "no such group"),
        ("4294967295:0", "no such user"),
        ("4294967294", "/etc/passwd has no group of this user: add one, as in USER:GROUP"),
        (":0", "no such user"),
    ] {
        for check in [&["--check"][..], &[]] {
            let mut command = Command::new(files::panzer());
            command.args(check).arg("--user").arg(user).arg("echo");
            let said = {
                let _lock = spawn_lock();
                command.output().expect("it runs")
            };
            let line = format!("panzer: user '{user}': {reason}\n");
            assert_eq!(String::from_utf8_lossy(&said.stderr), line);
            assert_eq!((said.status.code(), said.stdout.len()), (Some(2), 0));
        }
    }
}

/// rule: config.user
#[test]
fn reload_looks_up_the_user_again_and_fails_if_it_is_gone() {
    let Some(users) = Users::new("witness") else { return };
    let file = |user: &str| users.dir.write("panzer.yml", &format!("user: {user}\n"));
    file("www");
    let setup = users.named(&["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["--config=panzer.yml"]).start();
    let first = panzer.expect_current(1);
    let expected = "4242 4242 4242 4242 / 4343 4343 4343 4343 / 4343 4444";
    assert_eq!(tree(&panzer, first), [expected]);
    file("gone");
    panzer.signal(Signal::Usr1);
    panzer.expect_line("reload failed: user 'gone': no such user");
    panzer.settle();
    assert_eq!((panzer.count("started"), tree(&panzer, first)), (1, vec![expected.to_string()]));
    file("other");
    let second = panzer.reload(2);
    assert_eq!(tree(&panzer, second), ["4545 4545 4545 4545 / 4545 4545 4545 4545 / 4444 4545"]);
    file("www");
    users.dir.write("passwd", &PASSWD.replace("4242:4343", "5252:5353"));
    let third = panzer.reload(3);
    assert_eq!(tree(&panzer, third), ["5252 5252 5252 5252 / 5353 5353 5353 5353 / 4444 5353"]);
    panzer.stop();
}

/// rule: user.stored-path
#[test]
fn main_does_not_remove_a_unix_socket_named_by_another_user() {
    let Some(users) = Users::new("witness") else { return };
    let room = users.dir.join("room");
    fs::create_dir(&room).expect("the directory is ours");
    std::os::unix::fs::chown(&room, Some(4242), Some(4343)).expect("we are root");
    let socket = room.join("socket");
    let listen = format!("listen=unix:{}", socket.display());
    let mut panzer = users.setup(&[&listen, "run=idle"]).options(&[OTHER_USER]).start();
    panzer.expect_current(1);
    assert_eq!(panzer.count("stored"), 1);
    panzer.stop();
    assert!(socket.exists());
}
