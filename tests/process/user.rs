//! Monitors and workers of another user than main's.
//!
//! Only root can make them. Whoever is not sees in each test that panzer cannot
//! either, and says so.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use panzer::sys::{Signal, process};

use crate::harness::client::ask_unix;
use crate::harness::panzer::{End, Panzer, continue_process, send};
use crate::harness::place::{self, Place, example};
use crate::harness::setup::Setup;
use crate::harness::{alone, look};
use crate::orphans::tampered;

/// As whom most of these run: numbers that no file knows.
const SOMEBODY: &str = "--user=4242:4343";

const PASSWD: &str = "root:x:0:0::/:\nwww:x:4242:4343:::\nother:x:4545:4545:::\n";
const GROUP: &str = "www:x:4343:\nlogs:x:4444:other,www\nothers:x:4545:other\n";

/// What everybody can reach: a program, and where it starts.
pub struct Users {
    place: Place,
    program: PathBuf,
}

impl Users {
    /// `None` when nobody else can be become, and panzer has said so.
    pub fn new(name: &str) -> Option<Self> {
        if process::user() != 0 {
            refused();
            return None;
        }
        let place = Place::new();
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(place.path(), everybody).expect("it is ours");
        let program = fs::read(example(name)).expect("it was built");
        let program = place.program("app", &program);
        Some(Self { place, program })
    }

    /// Where its sockets are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Starts it with these words.
    pub fn setup(&self, words: &[&str]) -> Setup {
        Setup::new(&self.program, words).directory(self.place.path()).options(&["-n1"])
    }

    /// Where /etc/passwd and /etc/group are these, as long as nobody changes them.
    fn named(&self, words: &[&str]) -> Setup {
        let mount = r#"mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/group &&
            shift 2 && exec "$@""#;
        let files = [self.place.write("passwd", PASSWD), self.place.write("group", GROUP)];
        let [passwd, group] = files.map(|file| file.display().to_string());
        let inside = ["-m", "sh", "-c", mount, "sh", &passwd, &group];
        self.setup(words).through(Path::new("unshare"), &inside)
    }
}

/// Who a process is, by the kernel's word: its users, its groups, all groups.
fn who(pid: u32) -> String {
    let words = ["Uid", "Gid", "Groups"].map(|key| look::status(pid, key));
    words.map(|word| word.split_whitespace().collect::<Vec<_>>().join(" ")).join(" / ")
}

/// A monitor and its workers, each once.
fn tree(panzer: &Panzer, monitor: u32) -> Vec<String> {
    let mut tree: Vec<_> = panzer.workers(monitor).into_iter().map(who).collect();
    assert!(!tree.is_empty());
    tree.push(who(monitor));
    tree.dedup();
    tree
}

/// As root of a namespace in which there is nobody else.
fn refused() {
    let setup = Setup::new(Path::new("echo"), &["it runs"]).options(&[SOMEBODY, "--give-up=1"]);
    let mut panzer = setup.through(Path::new("unshare"), &["-r"]).start();
    panzer.expect_line("cannot become user '4242:4343': operation not permitted (EPERM)");
    assert_eq!(panzer.end(), End::Status(1));
    assert_eq!(panzer.count_lines("it runs"), 0);
}

/// RATIONALE 1.53, 1.54
#[test]
fn a_start_that_cannot_change_users_fails_and_says_so() {
    refused();
}

/// RATIONALE 1.53, 1.56
#[test]
fn a_monitor_and_its_workers_have_the_rights_of_the_user_and_no_others() {
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
        assert!(who(panzer.pid()).starts_with("0 0 0 0 / "));
        // Another worker, and another generation, are no others.
        send(panzer.workers(monitor)[0], Signal::Kill);
        panzer.expect_event("another", |event| event.name == "respawn");
        assert_eq!(tree(&panzer, monitor), [expected]);
        let monitor = panzer.reload(2);
        assert_eq!(tree(&panzer, monitor), [expected]);
        panzer.stop();
    }
}

/// RATIONALE 1.54
#[test]
fn what_main_may_do_without_being_root_another_user_may_not() {
    let Some(users) = Users::new("witness") else { return };
    let may = "+setuid,+setgid,+kill";
    let words = ["--reuid=4545", "--regid=4545", "--clear-groups", "--inh-caps", may];
    let words: Vec<_> = words.into_iter().chain(["--ambient-caps", may]).collect();
    let setup = users.setup(&["run=idle"]).options(&[SOMEBODY]);
    let mut panzer = setup.through(Path::new("setpriv"), &words).start();
    let monitor = panzer.expect_current(1);
    assert_eq!(tree(&panzer, monitor), ["4242 4242 4242 4242 / 4343 4343 4343 4343 / "]);
    for key in ["CapPrm", "CapEff", "CapAmb"] {
        assert_ne!(look::status(panzer.pid(), key), "0000000000000000");
        assert_eq!(look::status(monitor, key), "0000000000000000");
    }
    panzer.stop();
}

/// RATIONALE 1.54
#[test]
fn what_the_kernel_has_not_done_whatever_it_says_is_noticed() {
    let Some(users) = Users::new("witness") else { return };
    for (call, answer, why) in [
        ("setgroups", "retval=0", "operation not permitted (EPERM)"),
        ("setresgid", "retval=0", "operation not permitted (EPERM)"),
        ("setresuid", "retval=0", "operation not permitted (EPERM)"),
        ("setresuid", "error=EAGAIN", "resource temporarily unavailable (EAGAIN)"),
    ] {
        let setup = users.named(&["say=it runs"]).options(&["--user=www", "--give-up=1"]);
        let mut panzer = tampered(setup, &format!("{call}:{answer}")).start();
        panzer.expect_line(&format!("cannot become user 'www': {why}"));
        assert_eq!(panzer.end(), End::Status(1));
        assert_eq!(panzer.count_lines("it runs"), 0);
    }
}

/// RATIONALE 1.55
#[test]
fn nobody_of_another_user_outlives_main() {
    let Some(users) = Users::new("witness") else { return };
    // A foreign monitor has nothing but the kernel's word.
    for words in [&["hang"][..], &["listen=127.0.0.1:0", "run=hold"]] {
        let mut panzer = users.setup(words).options(&[SOMEBODY, "--ready=0"]).start();
        panzer.expect_current(1);
        panzer.signal(Signal::Kill);
        assert_eq!(panzer.end(), End::Signal(9));
    }
}

/// RATIONALE 1.55
#[test]
fn nobody_of_another_user_outlives_main_and_monitor() {
    let Some(users) = Users::new("witness") else { return };
    let accepting = || users.setup(&["listen=127.0.0.1:0", "run=hold"]).options(&[SOMEBODY]);
    // Without the kernel's word there is the lifeline, also for a monitor.
    let without = || tampered(accepting(), "prctl:retval=0");
    for (setup, also_monitor) in [(accepting(), true), (without(), true), (without(), false)] {
        let mut panzer = setup.start();
        let monitor = panzer.expect_current(1);
        panzer.signal(Signal::Kill);
        if also_monitor {
            send(monitor, Signal::Kill);
        }
        assert_eq!(panzer.end(), End::Signal(9));
    }
}

/// RATIONALE 1.55
#[test]
fn a_pool_of_another_user_is_stopped_and_replaced_like_any_other() {
    let Some(users) = Users::new("witness") else { return };
    // Nobody but main can end a worker that is left alone and takes no signal.
    let setup = users.setup(&["run=deaf"]).options(&[SOMEBODY, "-v", "--timeout=0.1"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    send(monitor, Signal::Kill);
    panzer.expect_current(2);
    panzer.expect_line("nobody of generation 1 is left");
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(1));
}

/// RATIONALE 1.57
#[test]
fn a_unix_socket_has_its_owner_before_anybody_can_connect() {
    let Some(users) = Users::new("http") else { return };
    let path = users.place.join("sock");
    let bind = format!("--bind=unix:{}", path.display());
    let setup = users.setup(&[&format!("unix:{}", path.display())]).options(&[SOMEBODY, &bind]);
    let select = ["-e", "trace=bind,fchownat,listen,connect"];
    let (setup, trace) = setup.traced(users.place.path(), "calls", &select);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    let owner = fs::symlink_metadata(&path).expect("it is there");
    assert_eq!((owner.uid(), owner.gid()), (4242, 4343));
    ask_unix(&path).expect("it serves");
    let main = panzer.pid();
    panzer.stop();
    let calls: Vec<_> = trace.calls().into_iter().filter(|call| call.pid == main).collect();
    let names: Vec<_> = calls.iter().map(|call| (&*call.name, &*call.answer)).collect();
    // The first one is the notify socket's of the generation.
    assert_eq!(names[..3], [("bind", "0"), ("fchownat", "0"), ("listen", "0")], "{calls:#?}");
    assert!(!path.exists());
}

/// RATIONALE 1.57
#[test]
fn a_unix_socket_that_cannot_be_given_away_is_not_left_behind() {
    let Some(users) = Users::new("witness") else { return };
    let path = users.place.join("sock");
    let bind = format!("--bind=unix:{}", path.display());
    let setup = users.setup(&["say=it runs"]).options(&[SOMEBODY, &bind]);
    let mut panzer = tampered(setup, "fchownat:error=EPERM").start();
    panzer.expect_line("cannot listen on unix:/");
    assert_eq!((panzer.end(), path.exists()), (End::Status(1), false));
    assert_eq!(panzer.count_lines("it runs"), 0);
}

/// RATIONALE 1.57
#[test]
fn what_somebody_puts_in_the_place_of_a_unix_socket_is_not_given_away() {
    let Some(users) = Users::new("witness") else { return };
    let (path, other) = (users.place.join("sock"), users.place.join("other"));
    let bind = format!("--bind=unix:{}", path.display());
    let file = users.place.write("file", "");
    let socket = std::os::unix::net::UnixListener::bind(&other).expect("the place is ours");
    for stranger in [&file, &other] {
        let setup = users.setup(&[]).options(&[SOMEBODY, &bind]);
        let mut panzer = tampered(setup, "bind:signal=STOP:when=1").start();
        let main = panzer.pid();
        panzer.eventually("it is bound", || {
            path.exists() && matches!(look::state(main), Some('T' | 't'))
        });
        fs::remove_file(&path).expect("it is there");
        fs::hard_link(stranger, &path).expect("it is our directory");
        continue_process(main);
        panzer.expect_line("operation not permitted (EPERM)");
        assert_eq!(panzer.end(), End::Status(1));
        assert_eq!(fs::metadata(stranger).expect("it is there").uid(), 0);
    }
    drop(socket);
}

/// Says as the user of the first word, to the abstract name of the second one,
/// that it is ready.
const READY: &str = "import os, socket, sys\nos.setgroups([])\nos.setgid(4343)\n\
    os.setuid(int(sys.argv[1]))\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
    s.sendto(b'READY=1', '\\0' + sys.argv[2])";

/// RATIONALE 1.45
#[test]
fn the_user_of_a_generation_may_say_that_it_is_ready_and_others_may_not() {
    let Some(users) = Users::new("witness") else { return };
    let setup = users.setup(&["report=monitor", "hang"]).options(&[SOMEBODY]);
    let mut panzer = setup.start();
    let line = panzer.expect_line("monitor env NOTIFY_SOCKET=@");
    let (_, name) = line.split_once('@').expect("it was found");
    let say = |user: &str| {
        let _alone = alone();
        let said = Command::new("python3").args(["-c", READY, user, name]).status();
        assert!(said.expect("python3 is there").success());
    };
    say("4343");
    panzer.expect_line("a message to generation 1 comes from another user: ignored");
    panzer.settle();
    assert_eq!(panzer.count("ready"), 0);
    say("4242");
    panzer.expect_current(1);
    panzer.stop();
}

/// Puts a terminal that is root's alone in the place of the standard error, and
/// copies what it is sent to where that was.
const TERMINAL: &str = "import os, sys\nmaster, slave = os.openpty()\nos.fchmod(slave, 0o600)\n\
    if os.fork() == 0:\n  os.close(slave)\n  try:\n    while True: os.write(2, os.read(master, 999))\n\
    \x20 except OSError: os._exit(0)\nos.close(master)\nos.dup2(slave, 2)\nos.close(slave)\n\
    os.execvp(sys.argv[1], sys.argv[1:])";

/// RATIONALE 1.56, 5.3
#[test]
fn another_user_writes_to_the_log_wherever_main_does() {
    let Some(users) = Users::new("witness") else { return };
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let setup = users.setup(&words).options(&[SOMEBODY]);
    let mut panzer = setup.through(Path::new("python3"), &["-c", TERMINAL]).start();
    panzer.expect_current(1);
    panzer.expect_line("run in worker 1");
    let mut panzer = panzer.stop();
    assert!(panzer.count_lines("panzer:monitor[") > 0);
    // A file, which it could not open.
    let log = fs::File::create(users.place.join("log")).expect("the place is ours");
    let closed = fs::Permissions::from_mode(0o600);
    fs::set_permissions(users.place.join("log"), closed).expect("it is ours");
    let mut panzer = users.setup(&words).options(&[SOMEBODY]).stderr(log.into()).start();
    panzer.expect_current(1);
    panzer.stop();
    let log = fs::read_to_string(users.place.join("log")).expect("it is there");
    assert!(log.contains("run in worker 1") && log.contains("panzer:monitor["), "{log}");
}

/// RATIONALE 12.5
#[test]
fn a_user_that_is_not_known_is_a_bad_value() {
    for (user, why) in [
        ("no-such-user", "there is no such user"),
        ("0:no-such-group", "its group is not known"),
        ("4294967295:0", "there is no such user"),
        ("4294967294", "its group is not known"),
        (":0", "there is no such user"),
    ] {
        for check in [&["--check"][..], &[]] {
            let mut command = Command::new(place::panzer());
            command.args(check).arg("--user").arg(user).arg("echo");
            let said = {
                let _alone = alone();
                command.output().expect("it runs")
            };
            let line = format!("panzer: user '{user}': {why}\n");
            assert_eq!(String::from_utf8_lossy(&said.stderr), line);
            assert_eq!((said.status.code(), said.stdout.len()), (Some(2), 0));
        }
    }
}

/// RATIONALE 12.5
#[test]
fn a_reload_looks_the_user_up_again_and_fails_when_it_is_gone() {
    let Some(users) = Users::new("witness") else { return };
    let file = |user: &str| users.place.write("panzer.yml", &format!("user: {user}\n"));
    file("www");
    let setup = users.named(&["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["--config=panzer.yml"]).start();
    let first = panzer.expect_current(1);
    let expected = "4242 4242 4242 4242 / 4343 4343 4343 4343 / 4343 4444";
    assert_eq!(tree(&panzer, first), [expected]);
    file("gone");
    panzer.signal(Signal::Usr1);
    panzer.expect_line("nothing is reloaded: user 'gone': there is no such user");
    panzer.settle();
    assert_eq!((panzer.count("started"), tree(&panzer, first)), (1, vec![expected.to_string()]));
    file("other");
    let second = panzer.reload(2);
    assert_eq!(tree(&panzer, second), ["4545 4545 4545 4545 / 4545 4545 4545 4545 / 4444 4545"]);
    file("www");
    users.place.write("passwd", &PASSWD.replace("4242:4343", "5252:5353"));
    let third = panzer.reload(3);
    assert_eq!(tree(&panzer, third), ["5252 5252 5252 5252 / 5353 5353 5353 5353 / 4444 5353"]);
    panzer.stop();
}

/// RATIONALE 1.58
#[test]
fn main_takes_no_path_away_that_another_user_has_named() {
    let Some(users) = Users::new("witness") else { return };
    let room = users.place.join("room");
    fs::create_dir(&room).expect("the place is ours");
    std::os::unix::fs::chown(&room, Some(4242), Some(4343)).expect("we are root");
    let socket = room.join("socket");
    let listen = format!("listen=unix:{}", socket.display());
    let mut panzer = users.setup(&[&listen, "run=idle"]).options(&[SOMEBODY]).start();
    panzer.expect_current(1);
    assert_eq!(panzer.count("stored"), 1);
    panzer.stop();
    assert!(socket.exists());
}
