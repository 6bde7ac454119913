//! A worker that accepts on several listeners.

use std::net::SocketAddr;

use panzer::sys::Signal;

use crate::harness::client::{Answer, Held};
use crate::harness::files::{TempDir, example};
use crate::harness::panzer::{End, Panzer};
use crate::harness::setup::Setup;
use crate::harness::strace::{Call, Trace};

/// One worker on two listeners, busy with one client, and the clients queued on each.
struct Busy {
    _dir: TempDir,
    panzer: Panzer,
    trace: Trace,
    worker: u32,
    in_hand: Held,
    first: Vec<Held>,
    second: Vec<Held>,
}

fn busy() -> Busy {
    let words = ["listen=a=127.0.0.1:0", "listen=b=127.0.0.1:0", "nonblocking", "run=any"];
    let dir = TempDir::new();
    let setup = Setup::new(&example("witness"), &words).options(&["-n1"]);
    let (setup, trace) = setup.traced(dir.path(), "calls", &["-e", "trace=recvfrom"]);
    let mut panzer = setup.start();
    let (first, second) = (panzer.expect_address(), panzer.expect_address());
    panzer.expect_current(1);
    let (in_hand, Answer { pid: worker, .. }) = Held::hold(first).expect("it serves");
    let queue = |address: SocketAddr| {
        (0..3).map(|_| Held::queue(address).expect("there is room")).collect::<Vec<_>>()
    };
    let (first, second) = (queue(first), queue(second));
    Busy { _dir: dir, panzer, trace, worker, in_hand, first, second }
}

/// Requires that this generation serves all of them, in any order.
fn expect_served(clients: [Vec<Held>; 2], generation: u32) {
    // The only worker serves one at a time, so each client waits for those before it.
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

/// rule: worker.accept-any
#[test]
fn listeners_take_turns() {
    let Busy { _dir, panzer, in_hand, mut first, mut second, .. } = busy();
    in_hand.finish().expect("it is served");
    // The queues never run empty: a client finishes only after the next one is greeted.
    for _ in 0..3 {
        for clients in [&mut second, &mut first] {
            let mut next = clients.remove(0);
            next.greeting().expect("it is its turn");
            next.finish().expect("it is served");
        }
    }
    panzer.stop();
}

/// rule: worker.drain
#[test]
fn both_queues_are_served_in_the_final_stop() {
    let Busy { _dir, mut panzer, in_hand, first, second, .. } = busy();
    panzer.signal(Signal::Term);
    panzer.expect_event("stopping", |event| event.name == "stopping");
    in_hand.finish().expect("it is finished");
    expect_served([first, second], 1);
    assert_eq!(panzer.end(), End::Status(0));
}

/// rule: worker.drain
#[test]
fn both_queues_are_left_to_the_next_generation() {
    let Busy { _dir, mut panzer, trace, worker, in_hand, first, second } = busy();
    panzer.reload(2);
    // Until it has SIGTERM it may accept once more.
    let is_stopped = |call: &Call| call.pid == worker && call.answer.contains("ERESTARTSYS");
    panzer.eventually("the worker has SIGTERM", || trace.calls().iter().any(is_stopped));
    in_hand.finish().expect("it is finished");
    // The new worker is busy with one client, so the old one has left full queues.
    panzer.expect_event("the end of the first", |event| event.is("died", 1) && event.slot == 0);
    expect_served([first, second], 2);
    panzer.stop();
}

/// rule: worker.try-accept
#[test]
fn blocking_listener_is_refused_by_name() {
    let words = ["listen=127.0.0.1:0", "run=any"];
    let mut panzer = Setup::new(&example("witness"), &words).options(&["-n1"]).start();
    let address = panzer.expect_address();
    panzer.expect_line(&format!(
        "cannot accept on {address}: the listener blocks; call nonblocking() on it before the \
         first fork"
    ));
    panzer.stop();
}
