//! Text of others in a line of the log and in one of the events.

use super::json;
use crate::log_line::{LogLine, Style, compose};
use crate::protocol::event_lines::{EventLine, EventName};
use crate::types::{Level, Pid, Role, Tick};
use alloc::string::String;
use core::fmt::Write as _;

pub fn read(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut alone = LogLine::new();
    alone.write_str(&text).expect("a line takes everything");
    let (unix_secs, millis) = (bytes.len() as u64 * 0x0123_4567_89ab, bytes.len() as u16);
    let pid = Pid::new(1).expect("it is positive");
    let logged = |style| compose(style, Level::Warn, Role::Main, pid, format_args!("{text}"));
    let reason = EventLine { reason: Some(&text), ..EventLine::new(EventName::Failed) };
    let event = reason.line(Tick(u64::MAX));
    let stamped = Style::Stamped { unix_secs, millis };
    for line in [&alone, &logged(stamped), &logged(Style::Journal), &event] {
        assert!(line.as_bytes().len() <= LogLine::SIZE);
        let text = core::str::from_utf8(line.as_bytes()).expect("a line is text");
        assert_eq!(text.find(char::is_control), Some(text.len() - 1), "{text:?}");
        assert!(text.ends_with('\n'));
    }
    json::assert_valid(core::str::from_utf8(event.as_bytes()).expect("it is text"));
}
