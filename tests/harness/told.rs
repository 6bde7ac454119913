//! A stream of things told, in their order, and the search in it.
//!
//! The events and the log of one panzer are read by one thread, so that a line
//! is never heard before an event that came before it: what is counted after
//! an answer is all there was.

use std::io::Read;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use panzer::{Source, Tick, wait};

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

/// A pipe of lines, and who is told of them; nobody once it has ended.
struct Lines<R, T> {
    pipe: R,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    parse: fn(String) -> T,
    has_ended: bool,
    listener: Option<Sender<T>>,
}

impl<R: Read + AsFd, T> Lines<R, T> {
    fn new(pipe: R, parse: fn(String) -> T) -> (Self, Receiver<T>) {
        let (listener, source) = mpsc::channel();
        (
            Self { pipe, begun: Vec::new(), parse, has_ended: false, listener: Some(listener) },
            source,
        )
    }

    /// To be waited for while it has not ended.
    fn source(&self) -> Option<Source<'_>> {
        self.listener.as_ref().map(|_| Source::readable(self.pipe.as_fd().into()))
    }

    /// Whether something, or the end, is there already.
    fn is_readable(&self) -> bool {
        let Some(source) = self.source() else { return false };
        wait(&mut [source], Some(Tick(0))).expect("one descriptor can be waited for")
    }

    /// Reads once what is there; the lines that it ends.
    fn read(&mut self) -> Vec<T> {
        let mut piece = [0; 1 << 16];
        let length = self.pipe.read(&mut piece).unwrap_or(0);
        let mut lines = Vec::new();
        if length == 0 {
            self.has_ended = true;
            if !self.begun.is_empty() {
                lines.push((self.parse)(String::from_utf8_lossy(&self.begun).into_owned()));
            }
        }
        for part in piece[..length].split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if self.begun.pop_if(|last| *last == b'\n').is_some() {
                let line = String::from_utf8_lossy(&self.begun).into_owned();
                lines.push((self.parse)(line));
                self.begun.clear();
            }
        }
        lines
    }

    fn tell(&mut self, lines: Vec<T>) {
        for line in lines {
            self.has_ended |= self.listener.as_ref().is_none_or(|to| to.send(line).is_err());
        }
        if self.has_ended {
            self.listener = None;
        }
    }
}

/// Reads the events and the log, in a thread of its own, until both have ended.
pub fn read<T: Send + 'static>(
    events: impl Read + AsFd + Send + 'static,
    parse: fn(String) -> T,
    log: impl Read + AsFd + Send + 'static,
) -> (Told<T>, Told<String>) {
    let (mut events, told) = Lines::new(events, parse);
    let (mut log, logged) = Lines::new(log, |line| line);
    thread::spawn(move || {
        while events.source().or(log.source()).is_some() {
            let mut sources: Vec<_> = events.source().into_iter().chain(log.source()).collect();
            wait(&mut sources, None).expect("two descriptors can be waited for");
            let is_logged = log.is_readable();
            let lines = if is_logged { log.read() } else { Vec::new() };
            // Every event that came before these lines is there by now.
            while events.is_readable() {
                let lines = events.read();
                events.tell(lines);
            }
            log.tell(lines);
        }
    });
    (Told::from(told), Told::from(logged))
}

impl<T: Send + 'static> Told<T> {
    /// Reads one pipe by itself, in a thread of its own, until it ends.
    pub fn read(pipe: impl Read + AsFd + Send + 'static, parse: fn(String) -> T) -> Self {
        let (mut lines, told) = Lines::new(pipe, parse);
        thread::spawn(move || {
            while lines.listener.is_some() {
                let read = lines.read();
                lines.tell(read);
            }
        });
        Self::from(told)
    }
}

impl<T> From<Receiver<T>> for Told<T> {
    fn from(source: Receiver<T>) -> Self {
        Self { source, seen: Vec::new(), next: 0 }
    }
}

impl<T> Told<T> {
    /// A stream that has ended before anything was told.
    pub fn silent() -> Self {
        let (_, source) = mpsc::channel();
        Self::from(source)
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
