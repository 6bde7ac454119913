//! The events of `--event-fd`, written without waiting.

use crate::persist::persisted;
use crate::protocol::event_lines::{EventLine, EventName};
use crate::sys::output::Output;
use crate::types::Tick;

/// The events for deploy tools and tests: the descriptor of `--event-fd`.
#[derive(Debug, Default)]
pub struct Events {
    output: Option<Output>,
    dropped: u32,
}

persisted! { struct Events { output, dropped } }

impl Events {
    /// Events that go to `output`, or nowhere.
    pub const fn new(output: Option<Output>) -> Self {
        Self { output, dropped: 0 }
    }

    /// Writes one event of this moment, or counts it as dropped. Never waits.
    pub fn tell(&mut self, event: &EventLine<'_>, now: Tick) {
        let Some(output) = &mut self.output else { return };
        if self.dropped > 0 {
            let mut note = EventLine::new(EventName::Dropped);
            note.count = Some(self.dropped);
            if output.write(note.line(now).as_bytes()).is_err() {
                self.dropped = self.dropped.saturating_add(1);
                return;
            }
            self.dropped = 0;
        }
        if output.write(event.line(now).as_bytes()).is_err() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}
