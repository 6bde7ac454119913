//! Lines that strangers and generations can cause: one a second of each kind.

use crate::persist::{Codec, Persist};
use crate::shared::rate_limit::RateLimit;
use crate::types::{Level, Tick};
use core::fmt;

/// What is complained of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Messages that are ignored.
    Messages,
    /// Descriptors that are refused.
    Descriptors,
    /// Children that hang over what a generation has sent.
    Hangs,
    /// Messages that could not be received.
    Failures,
    /// What a generation says of itself.
    Claims,
}

/// Each with its level, and its words for what was left out.
const ALL: [(About, Level, &str); 5] = [
    (About::Messages, Level::Warn, "ignored messages to a NOTIFY_SOCKET"),
    (About::Descriptors, Level::Warn, "refused FDSTORE"),
    (About::Hangs, Level::Warn, "closing a descriptor sent to a NOTIFY_SOCKET hangs"),
    (About::Failures, Level::Error, "cannot receive from a NOTIFY_SOCKET"),
    (About::Claims, Level::Debug, "STOPPING=1"),
];

/// What was said about each, and when.
#[derive(Debug)]
pub(super) struct Complaints([RateLimit; ALL.len()]);

impl Complaints {
    /// Nothing was said.
    pub const fn new() -> Self {
        Self([const { RateLimit::new() }; ALL.len()])
    }

    /// When there is something to tell.
    pub fn deadline(&self) -> Option<Tick> {
        self.0.iter().filter_map(RateLimit::deadline).min()
    }

    /// Logs a line about something, unless there was one in this second.
    pub fn complain(&mut self, about: About, line: fmt::Arguments<'_>, now: Tick) {
        for ((kind, level, what), limit) in ALL.iter().zip(&mut self.0) {
            if *kind == about {
                limit.settle(now, *level, format_args!("{what}"));
                limit.log(now, *level, line);
            }
        }
    }

    /// Tells what was left out in the last second.
    pub fn settle(&mut self, now: Tick) {
        for ((_, level, what), limit) in ALL.iter().zip(&mut self.0) {
            limit.settle(now, *level, format_args!("{what}"));
        }
    }
}

impl Persist for Complaints {
    fn empty_value() -> Self {
        Self::new()
    }

    fn persist(&mut self, codec: &mut Codec) {
        self.0.iter_mut().for_each(|limit| limit.persist(codec));
    }
}
