//! How the sockets of `--bind` are opened, and what keeps them usable.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::harness::client::ask_unix;
use crate::harness::ctl::{ctl, python};
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer};
use crate::harness::setup::Setup;

/// A free port on the loopback interface.
fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    free.expect("a port is free")
}

/// A pid file in a directory, and the option for it.
fn pid_file(dir: &TempDir) -> (PathBuf, String) {
    let path = dir.join("panzer.pid");
    let option = format!("--pid={}", path.display());
    (path, option)
}

/// The lines of `status` about listeners.
fn listeners(pid_file: &Path) -> Vec<String> {
    let shown = ctl(pid_file, &["status"]).stdout;
    let is_listener =
        |line: &&str| ["bound", "adopted", "stored"].iter().any(|word| line.contains(word));
    shown.lines().filter(is_listener).map(str::to_string).collect()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn unix_socket_mode_is_from_option_or_umask() {
    for (option, expected) in [(Some("--socket-mode=0626"), 0o626), (None, 0o750)] {
        let dir = TempDir::new();
        let path = dir.join("socket");
        let bind = format!("--bind=unix:{}", path.display());
        let setup = Setup::new(Path::new("sleep"), &["600"]).options(&["-n1", "--ready=0", &bind]);
        let setup = setup.options(option.as_slice());
        let script = r#"umask 027; exec "$@""#;
        let mut panzer = setup.through(Path::new("sh"), &["-c", script, "sh"]).start();
        panzer.expect_current(1);
        assert_eq!(mode(&path), expected);
        panzer.stop();
    }
}

/// rule: store.kept
#[test]
fn link_local_address_with_interface_is_bound() {
    let (dir, port) = (TempDir::new(), free_address().port());
    let (pid_file, pid) = pid_file(&dir);
    let address = format!("[fe80::1%lo]:{port}");
    let script = r#"ip link set lo up && ip addr add fe80::1/64 dev lo nodad && exec "$@""#;
    let words = [&*address];
    let setup = Setup::new(&example("http"), &words).options(&["-n1", &pid]);
    let setup = setup.options(&[&format!("--bind={address}")]);
    let mut panzer = setup.through(Path::new("unshare"), &["-n", "sh", "-c", script, "sh"]).start();
    panzer.expect_line(&format!("listening on {address}"));
    panzer.expect_current(1);
    let shown = listeners(&pid_file);
    assert!(shown.len() == 1 && shown[0].contains(&address), "{shown:?}");
    panzer.reload(2);
    panzer.stop();
}

/// Makes the backlog of the descriptor in its argument as short as possible, and
/// becomes ready.
const SHORT: &str = r#"
import os, signal, socket, sys
socket.socket(fileno=int(sys.argv[1])).listen(0)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
    out.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)); out.send(b"READY=1")
signal.pause()
"#;

/// rule: store.receiver
#[test]
fn promotion_restores_backlog_except_of_adopted_socket() {
    let dir = TempDir::new();
    let (pid_file, pid) = pid_file(&dir);
    let setup = Setup::new(Path::new("python3"), &["-c", SHORT, "3"]);
    let mut panzer = setup.options(&["-n1", "--bind=127.0.0.1:0", &pid]).start();
    panzer.expect_current(1);
    panzer.settle();
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("/proc is mounted");
    let shown = listeners(&pid_file);
    assert!(shown[0].ends_with(&format!("queue 0 of {}", most.trim())), "{shown:?}");
    panzer.stop();

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#;
    let setup = Setup::new(Path::new("python3"), &["-c", SHORT, "3"]).options(&["-n1", &pid]);
    let setup = setup.stdin(OwnedFd::from(listener).into()).redirect("4<&0 0</dev/null");
    let mut panzer = setup.through(Path::new("sh"), &["-c", script]).start();
    panzer.expect_current(1);
    panzer.settle();
    let shown = listeners(&pid_file);
    assert!(shown[0].ends_with("queue 0 of 0"), "{shown:?}");
    panzer.stop();
}

/// A server on a Unix socket of `--bind`.
fn on_a_path(dir: &TempDir) -> (Panzer, PathBuf) {
    let path = dir.join("socket");
    let address = format!("unix:{}", path.display());
    let bind = format!("--bind={address}");
    let setup = Setup::new(&example("http"), &[&address]).options(&["-n1", &bind, "-v"]);
    let (_, pid) = pid_file(dir);
    let mut panzer = setup.options(&[&pid]).start();
    panzer.expect_current(1);
    ask_unix(&path).expect("it serves");
    (panzer, path)
}

/// rule: notify.sender
#[test]
fn removed_unix_path_is_bound_again_by_reload() {
    let dir = TempDir::new();
    let (mut panzer, path) = on_a_path(&dir);
    fs::remove_file(&path).expect("it is there");
    let (pid_file, _) = pid_file(&dir);
    let shown = ctl(&pid_file, &["status"]).stdout;
    assert!(shown.lines().any(|line| line == "  path gone: reload to bind it again"), "{shown}");
    panzer.reload(2);
    ask_unix(&path).expect("it serves");
    panzer.reload(3);
    ask_unix(&path).expect("it serves");
    // The socket that lost its path stays open as long as a generation has it.
    panzer.eventually("one is left", || listeners(&pid_file).len() == 1);
    assert!(!ctl(&pid_file, &["status"]).stdout.contains("path gone"));
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("its path was removed or replaced"), 1);
    assert!(!path.exists());
}

/// rule: notify.sender
#[test]
fn replaced_unix_path_is_bound_again_only_if_nothing_listens_there() {
    let dir = TempDir::new();
    let (mut panzer, path) = on_a_path(&dir);
    fs::remove_file(&path).expect("it is there");
    let other = UnixListener::bind(&path).expect("it is free");
    let (pid_file, _) = pid_file(&dir);
    let shown = ctl(&pid_file, &["status"]).stdout;
    assert!(shown.contains("\n  path taken by another file: reload to bind it again\n"), "{shown}");
    let reload = ctl(&pid_file, &["reload"]);
    assert!(reload.status == 1 && reload.stderr.contains("EADDRINUSE"), "{}", reload.stderr);
    drop(other);
    panzer.reload(2);
    ask_unix(&path).expect("it serves");
    panzer.stop();
}

#[test]
fn adopted_socket_is_used_for_bind_of_same_address() {
    for (name, bind) in [("web", "web="), ("other", "")] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let dir = TempDir::new();
        let (pid_file, pid) = pid_file(&dir);
        let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@""#;
        let words = [&*format!("web={address}")];
        let setup = Setup::new(&example("http"), &words).options(&["-n1", &pid]);
        let setup = setup.options(&[&format!("--bind={bind}{address}")]);
        let setup = setup.variable("LISTEN_FDNAMES", &format!("events:{name}"));
        let setup = setup.stdin(OwnedFd::from(listener).into()).redirect("4<&0 0</dev/null");
        let mut panzer = setup.through(Path::new("sh"), &["-c", script]).start();
        panzer.expect_current(1);
        panzer.reload(2);
        let shown = listeners(&pid_file);
        assert!(shown.len() == 1 && shown[0].contains("adopted"), "{shown:?}");
        panzer.stop();
    }
}

#[test]
fn bind_over_the_limit_leaves_no_unix_path() {
    let dir = TempDir::new();
    let path = dir.join("socket");
    let mut binds: Vec<_> =
        (0..128).map(|number| format!("--bind=n{number}=127.0.0.1:0")).collect();
    binds.push(format!("--bind=unix:{}", path.display()));
    let binds: Vec<_> = binds.iter().map(String::as_str).collect();
    let mut panzer = Setup::new(Path::new("sleep"), &["600"]).options(&binds).start();
    panzer.expect_line("limit of 128 sockets reached");
    assert_eq!(panzer.end(), End::Status(1));
    assert!(!path.exists());
}

/// rule: store.given-back
#[test]
fn conflicting_own_listener_is_named() {
    let dir = TempDir::new();
    let (port, (pid_file, pid)) = (free_address().port(), pid_file(&dir));
    let file = |host: &str| dir.write("panzer.yml", &format!("bind: a={host}:{port}\n"));
    let config = format!("--config={}", file("127.0.0.1").display());
    let setup = Setup::new(Path::new("sleep"), &["600"]).options(&["-n1", "--ready=0", &pid]);
    let mut panzer = setup.options(&[&config]).start();
    panzer.expect_current(1);
    file("0.0.0.0");
    let reload = ctl(&pid_file, &["reload"]);
    let expected = format!("beside our own a=127.0.0.1:{port}");
    assert!(reload.status == 1 && reload.stderr.contains(&expected), "{}", reload.stderr);
    panzer.stop();
}

/// A request to the HTTP example over a Unix path of any length.
const ASK: &str = r#"
import os, socket, sys
os.chdir(os.path.dirname(sys.argv[1]))
s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(os.path.basename(sys.argv[1]))
s.sendall(b"GET / HTTP/1.0\r\n\r\n"); print(s.recv(4096).decode())
"#;

#[test]
fn unix_path_may_exceed_108_bytes() {
    let dir = TempDir::new();
    let directory = dir.join(&"d".repeat(150)).join("e".repeat(150));
    fs::create_dir_all(&directory).expect("it can be made");
    let path = directory.join("socket");
    let address = format!("web=unix:{}", path.display());
    for bind in [Some(format!("--bind={address}")), None] {
        let setup = Setup::new(&example("http"), &[&address]).options(&["-n1"]);
        let setup = setup.options(&bind.as_deref().into_iter().collect::<Vec<_>>());
        let mut panzer = setup.start();
        panzer.expect_current(1);
        panzer.reload(2);
        let answer = python(ASK, &[path.to_str().expect("it is text")], "");
        assert!(answer.stdout.contains("gen=2"), "{} {}", answer.stdout, answer.stderr);
        panzer.stop();
        assert!(!path.exists(), "{bind:?}");
    }
}
