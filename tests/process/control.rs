//! Requests over the control socket, and their effects.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use panzer::Source;
use panzer::sys::{Signal, message, would_block};

use crate::harness::client::Held;
use crate::harness::control_client::{
    ask, ask_result, begin, connect, read_rest, record, socket_of, value,
};
use crate::harness::ctl::ctl;
use crate::harness::files::{TempDir, example, open_gate, panzer as program};
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::procfs;
use crate::harness::setup::Setup;
use crate::harness::strace::Attached;
use crate::harness::{TIMEOUT, spawn_lock};

/// A directory, the pid file in it, and a panzer that uses it.
fn start(words: &[&str], options: &[&str]) -> (TempDir, PathBuf, Panzer) {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), words);
    start_in(dir, &app, options)
}

fn start_in(dir: TempDir, app: &Path, options: &[&str]) -> (TempDir, PathBuf, Panzer) {
    let pid_file = dir.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let panzer = Setup::new(app, &[]).options(&[&option]).options(options).start();
    (dir, pid_file, panzer)
}

const IDLE: [&str; 2] = ["listen=127.0.0.1:0", "run=idle"];

/// rule: control.status
#[test]
fn status_shows_main_listeners_and_generations() {
    let (_dir, pid_file, mut panzer) =
        start(&["listen=web=127.0.0.1:0", "run=hold"], &["-n1", "--bind=a b=127.0.0.1:0"]);
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1).to_string();
    let held = Held::hold(address).expect("it serves").0;
    let queued: Vec<_> = (0..3).map(|_| Held::queue(address).expect("there is room")).collect();
    let answer = ask(&pid_file, "status");
    let main = record(&answer, "main");
    assert_eq!(value(main, "version"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(value(main, "pid"), Some(&*panzer.pid().to_string()));
    assert_eq!(value(main, "state"), Some("running"));
    assert_eq!(value(main, "count"), Some("1"));
    let listeners: Vec<_> = answer.iter().filter(|line| line.starts_with("listener ")).collect();
    let shown = |line: &str| {
        ["name", "address", "origin", "queue"].map(|key| value(line, key).map(str::to_string))
    };
    let [name, _, origin, queue] = shown(listeners[0]);
    assert_eq!((name, origin), (Some("a\\x20b".into()), Some("bound".into())));
    assert_eq!(queue, Some("0".into()));
    let expected = ["web", &address.to_string(), "stored", "3"].map(|text| Some(text.to_string()));
    assert_eq!(shown(listeners[1]), expected);
    assert_ne!(value(listeners[1], "backlog"), Some("0"));
    let generation = record(&answer, "generation");
    assert_eq!(
        (value(generation, "number"), value(generation, "state")),
        (Some("1"), Some("current"))
    );
    let both = (value(generation, "leader"), value(generation, "monitor"));
    assert_eq!(both, (Some(&*monitor), Some(&*monitor)));
    assert_eq!(answer.last().map(String::as_str), Some("done 1 generation"));
    assert!(!answer.iter().any(|line| line.starts_with("reload ")), "no reload was requested");
    drop(held);
    drop(queued);
    panzer.stop();
}

/// rule: control.status
#[test]
fn status_sends_a_sealed_copy_of_the_scoreboard() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n3"]);
    let monitor = panzer.expect_current(1);
    // A stopped monitor does not delay the answer.
    stop_process(monitor);
    let request = begin(&pid_file, "status").into_stream();
    let (mut bytes, mut boards) = (Vec::new(), Vec::new());
    loop {
        let deadline = panzer::now().after(TIMEOUT.into());
        let fd = panzer::Borrowed::from(request.as_fd());
        panzer::wait(&mut [Source::readable(fd)], Some(deadline)).expect("it can be waited for");
        match message::receive(fd) {
            Ok(message) if message.bytes.is_empty() => break,
            Ok(message) => {
                bytes.extend(message.bytes);
                boards.extend(message.descriptors);
            }
            Err(errno) => assert!(would_block(errno), "{errno}"),
        }
    }
    let text = String::from_utf8(bytes).expect("an answer is text");
    assert!(text.contains(" board=yes\ndone 1 generation\n"), "{text}");
    assert_eq!(boards.len(), 1);
    let board = fs::File::from(std::os::fd::OwnedFd::from(boards.remove(0)));
    let refused = board.write_at(b"x", 0).expect_err("it is sealed");
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    // The header, and a row for each process.
    assert_eq!(board.metadata().expect("it is a file").len(), 4 * 64);
    let mut words = vec![0; 4 * 64];
    board.read_exact_at(&mut words, 0).expect("it can be read");
    let word = |index: usize| {
        u64::from_ne_bytes(words[8 * index..8 * index + 8].try_into().expect("eight bytes"))
    };
    assert_eq!((word(0), word(1)), (0x504E_5A52_0000_0002, 3 << 32 | 3));
    let mut pids: Vec<_> = (1..=3).map(|slot| (word(8 * slot) & 0xffff_ffff) as u32).collect();
    pids.sort_unstable();
    assert_eq!(pids, panzer.workers(monitor));
    continue_process(monitor);
    panzer.stop();
}

/// rule: control.status
#[test]
fn status_has_the_scoreboard_though_a_signal_interrupts_the_copy() {
    let (dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let options = ["-etrace=sendfile", "-einject=sendfile:error=EINTR:when=1"];
    let interrupted = Attached::to(panzer.pid(), &dir.join("trace"), &options);
    let answer = ask(&pid_file, "status");
    drop(interrupted);
    let trace = fs::read_to_string(dir.join("trace")).expect("strace has written it");
    assert!(trace.contains("EINTR"), "{trace}");
    assert_eq!(value(record(&answer, "generation"), "board"), Some("yes"));
    panzer.stop();
}

/// rules: control.reload, control.logged
#[test]
fn reload_request_is_answered_when_new_generation_is_current() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1", "--probation=0.01"]);
    panzer.expect_current(1);
    let answer = ask(&pid_file, "reload");
    let expected = [
        "progress generation 2 is started",
        "progress generation 2 is ready",
        "progress generation 2 is on probation",
        "done generation 2 is current",
    ];
    assert_eq!(answer, expected);
    panzer.expect_line(&format!("control: reload requested by pid {} (uid ", std::process::id()));
    assert_eq!(panzer.count_lines("control: reload requested by pid"), 1);
    let status = ask(&pid_file, "status");
    let reload = record(&status, "reload");
    assert_eq!(
        (value(reload, "generation"), value(reload, "outcome")),
        (Some("2"), Some("current"))
    );
    panzer.stop();
}

/// rule: control.reload
#[test]
fn failed_reload_is_answered_with_the_reason() {
    let (dir, pid_file, mut panzer) = start(&IDLE, &["-n1", "--probation=60"]);
    panzer.expect_current(1);
    for (body, generation, answer, outcome) in [
        ("exit 7", "2", "failed generation 2 failed: its monitor exited with status 7", "failed"),
        (
            "exec ./nothing",
            "3",
            "failed generation 3 failed: its monitor exited with status 127",
            "failed",
        ),
        ("kill -9 $$", "4", "failed generation 4 failed: its monitor killed by SIGKILL", "failed"),
    ] {
        dir.script("app", body);
        assert_eq!(ask_result(&pid_file, "reload"), answer);
        let status = ask(&pid_file, "status");
        let reload = record(&status, "reload");
        assert_eq!(value(reload, "generation"), Some(generation));
        assert_eq!(value(reload, "outcome"), Some(outcome));
        assert!(value(reload, "why").is_some_and(|reason| reason.starts_with("its\\x20monitor")));
    }
    dir.app(&example("witness"), &["notify=READY=1", "exit=3"]);
    let answer = "failed generation 5 was rolled back: its monitor exited with status 3";
    assert_eq!(ask_result(&pid_file, "reload"), answer);
    fs::remove_file(dir.join("app")).expect("it is there");
    let answer = ask_result(&pid_file, "reload");
    assert!(answer.starts_with("failed generation 6 failed: cannot execute "), "{answer}");
    assert!(answer.contains("no such file or directory (ENOENT)"), "{answer}");
    assert_eq!(ask_result(&pid_file, "ready"), "done ready");
    panzer.stop();
}

/// rule: control.reload
#[test]
fn reload_requested_during_a_reload_waits_for_the_next_one() {
    let (dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    dir.app(&example("witness"), &[&wait, "listen=127.0.0.1:0", "run=idle"]);
    let mut first = begin(&pid_file, "reload");
    assert_eq!(first.line().as_deref(), Some("progress generation 2 is started"));
    let (second, third) = (begin(&pid_file, "reload"), begin(&pid_file, "reload"));
    // For both the configuration is read by a child before the next one can start.
    // A status is logged before requests are taken.
    panzer.settle();
    panzer.settle();
    panzer.rest();
    open_gate(&gate);
    assert_eq!(first.rest().pop().as_deref(), Some("done generation 2 is current"));
    panzer.expect("started", 3);
    open_gate(&gate);
    for request in [second, third] {
        assert_eq!(request.rest().pop().as_deref(), Some("done generation 3 is current"));
    }
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count("started"), 3);
}

/// rule: control.shutdown
#[test]
fn shutdown_request_is_answered_when_connections_are_finished() {
    let (_dir, pid_file, mut panzer) = start(&["listen=127.0.0.1:0", "run=hold"], &["-n1"]);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    let mut request = begin(&pid_file, "shutdown");
    assert_eq!(request.line().as_deref(), Some("progress main is stopping"));
    panzer.expect_event("stopping", |event| event.name == "stopping");
    assert_eq!(ask_result(&pid_file, "ready"), "failed main is stopping");
    assert_eq!(ask_result(&pid_file, "reload"), "failed main is stopping");
    assert_eq!(ask_result(&pid_file, "scale 2"), "failed main is stopping");
    assert_eq!(value(record(&ask(&pid_file, "status"), "main"), "state"), Some("stopping"));
    held.finish().expect("it is finished");
    assert_eq!(request.rest(), ["done main exits with status 0"]);
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: control.shutdown
#[test]
fn exit_request_does_not_wait_and_reports_status_4_if_a_worker_was_killed() {
    let (_dir, pid_file, mut panzer) = start(&["listen=127.0.0.1:0", "run=deaf"], &["-n1"]);
    panzer.expect_current(1);
    let waits = begin(&pid_file, "shutdown");
    let answer = ask_result(&pid_file, "exit");
    assert_eq!(answer, "failed main exits with status 4");
    assert_eq!(waits.rest().pop(), Some(answer));
    assert_eq!(panzer.end(), End::Status(4));
}

/// rule: control.reload
#[test]
fn stop_answers_waiting_reload_requests() {
    let (dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    dir.app(&example("witness"), &["hang"]);
    let mut request = begin(&pid_file, "reload");
    assert_eq!(request.line().as_deref(), Some("progress generation 2 is started"));
    panzer.signal(Signal::Term);
    assert_eq!(request.rest(), ["failed main is stopping"]);
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: control.ready
#[test]
fn ready_request_fails_while_starting_and_stopping() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    let app = dir.app(&example("witness"), &[&wait, "listen=127.0.0.1:0", "run=idle"]);
    let (_dir, pid_file, mut panzer) = start_in(dir, &app, &["-n1", "--drain-delay=60"]);
    panzer.expect("started", 1);
    assert_eq!(ask_result(&pid_file, "ready"), "failed no generation is ready");
    assert_eq!(value(record(&ask(&pid_file, "status"), "main"), "state"), Some("starting"));
    open_gate(&gate);
    panzer.expect_current(1);
    assert_eq!(ask_result(&pid_file, "ready"), "done ready");
    panzer.signal(Signal::Term);
    panzer.expect_line("serving for another 60 s");
    assert_eq!(ask_result(&pid_file, "ready"), "failed main is stopping");
    assert_eq!(ask_result(&pid_file, "exit"), "done main exits with status 0");
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: control.scale
#[test]
fn scaled_count_survives_reload() {
    let (dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    assert_eq!(
        ask_result(&pid_file, "scale -1"),
        "refused the number of workers must be from 1 to 16383"
    );
    let request = begin(&pid_file, "scale +2");
    panzer.expect_line("scaling to 3 workers");
    let monitor = panzer.reload(2);
    assert_eq!(panzer.workers(monitor).len(), 3);
    assert_eq!(value(record(&ask(&pid_file, "status"), "main"), "count"), Some("3"));
    drop(request);
    dir.app(&example("witness"), &["notify=READY=1", "hang"]);
    panzer.reload(3);
    assert_eq!(
        ask_result(&pid_file, "scale 4"),
        "refused the current generation has no pool of workers"
    );
    panzer.signal(Signal::Quit);
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: control.protocol
#[test]
fn unknown_request_is_refused_with_a_reason() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    assert_eq!(ask(&pid_file, "dance"), ["refused unknown command"]);
    assert_eq!(
        ask(&pid_file, "scale x"),
        ["refused scale needs N, +N or -N, with N from 1 to 16383"]
    );
    for (line, answer) in [
        ("GET / HTTP/1.0\r\n", "refused unknown protocol, this main speaks panzer/1"),
        ("panzer/2 status\n", "refused unknown protocol, this main speaks panzer/1"),
        (&*"x".repeat(64), "refused request line too long"),
        (&*"x".repeat(5_000), "refused request line too long"),
    ] {
        let mut stream = connect(&pid_file).expect("main listens");
        std::io::Write::write_all(&mut stream, line.as_bytes()).expect("there is room");
        assert_eq!(read_rest(stream), [answer]);
    }
    // A line may come in pieces, and what follows the line is ignored.
    let mut stream = connect(&pid_file).expect("main listens");
    for piece in ["panz", "er/1 rea"] {
        std::io::Write::write_all(&mut stream, piece.as_bytes()).expect("there is room");
        panzer.settle();
    }
    std::io::Write::write_all(&mut stream, b"dy\nand more\n").expect("there is room");
    assert_eq!(read_rest(stream), ["done ready"]);
    panzer.stop();
}

/// rule: control.protocol
#[test]
fn request_is_carried_out_after_client_disconnects() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    drop(begin(&pid_file, "reload"));
    panzer.expect_current(2);
    panzer.stop();
}

/// rule: control.permission
#[test]
fn request_of_another_user_is_refused() {
    let (dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let ask_as_another_user = || {
        let code = "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(20)\n\
                    os.chdir(sys.argv[1])\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n\
                    s.connect('panzer.sock')\nprint(s.recv(99).decode())";
        let mut command = Command::new("python3");
        command.arg("-c").arg(code).arg(dir.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = {
            let _lock = spawn_lock();
            command.spawn().expect("python3 is there")
        };
        let output = child.wait_with_output().expect("it is our child");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let output = ask_as_another_user();
    assert!(output.contains("Permission denied"), "{output}");
    // If the socket is opened to all users, the peer's credentials still show its user.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(socket_of(&pid_file), open).expect("it is ours");
    let output = ask_as_another_user();
    assert_eq!(output.trim(), "refused only root and main's own user may use the control socket");
    panzer.expect_line("control: refused uid 65534");
    assert_eq!(ask_result(&pid_file, "ready"), "done ready");
    panzer.stop();
}

/// rule: control.socket
#[test]
fn control_socket_that_cannot_be_created_logs_one_warning() {
    let dir = TempDir::new();
    let long = dir.join(&["x".repeat(200).as_str(), ".pid"].concat());
    let in_the_way = dir.write("other.sock", "mine");
    for pid_file in [long, dir.join("other.pid")] {
        let option = format!("--pid={}", pid_file.display());
        let mut panzer = Setup::new(&example("witness"), &IDLE).options(&["-n1", &option]).start();
        panzer.expect_line("cannot create control socket '");
        panzer.expect_current(1);
        panzer.reload(2);
        let mut panzer = panzer.stop();
        assert_eq!(panzer.count_lines("WARN"), 1, "{:?}", panzer.lines());
    }
    assert_eq!(fs::read_to_string(in_the_way).expect("it is unchanged"), "mine");
}

/// The path may be longer than the 107 bytes of a socket address.
#[test]
fn control_socket_with_long_path_works() {
    let dir = TempDir::new();
    let deep = dir.join(&"x".repeat(200)).join("y".repeat(200));
    fs::create_dir_all(&deep).expect("the directory is ours");
    let pid_file = deep.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let mut panzer = Setup::new(&example("witness"), &IDLE).options(&["-n1", &option]).start();
    panzer.expect_current(1);
    let outcome = ctl(&pid_file, &["reload"]);
    assert_eq!(
        (outcome.status, outcome.stderr.contains("socket")),
        (0, false),
        "{}",
        outcome.stderr
    );
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("WARN"), 0, "{:?}", panzer.lines());
    assert_eq!(fs::read_dir(&deep).expect("it is there").count(), 0);
}

/// Removes both files as a cleaner of /tmp does, runs `trigger`, and sends a request.
fn serves_after_cleaner(trigger: impl Fn(&mut Panzer)) {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    fs::remove_file(&pid_file).expect("it is there");
    fs::remove_file(socket_of(&pid_file)).expect("it is there");
    trigger(&mut panzer);
    panzer.expect_line("pid file '");
    panzer.expect_line("control socket '");
    assert_eq!(ctl(&pid_file, &["ready"]).status, 0);
    fs::remove_file(socket_of(&pid_file)).expect("it is there");
    let other = UnixListener::bind(socket_of(&pid_file)).expect("the path is free");
    panzer.signal(Signal::Usr1);
    panzer
        .expect_line("is missing and cannot be created again: address already in use (EADDRINUSE)");
    panzer.settle();
    drop(other);
    panzer.stop();
    assert!(socket_of(&pid_file).exists() && !pid_file.exists());
}

#[test]
fn removed_pid_file_and_socket_are_recreated_by_reload() {
    serves_after_cleaner(|panzer| {
        panzer.reload(2);
    });
}

#[test]
fn removed_pid_file_and_socket_are_recreated_by_restart() {
    serves_after_cleaner(|panzer| {
        panzer.signal(Signal::Usr2);
        panzer.expect_line("now running panzer");
    });
}

/// It was not bound by a main that died, so another program may still need it.
#[test]
fn stale_socket_of_another_program_is_not_removed() {
    let dir = TempDir::new();
    let path = socket_of(&dir.join("panzer.pid"));
    drop(UnixListener::bind(&path).expect("the directory is ours"));
    let before = fs::symlink_metadata(&path).expect("it is there").ino();
    let app = dir.app(&example("witness"), &IDLE);
    let (_dir, _pid_file, mut panzer) = start_in(dir, &app, &["-n1"]);
    panzer.expect_line("panzer.sock': address already in use");
    panzer.expect_current(1);
    panzer.stop();
    assert_eq!(fs::symlink_metadata(&path).map(|data| data.ino()).ok(), Some(before));
}

/// rule: control.socket
#[test]
fn socket_with_a_listener_is_not_removed() {
    let dir = TempDir::new();
    let path = socket_of(&dir.join("panzer.pid"));
    let _listens = UnixListener::bind(&path).expect("the directory is ours");
    // With the mode of a main's socket, so only that it listens protects it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let app = dir.app(&example("witness"), &IDLE);
    let (_dir, pid_file, mut panzer) = start_in(dir, &app, &["-n1"]);
    panzer.expect_line("panzer.sock': address already in use");
    panzer.expect_current(1);
    connect(&pid_file).expect("it is still there");
    panzer.stop();
    connect(&pid_file).expect("it is still there");
}

/// rule: control.socket
#[test]
fn read_only_directory_logs_one_warning_and_serves() {
    let dir = TempDir::new();
    fs::create_dir(dir.join("tmp")).expect("the directory is ours");
    let inside =
        "mount --bind . . && mount -o remount,bind,ro . && cd \"$PWD\" && exec \"$0\" \"$@\"";
    let (unshare, words) = (Path::new("unshare"), ["-rm", "sh", "-c", inside]);
    let setup = Setup::new(&example("witness"), &IDLE).options(&["-n1"]).directory(dir.path());
    let mut panzer = setup.through(unshare, &words).start();
    panzer.expect_current(1);
    panzer.reload(2);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("WARN"), 1, "{:?}", panzer.lines());
    assert_eq!(panzer.count_lines("cannot create pid file 'tmp/panzer.pid'"), 1);
}

/// rule: control.status
#[test]
fn status_reports_whether_mains_executable_was_replaced() {
    let dir = TempDir::new();
    let bytes = fs::read(program()).expect("the program is there");
    let copy = dir.program("panzer", &bytes);
    let pid_file = dir.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let setup = Setup::new(&example("witness"), &IDLE).options(&["-n1", &option]);
    let mut panzer = setup.program(&copy).start();
    panzer.expect_current(1);
    let binary = || {
        let shown = ctl(&pid_file, &["status", "--json"]).stdout;
        let (_, rest) = shown.split_once("\"binary\":\"")?;
        rest.split('"').next().map(str::to_string)
    };
    assert_eq!(binary().as_deref(), Some("same"));
    dir.program("panzer", &bytes);
    assert_eq!(binary().as_deref(), Some("differs"));
    fs::remove_file(&copy).expect("it is there");
    assert_eq!(binary().as_deref(), Some("missing"));
    panzer.stop();
}

/// rule: control.limits
#[test]
fn oldest_client_without_request_is_dropped_first_when_full() {
    let (dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    dir.app(&example("witness"), &["hang"]);
    let mut waiting = vec![begin(&pid_file, "reload")];
    panzer.expect("started", 2);
    let mut silent: Vec<_> = (0..40).map(|_| connect(&pid_file).expect("main listens")).collect();
    assert_eq!(ask_result(&pid_file, "ready"), "done ready");
    for stream in silent.drain(..9) {
        assert_eq!(read_rest(stream), [""; 0]);
    }
    waiting.extend((0..32).map(|_| begin(&pid_file, "reload")));
    // Clients with a request are kept longer; among them the oldest is dropped first.
    for request in waiting.drain(..9) {
        let last = request.rest().pop();
        assert_eq!(
            last.as_deref(),
            Some("failed too many clients are waiting; the request goes on without a reply")
        );
    }
    assert_eq!(ask_result(&pid_file, "ready"), "done ready");
    panzer.signal(Signal::Term);
    for request in waiting {
        assert_eq!(request.rest().pop().as_deref(), Some("failed main is stopping"));
    }
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: control.limits
#[test]
fn early_request_is_answered_however_many_clients_follow() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    stop_process(panzer.pid());
    let requests: Vec<_> = (0..2).map(|_| begin(&pid_file, "ready")).collect();
    let silent: Vec<_> = (0..64).map(|_| connect(&pid_file).expect("main listens")).collect();
    continue_process(panzer.pid());
    for request in requests {
        assert_eq!(request.rest(), ["done ready"]);
    }
    drop(silent);
    panzer.stop();
}

/// rule: control.limits
#[test]
fn silent_client_is_not_dropped_before_100_ms() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let since = panzer::now();
    let oldest = connect(&pid_file).expect("main listens");
    let others: Vec<_> = (0..32).map(|_| connect(&pid_file).expect("main listens")).collect();
    assert_eq!(read_rest(oldest), [""; 0]);
    let lived = panzer::now().since(since);
    assert!((100..5_000).contains(&lived.0), "dropped after {lived}");
    drop(others);
    panzer.stop();
}

/// rule: control.limits
#[test]
fn client_without_complete_line_is_dropped_after_5_s() {
    let (_dir, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let since = panzer::now();
    let silent = connect(&pid_file).expect("main listens");
    let slow = connect(&pid_file).expect("main listens");
    // The read timeout sets the pace of the bytes, until main closes.
    let pace = std::time::Duration::from_millis(500);
    slow.set_read_timeout(Some(pace)).expect("it is a socket");
    let mut sent = 0;
    while std::io::Read::read(&mut &slow, &mut [0])
        .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    {
        sent += 1;
        assert!(sent < 60, "a slow client is not dropped");
        if std::io::Write::write(&mut &slow, b"x").is_err() {
            break;
        }
    }
    assert_eq!(read_rest(silent), [""; 0]);
    assert!(panzer::now().since(since).0 >= 5_000, "never early");
    panzer.stop();
}

/// A client that connects `rounds` times and misbehaves in one of four ways.
fn misbehave(pid_file: &Path, kind: usize, rounds: usize) {
    let chunk = vec![b'x'; 1 << 16];
    for _ in 0..rounds {
        let Ok(mut stream) = UnixStream::connect(socket_of(pid_file)) else { return };
        let mut say = |bytes: &[u8]| std::io::Write::write_all(&mut stream, bytes).is_ok();
        match kind % 4 {
            // Silent.
            0 => {}
            // A byte, and no more.
            1 => drop(say(b"p")),
            // Asks, and never reads.
            2 => drop(say(b"panzer/1 status\n")),
            // As much as main takes, without a newline.
            _ => drop((0..1_600).all(|_| say(&chunk))),
        }
        stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).expect("a socket");
        let _ = std::io::Read::read(&mut stream, &mut [0]);
    }
}

/// The most memory that a process has had, in kilobytes.
fn peak(pid: u32) -> u32 {
    let peak = procfs::status(pid, "VmHWM");
    peak.trim_end_matches(" kB").parse().expect("a number of kilobytes")
}

/// rule: control.limits
#[test]
fn hostile_control_clients_do_not_disturb_service() {
    let (_dir, pid_file, mut panzer) =
        start(&["listen=127.0.0.1:0", "run=hold"], &["-n2", "--delay=0"]);
    let address = panzer.expect_address();
    let mut monitor = panzer.expect_current(1);
    let main = panzer.pid();
    let before = peak(main);
    let attackers: Vec<_> = (0..200)
        .map(|kind| {
            let pid_file = pid_file.clone();
            std::thread::spawn(move || misbehave(&pid_file, kind, 12))
        })
        .collect();
    for generation in 2..12 {
        let worker = panzer.workers(monitor)[0];
        send(worker, Signal::Kill);
        // Until it is dead it may still accept a connection.
        panzer.eventually("it is dead", || !procfs::is_alive(worker));
        monitor = panzer.reload(generation);
        // Three generations and 32 clients need about 60.
        assert!(procfs::descriptors(main).len() < 96, "{:?}", procfs::descriptors(main));
        Held::hold(address).expect("it serves").0.finish().expect("it is served");
    }
    attackers.into_iter().for_each(|thread| thread.join().expect("it only fails to connect"));
    panzer.settle();
    assert_eq!(ask_result(&pid_file, "ready"), "done ready");
    // Most of what it has mapped is the C library's file.
    let more = peak(main) - before;
    assert!(more < 1_024, "main has had {more} kB more");
    panzer.stop();
}
