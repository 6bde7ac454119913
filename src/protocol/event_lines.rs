//! The lines of `--event-fd`: one JSON object for every transition.
//!
//! `{"t":12345,"event":"rolled_back","gen":8,"slot":2,"pid":12,"why":"it died"}`
//!
//! `t` is in milliseconds of the monotonic clock. Keys that say nothing are
//! left out. A line has at most [`LogLine::SIZE`] bytes and is a whole object
//! whatever `why` holds: `why` comes last, and is cut with `…` to make it so.

use crate::log_line::LogLine;
use crate::printable;
use crate::text::words;
use crate::types::{Generation, Pid, Slot, Tick};
use core::fmt::Write as _;

/// What ends an object whose `why` was cut.
const CUT: &str = "…\"}";

words! {
    /// What happened.
    EventName {
        /// A generation's monitor was started.
        Started = "started",
        /// A generation stored a socket.
        Stored = "stored",
        /// A generation is ready.
        Ready = "ready",
        /// A generation's probation began.
        Probation = "probation",
        /// A generation is the current one.
        Current = "current",
        /// A generation was told to stop.
        Draining = "draining",
        /// A process ended.
        Died = "died",
        /// A process is to be started in another's place.
        Respawn = "respawn",
        /// A generation could not be started, or did not get ready.
        Failed = "failed",
        /// A generation failed in its probation.
        RolledBack = "rolled_back",
        /// Main was replaced in place, and goes on.
        Restarted = "restarted",
        /// Main was told to stop.
        Stopping = "stopping",
        /// Lines before this one were lost.
        Dropped = "dropped",
        /// Main is about to leave; the last line.
        Stopped = "stopped",
    }
}

/// One transition, and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLine<'a> {
    /// What happened.
    pub kind: EventName,
    /// `gen`: the generation.
    pub generation: Option<Generation>,
    /// `slot`: the place in the pool.
    pub slot: Option<Slot>,
    /// `pid`: the process.
    pub pid: Option<Pid>,
    /// `count`: how many; with [`EventName::Dropped`], lines.
    pub count: Option<u32>,
    /// `why`: the reason, for people.
    pub reason: Option<&'a str>,
}

impl EventLine<'_> {
    /// An event that says no more than what happened.
    pub const fn new(kind: EventName) -> Self {
        Self { kind, generation: None, slot: None, pid: None, count: None, reason: None }
    }

    /// An event about a generation.
    pub const fn about(kind: EventName, generation: Generation) -> Self {
        let mut event = Self::new(kind);
        event.generation = Some(generation);
        event
    }

    /// The event as one line, that happened at `at`. Never fails.
    pub fn line(&self, at: Tick) -> LogLine {
        let mut line = LogLine::new();
        // A Line takes everything, and what is written here is short.
        let _ = write!(line, "{{\"t\":{},\"event\":\"{}\"", at.0, self.kind.name());
        put_number(&mut line, "gen", self.generation.map(|generation| generation.0));
        put_number(&mut line, "slot", self.slot.map(|slot| u32::from(slot.number())));
        put_number(&mut line, "pid", self.pid.map(|pid| pid.raw().unsigned_abs()));
        put_number(&mut line, "count", self.count);
        match self.reason {
            Some(reason) => put_why(&mut line, reason),
            None => {
                line.put("}", 0);
            }
        }
        line
    }
}

/// Adds `,"key":value`, or nothing.
fn put_number(line: &mut LogLine, key: &str, value: Option<u32>) {
    if let Some(value) = value {
        // As above.
        let _ = write!(line, ",\"{key}\":{value}");
    }
}

/// Adds the reason and ends the object, cutting the reason if it must.
fn put_why(line: &mut LogLine, reason: &str) {
    line.put(",\"why\":\"", CUT.len());
    for c in reason.chars() {
        if !line.put(printable::json(c, &mut [0; 6]), CUT.len()) {
            line.put(CUT, 0);
            return;
        }
    }
    line.put("\"}", 0);
}

#[cfg(test)]
mod tests {
    use super::{EventLine, EventName};
    use crate::log_line::LogLine;
    use crate::types::{Generation, Pid, Slot, Tick};
    use alloc::string::{String, ToString};

    fn shown(event: &EventLine<'_>) -> String {
        String::from_utf8(event.line(Tick(12_345)).as_bytes().to_vec()).expect("JSON is text")
    }

    fn because(reason: &str) -> String {
        let event = EventLine { reason: Some(reason), ..EventLine::new(EventName::Failed) };
        let line = shown(&event);
        let start = r#"{"t":12345,"event":"failed","why":""#;
        let reason = line.strip_prefix(start).and_then(|rest| rest.strip_suffix("\"}\n"));
        reason.expect("the object is whole").to_string()
    }

    #[test]
    fn event_is_one_object_on_one_line() {
        let event = EventLine {
            kind: EventName::RolledBack,
            generation: Some(Generation(8)),
            slot: Slot::new(2),
            pid: Pid::new(12),
            count: Some(3),
            reason: Some("it died"),
        };
        let expected = r#"{"t":12345,"event":"rolled_back","gen":8,"slot":2,"pid":12,"count":3,"why":"it died"}"#;
        assert_eq!(shown(&event), expected.to_string() + "\n");
    }

    #[test]
    fn unset_keys_are_omitted() {
        assert_eq!(
            shown(&EventLine::new(EventName::Stopped)),
            "{\"t\":12345,\"event\":\"stopped\"}\n"
        );
    }

    #[test]
    fn reason_is_escaped_for_json() {
        assert_eq!(
            because("a\"b\\c\nd\te\x1b\x7f\u{85}é"),
            r#"a\"b\\c\nd\u0009e\u001b\u007f\u0085é"#
        );
    }

    #[test]
    fn long_reason_is_cut_and_the_object_stays_valid() {
        for unit in ["x", "é", "…", "🦀", "\"", "\\", "\n", "\0"] {
            for before in 0..8 {
                let reason = because(&("y".repeat(before) + &unit.repeat(LogLine::SIZE)));
                let kept = reason.strip_suffix('…').expect("the cut is shown");
                let escaped = match unit {
                    "\"" => "\\\"",
                    "\\" => "\\\\",
                    "\n" => "\\n",
                    "\0" => "\\u0000",
                    plain => plain,
                };
                assert_eq!(kept[before..].replace(escaped, ""), "", "an escape was cut in two");
                assert!(reason.len() > LogLine::SIZE - 60, "room was left: {}", reason.len());
            }
        }
    }

    #[test]
    fn largest_numbers_fit_in_a_line() {
        let event = EventLine {
            kind: EventName::RolledBack,
            generation: Some(Generation(u32::MAX)),
            slot: Slot::new(Slot::LAST),
            pid: Pid::new(i32::MAX),
            count: Some(u32::MAX),
            reason: Some(&"x".repeat(4_000)),
        };
        let line = event.line(Tick(u64::MAX));
        assert!(line.as_bytes().len() <= LogLine::SIZE);
        assert!(line.as_bytes().ends_with("x…\"}\n".as_bytes()));
    }
}
