//! `--watch`: the status again every second.
//!
//! On a terminal on a screen of its own, which is taken away in the end, so
//! that what stood there before stands there again. Elsewhere one after the
//! other.

use super::{CtlFailure, Deadline, Status, print, request, show_status};
use crate::ctl::args::{Args, Format};
use crate::sys::fd::{Borrowed, Standard};
use crate::sys::signal::{self, Wake};
use crate::sys::{clock, terminal};
use crate::text::Plural;
use crate::types::{Millis, Signal};
use alloc::string::String;
use core::ffi::CStr;
use core::fmt::Write as _;

/// The time from one picture to the next.
const PACE: Millis = Millis(1_000);

/// The other screen, no cursor, and long lines cut: console_codes(4).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A screen of our own, until it is dropped.
struct Screen;

impl Screen {
    fn enter() -> Result<Self, CtlFailure> {
        let screen = Self;
        print(ENTER).map(|()| screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing put back.
        let _ = print(LEAVE);
    }
}

/// Shows the status until it is interrupted, or main is gone.
pub fn watch(asking: &Args, pid_file: &CStr) -> Result<(), CtlFailure> {
    let wake = Wake::open().map_err(|errno| {
        CtlFailure::new(Status::Failed, format_args!("cannot create a pipe: {errno}"))
    })?;
    for signal in [Signal::Int, Signal::Term, Signal::Quit, Signal::Hup] {
        signal::catch(signal);
    }
    let is_terminal = size().is_some();
    let _screen = if is_terminal { Some(Screen::enter()?) } else { None };
    let is_coloured = show_status::is_coloured();
    loop {
        let next = clock::now().after(PACE);
        let patience = Deadline::begin(asking.timeout, Some(&wake));
        let (found, Some(connection)) = request::reach(pid_file, &patience)? else {
            let reason =
                format_args!("no control socket, which --watch needs: main's log says why");
            return Err(CtlFailure::new(Status::Failed, reason));
        };
        let text = show_status::status(asking, &found, connection, &patience, is_coloured)?;
        match (size(), asking.form) {
            (Some((rows, _)), _) => print(&frame(&text, rows))?,
            (None, Format::Tree) => print(&[&text, "\n"].concat())?,
            (None, Format::Json | Format::Metrics) => print(&text)?,
        }
        let pause = Deadline::begin(None, Some(&wake));
        while clock::now() < next {
            pause.wait(None, Some(next))?;
        }
    }
}

fn size() -> Option<(u16, u16)> {
    terminal::size(Borrowed::standard(Standard::Output))
}

/// One picture over the one before: each line and what follows it is replaced.
fn frame(text: &str, rows: u16) -> String {
    let rows = if rows == 0 { usize::MAX } else { usize::from(rows) };
    let count = text.lines().count();
    let shown = if count > rows { rows - 1 } else { count };
    let mut frame = String::from("\x1b[H");
    for (index, line) in text.lines().take(shown).enumerate() {
        frame.push_str(if index == 0 { "" } else { "\n" });
        frame.push_str(line);
        frame.push_str("\x1b[K");
    }
    if shown < count {
        let more = Plural((count - shown) as u64, "more line");
        // A String takes everything.
        let _ = write!(frame, "\n… and {more}\x1b[K");
    }
    frame.push_str("\x1b[J");
    frame
}
