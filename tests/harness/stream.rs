//! A stream of lines or events, in their order, and searching it.
//!
//! The events and the log of one panzer are read by one thread, which hands over what it
//! has read of both at moments when both pipes are empty. So an item is never there
//! without all lines and events that were written before it: what is counted after an
//! event or a line is all that there was.

use std::io::Read;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use panzer::{Source, Tick, wait};

use super::TIMEOUT;

/// The items that were read so far, and those still to come.
pub struct Stream<T> {
    source: Receiver<T>,
    /// Locked while items of both streams are handed over.
    handover: Arc<Mutex<()>>,
    seen: Vec<T>,
    /// Items before this were found or skipped already.
    next: usize,
}

/// Why a search found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// The stream has ended without it.
    Ended,
    /// The timeout has passed.
    Late,
}

/// A pipe of lines, and the receiver of its items; `None` once it has ended.
struct Lines<R, T> {
    pipe: R,
    /// An incomplete line.
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

    /// What to wait for, while it has not ended.
    fn source(&self) -> Option<Source<'_>> {
        let is_open = self.listener.is_some() && !self.has_ended;
        is_open.then(|| Source::readable(self.pipe.as_fd().into()))
    }

    /// Whether data, or the end, can be read without waiting.
    fn is_readable(&self) -> bool {
        let Some(source) = self.source() else { return false };
        wait(&mut [source], Some(Tick(0))).expect("one descriptor can be waited for")
    }

    /// Reads once; returns the complete lines.
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

    /// Reads all that can be read without waiting; returns whether that was anything.
    fn drain(&mut self, lines: &mut Vec<T>) -> bool {
        let mut has_read = false;
        while self.is_readable() {
            lines.extend(self.read());
            has_read = true;
        }
        has_read
    }

    fn send(&mut self, lines: Vec<T>) {
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
) -> (Stream<T>, Stream<String>) {
    let (mut events, items) = Lines::new(events, parse);
    let (mut log, logged) = Lines::new(log, |line| line);
    let handover = Arc::new(Mutex::new(()));
    let streams =
        (Stream::new(items, Arc::clone(&handover)), Stream::new(logged, Arc::clone(&handover)));
    thread::spawn(move || {
        while events.source().or(log.source()).is_some() {
            let mut sources: Vec<_> = events.source().into_iter().chain(log.source()).collect();
            wait(&mut sources, None).expect("two descriptors can be waited for");
            // When a round finds both empty, nothing of either was written before what
            // was read of the other and is not read.
            let (mut items, mut lines) = (Vec::new(), Vec::new());
            while events.drain(&mut items) | log.drain(&mut lines) {}
            let _handover = handover.lock().unwrap_or_else(PoisonError::into_inner);
            events.send(items);
            log.send(lines);
        }
    });
    streams
}

impl<T: Send + 'static> Stream<T> {
    /// Reads one pipe by itself, in a thread of its own, until it ends.
    pub fn read(pipe: impl Read + AsFd + Send + 'static, parse: fn(String) -> T) -> Self {
        let (mut lines, items) = Lines::new(pipe, parse);
        thread::spawn(move || {
            while lines.listener.is_some() {
                let read = lines.read();
                lines.send(read);
            }
        });
        Self::new(items, Arc::default())
    }
}

impl<T> Stream<T> {
    const fn new(source: Receiver<T>, handover: Arc<Mutex<()>>) -> Self {
        Self { source, handover, seen: Vec::new(), next: 0 }
    }

    /// A stream that has ended without an item.
    pub fn empty() -> Self {
        let (_, source) = mpsc::channel();
        Self::new(source, Arc::default())
    }

    /// The next item that `matches` accepts; those before it are skipped.
    pub fn find(&mut self, matches: impl Fn(&T) -> bool) -> Result<&T, NotFound> {
        self.find_within(TIMEOUT, matches)
    }

    /// The same with another timeout, for what is requested again.
    pub fn find_within(
        &mut self,
        timeout: Duration,
        matches: impl Fn(&T) -> bool,
    ) -> Result<&T, NotFound> {
        let deadline = Instant::now() + timeout;
        loop {
            while self.next < self.seen.len() {
                self.next += 1;
                if matches(&self.seen[self.next - 1]) {
                    return Ok(&self.seen[self.next - 1]);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(left) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => return Err(NotFound::Late),
                Err(RecvTimeoutError::Disconnected) => return Err(NotFound::Ended),
            }
        }
    }

    /// Waits for one more item.
    pub fn receive(&mut self, timeout: Duration) -> Result<(), RecvTimeoutError> {
        let item = self.source.recv_timeout(timeout)?;
        self.seen.push(item);
        Ok(())
    }

    /// Reads until the stream ends; false after [`TIMEOUT`].
    pub fn read_to_end(&mut self) -> bool {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = self.receive(left) {
                return error == RecvTimeoutError::Disconnected;
            }
        }
    }

    /// Whether the stream is known to have ended.
    pub fn has_ended(&mut self) -> bool {
        loop {
            match self.source.try_recv() {
                Ok(item) => self.seen.push(item),
                Err(error) => return error == TryRecvError::Disconnected,
            }
        }
    }

    /// All items until now.
    pub fn all(&mut self) -> &[T] {
        let _handover = self.handover.lock().unwrap_or_else(PoisonError::into_inner);
        self.seen.extend(self.source.try_iter());
        &self.seen
    }

    /// Skips all items until now.
    pub fn skip_all(&mut self) {
        self.next = self.all().len();
    }
}
