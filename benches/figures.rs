//! What Panzer costs, beside the least that C does for the same, in the same run.
//!
//! ```text
//! make bench                              # everything, under five minutes
//! make bench BENCH=respawn                # those whose name contains "respawn"
//! make bench BENCH_JSON=FILE              # the same figures in FILE, too
//! ```
//!
//! Each line has a figure of Panzer's, the same of a baseline, and their ratio: median, least
//! and most of several rounds, in which the two take turns. So the machine may be slow or
//! busy: both are. A ratio is made of two neighbours. Beside it stand the target, if it has
//! one, and whether the median keeps it. Only a measurement that cannot be made is a failure.
//!
//! The baselines are C, in `benches/baseline`, compiled here by `$CC` or `cc` with `-O2
//! -static`. Where there is no compiler, their columns are empty.
//!
//! `PANZER_BIN` and `PANZERCTL_BIN` name the programs; `make bench` names the static ones.
//! Workers of a library pool are this program itself, static as well.

// Each bench uses only part of the shared modules.
#[allow(dead_code, unused_imports)]
mod load;
mod measures;
#[allow(dead_code, unused_imports)]
mod server;

use std::io::{self, Write as _};
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
    if !ALL.iter().any(|measure| is_wanted(&measure)) {
        let names: Vec<_> = ALL.iter().map(|measure| measure.name).collect();
        let text = format!("no measurement has that in its name; there are {}", names.join(", "));
        let _ = writeln!(io::stderr(), "{text}");
        return ExitCode::FAILURE;
    }
    let mut table = Table::new();
    for measure in ALL.iter().filter(is_wanted) {
        table.perform(measure);
    }
    match table.save() {
        Ok(()) if table.is_whole() => ExitCode::SUCCESS,
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}
