//! The pid file: its lock, and which files are never overwritten or removed.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::control_client::{ask_result, socket_of};
use crate::harness::ctl::FakeMain;
use crate::harness::event::Event;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer, continue_process, send};
use crate::harness::setup::Setup;
use crate::harness::strace::Attached;
use crate::harness::{procfs, spawn_lock};
use crate::user::Users;
use panzer::sys::{Signal, process};

fn setup(pid_file: &Path) -> Setup {
    let option = format!("--pid={}", pid_file.display());
    Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=idle"]).options(&["-n1", &option])
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).expect("it is there")
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it belongs to this test");
}

fn permissions(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
}

/// A file with mode 0600 at the path of a pid file, as a main leaves it.
fn leave(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.write("panzer.pid", text);
    permit(&path, 0o600);
    path
}

/// The names of all files in a directory of a test.
fn names(dir: &TempDir) -> Vec<String> {
    names_in(dir.path())
}

/// Whether this is the temporary name of a new pid file.
fn is_unfinished(name: &str) -> bool {
    name.starts_with(".panzer-unfinished-")
}

fn names_in(directory: &Path) -> Vec<String> {
    let all = fs::read_dir(directory).expect("it is there");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = all.map(|entry| name(entry.expect("it can be listed"))).collect();
    names.sort();
    names
}

/// The directory of the notify socket of a main's first generation.
fn notify_directory(main: u32) -> String {
    format!("panzer.{main}.1")
}

/// Waits for a panzer that refuses to start; returns its status and its only line.
fn refused(mut panzer: Panzer) -> (End, String) {
    let end = panzer.end();
    let lines = panzer.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    (end, lines.into_iter().next().expect("there is one"))
}

/// rule: pidfile.lock
#[test]
fn pid_file_exists_as_long_as_main_runs() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    let mut panzer = setup(&path).start();
    panzer.expect_current(1);
    assert_eq!(content(&path), format!("{}\n", panzer.pid()));
    assert_eq!((permissions(&path), permissions(&socket_of(&path))), (0o600, 0o600));
    let directory = notify_directory(panzer.pid());
    assert_eq!(names(&dir), [&*directory, "panzer.pid", "panzer.sock"]);
    assert_eq!(permissions(&dir.join(&directory)), 0o700);
    panzer.stop();
    assert_eq!(names(&dir), [""; 0]);
}

/// rule: pidfile.default
#[test]
fn default_pid_file_is_in_tmp_if_that_directory_exists() {
    let dir = TempDir::new();
    let words = ["listen=127.0.0.1:0", "run=idle"];
    let setup = || Setup::new(&example("witness"), &words).options(&["-n1"]).directory(dir.path());
    let mut panzer = setup().start();
    panzer.expect_line("no pid file and no control socket");
    panzer.expect_current(1);
    assert_eq!(names(&dir), [""; 0]);
    panzer.stop();
    fs::create_dir(dir.join("elsewhere")).expect("the directory is ours");
    symlink("elsewhere", dir.join("tmp")).expect("the directory is ours");
    let mut panzer = setup().start();
    panzer.expect_current(1);
    assert_eq!(content(&dir.join("elsewhere/panzer.pid")), format!("{}\n", panzer.pid()));
    assert_eq!(ask_result(&dir.join("tmp/panzer.pid"), "ready"), "done ready");
    panzer.stop();
}

/// rule: pidfile.default
#[test]
fn default_pid_file_that_cannot_be_made_is_one_warning() {
    let dir = TempDir::new();
    fs::create_dir_all(dir.join("tmp/panzer.pid")).expect("the directory is ours");
    let words = ["listen=127.0.0.1:0", "run=idle"];
    let setup = Setup::new(&example("witness"), &words).options(&["-n1"]).directory(dir.path());
    let mut panzer = setup.start();
    panzer.expect_current(1);
    panzer.reload(2);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("WARN"), 1, "{:?}", panzer.lines());
}

/// The default path was not asked for, so another program's lock on it must not
/// prevent the start.
#[test]
fn foreign_lock_on_the_default_pid_file_is_one_warning() {
    let dir = TempDir::new();
    fs::create_dir(dir.join("tmp")).expect("the directory is ours");
    let path = dir.join("tmp/panzer.pid");
    for text in ["own", "1\\n", "", "junk"] {
        let holder = FakeMain::start(&path, text, "none", &[]);
        let words = ["listen=127.0.0.1:0", "run=idle"];
        let other = Setup::new(&example("witness"), &words).options(&["-n1"]);
        let mut panzer = other.directory(dir.path()).start();
        panzer.expect_line("'tmp/panzer.pid' is locked by pid");
        panzer.expect_current(1);
        panzer.reload(2);
        let mut panzer = panzer.stop();
        assert_eq!(panzer.count_lines("WARN"), 1, "{:?}", panzer.lines());
        let (end, _) = refused(setup(&path).start());
        assert_eq!(end, End::Status(3));
        drop(holder);
    }
}

#[test]
fn a_second_main_with_the_default_pid_file_is_refused() {
    let dir = TempDir::new();
    fs::create_dir(dir.join("tmp")).expect("the directory is ours");
    let words = ["listen=127.0.0.1:0", "run=idle"];
    let setup = || Setup::new(&example("witness"), &words).options(&["-n1"]).directory(dir.path());
    let mut first = setup().start();
    first.expect_current(1);
    let (end, line) = refused(setup().start());
    assert_eq!(end, End::Status(3), "{line}");
    assert_eq!(content(&dir.join("tmp/panzer.pid")), format!("{}\n", first.pid()));
    first.stop();
}

/// A default directory that main may not enter or write counts as missing.
#[test]
fn a_default_pid_directory_that_may_not_be_used_is_one_warning() {
    let Some(users) = Users::new("witness") else { return };
    let dir = users.dir();
    fs::create_dir(dir.join("tmp")).expect("the directory is ours");
    for (mode, warning) in [(0o700, "cannot enter tmp/"), (0o755, "cannot create pid file")] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(dir.join("tmp"), mode).expect("it belongs to this test");
        let words = ["--reuid=4242", "--regid=4343", "--clear-groups"];
        let setup = users.setup(&["listen=127.0.0.1:0", "run=idle"]);
        let mut panzer = setup.through(Path::new("setpriv"), &words).start();
        panzer.expect_line(warning);
        panzer.expect_current(1);
        let mut panzer = panzer.stop();
        assert_eq!(panzer.count_lines("WARN"), 1, "{:?}", panzer.lines());
    }
}

/// rule: pidfile.rename
#[test]
fn second_main_is_refused_and_the_first_ones_files_stay() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    let mut first = setup(&path).start();
    first.expect_current(1);
    for _ in 0..3 {
        let (end, line) = refused(setup(&path).start());
        assert_eq!(end, End::Status(3));
        let refusal = format!("panzer: already running: pid {} has locked '", first.pid());
        assert!(line.starts_with(&refusal), "{line}");
    }
    // In another pid namespace the first one's pid is unknown; the lock still holds.
    let apart = setup(&path).through("unshare".as_ref(), &["-rpf"]);
    let (end, line) = refused(apart.start());
    assert_eq!(end, End::Status(3));
    assert!(line.ends_with("' is locked by a process outside this pid namespace"), "{line}");
    assert_eq!(content(&path), format!("{}\n", first.pid()));
    assert_eq!(names(&dir), [&*notify_directory(first.pid()), "panzer.pid", "panzer.sock"]);
    assert_eq!(ask_result(&path, "ready"), "done ready");
    first.stop();
}

/// Has this process open no descriptor from `most` on.
fn limit_descriptors(pid: u32, most: u32) {
    let _lock = spawn_lock();
    let (pid, limit) = (pid.to_string(), format!("--nofile={most}:"));
    let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(set.expect("prlimit is there").success());
}

/// A main that can open nothing any more, whose first generation is gone.
fn start_without_descriptors() -> (TempDir, Panzer) {
    let dir = TempDir::new();
    let options = ["-v", "--delay=0.05", "--max-delay=0.05", "--give-up=0"];
    let mut panzer = setup(&dir.join("panzer.pid")).options(&options).start();
    let monitor = panzer.expect_current(1);
    limit_descriptors(panzer.pid(), 3);
    send(monitor, Signal::Kill);
    panzer.expect_line("generation 1: all processes exited");
    (dir, panzer)
}

/// rule: fork.fails
#[test]
fn directory_that_no_descriptor_was_free_to_remove_goes_with_the_next_one() {
    let (dir, mut panzer) = start_without_descriptors();
    let pid = panzer.pid();
    limit_descriptors(pid, 64);
    let second = panzer.expect_event("current", |event| event.name == "current").generation;
    panzer.reload(second + 1);
    panzer.expect_line(&format!("generation {second}: all processes exited"));
    let last = format!("panzer.{pid}.{}", second + 1);
    assert_eq!(names(&dir), [&*last, "panzer.pid", "panzer.sock"]);
    panzer.stop();
    assert_eq!(names(&dir), [""; 0]);
}

/// rule: fork.fails
#[test]
fn start_that_fails_for_want_of_a_descriptor_leaves_no_directory() {
    let (dir, mut panzer) = start_without_descriptors();
    let pid = panzer.pid();
    let ends = |event: &Event| event.name == "failed" || event.name == "current";
    // Of two starts that end the second has begun under this limit.
    let last = (8..64).find_map(|most| {
        limit_descriptors(pid, most);
        let mut ended = (0..2).map(|_| panzer.expect_event("end of a start", ends));
        ended.find(|event| event.name == "current")
    });
    let last = format!("panzer.{pid}.{}", last.expect("64 are enough").generation);
    assert_eq!(names(&dir), [&*last, "panzer.pid", "panzer.sock"]);
    let own = format!("panzer.{pid}.");
    for place in ["/dev/shm", "/tmp"] {
        let left = names_in(Path::new(place)).into_iter().find(|name| name.starts_with(&own));
        assert_eq!(left, None, "{place}");
    }
    panzer.stop();
}

/// rule: fork.fails
#[test]
fn directory_of_a_failed_start_that_cannot_be_opened_goes_with_the_next_one() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    let mut panzer = setup(&path).options(&["-v", "--probation=0"]).start();
    panzer.expect_current(1);
    let (pid, trace) = (panzer.pid(), dir.join("trace"));
    let mut fail = |generation: u32, words: &[&str]| {
        let no_board = ["-etrace=open,openat,memfd_create", "-einject=memfd_create:error=ENFILE"];
        let faults = Attached::to(pid, &trace, &[&no_board[..], words].concat());
        panzer.signal(Signal::Usr1);
        panzer.expect("failed", generation);
        drop(faults);
        fs::read_to_string(&trace).expect("strace has written it")
    };
    let calls = fail(2, &[]);
    let calls = calls.lines().filter_map(|line| Some(line.split_once('(')?.0));
    let calls: Vec<_> = calls.take_while(|name| *name != "memfd_create").collect();
    let call = calls.last().expect("the directory was opened");
    let next = calls.iter().filter(|name| *name == call).count() + 1;
    fail(3, &[&format!("-einject={call}:error=ENFILE:when={next}")]);
    let left = format!("panzer.{pid}.3");
    assert!(names(&dir).contains(&left), "{:?}", names(&dir));
    panzer.reload(4);
    panzer.expect_line("generation 1: all processes exited");
    let last = format!("panzer.{pid}.4");
    assert_eq!(names(&dir), [&*last, "panzer.pid", "panzer.sock", "trace"]);
    panzer.stop();
}

/// rule: pidfile.rename
#[test]
fn of_four_mains_that_start_together_one_gets_the_lock() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    for _ in 0..5 {
        let all: Vec<_> = (0..4).map(|_| setup(&path).start()).collect();
        let (mut won, mut lost) = (Vec::new(), 0);
        for mut panzer in all {
            if panzer.starts_serving() {
                won.push(panzer);
            } else {
                assert_eq!(panzer.end(), End::Status(3), "{:?}", panzer.lines());
                lost += 1;
            }
        }
        assert_eq!((won.len(), lost), (1, 3));
        let winner = won.pop().expect("there is one");
        assert_eq!(content(&path), format!("{}\n", winner.pid()));
        assert_eq!(ask_result(&path, "ready"), "done ready");
        winner.stop();
        assert_eq!(names(&dir), [""; 0]);
    }
}

/// rule: pidfile.rename
#[test]
fn files_of_a_dead_main_are_replaced() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    let mut dead = setup(&path).start();
    dead.expect_current(1);
    send(dead.pid(), Signal::Kill);
    assert_eq!(dead.end(), End::Signal(9));
    assert_eq!(names(&dir), [&*notify_directory(dead.pid()), "panzer.pid", "panzer.sock"]);
    let mut panzer = setup(&path).start();
    panzer.expect_current(1);
    assert_eq!(content(&path), format!("{}\n", panzer.pid()));
    assert_eq!(names(&dir), [&*notify_directory(panzer.pid()), "panzer.pid", "panzer.sock"]);
    assert_eq!((permissions(&path), permissions(&socket_of(&path))), (0o600, 0o600));
    assert_eq!(ask_result(&path, "ready"), "done ready");
    panzer.stop();
    assert_eq!(names(&dir), [""; 0]);
}

/// No file is removed that Panzer has not made, whatever its name is.
#[test]
fn files_beside_the_pid_file_are_left_alone() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    for name in ["panzer.pid.new", "panzer.sock.new", "panzer.pid.tmp", "panzer.pid~"] {
        fs::write(dir.join(name), "12\n").expect("the directory is ours");
    }
    drop(UnixListener::bind(dir.join("panzer.sock.old")).expect("the directory is ours"));
    let before = names(&dir);
    for start in ["fresh", "over a dead main's files"] {
        let mut panzer = setup(&path).start();
        panzer.expect_current(1);
        send(panzer.pid(), Signal::Kill);
        assert_eq!(panzer.end(), End::Signal(9));
        let own = [notify_directory(panzer.pid()), "panzer.pid".into(), "panzer.sock".into()];
        let mut names = names(&dir);
        names.retain(|name| !own.contains(name));
        assert_eq!(names, before, "{start}");
    }
}

/// Main is killed at each call that makes its pid file. Between two calls it can leave
/// the new file under its temporary name; nothing else may be left.
#[test]
fn a_crash_at_any_moment_of_a_start_leaves_no_other_files() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    for stale in [None, Some("12\n")] {
        for call in ["openat", "linkat", "?rename,renameat2", "write", "bind", "listen"] {
            let _ = fs::remove_file(&path);
            let _ = stale.map(|text| leave(&dir, text));
            let kill = format!("-einject={call}:signal=KILL:when=1");
            let trace = format!("-etrace={call}");
            let at = path.display().to_string();
            let mut words = vec!["-D", "-qqq", "-o/dev/null", &trace, &kill];
            // strace does not match the second path of a rename.
            if !call.contains("rename") {
                words.extend(["-P", &at]);
            }
            let mut panzer = setup(&path).through(Path::new("strace"), &words).start();
            if panzer.starts_serving() {
                panzer.stop();
            } else {
                panzer.end();
            }
            let mut names = names(&dir);
            names.retain(|name| name != "panzer.pid" && name != "panzer.sock");
            if stale.is_some() && call.contains("rename") {
                let name = names.pop().filter(|name| is_unfinished(name)).expect("it is there");
                fs::remove_file(dir.join(&name)).expect("it belongs to this test");
            }
            assert_eq!(names, [""; 0], "killed at {call}");
        }
    }
}

/// The second main is stopped as soon as the new file has its temporary name.
#[test]
fn pid_file_of_a_dead_main_stays_locked_until_it_is_replaced() {
    let dir = TempDir::new();
    let tmp = dir.join("tmp");
    fs::create_dir(&tmp).expect("the directory is ours");
    let path = tmp.join("panzer.pid");
    fs::rename(leave(&dir, "12\n"), &path).expect("the directory is ours");
    let old = fs::metadata(&path).expect("it is there").ino();
    let output = dir.join("trace").display().to_string();
    let stop = "-einject=linkat:signal=STOP:when=1";
    let words = ["-D", "-qqq", "-o", &output, "-etrace=linkat", stop];
    let mut winner = setup(&path).through(Path::new("strace"), &words).start();
    let pid = winner.pid();
    let unfinished = || names_in(&tmp).into_iter().filter(|name| is_unfinished(name));
    winner.eventually("the new file has a name", || unfinished().count() == 1);
    assert_eq!((fs::metadata(&path).expect("it is there").ino(), &*content(&path)), (old, "12\n"));
    // A third main finds the lock, with a named file and with the default one.
    let words = ["listen=127.0.0.1:0", "run=idle"];
    let default = Setup::new(&example("witness"), &words).options(&["-n1"]);
    for second in [setup(&path), default.directory(dir.path())] {
        let (end, line) = refused(second.start());
        assert_eq!(end, End::Status(3), "{line}");
        assert!(
            line.starts_with(&format!("panzer: already running: pid {pid} has locked ")),
            "{line}"
        );
    }
    let (unfinished, all) = (unfinished().count(), names_in(&tmp).len());
    assert_eq!((unfinished, all), (1, 2), "refused ones leave no file");
    continue_process(pid);
    winner.expect_current(1);
    assert_eq!(content(&path), format!("{pid}\n"));
    let (end, line) = refused(setup(&path).start());
    assert_eq!(end, End::Status(3), "{line}");
    winner.stop();
    assert_eq!(names_in(&tmp), [""; 0]);
}

/// Main is stopped as soon as its file has the final name.
#[test]
fn a_new_pid_file_is_locked_from_its_first_moment() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    let words =
        ["-D", "-qqq", "-o/dev/null", "-etrace=linkat", "-einject=linkat:signal=STOP:when=1"];
    let mut winner = setup(&path).through(Path::new("strace"), &words).start();
    let pid = winner.pid();
    winner.eventually("the file has its name", || path.exists());
    let (end, line) = refused(setup(&path).start());
    assert_eq!(end, End::Status(3), "{line}");
    assert!(line.starts_with(&format!("panzer: already running: pid {pid} has locked ")), "{line}");
    assert_eq!((content(&path), names(&dir)), (format!("{pid}\n"), vec!["panzer.pid".into()]));
    continue_process(pid);
    winner.expect_current(1);
    winner.stop();
}

/// rule: pidfile.overwrite
#[test]
fn file_with_another_mode_link_or_owner_is_not_overwritten() {
    for case in ["mode 0644", "mode 0400", "a second name", "another user"] {
        let dir = TempDir::new();
        let path = leave(&dir, "42\n");
        match case {
            "mode 0644" => permit(&path, 0o644),
            "mode 0400" => permit(&path, 0o400),
            "a second name" => fs::hard_link(&path, dir.join("VERSION")).expect("it is free"),
            _ if process::user() == 0 => chown(&path, Some(4242), None).expect("root may"),
            _ => continue,
        }
        let before = fs::metadata(&path).expect("it is there");
        let (end, line) = refused(setup(&path).start());
        assert_eq!(end, End::Status(1), "{case}: {line}");
        let after = fs::metadata(&path).expect("it is there");
        let of = |file: &fs::Metadata| (file.ino(), file.mode(), file.uid(), file.nlink());
        assert_eq!((content(&path), of(&after)), ("42\n".into(), of(&before)), "{case}");
    }
}

/// rule: pidfile.overwrite
#[test]
fn file_without_a_pid_is_not_overwritten() {
    let megabyte = "7".repeat(1 << 20);
    let numbers = ["", "\n", "42", "42\n\n", "042\n", "0\n", "4294967295\n", " 42\n"];
    for text in ["junk\n", "-1\n", "1 2\n", "0x1\n", "\0", &megabyte].iter().chain(&numbers) {
        let dir = TempDir::new();
        let path = leave(&dir, text);
        let (end, line) = refused(setup(&path).start());
        assert_eq!(end, End::Status(1), "{line}");
        assert!(line.contains("refusing to overwrite '"), "{line}");
        assert!(line.ends_with("; remove it or choose another --pid"), "{line}");
        assert_eq!(content(&path), *text);
        assert_eq!(names(&dir), ["panzer.pid"]);
    }
}

/// rule: pidfile.overwrite
#[test]
fn links_pipes_directories_and_devices_are_refused_without_blocking() {
    let dir = TempDir::new();
    let target = dir.write("target", "12\n");
    symlink(&target, dir.join("link")).expect("the directory is ours");
    symlink(dir.join("nothing"), dir.join("dangling")).expect("the directory is ours");
    permit(&dir.gate("pipe"), 0o600);
    fs::create_dir(dir.join("directory")).expect("the directory is ours");
    let socket = UnixListener::bind(dir.join("socket")).expect("the directory is ours");
    let before = names(&dir);
    let mut paths: Vec<_> = before.iter().filter(|name| *name != "target").collect();
    let device = "/dev/null".to_string();
    paths.push(&device);
    for name in paths {
        let (end, line) = refused(setup(&dir.join(name)).start());
        assert_eq!(end, End::Status(1), "{line}");
        assert!(line.contains("refusing to overwrite '"), "{line}");
    }
    assert_eq!(names(&dir), before);
    assert_eq!(content(&target), "12\n");
    drop(socket);
}

/// rule: pidfile.overwrite
#[test]
fn start_on_a_full_disk_names_the_error_and_leaves_no_file() {
    let dir = TempDir::new();
    let full = "mount -t tmpfs -o size=4k,nr_inodes=8 full \"$1\" && head -c 9999 /dev/zero \
                >\"$1/ballast\"; shift; \"$@\"; status=$?; ls -A \"$0\" >&2; exit $status";
    let script =
        dir.script("in-a-full-directory", &format!("exec unshare -rm sh -c '{full}' \"$@\""));
    let disk = dir.join("disk");
    fs::create_dir(&disk).expect("the directory is ours");
    let disk_name = disk.display().to_string();
    let mut panzer =
        setup(&disk.join("panzer.pid")).through(&script, &[&disk_name, &disk_name]).start();
    assert_eq!(panzer.end(), End::Status(1));
    let lines = panzer.lines();
    let said = lines.iter().filter(|line| line.contains("cannot create pid file")).count();
    assert_eq!(said, 1, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("no space left on device (ENOSPC)")));
    assert_eq!(lines.last().map(String::as_str), Some("ballast"), "{lines:?}");
}

/// rule: pidfile.lock
#[test]
fn files_that_others_have_put_there_since_are_not_removed() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    let mut panzer = setup(&path).start();
    panzer.expect_current(1);
    fs::remove_file(&path).expect("it is there");
    fs::remove_file(socket_of(&path)).expect("it is there");
    fs::write(&path, "12\n").expect("the directory is ours");
    let other = UnixListener::bind(socket_of(&path)).expect("the path is free");
    panzer.stop();
    assert_eq!(names(&dir), ["panzer.pid", "panzer.sock"]);
    assert_eq!(content(&path), "12\n");
    drop(other);
}

/// rule: pidfile.lock
#[test]
fn failed_start_removes_its_files() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    let (end, line) = refused(setup(&path).options(&["--bind=192.0.2.1:1"]).start());
    assert_eq!(end, End::Status(1));
    assert!(line.contains("cannot listen on 192.0.2.1:1"), "{line}");
    assert_eq!(names(&dir), [""; 0]);
}

/// rule: pidfile.lock
#[test]
fn pid_file_is_open_in_main_alone() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    let mut panzer = setup(&path).start();
    panzer.expect_current(1);
    panzer.reload(2);
    // Compared by inode, because it was opened under its temporary name.
    let id = |file: fs::Metadata| (file.dev(), file.ino());
    let file = id(fs::metadata(&path).expect("it is there"));
    let matches = |entry: fs::DirEntry| fs::metadata(entry.path()).is_ok_and(|fd| id(fd) == file);
    let has = |pid: u32| {
        // A process that has exited meanwhile has no descriptors.
        let all = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        all.map_while(Result::ok).map(matches).filter(|matches| *matches).count()
    };
    assert_eq!(has(panzer.pid()), 1, "if it were open twice, closing one would release the lock");
    for pid in procfs::descendants(panzer.pid()) {
        assert_eq!(has(pid), 0);
    }
    let lock = File::open("/proc/locks").expect("/proc is mounted");
    let locks = std::io::read_to_string(lock).expect("it can be read");
    let mine = format!(" {} ", panzer.pid());
    assert!(locks.lines().any(|line| line.contains("POSIX") && line.contains(&mine)), "{locks}");
    panzer.stop();
}

/// rule: pidfile.rename
#[test]
fn a_reader_cannot_keep_main_from_starting() {
    let dir = TempDir::new();
    let path = leave(&dir, "12\n");
    let reader = File::open(&path).expect("it is there");
    reader.lock_shared().expect("no other process holds a lock of flock(2)");
    let mut panzer = setup(&path).start();
    panzer.expect_current(1);
    panzer.stop();
}

/// rule: pidfile.rename
#[test]
fn pid_file_replaced_before_its_lock_is_opened_again() {
    let dir = TempDir::new();
    let path = leave(&dir, "12\n");
    let (output, name) = (dir.join("trace").display().to_string(), path.display().to_string());
    // It is stopped in the call that opens the file.
    let stop = "-einject=?open,openat:signal=STOP:when=1";
    let words = ["-D", "-qqq", "-o", &output, "-P", &name, "-etrace=?open,openat", stop];
    let mut late = setup(&path).through(Path::new("strace"), &words).start();
    let pid = late.pid();
    let has = || procfs::descriptors(pid).iter().any(|fd| fd.contains("panzer.pid"));
    late.eventually("it has opened the file", has);
    let mut first = setup(&path).start();
    first.expect_current(1);
    continue_process(pid);
    let (end, line) = refused(late);
    assert_eq!(end, End::Status(3), "{line}");
    assert_eq!(content(&path), format!("{}\n", first.pid()));
    assert_eq!(ask_result(&path, "ready"), "done ready");
    first.stop();
}

/// rule: pidfile.rename
#[test]
fn an_env_file_that_is_the_pid_file_does_not_end_the_lock() {
    let dir = TempDir::new();
    let path = dir.join("panzer.pid");
    let option = format!("--env-file={}", path.display());
    let mut first = setup(&path).options(&[&option, "--give-up=0", "--delay=60"]).start();
    first.expect_line("restarting in");
    first.settle();
    let (end, line) = refused(setup(&path).start());
    assert_eq!(end, End::Status(3), "{line}");
    first.signal(Signal::Term);
    assert_eq!(first.end(), End::Status(0));
}
