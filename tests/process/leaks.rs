//! Descriptors, threads, zombies and generations do not accumulate.

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{Panzer, send};
use crate::harness::procfs;
use crate::harness::setup::Setup;
use crate::harness::watch::{Seen, Watch};

/// A zombie that is seen in so many looks in a row was not reaped.
const LASTING: usize = 100;

/// Waits until all processes of a generation have exited, and main has dropped it.
fn expect_gone(panzer: &mut Panzer, generation: u32) {
    panzer.expect_line(&format!("generation {generation}: all processes exited"));
}

/// What main has at rest: its descriptors without their numbers, its threads, and
/// its children.
fn rest(panzer: &mut Panzer) -> (Vec<String>, usize, usize) {
    panzer.rest();
    let main = panzer.pid();
    let descriptors = procfs::descriptors(main).into_iter();
    let kind = |shown: String| {
        let (_, target) = shown.split_once(' ').expect("a number stands before it");
        target.split(':').next().unwrap_or_default().to_string()
    };
    let mut kinds: Vec<_> = descriptors.map(kind).collect();
    kinds.sort();
    (kinds, procfs::threads(main), procfs::children(main).len())
}

/// The zombies that main has not reaped in its last turn.
fn zombies(panzer: &mut Panzer) -> Vec<procfs::Row> {
    let dead = |main| {
        let mut below = procfs::below(&procfs::all_processes(), main);
        below.retain(|row| !row.is_alive());
        below
    };
    let before = dead(panzer.pid());
    panzer.settle();
    let mut after = dead(panzer.pid());
    after.retain(|row| before.contains(row));
    after
}

/// No process was seen in a state that should not occur.
fn assert_sound(seen: &Seen) {
    assert!(seen.looks > 0 && seen.alive > 0, "the watcher has seen nothing: {seen:?}");
    assert!(seen.generations <= 3, "{seen:?}");
    assert!(seen.zombie < LASTING, "{seen:?}");
    assert!(seen.stopped.is_empty(), "{seen:?}");
}

/// rule: main.loads-nothing
#[test]
fn main_leaks_no_descriptors_threads_or_children() {
    let dir = TempDir::new();
    let good = |dir: &TempDir| dir.app(&example("http"), &["127.0.0.1:0"]);
    let setup = Setup::new(&good(&dir), &[]).options(&["-n2", "-v", "--delay=0"]);
    let mut panzer = setup.start();
    let watch = Watch::start(panzer.pid());
    panzer.expect_current(1);
    panzer.reload(2);
    expect_gone(&mut panzer, 1);
    let before = rest(&mut panzer);
    assert_eq!((before.1, before.2), (1, 1));
    let mut generation = 2;
    for _ in 0..50 {
        generation += 1;
        panzer.reload(generation);
        expect_gone(&mut panzer, generation - 1);
    }
    dir.script("app", "exit 1");
    let serving = generation;
    for _ in 0..20 {
        generation += 1;
        panzer.signal(Signal::Usr1);
        panzer.expect("failed", generation);
    }
    good(&dir);
    let mut monitor = panzer.expect_monitor(serving);
    for _ in 0..20 {
        generation += 1;
        send(monitor, Signal::Kill);
        monitor = panzer.expect_current(generation);
        expect_gone(&mut panzer, generation - 1);
    }
    assert_eq!(rest(&mut panzer), before, "{:#?}", procfs::descriptors(panzer.pid()));
    assert_sound(&watch.end());
    panzer.stop();
}

/// rule: reload.three-alive
#[test]
fn at_most_three_generations_live_with_clients_that_never_leave() {
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    let mut panzer = setup.options(&["-n1"]).start();
    let watch = Watch::start(panzer.pid());
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let mut held = Vec::new();
    for generation in 2..=5 {
        held.push(Held::hold(address).expect("it serves").0);
        panzer.reload(generation);
    }
    // The last three still have their clients; the others had to end.
    panzer.settle();
    let seen = watch.end();
    assert_eq!(seen.generations, 3, "{seen:?}");
    assert_sound(&seen);
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// rules: reload.coalesced, main.reap
#[test]
fn many_reload_requests_leave_no_zombie_or_stopped_process() {
    let dir = TempDir::new();
    let body = format!("(true &); (true &); exec '{}' run=idle", example("witness").display());
    let mut panzer = Setup::new(&dir.script("app", &body), &[]).options(&["-n2"]).start();
    panzer.expect_current(1);
    let main = panzer.pid();
    panzer.eventually_at(main, "the orphans are reaped", || procfs::children(main).len() == 1);
    let before = rest(&mut panzer);
    let watch = Watch::start(main);
    for _ in 0..300 {
        panzer.signal(Signal::Usr1);
        panzer.signal(Signal::Ttin);
        panzer.signal(Signal::Hup);
    }
    panzer.settle();
    let mut started = 0;
    while started < panzer.count_lines(": started, monitor pid") {
        started = panzer.count_lines(": started, monitor pid");
        panzer.expect_current(u32::try_from(started).expect("they are few"));
        panzer.settle();
    }
    panzer.eventually_at(main, "one is left", || procfs::children(main).len() == 1);
    assert_eq!(zombies(&mut panzer), []);
    assert_sound(&watch.end());
    assert_eq!(rest(&mut panzer), before);
    panzer.stop();
}

/// rules: pool.respawn, pool.reap
#[test]
fn repeated_worker_deaths_leave_no_zombie_and_all_slots_filled() {
    let setup = Setup::new(&example("witness"), &["run=idle"]).options(&["-n8", "--delay=0"]);
    let mut panzer = setup.start();
    let monitor = panzer.expect_current(1);
    let watch = Watch::start(panzer.pid());
    for _ in 0..5 {
        for worker in panzer.workers(monitor) {
            send(worker, Signal::Kill);
            panzer.expect("respawn", 1);
        }
    }
    assert_eq!(zombies(&mut panzer), []);
    assert_eq!(panzer.workers(monitor).len(), 8);
    let seen = watch.end();
    assert_sound(&seen);
    // A worker that was killed may be seen together with the next one.
    assert!(seen.generations == 1 && seen.alive <= 1 + 8, "{seen:?}");
    panzer.stop();
}
