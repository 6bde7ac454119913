//! Copies of boards, as main hands them to whoever asks for its status.
//!
//! What stands there was written by an application, and comes from a process
//! that says that it is main. So nothing is mapped, all is read once, and no
//! value is believed to mean more than a number.

use super::board::{ROW, STATE_SHIFT, VERSION, high, low};
use crate::sys::fd::{self, Borrowed};
use crate::sys::memory;
use crate::types::{Activity, Exit, Pid, Slot, Tick};
use crate::words::picture::Worker;
use alloc::vec::Vec;

/// Bytes of the header, and of a row.
const SIZE: usize = ROW * size_of::<u64>();
/// Rows that are read at once.
const PIECE: usize = 16;

/// The workers on the copy of a board, each slot that has ever had one.
///
/// # Errors
///
/// What is wrong with it.
pub fn read(file: Borrowed<'_>) -> Result<Vec<Worker>, &'static str> {
    if !memory::is_settled(file) {
        return Err("its board is none: it can be changed");
    }
    let header = row(file, 0).ok_or("its board is too short")?;
    if header[0] != VERSION {
        let is_board = high(header[0]) == high(VERSION);
        return Err(if is_board { "its board is of another version" } else { "its board is none" });
    }
    let count = u16::try_from(header[1]).unwrap_or(Slot::LAST).min(Slot::LAST);
    let mut workers = Vec::new();
    let mut bytes = [0; PIECE * SIZE];
    for first in (1..=count).step_by(PIECE) {
        let place = usize::from(first) * SIZE;
        let read = fd::read_at(file, &mut bytes, place).unwrap_or(0);
        let slots = (first..=count).filter_map(Slot::new);
        let rows = bytes[..read].as_chunks::<SIZE>().0;
        workers.extend(slots.zip(rows).filter_map(|(slot, bytes)| worker(slot, &words(bytes))));
    }
    Ok(workers)
}

fn row(file: Borrowed<'_>, number: usize) -> Option<[u64; ROW]> {
    let mut bytes = [0; SIZE];
    let read = fd::read_at(file, &mut bytes, number * SIZE);
    (read == Ok(SIZE)).then(|| words(&bytes))
}

fn words(bytes: &[u8; SIZE]) -> [u64; ROW] {
    let mut words = [0; ROW];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

/// What stands in a row; `None` when nobody was ever there.
fn worker(slot: Slot, words: &[u64; ROW]) -> Option<Worker> {
    let pid = Pid::new(low(words[0]).cast_signed());
    let restarts = high(words[0]);
    if pid.is_none() && restarts == 0 {
        return None;
    }
    let state = words[3] >> STATE_SHIFT;
    Some(Worker {
        slot,
        pid,
        restarts,
        since: Tick(words[1]),
        activity: Activity::ALL.into_iter().find(|activity| *activity as u64 == state),
        active_since: Tick(words[3] & ((1 << STATE_SHIFT) - 1)),
        exit: exit(words[2]),
        handled: words[4],
    })
}

/// The exit that a board keeps as one word.
const fn exit(word: u64) -> Option<Exit> {
    let [first, second, ..] = low(word).to_le_bytes();
    match high(word) {
        1 => Some(Exit::Status(first)),
        2 => Some(Exit::Signal { number: first, core: second & 1 != 0 }),
        _ => None,
    }
}
