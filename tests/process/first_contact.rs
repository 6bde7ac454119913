//! Errors of a first-time user, each of which says what to do next.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::files::{self, TempDir, example};
use crate::harness::panzer::End;
use crate::harness::setup::Setup;
use crate::harness::spawn_lock;
use crate::user::Users;

/// What a program prints that ends by itself, and its status.
fn output_of(program: &Path, directory: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command.args(words).current_dir(directory);
    let output = {
        let _lock = spawn_lock();
        command.output().expect("it runs")
    };
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn error_before_any_start_says_what_to_do() {
    let dir = TempDir::new();
    dir.script("app", "exit 1");
    dir.write("plain", "no program");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let busy = taken.local_addr().expect("it is bound").to_string();
    for (words, status, advice) in [
        (&[][..], 2, "or command: in the configuration file; see --help"),
        (&["-b", "8080", "./app"], 2, "an address is HOST:PORT, as in localhost:8080, or :8080"),
        (&["-b", "/run/app.sock", "./app"], 2, "a Unix socket has unix: in front"),
        (&["-b", "example.org:80", "./app"], 2, "names are not looked up"),
        (&["--tmeout=3", "./app"], 2, "unknown option '--tmeout', did you mean --timeout?"),
        (&["--foo=bar", "./app"], 2, "unknown option '--foo'; panzer --help lists them"),
        (&["-c", "no.yml"], 2, "'no.yml': no such file or directory (ENOENT); --config names it"),
        (&["-b", &busy, "./app"], 1, "another panzer, listens there: 'ss -ltnp' shows which"),
        (&["-b", "unix:plain", "./app"], 1, "or it is no socket: remove it, or choose another"),
        (
            &["-p", "no/p.pid", "./app"],
            1,
            "has to be there, writable, and have room; --pid names another",
        ),
        (&["./nothing"], 127, "the path is relative to --chdir, and the interpreter of a script"),
        (&["nothing"], 127, "for a file of the working directory write ./ in front"),
        (&["--check", "nothing"], 2, "for a file of the working directory write ./ in front"),
        (&["--check", "-C", "no", "./app"], 2, "(ENOENT); it is the directory of --chdir"),
        (&["./plain"], 126, "it has to be an executable file: chmod +x"),
    ] {
        let (is, said) = output_of(&files::panzer(), dir.path(), words);
        assert!(is == Some(status) && said.contains(advice), "{words:?}: {is:?} {said}");
    }
    for (file, advice) in [
        ("command: [./app]\n", "1:10: no list or map in one line: below the key, write each"),
        ("command: ./app\n", "command: must be a list: below it '- PROGRAM', and a '- ' line"),
        ("hang_timeout: 5\n", "1:1: unknown key 'hang_timeout', did you mean hang-timeout?"),
    ] {
        let path = dir.write("panzer.yml", file);
        let path = path.to_str().expect("it is text");
        let (is, said) = output_of(&files::panzer(), dir.path(), &["-c", path]);
        assert!(is == Some(2) && said.contains(advice), "{file:?}: {is:?} {said}");
    }
}

#[test]
fn panzerctl_says_how_main_is_found_and_what_was_meant() {
    let dir = TempDir::new();
    for (words, status, advice) in [
        (&[][..], 2, "no COMMAND given, as in 'panzerctl status'"),
        (&["relod"], 2, "unknown command 'relod', did you mean reload?"),
        (&["stop"], 2, "did you mean shutdown?"),
        (&["status", "--jsn"], 2, "unknown option '--jsn', did you mean --json?"),
        (&["status"], 3, "'tmp/panzer.pid' does not exist; main says at its start which pid file"),
    ] {
        let (is, said) = output_of(&files::panzerctl(), dir.path(), words);
        assert!(is == Some(status) && said.contains(advice), "{words:?}: {is:?} {said}");
    }
    let idle = || Setup::new(&example("witness"), &["run=idle"]).directory(dir.path());
    let mut panzer = idle().start();
    panzer
        .expect_line("no control socket for panzerctl: no directory tmp/ (make it, or see --pid)");
    panzer.expect_current(1);
    panzer.stop();
    fs::create_dir(dir.join("tmp")).expect("it is ours");
    let mut panzer = idle().start();
    let path = dir.path().canonicalize().expect("it is there").join("tmp/panzer.pid");
    panzer.expect_line(&format!("pid file '{}'", path.display()));
    panzer.expect_current(1);
    panzer.stop();
}

/// The reason of the first failed start of this command.
fn first_failure(program: &Path, words: &[&str], options: &[&str]) -> String {
    let all = ["--give-up=1", "--delay=5", "--timeout=0"];
    let all: Vec<_> = all.iter().chain(options).copied().collect();
    let mut panzer = Setup::new(program, words).options(&all).start();
    let line = panzer.expect_line("generation 1: failed: ");
    panzer.signal(Signal::Quit);
    panzer.end();
    line
}

#[test]
fn command_that_goes_into_the_background_is_told_to_stay() {
    let dir = TempDir::new();
    let daemon = dir.script("daemon", "sleep 1 &");
    for options in [&[][..], &["-x", "-n1", "--ready=notify"]] {
        let line = first_failure(&daemon, &[], options);
        assert!(line.contains("status 0: COMMAND has to stay in the foreground"), "{line}");
    }
    let line = first_failure(&dir.script("fails", "exit 1"), &["-n", "4"], &[]);
    assert!(line.ends_with("its monitor exited with status 1"), "{line}");
}

#[test]
fn option_behind_command_that_refuses_it_is_named() {
    let dir = TempDir::new();
    let picky = dir.script("picky", "exit 2");
    for options in [&[][..], &["-x", "-n1", "--ready=notify"]] {
        for (words, word) in [(&["-n", "4"][..], "'-n'"), (&["x", "--timeout=4"], "'--timeout=4'")]
        {
            let line = first_failure(&picky, words, options);
            let advice = format!("status 2: COMMAND got {word}, which comes after it");
            assert!(line.contains(&advice), "{line}");
        }
    }
    for words in [&[][..], &["--port", "4", "-0", "-"]] {
        let line = first_failure(&picky, words, &[]);
        assert!(line.ends_with("its monitor exited with status 2"), "{line}");
    }
}

/// rule: ready.timeout
#[test]
fn start_that_is_not_ready_in_time_says_what_it_waited_for() {
    let dir = TempDir::new();
    let silent = dir.script("silent", "exec sleep 1000");
    let pool = ["-x", "-n2", "--ready=notify", "--ready-timeout=0.3"];
    for (options, waits) in [
        (&["--ready-timeout=0.3"][..], "its monitor has not said READY=1 (see --ready)"),
        (&pool, "0 of 2 workers ready, worker 1 has not said READY=1 (see --ready)"),
    ] {
        let line = first_failure(&silent, &[], options);
        let reason = format!("not ready within 300 ms (--ready-timeout): {waits}");
        assert!(line.contains(&reason), "{line}");
    }
}

/// rule: ready.timeout
#[test]
fn start_that_is_not_ready_after_10s_says_once_what_it_waits_for() {
    let dir = TempDir::new();
    let silent = dir.script("silent", "exec sleep 1000");
    // All three wait at the same time.
    let mut foreign = Setup::new(&silent, &[]).options(&["--ready-timeout=13"]).start();
    let pool = ["-x", "-n3", "--ready=notify"];
    let mut pool = Setup::new(&silent, &[]).options(&pool).start();
    let gate = format!("gate={}", dir.gate("gate").display());
    let mut library =
        Setup::new(&example("witness"), &[&gate, "run=idle"]).options(&["-n2"]).start();
    for (panzer, waits) in [
        (&mut foreign, "its monitor has not said READY=1 (see --ready); fails after "),
        (
            &mut pool,
            "0 of 3 workers ready, worker 1 has not said READY=1 (see --ready); fails after ",
        ),
        (
            &mut library,
            "1 of 2 workers ready, worker 1 has not called accept or ready; fails after 60 s",
        ),
    ] {
        let line = panzer.expect_line("generation 1: not ready after 10 s: ");
        assert!(line.contains(waits), "{line}");
    }
    foreign
        .expect_line("generation 1: failed: not ready within 13 s (--ready-timeout): its monitor");
    for mut panzer in [foreign, pool, library] {
        panzer.signal(Signal::Quit);
        panzer.end();
        assert_eq!(panzer.count_lines("generation 1: not ready after "), 1);
    }
}

#[test]
fn hang_timeout_with_exec_is_a_warning() {
    let dir = TempDir::new();
    let silent = dir.script("silent", "exec sleep 1000");
    let options = ["-x", "-n1", "--ready=0", "--hang-timeout=5"];
    let mut panzer = Setup::new(&silent, &[]).options(&options).start();
    panzer.expect_line("configuration: --hang-timeout does nothing with --exec: whether a program");
    panzer.expect_current(1);
    panzer.stop();
    let words = ["--check", "-x", "--hang-timeout=5", "./silent"];
    let (status, said) = output_of(&files::panzer(), dir.path(), &words);
    assert!(status == Some(0) && said.contains("--hang-timeout does nothing"), "{said}");
}

#[test]
fn threads_before_the_fork_and_a_wrapper_without_exec_are_named() {
    let setup = Setup::new(&example("witness"), &["threads=1", "run=idle"]);
    let mut panzer = setup.options(&["--give-up=1", "--delay=5"]).start();
    panzer
        .expect_line("2 threads, and a forked worker keeps only one; start threads in Worker::run");
    panzer.signal(Signal::Quit);
    panzer.end();
    let dir = TempDir::new();
    let app = example("witness");
    let wrapper = dir.script("wrapper", &format!("{} run=idle; exit 1", app.display()));
    let mut panzer = Setup::new(&wrapper, &[]).options(&["-n1"]).start();
    panzer.expect_line("running alone: in the script, write exec before the command");
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// Said once, and not at each of five starts.
#[test]
fn user_without_the_capability_to_become_it_is_refused_at_the_start() {
    let Some(users) = Users::new("witness") else { return };
    let may = "+kill";
    let words = ["--reuid=4545", "--regid=4545", "--clear-groups", "--inh-caps", may];
    let words: Vec<_> = words.into_iter().chain(["--ambient-caps", may]).collect();
    // setgroups(2) wants the capability for what is so already, too.
    for user in ["--user=4242:4343", "--user=4545:4545"] {
        let setup = users.setup(&["run=idle"]).options(&[user]);
        let mut panzer = setup.through(Path::new("setpriv"), &words).start();
        panzer.expect_line("main lacks CAP_SETUID or CAP_SETGID; --user needs root");
        assert_eq!(panzer.end(), End::Status(1));
        assert_eq!((panzer.count("started"), panzer.count_lines("cannot run as user")), (0, 1));
    }
}

/// rule: config.check
#[test]
fn check_looks_at_command_as_the_user_of_the_option() {
    let Some(users) = Users::new("witness") else { return };
    let dir = users.dir();
    let own = dir.script("own", "exit 1");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let check = |words: &[&str]| {
        output_of(&files::panzer(), dir.path(), &[&["--check"], words, &["./own"]].concat())
    };
    let (status, said) = check(&[]);
    assert_eq!(status, Some(0), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let bind = format!("--bind={}", taken.local_addr().expect("it is bound"));
    // Whatever else is wrong.
    let (status, said) = check(&["--user=4242:4343", &bind]);
    assert!(
        status == Some(2) && said.contains("cannot execute './own': permission denied"),
        "{said}"
    );
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let (status, said) = check(&["--user=4242:4343"]);
    assert_eq!(status, Some(0), "{said}");
    // A user that main could not run as is wrong too.
    let words = ["--reuid=4545", "--regid=4545", "--clear-groups"];
    let program = files::panzer().display().to_string();
    let words = [&words[..], &[&*program, "--check", "--user=4242:4343", "./own"]].concat();
    let (status, said) = output_of(Path::new("setpriv"), dir.path(), &words);
    assert!(status == Some(2) && said.contains("--user needs root"), "{said}");
}
