//! What one generation leaves to the next, and what it may keep.

use panzer::sys::Signal;

use crate::harness::client::{Held, ask, is_refused};
use crate::harness::look;
use crate::harness::panzer::send;
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;

/// RATIONALE 1.21
#[test]
fn clients_that_never_hang_up_keep_at_most_three_generations() {
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
    let place =
        |name: &str, generation: u32| events.iter().position(|event| event.is(name, generation));
    for generation in 4..6 {
        let (died, started) = (place("died", generation - 3), place("started", generation));
        assert!(died.is_some() && died < started, "{generation}: {events:#?}");
    }
    assert_eq!(place("died", 3), None, "{events:#?}");
    // The last two are there still, with what they have in hand.
    let ended = held.drain(..2).all(Held::ends_without_a_word);
    assert!(ended, "the oldest were told to leave");
    held.into_iter().for_each(|held| held.finish().expect("it is in hand"));
    panzer.stop();
}

/// RATIONALE 3.12
#[test]
fn versions_that_block_and_versions_that_do_not_follow_each_other_and_lose_nobody() {
    let place = Place::new();
    let witness = || place.app(&example("witness"), &["listen=web=127.0.0.1:0", "run=hold"]);
    let mut panzer = Setup::new(&witness(), &[]).options(&["-n2"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    place.app(&example("http"), &["web=127.0.0.1:0"]);
    panzer.reload(2);
    // The first still has one in hand; its other worker has to have left.
    panzer.expect_line("of generation 1 exited with status 0");
    assert_eq!(ask(address).expect("it serves").generation, 2);
    witness();
    let monitor = panzer.reload(3);
    panzer.expect_event("the end of the second", |event| event.is("died", 2) && event.slot == 0);
    // More than there are workers: each comes round.
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

/// RATIONALE 1.18, 3.12
#[test]
fn a_version_that_does_not_block_and_is_rolled_back_leaves_the_old_one_as_it_was() {
    let place = Place::new();
    let app = place.app(&example("witness"), &["listen=web=127.0.0.1:0", "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1", "--probation=1000", "-v"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    place.app(&example("http"), &["web=127.0.0.1:0"]);
    panzer.signal(Signal::Usr1);
    let monitor = panzer.expect("ready", 2).pid;
    send(monitor, Signal::Kill);
    panzer.expect("rolled_back", 2);
    panzer.expect_line("nobody of generation 2 is left");
    for _ in 0..3 {
        let (held, answer) = Held::hold(address).expect("it serves");
        assert_eq!(answer.generation, 1);
        held.finish().expect("it is finished");
    }
    let mut panzer = panzer.stop();
    assert_eq!(panzer.count_lines(") of generation 1 "), 1, "it was always the same");
}

/// RATIONALE 4.7
#[test]
fn a_workers_child_has_no_socket_in_a_later_generation_either() {
    let words = ["listen=127.0.0.1:0", "listen=web=127.0.0.1:1", "run=spawn"];
    let options = ["-n1", "--bind=web=127.0.0.1:0"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&options).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    panzer.reload(2);
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    // The child is started with a connection in hand.
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

/// RATIONALE 1.44
#[test]
fn what_a_version_that_is_rolled_back_has_opened_is_closed_and_unlinked() {
    let place = Place::new();
    let app = place.app(&example("witness"), &["listen=a=127.0.0.1:0", "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1", "--probation=1000", "-v"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    panzer.settle();
    let before = look::descriptors(panzer.pid()).len();
    let path = place.join("socket");
    let unix = format!("listen=unix:{}", path.display());
    let more = ["listen=b=127.0.0.1:0", &unix, "listen=a=127.0.0.1:0", "run=hold"];
    place.app(&example("witness"), &more);
    panzer.signal(Signal::Usr1);
    let new = panzer.expect_address();
    let monitor = panzer.expect("ready", 2).pid;
    assert!(path.exists());
    send(monitor, Signal::Kill);
    panzer.expect("rolled_back", 2);
    panzer.expect_line("nobody of generation 2 is left");
    panzer.settle();
    assert!(is_refused(new) && !path.exists());
    assert_eq!(look::descriptors(panzer.pid()).len(), before);
    let (held, _) = Held::hold(address).expect("it serves");
    held.finish().expect("it is served");
    panzer.stop();
}

/// RATIONALE 1.43
#[test]
fn a_unix_path_that_is_given_back_is_unlinked_after_the_old_generation() {
    let place = Place::new();
    let path = place.join("socket");
    let unix = format!("listen=unix:{}", path.display());
    let app = place.app(&example("witness"), &["listen=127.0.0.1:0", &unix, "run=hold"]);
    let mut panzer = Setup::new(&app, &[]).options(&["-n1", "-v"]).start();
    let address = panzer.expect_address();
    panzer.expect_current(1);
    let (held, _) = Held::hold(address).expect("it serves");
    place.app(&example("witness"), &["listen=127.0.0.1:0", "run=hold"]);
    panzer.reload(2);
    panzer.settle();
    assert!(path.exists(), "the old one could still be asked for it");
    held.finish().expect("it is finished");
    panzer.expect_line("nobody of generation 1 is left");
    panzer.settle();
    assert!(!path.exists());
    panzer.stop();
}
