//! What main and a library monitor take of the heap, and what a worker makes its own.
//!
//! `panzer` has a heap of its own, so these are main and monitor in the example `supervise`, on
//! the C library's: the same code, and a library that is preloaded can count.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use panzer::sys::Signal;

use crate::harness::client::ask;
use crate::harness::ctl::ctl;
use crate::harness::event::Event;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{Panzer, send};
use crate::harness::setup::Setup;
use crate::harness::{procfs, spawn_lock};

/// How often the same is done.
const TIMES: i64 = 20;
/// How often everything is done.
const LIVES: i64 = 8;
/// A text that main or a monitor keeps may be longer than the one before.
const LONGER_TEXTS: i64 = 256;

/// What a process has taken until now, and what of it it has.
#[derive(Clone, Copy, Debug)]
struct Heap {
    calls: i64,
    blocks: i64,
    bytes: i64,
}

impl Heap {
    /// Nothing is kept of each of so many events. A list may be empty or not.
    fn assert_same(self, before: Self, events: i64) {
        let is_same =
            self.blocks < before.blocks + events && self.bytes < before.bytes + LONGER_TEXTS;
        assert!(is_same && self.calls > before.calls, "{before:?} {self:?}");
    }
}

/// The example, whose processes count.
struct Counted {
    dir: TempDir,
    panzer: Panzer,
    generation: u32,
    monitor: u32,
    address: SocketAddr,
}

impl Counted {
    fn start() -> Self {
        let dir = TempDir::new();
        fs::create_dir(dir.join("config")).expect("the directory is empty");
        let options = "event-fd: 3\nprobation: 0\ncount: 2\ndelay: 0\npid: panzer.pid\n";
        dir.write("config/panzer.yml", options);
        let library = compile(&dir).display().to_string();
        let setup = Setup::embedded(&example("supervise"), &["127.0.0.1:0"]).directory(dir.path());
        let setup = setup.variable("COUNT_MEMORY", &dir.path().display().to_string());
        let mut panzer = setup.variable("LD_PRELOAD", &library).start();
        let address = panzer.expect_address();
        let monitor = panzer.expect_current(1);
        Self { dir, panzer, generation: 1, monitor, address }
    }

    fn heap(&self, pid: u32) -> Heap {
        let bytes = fs::read(self.dir.join(&pid.to_string())).expect("it counts there");
        let (numbers, _) = bytes.as_chunks::<8>();
        let [calls, blocks, bytes] = numbers else { panic!("there are three numbers") };
        let [calls, blocks, bytes] =
            [calls, blocks, bytes].map(|number| i64::from_ne_bytes(*number));
        Heap { calls, blocks, bytes }
    }

    fn ctl(&self, word: &str) {
        let outcome = ctl(&self.dir.join("panzer.pid"), &[word]);
        assert_eq!(outcome.status, 0, "{word}: {}", outcome.stderr);
    }

    /// A worker is killed and replaced.
    fn lose_worker(&mut self) {
        send(self.panzer.workers(self.monitor)[0], Signal::Kill);
        self.panzer.expect_event("a respawn", |event| event.name == "respawn");
        ask(self.address).expect("it serves");
        self.panzer.settle_monitor(self.monitor);
    }

    /// Everything that happens to a service, and then nothing.
    fn live(&mut self) {
        self.lose_worker();
        self.ctl("status");
        self.ctl("ready");
        self.generation += 1;
        self.monitor = self.panzer.reload(self.generation);
        let before = self.generation - 1;
        let is_end = |event: &Event| event.is("died", before) && event.slot == 0;
        self.panzer.expect_event("the end of the one before", is_end);
        self.panzer.rest();
    }
}

/// A pool of four workers that are ready, with two plain forks of its monitor beside them.
fn start_with_forks(setup: Setup) -> (Panzer, Vec<u32>, Vec<u32>) {
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    let (workers, plain) = procfs::children(monitor)
        .into_iter()
        .partition(|child| procfs::name(*child) == "panzer:worker");
    (panzer, workers, plain)
}

/// KiB of each mapping that the process alone has and has written, or that its parent has
/// written since the fork; by where the mapping begins. A stack is the program's own, and in
/// the heap stands what the monitor has written since.
fn private_pages(pid: u32) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("it is alive");
    let (mut pages, mut mapping) = (BTreeMap::new(), String::new());
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["Private_Dirty:", size, "kB"] if !mapping.is_empty() => {
                pages.insert(mapping.clone(), size.parse().expect("a number"));
            }
            [place, _, _, _, _, ref name @ ..] if place.contains('-') => {
                let is_told = !matches!(name, ["[stack]" | "[heap]"]);
                mapping = if is_told { place.to_string() } else { String::new() };
            }
            [..] => {}
        }
    }
    pages
}

fn compile(dir: &TempDir) -> PathBuf {
    let library = dir.join("count_memory.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/count_memory.c");
    let _lock = spawn_lock();
    let mut compile = Command::new("cc");
    let made = compile.args(["-O1", "-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(made.expect("a C compiler is there").success());
    library
}

/// rule: main.heap
#[test]
fn main_takes_no_memory_for_health_checks_and_empty_turns() {
    let mut counted = Counted::start();
    counted.live();
    let main = counted.panzer.pid();
    let live = |counted: &Counted| {
        for _ in 0..TIMES {
            send(main, Signal::Chld);
            counted.ctl("ready");
        }
    };
    live(&counted);
    let before = counted.heap(main);
    live(&counted);
    let after = counted.heap(main);
    assert_eq!(after.calls, before.calls, "{before:?} {after:?}");
    assert!(before.calls > 0);
}

/// rule: main.heap
#[test]
fn main_keeps_no_memory_of_deaths_requests_and_reloads() {
    let mut counted = Counted::start();
    counted.live();
    let main = counted.panzer.pid();
    let before = counted.heap(main);
    (0..LIVES).for_each(|_| counted.live());
    counted.heap(main).assert_same(before, LIVES);
}

/// rule: monitor.heap
#[test]
fn monitor_takes_no_memory_for_empty_turns() {
    let mut counted = Counted::start();
    let monitor = counted.monitor;
    let mut turn = || {
        send(monitor, Signal::Chld);
        send(monitor, Signal::Ttin);
        counted.panzer.expect_line("status: worker 1");
        counted.heap(monitor)
    };
    let before = turn();
    let after = (0..TIMES).map(|_| turn()).last().expect("there are some");
    // A status has one list.
    assert_eq!(after.calls, before.calls + TIMES, "{before:?} {after:?}");
}

/// rule: monitor.heap
#[test]
fn monitor_keeps_no_memory_of_deaths() {
    let mut counted = Counted::start();
    let monitor = counted.monitor;
    (0..3).for_each(|_| counted.lose_worker());
    let before = counted.heap(monitor);
    (0..TIMES).for_each(|_| counted.lose_worker());
    counted.heap(monitor).assert_same(before, TIMES);
}

/// rule: worker.pages
#[test]
fn fresh_worker_takes_no_memory() {
    let dir = TempDir::new();
    let library = compile(&dir).display().to_string();
    let setup = Setup::new(&example("embedded"), &["+fork"]).variable("LD_PRELOAD", &library);
    let setup = setup.variable("COUNT_MEMORY", &dir.path().display().to_string());
    let (panzer, workers, _) = start_with_forks(setup);
    let counts = |pid: &u32| dir.join(&pid.to_string()).exists();
    assert_eq!(workers.len(), 4);
    assert!(procfs::children(panzer.pid()).iter().all(counts), "the monitor does");
    assert!(!workers.iter().any(counts), "{workers:?}");
}

/// rule: worker.pages
#[test]
fn fresh_worker_has_two_pages_of_its_own_beyond_a_plain_fork() {
    let setup = Setup::new(&example("embedded"), &["+fork"]);
    let (_panzer, workers, plain) = start_with_forks(setup);
    let plain: Vec<_> = plain.into_iter().map(private_pages).collect();
    assert_eq!((workers.len(), plain.len()), (4, 2));
    let beyond = |worker: u32| -> u64 {
        let beyond = |(place, kib): (&String, &u64)| {
            let least = plain.iter().map(|pages| pages.get(place).copied().unwrap_or(0)).min();
            kib.saturating_sub(least.unwrap_or(0))
        };
        private_pages(worker).iter().map(beyond).sum()
    };
    let least = workers.into_iter().map(beyond).min();
    assert!(least.is_some_and(|kib| (4..12).contains(&kib)), "{least:?} KiB");
}
