//! What is asked over the control socket, and what comes of it.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use panzer::Source;
use panzer::sys::{Signal, message, would_block};

use crate::harness::client::Held;
use crate::harness::look;
use crate::harness::operator::{
    ask, ask_briefly, begin, connect, record, rest_of, socket_of, value,
};
use crate::harness::panzer::{End, Panzer, continue_process, send, stop_process};
use crate::harness::place::{Place, example, open_gate, panzer as program};
use crate::harness::setup::Setup;
use crate::harness::{PATIENCE, alone};

/// A place, the pid file in it, and a panzer that has it.
fn start(words: &[&str], options: &[&str]) -> (Place, PathBuf, Panzer) {
    let place = Place::new();
    let app = place.app(&example("witness"), words);
    start_in(place, &app, options)
}

fn start_in(place: Place, app: &Path, options: &[&str]) -> (Place, PathBuf, Panzer) {
    let pid_file = place.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let panzer = Setup::new(app, &[]).options(&[&option]).options(options).start();
    (place, pid_file, panzer)
}

const IDLE: [&str; 2] = ["listen=127.0.0.1:0", "run=idle"];

/// RATIONALE 11.8
#[test]
fn status_shows_main_its_sockets_and_its_generations() {
    let (_place, pid_file, mut panzer) =
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
    assert_eq!((value(main, "count"), value(main, "binary")), (Some("1"), Some("same")));
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
    assert_eq!(answer.last().map(String::as_str), Some("done 1 generations"));
    assert!(!answer.iter().any(|line| line.starts_with("reload ")), "none was asked for");
    drop(held);
    drop(queued);
    panzer.stop();
}

/// RATIONALE 11.8
#[test]
fn a_copy_of_the_board_comes_along_that_nobody_can_change() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n3"]);
    let monitor = panzer.expect_current(1);
    // A monitor that is stopped holds nothing up.
    stop_process(monitor);
    let asked = begin(&pid_file, "status").into_stream();
    let (mut bytes, mut boards) = (Vec::new(), Vec::new());
    loop {
        let deadline = panzer::now().after(PATIENCE.into());
        let fd = panzer::Borrowed::from(asked.as_fd());
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
    assert!(text.contains(" board=yes\ndone 1 generations\n"), "{text}");
    assert_eq!(boards.len(), 1);
    let board = fs::File::from(std::os::fd::OwnedFd::from(boards.remove(0)));
    let refused = board.write_at(b"x", 0).expect_err("it is sealed");
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    // The header, a row for each slot, and the one of an heir.
    assert_eq!(board.metadata().expect("it is a file").len(), 5 * 64);
    let mut words = vec![0; 5 * 64];
    board.read_exact_at(&mut words, 0).expect("it can be read");
    let word = |index: usize| {
        u64::from_ne_bytes(words[8 * index..8 * index + 8].try_into().expect("eight bytes"))
    };
    assert_eq!((word(0), word(1)), (0x504E_5A52_0000_0001, 3));
    let mut pids: Vec<_> = (1..=3).map(|slot| (word(8 * slot) & 0xffff_ffff) as u32).collect();
    pids.sort_unstable();
    assert_eq!(pids, panzer.workers(monitor));
    continue_process(monitor);
    panzer.stop();
}

/// RATIONALE 11.9, 11.13
#[test]
fn a_reload_is_answered_when_the_new_generation_serves() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1", "--probation=0.01"]);
    panzer.expect_current(1);
    let answer = ask(&pid_file, "reload");
    let expected = [
        "progress generation 2 is started",
        "progress generation 2 is ready",
        "progress generation 2 is on probation",
        "done generation 2 is current",
    ];
    assert_eq!(answer, expected);
    panzer.expect_line(&format!("process {} of user ", std::process::id()));
    assert_eq!(panzer.count_lines(" asks: reload"), 1);
    let status = ask(&pid_file, "status");
    let reload = record(&status, "reload");
    assert_eq!(
        (value(reload, "generation"), value(reload, "outcome")),
        (Some("2"), Some("current"))
    );
    panzer.stop();
}

/// RATIONALE 11.9
#[test]
fn a_reload_that_fails_is_answered_with_the_reason() {
    let (place, pid_file, mut panzer) = start(&IDLE, &["-n1", "--probation=60"]);
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
        place.script("app", body);
        assert_eq!(ask_briefly(&pid_file, "reload"), answer);
        let status = ask(&pid_file, "status");
        let reload = record(&status, "reload");
        assert_eq!(value(reload, "generation"), Some(generation));
        assert_eq!(value(reload, "outcome"), Some(outcome));
        assert!(value(reload, "why").is_some_and(|why| why.starts_with("its\\x20monitor")));
    }
    place.app(&example("witness"), &["notify=READY=1", "exit=3"]);
    let answer = "failed generation 5 is rolled back: its monitor exited with status 3";
    assert_eq!(ask_briefly(&pid_file, "reload"), answer);
    fs::remove_file(place.join("app")).expect("it is there");
    let answer = ask_briefly(&pid_file, "reload");
    assert!(answer.starts_with("failed generation 6 failed: cannot execute "), "{answer}");
    assert!(answer.ends_with("no such file or directory (ENOENT)"), "{answer}");
    assert_eq!(ask_briefly(&pid_file, "ready"), "done ready");
    panzer.stop();
}

/// RATIONALE 11.9
#[test]
fn who_asks_during_a_reload_waits_for_the_one_after() {
    let (place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let gate = place.gate("gate");
    let wait = format!("wait={}", gate.display());
    place.app(&example("witness"), &[&wait, "listen=127.0.0.1:0", "run=idle"]);
    let mut first = begin(&pid_file, "reload");
    assert_eq!(first.line().as_deref(), Some("progress generation 2 is started"));
    let (second, third) = (begin(&pid_file, "reload"), begin(&pid_file, "reload"));
    panzer.settle();
    open_gate(&gate);
    assert_eq!(first.rest().pop().as_deref(), Some("done generation 2 is current"));
    panzer.expect("started", 3);
    open_gate(&gate);
    for asked in [second, third] {
        assert_eq!(asked.rest().pop().as_deref(), Some("done generation 3 is current"));
    }
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count("started"), 3);
}

/// RATIONALE 11.10
#[test]
fn a_shutdown_is_answered_when_what_is_in_hand_is_finished_and_main_leaves() {
    let (_place, pid_file, mut panzer) = start(&["listen=127.0.0.1:0", "run=hold"], &["-n1"]);
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    let mut asked = begin(&pid_file, "shutdown");
    assert_eq!(asked.line().as_deref(), Some("progress main is stopping"));
    panzer.expect_event("stopping", |event| event.name == "stopping");
    assert_eq!(ask_briefly(&pid_file, "ready"), "failed main is stopping");
    assert_eq!(ask_briefly(&pid_file, "reload"), "failed main is stopping");
    assert_eq!(ask_briefly(&pid_file, "scale 2"), "failed main is stopping");
    assert_eq!(value(record(&ask(&pid_file, "status"), "main"), "state"), Some("stopping"));
    held.finish().expect("it is finished");
    assert_eq!(asked.rest(), ["done main leaves with status 0"]);
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 11.10
#[test]
fn exit_does_not_wait_and_says_who_had_to_be_killed() {
    let (_place, pid_file, mut panzer) = start(&["listen=127.0.0.1:0", "run=deaf"], &["-n1"]);
    panzer.expect_current(1);
    let waits = begin(&pid_file, "shutdown");
    let answer = ask_briefly(&pid_file, "exit");
    assert_eq!(answer, "failed main leaves with status 1");
    assert_eq!(waits.rest().pop(), Some(answer));
    assert_eq!(panzer.end(), End::Status(1));
}

/// RATIONALE 11.9
#[test]
fn a_stop_answers_those_who_wait_for_a_reload() {
    let (place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    place.app(&example("witness"), &["hang"]);
    let mut asked = begin(&pid_file, "reload");
    assert_eq!(asked.line().as_deref(), Some("progress generation 2 is started"));
    panzer.signal(Signal::Term);
    assert_eq!(asked.rest(), ["failed main is stopping"]);
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 11.11
#[test]
fn ready_says_whether_somebody_serves_and_will_go_on() {
    let place = Place::new();
    let gate = place.gate("gate");
    let wait = format!("wait={}", gate.display());
    let app = place.app(&example("witness"), &[&wait, "listen=127.0.0.1:0", "run=idle"]);
    let (_place, pid_file, mut panzer) = start_in(place, &app, &["-n1", "--drain-delay=60"]);
    panzer.expect("started", 1);
    assert_eq!(ask_briefly(&pid_file, "ready"), "failed no generation is ready");
    assert_eq!(value(record(&ask(&pid_file, "status"), "main"), "state"), Some("starting"));
    open_gate(&gate);
    panzer.expect_current(1);
    assert_eq!(ask_briefly(&pid_file, "ready"), "done ready");
    panzer.signal(Signal::Term);
    panzer.expect_line("serving for 60 s more");
    assert_eq!(ask_briefly(&pid_file, "ready"), "failed main is stopping");
    assert_eq!(ask_briefly(&pid_file, "exit"), "done main leaves with status 0");
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 11.12
#[test]
fn another_number_of_workers_holds_over_a_reload() {
    let (place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    assert_eq!(ask_briefly(&pid_file, "scale -1"), "refused there may be 1 to 16383 workers");
    let asked = begin(&pid_file, "scale +2");
    panzer.expect_line("scaled to 3 workers");
    let monitor = panzer.reload(2);
    assert_eq!(panzer.workers(monitor).len(), 3);
    assert_eq!(value(record(&ask(&pid_file, "status"), "main"), "count"), Some("3"));
    drop(asked);
    place.app(&example("witness"), &["notify=READY=1", "hang"]);
    panzer.reload(3);
    assert_eq!(ask_briefly(&pid_file, "scale 4"), "refused no workers of panzer's are running");
    panzer.signal(Signal::Quit);
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 6.7
#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    assert_eq!(ask(&pid_file, "dance"), ["refused there is no such command"]);
    assert_eq!(ask(&pid_file, "scale x"), ["refused scale takes N, +N or -N, of 1 to 16383"]);
    for (line, answer) in [
        ("GET / HTTP/1.0\r\n", "refused this main speaks panzer/1"),
        ("panzer/2 status\n", "refused this main speaks panzer/1"),
        (&*"x".repeat(64), "refused the line is too long"),
        (&*"x".repeat(5_000), "refused the line is too long"),
    ] {
        let mut stream = connect(&pid_file).expect("main listens");
        std::io::Write::write_all(&mut stream, line.as_bytes()).expect("there is room");
        assert_eq!(rest_of(stream), [answer]);
    }
    // A line may come in pieces, and more than the line is nobody's business.
    let mut stream = connect(&pid_file).expect("main listens");
    for piece in ["panz", "er/1 rea"] {
        std::io::Write::write_all(&mut stream, piece.as_bytes()).expect("there is room");
        panzer.settle();
    }
    std::io::Write::write_all(&mut stream, b"dy\nand more\n").expect("there is room");
    assert_eq!(rest_of(stream), ["done ready"]);
    panzer.stop();
}

/// RATIONALE 6.7
#[test]
fn who_has_asked_and_gone_is_obeyed() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    drop(begin(&pid_file, "reload"));
    panzer.expect_current(2);
    panzer.stop();
}

/// RATIONALE 11.7
#[test]
fn another_user_is_refused() {
    let (place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let ask_as_nobody = || {
        let code = "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(20)\n\
                    os.chdir(sys.argv[1])\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n\
                    s.connect('panzer.sock')\nprint(s.recv(99).decode())";
        let mut command = Command::new("python3");
        command.arg("-c").arg(code).arg(place.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = {
            let _alone = alone();
            command.spawn().expect("python3 is there")
        };
        let output = child.wait_with_output().expect("it is our child");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let said = ask_as_nobody();
    assert!(said.contains("Permission denied"), "{said}");
    // Should somebody open it to all, the kernel still says who it is.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(socket_of(&pid_file), open).expect("it is ours");
    let said = ask_as_nobody();
    assert_eq!(said.trim(), "refused another user may not ask");
    panzer.expect_line("user 65534 may not ask over the control socket");
    assert_eq!(ask_briefly(&pid_file, "ready"), "done ready");
    panzer.stop();
}

/// RATIONALE 11.5
#[test]
fn a_control_socket_that_cannot_be_made_is_one_warning() {
    let place = Place::new();
    let deep = place.join(&"x".repeat(100));
    fs::create_dir(&deep).expect("the place is ours");
    let in_the_way = place.write("other.sock", "mine");
    for pid_file in [deep.join("panzer.pid"), place.join("other.pid")] {
        let option = format!("--pid={}", pid_file.display());
        let mut panzer = Setup::new(&example("witness"), &IDLE).options(&["-n1", &option]).start();
        panzer.expect_line("cannot make the control socket '");
        panzer.expect_current(1);
        panzer.reload(2);
        let mut panzer = panzer.stop();
        assert_eq!(panzer.count_lines("WARN"), 1, "{:?}", panzer.lines());
    }
    assert_eq!(fs::read_to_string(in_the_way).expect("it is left alone"), "mine");
}

/// RATIONALE 11.5
#[test]
fn a_socket_at_which_somebody_listens_is_left_to_him() {
    let place = Place::new();
    let path = socket_of(&place.join("panzer.pid"));
    let _listens = UnixListener::bind(path).expect("the place is ours");
    let app = place.app(&example("witness"), &IDLE);
    let (_place, pid_file, mut panzer) = start_in(place, &app, &["-n1"]);
    panzer.expect_line("panzer.sock': address already in use");
    panzer.expect_current(1);
    connect(&pid_file).expect("it is still there");
    panzer.stop();
    connect(&pid_file).expect("it is still there");
}

/// RATIONALE 11.5
#[test]
fn in_a_place_that_is_read_only_it_serves_with_one_warning() {
    let place = Place::new();
    fs::create_dir(place.join("tmp")).expect("the place is ours");
    let inside =
        "mount --bind . . && mount -o remount,bind,ro . && cd \"$PWD\" && exec \"$0\" \"$@\"";
    let (unshare, words) = (Path::new("unshare"), ["-rm", "sh", "-c", inside]);
    let setup = Setup::new(&example("witness"), &IDLE).options(&["-n1"]).directory(place.path());
    let mut panzer = setup.through(unshare, &words).start();
    panzer.expect_current(1);
    panzer.reload(2);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("WARN"), 1, "{:?}", panzer.lines());
    assert_eq!(panzer.count_lines("cannot make the pid file 'tmp/panzer.pid'"), 1);
}

/// RATIONALE 11.8
#[test]
fn status_says_whether_another_program_stands_where_main_was_started_from() {
    let place = Place::new();
    let bytes = fs::read(program()).expect("the program is there");
    let copy = place.program("panzer", &bytes);
    let pid_file = place.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let setup = Setup::new(&example("witness"), &IDLE).options(&["-n1", &option]);
    let mut panzer = setup.program(&copy).start();
    panzer.expect_current(1);
    let binary = || {
        let status = ask(&pid_file, "status");
        value(record(&status, "main"), "binary").map(str::to_string)
    };
    assert_eq!(binary().as_deref(), Some("same"));
    place.program("panzer", &bytes);
    assert_eq!(binary().as_deref(), Some("differs"));
    fs::remove_file(&copy).expect("it is there");
    assert_eq!(binary().as_deref(), Some("missing"));
    panzer.stop();
}

/// RATIONALE 11.6
#[test]
fn the_oldest_who_has_not_asked_makes_room_and_who_has_asked_is_kept() {
    let (place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    place.app(&example("witness"), &["hang"]);
    let mut waiting = vec![begin(&pid_file, "reload")];
    panzer.expect("started", 2);
    let mut silent: Vec<_> = (0..40).map(|_| connect(&pid_file).expect("main listens")).collect();
    assert_eq!(ask_briefly(&pid_file, "ready"), "done ready");
    for stream in silent.drain(..9) {
        assert_eq!(rest_of(stream), [""; 0]);
    }
    waiting.extend((0..32).map(|_| begin(&pid_file, "reload")));
    // Whoever has asked is kept; but of those who wait the first make room.
    for asked in waiting.drain(..9) {
        let last = asked.rest().pop();
        assert_eq!(last.as_deref(), Some("failed too many wait; it goes on all the same"));
    }
    assert_eq!(ask_briefly(&pid_file, "ready"), "done ready");
    panzer.signal(Signal::Term);
    for asked in waiting {
        assert_eq!(asked.rest().pop().as_deref(), Some("failed main is stopping"));
    }
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 11.6
#[test]
fn who_asks_at_once_is_heard_however_many_come_behind_him() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    stop_process(panzer.pid());
    let asked: Vec<_> = (0..2).map(|_| begin(&pid_file, "ready")).collect();
    let silent: Vec<_> = (0..64).map(|_| connect(&pid_file).expect("main listens")).collect();
    continue_process(panzer.pid());
    for asked in asked {
        assert_eq!(asked.rest(), ["done ready"]);
    }
    drop(silent);
    panzer.stop();
}

/// RATIONALE 11.6
#[test]
fn nobody_makes_room_before_he_could_have_asked() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let since = panzer::now();
    let oldest = connect(&pid_file).expect("main listens");
    let others: Vec<_> = (0..32).map(|_| connect(&pid_file).expect("main listens")).collect();
    assert_eq!(rest_of(oldest), [""; 0]);
    let lived = panzer::now().since(since);
    assert!((100..5_000).contains(&lived.0), "he made room after {lived}");
    drop(others);
    panzer.stop();
}

/// RATIONALE 11.6
#[test]
fn who_does_not_send_a_whole_line_is_dropped() {
    let (_place, pid_file, mut panzer) = start(&IDLE, &["-n1"]);
    panzer.expect_current(1);
    let since = panzer::now();
    let silent = connect(&pid_file).expect("main listens");
    let slow = connect(&pid_file).expect("main listens");
    // Reading waits for the next byte's turn, until main has had enough.
    let pace = std::time::Duration::from_millis(500);
    slow.set_read_timeout(Some(pace)).expect("it is a socket");
    let mut sent = 0;
    while std::io::Read::read(&mut &slow, &mut [0])
        .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    {
        sent += 1;
        assert!(sent < 60, "nobody drops a slow client");
        if std::io::Write::write(&mut &slow, b"x").is_err() {
            break;
        }
    }
    assert_eq!(rest_of(silent), [""; 0]);
    assert!(panzer::now().since(since).0 >= 5_000, "never early");
    panzer.stop();
}

/// One who connects again and again, and behaves like this.
fn torment(pid_file: &Path, kind: usize, rounds: usize) {
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
    let peak = look::status(pid, "VmHWM");
    peak.trim_end_matches(" kB").parse().expect("a number of kilobytes")
}

/// RATIONALE 11.6
#[test]
fn two_hundred_hostile_clients_change_nothing_for_anybody_else() {
    let (_place, pid_file, mut panzer) =
        start(&["listen=127.0.0.1:0", "run=hold"], &["-n2", "--delay=0"]);
    let address = panzer.expect_address();
    let mut monitor = panzer.expect_current(1);
    let main = panzer.pid();
    let before = peak(main);
    let tormentors: Vec<_> = (0..200)
        .map(|kind| {
            let pid_file = pid_file.clone();
            std::thread::spawn(move || torment(&pid_file, kind, 12))
        })
        .collect();
    for generation in 2..12 {
        let worker = panzer.workers(monitor)[0];
        send(worker, Signal::Kill);
        monitor = panzer.reload(generation);
        // Three generations and 32 clients need about 60.
        assert!(look::descriptors(main).len() < 96, "{:?}", look::descriptors(main));
        Held::hold(address).expect("it serves").0.finish().expect("it is served");
    }
    tormentors.into_iter().for_each(|thread| thread.join().expect("it only fails to connect"));
    panzer.settle();
    assert_eq!(ask_briefly(&pid_file, "ready"), "done ready");
    // Of what it has mapped the most is the C library's file.
    let more = peak(main) - before;
    assert!(more < 1_024, "main has had {more} kB more");
    panzer.stop();
}
