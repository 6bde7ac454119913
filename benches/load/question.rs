//! One request: how it is sent, and how its answer is read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::answer::{self, Answer, Parsed};
use super::{Failure, TIMEOUT, Target};

/// The protocol of a server.
#[derive(Clone, Copy, Debug)]
pub enum Dialect {
    /// The `http` example.
    Http,
    /// The `basic` example, which answers without a request and hangs up.
    Line,
}

/// A request whose answer is not read yet.
pub struct Question {
    stream: TcpStream,
    dialect: Dialect,
}

impl Question {
    /// Connects and sends the request; does not wait for the server.
    ///
    /// # Errors
    ///
    /// If there is no connection.
    pub fn ask(target: &Target, dialect: Dialect) -> io::Result<Self> {
        let mut stream = target.connect(TIMEOUT)?;
        dialect.send(&mut stream, true)?;
        Ok(Self { stream, dialect })
    }

    /// The same while the server may be stopping: the error is the kind of failure.
    ///
    /// # Errors
    ///
    /// If there is no connection within `timeout`, or if it is closed before the request is sent.
    pub fn try_ask(target: &Target, dialect: Dialect, timeout: Duration) -> Result<Self, Failure> {
        let mut stream = target.connect(timeout).map_err(|error| Failure::of_connecting(&error))?;
        dialect.send(&mut stream, true).map_err(|error| Failure::of(&error, 0))?;
        Ok(Self { stream, dialect })
    }

    /// Reads the whole answer.
    ///
    /// # Errors
    ///
    /// The kind of failure.
    pub fn answer(mut self) -> Result<Answer, Failure> {
        self.dialect.read(&mut self.stream)
    }
}

impl Dialect {
    /// Sends one request and reads its whole answer.
    ///
    /// # Errors
    ///
    /// The kind of failure.
    pub fn ask(self, stream: &mut TcpStream, is_last: bool) -> Result<Answer, Failure> {
        self.send(stream, is_last).map_err(|error| Failure::of(&error, 0))?;
        self.read(stream)
    }

    fn send(self, stream: &mut TcpStream, is_last: bool) -> io::Result<()> {
        let close = if is_last { "Connection: close\r\n" } else { "" };
        match self {
            Self::Http => {
                stream.write_all(format!("GET / HTTP/1.1\r\nHost: bench\r\n{close}\r\n").as_bytes())
            }
            Self::Line => Ok(()),
        }
    }

    fn read(self, stream: &mut TcpStream) -> Result<Answer, Failure> {
        let mut received = Vec::new();
        loop {
            let mut bytes = [0; 1024];
            match stream.read(&mut bytes) {
                Ok(0) => return self.last(&received),
                Ok(length) => received.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::of(&error, received.len())),
            }
            if let Self::Http = self {
                match answer::parse(&received) {
                    Parsed::Partial => {}
                    Parsed::Complete(answer) => return Ok(answer),
                    Parsed::Wrong => return Err(Failure::Wrong),
                }
            }
        }
    }

    /// The failure for the end of the input.
    fn last(self, received: &[u8]) -> Result<Answer, Failure> {
        match self {
            Self::Http | Self::Line if received.is_empty() => Err(Failure::Closed),
            Self::Http => Err(Failure::Short),
            Self::Line => answer::parse_line(received).ok_or(Failure::Short),
        }
    }
}
