//! A loop of mio in each worker, and no connection is lost over a reload or a stop.
//!
//! ```text
//! cargo build --manifest-path examples/mio/Cargo.toml --target-dir target
//! panzer target/debug/panzer-mio 127.0.0.1:8080
//! ```
//!
//! It answers one request on each connection. A client that connects and sends nothing is
//! waited for until panzer's --timeout: a real server has deadlines.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use panzer::{Acceptor, BusyGuard, ConnectionGuard, Context, Listener, Monitor, Outcome};

const ACCEPTOR: Token = Token(0);

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = panzer::listen(&address)?.nonblocking()?;
    Monitor::new(move |context: &mut Context| serve(context, &listener)).run()?;
    Ok(())
}

/// A connection, what it has received, and that the worker is busy with it.
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    busy: Option<BusyGuard>,
    /// So that all workers hold nearly the same number of connections.
    _held: ConnectionGuard,
}

fn serve(context: &mut Context, listener: &Listener) -> Outcome {
    let (generation, slot) = (context.generation(), context.slot());
    let body = format!("gen={generation} slot={slot} pid={}\n", std::process::id());
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
    let acceptor = context.acceptor(listener)?;
    let source = acceptor.as_raw_fd();
    poll.registry().register(&mut SourceFd(&source), ACCEPTOR, Interest::READABLE)?;
    let (mut clients, mut is_open) = (HashMap::new(), true);
    context.ready();
    while is_open || !clients.is_empty() {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == ACCEPTOR {
                is_open = accept(context, &acceptor, poll.registry(), &mut clients)?;
            } else if let Some(client) = clients.get_mut(&event.token())
                && client
                    .go_on(&[&head, &body])
                    .is_err_and(|end| end.kind() != ErrorKind::WouldBlock)
            {
                clients.remove(&event.token());
            }
        }
    }
    Ok(())
}

/// Takes all connections that wait; says `false` when this worker has let go of the queue.
fn accept(
    context: &Context,
    acceptor: &Acceptor,
    registry: &Registry,
    clients: &mut HashMap<Token, Client>,
) -> io::Result<bool> {
    loop {
        let connection = match acceptor.accept() {
            Ok(Some((connection, _peer))) => connection,
            Ok(None) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        let mut stream = TcpStream::from_std(connection.into());
        let token = Token(stream.as_raw_fd().unsigned_abs() as usize);
        registry.register(&mut stream, token, Interest::READABLE)?;
        let busy = Some(context.counter().busy());
        let held = context.counter().connection();
        clients.insert(token, Client { stream, input: Vec::new(), busy, _held: held });
    }
}

impl Client {
    /// Reads what there is, and answers a whole head; an error is the end, or `WouldBlock`.
    fn go_on(&mut self, answer: &[&str]) -> io::Result<()> {
        loop {
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.input.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.busy.is_some() && self.input.ends_with(b"\r\n\r\n") {
                // It fits into the buffer of a new connection.
                self.stream.write_all(answer.concat().as_bytes())?;
                // Closing it now could reset it; the client hangs up when it has read.
                self.stream.shutdown(Shutdown::Write)?;
                self.busy = None;
            }
        }
    }
}
