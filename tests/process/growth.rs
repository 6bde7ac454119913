//! Nothing grows.

use panzer::sys::Signal;

use crate::harness::look;
use crate::harness::panzer::{Panzer, send};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

/// Waits until a generation is gone, and main has forgotten it.
fn expect_gone(panzer: &mut Panzer, generation: u32) {
    panzer.expect_line(&format!("nobody of generation {generation} is left"));
}

#[test]
fn main_has_the_same_descriptors_and_threads_after_everything_that_happens_to_it() {
    let place = Place::new();
    let good = |place: &Place| place.app(&example("http"), &["127.0.0.1:0"]);
    let setup = Setup::new(&good(&place), &[]).options(&["-n2", "-v", "--delay=0"]);
    let mut panzer = setup.start();
    let main = panzer.pid();
    panzer.expect_current(1);
    panzer.reload(2);
    expect_gone(&mut panzer, 1);
    panzer.settle();
    let before = (look::descriptors(main).len(), look::threads(main), look::children(main).len());
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
    panzer.settle();
    let after = (look::descriptors(main).len(), look::threads(main), look::children(main).len());
    assert_eq!(after, before, "{:#?}", look::descriptors(main));
    panzer.stop();
}
