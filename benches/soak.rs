//! Everything that can go wrong in a pre-fork server, by the thousand.
//!
//! ```text
//! cargo bench --bench soak                # all experiments, about 15 minutes
//! cargo bench --bench soak -- stop        # those whose name contains "stop"
//! SEED=42 QUICK=1 cargo bench --bench soak
//! ```
//!
//! Each experiment prints one line: what was done how often, what came of it
//! (times are `min/median/max`), and PASS or FAIL. This is the only place where
//! times are judged, so it wants a machine that has nothing else to do. Ends
//! with 1 when any experiment failed, and then says all that panzer had told.
//!
//! `SEED` repeats the random moments of another run, as far as a machine can
//! repeat anything; `QUICK` makes the counts small. `PANZER_BIN` names another
//! panzer, `PANZERCTL_BIN` another panzerctl, `HTTP_BIN`, `BASIC_BIN` and `STUBBORN_BIN` other examples.

mod experiments;
// Each bench uses its own part of what they share.
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

/// Performs one experiment and prints its line; says whether it passed.
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

/// Prints a line; a reader that is gone does not change what the status says.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// `SEED`, or one that nobody has used before.
fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_secs() ^ u64::from(since.subsec_nanos())
    })
}

/// How busy the machine was before us.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_string()
}
