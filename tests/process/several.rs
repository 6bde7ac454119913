//! A worker that accepts on whichever of several listeners is ready.

use std::net::SocketAddr;

use panzer::sys::Signal;

use crate::harness::client::{Answer, Held};
use crate::harness::panzer::{End, Panzer};
use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::strace::{Call, Trace};

/// One worker on two listeners, with a client in hand, and the clients in the
/// queue of each.
struct Busy {
    _place: Place,
    panzer: Panzer,
    trace: Trace,
    worker: u32,
    in_hand: Held,
    first: Vec<Held>,
    second: Vec<Held>,
}

fn busy() -> Busy {
    let words = ["listen=a=127.0.0.1:0", "listen=b=127.0.0.1:0", "nonblocking", "run=any"];
    let place = Place::new();
    let setup = Setup::new(&example("witness"), &words).options(&["-n1"]);
    let (setup, trace) = setup.traced(place.path(), "calls", &["-e", "trace=recvfrom"]);
    let mut panzer = setup.start();
    let (first, second) = (panzer.expect_address(), panzer.expect_address());
    panzer.expect_current(1);
    let (in_hand, Answer { pid: worker, .. }) = Held::hold(first).expect("it serves");
    let queue = |address: SocketAddr| {
        (0..3).map(|_| Held::queue(address).expect("there is room")).collect::<Vec<_>>()
    };
    let (first, second) = (queue(first), queue(second));
    Busy { _place: place, panzer, trace, worker, in_hand, first, second }
}

/// All of them are served, by this generation, in whatever order.
fn expect_served(clients: [Vec<Held>; 2], generation: u32) {
    // One worker has one in hand, so each waits for those before it.
    let all: Vec<_> = clients
        .into_iter()
        .flatten()
        .map(|mut client| {
            std::thread::spawn(move || {
                let answer = client.greeting().expect("it was in the queue");
                client.finish().expect("it is served");
                answer.generation
            })
        })
        .collect();
    for client in all {
        assert_eq!(client.join().expect("it is served"), generation);
    }
}

/// RATIONALE 3.13
#[test]
fn each_listener_has_its_turn() {
    let Busy { _place, panzer, in_hand, mut first, mut second, .. } = busy();
    in_hand.finish().expect("it is served");
    // The queues are never empty, and nobody is let go before the next greets.
    for _ in 0..3 {
        for clients in [&mut second, &mut first] {
            let mut next = clients.remove(0);
            next.greeting().expect("it is its turn");
            next.finish().expect("it is served");
        }
    }
    panzer.stop();
}

/// RATIONALE 3.5
#[test]
fn both_queues_are_emptied_in_the_final_stop() {
    let Busy { _place, mut panzer, in_hand, first, second, .. } = busy();
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    in_hand.finish().expect("it is finished");
    expect_served([first, second], 1);
    assert_eq!(panzer.end(), End::Status(0));
}

/// RATIONALE 3.5
#[test]
fn both_queues_are_left_to_the_next_generation() {
    let Busy { _place, mut panzer, trace, worker, in_hand, first, second } = busy();
    panzer.reload(2);
    // Until it is told it may take one more.
    let is_told = |call: &Call| call.pid == worker && call.answer.contains("ERESTARTSYS");
    panzer.eventually("it is told to stop", || trace.calls().iter().any(is_told));
    in_hand.finish().expect("it is finished");
    // The new one has one in hand, so the old one has found the queues full.
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    expect_served([first, second], 2);
    panzer.stop();
}

/// RATIONALE 3.9
#[test]
fn a_listener_that_blocks_is_refused_by_name() {
    let words = ["listen=127.0.0.1:0", "run=any"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let address = panzer.expect_address();
    panzer.expect_line(&format!("cannot try to accept on {address}: it would block"));
    panzer.stop();
}
