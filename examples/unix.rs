//! An echo over a Unix socket, one connection at a time in each worker.
//!
//! ```text
//! cargo run --example unix -- /tmp/echo.sock
//! echo hello | nc -NU /tmp/echo.sock
//! ```
//!
//! Its only argument is the path, by default `/tmp/panzer-echo.sock`. The socket keeps its
//! inode over every reload: a client never finds the path missing.
//!
//! [`Context::accept`] blocks, so a worker costs nothing without connections, and the kernel
//! wakes one worker for one connection. A worker that is told to stop finishes its connection
//! first. A peer that never hangs up can therefore hold it until the monitor's timeout, and
//! not longer.

use std::error::Error;
use std::io;
use std::os::unix::net::UnixStream;

use panzer::{Context, Level, Monitor};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/tmp/panzer-echo.sock".into());
    let listener = panzer::listen(&format!("unix:{path}"))?;
    panzer::log(Level::Info, format_args!("echo on {}", listener.address()));

    let worker = move |ctx: &mut Context| {
        while let Some((connection, _peer)) = ctx.accept(&listener)? {
            if let Err(error) = echo(&UnixStream::from(connection)) {
                panzer::log(Level::Debug, format_args!("a client hung up early: {error}"));
            }
        }
        Ok(())
    };
    Monitor::new(worker).run()?;
    Ok(())
}

/// Sends back what arrives until the peer has closed its side.
fn echo(stream: &UnixStream) -> io::Result<u64> {
    let (mut reader, mut writer) = (stream, stream);
    io::copy(&mut reader, &mut writer)
}
