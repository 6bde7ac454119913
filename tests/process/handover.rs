//! What one generation hands over to the next, and what it may keep.

use panzer::sys::Signal;

use crate::harness::client::{Held, ask, is_refused};
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::send;
use crate::harness::procfs;
use crate::harness::setup::Setup;

/// rule: reload.three-alive
#[test]
fn oldest_draining_generation_ends_before_fourth_starts() {
    let words = ["listen=127.0.0.1:0", "run=hold"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let mut held = Vec::new();
    for generation in 2..6 {
        let (client, answer) = Held::hold(address).expect("it serves");
        assert_eq!(answer.generation, generation - 1);
        held.push(client);
        panzer.reload(generation);
    }
    let events = panzer.events();
    let position =
        |name: &str, generation: u32| events.iter().position(|event| event.is(name, generation));
    for generation in 4..6 {
        let (died, started) = (position("died", generation - 3), position("started", generation));
        assert!(died.is_some() && died < started, "{generation}: {events:#?}");
    }
    assert_eq!(position("died", 3), None, "{events:#?}");
    // The last two are still alive, with their connections.
    let ended = held.drain(..2).all(Held::ends_without_reply);
    assert!(ended, "the oldest generations were ended");
    held.into_iter().for_each(|held| held.finish().expect("it is still served"));
    panzer.stop();
}

/// rule: worker.nonblocking
#[test]
fn blocking_and_nonblocking_versions_alternate_without_losing_clients() {
    let dir = TempDir::new();
    let witness = || dir.app(&example("witness"), &["listen=web=127.0.0.1:0", "run=hold"]);
    let mut panzer = Setup::new(&witness(), &[]).options(&["-n2"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    dir.app(&example("http"), &["web=127.0.0.1:0"]);
    panzer.reload(2);
    // The first generation still has a connection; its other worker has to exit first.
    panzer.expect_line("of generation 1: exited with status 0");
    assert_eq!(ask(address).expect("it serves").generation, 2);
    witness();
    let monitor = panzer.reload(3);
    panzer.expect_event("the end of the second", |event| event.is("died", 2) && event.slot == 0);
    // More connections than workers, so that each worker accepts one.
    for _ in 0..3 {
        let (other, answer) = Held::hold(address).expect("it serves");
        assert_eq!(answer.generation, 3);
        other.finish().expect("it is finished");
    }
    assert_eq!(panzer.workers(monitor).len(), 2);
    held.finish().expect("it is finished");
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines("failed: "), 0);
}

/// rules: probation.promotion, worker.nonblocking
#[test]
fn rolled_back_nonblocking_version_does_not_affect_blocking_one() {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &["listen=web=127.0.0.1:0", "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1", "--probation=1000", "-v"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    dir.app(&example("http"), &["web=127.0.0.1:0"]);
    panzer.signal(Signal::Usr1);
    let monitor = panzer.expect("ready", 2).pid;
    send(monitor, Signal::Kill);
    panzer.expect("rolled_back", 2);
    panzer.expect_line("generation 2: all processes exited");
    for _ in 0..3 {
        let (held, answer) = Held::hold(address).expect("it serves");
        assert_eq!(answer.generation, 1);
        held.finish().expect("it is finished");
    }
    let mut panzer = panzer.stop();
    let is_death =
        |line: &&String| line.contains(": worker 1 (pid ") && line.contains(") of generation 1: ");
    let deaths = panzer.lines().iter().filter(is_death).count();
    assert_eq!(deaths, 1, "it was always the same");
}

/// rule: listen.cloexec
#[test]
fn workers_child_in_later_generation_has_no_sockets() {
    let words = ["listen=127.0.0.1:0", "listen=web=127.0.0.1:1", "run=spawn"];
    let options = ["-n1", "--bind=web=127.0.0.1:0"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&options).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    panzer.reload(2);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    // The worker starts the child when it has accepted a connection.
    let (held, answer) = Held::hold(address).expect("it serves");
    assert_eq!(answer.generation, 2);
    panzer.expect_line("child end");
    held.finish().expect("it is served");
    let lines = panzer.stop().lines();
    let shown: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("child fd ")).collect();
    let numbers: Vec<_> = shown.iter().map(|shown| shown.split(' ').next()).collect();
    assert_eq!(numbers.len(), 3, "{shown:?}");
    assert!(["0", "1", "2"].iter().all(|number| numbers.contains(&Some(number))), "{shown:?}");
}

/// rule: store.failed-generation
#[test]
fn sockets_of_rolled_back_version_are_closed_and_unlinked() {
    let dir = TempDir::new();
    let app = dir.app(&example("witness"), &["listen=a=127.0.0.1:0", "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1", "--probation=1000", "-v"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    panzer.settle();
    let before = procfs::descriptors(panzer.pid()).len();
    let path = dir.join("socket");
    let unix = format!("listen=unix:{}", path.display());
    let more = ["listen=b=127.0.0.1:0", &unix, "listen=a=127.0.0.1:0", "run=hold"];
    dir.app(&example("witness"), &more);
    panzer.signal(Signal::Usr1);
    let new = panzer.expect_address();
    let monitor = panzer.expect("ready", 2).pid;
    assert!(path.exists());
    send(monitor, Signal::Kill);
    panzer.expect("rolled_back", 2);
    panzer.expect_line("generation 2: all processes exited");
    panzer.settle();
    assert!(is_refused(new) && !path.exists());
    assert_eq!(procfs::descriptors(panzer.pid()).len(), before);
    let (held, _) = Held::hold(address).expect("it serves");
    held.finish().expect("it is served");
    panzer.stop();
}

/// rule: store.given-back
#[test]
fn unix_path_that_new_version_drops_is_unlinked_after_old_generation_exits() {
    let dir = TempDir::new();
    let path = dir.join("socket");
    let unix = format!("listen=unix:{}", path.display());
    let app = dir.app(&example("witness"), &["listen=127.0.0.1:0", &unix, "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1", "-v"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    dir.app(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    panzer.reload(2);
    panzer.settle();
    assert!(path.exists(), "the old generation may still serve it");
    held.finish().expect("it is finished");
    panzer.expect_line("generation 1: all processes exited");
    panzer.settle();
    assert!(!path.exists());
    panzer.stop();
}
