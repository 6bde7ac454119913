//! Nothing grows.

use panzer::sys::Signal;

use crate::harness::client::Held;
use crate::harness::look;
use crate::harness::panzer::{Panzer, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::watch::{Seen, Watch};

/// A zombie that is seen in so many looks in a row is one that nobody reaps.
const LASTING: usize = 100;

/// Waits until a generation is gone, and main has forgotten it.
fn expect_gone(panzer: &mut Panzer, generation: u32) {
    panzer.expect_line(&format!("nobody of generation {generation} is left"));
}

/// What main has at rest: its descriptors without their numbers, its threads
/// and its children.
fn rest(panzer: &mut Panzer) -> (Vec<String>, usize, usize) {
    panzer.settle();
    let main = panzer.pid();
    let descriptors = look::descriptors(main).into_iter();
    let kind = |shown: String| {
        let (_, target) = shown.split_once(' ').expect("a number stands before it");
        target.split(':').next().unwrap_or_default().to_string()
    };
    let mut kinds: Vec<_> = descriptors.map(kind).collect();
    kinds.sort();
    (kinds, look::threads(main), look::children(main).len())
}

/// Who is dead and was not reaped although main has come round since.
fn zombies(panzer: &mut Panzer) -> Vec<look::Row> {
    let dead = |main| {
        let mut below = look::below(&look::everybody(), main);
        below.retain(|row| !row.is_alive());
        below
    };
    let before = dead(panzer.pid());
    panzer.settle();
    let mut after = dead(panzer.pid());
    after.retain(|row| before.contains(row));
    after
}

/// Nobody was seen in a state that nobody should be in.
fn assert_sound(seen: &Seen) {
    assert!(seen.looks > 0 && seen.alive > 0, "the watcher was blind: {seen:?}");
    assert!(seen.generations <= 3, "{seen:?}");
    assert!(seen.zombie < LASTING, "{seen:?}");
    assert!(seen.stopped.is_empty(), "{seen:?}");
}

/// RATIONALE 1.5
#[test]
fn main_has_the_same_descriptors_and_threads_after_everything_that_happens_to_it() {
    let place = Place::new();
    let good = |place: &Place| place.app(&example("http"), &["127.0.0.1:0"]);
    let setup = Setup::new(&good(&place), &[]).options(&["-n2", "-v", "--delay=0"]);
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
    place.script("app", "exit 1");
    let serving = generation;
    for _ in 0..20 {
        generation += 1;
        panzer.signal(Signal::Usr1);
        panzer.expect("failed", generation);
    }
    good(&place);
    let mut monitor = panzer.expect_monitor(serving);
    for _ in 0..20 {
        generation += 1;
        send(monitor, Signal::Kill);
        monitor = panzer.expect_current(generation);
        expect_gone(&mut panzer, generation - 1);
    }
    assert_eq!(rest(&mut panzer), before, "{:#?}", look::descriptors(panzer.pid()));
    assert_sound(&watch.end());
    panzer.stop();
}

/// RATIONALE 1.21
#[test]
fn clients_that_never_leave_and_reloads_pile_up_three_generations_and_no_more() {
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
    // The last three have whom they hold; for the others there was no room.
    panzer.settle();
    let seen = watch.end();
    assert_eq!(seen.generations, 3, "{seen:?}");
    assert_sound(&seen);
    panzer.signal(Signal::Quit);
    panzer.end();
}

/// RATIONALE 1.20, 1.27
#[test]
fn a_storm_of_requests_for_a_reload_leaves_no_zombie_and_nobody_stopped() {
    let place = Place::new();
    let body = format!("(true &); (true &); exec '{}' run=idle", example("witness").display());
    let mut panzer = Setup::new(&place.script("app", &body), &[]).options(&["-n2"]).start();
    panzer.expect_current(1);
    let before = rest(&mut panzer);
    let watch = Watch::start(panzer.pid());
    for _ in 0..300 {
        panzer.signal(Signal::Usr1);
        panzer.signal(Signal::Ttin);
        panzer.signal(Signal::Hup);
    }
    panzer.settle();
    let mut started = 0;
    while started < panzer.count_lines("started as ") {
        started = panzer.count_lines("started as ");
        panzer.expect_current(u32::try_from(started).expect("they are few"));
        panzer.settle();
    }
    let main = panzer.pid();
    panzer.eventually_at(main, "one is left", || look::children(main).len() == 1);
    assert_eq!(zombies(&mut panzer), []);
    assert_sound(&watch.end());
    assert_eq!(rest(&mut panzer), before);
    panzer.stop();
}

/// RATIONALE 2.6, 2.7
#[test]
fn workers_that_die_again_and_again_leave_no_zombie_and_their_slots_filled() {
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
    // A worker that was killed may be seen beside the one in its place.
    assert!(seen.generations == 1 && seen.alive <= 1 + 8, "{seen:?}");
    panzer.stop();
}
