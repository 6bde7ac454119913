//! Requests over the control socket, each with its answer.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::TIMEOUT;

/// A request that was sent, and its answer, which is read by lines.
pub struct Asked {
    lines: BufReader<UnixStream>,
}

/// The control socket beside a pid file that ends in `.pid`.
pub fn socket_of(pid_file: &Path) -> PathBuf {
    pid_file.with_extension("sock")
}

/// Connects, without a request.
pub fn connect(pid_file: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket_of(pid_file))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Sends a request, without waiting for the answer.
pub fn begin(pid_file: &Path, request: &str) -> Asked {
    let mut stream = connect(pid_file).expect("main listens");
    let line = format!("panzer/1 {request}\n");
    stream.write_all(line.as_bytes()).expect("main takes a request");
    Asked { lines: BufReader::new(stream) }
}

/// Sends a request, and waits for the whole answer.
pub fn ask(pid_file: &Path, request: &str) -> Vec<String> {
    begin(pid_file, request).rest()
}

/// Sends a request, and waits for the last line of the answer, which is the result.
pub fn ask_result(pid_file: &Path, request: &str) -> String {
    ask(pid_file, request).pop().expect("there is an answer")
}

/// All lines until main closes the connection.
pub fn read_rest(stream: UnixStream) -> Vec<String> {
    Asked { lines: BufReader::new(stream) }.rest()
}

impl Asked {
    /// The connection itself, before anything was read.
    pub fn into_stream(self) -> UnixStream {
        self.lines.into_inner()
    }

    /// Waits for the next line; `None` when main has closed.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.strip_suffix('\n').expect("an answer is whole lines").to_string()),
            // Main has closed although there was more to read from us.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line: {error}"),
        }
    }

    /// Waits for all other lines, until main closes.
    pub fn rest(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }
}

/// The value of a key in a record.
pub fn value<'a>(record: &'a str, key: &str) -> Option<&'a str> {
    record.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The first record of a kind.
pub fn record<'a>(answer: &'a [String], kind: &str) -> &'a str {
    let found = answer.iter().find(|line| line.split(' ').next() == Some(kind));
    found.unwrap_or_else(|| panic!("no {kind} in {answer:?}"))
}
