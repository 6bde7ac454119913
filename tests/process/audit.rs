//! What they ask the kernel for in a whole life, and what never.

use crate::harness::place::{Place, example};
use crate::harness::setup::Setup;
use crate::harness::strace::Call;

/// A whole life: a start, a reload, a stop.
fn life(name: &str, calls: &str) -> Vec<Call> {
    let place = Place::new();
    let option = format!("trace={calls}");
    let setup = Setup::new(&example("witness"), &["listen=127.0.0.1:0", "run=idle"]);
    let (setup, trace) = setup.options(&["-n2"]).traced(place.path(), name, &["-e", &option]);
    let mut panzer = setup.start();
    panzer.expect_current(1);
    panzer.reload(2);
    panzer.stop();
    trace.calls()
}

/// RATIONALE 1.40
#[test]
fn nobody_ever_shuts_a_socket_down() {
    let calls = life("life", "shutdown,listen");
    assert!(calls.iter().any(|call| call.name == "listen" && call.is_done()), "{calls:?}");
    assert!(!calls.iter().any(|call| call.name == "shutdown"), "{calls:?}");
}
