//! Listens to one pipe in a thread of its own, until the pipe ends.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Instant;

use crate::load::PATIENCE;

/// Why what was waited for did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The pipe has ended: nobody has it any more.
    End,
    /// It took too long.
    Patience,
}

/// What comes over one pipe, line by line.
pub struct Ear<T> {
    lines: Receiver<T>,
    end: Receiver<Instant>,
    heard: Vec<T>,
}

impl<T: From<String> + Clone + Send + 'static> Ear<T> {
    /// Listens from now on.
    pub fn new(pipe: impl Read + Send + 'static) -> Self {
        let ((sender, lines), (end_sender, end)) = (mpsc::channel(), mpsc::channel());
        std::thread::spawn(move || {
            // A line that nobody waits for any more is read all the same: the
            // writer must not block.
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let _ = sender.send(T::from(line));
            }
            let _ = end_sender.send(Instant::now());
        });
        Self { lines, end, heard: Vec::new() }
    }

    /// Blocks until a line that `is_it`, or until [`PATIENCE`] is over.
    ///
    /// # Errors
    ///
    /// Why there was none.
    pub fn wait_for(&mut self, is_it: impl Fn(&T) -> bool) -> Result<T, Silence> {
        self.hear(Instant::now() + PATIENCE, is_it)
    }

    /// Blocks until a line that `is_it`, or until `moment`.
    ///
    /// # Errors
    ///
    /// Why there was none.
    pub fn hear(&mut self, moment: Instant, is_it: impl Fn(&T) -> bool) -> Result<T, Silence> {
        loop {
            let left = moment.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if is_it(&line) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(Silence::Patience),
                Err(RecvTimeoutError::Disconnected) => return Err(Silence::End),
            }
        }
    }

    /// Everything so far.
    pub fn heard(&self) -> &[T] {
        &self.heard
    }

    /// When the pipe has ended, if it has; tells it once.
    pub fn ended_at(&self) -> Option<Instant> {
        // The sender of the lines goes after the end was told.
        self.end.recv_timeout(PATIENCE).ok()
    }
}
