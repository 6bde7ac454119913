//! An HTTP/1.1 server that loses no request when it is reloaded or stopped.
//!
//! ```text
//! cargo build --release --example http
//! panzer -n 4 target/release/examples/http 127.0.0.1:8080
//! curl http://127.0.0.1:8080/             # gen=1 slot=2 pid=4711
//! ```
//!
//! Its only argument is the address, by default `127.0.0.1:8080`; `unix:/path` works as well.
//! `HTTP_DELAY_MS` delays every answer, as if the handler had something to compute.
//!
//! Each worker runs an event loop and serves many connections at once:
//!
//! - `request` parses the head of a request. It is pure.
//! - `connection` is one client: its phase, and the deadline of that.
//! - `server` is the loop: it waits, serves what is ready or late, and accepts.
//!
//! What makes the drain lossless is in `connection`; it depends on HTTP and not on Panzer:
//! the answer to every request that is in progress or still arriving says `Connection:
//! close`, and an idle connection is kept for as long as the last answer promised, because
//! the next request may be on its way already.

mod connection;
mod request;
mod server;

use std::error::Error;

use panzer::{Context, Level, Millis, Monitor};

use crate::server::Server;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let delay = match std::env::var("HTTP_DELAY_MS") {
        Ok(delay) => Millis(delay.parse()?),
        Err(_) => Millis(0),
    };

    // All users of a socket share its non-blocking flag, so it is set here, before the
    // first worker exists.
    let listener = panzer::listen(&address)?.nonblocking()?;
    panzer::log(Level::Info, format_args!("listening on {}", listener.address()));

    // A stopping worker closes its listener before its last answers, so it takes the
    // listener out; each worker has its own copy of this closure.
    let mut listener = Some(listener);
    Monitor::new(move |ctx: &mut Context| Server::new(listener.take(), delay).run(ctx)).run()?;
    Ok(())
}
