//! A stream of things told, in their order, and the search in it.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// What was told so far, and what is still to come.
pub struct Told<T> {
    source: Receiver<T>,
    seen: Vec<T>,
    /// What is before this was found, or passed over, already.
    next: usize,
}

/// Why a search found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// The stream has ended without it.
    Ended,
    /// The patience has.
    Late,
}

impl<T: Send + 'static> Told<T> {
    /// Reads lines from `pipe` in a thread of its own, until the pipe ends.
    pub fn read(pipe: impl Read + Send + 'static, parse: fn(String) -> T) -> Self {
        let (sender, source) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                if sender.send(parse(String::from_utf8_lossy(&line).into_owned())).is_err() {
                    return;
                }
            }
        });
        Self { source, seen: Vec::new(), next: 0 }
    }

    /// A stream that has ended before anything was told.
    pub fn silent() -> Self {
        let (_, source) = mpsc::channel();
        Self { source, seen: Vec::new(), next: 0 }
    }

    /// The next thing that `is_it`; whatever comes before is passed over.
    pub fn find(&mut self, is_it: impl Fn(&T) -> bool) -> Result<&T, Nothing> {
        self.find_within(PATIENCE, is_it)
    }

    /// The same with another patience, for what is asked for again.
    pub fn find_within(
        &mut self,
        patience: Duration,
        is_it: impl Fn(&T) -> bool,
    ) -> Result<&T, Nothing> {
        let deadline = Instant::now() + patience;
        loop {
            while self.next < self.seen.len() {
                self.next += 1;
                if is_it(&self.seen[self.next - 1]) {
                    return Ok(&self.seen[self.next - 1]);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.hear(left) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => return Err(Nothing::Late),
                Err(RecvTimeoutError::Disconnected) => return Err(Nothing::Ended),
            }
        }
    }

    /// Waits until something more was told, and keeps it.
    pub fn hear(&mut self, patience: Duration) -> Result<(), RecvTimeoutError> {
        let told = self.source.recv_timeout(patience)?;
        self.seen.push(told);
        Ok(())
    }

    /// Hears everything until the stream ends; says whether it did.
    pub fn hear_out(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = self.hear(left) {
                return error == RecvTimeoutError::Disconnected;
            }
        }
    }

    /// Whether the stream is known to have ended.
    pub fn is_over(&mut self) -> bool {
        loop {
            match self.source.try_recv() {
                Ok(told) => self.seen.push(told),
                Err(error) => return error == TryRecvError::Disconnected,
            }
        }
    }

    /// Everything told until now.
    pub fn all(&mut self) -> &[T] {
        self.seen.extend(self.source.try_iter());
        &self.seen
    }

    /// Passes over everything told until now.
    pub fn pass(&mut self) {
        self.next = self.all().len();
    }
}
