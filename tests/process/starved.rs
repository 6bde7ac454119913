//! The kernel kills a worker or a monitor, for there is no memory left.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::ctl::ctl;
use crate::harness::panzer::send;
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::{PATIENCE, skip};

/// All the memory there is for everybody of a test.
const LIMIT: &str = "67108864";

/// A control group in which memory is short: cgroups(7).
struct Group {
    path: PathBuf,
}

impl Group {
    /// One for `test`; none where this machine lets us make none.
    fn new(test: &str) -> Option<Self> {
        let mut why = String::new();
        for (hierarchy, limit, also, swap) in [
            ("memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", LIMIT),
            ("", "memory.max", "memory.swap.max", "0"),
        ] {
            let name = format!("panzer-test-{}-{test}", std::process::id());
            let group = Self { path: Path::new("/sys/fs/cgroup").join(hierarchy).join(name) };
            let limited = fs::create_dir(&group.path).and_then(|()| {
                // Without the controller there is no such file to be opened.
                let file = OpenOptions::new().write(true).open(group.path.join(limit));
                file.and_then(|mut file| file.write_all(LIMIT.as_bytes()))
            });
            match limited {
                Ok(()) => {
                    // What may be swapped out is not short, where there is swap.
                    let file = OpenOptions::new().write(true).open(group.path.join(also));
                    let _ = file.and_then(|mut file| file.write_all(swap.as_bytes()));
                    return Some(group);
                }
                Err(error) => why = format!("{why} {hierarchy} {limit}: {error};"),
            }
        }
        skip(test, &format!("no group with a limit of memory:{why}"));
        None
    }

    /// Has a panzer started in it.
    fn around(&self, setup: Setup) -> Setup {
        let join = r#"echo $$ >"$0" && exec "$@""#;
        let members = self.path.join("cgroup.procs");
        setup.through(Path::new("sh"), &["-c", join, &members.display().to_string()])
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        // Whoever has just been killed needs a moment to leave the group.
        while fs::remove_dir(&self.path).is_err() && self.path.exists() && Instant::now() < deadline
        {
            std::thread::yield_now();
        }
    }
}

/// RATIONALE 5.7
#[test]
fn a_worker_that_takes_all_memory_is_told_from_one_that_is_killed_by_hand() {
    let Some(group) = Group::new("a_worker_that_takes_all_memory_is_told_from") else { return };
    let place = Place::new();
    let pid_file = place.join("panzer.pid");
    let option = format!("--pid={}", pid_file.display());
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = group.around(setup.options(&[&option, "-n2", "--delay=0"])).start();
    let address = panzer.expect_address();
    let monitor = panzer.expect_current(1);
    let (mut held, starved) = Held::hold(address).expect("it serves");
    held.say("eat").expect("it reads");
    let who = |pid: u32| format!("({pid}) of generation 1 killed by SIGKILL after ");
    let line = panzer.expect_line(&who(starved.pid));
    assert!(line.contains(": out of memory"), "{line}");
    panzer.expect_event("its end", |event| {
        event.pid == starved.pid && event.why == "killed by SIGKILL: out of memory"
    });
    panzer.expect_event("another", |event| event.name == "respawn" && event.slot == starved.slot);

    let both = panzer.workers(monitor);
    send(both[0], Signal::Kill);
    let line = panzer.expect_line(&who(both[0]));
    assert!(line.contains(": unknown"), "{line}");
    panzer.expect_event("another", |event| event.name == "respawn");

    let other = panzer.workers(monitor).into_iter().find(|pid| !both.contains(pid));
    send(other.expect("it was replaced"), Signal::Kill);
    panzer.expect_line(": unknown");
    panzer.expect_event("another", |event| event.name == "respawn");
    let shown = ctl(&pid_file, &["status", "--json"]).shown;
    assert!(shown.contains(r#""last_reason":"unknown""#), "{shown}");
    panzer.stop();
}

/// RATIONALE 5.7
#[test]
fn a_monitor_that_takes_all_memory_is_told_from_one_that_is_killed_by_hand() {
    let Some(group) = Group::new("a_monitor_that_takes_all_memory_is_told_from") else { return };
    let place = Place::new();
    let app = place.app(&example("witness"), &["run=idle"]);
    let setup = Setup::new(&app, &[]).options(&["-n1", "--delay=0"]);
    let mut panzer = group.around(setup).start();
    let monitor = panzer.expect_current(1);
    place.app(&example("witness"), &["eat"]);
    panzer.signal(Signal::Usr1);
    let starved = panzer.expect_monitor(2);
    let line = panzer.expect_line(&format!("monitor {starved} of generation 2 killed by SIGKILL"));
    assert!(line.ends_with(": out of memory"), "{line}");
    panzer.expect_line("generation 2 failed: its monitor killed by SIGKILL: out of memory");

    place.app(&example("witness"), &["run=idle"]);
    send(monitor, Signal::Kill);
    let line = panzer.expect_line(&format!("monitor {monitor} of generation 1 killed by SIGKILL"));
    assert!(line.ends_with(": unknown"), "{line}");
    panzer.expect_current(3);
    panzer.stop();
}
