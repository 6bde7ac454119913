//! Clients: over HTTP to the example of that name, and by lines to the
//! witness, which holds a connection until the client lets it go.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::TIMEOUT;

/// Which worker has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The generation.
    pub generation: u32,
    /// The slot in it.
    pub slot: u32,
    /// The worker.
    pub pid: u32,
}

impl Answer {
    /// Reads `gen=G slot=S pid=P`.
    fn parse(text: &str) -> io::Result<Self> {
        let number = |key: &str| {
            let word = text.split_whitespace().find_map(|word| word.strip_prefix(key));
            word.and_then(|word| word.parse().ok())
                .ok_or_else(|| io::Error::other(format!("no {key} in {text:?}")))
        };
        Ok(Self { generation: number("gen=")?, slot: number("slot=")?, pid: number("pid=")? })
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

fn understand(response: &str) -> io::Result<Answer> {
    match response.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Answer::parse(body),
        Some(_) | None => Err(io::Error::other(format!("answered {response:?}"))),
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// A request that was sent, and whose answer was not read yet.
pub struct Request(TcpStream);

impl Request {
    /// Connects, and asks.
    pub fn send(address: SocketAddr) -> io::Result<Self> {
        let mut stream = connect(address)?;
        stream.write_all(REQUEST)?;
        Ok(Self(stream))
    }

    /// Waits for the answer.
    pub fn answer(mut self) -> io::Result<Answer> {
        let mut response = String::new();
        self.0.read_to_string(&mut response)?;
        understand(&response)
    }
}

/// One request on one connection to the HTTP example.
pub fn ask(address: SocketAddr) -> io::Result<Answer> {
    Request::send(address)?.answer()
}

/// The same over a Unix socket.
pub fn ask_unix(path: &Path) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(REQUEST)?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    understand(&response)
}

/// Clients that ask one request after another, until they are stopped.
pub struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u32>>,
}

impl Clients {
    /// Starts three clients of the HTTP example.
    pub fn begin(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..3).map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    ask(address).expect("every request is answered");
                    answered += 1;
                }
                answered
            })
        });
        Self { threads: threads.collect(), stop }
    }

    /// How many were answered; fails if one was not.
    pub fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("no request fails")).sum()
    }
}

/// A connection to a witness that was perhaps accepted already.
pub struct Held(BufReader<TcpStream>);

impl Held {
    /// Connects; the kernel may still have it in its queue.
    pub fn queue(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(BufReader::new(connect(address)?)))
    }

    /// Connects, and waits until a worker has accepted the connection.
    pub fn hold(address: SocketAddr) -> io::Result<(Self, Answer)> {
        let mut held = Self::queue(address)?;
        let answer = held.greeting()?;
        Ok((held, answer))
    }

    /// Waits until a worker has accepted the connection.
    pub fn greeting(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Answer::parse(&line)
    }

    /// Sends the worker a line.
    pub fn send(&mut self, line: &str) -> io::Result<()> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())
    }

    /// Lets the worker go on, and waits for its "bye".
    pub fn finish(mut self) -> io::Result<()> {
        self.send("go on")?;
        let mut rest = String::new();
        self.0.read_to_string(&mut rest)?;
        if rest == "bye\n" { Ok(()) } else { Err(io::Error::other(format!("got {rest:?}"))) }
    }

    /// Whether the server closes the connection without a "bye".
    pub fn ends_without_reply(mut self) -> bool {
        let mut rest = String::new();
        match self.0.read_to_string(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// Whether connecting there is refused, since nothing listens.
pub fn is_refused(address: SocketAddr) -> bool {
    let answer = TcpStream::connect_timeout(&address, TIMEOUT);
    matches!(answer, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}
