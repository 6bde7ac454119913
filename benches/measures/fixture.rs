//! What runs under panzer: a pool of the library's, as the baselines are, whose workers report
//! and wait for their end, or the simplest event loop.
//!
//! It is the bench itself with other arguments: `figures fixture pool FIFO`, `figures fixture
//! loop ADDRESS`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::process::ExitCode;

use panzer::sys::{poll, process};
use panzer::{Context, Monitor, Source};

use super::poll_loop;
use super::reports::{Report, clock};

/// The argument that makes this program a fixture.
pub const WORD: &str = "fixture";

/// Runs the requested fixture.
pub fn run(words: &[&str]) -> ExitCode {
    let outcome = match words {
        ["pool", fifo] => pool(fifo, 1),
        ["pool", fifo, count] => {
            count.parse().map_err(io::Error::other).and_then(|count| pool(fifo, count))
        }
        ["loop", address] => poll_loop::run(address),
        _ => Err(io::Error::other("no such fixture")),
    };
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The count is for a pool without panzer, which has one of its own.
fn pool(fifo: &str, count: u16) -> io::Result<()> {
    let fifo = OpenOptions::new().write(true).open(fifo)?;
    (&fifo).write_all(&Report::bytes(clock(), 0))?;
    let worker = move |ctx: &mut Context| Ok(live(&fifo, ctx)?);
    Monitor::new(worker).count(count).run().map_err(io::Error::other)
}

/// A worker: reads the clock before anything else, reports, and waits until it is told to stop.
fn live(mut fifo: &File, ctx: &mut Context) -> io::Result<()> {
    let born = clock();
    ctx.ready();
    fifo.write_all(&Report::bytes(born, process::id().raw()))?;
    while !ctx.is_stopping() {
        let mut sources = [Source::readable(ctx.stop_fd())];
        // A signal interrupts it; the flag says which.
        let _ = poll::wait(&mut sources, None);
    }
    Ok(())
}
