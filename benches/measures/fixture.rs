//! A pool of the library's, as the baselines are: its workers report, and wait for their end.
//!
//! It is the bench itself with other arguments: `figures fixture pool FIFO`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::process::ExitCode;

use panzer::sys::{poll, process};
use panzer::{Context, Monitor, Source};

use super::reports::{Report, clock};

/// The argument that makes this program a fixture.
pub const WORD: &str = "fixture";

/// Runs the requested fixture.
pub fn run(words: &[&str]) -> ExitCode {
    let outcome = match words {
        ["pool", fifo] => pool(fifo),
        _ => Err(io::Error::other("no such fixture")),
    };
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn pool(fifo: &str) -> io::Result<()> {
    let fifo = OpenOptions::new().write(true).open(fifo)?;
    (&fifo).write_all(&Report::bytes(clock(), 0))?;
    let worker = move |ctx: &mut Context| Ok(live(&fifo, ctx)?);
    Monitor::new(worker).run().map_err(io::Error::other)
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
