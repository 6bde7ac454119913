//! The cost of workers: to replace one, to wake one, and how evenly connections spread.
//!
//! ```text
//! cargo bench --bench worker              # all measurements
//! cargo bench --bench worker -- respawn   # those whose name contains "respawn"
//! QUICK=1 cargo bench --bench worker      # fewer of each
//! ```
//!
//! - `respawn`: from SIGKILL of a worker to its replacement's first instruction, compared with
//!   a loop that only forks at SIGCHLD. Both run at the same time and are measured in turns.
//! - `wake-ups`: how many of 64 idle workers that wait in `accept` wake up for each connection,
//!   by the voluntary context switches in `/proc/PID/status` of all 64, before and after.
//! - `spread`: how many of 10,000 short connections each of four workers accepts.
//!
//! Prints a table of results and limits, and exits with 1 if a limit was missed. It needs an
//! otherwise idle machine.
//!
//! `PANZER_BIN` names another panzer, `HTTP_BIN` and `BASIC_BIN` other examples.

// Each bench uses only part of the shared modules.
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
    // A closed standard output does not change the exit status.
    let _ = writeln!(io::stdout(), "{table}");
    if table.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
