//! The log and the events: one line each, one write, and never a wait.
//!
//! Nothing is kept but three numbers, so a forked worker, a thread and a
//! process that has just begun may all write. The way to write is found anew
//! for each line: lines are rare, and the descriptor belongs to somebody else.
//!
//! A line for which there is no room is dropped and counted; the count is
//! written before the next line that finds room.

use crate::sys::fd::{Borrowed, Standard};
use crate::sys::output::Output;
use crate::sys::{clock, env, file, process};
use crate::tape::taped;
use crate::types::{Level, Role};
use crate::words::decimal;
use crate::words::event::{Event, Kind};
use crate::words::line::{self, Style};
use crate::words::pieces::cut;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

const ORDER: Ordering = Ordering::Relaxed;

static ROLE: AtomicU8 = AtomicU8::new(Role::Monitor as u8);
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static JOURNAL: AtomicBool = AtomicBool::new(false);
static DROPPED: AtomicU32 = AtomicU32::new(0);

/// Says as whom and from which level on this process writes.
pub fn begin(role: Role, level: Level) {
    ROLE.store(role as u8, ORDER);
    LEVEL.store(level as u8, ORDER);
    JOURNAL.store(is_journal(), ORDER);
}

/// Says as whom this process writes from now on: after a fork.
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
    if dropped > 0 && !put(Level::Warn, format_args!("{dropped} lines of the log were dropped")) {
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
    let line = line::compose(style, level, role(), process::id(), message);
    Output::new(Borrowed::standard(Standard::Error)).write(line.as_bytes()).is_ok()
}

/// How many lines of the log wait to be mentioned as dropped.
pub fn dropped() -> u32 {
    DROPPED.load(ORDER)
}

/// Lines that were dropped, and not mentioned, by the one in whose place we are.
pub fn begin_dropped(count: u32) {
    DROPPED.store(count, ORDER);
}

/// The events for deploy tools and tests: the descriptor of `--event-fd`.
#[derive(Debug, Default)]
pub struct Events {
    output: Option<Output>,
    dropped: u32,
}

taped! { struct Events { output, dropped } }

impl Events {
    /// Events that go to `output`, or nowhere.
    pub const fn new(output: Option<Output>) -> Self {
        Self { output, dropped: 0 }
    }

    /// Writes one event, or counts it as dropped. Never waits.
    pub fn tell(&mut self, event: &Event<'_>) {
        let Some(output) = &mut self.output else { return };
        if self.dropped > 0 {
            let mut note = Event::new(Kind::Dropped);
            note.count = Some(self.dropped);
            if output.write(note.line(clock::now()).as_bytes()).is_err() {
                self.dropped = self.dropped.saturating_add(1);
                return;
            }
            self.dropped = 0;
        }
        if output.write(event.line(clock::now()).as_bytes()).is_err() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}
