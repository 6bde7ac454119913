//! Nothing that other processes send, and no hung file server, can block main or flood
//! its log.
//!
//! The tests with FUSE need root and /dev/fuse.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use panzer::sys::{Signal, process};

use crate::harness::ctl::{begin, ctl, finish, python};
use crate::harness::files::{TempDir, example, panzer as program};
use crate::harness::notify::notify;
use crate::harness::panzer::{Panzer, send};
use crate::harness::setup::Setup;
use crate::harness::stream::Stream;
use crate::harness::{procfs, spawn_lock};

/// A file server that does not reply: tests/fixtures/fuse.py.
struct HungFileServer(Child);

impl HungFileServer {
    /// `None` without FUSE.
    fn begin(words: &[&str]) -> Option<Self> {
        if process::user() != 0 || !Path::new("/dev/fuse").exists() {
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fuse.py");
        let mut child = {
            let _lock = spawn_lock();
            let mut command = Command::new("python3");
            command.arg(script).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().expect("python3 is there")
        };
        let out = child.stdout.take().expect("it was asked for");
        Stream::read(out, |line| line).find(|line| line == "up").expect("FUSE works");
        Some(Self(child))
    }
}

impl Drop for HungFileServer {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// An idle pool with a pid file, and the path of its notify socket.
fn idle(dir: &TempDir, options: &[&str]) -> (Panzer, String) {
    let option = format!("--pid={}", dir.join("web.pid").display());
    let setup = Setup::new(&example("witness"), &["report=monitor", "run=idle"]);
    let mut panzer = setup.options(&["-n1", "-v", &option]).options(options).start();
    let line = panzer.expect_line("monitor env NOTIFY_SOCKET=");
    let (_, name) = line.split_once("NOTIFY_SOCKET=").expect("it was found");
    panzer.expect_current(1);
    (panzer, name.to_string())
}

/// Points the link at this directory.
fn point_link(dir: &TempDir, to: &str) {
    let link = dir.join("link");
    let _ = fs::remove_file(&link);
    symlink(dir.join(to), link).expect("it is free");
}

/// A directory of a test, a link in it, which leads to one directory, and another one,
/// for a hung file server.
fn linked() -> (TempDir, PathBuf, PathBuf) {
    let dir = TempDir::new();
    for name in ["here", "away"] {
        fs::create_dir(dir.join(name)).expect("it is new");
    }
    point_link(&dir, "here");
    let (link, away) = (dir.join("link"), dir.join("away"));
    (dir, link, away)
}

/// Whether main replies to a status request.
fn answers(pid_file: &Path) -> bool {
    ctl(pid_file, &["--timeout=10", "status"]).status == 0
}

fn receivers(main: u32) -> usize {
    procfs::children(main).into_iter().filter(|pid| procfs::name(*pid).contains("receiver")).count()
}

#[test]
fn descriptor_that_hangs_on_close_blocks_its_receiver_alone() {
    let dir = TempDir::new();
    let pid_file = dir.join("web.pid");
    for words in ["FDSTORE=1\nFDNAME=x", "STATUS=here", "BARRIER=1"] {
        let (mut panzer, name) = idle(&dir, &[]);
        let Some(away) = HungFileServer::begin(&["file", &name, words]) else {
            drop(panzer.stop());
            return;
        };
        assert!(answers(&pid_file));
        panzer.expect_line("no longer waiting for child ");
        assert_eq!(receivers(panzer.pid()), 1);
        // Later messages are read, and everything else goes on.
        notify(&name, "STOPPING=1");
        panzer.expect_line("sent STOPPING=1");
        panzer.reload(2);
        assert!(answers(&pid_file));
        assert_eq!(panzer.count_lines("no longer waiting for child"), 1);
        drop(away);
        let main = panzer.pid();
        panzer.eventually("the receiver has ended", || receivers(main) == 0);
        panzer.stop();
    }
}

#[test]
fn main_exits_while_a_receiver_hangs() {
    let dir = TempDir::new();
    let (panzer, name) = idle(&dir, &[]);
    let away = HungFileServer::begin(&["file", &name, "FDSTORE=1"]);
    panzer.stop();
    drop(away);
}

#[test]
fn dead_monitor_is_replaced_although_its_receiver_hangs() {
    let dir = TempDir::new();
    let (mut panzer, name) = idle(&dir, &[]);
    let monitor = panzer.expect_monitor(1);
    let away = HungFileServer::begin(&["file", &name, "FDSTORE=1"]);
    send(monitor, Signal::Kill);
    panzer.expect_current(2);
    drop(away);
    panzer.stop();
}

/// A reload, and the start after a dead monitor, need files that cannot be read.
#[test]
fn hung_file_server_of_the_configuration_fails_the_reload_only() {
    let dir = TempDir::new();
    let pid_file = dir.join("web.pid");
    for name in ["conf", "away"] {
        fs::create_dir(dir.join(name)).expect("it is new");
    }
    fs::write(dir.join("conf/panzer.yml"), "count: 1\n").expect("it is ours");
    fs::write(dir.join("conf/env"), "A=b\n").expect("it is ours");
    let link = dir.join("link");
    let point_link = |to: &str| point_link(&dir, to);
    point_link("conf");
    let config = format!("--config={}", link.join("panzer.yml").display());
    let env = format!("--env-file={}", link.join("env").display());
    let (mut panzer, _) = idle(&dir, &[&config, &env]);
    let away = dir.join("away");
    let Some(server) = HungFileServer::begin(&["directory", &away.to_string_lossy()]) else {
        drop(panzer.stop());
        return;
    };
    point_link("away");
    let reload = begin(&pid_file, &["reload"]);
    panzer.expect_line("control: reload requested by pid");
    assert!(answers(&pid_file));
    let outcome = finish(reload);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("is its file server unreachable?"), "{}", outcome.stderr);
    // Every start reads the env file, too.
    let monitor = panzer.expect_monitor(1);
    send(monitor, Signal::Kill);
    panzer.expect("failed", 2);
    assert!(answers(&pid_file));
    point_link("conf");
    drop(server);
    let main = panzer.pid();
    panzer.eventually("no reader is left", || {
        let is_loader = |pid: &u32| procfs::name(*pid).contains("loader");
        !procfs::children(main).iter().any(is_loader)
    });
    assert_eq!(ctl(&pid_file, &["reload"]).status, 0);
    panzer.stop();
}

/// A reload checks that the path of a Unix socket still leads to it.
#[test]
fn hung_file_server_of_a_unix_socket_fails_the_reload_only() {
    let (dir, link, away) = linked();
    let bind = format!("--bind=unix:{}", link.join("socket").display());
    let (mut panzer, _) = idle(&dir, &[&bind]);
    let Some(server) = HungFileServer::begin(&["directory", &away.to_string_lossy()]) else {
        drop(panzer.stop());
        return;
    };
    point_link(&dir, "away");
    let reload = begin(&dir.join("web.pid"), &["reload"]);
    panzer.expect_line("control: reload requested by pid");
    assert_eq!(ctl(&dir.join("web.pid"), &["--timeout=10", "ready"]).status, 0);
    let outcome = finish(reload);
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stderr.contains("or looking at the pid file and the Unix sockets"),
        "{}",
        outcome.stderr
    );
    drop(server);
    panzer.stop();
}

#[test]
fn hung_file_server_of_the_pid_file_does_not_delay_a_restart() {
    let (dir, link, away) = linked();
    let option = format!("--pid={}", link.join("web.pid").display());
    let setup = Setup::new(&example("witness"), &["run=idle"]);
    let mut panzer = setup.options(&["-n1", &option]).start();
    panzer.expect_current(1);
    let Some(server) = HungFileServer::begin(&["directory", &away.to_string_lossy()]) else {
        drop(panzer.stop());
        return;
    };
    point_link(&dir, "away");
    panzer.signal(Signal::Usr2);
    panzer.expect_line("now running panzer");
    panzer.settle();
    panzer.expect_event("the restart", |event| event.name == "restarted");
    drop(server);
    panzer.stop();
}

#[test]
fn restart_requested_while_another_reads_the_configuration_follows_it() {
    let dir = TempDir::new();
    let pid_file = dir.join("web.pid");
    let config = dir.join("config");
    fs::create_dir(&config).expect("it is new");
    let Some(server) = HungFileServer::begin(&["loaders", &config.to_string_lossy()]) else {
        return;
    };
    let option = format!("--pid={}", pid_file.display());
    let setup = Setup::new(&example("witness"), &["run=idle"]).directory(dir.path());
    let mut panzer = setup.options(&["-n1", &option]).start();
    panzer.expect_current(1);
    let first = begin(&pid_file, &["restart"]);
    panzer.expect_line("now running panzer");
    let second = begin(&pid_file, &["restart"]);
    panzer.expect_line("control: restart requested by pid");
    drop(server);
    for outcome in [finish(first), finish(second)] {
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    }
    panzer.settle();
    assert_eq!(panzer.count("restarted"), 2);
    panzer.stop();
}

#[test]
fn reloads_requested_while_one_reads_the_configuration_are_coalesced() {
    let dir = TempDir::new();
    let (mut panzer, _) = idle(&dir, &["--probation=0"]);
    let asked: Vec<_> = (0..6).map(|_| begin(&dir.join("web.pid"), &["reload"])).collect();
    assert!(asked.into_iter().all(|child| finish(child).status == 0));
    panzer.settle();
    let started = panzer.count("started");
    assert!((2..=7).contains(&started), "{started}");
    panzer.stop();
}

#[test]
fn status_reads_no_file_in_main() {
    let dir = TempDir::new();
    for name in ["bin", "away"] {
        fs::create_dir(dir.join(name)).expect("it is new");
    }
    let bytes = fs::read(program()).expect("the program is there");
    let copy = dir.program("bin/panzer", &bytes);
    let link = dir.join("link");
    symlink(dir.join("bin"), &link).expect("it is free");
    let pid_file = dir.join("web.pid");
    let option = format!("--pid={}", pid_file.display());
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1", &option]);
    let mut panzer = setup.program(&link.join("panzer")).start();
    panzer.expect_current(1);
    let binary = |of: &str| {
        let outcome = ctl(&pid_file, &["--timeout=10", "status", "--json"]);
        outcome.stdout.contains(&format!("\"binary\":{of}"))
    };
    assert!(binary("\"same\""));
    let away = dir.join("away");
    if let Some(server) = HungFileServer::begin(&["directory", &away.to_string_lossy()]) {
        fs::remove_file(&link).expect("it is ours");
        symlink(&away, &link).expect("it is free");
        assert!(binary("null"), "null if it is not known");
        drop(server);
    }
    drop(copy);
    panzer.stop();
}

/// Sends many messages, each with the most descriptors that fit.
const FLOOD: &str = r#"
import array, os, socket, sys
main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 253))]
for _ in range(40):
    main.sendmsg([b"FDSTORE=1"], rights, 0, sys.argv[1])
"#;

#[test]
fn refused_descriptors_are_one_line_a_second() {
    let dir = TempDir::new();
    let (mut panzer, name) = idle(&dir, &[]);
    panzer.rest();
    let before = procfs::descriptors(panzer.pid());
    assert_eq!(python(FLOOD, &[&name], "").status, 0);
    panzer.expect_line("refused FDSTORE 'stored': not a listening socket (253 descriptors)");
    panzer.expect_line("suppressed: refused FDSTORE");
    let main = panzer.pid();
    panzer.eventually("main has none of them", || procfs::descriptors(main) == before);
    assert!(panzer.count_lines("refused") < 20);
    panzer.stop();
}

/// Sends a BARRIER=1, and waits until main has closed its descriptor.
const BARRIER: &str = r#"
import os, socket, sys
read, write = os.pipe()
main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
main.connect(sys.argv[1])
socket.send_fds(main, [b"BARRIER=1"], [write])
os.close(write)
sys.exit(len(os.read(read, 1)))
"#;

#[test]
fn barrier_is_passed_once_main_has_read_earlier_messages() {
    let dir = TempDir::new();
    let (panzer, name) = idle(&dir, &[]);
    assert_eq!(python(BARRIER, &[&name], "").status, 0);
    panzer.stop();
}

#[test]
fn notify_socket_is_in_a_private_directory_for_the_life_of_its_generation() {
    let dir = TempDir::new();
    let (mut panzer, name) = idle(&dir, &[]);
    let main = panzer.pid();
    let home = |generation: u32| dir.join(&format!("web.{main}.{generation}"));
    assert_eq!(Path::new(&name), home(1).join("notify"));
    let mode = |path: &Path| {
        fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
    };
    assert_eq!((mode(&home(1)), mode(Path::new(&name))), (0o700, 0o600));
    panzer.reload(2);
    panzer.eventually("the first directory is gone", || !home(1).exists());
    assert!(home(2).exists());
    panzer.stop();
    assert!(!home(2).exists());
}

#[test]
fn only_private_unused_notify_directories_of_a_dead_main_are_removed() {
    let dir = TempDir::new();
    let homes =
        ["web.7.1", "web.7.2", "web.7.3", "web.7.4", "other.7.1"].map(|name| dir.join(name));
    for home in &homes {
        fs::create_dir(home).expect("it is new");
        fs::set_permissions(home, fs::Permissions::from_mode(0o700)).expect("it is ours");
        drop(UnixDatagram::bind(home.join("notify")).expect("it is free"));
    }
    // One is open to other users, one contains another file, and one is in use.
    fs::set_permissions(&homes[1], fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(homes[2].join("file"), "").expect("it is ours");
    fs::remove_file(homes[3].join("notify")).expect("it is ours");
    let used = UnixDatagram::bind(homes[3].join("notify")).expect("it is free");
    let (panzer, _) = idle(&dir, &[]);
    let there: Vec<_> = homes.iter().map(|home| home.join("notify").exists()).collect();
    assert_eq!(there, [false, true, true, true, true]);
    assert!(!homes[0].exists());
    drop(used);
    panzer.stop();
}

#[test]
fn hung_mount_named_like_a_notify_directory_does_not_block_the_start() {
    let dir = TempDir::new();
    let mount = dir.join("web.7.1");
    fs::create_dir(&mount).expect("it is new");
    fs::set_permissions(&mount, fs::Permissions::from_mode(0o700)).expect("it is ours");
    dir.gate("web.7.2");
    // Dropped first: should main wait for the server, its stop would hang.
    let (mut panzer, away);
    away = HungFileServer::begin(&["mute", &mount.to_string_lossy()]);
    let option = format!("--pid={}", dir.join("web.pid").display());
    panzer = Setup::new(&example("witness"), &["run=idle"]).options(&["-n1", &option]).start();
    panzer.expect_current(1);
    drop(away);
    panzer.stop();
    assert!(mount.exists() && dir.join("web.7.2").exists());
}

#[test]
fn notify_directory_with_5000_sockets_is_removed() {
    let dir = TempDir::new();
    let home = dir.join("web.7.1");
    fs::create_dir(&home).expect("it is new");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("it is ours");
    drop(UnixDatagram::bind(home.join("notify")).expect("it is free"));
    for number in 0..5_000 {
        let path = home.join(format!("worker.{number}"));
        drop(UnixDatagram::bind(path).expect("it is free"));
    }
    let (panzer, _) = idle(&dir, &[]);
    assert!(!home.exists());
    panzer.stop();
}

#[test]
fn notify_socket_belongs_to_the_user_of_its_generation() {
    if process::user() != 0 {
        return;
    }
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("it is ours");
    let bytes = fs::read(example("witness")).expect("it was built");
    let app = dir.program("app", &bytes);
    let option = format!("--pid={}", dir.join("web.pid").display());
    let setup = Setup::new(&app, &["report=monitor", "run=idle"]).directory(dir.path());
    let mut panzer = setup.options(&["-n1", "--user=4242:4343", &option]).start();
    let line = panzer.expect_line("monitor env NOTIFY_SOCKET=");
    let (_, name) = line.split_once("NOTIFY_SOCKET=").expect("it was found");
    let notify = Path::new(name);
    panzer.expect_current(1);
    for path in [notify.parent().expect("it stands in a directory"), notify] {
        use std::os::unix::fs::MetadataExt as _;
        let found = fs::symlink_metadata(path).expect("it is there");
        assert_eq!((found.uid(), found.gid()), (4242, 4343), "{}", path.display());
    }
    panzer.stop();
}

/// Connects to the control socket, and sends a descriptor with the request.
const ASK: &str = r#"
import array, socket, sys
main = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
main.connect(sys.argv[1])
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))]
try:
    main.sendmsg([b"panzer/1 ready\n"], rights)
    sys.exit(len(main.recv(64)))
except OSError:
    pass
"#;

#[test]
fn control_client_that_sends_descriptors_is_not_served() {
    let dir = TempDir::new();
    let (mut panzer, _) = idle(&dir, &[]);
    panzer.rest();
    let before = procfs::descriptors(panzer.pid());
    let socket = dir.join("web.sock");
    assert_eq!(python(ASK, &[&socket.to_string_lossy()], "").status, 0);
    let main = panzer.pid();
    panzer.eventually("main has none of it", || procfs::descriptors(main) == before);
    assert!(answers(&dir.join("web.pid")));
    panzer.stop();
}
