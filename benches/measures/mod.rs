//! The measurements, and their table.

pub mod fixture;
mod respawn;
mod spread;
mod wakeups;

use std::fmt;
use std::io;

/// One measurement.
pub struct Measure {
    /// The name that selects it.
    pub name: &'static str,
    /// Performs it and fills its lines of the table.
    pub perform: fn(&mut Table) -> io::Result<()>,
}

/// All of them, in the order in which they are performed.
pub const ALL: &[Measure] = &[
    Measure { name: "respawn", perform: respawn::both },
    Measure { name: "wake-ups", perform: wakeups::idle },
    Measure { name: "spread-accept", perform: spread::accept },
    Measure { name: "spread-http", perform: spread::http },
];

/// The results and their limits.
pub struct Table {
    is_quick: bool,
    lines: Vec<String>,
    holds: bool,
}

impl Table {
    /// An empty one.
    pub const fn new(is_quick: bool) -> Self {
        Self { is_quick, lines: Vec::new(), holds: true }
    }

    /// How often: `full`, or `quick` in a short run.
    pub const fn choose(&self, full: u32, quick: u32) -> u32 {
        if self.is_quick { quick } else { full }
    }

    /// A figure without a limit.
    pub fn note(&mut self, what: &str, figure: impl fmt::Display) {
        self.lines.push(format!("{what:50}{figure}"));
    }

    /// A figure that must not be more than `limit`.
    pub fn at_most(&mut self, what: &str, figure: f64, limit: f64) {
        self.judge(what, figure, &format!("at most {limit}"), figure <= limit);
    }

    /// A figure that must not be less than `limit`.
    pub fn at_least(&mut self, what: &str, figure: f64, limit: f64) {
        self.judge(what, figure, &format!("at least {limit}"), figure >= limit);
    }

    fn judge(&mut self, what: &str, figure: f64, limit: &str, holds: bool) {
        let verdict = if holds { "PASS" } else { "FAIL" };
        self.holds &= holds;
        self.lines.push(format!("{what:50}{figure:<12.3}{limit:16}{verdict}"));
    }

    /// A measurement that failed.
    pub fn broken(&mut self, what: &str, error: &io::Error) {
        self.holds = false;
        self.lines.push(format!("{what:50}{error}"));
    }

    /// Whether every limit was kept.
    pub const fn holds(&self) -> bool {
        self.holds
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:50}{:12}limit", "what", "measured")?;
        self.lines.iter().try_for_each(|line| write!(out, "\n{line}"))
    }
}
