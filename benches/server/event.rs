//! The output of panzer: lines of `--event-fd`, and lines of the log.

use std::time::Instant;

/// One line of `--event-fd`.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was read.
    pub at: Instant,
    /// What happened: `ready`, `current`, `died` …
    pub name: String,
    /// Its generation.
    pub generation: Option<u32>,
    /// Its slot.
    pub slot: Option<u32>,
    /// Its process.
    pub pid: Option<u32>,
    /// The whole line.
    pub line: String,
}

/// One line of the log of the whole tree.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// The whole line.
    pub text: String,
}

impl Event {
    /// Whether it is the event `name` of this generation.
    pub fn is(&self, name: &str, generation: u32) -> bool {
        self.name == name && self.generation == Some(generation)
    }

    /// Whether it is the event `name` of this process.
    pub fn is_of(&self, name: &str, pid: u32) -> bool {
        self.name == name && self.pid == Some(pid)
    }
}

impl From<String> for Event {
    fn from(line: String) -> Self {
        let number = |key| value(&line, key).and_then(|number| number.parse().ok());
        Self {
            at: Instant::now(),
            name: value(&line, "event").unwrap_or_default().trim_matches('"').to_string(),
            generation: number("gen"),
            slot: number("slot"),
            pid: number("pid").filter(|pid| *pid > 1),
            line,
        }
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self { at: Instant::now(), text }
    }
}

/// The text of a value in a flat JSON object whose strings contain no comma.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{key}\":"))?;
    rest.split([',', '}']).next().map(str::trim)
}
