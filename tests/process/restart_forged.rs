//! A state that no main has written, or one that is not for this process: it is
//! refused, and nobody who is named in it is signalled.

use std::fs;
use std::path::{Path, PathBuf};

use panzer::sys::Signal;

use super::restarting::Restarting;
use crate::harness::client::Held;
use crate::harness::look;
use crate::harness::panzer::{End, Panzer};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

const HOLD: [&str; 2] = ["listen=127.0.0.1:0", "run=hold"];

/// A main with a generation that leaves and a current one, and its state as it
/// would hand it to a program of another version.
fn victim() -> (Restarting, Held, Vec<u8>) {
    let mut main = Restarting::start(&HOLD, &["-n2", "--timeout=1000"]);
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    main.panzer.reload(2);
    let kept = main.place.join("state");
    main.impose(&[&format!("keep={}", kept.display()), "exit=0"]);
    assert_eq!(main.ctl(&["restart"]).status, 1);
    main.repair();
    let state = fs::read(kept).expect("it was written");
    assert!(state.len() > 64, "{} bytes of state", state.len());
    (main, held, state)
}

/// A panzer that is told to go on with the state in this file, as the forger is
/// told to hand it on.
fn forged(place: &Place, state: &Path, how: &str) -> Panzer {
    let forger = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/forger.py");
    let words = [forger, &state.display().to_string(), how];
    let setup = Setup::new(&place.join("app"), &[]);
    setup.through(Path::new("python3"), &words).start()
}

/// It says what is wrong in one line, and leaves with 1 or 2, having touched
/// nobody.
fn refuses(place: &Place, state: &Path, how: &str, what: &str) {
    refused(forged(place, state, how), what);
}

fn refused(mut panzer: Panzer, what: &str) {
    let end = panzer.end();
    assert!(matches!(end, End::Status(1 | 2)), "{what}: {end:?} {:?}", panzer.lines());
    let lines = panzer.lines();
    assert_eq!(lines.len(), 1, "{what}: {lines:?}");
    assert!(!lines[0].contains("panic"), "{what}: {lines:?}");
    assert_eq!(panzer.count("started"), 0, "{what}");
}

fn app(place: &Place) {
    place.app(&example("witness"), &HOLD);
}

/// RATIONALE 13.15
#[test]
fn the_state_of_another_main_is_refused_and_everybody_in_it_left_alone() {
    let (mut main, held, state) = victim();
    let before = main.picture();
    let path = main.place.join("forged");
    fs::write(&path, &state).expect("the place is ours");
    for _ in 0..2 {
        refuses(&main.place, &path, "as-it-is", "another's");
        assert_eq!(main.picture(), before);
    }
    held.finish().expect("it is still there");
    main.panzer.expect_event("its end", |event| event.is("died", 1) && event.slot == 0);
    main.panzer.stop();
    // Now there is nobody of them.
    let place = Place::new();
    app(&place);
    let path = place.join("forged");
    fs::write(&path, &state).expect("the place is ours");
    refuses(&place, &path, "as-it-is", "a dead one's");
}

/// RATIONALE 13.15
#[test]
fn a_monitor_that_is_no_child_is_nobody_to_signal() {
    let mut main = Restarting::start(&HOLD, &["-n1"]);
    let monitor = main.panzer.expect_current(1);
    let kept = main.place.join("state");
    main.impose(&[&format!("keep={}", kept.display()), "exit=0"]);
    assert_eq!(main.ctl(&["restart"]).status, 1);
    main.repair();
    let before = main.picture();
    refuses(&main.place, &kept, "own", "a stranger");
    refuses(&main.place, &kept, "as-it-is", "another's");
    assert_eq!(main.picture(), before);
    main.panzer.stop();
    refuses(&main.place, &kept, &format!("loose={monitor}"), "it may still be changed");
    // To one whose monitor is a child there is nothing to object.
    let mut panzer = forged(&main.place, &kept, &format!("child={monitor}"));
    panzer.expect_line("main is panzer ");
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 13.15, 13.17
#[test]
fn what_is_no_state_is_refused() {
    let place = Place::new();
    app(&place);
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = place.join(name);
        fs::write(&path, bytes).expect("the place is ours");
        path
    };
    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("a byte", b"x"),
        ("zeroes", &[0; 4_096]),
        ("ones", &[0xff; 4_096]),
        ("much", &[7; 1 << 20]),
        ("text", b"panzer 0.1.0\n"),
    ] {
        refuses(&place, &write("forged", bytes), "as-it-is", what);
    }
    // What is not sealed may still be changed by whoever has it.
    let setup = |redirect: &str| {
        let setup = Setup::new(&place.join("app"), &[]).variable("PANZER_STATE", "9");
        setup.redirect(redirect)
    };
    let whole = write("forged", b"x");
    for path in [&*whole, Path::new("/dev/null"), Path::new("/dev/zero"), Path::new("/")] {
        refused(setup(&format!("9<'{}'", path.display())).start(), &path.display().to_string());
    }
    // A pipe into which nobody writes must not hold it up.
    let pipe = place.gate("pipe");
    refused(setup(&format!("9<>'{}'", pipe.display())).start(), "a pipe");
    for number in ["8", "-1", "0", "x", "", "99999999999999999999", "9 9"] {
        let mut panzer = setup("").variable("PANZER_STATE", number).start();
        assert_eq!(panzer.end(), End::Status(1), "{number:?}");
    }
}

/// RATIONALE 13.15
#[test]
fn a_state_with_anything_changed_is_refused_and_signals_nobody() {
    let (mut main, held, state) = victim();
    let before = main.picture();
    let path = main.place.join("forged");
    let lengths = [1, 8, 16, 32, state.len() / 2, state.len() - 8, state.len() - 1];
    for length in lengths {
        fs::write(&path, &state[..length]).expect("the place is ours");
        refuses(&main.place, &path, "as-it-is", &format!("the first {length} bytes"));
    }
    // A few of them here; all of them are tried on what reads it.
    for place in (0..state.len()).step_by(state.len() / 12) {
        let mut changed = state.clone();
        changed[place] ^= 0x41;
        fs::write(&path, &changed).expect("the place is ours");
        refuses(&main.place, &path, "as-it-is", &format!("another byte at {place}"));
    }
    assert_eq!(main.picture(), before);
    held.finish().expect("it is still there");
    main.panzer.stop();
}

/// RATIONALE 13.15
#[test]
fn a_trial_that_is_not_one_answers_nobody_and_touches_nobody() {
    let (mut main, held, state) = victim();
    let before = main.picture();
    let path = main.place.join("forged");
    fs::write(&path, &state).expect("the place is ours");
    let trial = |words: &str, redirect: &str| {
        let setup = Setup::new(&main.place.join("app"), &[]).variable("PANZER_TRIAL", words);
        let mut panzer = setup.redirect(redirect).start();
        assert_eq!(panzer.end(), End::Status(1), "{words}");
        assert_eq!(panzer.count("started"), 0, "{words}");
    };
    let file = format!("9<'{}'", path.display());
    for words in ["9,8", "9", "9,9", "8,9", "", ",", "x,y", "9,2", "-1,-1", "0,1", "9,3"] {
        trial(words, &file);
    }
    assert_eq!(main.picture(), before);
    assert!(look::is_alive(main.panzer.pid()));
    held.finish().expect("it is still there");
    main.panzer.signal(Signal::Term);
    assert_eq!(main.panzer.end(), End::Status(0));
}
