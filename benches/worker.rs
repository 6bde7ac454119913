//! What a worker costs: to replace it, to wake it, and how fairly it is fed.
//!
//! ```text
//! cargo bench --bench worker              # all measurements
//! cargo bench --bench worker -- respawn   # those whose name contains "respawn"
//! QUICK=1 cargo bench --bench worker      # fewer of each
//! ```
//!
//! - `respawn`: from SIGKILL of a worker to its replacement's first instruction,
//!   beside a loop of this program that does nothing but fork at SIGCHLD. Both
//!   run at the same time and are measured in turns.
//! - `wake-ups`: how often any of 64 idle workers that wait in `accept` runs for
//!   each connection: the voluntary context switches of `/proc/PID/status`, of
//!   all 64, before and after. A worker that is woken gives the processor back
//!   by itself, so each wake-up is one of those.
//! - `spread`: how many of 10,000 short connections each of four workers took.
//!
//! Prints a table of what was measured and of the limits, and ends with 1 when a
//! limit was missed. It wants a machine that has nothing else to do.
//!
//! `PANZER_BIN` names another panzer, `HTTP_BIN` and `BASIC_BIN` other examples.

// Each bench uses its own part of what they share.
#[allow(dead_code, unused_imports)]
mod load;
mod measures;
#[allow(dead_code, unused_imports)]
mod server;

use std::io::{self, Write};
use std::process::ExitCode;

use measures::{ALL, Measure, Table, fixture};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if let Some((fixture::WORD, rest)) =
        words.split_first().map(|(word, rest)| (word.as_str(), rest))
    {
        return fixture::run(&rest.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let wanted: Vec<_> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |measure: &&Measure| {
        wanted.is_empty() || wanted.iter().any(|word| measure.name.contains(word.as_str()))
    };
    let mut table = Table::new(std::env::var_os("QUICK").is_some());
    for measure in ALL.iter().filter(is_wanted) {
        if let Err(error) = (measure.perform)(&mut table) {
            table.broken(measure.name, &error);
        }
    }
    // A reader that is gone does not change what the exit status says.
    let _ = writeln!(io::stdout(), "{table}");
    if table.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
