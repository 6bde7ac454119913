//! A main whose own program a test can replace, and the snapshot that must be the same
//! after a restart in place.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use panzer::sys::Signal;

use crate::harness::TIMEOUT;
use crate::harness::control_client;
use crate::harness::ctl::{self, CommandResult, ctl};
use crate::harness::event::Event;
use crate::harness::files::{self, TempDir, example};
use crate::harness::panzer::Panzer;
use crate::harness::procfs::{self, Row};
use crate::harness::setup::Setup;

/// A version that was never released.
pub const OTHER: &str = "9.8.7";

/// A panzer started from a copy of its own, which a test can replace.
pub struct RestartableMain {
    pub dir: TempDir,
    /// The path of its program.
    pub program: PathBuf,
    pub pid_file: PathBuf,
    pub panzer: Panzer,
}

/// All of main and of the processes below it that a restart must not change.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Each descriptor of main: its number, and its file by device and inode.
    descriptors: Vec<String>,
    /// Main and all processes below it, each with its start time.
    processes: Vec<Row>,
    /// Signals blocked, ignored and caught, name, user and groups.
    kernel: Vec<String>,
    /// Main's status report without times and queue lengths.
    status: Vec<String>,
    threads: usize,
}

/// The program with another version: the version is a string in it, of the same length.
pub fn other_version() -> Vec<u8> {
    let mut program = fs::read(files::panzer()).expect("it was built");
    let own = env!("CARGO_PKG_VERSION").as_bytes();
    assert_eq!(own.len(), OTHER.len());
    let offsets: Vec<_> = (0..program.len() - own.len())
        .filter(|&offset| program[offset..].starts_with(own))
        .collect();
    assert!(!offsets.is_empty(), "the program contains its version");
    for offset in offsets {
        program[offset..offset + own.len()].copy_from_slice(OTHER.as_bytes());
    }
    program
}

/// Whether this descriptor is close-on-exec.
fn is_private(main: u32, number: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{main}/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 0o2_000_000 != 0)
}

fn descriptors(main: u32) -> Vec<String> {
    let show = |shown: String| {
        let number = shown.split(' ').next().unwrap_or_default();
        let flag = if is_private(main, number) { "private" } else { "open" };
        match fs::metadata(format!("/proc/{main}/fd/{number}")) {
            // Main opens new pipes after each exec.
            Ok(_) if shown.contains(" pipe:") => format!("{number} pipe {flag}"),
            Ok(file) => format!("{shown} {}:{} {flag}", file.dev(), file.ino()),
            Err(_) => format!("{shown}, which is gone"),
        }
    };
    procfs::descriptors(main).into_iter().map(show).collect()
}

/// The signals that main blocks while it waits: none, and all but then.
fn blocked(main: u32) -> String {
    let mut blocked = String::new();
    procfs::until(|| {
        blocked = procfs::status(main, "SigBlk");
        blocked.bytes().all(|digit| digit == b'0')
    });
    format!("blocked {blocked}")
}

/// Main's status report without the values that change by themselves.
pub fn status(pid_file: &Path) -> Vec<String> {
    let is_own = |word: &&str| {
        let key = word.split('=').next().unwrap_or_default();
        !["now", "up", "queue", "dropped"].contains(&key)
    };
    let steady = |line: String| line.split(' ').filter(is_own).collect::<Vec<_>>().join(" ");
    control_client::ask(pid_file, "status").into_iter().map(steady).collect()
}

impl Snapshot {
    /// Takes one after main has handled everything that came before.
    pub fn of(panzer: &mut Panzer, pid_file: &Path) -> Self {
        panzer.settle();
        let mut last = Self::once(panzer, pid_file);
        // Main blocks signals while it writes a line, and keeps a client until the end of
        // the turn: two equal snapshots without a helper of main show it at rest.
        let rests = procfs::until(|| {
            let before = std::mem::replace(&mut last, Self::once(panzer, pid_file));
            before == last && !last.processes.iter().any(|row| procfs::is_helper(&row.name))
        });
        assert!(rests, "main does not come to rest: {last:#?}");
        last
    }

    fn once(panzer: &Panzer, pid_file: &Path) -> Self {
        let status = status(pid_file);
        let main = panzer.pid();
        let mut processes = procfs::below(&procfs::all_processes(), main);
        processes.extend(procfs::row(main));
        processes.sort_by_key(|row| row.pid);
        // Whether a process runs or sleeps at the moment does not matter.
        processes.iter_mut().filter(|row| row.is_alive()).for_each(|row| row.state = 'S');
        let keys = ["Name", "Uid", "Gid", "Groups", "SigIgn", "SigCgt", "Umask"];
        let kernel = keys.map(|key| format!("{key} {}", procfs::status(main, key)));
        let cmdline = fs::read(format!("/proc/{main}/cmdline")).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&cmdline).into_owned();
        // The first argument is the program, and becomes an absolute path.
        let (_, words) = cmdline.split_once('\0').unwrap_or_default();
        Self {
            descriptors: descriptors(main),
            processes,
            kernel: kernel.into_iter().chain([blocked(main), words.to_string()]).collect(),
            status,
            threads: procfs::threads(main),
        }
    }
}

impl RestartableMain {
    /// Starts a witness with these words under its own copy of panzer.
    pub fn start(words: &[&str], options: &[&str]) -> Self {
        let dir = TempDir::new();
        let app = dir.app(&example("witness"), words);
        Self::begin(dir, Setup::new(&app, &[]).options(options))
    }

    /// Starts this under its own copy of panzer, with a pid file.
    pub fn begin(dir: TempDir, setup: Setup) -> Self {
        let whole = fs::read(files::panzer()).expect("it was built");
        let program = dir.program("panzer", &whole);
        Self::begin_as(dir, setup, &program.clone(), program)
    }

    /// Starts a witness with these words under this panzer.
    pub fn start_with(bytes: &[u8], words: &[&str], options: &[&str]) -> Self {
        let dir = TempDir::new();
        let app = dir.app(&example("witness"), words);
        let program = dir.program("panzer", bytes);
        let setup = Setup::new(&app, &[]).options(options);
        Self::begin_as(dir, setup, &program.clone(), program)
    }

    /// The same with main executed as `name`, which leads to `program`.
    pub fn begin_as(dir: TempDir, setup: Setup, name: &Path, program: PathBuf) -> Self {
        let pid_file = dir.join("panzer.pid");
        let option = format!("--pid={}", pid_file.display());
        let panzer = setup.program(name).options(&[&option]).start();
        Self { dir, program, pid_file, panzer }
    }

    /// Installs the impostor with these arguments: see `tests/fixtures/impostor.rs`.
    pub fn install_impostor(&self, how: &[&str]) {
        self.dir.write("how", &how.join("\n"));
        self.install(&fs::read(example("impostor")).expect("it was built"));
    }

    /// Replaces the program by these bytes, as a deployment does.
    pub fn install(&self, program: &[u8]) {
        let name = self.program.strip_prefix(self.dir.path()).expect("it is in the directory");
        self.dir.program(&name.display().to_string(), program);
    }

    /// Installs the program under test again.
    pub fn repair(&self) {
        self.install(&fs::read(files::panzer()).expect("it was built"));
    }

    /// Restarts main by signal, and waits for its event.
    pub fn restart(&mut self) {
        self.panzer.signal(Signal::Usr2);
        self.expect_restarted();
    }

    /// Restarts main with another version, and back.
    pub fn restart_to_other_version_and_back(&mut self) {
        self.install(&other_version());
        self.restart();
        assert_eq!(self.version(), OTHER);
        self.repair();
        self.restart();
    }

    /// Waits for the next restart.
    pub fn expect_restarted(&mut self) -> Event {
        self.panzer.expect_event("restart", |event| event.name == "restarted")
    }

    /// All that a restart must not change.
    pub fn snapshot(&mut self) -> Snapshot {
        Snapshot::of(&mut self.panzer, &self.pid_file)
    }

    /// Runs panzerctl.
    pub fn ctl(&self, words: &[&str]) -> CommandResult {
        ctl(&self.pid_file, words)
    }

    /// Starts panzerctl, and waits until main has read its request.
    pub fn ask(&mut self, words: &[&str]) -> std::process::Child {
        let asked = ctl::begin(&self.pid_file, words);
        self.panzer.expect_line(&format!("control: {} requested by pid", words.join(" ")));
        asked
    }

    /// The version of main.
    pub fn version(&self) -> String {
        let answer = control_client::ask(&self.pid_file, "status");
        let main = control_client::record(&answer, "main");
        control_client::value(main, "version").expect("it says its version").to_string()
    }

    /// Restarts main again and again until this event: no restart may begin a deadline
    /// anew.
    pub fn restart_until(&mut self, description: &str, matches: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + TIMEOUT;
        let before = self.panzer.count("restarted");
        loop {
            self.restart();
            if let Some(event) = self.panzer.events().into_iter().rfind(|event| matches(event)) {
                assert!(self.panzer.count("restarted") > before);
                return event;
            }
            if deadline < Instant::now() {
                self.panzer.fail(&format!("{description} never comes"));
            }
        }
    }

    /// Asks for a restart, which is refused with this reason and changes nothing.
    pub fn expect_refusal(&mut self, description: &str, reason: &str) {
        let before = self.snapshot();
        let restarts = self.panzer.count("restarted");
        let outcome = self.ctl(&["restart"]);
        let last = outcome.stderr.lines().last().unwrap_or_default().to_string();
        assert_eq!(outcome.status, 1, "{description}: {} {}", outcome.stdout, outcome.stderr);
        assert!(last.contains(reason), "{description}: {last:?} does not contain {reason:?}");
        let reason = last.trim_start_matches("panzerctl: ").to_string();
        let log = self.panzer.expect_line(&reason);
        assert!(log.contains("panzer:main["), "{description}: {log}");
        let main = self.panzer.pid();
        self.panzer.eventually(&format!("the probe of {description} is gone"), || {
            let mut below = procfs::descendants(main);
            below.sort_unstable();
            below == before.below(main)
        });
        assert_eq!(self.snapshot(), before, "{description}");
        assert_eq!(self.panzer.count("restarted"), restarts, "{description}");
    }

    /// The next restart, with a good program, works.
    pub fn expect_recovery(self) {
        self.install(&other_version());
        let outcome = self.ctl(&["restart"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        assert_eq!(self.version(), OTHER);
        self.panzer.stop();
    }
}

impl Snapshot {
    /// The pids of the processes below main, in order.
    fn below(&self, main: u32) -> Vec<u32> {
        self.processes.iter().map(|row| row.pid).filter(|pid| *pid != main).collect()
    }
}
