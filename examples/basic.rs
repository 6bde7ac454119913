//! The smallest server under Panzer: one line for everybody who connects.
//!
//! ```text
//! cargo run --example basic               # alone, on 127.0.0.1:8080
//! panzer target/debug/examples/basic      # the same, and it can be reloaded
//! ```
//!
//! The one argument is the address, `127.0.0.1:8080` unless given.
//!
//! `main` runs once a generation, in the monitor: it loads what the workers are
//! to share. The closure runs in each worker, which was forked from the monitor
//! and therefore has all of that already. Try `kill -USR1` on the `panzer`
//! process while something connects in a loop.

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;

use panzer::{Context, Level, Monitor};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());

    // The same line serves every generation: the first one binds, and all later
    // ones are handed the socket that the first one bound.
    let listener = panzer::listen(&address)?;
    panzer::log(Level::Info, format_args!("constructed on {}", listener.address()));

    let worker = move |ctx: &mut Context| {
        panzer::log(Level::Info, format_args!("worker {} starts", ctx.slot()));
        while let Some((connection, _peer)) = ctx.accept(&listener)? {
            let mut stream = TcpStream::from(connection);
            let (generation, slot) = (ctx.generation(), ctx.slot());
            let line = format!("hello from generation {generation}, worker {slot}\n");
            // Somebody who hangs up early is no reason for a worker to end.
            if let Err(error) = stream.write_all(line.as_bytes()) {
                panzer::log(Level::Debug, format_args!("a peer left early: {error}"));
            }
        }
        // Told to stop, and nothing is left for us.
        Ok(())
    };
    Monitor::new(worker).run()?;
    Ok(())
}
