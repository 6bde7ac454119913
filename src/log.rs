//! The log and the events: one line each, one write, and never a wait.
//!
//! Nothing is kept but a few numbers, so a forked worker, a thread and a process that
//! has just begun may all write. The way to write is found anew for each line: lines
//! are rare, and the descriptor is shared with other processes.
//!
//! A line for which there is no room is dropped and counted; the count is
//! written before the next line that finds room.
//!
//! Of a line a part alone may be written, where standard error is a file on a full
//! disk or a TCP connection: a pipe, and a socket of the journal, take a line whole
//! (pipe(7), PIPE_BUF). That line is lost, and the next one of *this* process begins
//! with a line break. Another process does not know of it: a line that it writes in
//! between stands behind the part, on the same line. What was written before cannot
//! be asked of a descriptor that may be for writing only, and is another process's
//! business a moment later; so that one line is given up.

use crate::decimal;
use crate::error::Error;
use crate::log_line::{self, Style};
use crate::split::cut;
use crate::sys::fd::{self, Borrowed, Standard};
use crate::sys::output::Output;
use crate::sys::{clock, env, file, process};
use crate::text::{self, Plural};
use crate::types::{Level, Role};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

const ORDER: Ordering = Ordering::Relaxed;

static ROLE: AtomicU8 = AtomicU8::new(Role::Monitor as u8);
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static JOURNAL: AtomicBool = AtomicBool::new(false);
static DROPPED: AtomicU32 = AtomicU32::new(0);
/// Whether of the last line a part was written.
static TORN: AtomicBool = AtomicBool::new(false);

/// Sets the role and the level of this process's lines.
pub fn begin(role: Role, level: Level) {
    ROLE.store(role as u8, ORDER);
    LEVEL.store(level as u8, ORDER);
    JOURNAL.store(is_journal(), ORDER);
}

/// Sets the role of this process's lines after a fork.
pub fn become_role(role: Role) {
    ROLE.store(role as u8, ORDER);
    DROPPED.store(0, ORDER);
}

/// Whether the journal reads descriptor 2: `JOURNAL_STREAM` of systemd.exec(5).
fn is_journal() -> bool {
    let Some(stream) = env::var(c"JOURNAL_STREAM") else { return false };
    let Some((device, inode)) = cut(stream.to_bytes(), b':') else { return false };
    let number = |text| decimal::parse_long(text, u64::MAX);
    let (Some(device), Some(inode)) = (number(device), number(inode)) else { return false };
    file::identity(Borrowed::standard(Standard::Error)).is_ok_and(|two| two.matches(device, inode))
}

fn role() -> Role {
    let role = ROLE.load(ORDER);
    Role::ALL.get(usize::from(role)).copied().unwrap_or(Role::Monitor)
}

/// Writes one line to standard error, in the form of all of Panzer's lines:
/// `2026-11-22T18:35:01.123Z INFO panzer:worker[123]: the message`.
///
/// Never waits and never fails: a line for which there is no room is dropped,
/// and the number of dropped lines is logged when there is room again. Lines
/// below the level that was asked for are not written. Line breaks and other
/// control characters are shown escaped; a line ends after about 2,000 bytes.
pub fn log(level: Level, message: fmt::Arguments<'_>) {
    if level as u8 > LEVEL.load(ORDER) {
        return;
    }
    let dropped = DROPPED.swap(0, ORDER);
    let lines = Plural(dropped.into(), "line");
    if dropped > 0 && !put(Level::Warn, format_args!("log: {lines} dropped")) {
        DROPPED.fetch_add(dropped, ORDER);
    }
    if !put(level, message) {
        DROPPED.fetch_add(1, ORDER);
    }
}

/// Whether the line found room.
fn put(level: Level, message: fmt::Arguments<'_>) -> bool {
    let style = if JOURNAL.load(ORDER) {
        Style::Journal
    } else {
        let clock::Wall { secs, millis } = clock::wall();
        Style::Stamped { unix_secs: secs, millis }
    };
    let line = log_line::compose(style, level, role(), process::id(), message);
    let output = Output::new(Borrowed::standard(Standard::Error));
    let mut output = output.after(TORN.load(ORDER));
    let is_written = output.write(line.as_bytes()).is_ok();
    TORN.store(output.is_torn(), ORDER);
    is_written
}

/// One line on standard error without time or role: for a person who has just typed
/// a command.
pub fn plainly(error: &Error) {
    let line = text::compose(format_args!("panzer: {error}\n"));
    // A failure has nowhere to be reported.
    let _ = fd::write(Borrowed::standard(Standard::Error), line.as_bytes());
}

/// How many lines of the log wait to be mentioned as dropped.
pub fn dropped() -> u32 {
    DROPPED.load(ORDER)
}

/// Lines that were dropped, and not mentioned, by the one in whose place we are.
pub fn begin_dropped(count: u32) {
    DROPPED.store(count, ORDER);
}
