//! Everything that can go wrong in a pre-fork server, thousands of times.
//!
//! ```text
//! cargo bench --bench soak                # all experiments, about half an hour
//! cargo bench --bench soak -- stop        # those whose name contains "stop"
//! SEED=42 QUICK=1 cargo bench --bench soak
//! ```
//!
//! Each experiment prints one line: what was done how often, the results (times are
//! `min/median/max`), and PASS or FAIL. Only here are times checked, so it needs an otherwise
//! idle machine. Exits with 1 if an experiment failed, and then prints all events and lines
//! of panzer.
//!
//! `SEED` repeats the random moments of another run, as far as that is possible; `QUICK`
//! makes the counts small. `PANZER_BIN` names another panzer, `PANZERCTL_BIN` another
//! panzerctl, `HTTP_BIN`, `BASIC_BIN` and `STUBBORN_BIN` other examples.

mod experiments;
// Each bench uses only part of the shared modules.
#[allow(dead_code, unused_imports)]
mod load;
#[allow(dead_code, unused_imports)]
mod server;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use experiments::{ALL, Experiment, Trial, fixture};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if let Some((fixture::WORD, rest)) =
        words.split_first().map(|(word, rest)| (word.as_str(), rest))
    {
        return fixture::run(&rest.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let wanted: Vec<_> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |experiment: &&Experiment| {
        wanted.is_empty() || wanted.iter().any(|word| experiment.name.contains(word.as_str()))
    };
    let (seed, is_quick) = (seed(), std::env::var_os("QUICK").is_some());
    say(&format!("SEED={seed}, load average {}", load_average()));
    let mut is_clean = true;
    for experiment in ALL.iter().filter(is_wanted) {
        is_clean &= perform(experiment, seed, is_quick);
    }
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Performs one experiment and prints its line; returns whether it passed.
fn perform(experiment: &Experiment, seed: u64, is_quick: bool) -> bool {
    let begun = Instant::now();
    let mut trial = Trial::new(experiment.name, seed, is_quick);
    let outcome = (experiment.perform)(&mut trial);
    let passed = outcome.is_ok() && trial.has_passed();
    let verdict = if passed { "PASS" } else { "FAIL" };
    let took = begun.elapsed().as_secs_f64();
    say(&format!("{:16} {} [{took:.0} s] {verdict}", experiment.name, trial.figures()));
    if let Err(error) = outcome {
        say(&format!("  {error}"));
    }
    passed
}

/// Prints a line; a closed standard output does not change the exit status.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// `SEED`, or a new one.
fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_secs() ^ u64::from(since.subsec_nanos())
    })
}

/// The load of the machine before the bench.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_string()
}
