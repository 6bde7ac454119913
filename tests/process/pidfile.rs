//! The pid file: whose it is, and what is left alone.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::harness::look;
use crate::harness::operator::{ask_briefly, socket_of};
use crate::harness::panzer::{End, Panzer, continue_process, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use panzer::sys::Signal;

fn setup(pid_file: &Path) -> Setup {
    let option = format!("--pid={}", pid_file.display());
    Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=idle"]).options(&["-n1", &option])
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).expect("it is there")
}

fn permissions(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
}

/// The names of everything in a place.
fn names(place: &Place) -> Vec<String> {
    let all = fs::read_dir(place.path()).expect("the place is there");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = all.map(|entry| name(entry.expect("it can be listed"))).collect();
    names.sort();
    names
}

/// A panzer that does not begin: its status, and its one line.
fn refused(mut panzer: Panzer) -> (End, String) {
    let end = panzer.end();
    let lines = panzer.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    (end, lines.into_iter().next().expect("there is one"))
}

/// RATIONALE 11.1
#[test]
fn the_pid_file_is_there_for_as_long_as_main_is() {
    let place = Place::new();
    let path = place.join("panzer.pid");
    let mut panzer = setup(&path).start();
    panzer.expect_current(1);
    assert_eq!(content(&path), format!("{}\n", panzer.pid()));
    assert_eq!((permissions(&path), permissions(&socket_of(&path))), (0o600, 0o600));
    assert_eq!(names(&place), ["panzer.pid", "panzer.sock"]);
    panzer.stop();
    assert_eq!(names(&place), [""; 0]);
}

/// RATIONALE 11.2
#[test]
fn without_an_option_the_pid_file_is_in_tmp_if_that_is_there() {
    let place = Place::new();
    let words = ["listen=127.0.0.1:0", "run=idle"];
    let setup =
        || Setup::new(&example("witness"), &words).options(&["-n1"]).directory(place.path());
    let mut panzer = setup().start();
    panzer.expect_line("no pid file and no control socket");
    panzer.expect_current(1);
    assert_eq!(names(&place), [""; 0]);
    panzer.stop();
    fs::create_dir(place.join("elsewhere")).expect("the place is ours");
    symlink("elsewhere", place.join("tmp")).expect("the place is ours");
    let mut panzer = setup().start();
    panzer.expect_current(1);
    assert_eq!(content(&place.join("elsewhere/panzer.pid")), format!("{}\n", panzer.pid()));
    assert_eq!(ask_briefly(&place.join("tmp/panzer.pid"), "ready"), "done ready");
    panzer.stop();
}

/// RATIONALE 11.2
#[test]
fn a_pid_file_that_nobody_has_asked_for_and_that_cannot_be_made_is_one_warning() {
    let place = Place::new();
    fs::create_dir_all(place.join("tmp/panzer.pid")).expect("the place is ours");
    let words = ["listen=127.0.0.1:0", "run=idle"];
    let setup = Setup::new(&example("witness"), &words).options(&["-n1"]).directory(place.path());
    let mut panzer = setup.start();
    panzer.expect_current(1);
    panzer.reload(2);
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("WARN"), 1, "{:?}", panzer.lines());
}

/// RATIONALE 11.3
#[test]
fn a_second_main_is_refused_and_leaves_the_first_ones_files_alone() {
    let place = Place::new();
    let path = place.join("panzer.pid");
    let mut first = setup(&path).start();
    first.expect_current(1);
    for _ in 0..3 {
        let (end, line) = refused(setup(&path).start());
        assert_eq!(end, End::Status(3));
        let who = format!("panzer: process {} runs already: it has locked '", first.pid());
        assert!(line.starts_with(&who), "{line}");
    }
    // One that knows no number of the first has the same from the kernel.
    let apart = setup(&path).through("unshare".as_ref(), &["-rpf"]);
    let (end, line) = refused(apart.start());
    assert_eq!(end, End::Status(3));
    assert!(line.starts_with("panzer: another process has locked '"), "{line}");
    assert_eq!(content(&path), format!("{}\n", first.pid()));
    assert_eq!(names(&place), ["panzer.pid", "panzer.sock"]);
    assert_eq!(ask_briefly(&path, "ready"), "done ready");
    first.stop();
}

/// RATIONALE 11.3
#[test]
fn of_many_that_start_at_once_one_wins() {
    let place = Place::new();
    let path = place.join("panzer.pid");
    for _ in 0..5 {
        let all: Vec<_> = (0..4).map(|_| setup(&path).start()).collect();
        let (mut won, mut lost) = (Vec::new(), 0);
        for mut panzer in all {
            if panzer.begins() {
                won.push(panzer);
            } else {
                assert_eq!(panzer.end(), End::Status(3), "{:?}", panzer.lines());
                lost += 1;
            }
        }
        assert_eq!((won.len(), lost), (1, 3));
        let winner = won.pop().expect("there is one");
        assert_eq!(content(&path), format!("{}\n", winner.pid()));
        assert_eq!(ask_briefly(&path, "ready"), "done ready");
        winner.stop();
        assert_eq!(names(&place), [""; 0]);
    }
}

/// RATIONALE 11.3
#[test]
fn what_a_dead_main_has_left_is_replaced() {
    let place = Place::new();
    let path = place.join("panzer.pid");
    let mut dead = setup(&path).start();
    dead.expect_current(1);
    send(dead.pid(), Signal::Kill);
    assert_eq!(dead.end(), End::Signal(9));
    assert_eq!(names(&place), ["panzer.pid", "panzer.sock"]);
    fs::write(place.join("panzer.pid.new"), "12").expect("the place is ours");
    drop(UnixListener::bind(place.join("panzer.sock.new")).expect("the place is ours"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let mut panzer = setup(&path).start();
    panzer.expect_current(1);
    assert_eq!(content(&path), format!("{}\n", panzer.pid()));
    assert_eq!((permissions(&path), permissions(&socket_of(&path))), (0o600, 0o600));
    assert_eq!(ask_briefly(&path, "ready"), "done ready");
    panzer.stop();
    assert_eq!(names(&place), [""; 0]);
}

/// RATIONALE 11.3
#[test]
fn an_empty_file_and_one_with_a_number_are_pid_files() {
    for text in ["", "1", "1\n", "4294967295\n"] {
        let place = Place::new();
        let path = place.write("panzer.pid", text);
        let mut panzer = setup(&path).start();
        panzer.expect_current(1);
        panzer.stop();
    }
}

/// RATIONALE 11.4
#[test]
fn what_is_no_pid_file_is_refused_and_left_alone() {
    let megabyte = "7".repeat(1 << 20);
    for text in ["junk\n", "-1\n", "1 2\n", "0x1\n", "\0", &megabyte] {
        let place = Place::new();
        let path = place.write("panzer.pid", text);
        let (end, line) = refused(setup(&path).start());
        assert_eq!(end, End::Status(1), "{line}");
        assert!(line.ends_with("is no pid file: it is left alone"), "{line}");
        assert_eq!(content(&path), text);
        assert_eq!(names(&place), ["panzer.pid"]);
    }
}

/// RATIONALE 11.4
#[test]
fn links_pipes_directories_and_devices_are_refused_and_nobody_waits() {
    let place = Place::new();
    let target = place.write("target", "12\n");
    symlink(&target, place.join("link")).expect("the place is ours");
    symlink(place.join("nothing"), place.join("dangling")).expect("the place is ours");
    place.gate("pipe");
    fs::create_dir(place.join("directory")).expect("the place is ours");
    let socket = UnixListener::bind(place.join("socket")).expect("the place is ours");
    let before = names(&place);
    let mut paths: Vec<_> = before.iter().filter(|name| *name != "target").collect();
    let device = "/dev/null".to_string();
    paths.push(&device);
    for name in paths {
        let (end, line) = refused(setup(&place.join(name)).start());
        assert_eq!(end, End::Status(1), "{line}");
        assert!(line.ends_with("is no pid file: it is left alone"), "{line}");
    }
    assert_eq!(names(&place), before);
    assert_eq!(content(&target), "12\n");
    drop(socket);
}

/// RATIONALE 11.4
#[test]
fn a_start_on_a_full_disk_says_so_and_leaves_nothing_behind() {
    let place = Place::new();
    let full = "mount -t tmpfs -o size=4k,nr_inodes=8 full \"$1\" && head -c 9999 /dev/zero \
                >\"$1/ballast\"; shift; \"$@\"; status=$?; ls -A \"$0\" >&2; exit $status";
    let script =
        place.script("in-a-full-place", &format!("exec unshare -rm sh -c '{full}' \"$@\""));
    let disk = place.join("disk");
    fs::create_dir(&disk).expect("the place is ours");
    let disk_name = disk.display().to_string();
    let mut panzer =
        setup(&disk.join("panzer.pid")).through(&script, &[&disk_name, &disk_name]).start();
    assert_eq!(panzer.end(), End::Status(1));
    let lines = panzer.lines();
    let said = lines.iter().filter(|line| line.contains("cannot make the pid file")).count();
    assert_eq!(said, 1, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("no space left on device (ENOSPC)")));
    assert_eq!(lines.last().map(String::as_str), Some("ballast"), "{lines:?}");
}

/// RATIONALE 11.1
#[test]
fn files_that_are_somebody_elses_by_now_are_left_alone() {
    let place = Place::new();
    let path = place.join("panzer.pid");
    let mut panzer = setup(&path).start();
    panzer.expect_current(1);
    fs::remove_file(&path).expect("it is there");
    fs::remove_file(socket_of(&path)).expect("it is there");
    fs::write(&path, "12\n").expect("the place is ours");
    let other = UnixListener::bind(socket_of(&path)).expect("the path is free");
    panzer.stop();
    assert_eq!(names(&place), ["panzer.pid", "panzer.sock"]);
    assert_eq!(content(&path), "12\n");
    drop(other);
}

/// RATIONALE 11.1
#[test]
fn a_start_that_fails_takes_its_files_away() {
    let place = Place::new();
    let path = place.join("panzer.pid");
    let (end, line) = refused(setup(&path).options(&["--bind=192.0.2.1:1"]).start());
    assert_eq!(end, End::Status(1));
    assert!(line.contains("cannot listen on 192.0.2.1:1"), "{line}");
    assert_eq!(names(&place), [""; 0]);
}

/// RATIONALE 11.1
#[test]
fn the_lock_is_mains_alone_and_nobody_below_has_the_file() {
    let place = Place::new();
    let path = place.join("panzer.pid");
    let mut panzer = setup(&path).start();
    panzer.expect_current(1);
    panzer.reload(2);
    let has = |pid| look::descriptors(pid).iter().filter(|fd| fd.contains("panzer.pid")).count();
    assert_eq!(has(panzer.pid()), 1, "opened twice, the lock would go with one of them");
    for pid in look::descendants(panzer.pid()) {
        assert_eq!(has(pid), 0);
    }
    let lock = File::open("/proc/locks").expect("/proc is mounted");
    let locks = std::io::read_to_string(lock).expect("it can be read");
    let mine = format!(" {} ", panzer.pid());
    assert!(locks.lines().any(|line| line.contains("POSIX") && line.contains(&mine)), "{locks}");
    panzer.stop();
}

/// RATIONALE 11.3
#[test]
fn a_reader_cannot_keep_main_from_starting() {
    let place = Place::new();
    let path = place.write("panzer.pid", "12\n");
    let reader = File::open(&path).expect("it is there");
    reader.lock_shared().expect("nobody else has a lock of flock(2)");
    let mut panzer = setup(&path).start();
    panzer.expect_current(1);
    panzer.stop();
}

/// RATIONALE 11.3
#[test]
fn who_is_overtaken_before_he_has_the_lock_looks_again() {
    let place = Place::new();
    let path = place.write("panzer.pid", "12\n");
    let (output, name) = (place.join("trace").display().to_string(), path.display().to_string());
    // It is stopped as it opens the file, and comes no further.
    let stop = "-einject=?open,openat:signal=STOP:when=1";
    let words = ["-D", "-qqq", "-o", &output, "-P", &name, "-etrace=?open,openat", stop];
    let mut late = setup(&path).through(Path::new("strace"), &words).start();
    let pid = late.pid();
    let has = || look::descriptors(pid).iter().any(|fd| fd.contains("panzer.pid"));
    late.eventually("it has opened the file", has);
    let mut first = setup(&path).start();
    first.expect_current(1);
    continue_process(pid);
    let (end, line) = refused(late);
    assert_eq!(end, End::Status(3), "{line}");
    assert_eq!(content(&path), format!("{}\n", first.pid()));
    assert_eq!(ask_briefly(&path, "ready"), "done ready");
    first.stop();
}

/// RATIONALE 11.3
#[test]
fn main_keeps_the_lock_although_it_has_read_the_same_file() {
    let place = Place::new();
    let path = place.join("panzer.pid");
    let option = format!("--env-file={}", path.display());
    let mut first = setup(&path).options(&[&option, "--give-up=0", "--delay=60"]).start();
    first.expect_line("the next start waits");
    first.settle();
    let (end, line) = refused(setup(&path).start());
    assert_eq!(end, End::Status(3), "{line}");
    first.signal(Signal::Term);
    assert_eq!(first.end(), End::Status(0));
}
