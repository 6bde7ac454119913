//! The smallest server under Panzer: one line for each connection.
//!
//! ```text
//! cargo run --example basic               # alone, on 127.0.0.1:8080
//! panzer target/debug/examples/basic      # the same, and it can be reloaded
//! ```
//!
//! Its only argument is the address, by default `127.0.0.1:8080`.
//!
//! `main` runs once a generation, in the monitor: it loads what the workers share. The
//! closure runs in each worker, which is forked from the monitor and so has all of that
//! already. Try `kill -USR1` on the `panzer` process while a client connects in a loop.

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;

use panzer::{Context, Level, Monitor};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());

    // Every generation runs this line: the first one binds, and all later ones get the
    // socket that the first one bound.
    let listener = panzer::listen(&address)?;
    panzer::log(Level::Info, format_args!("constructed on {}", listener.address()));

    let worker = move |ctx: &mut Context| {
        panzer::log(Level::Info, format_args!("worker {} starts", ctx.slot()));
        while let Some((connection, _peer)) = ctx.accept(&listener)? {
            let mut stream = TcpStream::from(connection);
            let (generation, slot) = (ctx.generation(), ctx.slot());
            let line = format!("hello from generation {generation}, worker {slot}\n");
            // A client that hangs up early must not end the worker.
            if let Err(error) = stream.write_all(line.as_bytes()) {
                panzer::log(Level::Debug, format_args!("a client hung up early: {error}"));
            }
        }
        // The worker was told to stop, and no connection is left for it.
        Ok(())
    };
    Monitor::new(worker).run()?;
    Ok(())
}
