//! A forged state, or one of another process, is refused, and no process named in it is
//! signalled.

use std::fs;
use std::path::{Path, PathBuf};

use panzer::sys::Signal;

use super::restartable::RestartableMain;
use crate::harness::client::Held;
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer};
use crate::harness::procfs;
use crate::harness::setup::Setup;

const HOLD: [&str; 2] = ["listen=127.0.0.1:0", "run=hold"];

/// A main with a draining and a current generation, and the state that it hands to a
/// program of another version.
fn victim() -> (RestartableMain, Held, Vec<u8>) {
    let mut main = RestartableMain::start(&HOLD, &["-n2", "--timeout=1000"]);
    let address = main.panzer.expect_address();
    main.panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    main.panzer.reload(2);
    let kept = main.dir.join("state");
    main.install_impostor(&[&format!("keep={}", kept.display()), "exit=0"]);
    assert_eq!(main.ctl(&["restart"]).status, 1);
    main.repair();
    let state = fs::read(kept).expect("it was written");
    assert!(state.len() > 64, "{} bytes of state", state.len());
    (main, held, state)
}

/// A panzer that is started with the state in this file; `how` is the forger's argument.
fn forged(dir: &TempDir, state: &Path, how: &str) -> Panzer {
    let forger = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/forger.py");
    let words = [forger, &state.display().to_string(), how];
    let setup = Setup::new(&dir.join("app"), &[]);
    setup.through(Path::new("python3"), &words).start()
}

/// It logs what is wrong in one line and exits with 1 or 2, without signalling any
/// process.
fn refuses(dir: &TempDir, state: &Path, how: &str, description: &str) {
    refused(forged(dir, state, how), description);
}

fn refused(mut panzer: Panzer, description: &str) {
    let end = panzer.end();
    assert!(matches!(end, End::Status(1 | 2)), "{description}: {end:?} {:?}", panzer.lines());
    let lines = panzer.lines();
    assert_eq!(lines.len(), 1, "{description}: {lines:?}");
    assert!(!lines[0].contains("panic"), "{description}: {lines:?}");
    assert_eq!(panzer.count("started"), 0, "{description}");
}

fn app(dir: &TempDir) {
    dir.app(&example("witness"), &HOLD);
}

/// rule: restart.corrupt-state
#[test]
fn state_of_another_main_is_refused_without_signals() {
    let (mut main, held, state) = victim();
    let before = main.snapshot();
    let path = main.dir.join("forged");
    fs::write(&path, &state).expect("the directory is ours");
    for _ in 0..2 {
        refuses(&main.dir, &path, "as-it-is", "of another main");
        assert_eq!(main.snapshot(), before);
    }
    held.finish().expect("it is still there");
    main.panzer.expect_event("its end", |event| event.is("died", 1) && event.slot == 0);
    main.panzer.stop();
    // Now all processes of that state are gone.
    let dir = TempDir::new();
    app(&dir);
    let path = dir.join("forged");
    fs::write(&path, &state).expect("the directory is ours");
    refuses(&dir, &path, "as-it-is", "of a dead main");
}

/// rule: restart.corrupt-state
#[test]
fn state_with_a_monitor_that_is_no_child_is_refused() {
    let mut main = RestartableMain::start(&HOLD, &["-n1"]);
    let monitor = main.panzer.expect_current(1);
    let kept = main.dir.join("state");
    main.install_impostor(&[&format!("keep={}", kept.display()), "exit=0"]);
    assert_eq!(main.ctl(&["restart"]).status, 1);
    main.repair();
    let before = main.snapshot();
    refuses(&main.dir, &kept, "own", "of an unrelated process");
    refuses(&main.dir, &kept, "as-it-is", "of another main");
    assert_eq!(main.snapshot(), before);
    main.panzer.stop();
    refuses(&main.dir, &kept, &format!("loose={monitor}"), "it is not sealed");
    // It is accepted by a process whose child the monitor is.
    let mut panzer = forged(&main.dir, &kept, &format!("child={monitor}"));
    panzer.expect_line("now running panzer ");
    panzer.signal(Signal::Term);
    assert_eq!(panzer.end(), End::Status(0));
}

/// rules: restart.corrupt-state, restart.stray-environment
#[test]
fn file_pipe_or_unsealed_memfd_is_refused_as_state() {
    let dir = TempDir::new();
    app(&dir);
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, bytes).expect("the directory is ours");
        path
    };
    for (description, bytes) in [
        ("nothing", &b""[..]),
        ("a byte", b"x"),
        ("zeroes", &[0; 4_096]),
        ("ones", &[0xff; 4_096]),
        ("much", &[7; 1 << 20]),
        ("text", b"panzer 0.1.0\n"),
    ] {
        refuses(&dir, &write("forged", bytes), "as-it-is", description);
    }
    // A state that is not sealed may still be changed by others.
    let setup = |redirect: &str| {
        let setup = Setup::new(&dir.join("app"), &[]).variable("PANZER_STATE", "9");
        setup.redirect(redirect)
    };
    let whole = write("forged", b"x");
    for path in [&*whole, Path::new("/dev/null"), Path::new("/dev/zero"), Path::new("/")] {
        refused(setup(&format!("9<'{}'", path.display())).start(), &path.display().to_string());
    }
    // A pipe without a writer must not block the start.
    let pipe = dir.gate("pipe");
    refused(setup(&format!("9<>'{}'", pipe.display())).start(), "a pipe");
    for number in ["8", "-1", "0", "x", "", "99999999999999999999", "9 9"] {
        let mut panzer = setup("").variable("PANZER_STATE", number).start();
        assert_eq!(panzer.end(), End::Status(1), "{number:?}");
    }
}

/// rule: restart.corrupt-state
#[test]
fn changed_state_is_refused_without_signals() {
    let (mut main, held, state) = victim();
    let before = main.snapshot();
    let path = main.dir.join("forged");
    let lengths = [1, 8, 16, 32, state.len() / 2, state.len() - 8, state.len() - 1];
    for length in lengths {
        fs::write(&path, &state[..length]).expect("the directory is ours");
        refuses(&main.dir, &path, "as-it-is", &format!("the first {length} bytes"));
    }
    // A few of them here; the unit tests of the decoder try all.
    for index in (0..state.len()).step_by(state.len() / 12) {
        let mut changed = state.clone();
        changed[index] ^= 0x41;
        fs::write(&path, &changed).expect("the directory is ours");
        refuses(&main.dir, &path, "as-it-is", &format!("another byte at {index}"));
    }
    assert_eq!(main.snapshot(), before);
    held.finish().expect("it is still there");
    main.panzer.stop();
}

/// rule: restart.corrupt-state
#[test]
fn forged_probe_variable_is_refused_without_reply_or_signals() {
    let (mut main, held, state) = victim();
    let before = main.snapshot();
    let path = main.dir.join("forged");
    fs::write(&path, &state).expect("the directory is ours");
    let probe = |words: &str, redirect: &str| {
        let setup = Setup::new(&main.dir.join("app"), &[]).variable("PANZER_PROBE", words);
        let mut panzer = setup.redirect(redirect).start();
        assert_eq!(panzer.end(), End::Status(1), "{words}");
        assert_eq!(panzer.count("started"), 0, "{words}");
    };
    let file = format!("9<'{}'", path.display());
    for words in ["9,8", "9", "9,9", "8,9", "", ",", "x,y", "9,2", "-1,-1", "0,1", "9,3"] {
        probe(words, &file);
    }
    assert_eq!(main.snapshot(), before);
    assert!(procfs::is_alive(main.panzer.pid()));
    held.finish().expect("it is still there");
    main.panzer.signal(Signal::Term);
    assert_eq!(main.panzer.end(), End::Status(0));
}
