//! Main is restarted in place: what it keeps.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use panzer::sys::Signal;

use super::restarting::{OTHER, Picture, Restarting, other_version, status};
use crate::harness::client::{Held, ask, is_refused};
use crate::harness::ctl::{begin, ctl, finish};
use crate::harness::look;
use crate::harness::operator::{self, ask_briefly, record, value};
use crate::harness::panzer::{End, continue_process, send, stop_process};
use crate::harness::place::{self, Place, example, open_gate};
use crate::harness::setup::Setup;

const IDLE: [&str; 2] = ["listen=127.0.0.1:0", "run=idle"];
const HOLD: [&str; 2] = ["listen=127.0.0.1:0", "run=hold"];

/// RATIONALE 13.1
#[test]
fn a_restart_keeps_everything_that_main_has_and_everybody_below_it() {
    let options = ["-n2", "-v", "--bind=web=127.0.0.1:0", "--timeout=7", "--max-delay=9"];
    let mut main = Restarting::start(&["notify=STATUS=all is well", HOLD[0], HOLD[1]], &options);
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    let before = main.picture();
    for _ in 0..3 {
        main.restart();
        assert_eq!(main.picture(), before);
        let (held, answer) = Held::hold(address).expect("it serves");
        assert_eq!(answer.generation, 1);
        held.finish().expect("it serves");
    }
    // A reload and a restart of what came of it, too.
    main.panzer.reload(2);
    main.panzer.expect_line("nobody of generation 1 is left");
    let before = main.picture();
    main.restart();
    assert_eq!(main.picture(), before);
    main.panzer.stop();
    assert!(is_refused(address));
    assert!(!main.pid_file.exists() && !operator::socket_of(&main.pid_file).exists());
}

/// RATIONALE 13.1
#[test]
fn panzerctl_restart_ends_with_0_when_the_new_program_answers() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let own = env!("CARGO_PKG_VERSION");
    for (program, version) in [(other_version(), OTHER), (Vec::new(), OTHER)] {
        if !program.is_empty() {
            main.install(&program);
        }
        let outcome = main.ctl(&["restart"]);
        assert_eq!(outcome.status, 0, "{}", outcome.told);
        assert!(outcome.shown.contains(version), "{}", outcome.shown);
        assert_eq!(outcome.shown.lines().count(), 1, "{}", outcome.shown);
        assert_eq!(main.version(), version);
    }
    main.repair();
    assert_eq!(main.ctl(&["restart"]).status, 0);
    assert_eq!(main.version(), own);
    assert_eq!(main.panzer.count("restarted"), 3);
    main.panzer.stop();
}

/// RATIONALE 13.1
#[test]
fn the_rows_of_the_workers_and_what_they_have_handled_go_on() {
    let mut main = {
        let place = Place::new();
        let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n1"]);
        Restarting::begin(place, setup)
    };
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    let handled = |main: &Restarting, count: usize| {
        let mut shown = String::new();
        // The worker counts a connection when it is through with it.
        let counts = look::until(|| {
            shown = main.ctl(&["status"]).shown;
            shown.contains(&format!(" {count} handled"))
        });
        assert!(counts, "{count}: {shown}");
    };
    let worker = ask(address).expect("it serves").pid;
    handled(&main, 1);
    main.restart();
    handled(&main, 1);
    assert_eq!(ask(address).expect("it serves").pid, worker);
    handled(&main, 2);
    main.panzer.stop();
}

/// RATIONALE 13.1
#[test]
fn a_request_in_hand_and_a_queue_know_nothing_of_a_restart() {
    let mut main = Restarting::start(&HOLD, &["-n1"]);
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    let queued: Vec<_> = (0..20).map(|_| Held::queue(address).expect("there is room")).collect();
    main.restart();
    held.finish().expect("it is finished");
    for mut held in queued {
        held.greeting().expect("it is answered");
        held.finish().expect("it is served");
    }
    main.panzer.stop();
}

/// RATIONALE 13.2
#[test]
fn a_restart_has_the_times_of_main_and_of_every_generation_go_on() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let since = |main: &Restarting| {
        let answer = operator::ask(&main.pid_file, "status");
        let number = |kind, key| -> u64 {
            value(record(&answer, kind), key).and_then(|text| text.parse().ok()).expect(key)
        };
        (number("main", "now") - number("main", "up"), number("generation", "since"))
    };
    let before = since(&main);
    main.restart();
    assert_eq!(since(&main), before);
    main.panzer.stop();
}

/// RATIONALE 13.1
#[test]
fn whoever_waits_for_a_reload_or_for_workers_has_his_answer_from_the_new_program() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let gate = main.place.gate("gate");
    let wait = format!("wait={}", gate.display());
    main.place.app(&example("witness"), &[&wait, IDLE[0], IDLE[1]]);
    let first = main.ask(&["reload"]);
    main.panzer.expect("started", 2);
    // A second one waits for the generation after.
    let second = main.ask(&["reload"]);
    main.install(&other_version());
    main.restart();
    open_gate(&gate);
    main.panzer.expect_current(2);
    main.panzer.expect("started", 3);
    let outcome = finish(first);
    assert_eq!((outcome.status, &*outcome.shown), (0, "generation 2 is current\n"));
    main.restart();
    open_gate(&gate);
    main.panzer.expect_current(3);
    let outcome = finish(second);
    assert_eq!((outcome.status, &*outcome.shown), (0, "generation 3 is current\n"));
    // And one whose reload fails has the reason.
    main.place.app(&example("witness"), &[&wait, "exit=7"]);
    let third = main.ask(&["reload"]);
    main.panzer.expect("started", 4);
    main.restart();
    open_gate(&gate);
    let outcome = finish(third);
    assert_eq!(outcome.status, 1);
    assert!(outcome.told.contains("its monitor exited with status 7"), "{}", outcome.told);
    assert_eq!(main.version(), OTHER);
    main.panzer.stop();
}

/// RATIONALE 13.1
#[test]
fn whoever_waits_for_a_number_of_workers_has_his_answer_and_the_number_stays() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let monitor = main.panzer.expect_monitor(1);
    // It cannot fork anybody before it goes on.
    stop_process(monitor);
    let asked = main.ask(&["scale", "3"]);
    main.restart();
    continue_process(monitor);
    let outcome = finish(asked);
    assert_eq!((outcome.status, &*outcome.shown), (0, "3 workers\n"), "{}", outcome.told);
    assert_eq!(main.panzer.workers(monitor).len(), 3);
    main.restart();
    let answer = operator::ask(&main.pid_file, "status");
    assert_eq!(value(record(&answer, "main"), "count"), Some("3"));
    let monitor = main.panzer.reload(2);
    assert_eq!(main.panzer.workers(monitor).len(), 3);
    main.panzer.stop();
}

/// RATIONALE 13.1
#[test]
fn a_silent_client_and_one_in_the_middle_of_his_line_are_answered_or_let_go() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let silent = operator::connect(&main.pid_file).expect("main listens");
    let mut half = operator::connect(&main.pid_file).expect("main listens");
    std::io::Write::write_all(&mut half, b"panzer/1 rea").expect("there is room");
    main.panzer.settle();
    main.restart();
    // Who is let go of may hear that at once.
    let _ = std::io::Write::write_all(&mut half, b"dy\n");
    let answer = operator::rest_of(half);
    assert!(answer.is_empty() || answer == ["done ready"], "{answer:?}");
    drop(silent);
    main.panzer.settle();
    assert_eq!(ask_briefly(&main.pid_file, "ready"), "done ready");
    main.panzer.stop();
}

/// RATIONALE 13.1
#[test]
fn a_reload_that_was_asked_for_during_a_reload_is_not_lost() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let gate = main.place.gate("gate");
    let wait = format!("wait={}", gate.display());
    main.place.app(&example("witness"), &["say=the second", &wait, IDLE[0], IDLE[1]]);
    main.panzer.signal(Signal::Usr1);
    main.panzer.expect_line("the second");
    main.place.app(&example("witness"), &["say=the newest", IDLE[0], IDLE[1]]);
    main.panzer.signal(Signal::Usr1);
    main.panzer.settle();
    main.restart();
    main.restart();
    open_gate(&gate);
    main.panzer.expect_current(2);
    main.panzer.expect_line("the newest");
    main.panzer.expect_current(3);
    main.panzer.settle();
    let mut panzer = main.panzer.stop();
    assert_eq!((panzer.count("started"), panzer.count("current")), (3, 3));
}

/// RATIONALE 13.1
#[test]
fn what_became_of_the_last_reload_is_known_after_a_restart() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let reload =
        |main: &Restarting| record(&operator::ask(&main.pid_file, "status"), "reload").to_string();
    for (body, outcome) in [("exit 7", "failed"), ("kill -9 $$", "failed")] {
        main.place.script("app", body);
        assert_eq!(main.ctl(&["reload"]).status, 1);
        let before = reload(&main);
        assert_eq!(value(&before, "outcome"), Some(outcome), "{before}");
        main.restart();
        assert_eq!(reload(&main), before);
    }
    // The same where there was never a generation.
    main.place.app(&example("witness"), &IDLE);
    assert_eq!(main.ctl(&["reload"]).status, 0);
    let before = reload(&main);
    main.restart();
    assert_eq!(reload(&main), before);
    main.panzer.stop();
}

/// RATIONALE 13.1
#[test]
fn a_generation_that_starts_may_say_that_it_is_ready_in_every_way() {
    let place = Place::new();
    let gate = place.gate("gate");
    let says = ["kill -s VTALRM $PPID; exec sleep 1000".to_string(), {
        let witness = example("witness");
        format!("exec '{}' notify=READY=1 hang", witness.display())
    }];
    place.script("app", &says[0]);
    let setup = Setup::new(&place.join("app"), &[]).options(&["--timeout=0"]);
    let mut main = Restarting::begin(place, setup);
    main.panzer.expect_current(1);
    for (generation, way) in (2..).zip(says) {
        main.place.script("app", &format!("cat '{}'; {way}", gate.display()));
        main.panzer.signal(Signal::Usr1);
        main.panzer.expect("started", generation);
        main.restart();
        open_gate(&gate);
        main.panzer.expect("ready", generation);
        main.panzer.expect_current(generation);
    }
    main.panzer.stop();
}

/// What the monitor of a generation reports of all that it was given.
fn given(main: &mut Restarting, generation: u32) -> Vec<String> {
    let word = format!("g{generation}");
    main.place.app(&example("witness"), &[&format!("report={word}"), IDLE[0], IDLE[1]]);
    main.panzer.reload(generation);
    main.panzer.settle();
    let lines = main.panzer.lines().into_iter();
    let own: Vec<_> =
        lines.filter_map(|line| Some(line.strip_prefix(&word)?.to_string())).collect();
    let kind = |line: String| match line.split_once(['=', ':']) {
        // Of each generation's own.
        Some((name, _)) if name.ends_with("PANZER_GENERATION") => name.to_string(),
        Some((name, _)) if name.ends_with("NOTIFY_SOCKET") => name.to_string(),
        Some((name, _)) if name.ends_with("LISTEN_PID") => name.to_string(),
        Some(_) | None => line,
    };
    let mut own: Vec<_> = own.into_iter().map(kind).collect();
    own.sort();
    own
}

/// RATIONALE 13.3
#[test]
fn a_generation_is_given_the_same_whether_main_was_restarted_or_not() {
    let place = Place::new();
    let app = place.app(&example("witness"), &IDLE);
    let setup = Setup::new(&app, &[]).options(&["-n1", "--timeout=3"]).variable("COLOUR", "blue");
    // Whoever is started with nohup and in the background of a shell.
    let ignore = r#"trap "" HUP INT QUIT USR2; exec "$@""#;
    let setup = setup.through(Path::new("sh"), &["-c", ignore, "sh"]);
    let mut main = Restarting::begin(place, setup);
    main.panzer.expect_current(1);
    let before = given(&mut main, 2);
    // What is ignored of these four stands in the last three digits.
    let ignores = |line: &String| line.contains("SigIgn") && line.ends_with("807");
    assert!(before.iter().any(ignores), "{before:?}");
    main.restart();
    assert_eq!(given(&mut main, 3), before);
    main.restart();
    main.restart();
    assert_eq!(given(&mut main, 4), before);
    // What was ignored at the start stays so.
    main.panzer.signal(Signal::Hup);
    main.panzer.settle();
    assert_eq!(main.panzer.count("started"), 4);
    main.panzer.stop();
}

/// A main whose one worker is the word of a file.
fn configured() -> (Restarting, PathBuf) {
    let place = Place::new();
    let file = place.write("panzer.yml", "count: 1\n");
    let option = format!("--config={}", file.display());
    let app = place.app(&example("witness"), &IDLE);
    let mut main = Restarting::begin(place, Setup::new(&app, &[]).options(&[&option]));
    main.panzer.expect_current(1);
    (main, file)
}

/// RATIONALE 13.4
#[test]
fn the_configuration_is_read_again() {
    let place = Place::new();
    let file = place.write("panzer.yml", "count: 1\n");
    let option = format!("--config={}", file.display());
    let app = place.app(&example("witness"), &HOLD);
    let setup = Setup::new(&app, &[]).options(&["-v", &option]);
    let mut main = Restarting::begin(place, setup);
    let monitor = main.panzer.expect_current(1);
    fs::write(&file, "count: 2\nbind:\n  - web=127.0.0.1:0\n").expect("it is ours");
    main.restart();
    let answer = operator::ask(&main.pid_file, "status");
    assert_eq!(value(record(&answer, "main"), "count"), Some("2"));
    let address = |answer: &[String]| {
        let web = answer.iter().find(|line| line.contains("name=web"))?;
        value(web, "address").map(str::to_string)
    };
    let web = address(&answer).expect("it is open");
    assert_eq!(main.panzer.workers(monitor).len(), 1, "it counts for the next one");
    let monitor = main.panzer.reload(2);
    assert_eq!(main.panzer.workers(monitor).len(), 2);
    main.restart();
    assert_eq!(address(&operator::ask(&main.pid_file, "status")), Some(web));
    // What a generation was started with is its own; what is gone is closed.
    fs::write(&file, "count: 2\n").expect("it is ours");
    main.restart();
    main.panzer.reload(3);
    main.panzer.expect_line("nobody of generation 2 is left");
    assert_eq!(address(&operator::ask(&main.pid_file, "status")), None);
    main.panzer.stop();
}

/// RATIONALE 13.4
#[test]
fn a_number_of_workers_that_is_configured_anew_ends_the_one_asked_for() {
    let (mut main, file) = configured();
    assert_eq!(main.ctl(&["scale", "3"]).status, 0);
    main.restart();
    let count = |main: &Restarting| {
        value(record(&operator::ask(&main.pid_file, "status"), "main"), "count").map(str::to_string)
    };
    assert_eq!(count(&main).as_deref(), Some("3"));
    fs::write(&file, "count: 2\n").expect("it is ours");
    main.restart();
    assert_eq!(count(&main).as_deref(), Some("2"));
    main.panzer.stop();
}

/// RATIONALE 13.4
#[test]
fn a_bad_configuration_or_a_socket_that_cannot_be_opened_refuses_the_restart() {
    let (mut main, file) = configured();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("it is bound");
    for (text, why) in [
        ("count: many\n".to_string(), "panzer.yml:1:"),
        ("\tcount: 1\n".to_string(), "panzer.yml:1:"),
        (format!("count: 1\nbind:\n  - 127.0.0.1:0\n  - {}\n", taken.1), "EADDRINUSE"),
    ] {
        fs::write(&file, &text).expect("it is ours");
        main.expect_refusal(&text, why);
    }
    fs::remove_file(&file).expect("it is ours");
    main.expect_refusal("no file", "cannot read");
    fs::write(&file, "count: 1\n").expect("the place is ours");
    main.expect_recovery();
}

/// RATIONALE 13.5
#[test]
fn the_program_at_the_path_that_main_was_started_by_is_executed_links_and_all() {
    let place = Place::new();
    let whole = fs::read(place::panzer()).expect("it was built");
    for (release, bytes) in [("one", &whole), ("two", &other_version())] {
        fs::create_dir(place.join(release)).expect("it is a new place");
        place.program(&format!("{release}/panzer"), bytes);
    }
    let app = place.app(&example("witness"), &IDLE);
    let link = |place: &Place, release: &str| {
        symlink(release, place.join("next")).expect("it is not there");
        fs::rename(place.join("next"), place.join("current")).expect("it can be replaced");
    };
    link(&place, "one");
    let by_path = |name: &str| Path::new(name).to_path_buf();
    let absolute = place.join("current/panzer");
    let current = place.join("current");
    let path = format!("{}:/usr/bin:/bin", current.display());
    for (name, directory, search) in [
        (absolute.clone(), place.path(), None),
        (by_path("./panzer"), &*current, None),
        (by_path("current/panzer"), place.path(), None),
        (by_path("panzer"), place.path(), Some(path)),
    ] {
        let mut setup = Setup::new(&app, &[]).options(&["-n1"]).directory(directory).program(&name);
        if let Some(path) = search {
            setup = setup.variable("PATH", &path);
        }
        let pid_file = place.join("panzer.pid");
        let option = format!("--pid={}", pid_file.display());
        let mut panzer = setup.options(&[&option]).start();
        panzer.expect_current(1);
        let before = Picture::of(&mut panzer, &pid_file);
        let restart = |release: &str, version: &str| {
            link(&place, release);
            let outcome = ctl(&pid_file, &["restart"]);
            assert_eq!(outcome.status, 0, "{} {}", name.display(), outcome.told);
            let main = status(&pid_file).remove(0);
            assert_eq!(value(&main, "version"), Some(version), "{}", name.display());
            assert_eq!(value(&main, "binary"), Some("same"), "{}", name.display());
        };
        restart("two", OTHER);
        link(&place, "one");
        let main = status(&pid_file).remove(0);
        assert_eq!(value(&main, "binary"), Some("differs"), "{}", name.display());
        restart("one", env!("CARGO_PKG_VERSION"));
        assert_eq!(Picture::of(&mut panzer, &pid_file), before, "{}", name.display());
        panzer.stop();
    }
}

/// RATIONALE 13.5
#[test]
fn a_main_that_was_started_relative_to_a_directory_that_is_gone_says_so() {
    let place = Place::new();
    let whole = fs::read(place::panzer()).expect("it was built");
    fs::create_dir(place.join("release")).expect("it is a new place");
    place.program("release/panzer", &whole);
    let app = place.app(&example("witness"), &IDLE);
    let setup = Setup::new(&app, &[]).options(&["-n1"]).directory(&place.join("release"));
    let program = place.join("release/panzer");
    let mut main = Restarting::begin_as(place, setup, Path::new("./panzer"), program);
    main.panzer.expect_current(1);
    fs::rename(main.place.join("release"), main.place.join("away")).expect("it is ours");
    main.expect_refusal("it is away", "ENOENT");
    fs::rename(main.place.join("away"), main.place.join("release")).expect("it is ours");
    main.restart();
    main.panzer.stop();
}

/// A main that stops with the first instruction of the program that it becomes,
/// once it has been asked for a restart.
fn stopped_in_the_exec() -> (Restarting, u32) {
    let place = Place::new();
    let app = place.app(&example("witness"), &HOLD);
    let output = place.join("trace").display().to_string();
    let words = ["-D", "-qqq", "-o", &output, "-etrace=execveat", "-einject=execveat:signal=STOP"];
    let setup = Setup::new(&app, &[]).options(&["-n1"]).through(Path::new("strace"), &words);
    let mut main = Restarting::begin(place, setup);
    let monitor = main.panzer.expect_current(1);
    let pid = main.panzer.pid();
    main.panzer.signal(Signal::Usr2);
    main.panzer.eventually("it has executed itself", || {
        // What it has become has not given itself a name yet.
        look::name(pid) != "panzer:main" && matches!(look::state(pid), Some('T' | 't'))
    });
    (main, monitor)
}

/// RATIONALE 13.1
#[test]
fn another_main_is_refused_the_pid_file_before_during_and_after_a_restart() {
    let refused = |main: &Restarting| {
        let option = format!("--pid={}", main.pid_file.display());
        let mut other = Setup::new(&main.place.join("app"), &[]).options(&[&option]).start();
        assert_eq!(other.end(), End::Status(3), "{:?}", other.lines());
        assert_eq!(other.count_lines(&format!("process {} runs already", main.panzer.pid())), 1);
    };
    let (mut main, _) = stopped_in_the_exec();
    let pid = main.panzer.pid();
    refused(&main);
    continue_process(pid);
    main.expect_restarted();
    refused(&main);
    // It may be an operator's file too, which a new configuration has main read.
    assert_eq!(fs::read_to_string(&main.pid_file).expect("it is there"), format!("{pid}\n"));
    main.panzer.stop();
}

/// RATIONALE 13.6
#[test]
fn a_reload_that_is_asked_for_while_main_executes_itself_comes_about() {
    let (mut main, _) = stopped_in_the_exec();
    main.panzer.signal(Signal::Usr1);
    continue_process(main.panzer.pid());
    main.panzer.expect_current(2);
    assert_eq!(main.panzer.count("restarted"), 1);
    main.panzer.stop();
}

/// RATIONALE 13.6
#[test]
fn a_stop_that_is_asked_for_while_main_executes_itself_stops_it() {
    for signal in [Signal::Term, Signal::Int, Signal::Quit, Signal::Hup] {
        let (mut main, _) = stopped_in_the_exec();
        main.panzer.signal(signal);
        continue_process(main.panzer.pid());
        if signal == Signal::Hup {
            main.panzer.expect_current(2);
            main.panzer.signal(Signal::Term);
        }
        assert_eq!(main.panzer.end(), End::Status(0), "{signal:?}");
        assert_eq!(main.panzer.count("restarted"), 1);
    }
}

/// RATIONALE 13.6
#[test]
fn whoever_dies_while_main_executes_itself_is_missed_and_replaced() {
    let (mut main, monitor) = stopped_in_the_exec();
    send(main.panzer.workers(monitor)[0], Signal::Kill);
    continue_process(main.panzer.pid());
    main.panzer.expect("respawn", 1);
    main.panzer.stop();
    let (mut main, monitor) = stopped_in_the_exec();
    send(monitor, Signal::Kill);
    continue_process(main.panzer.pid());
    let is_its =
        |event: &crate::harness::event::Event| event.name == "died" && event.pid == monitor;
    main.panzer.expect_event("its end", is_its);
    main.panzer.expect_current(2);
    main.panzer.stop();
}

/// RATIONALE 13.1
#[test]
fn whoever_connects_while_main_executes_itself_is_answered() {
    let (mut main, _) = stopped_in_the_exec();
    let asked = ["ready", "status", "reload"].map(|word| begin(&main.pid_file, &[word]));
    let silent = operator::connect(&main.pid_file).expect("somebody listens");
    continue_process(main.panzer.pid());
    main.panzer.expect_current(2);
    for outcome in asked.map(finish) {
        assert_eq!(outcome.status, 0, "{}", outcome.told);
    }
    drop(silent);
    main.panzer.stop();
}

/// RATIONALE 13.7
#[test]
fn a_restart_that_is_asked_for_after_a_stop_is_refused() {
    let mut main = Restarting::start(&HOLD, &["-n1"]);
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    let stops = main.ask(&["shutdown"]);
    main.panzer.expect_event("stopping", |event| event.name == "stopping");
    let outcome = main.ctl(&["restart"]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.told.contains("main is stopping"), "{}", outcome.told);
    main.panzer.signal(Signal::Usr2);
    main.panzer.settle();
    held.finish().expect("it is finished");
    let outcome = finish(stops);
    assert_eq!((outcome.status, &*outcome.shown), (0, "main leaves with status 0\n"));
    assert_eq!(main.panzer.end(), End::Status(0));
    assert_eq!(main.panzer.count("restarted"), 0);
}

/// RATIONALE 13.7
#[test]
fn a_stop_that_is_asked_for_in_the_turn_of_the_exec_is_one() {
    for request in ["exit", "shutdown"] {
        let place = Place::new();
        let app = place.script("app", "exit 1");
        let trace = place.join("trace");
        let output = trace.display().to_string();
        // Main stops whenever it waits, and nobody but main is there.
        let words = ["-D", "-qqq", "-o", &output, "-etrace=poll", "-einject=poll:signal=STOP"];
        let setup = Setup::new(&app, &[]).options(&["--give-up=0", "--delay=60"]);
        let mut main = Restarting::begin(place, setup.through(Path::new("strace"), &words));
        let pid = main.panzer.pid();
        let is_stopped = || matches!(look::state(pid), Some('T' | 't'));
        // How long it waits at most, in milliseconds.
        let waits = || {
            let text = fs::read_to_string(&trace).unwrap_or_default();
            let last = text.lines().rfind(|line| line.starts_with("poll(["))?;
            let (_, rest) = last.split_once("], ")?;
            let (_, span) = rest.split_once(", ")?;
            span.split(')').next()?.parse::<u32>().ok()
        };
        let (mut asked, mut client) = (false, None);
        main.panzer.eventually("it is about to execute itself", || {
            match waits() {
                // For the next start.
                Some(5_000..) if !asked => {
                    send(pid, Signal::Usr2);
                    asked = true;
                }
                // It is the turn of the exec.
                Some(0) if asked && is_stopped() => {
                    client = Some(operator::begin(&main.pid_file, request));
                }
                Some(_) | None => {}
            }
            if is_stopped() {
                continue_process(pid);
            }
            client.is_some()
        });
        let goes_on = || {
            continue_process(pid);
            !look::is_alive(pid)
        };
        main.panzer.eventually("it ends", goes_on);
        assert_eq!(main.panzer.end(), End::Status(0), "{request}");
        let answer = client.expect("it was asked").rest();
        let last = answer.last().map(String::as_str);
        assert_eq!(last, Some("done main leaves with status 0"), "{request}");
        let events = main.panzer.events();
        assert_eq!(events.last().map(|event| &*event.name), Some("stopped"), "{events:?}");
        assert!(!main.pid_file.exists() && !operator::socket_of(&main.pid_file).exists());
    }
}

/// RATIONALE 13.7
#[test]
fn two_that_ask_at_once_are_both_answered() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let pid = main.panzer.pid();
    stop_process(pid);
    let asked: Vec<_> = (0..3).map(|_| operator::begin(&main.pid_file, "restart")).collect();
    main.panzer.signal(Signal::Usr2);
    continue_process(pid);
    let now = format!("done main is panzer {} now", env!("CARGO_PKG_VERSION"));
    for asked in asked {
        assert_eq!(asked.rest().pop().as_deref(), Some(&*now));
    }
    main.panzer.settle();
    // The signal's one, and one for all that asked meanwhile.
    assert_eq!(main.panzer.count("restarted"), 2);
    main.panzer.stop();
}

/// RATIONALE 13.7
#[test]
fn signals_that_ask_for_a_restart_in_one_turn_are_one() {
    let mut main = Restarting::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let pid = main.panzer.pid();
    stop_process(pid);
    main.panzer.signal(Signal::Usr2);
    main.panzer.signal(Signal::Usr2);
    continue_process(pid);
    main.expect_restarted();
    main.panzer.settle();
    assert_eq!(main.panzer.count("restarted"), 1);
    main.panzer.stop();
}

/// RATIONALE 13.1
#[test]
fn whoever_is_left_by_a_dead_monitor_is_still_mains() {
    let mut main = Restarting::start(&HOLD, &["-n1", "-v"]);
    let address = main.panzer.expect_address();
    let monitor = main.panzer.expect_current(1);
    let (held, answer) = Held::hold(address).expect("it serves");
    send(monitor, Signal::Kill);
    main.panzer.expect_current(2);
    let pid = main.panzer.pid();
    main.panzer.eventually("it is main's", || look::children(pid).contains(&answer.pid));
    let before = main.picture();
    main.restart();
    assert_eq!(main.picture(), before);
    held.finish().expect("it is finished");
    main.panzer.expect_line("nobody of generation 1 is left");
    main.panzer.stop();
}

/// RATIONALE 13.1
#[test]
fn a_start_whose_program_is_not_executed_yet_goes_on() {
    let place = Place::new();
    let app = place.app(&example("witness"), &IDLE);
    fs::create_dir(place.join("here")).expect("it is a new place");
    let (output, here) = (place.join("trace"), place.join("here").display().to_string());
    // It stops there, as on a file server that is away.
    let output = output.display().to_string();
    let words = ["-D", "-f", "-qqq", "-o", &output, "-P", &here, "-etrace=chdir"];
    let stop = ["-einject=chdir:signal=STOP:when=1"];
    let chdir = format!("--chdir={here}");
    let setup = Setup::new(&app, &[]).options(&["-n1", &chdir]);
    let setup = setup.through(Path::new("strace"), &[&words[..], &stop].concat());
    let mut main = Restarting::begin(place, setup);
    let child = main.panzer.expect("started", 1).pid;
    main.restart();
    main.panzer.eventually("it goes on", || {
        continue_process(child);
        look::name(child) != "panzer:main"
    });
    main.panzer.expect_current(1);
    main.panzer.stop();
}
