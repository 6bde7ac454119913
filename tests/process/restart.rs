//! Main is restarted in place: what survives.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use panzer::sys::Signal;

use super::restartable::{OTHER, RestartableMain, Snapshot, other_version, status};
use crate::harness::client::{Held, ask, is_refused};
use crate::harness::control_client::{self, ask_result, record, value};
use crate::harness::ctl::{begin, ctl, finish};
use crate::harness::files::{self, TempDir, example, open_gate};
use crate::harness::panzer::{End, continue_process, send, stop_process};
use crate::harness::procfs;
use crate::harness::setup::Setup;

const IDLE: [&str; 2] = ["listen=127.0.0.1:0", "run=idle"];
const HOLD: [&str; 2] = ["listen=127.0.0.1:0", "run=hold"];

/// rule: restart.kept
#[test]
fn restart_keeps_descriptors_processes_and_status_of_main() {
    let options = ["-n2", "-v", "--bind=web=127.0.0.1:0", "--timeout=7", "--max-delay=9"];
    let mut main =
        RestartableMain::start(&["notify=STATUS=all is well", HOLD[0], HOLD[1]], &options);
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    let before = main.snapshot();
    for _ in 0..3 {
        main.restart();
        assert_eq!(main.snapshot(), before);
        let (held, answer) = Held::hold(address).expect("it serves");
        assert_eq!(answer.generation, 1);
        held.finish().expect("it serves");
    }
    // The same after a reload.
    main.panzer.reload(2);
    main.panzer.expect_line("generation 1: all processes exited");
    let before = main.snapshot();
    main.restart();
    assert_eq!(main.snapshot(), before);
    main.panzer.stop();
    assert!(is_refused(address));
    assert!(!main.pid_file.exists() && !control_client::socket_of(&main.pid_file).exists());
}

/// rule: restart.kept
#[test]
fn panzerctl_restart_exits_with_0_when_the_new_program_runs() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let own = env!("CARGO_PKG_VERSION");
    for (program, version) in [(other_version(), OTHER), (Vec::new(), OTHER)] {
        if !program.is_empty() {
            main.install(&program);
        }
        let outcome = main.ctl(&["restart"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        assert!(outcome.stdout.contains(version), "{}", outcome.stdout);
        assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.stdout);
        assert_eq!(main.version(), version);
        main.expect_restarted();
    }
    main.repair();
    assert_eq!(main.ctl(&["restart"]).status, 0);
    assert_eq!(main.version(), own);
    main.expect_restarted();
    assert_eq!(main.panzer.count("restarted"), 3);
    main.panzer.stop();
}

/// rule: restart.kept
#[test]
fn scoreboard_rows_and_request_counts_survive_a_restart() {
    let mut main = {
        let dir = TempDir::new();
        let setup = Setup::new(&example("http"), &["127.0.0.1:0"]).options(&["-n1"]);
        RestartableMain::begin(dir, setup)
    };
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    let handled = |main: &RestartableMain, count: usize| {
        let mut shown = String::new();
        // The worker counts a connection when it has closed it.
        let counts = procfs::until(|| {
            shown = main.ctl(&["status"]).stdout;
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

/// rule: restart.kept
#[test]
fn request_in_hand_and_queued_connections_survive_a_restart() {
    let mut main = RestartableMain::start(&HOLD, &["-n1"]);
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

/// rule: restart.deadlines
#[test]
fn uptimes_of_main_and_generations_survive_a_restart() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let since = |main: &RestartableMain| {
        let answer = control_client::ask(&main.pid_file, "status");
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

/// rule: restart.kept
#[test]
fn clients_waiting_for_a_reload_are_answered_by_the_new_program() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let gate = main.dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    main.dir.app(&example("witness"), &[&wait, IDLE[0], IDLE[1]]);
    let first = main.ask(&["reload"]);
    main.panzer.expect("started", 2);
    // A second client waits for the generation after that one.
    let second = main.ask(&["reload"]);
    main.install(&other_version());
    main.restart();
    open_gate(&gate);
    main.panzer.expect_current(2);
    main.panzer.expect("started", 3);
    let outcome = finish(first);
    assert_eq!((outcome.status, &*outcome.stdout), (0, "generation 2 is current\n"));
    main.restart();
    open_gate(&gate);
    main.panzer.expect_current(3);
    let outcome = finish(second);
    assert_eq!((outcome.status, &*outcome.stdout), (0, "generation 3 is current\n"));
    // A client whose reload fails gets the reason.
    main.dir.app(&example("witness"), &[&wait, "exit=7"]);
    let third = main.ask(&["reload"]);
    main.panzer.expect("started", 4);
    main.restart();
    open_gate(&gate);
    let outcome = finish(third);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("its monitor exited with status 7"), "{}", outcome.stderr);
    assert_eq!(main.version(), OTHER);
    main.panzer.stop();
}

/// rule: restart.kept
#[test]
fn client_waiting_for_scale_is_answered_and_the_count_survives_a_restart() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let monitor = main.panzer.expect_monitor(1);
    // The stopped monitor cannot fork before it continues.
    stop_process(monitor);
    let asked = main.ask(&["scale", "3"]);
    main.restart();
    continue_process(monitor);
    let outcome = finish(asked);
    assert_eq!((outcome.status, &*outcome.stdout), (0, "3 workers\n"), "{}", outcome.stderr);
    assert_eq!(main.panzer.workers(monitor).len(), 3);
    main.restart();
    let answer = control_client::ask(&main.pid_file, "status");
    assert_eq!(value(record(&answer, "main"), "count"), Some("3"));
    let monitor = main.panzer.reload(2);
    assert_eq!(main.panzer.workers(monitor).len(), 3);
    main.panzer.stop();
}

/// rule: restart.kept
#[test]
fn silent_and_half_written_clients_do_not_block_a_restart() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let silent = control_client::connect(&main.pid_file).expect("main listens");
    let mut half = control_client::connect(&main.pid_file).expect("main listens");
    std::io::Write::write_all(&mut half, b"panzer/1 rea").expect("there is room");
    main.panzer.settle();
    main.restart();
    // A client that is disconnected may notice that at once.
    let _ = std::io::Write::write_all(&mut half, b"dy\n");
    let answer = control_client::read_rest(half);
    assert!(answer.is_empty() || answer == ["done ready"], "{answer:?}");
    drop(silent);
    main.panzer.settle();
    assert_eq!(ask_result(&main.pid_file, "ready"), "done ready");
    main.panzer.stop();
}

/// rule: restart.kept
#[test]
fn pending_reload_survives_a_restart() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let gate = main.dir.gate("gate");
    let wait = format!("wait={}", gate.display());
    main.dir.app(&example("witness"), &["say=the second", &wait, IDLE[0], IDLE[1]]);
    main.panzer.signal(Signal::Usr1);
    main.panzer.expect_line("the second");
    main.dir.app(&example("witness"), &["say=the newest", IDLE[0], IDLE[1]]);
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

/// rule: restart.kept
#[test]
fn outcome_of_the_last_reload_survives_a_restart() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let reload = |main: &RestartableMain| {
        record(&control_client::ask(&main.pid_file, "status"), "reload").to_string()
    };
    for (body, outcome) in [("exit 7", "failed"), ("kill -9 $$", "failed")] {
        main.dir.script("app", body);
        assert_eq!(main.ctl(&["reload"]).status, 1);
        let before = reload(&main);
        assert_eq!(value(&before, "outcome"), Some(outcome), "{before}");
        main.restart();
        assert_eq!(reload(&main), before);
    }
    // The same if no generation was ever current.
    main.dir.app(&example("witness"), &IDLE);
    assert_eq!(main.ctl(&["reload"]).status, 0);
    let before = reload(&main);
    main.restart();
    assert_eq!(reload(&main), before);
    main.panzer.stop();
}

/// rule: restart.kept
#[test]
fn starting_generation_can_become_ready_after_a_restart_in_every_way() {
    let dir = TempDir::new();
    let gate = dir.gate("gate");
    let says = ["kill -s VTALRM $PPID; exec sleep 1000".to_string(), {
        let witness = example("witness");
        format!("exec '{}' notify=READY=1 hang", witness.display())
    }];
    dir.script("app", &says[0]);
    let setup = Setup::new(&dir.join("app"), &[]).options(&["--timeout=0"]);
    let mut main = RestartableMain::begin(dir, setup);
    main.panzer.expect_current(1);
    for (generation, way) in (2..).zip(says) {
        main.dir.script("app", &format!("cat '{}'; {way}", gate.display()));
        main.panzer.signal(Signal::Usr1);
        main.panzer.expect("started", generation);
        main.restart();
        open_gate(&gate);
        main.panzer.expect("ready", generation);
        main.panzer.expect_current(generation);
    }
    main.panzer.stop();
}

/// Whether panzerctl shows this as the state of the program on disk.
fn shows(pid_file: &Path, binary: &str) -> bool {
    let shown = ctl(pid_file, &["status", "--json"]).stdout;
    shown.contains(&format!("\"binary\":\"{binary}\""))
}

/// What the monitor of a generation reports of its environment.
fn given(main: &mut RestartableMain, generation: u32) -> Vec<String> {
    let word = format!("g{generation}");
    main.dir.app(&example("witness"), &[&format!("report={word}"), IDLE[0], IDLE[1]]);
    main.panzer.reload(generation);
    main.panzer.settle();
    let lines = main.panzer.lines().into_iter();
    let own: Vec<_> =
        lines.filter_map(|line| Some(line.strip_prefix(&word)?.to_string())).collect();
    let kind = |line: String| match line.split_once(['=', ':']) {
        // These differ between generations.
        Some((name, _)) if name.ends_with("PANZER_GENERATION") => name.to_string(),
        Some((name, _)) if name.ends_with("NOTIFY_SOCKET") => name.to_string(),
        Some((name, _)) if name.ends_with("LISTEN_PID") => name.to_string(),
        Some(_) | None => line,
    };
    let mut own: Vec<_> = own.into_iter().map(kind).collect();
    own.sort();
    own
}

/// rule: restart.environment
#[test]
fn monitors_get_the_same_environment_before_and_after_a_restart() {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &IDLE);
    let setup = Setup::new(&app, &[]).options(&["-n1", "--timeout=3"]).variable("COLOUR", "blue");
    // As under nohup and in the background of a shell.
    let ignore = r#"trap "" HUP INT QUIT USR2; exec "$@""#;
    let setup = setup.through(Path::new("sh"), &["-c", ignore, "sh"]);
    let mut main = RestartableMain::begin(dir, setup);
    main.panzer.expect_current(1);
    let before = given(&mut main, 2);
    // The last three digits show which of these four signals are ignored.
    let ignores = |line: &String| line.contains("SigIgn") && line.ends_with("807");
    assert!(before.iter().any(ignores), "{before:?}");
    main.restart();
    assert_eq!(given(&mut main, 3), before);
    main.restart();
    main.restart();
    assert_eq!(given(&mut main, 4), before);
    // A signal ignored at the start stays ignored.
    main.panzer.signal(Signal::Hup);
    main.panzer.settle();
    assert_eq!(main.panzer.count("started"), 4);
    main.panzer.stop();
}

/// A main with one worker, the number of which is set in a configuration file.
fn configured() -> (RestartableMain, PathBuf) {
    let dir = TempDir::new();
    let file = dir.write("panzer.yml", "count: 1\n");
    let option = format!("--config={}", file.display());
    let app = dir.app(&example("witness"), &IDLE);
    let mut main = RestartableMain::begin(dir, Setup::new(&app, &[]).options(&[&option]));
    main.panzer.expect_current(1);
    (main, file)
}

/// rule: restart.config
#[test]
fn restart_reads_the_configuration_again() {
    let dir = TempDir::new();
    let file = dir.write("panzer.yml", "count: 1\n");
    let option = format!("--config={}", file.display());
    let app = dir.app(&example("witness"), &HOLD);
    let setup = Setup::new(&app, &[]).options(&["-v", &option]);
    let mut main = RestartableMain::begin(dir, setup);
    let monitor = main.panzer.expect_current(1);
    fs::write(&file, "count: 2\nbind:\n  - web=127.0.0.1:0\n").expect("it is ours");
    main.restart();
    let answer = control_client::ask(&main.pid_file, "status");
    assert_eq!(value(record(&answer, "main"), "count"), Some("2"));
    let address = |answer: &[String]| {
        let web = answer.iter().find(|line| line.contains("name=web"))?;
        value(web, "address").map(str::to_string)
    };
    let web = address(&answer).expect("it is open");
    assert_eq!(main.panzer.workers(monitor).len(), 1, "the new count is for the next generation");
    let monitor = main.panzer.reload(2);
    assert_eq!(main.panzer.workers(monitor).len(), 2);
    main.restart();
    assert_eq!(address(&control_client::ask(&main.pid_file, "status")), Some(web));
    // The running generation keeps its sockets; a removed one is closed after it.
    fs::write(&file, "count: 2\n").expect("it is ours");
    main.restart();
    main.panzer.reload(3);
    main.panzer.expect_line("generation 2: all processes exited");
    assert_eq!(address(&control_client::ask(&main.pid_file, "status")), None);
    main.panzer.stop();
}

/// rule: restart.config
#[test]
fn changed_count_in_the_configuration_overrides_an_earlier_scale() {
    let (mut main, file) = configured();
    assert_eq!(main.ctl(&["scale", "3"]).status, 0);
    main.restart();
    let count = |main: &RestartableMain| {
        value(record(&control_client::ask(&main.pid_file, "status"), "main"), "count")
            .map(str::to_string)
    };
    assert_eq!(count(&main).as_deref(), Some("3"));
    fs::write(&file, "count: 2\n").expect("it is ours");
    main.restart();
    assert_eq!(count(&main).as_deref(), Some("2"));
    main.panzer.stop();
}

/// rule: restart.config
#[test]
fn bad_configuration_or_address_in_use_refuses_the_restart() {
    let (mut main, file) = configured();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("it is bound");
    for (text, reason) in [
        ("count: many\n".to_string(), "panzer.yml:1:"),
        ("\tcount: 1\n".to_string(), "panzer.yml:1:"),
        (format!("count: 1\nbind:\n  - 127.0.0.1:0\n  - {}\n", taken.1), "EADDRINUSE"),
    ] {
        fs::write(&file, &text).expect("it is ours");
        main.expect_refusal(&text, reason);
    }
    fs::remove_file(&file).expect("it is ours");
    main.expect_refusal("no file", "cannot read");
    fs::write(&file, "count: 1\n").expect("the directory is ours");
    main.expect_recovery();
}

/// rule: restart.path
#[test]
fn restart_executes_the_path_of_the_start_and_follows_its_links() {
    let dir = TempDir::new();
    let whole = fs::read(files::panzer()).expect("it was built");
    for (release, bytes) in [("one", &whole), ("two", &other_version())] {
        fs::create_dir(dir.join(release)).expect("the directory is empty");
        dir.program(&format!("{release}/panzer"), bytes);
    }
    let app = dir.app(&example("witness"), &IDLE);
    let link = |dir: &TempDir, release: &str| {
        symlink(release, dir.join("next")).expect("it is not there");
        fs::rename(dir.join("next"), dir.join("current")).expect("it can be replaced");
    };
    link(&dir, "one");
    let by_path = |name: &str| Path::new(name).to_path_buf();
    let absolute = dir.join("current/panzer");
    let current = dir.join("current");
    let path = format!("{}:/usr/bin:/bin", current.display());
    for (name, directory, search) in [
        (absolute.clone(), dir.path(), None),
        (by_path("./panzer"), &*current, None),
        (by_path("current/panzer"), dir.path(), None),
        (by_path("panzer"), dir.path(), Some(path)),
    ] {
        let mut setup = Setup::new(&app, &[]).options(&["-n1"]).directory(directory).program(&name);
        if let Some(path) = search {
            setup = setup.variable("PATH", &path);
        }
        let pid_file = dir.join("panzer.pid");
        let option = format!("--pid={}", pid_file.display());
        let mut panzer = setup.options(&[&option]).start();
        panzer.expect_current(1);
        let before = Snapshot::of(&mut panzer, &pid_file);
        let restart = |release: &str, version: &str| {
            link(&dir, release);
            let outcome = ctl(&pid_file, &["restart"]);
            assert_eq!(outcome.status, 0, "{} {}", name.display(), outcome.stderr);
            let main = status(&pid_file).remove(0);
            assert_eq!(value(&main, "version"), Some(version), "{}", name.display());
            assert!(shows(&pid_file, "same"), "{}", name.display());
        };
        restart("two", OTHER);
        link(&dir, "one");
        assert!(shows(&pid_file, "differs"), "{}", name.display());
        restart("one", env!("CARGO_PKG_VERSION"));
        assert_eq!(Snapshot::of(&mut panzer, &pid_file), before, "{}", name.display());
        panzer.stop();
    }
}

/// rule: restart.path
#[test]
fn restart_is_refused_if_the_directory_of_a_relative_path_is_gone() {
    let dir = TempDir::new();
    let whole = fs::read(files::panzer()).expect("it was built");
    fs::create_dir(dir.join("release")).expect("the directory is empty");
    dir.program("release/panzer", &whole);
    let app = dir.app(&example("witness"), &IDLE);
    let setup = Setup::new(&app, &[]).options(&["-n1"]).directory(&dir.join("release"));
    let program = dir.join("release/panzer");
    let mut main = RestartableMain::begin_as(dir, setup, Path::new("./panzer"), program);
    main.panzer.expect_current(1);
    fs::rename(main.dir.join("release"), main.dir.join("away")).expect("it is ours");
    main.expect_refusal("its directory is gone", "ENOENT");
    fs::rename(main.dir.join("away"), main.dir.join("release")).expect("it is ours");
    main.restart();
    main.panzer.stop();
}

/// A main that was asked for a restart and is stopped at the first instruction of the
/// new program.
fn stopped_in_the_exec() -> (RestartableMain, u32) {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &HOLD);
    let output = dir.join("trace").display().to_string();
    let words = ["-D", "-qqq", "-o", &output, "-etrace=execveat", "-einject=execveat:signal=STOP"];
    let setup = Setup::new(&app, &[]).options(&["-n1"]).through(Path::new("strace"), &words);
    let mut main = RestartableMain::begin(dir, setup);
    let monitor = main.panzer.expect_current(1);
    let pid = main.panzer.pid();
    main.panzer.signal(Signal::Usr2);
    main.panzer.eventually("it has executed itself", || {
        // The new program has not set its process name yet.
        procfs::name(pid) != "panzer:main" && matches!(procfs::state(pid), Some('T' | 't'))
    });
    (main, monitor)
}

/// rule: restart.kept
#[test]
fn pid_file_stays_locked_before_during_and_after_a_restart() {
    let refused = |main: &RestartableMain| {
        let option = format!("--pid={}", main.pid_file.display());
        let mut other = Setup::new(&main.dir.join("app"), &[]).options(&[&option]).start();
        assert_eq!(other.end(), End::Status(3), "{:?}", other.lines());
        assert_eq!(other.count_lines(&format!("already running: pid {}", main.panzer.pid())), 1);
    };
    let (mut main, _) = stopped_in_the_exec();
    let pid = main.panzer.pid();
    refused(&main);
    continue_process(pid);
    main.expect_restarted();
    refused(&main);
    // Main must not open and close its own pid file: that would release the lock.
    assert_eq!(fs::read_to_string(&main.pid_file).expect("it is there"), format!("{pid}\n"));
    main.panzer.stop();
}

/// rule: restart.signals
#[test]
fn reload_requested_during_the_exec_is_performed() {
    let (mut main, _) = stopped_in_the_exec();
    main.panzer.signal(Signal::Usr1);
    continue_process(main.panzer.pid());
    main.panzer.expect_current(2);
    assert_eq!(main.panzer.count("restarted"), 1);
    main.panzer.stop();
}

/// rule: restart.signals
#[test]
fn stop_requested_during_the_exec_is_performed() {
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

/// rule: restart.signals
#[test]
fn worker_or_monitor_that_dies_during_the_exec_is_replaced() {
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

/// rule: restart.kept
#[test]
fn clients_that_connect_during_the_exec_are_answered() {
    let (mut main, _) = stopped_in_the_exec();
    let asked = ["ready", "status", "reload"].map(|word| begin(&main.pid_file, &[word]));
    let silent = control_client::connect(&main.pid_file).expect("main's socket listens");
    continue_process(main.panzer.pid());
    main.panzer.expect_current(2);
    for outcome in asked.map(finish) {
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    }
    drop(silent);
    main.panzer.stop();
}

/// rule: restart.coalesced
#[test]
fn restart_requested_after_a_stop_is_refused() {
    let mut main = RestartableMain::start(&HOLD, &["-n1"]);
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    let stops = main.ask(&["shutdown"]);
    main.panzer.expect_event("stopping", |event| event.name == "stopping");
    let outcome = main.ctl(&["restart"]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("main is stopping"), "{}", outcome.stderr);
    main.panzer.signal(Signal::Usr2);
    main.panzer.settle();
    held.finish().expect("it is finished");
    let outcome = finish(stops);
    assert_eq!((outcome.status, &*outcome.stdout), (0, "main exits with status 0\n"));
    assert_eq!(main.panzer.end(), End::Status(0));
    assert_eq!(main.panzer.count("restarted"), 0);
}

/// rule: restart.coalesced
#[test]
fn stop_requested_in_the_turn_of_the_exec_is_performed() {
    for request in ["exit", "shutdown"] {
        let dir = TempDir::new();
        let app = dir.script("app", "exit 1");
        let trace = dir.join("trace");
        let output = trace.display().to_string();
        // strace stops main when it begins to reap, after each wait; no other process runs.
        let words = ["-etrace=ppoll,waitid", "-einject=waitid:signal=STOP"];
        let words = [&["-D", "-qqq", "-o", &output], &words[..]].concat();
        let setup = Setup::new(&app, &[]).options(&["--give-up=0", "--delay=60"]);
        let mut main = RestartableMain::begin(dir, setup.through(Path::new("strace"), &words));
        let pid = main.panzer.pid();
        let is_stopped = || matches!(procfs::state(pid), Some('T' | 't'));
        // The timeout of main's last wait, in seconds.
        let waits = || {
            let text = fs::read_to_string(&trace).unwrap_or_default();
            let last = text.lines().rfind(|line| line.starts_with("ppoll([{"))?;
            let (_, span) = last.split_once("tv_sec=")?;
            span.split(',').next()?.parse::<u32>().ok()
        };
        let (mut asked, mut client) = (false, None);
        main.panzer.eventually("it is about to execute itself", || {
            match waits() {
                // It waits for the next start.
                Some(5..) if !asked => {
                    send(pid, Signal::Usr2);
                    asked = true;
                }
                // This turn ends in the exec.
                Some(0) if asked && is_stopped() => {
                    client = Some(control_client::begin(&main.pid_file, request));
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
            !procfs::is_alive(pid)
        };
        main.panzer.eventually("it ends", goes_on);
        assert_eq!(main.panzer.end(), End::Status(0), "{request}");
        let answer = client.expect("it was asked").rest();
        let last = answer.last().map(String::as_str);
        assert_eq!(last, Some("done main exits with status 0"), "{request}");
        let events = main.panzer.events();
        assert_eq!(events.last().map(|event| &*event.name), Some("stopped"), "{events:?}");
        assert!(!main.pid_file.exists() && !control_client::socket_of(&main.pid_file).exists());
    }
}

/// rule: restart.coalesced
#[test]
fn clients_that_ask_for_a_restart_together_are_all_answered() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
    main.panzer.expect_current(1);
    let pid = main.panzer.pid();
    stop_process(pid);
    let asked: Vec<_> = (0..3).map(|_| control_client::begin(&main.pid_file, "restart")).collect();
    main.panzer.signal(Signal::Usr2);
    continue_process(pid);
    let now = format!("done now running panzer {}", env!("CARGO_PKG_VERSION"));
    for asked in asked {
        assert_eq!(asked.rest().pop().as_deref(), Some(&*now));
    }
    main.panzer.settle();
    // One for the signal, and one for all clients that asked meanwhile.
    assert_eq!(main.panzer.count("restarted"), 2);
    main.panzer.stop();
}

/// rule: restart.coalesced
#[test]
fn two_restart_signals_in_one_turn_are_one_restart() {
    let mut main = RestartableMain::start(&IDLE, &["-n1"]);
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

/// rule: restart.kept
#[test]
fn workers_of_a_dead_monitor_survive_a_restart_as_children_of_main() {
    let mut main = RestartableMain::start(&HOLD, &["-n1", "-v"]);
    let address = main.panzer.expect_address();
    let monitor = main.panzer.expect_current(1);
    let (held, answer) = Held::hold(address).expect("it serves");
    send(monitor, Signal::Kill);
    main.panzer.expect_current(2);
    let pid = main.panzer.pid();
    main.panzer.eventually("its worker is a child of main", || {
        procfs::children(pid).contains(&answer.pid)
    });
    let before = main.snapshot();
    main.restart();
    assert_eq!(main.snapshot(), before);
    held.finish().expect("it is finished");
    main.panzer.expect_line("generation 1: all processes exited");
    main.panzer.stop();
}

/// rule: restart.kept
#[test]
fn child_that_has_not_executed_its_command_survives_a_restart() {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &IDLE);
    fs::create_dir(dir.join("here")).expect("the directory is empty");
    let (output, here) = (dir.join("trace"), dir.join("here").display().to_string());
    // strace stops the child in chdir(2), as a hung file server would.
    let output = output.display().to_string();
    let words = ["-D", "-f", "-qqq", "-o", &output, "-P", &here, "-etrace=chdir"];
    let stop = ["-einject=chdir:signal=STOP:when=1"];
    let chdir = format!("--chdir={here}");
    let setup = Setup::new(&app, &[]).options(&["-n1", &chdir]);
    let setup = setup.through(Path::new("strace"), &[&words[..], &stop].concat());
    let mut main = RestartableMain::begin(dir, setup);
    let child = main.panzer.expect("started", 1).pid;
    main.restart();
    main.panzer.eventually("it goes on", || {
        continue_process(child);
        procfs::name(child) != "panzer:main"
    });
    main.panzer.expect_current(1);
    main.panzer.stop();
}
