//! Reads the lines of one pipe in a thread of its own, until the pipe ends.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Instant;

use crate::load::TIMEOUT;

/// Why an expected line did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLine {
    /// The pipe has ended: no process has it open any more.
    End,
    /// The time was over.
    Patience,
}

/// The lines of one pipe.
pub struct LineReader<T> {
    lines: Receiver<T>,
    end: Receiver<Instant>,
    lines_read: Vec<T>,
}

impl<T: From<String> + Clone + Send + 'static> LineReader<T> {
    /// Starts reading.
    pub fn new(pipe: impl Read + Send + 'static) -> Self {
        let ((sender, lines), (end_sender, end)) = (mpsc::channel(), mpsc::channel());
        std::thread::spawn(move || {
            // All lines are read, expected or not: the writer must not block.
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let _ = sender.send(T::from(line));
            }
            let _ = end_sender.send(Instant::now());
        });
        Self { lines, end, lines_read: Vec::new() }
    }

    /// Blocks until a line that `is_it`, or until [`TIMEOUT`] is over.
    ///
    /// # Errors
    ///
    /// The reason why there was none.
    pub fn wait_for(&mut self, is_it: impl Fn(&T) -> bool) -> Result<T, NoLine> {
        self.read_until(Instant::now() + TIMEOUT, is_it)
    }

    /// Blocks until a line that `is_it`, or until `moment`.
    ///
    /// # Errors
    ///
    /// The reason why there was none.
    pub fn read_until(&mut self, moment: Instant, is_it: impl Fn(&T) -> bool) -> Result<T, NoLine> {
        loop {
            let left = moment.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.lines_read.push(line.clone());
                    if is_it(&line) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(NoLine::Patience),
                Err(RecvTimeoutError::Disconnected) => return Err(NoLine::End),
            }
        }
    }

    /// All lines so far.
    pub fn all(&self) -> &[T] {
        &self.lines_read
    }

    /// When the pipe ended, if it has; returned only once.
    pub fn ended_at(&self) -> Option<Instant> {
        // The thread sends the end before it drops the sender of lines.
        self.end.recv_timeout(TIMEOUT).ok()
    }
}
