//! Copies of boards, as main hands them to whoever asks for its status.
//!
//! What stands there was written by an application, and comes from a process
//! that says that it is main. So nothing is mapped, all is read once, and no
//! value is believed to mean more than a number.

use super::board::{VERSION, count, heir, high, words, worker};
use crate::sys::fd::Borrowed;
use crate::sys::memory;
use crate::types::Slot;
use crate::words::picture::Worker;
use alloc::vec::Vec;

/// The workers on the copy of a board, each slot that has ever had one, and an
/// heir behind the one that it is to follow.
///
/// # Errors
///
/// What is wrong with it.
pub fn read(file: Borrowed<'_>) -> Result<Vec<Worker>, &'static str> {
    if !memory::is_settled(file) {
        return Err("its board is not sealed");
    }
    let header = words(file, 0).ok_or("its board is too short")?;
    if header[0] != VERSION {
        let is_board = high(header[0]) == high(VERSION);
        return Err(if is_board {
            "its board is of another version"
        } else {
            "its board is not one of Panzer's"
        });
    }
    let count = count(&header);
    let mut workers: Vec<_> = Slot::first(count).filter_map(|slot| worker(file, slot)).collect();
    if let Some(heir) = heir(file, count.saturating_add(1))
        && !workers.iter().any(|worker| worker.pid == heir.pid)
    {
        let place = workers.iter().position(|worker| worker.slot > heir.slot);
        workers.insert(place.unwrap_or(workers.len()), heir);
    }
    Ok(workers)
}
