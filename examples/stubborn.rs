//! A worker that will not go: a fixture for everything that is said of patience.
//!
//! It ignores SIGTERM and SIGINT, never looks whether it was told to stop, and
//! waits for nothing for ever. Panzer asks it to stop, asks again after the
//! timeout of two seconds, and two seconds later sends the signal that nobody
//! can ignore.
//!
//! Do not write such a worker. If yours cannot be interrupted for a while, let
//! it say [`Context::busy`] and [`Context::idle`] around that while.

use std::error::Error;
use std::time::Duration;

use panzer::sys::{Signal, signal};
use panzer::{Context, Level, Monitor, Outcome};

fn main() -> Result<(), Box<dyn Error>> {
    Monitor::new(refuse).count(1).timeout(Duration::from_secs(2)).run()?;
    Ok(())
}

/// Says that it is ready, and then blocks until it is killed.
fn refuse(ctx: &mut Context) -> Outcome {
    signal::ignore(Signal::Term);
    signal::ignore(Signal::Int);
    panzer::log(Level::Info, format_args!("worker {} will not go", ctx.slot()));
    ctx.ready();
    loop {
        panzer::wait(&mut [], None)?;
    }
}
