//! A server that reloads itself: main and monitor are one program, in one file.
//!
//! ```text
//! mkdir -p tmp                        # for the pid file and the control socket
//! cargo run --example supervise       # on 127.0.0.1:8080
//! curl http://127.0.0.1:8080/
//! ./panzerctl reload                  # in the same directory: runs the newest build
//! ```
//!
//! Its only argument is the address, by default `127.0.0.1:8080`. Options of `panzer` can be
//! set in `config/panzer.yml`.
//!
//! The first process becomes main, and starts this file again as the monitor. The closure
//! runs in the monitor only. Under `panzer` the program is just the monitor.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use std::{env, process};

use panzer::{Context, Level, Monitor};

fn main() -> Result<(), Box<dyn Error>> {
    panzer::supervise(|| {
        let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
        let listener = panzer::listen(&address)?;
        panzer::log(Level::Info, format_args!("listening on {}", listener.address()));

        let worker = move |ctx: &mut Context| {
            let (generation, slot, pid) = (ctx.generation(), ctx.slot(), process::id());
            let hello = format!("gen={generation} slot={slot} pid={pid}\n");
            while let Some((connection, _peer)) = ctx.accept(&listener)? {
                // A client that hangs up early must not end the worker.
                if let Err(error) = answer(&TcpStream::from(connection), &hello) {
                    panzer::log(Level::Debug, format_args!("a client hung up early: {error}"));
                }
            }
            Ok(()) // The worker was told to stop, and no connection is left for it.
        };
        Ok(Monitor::new(worker))
    })
}

/// Answers one request: HTTP/1.1 without keep-alive.
fn answer(mut stream: &TcpStream, body: &str) -> io::Result<()> {
    // A silent client must not hold the worker.
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    for line in BufReader::new(stream.take(8192)).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
