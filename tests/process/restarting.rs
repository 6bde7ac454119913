//! A main whose own program may be replaced, and what must be the same after it
//! has been restarted in place.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use panzer::sys::Signal;

use crate::harness::PATIENCE;
use crate::harness::ctl::{self, Outcome, ctl};
use crate::harness::event::Event;
use crate::harness::look::{self, Row};
use crate::harness::operator;
use crate::harness::panzer::Panzer;
use crate::harness::place::{self, Place, example};
use crate::harness::setup::Setup;

/// A version that nobody has released.
pub const OTHER: &str = "9.8.7";

/// A panzer that was started from a path of its own.
pub struct Restarting {
    pub place: Place,
    /// Where its program is.
    pub program: PathBuf,
    pub pid_file: PathBuf,
    pub panzer: Panzer,
}

/// Everything of main and of whoever is below it that a restart leaves alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    /// Each descriptor of main: its number, and what it is, by device and inode.
    descriptors: Vec<String>,
    /// Main and everybody below it, each with the moment of his birth.
    everybody: Vec<Row>,
    /// What is blocked, ignored and caught, and who main is.
    kernel: Vec<String>,
    /// What main says of itself, but for the time and the queues.
    status: Vec<String>,
    threads: usize,
}

/// The program of another version: the version is a text in it, and of the
/// same length.
pub fn other_version() -> Vec<u8> {
    let mut program = fs::read(place::panzer()).expect("it was built");
    let own = env!("CARGO_PKG_VERSION").as_bytes();
    assert_eq!(own.len(), OTHER.len());
    let places: Vec<_> =
        (0..program.len() - own.len()).filter(|&place| program[place..].starts_with(own)).collect();
    assert!(!places.is_empty(), "the program says its version");
    for place in places {
        program[place..place + own.len()].copy_from_slice(OTHER.as_bytes());
    }
    program
}

/// Whether a program that main executes would find this descriptor closed.
fn is_private(main: u32, number: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{main}/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 0o2_000_000 != 0)
}

fn descriptors(main: u32) -> Vec<String> {
    let show = |shown: String| {
        let number = shown.split(' ').next().unwrap_or_default();
        let whose = if is_private(main, number) { "private" } else { "open" };
        match fs::metadata(format!("/proc/{main}/fd/{number}")) {
            // One of these main makes anew whenever it begins.
            Ok(_) if shown.contains(" pipe:") => format!("{number} pipe {whose}"),
            Ok(it) => format!("{shown} {}:{} {whose}", it.dev(), it.ino()),
            Err(_) => format!("{shown}, which is gone"),
        }
    };
    look::descriptors(main).into_iter().map(show).collect()
}

/// What main holds back, but for what it holds back while it writes a line.
fn blocked(main: u32) -> String {
    let writing = [Signal::Ttou, Signal::Pipe].map(|signal| 1 << (signal.number() - 1));
    let all = u64::from_str_radix(&look::status(main, "SigBlk"), 16).expect("it is a number");
    format!("blocked {:x}", all & !(writing[0] | writing[1]))
}

/// What main says of itself, without what changes by itself.
pub fn status(pid_file: &Path) -> Vec<String> {
    let is_own = |word: &&str| {
        let key = word.split('=').next().unwrap_or_default();
        !["now", "up", "queue", "dropped"].contains(&key)
    };
    let steady = |line: String| line.split(' ').filter(is_own).collect::<Vec<_>>().join(" ");
    operator::ask(pid_file, "status").into_iter().map(steady).collect()
}

impl Picture {
    /// Takes one; main has dealt with everything that came before.
    pub fn of(panzer: &mut Panzer, pid_file: &Path) -> Self {
        panzer.settle();
        let mut last = Self::once(panzer, pid_file);
        // While it writes a line it holds back what could come of that, and who
        // has asked it stays for the rest of the turn: two that are equal show it
        // at rest.
        let rests = look::until(|| {
            let before = std::mem::replace(&mut last, Self::once(panzer, pid_file));
            before == last
        });
        assert!(rests, "main comes to no rest: {last:#?}");
        last
    }

    fn once(panzer: &Panzer, pid_file: &Path) -> Self {
        let status = status(pid_file);
        let main = panzer.pid();
        let mut everybody = look::below(&look::everybody(), main);
        everybody.extend(look::row(main));
        everybody.sort_by_key(|row| row.pid);
        // Whether somebody runs or waits at the moment is nobody's business.
        everybody.iter_mut().filter(|row| row.is_alive()).for_each(|row| row.state = 'S');
        let keys = ["Name", "Uid", "Gid", "Groups", "SigIgn", "SigCgt", "Umask"];
        let kernel = keys.map(|key| format!("{key} {}", look::status(main, key)));
        let cmdline = fs::read(format!("/proc/{main}/cmdline")).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&cmdline).into_owned();
        // The first word names the program, and becomes absolute.
        let (_, words) = cmdline.split_once('\0').unwrap_or_default();
        Self {
            descriptors: descriptors(main),
            everybody,
            kernel: kernel.into_iter().chain([blocked(main), words.to_string()]).collect(),
            status,
            threads: look::threads(main),
        }
    }
}

impl Restarting {
    /// Starts a witness with these words under a panzer of its own.
    pub fn start(words: &[&str], options: &[&str]) -> Self {
        let place = Place::new();
        let app = place.app(&example("witness"), words);
        Self::begin(place, Setup::new(&app, &[]).options(options))
    }

    /// Starts this under a panzer of its own, with a pid file.
    pub fn begin(place: Place, setup: Setup) -> Self {
        let whole = fs::read(place::panzer()).expect("it was built");
        let program = place.program("panzer", &whole);
        Self::begin_as(place, setup, &program.clone(), program)
    }

    /// Starts a witness with these words under this panzer.
    pub fn start_with(bytes: &[u8], words: &[&str], options: &[&str]) -> Self {
        let place = Place::new();
        let app = place.app(&example("witness"), words);
        let program = place.program("panzer", bytes);
        let setup = Setup::new(&app, &[]).options(options);
        Self::begin_as(place, setup, &program.clone(), program)
    }

    /// The same where main is called by this `name`, and is the program there.
    pub fn begin_as(place: Place, setup: Setup, name: &Path, program: PathBuf) -> Self {
        let pid_file = place.join("panzer.pid");
        let option = format!("--pid={}", pid_file.display());
        let panzer = setup.program(name).options(&[&option]).start();
        Self { place, program, pid_file, panzer }
    }

    /// Puts the program in its place that does so: see `tests/fixtures/impostor.rs`.
    pub fn impose(&self, how: &[&str]) {
        self.place.write("how", &how.join("\n"));
        self.install(&fs::read(example("impostor")).expect("it was built"));
    }

    /// Puts these bytes in the place of the program, as a deployment does.
    pub fn install(&self, program: &[u8]) {
        let name = self.program.strip_prefix(self.place.path()).expect("it is in the place");
        self.place.program(&name.display().to_string(), program);
    }

    /// Puts the program under test back into its place.
    pub fn repair(&self) {
        self.install(&fs::read(place::panzer()).expect("it was built"));
    }

    /// Asks for a restart by signal, and waits until main tells of it.
    pub fn restart(&mut self) {
        self.panzer.signal(Signal::Usr2);
        self.expect_restarted();
    }

    /// Has a program of another version be main for a moment.
    pub fn there_and_back(&mut self) {
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

    /// Everything that a restart leaves alone.
    pub fn picture(&mut self) -> Picture {
        Picture::of(&mut self.panzer, &self.pid_file)
    }

    /// Asks with panzerctl.
    pub fn ctl(&self, words: &[&str]) -> Outcome {
        ctl(&self.pid_file, words)
    }

    /// Begins to ask with panzerctl, and waits until main has heard it.
    pub fn ask(&mut self, words: &[&str]) -> std::process::Child {
        let asked = ctl::begin(&self.pid_file, words);
        self.panzer.expect_line(&format!(" asks: {}", words.join(" ")));
        asked
    }

    /// Which version runs.
    pub fn version(&self) -> String {
        let answer = operator::ask(&self.pid_file, "status");
        let main = operator::record(&answer, "main");
        operator::value(main, "version").expect("it says its version").to_string()
    }

    /// Restarts main again and again until it has told this; nothing that is
    /// due at a time may begin that time anew.
    pub fn restart_until(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        let before = self.panzer.count("restarted");
        loop {
            self.restart();
            if let Some(event) = self.panzer.events().into_iter().rfind(|event| is_it(event)) {
                assert!(self.panzer.count("restarted") > before);
                return event;
            }
            if deadline < Instant::now() {
                self.panzer.fail(&format!("{what} never comes"));
            }
        }
    }

    /// Asks for a restart that is refused for a reason that contains `why`, and
    /// leaves everything as it was.
    pub fn expect_refusal(&mut self, what: &str, why: &str) {
        let before = self.picture();
        let restarts = self.panzer.count("restarted");
        let outcome = self.ctl(&["restart"]);
        let last = outcome.told.lines().last().unwrap_or_default().to_string();
        assert_eq!(outcome.status, 1, "{what}: {} {}", outcome.shown, outcome.told);
        assert!(last.contains(why), "{what}: {last:?} does not say {why:?}");
        let reason = last.trim_start_matches("panzerctl: ").to_string();
        let log = self.panzer.expect_line(&reason);
        assert!(log.contains("panzer:main["), "{what}: {log}");
        let main = self.panzer.pid();
        self.panzer.eventually(&format!("the trial of {what} is gone"), || {
            look::children(main).len() == before.children(main)
        });
        assert_eq!(self.picture(), before, "{what}");
        assert_eq!(self.panzer.count("restarted"), restarts, "{what}");
    }

    /// The next restart, of a good program, works.
    pub fn expect_recovery(self) {
        self.install(&other_version());
        let outcome = self.ctl(&["restart"]);
        assert_eq!(outcome.status, 0, "{}", outcome.told);
        assert_eq!(self.version(), OTHER);
        self.panzer.stop();
    }
}

impl Picture {
    /// How many children main had.
    fn children(&self, main: u32) -> usize {
        self.everybody.iter().filter(|row| row.parent == main).count()
    }
}
