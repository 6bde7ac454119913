//! Memory has run out: the kernel kills a worker or a monitor, or main panics.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::ctl::ctl;
use crate::harness::files::{self, TempDir, example};
use crate::harness::panzer::send;
use crate::harness::setup::Setup;
use crate::harness::{TIMEOUT, skip};

/// The memory limit for all processes of a test.
const LIMIT: &str = "67108864";

/// A control group with a memory limit: cgroups(7).
struct Group {
    path: PathBuf,
}

impl Group {
    /// One for `test`; `None` if this machine does not permit it.
    fn new(test: &str) -> Option<Self> {
        let mut errors = String::new();
        for (hierarchy, limit, also, swap) in [
            ("memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", LIMIT),
            ("", "memory.max", "memory.swap.max", "0"),
        ] {
            let name = format!("panzer-test-{}-{test}", std::process::id());
            let group = Self { path: Path::new("/sys/fs/cgroup").join(hierarchy).join(name) };
            let limited = fs::create_dir(&group.path).and_then(|()| {
                // Without the memory controller this file does not exist.
                let file = OpenOptions::new().write(true).open(group.path.join(limit));
                file.and_then(|mut file| file.write_all(LIMIT.as_bytes()))
            });
            match limited {
                Ok(()) => {
                    // Where there is swap, it must be limited too.
                    let file = OpenOptions::new().write(true).open(group.path.join(also));
                    let _ = file.and_then(|mut file| file.write_all(swap.as_bytes()));
                    return Some(group);
                }
                Err(error) => errors = format!("{errors} {hierarchy} {limit}: {error};"),
            }
        }
        skip(test, &format!("no group with a limit of memory:{errors}"));
        None
    }

    /// Has a panzer started inside it.
    fn around(&self, setup: Setup) -> Setup {
        let join = r#"echo $$ >"$0" && exec "$@""#;
        let members = self.path.join("cgroup.procs");
        setup.through(Path::new("sh"), &["-c", join, &members.display().to_string()])
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = Instant::now() + TIMEOUT;
        // A process that was just killed needs a moment to leave the group.
        while fs::remove_dir(&self.path).is_err() && self.path.exists() && Instant::now() < deadline
        {
            std::thread::yield_now();
        }
    }
}

/// rule: log.out-of-memory
#[test]
fn sigkill_of_a_worker_is_reported_as_out_of_memory_only_if_the_kernel_sent_it() {
    let Some(group) = Group::new("sigkill_of_a_worker_is_reported_as_out_of_memory") else {
        return;
    };
    let dir = TempDir::new();
    let pid_file = dir.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = group.around(setup.options(&[&option, "-n2", "--delay=0"])).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (mut held, starved) = Held::hold(address).expect("it serves");
    held.send("eat").expect("it reads");
    let death = |pid: u32| format!("(pid {pid}) of generation 1: killed by SIGKILL after ");
    let line = panzer.expect_line(&death(starved.pid));
    assert!(line.contains("(out of memory)"), "{line}");
    panzer.expect_event("its end", |event| {
        event.pid == starved.pid && event.reason == "killed by SIGKILL (out of memory)"
    });
    panzer.expect_event("another", |event| event.name == "respawn" && event.slot == starved.slot);

    let both = panzer.workers(monitor);
    send(both[0], Signal::Kill);
    let line = panzer.expect_line(&death(both[0]));
    assert!(!line.contains("(out of memory)"), "{line}");
    panzer.expect_event("another", |event| event.name == "respawn");

    let other = panzer.workers(monitor).into_iter().find(|pid| !both.contains(pid));
    let other = other.expect("it was replaced");
    send(other, Signal::Kill);
    let line = panzer.expect_line(&death(other));
    assert!(!line.contains("(out of memory)"), "{line}");
    panzer.expect_event("another", |event| event.name == "respawn");
    let shown = ctl(&pid_file, &["status", "--json"]).stdout;
    assert!(shown.contains(r#""last_reason":"unknown""#), "{shown}");
    panzer.stop();
}

/// rule: log.out-of-memory
#[test]
fn sigkill_of_a_monitor_is_reported_as_out_of_memory_only_if_the_kernel_sent_it() {
    let Some(group) = Group::new("sigkill_of_a_monitor_is_reported_as_out_of_memory") else {
        return;
    };
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &["run=idle"]);
    let setup = Setup::new(&app, &[]).options(&["-n1", "--delay=0"]);
    let mut panzer = group.around(setup).start();
    let monitor = panzer.expect_current(1);
    dir.app(&example("witness"), &["eat"]);
    panzer.signal(Signal::Usr1);
    let starved = panzer.expect_monitor(2);
    let line =
        panzer.expect_line(&format!("monitor (pid {starved}) of generation 2: killed by SIGKILL"));
    assert!(line.ends_with("(out of memory)"), "{line}");
    panzer.expect_line("generation 2: failed: its monitor killed by SIGKILL (out of memory)");

    dir.app(&example("witness"), &["run=idle"]);
    send(monitor, Signal::Kill);
    let line =
        panzer.expect_line(&format!("monitor (pid {monitor}) of generation 1: killed by SIGKILL"));
    assert!(!line.contains("(out of memory)"), "{line}");
    panzer.expect_current(3);
    panzer.stop();
}

#[test]
fn panic_says_its_place_and_its_reason() {
    // 150,000 words are more than the limit leaves room for.
    let panicked = Command::new("prlimit")
        .arg("--as=12582912")
        .arg(files::panzer())
        .arg("--check")
        .args(std::iter::repeat_n("a", 150_000))
        .output()
        .expect("prlimit is there");
    let told = String::from_utf8_lossy(&panicked.stderr);
    assert_eq!(panicked.status.signal(), Some(6), "{told}");
    let words = told.strip_prefix("panzer: panicked at ").expect(&told);
    let (place, reason) = words.split_once(": ").expect(&told);
    assert!(place.contains(".rs:"), "{told}");
    assert!(reason.starts_with("memory allocation of "), "{told}");
    assert!(reason.ends_with(" bytes failed\n") && told.lines().count() == 1, "{told}");
}
