//! Two ways to keep four workers of the same kind.
//!
//! They are the bench itself with other arguments: `worker fixture pool ADDRESS`, under
//! panzer, and `worker fixture bare ADDRESS`, a bare loop that forks at each SIGCHLD.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use panzer::sys::fd::Borrowed;
use panzer::sys::process::{self, Reaped};
use panzer::sys::signal::{self, Wake};
use panzer::sys::{Signal, poll};
use panzer::{Context, Monitor, Source};

/// The argument that makes this program a fixture.
pub const WORD: &str = "fixture";

/// How many workers each of the two keeps.
pub const COUNT: u16 = 4;

/// Runs the requested fixture.
pub fn run(words: &[&str]) -> ExitCode {
    let outcome = match words {
        ["pool", address] => pool(address),
        ["bare", address] => bare(address),
        _ => Err(io::Error::other("no such fixture")),
    };
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The monotonic clock in nanoseconds, the same for all processes.
pub fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A worker: reports its start time and pid, and runs until it is killed or its connection
/// ends.
fn live(born: u64, address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&born.to_ne_bytes())?;
    stream.write_all(&process::id().raw().to_ne_bytes())?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn pool(address: &str) -> io::Result<()> {
    let address = address.to_string();
    let worker = move |ctx: &mut Context| {
        let born = clock();
        ctx.ready();
        Ok(live(born, &address)?)
    };
    Monitor::new(worker).count(COUNT).run().map_err(io::Error::other)
}

/// Forks whenever a child has died, until its standard input ends.
fn bare(address: &str) -> io::Result<()> {
    let failed = |errno| io::Error::other(format!("{errno}"));
    let wake = Wake::open().map_err(failed)?;
    signal::catch(Signal::Chld);
    for _ in 0..COUNT {
        fork(address).map_err(failed)?;
    }
    let input = io::stdin();
    loop {
        let input = Source::readable(Borrowed::from(input.as_fd()));
        let mut sources = [Source::readable(wake.source()), input];
        poll::wait(&mut sources, None).map_err(failed)?;
        if sources[1].is_ready() {
            return Ok(());
        }
        wake.empty();
        while let Ok(Reaped::Dead(..)) = process::reap_any() {
            fork(address).map_err(failed)?;
        }
    }
}

fn fork(address: &str) -> panzer::sys::SysResult<panzer::Pid> {
    process::fork(|| {
        let born = clock();
        u8::from(live(born, address).is_err())
    })
}
