//! Copies of boards, as main hands them to a client that asks for its status.
//!
//! What stands there was written by an application, and comes from a process
//! that says that it is main. So nothing is mapped, all is read once, and no
//! value is believed to mean more than a number.

use crate::protocol::status_report::WorkerReport;
use crate::shared::scoreboard::{VERSION, count, high, read_rows, rows, words};
use crate::sys::fd::Borrowed;
use crate::sys::memory;
use alloc::vec::Vec;

/// What is wrong with a board that could still be changed, or is no file in memory.
pub const NOT_SEALED: &str = "scoreboard rejected: not sealed";

/// The workers on the copy of a board by their slots, in each the oldest first, and
/// the slots that had one and have none.
///
/// # Errors
///
/// What is wrong with it.
pub fn read(file: Borrowed<'_>) -> Result<Vec<WorkerReport>, &'static str> {
    if !memory::is_settled(file) {
        return Err(NOT_SEALED);
    }
    let header = words(file, 0).ok_or("scoreboard rejected: too short")?;
    if header[0] != VERSION {
        let is_board = high(header[0]) == high(VERSION);
        return Err(if is_board {
            "scoreboard rejected: unknown version"
        } else {
            "scoreboard rejected: not made by panzer"
        });
    }
    Ok(read_rows(file, count(&header), rows(&header)))
}
