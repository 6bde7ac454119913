//! An HTTP/1.1 server that loses no request when it is reloaded or stopped.
//!
//! ```text
//! cargo build --release --example http
//! panzer -n 4 target/release/examples/http 127.0.0.1:8080
//! curl http://127.0.0.1:8080/             # gen=1 slot=2 pid=4711
//! ```
//!
//! The one argument is the address, `127.0.0.1:8080` unless given; `unix:/path`
//! works as well. `HTTP_DELAY_MS` makes every answer take that long, as if the
//! handler had something to compute.
//!
//! Each worker runs an event loop and serves many connections at once:
//!
//! - `request` tells whether some bytes are a request. It is pure.
//! - `connection` is one client: what it is in the middle of, and until when.
//! - `server` is the loop: who is ready, who is late, whom to accept.
//!
//! What makes the drain lossless is in `connection`, and is HTTP's business and
//! not Panzer's: the answer to every request that is in hand or still arriving
//! says `Connection: close`, and an idle connection is kept for as long as the
//! last answer promised, because the next request may be on its way already.

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

    // Whether a socket blocks is a property that all its users share: it is set
    // here, before the first worker exists, or never.
    let listener = panzer::listen(&address)?.nonblocking()?;
    panzer::log(Level::Info, format_args!("listening on {}", listener.address()));

    // A worker that stops lets go of the listener before its last answers, so
    // it takes the listener out; each worker has its own copy of this closure.
    let mut listener = Some(listener);
    Monitor::new(move |ctx: &mut Context| Server::new(listener.take(), delay).run(ctx)).run()?;
    Ok(())
}
