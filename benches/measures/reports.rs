//! What workers of all pools report as their first act: when, and which.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Error, Read};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use panzer::Pid;

use crate::load::TIMEOUT;
use crate::server::Place;

/// The bytes of a record: the time in nanoseconds, a pid, and four of no meaning.
pub const RECORD: usize = 16;

/// The wall clock in nanoseconds: the same for all processes, and to be had without a call.
pub fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// One worker's report, or that of a parent before its first fork, which has no pid.
#[derive(Clone, Copy)]
pub struct Report {
    pub born: u64,
    pub pid: Option<Pid>,
}

impl Report {
    fn read(bytes: [u8; RECORD]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = bytes;
        let born = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        Self { born, pid: Pid::new(i32::from_ne_bytes([i, j, k, l])) }
    }

    /// The bytes of one.
    pub fn bytes(born: u64, pid: i32) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&born.to_ne_bytes());
        bytes[8..12].copy_from_slice(&pid.to_ne_bytes());
        bytes
    }
}

/// The reading end of a pool's FIFO.
pub struct Reports {
    reports: Receiver<Report>,
    ended: Receiver<u64>,
    /// Without it the FIFO ends with the last process of the pool.
    held: Option<File>,
    place: Place,
}

impl Reports {
    /// Makes a FIFO, and reads it in a thread of its own.
    pub fn open() -> io::Result<Self> {
        let place = Place::new()?;
        let path = place.join("fifo");
        if !Command::new("mkfifo").arg(&path).status()?.success() {
            return Err(Error::other("mkfifo failed"));
        }
        let held = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut fifo = BufReader::new(File::open(&path)?);
        let ((sender, reports), (end, ended)) = (mpsc::channel(), mpsc::channel());
        std::thread::spawn(move || {
            let mut bytes = [0; RECORD];
            while fifo.read_exact(&mut bytes).is_ok() {
                let _ = sender.send(Report::read(bytes));
            }
            let _ = end.send(clock());
        });
        Ok(Self { reports, ended, held: Some(held), place })
    }

    /// Where to write.
    pub fn path(&self) -> PathBuf {
        self.place.join("fifo")
    }

    /// Waits for the next.
    pub fn next(&self) -> io::Result<Report> {
        let next = self.next_until(Instant::now() + TIMEOUT);
        next.ok_or_else(|| Error::other("no worker reported"))
    }

    /// Waits for the next until `moment`.
    pub fn next_until(&self, moment: Instant) -> Option<Report> {
        self.reports.recv_timeout(moment.saturating_duration_since(Instant::now())).ok()
    }

    /// Waits for the next worker's.
    pub fn next_worker(&self) -> io::Result<(u64, Pid)> {
        loop {
            let report = self.next()?;
            if let Some(pid) = report.pid {
                return Ok((report.born, pid));
            }
        }
    }

    /// Waits until no process has it open any more, and returns since when.
    pub fn end(mut self) -> io::Result<u64> {
        drop(self.held.take());
        self.ended.recv_timeout(TIMEOUT).map_err(|_| Error::other("a worker is left"))
    }
}
