//! A server that replaces itself: main and monitor are one program, one file.
//!
//! ```text
//! mkdir -p tmp                        # for the pid file and the control socket
//! cargo run --example supervise       # on 127.0.0.1:8080
//! curl http://127.0.0.1:8080/
//! ./panzerctl reload                  # in the same directory: runs the newest build
//! ```
//!
//! The one argument is the address, `127.0.0.1:8080` unless given. What an
//! operator of `panzer` would set stands in `config/panzer.yml`, if it is there.
//!
//! The process that is started becomes main, and starts this file again as the
//! monitor. The closure runs in the monitor, and nothing of it in main. Below
//! `panzer` the program is just the monitor.

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
                // Somebody who hangs up early is no reason for a worker to end.
                if let Err(error) = answer(&TcpStream::from(connection), &hello) {
                    panzer::log(Level::Debug, format_args!("a client left early: {error}"));
                }
            }
            Ok(()) // Told to stop, and nothing is left for us.
        };
        Ok(Monitor::new(worker))
    })
}

/// Answers one request; `HTTP/1.1` without keep-alive, so there is only one.
fn answer(mut stream: &TcpStream, body: &str) -> io::Result<()> {
    // A client that says nothing must not hold the worker.
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    for line in BufReader::new(stream.take(8192)).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
