//! One line of `--event-fd`.

/// What happened, and to which process.
#[derive(Clone, Debug)]
pub struct Event {
    /// When, in milliseconds of the monotonic clock.
    pub at: u32,
    /// `ready`, `current`, `died` …
    pub name: String,
    /// The generation that it happened to; 0 for none.
    pub generation: u32,
    /// The slot that it happened to; 0 for none.
    pub slot: u32,
    /// The process that it happened to; 0 for none.
    pub pid: u32,
    /// The reason, as it is escaped.
    pub reason: String,
    /// The line as it came.
    pub line: String,
}

impl Event {
    /// Reads a line; what it does not say is empty or 0.
    pub fn parse(line: String) -> Self {
        let number = |key| {
            let digits = after(&line, key).split(|letter: char| !letter.is_ascii_digit()).next();
            digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        let name = after(&line, "event").trim_start_matches('"').split('"').next();
        let reason = after(&line, "why").trim_start_matches('"').trim_end_matches("\"}");
        let (name, reason) = (name.unwrap_or_default().to_string(), reason.to_string());
        let (generation, slot, pid) = (number("gen"), number("slot"), number("pid"));
        Self { at: number("t"), name, generation, slot, pid, reason, line }
    }

    /// Whether it is the event `name` of this generation.
    pub fn is(&self, name: &str, generation: u32) -> bool {
        self.name == name && self.generation == generation
    }
}

/// What stands behind `"key":` in a flat JSON object; `why` comes last in ours.
fn after<'a>(line: &'a str, key: &str) -> &'a str {
    line.split_once(&format!("\"{key}\":")).map_or("", |(_, rest)| rest)
}
