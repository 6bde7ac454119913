//! The simulator: main's supervisor and the pools, together, under a false kernel that chance
//! drives.
//!
//! The walks (`tests/walk`) visit every state of one state machine by itself. Here many of them
//! live at once, as in a machine in trouble, and what each is told comes from what the others
//! have done. A seed makes a run, and makes it again.
//!
//! ```text
//!                 operator: reload, restart, scale, stop, second stop, other settings
//!                     |
//!   supervisor.rs <- main_loop.rs     reaps, sweeps sessions, hears, reads boards
//!      (src)           |  ^
//!                      |  | SIGCHLD, SIGVTALRM, notify socket, board, exec status
//!              signals v  |
//!   +---------------- kernel.rs, world.rs ------------------------------------------+
//!   | init (1)                                                                      |
//!   |  +- main (2)                     numbers 3 to 95, used again at once          |
//!   |  |   +- monitor, generation 7    session and group of its own                 |
//!   |  |   |   +- worker, slot 1       group of its own, dies with its parent       |
//!   |  |   |   |   +- helper           in that group, in its own, or setsid         |
//!   |  |   |   +- worker, slot 2       alive, stopped, stuck (state D), dead        |
//!   |  |   +- monitor, generation 8    a library, -x, or foreign and without a pool |
//!   |  |   +- helper                   an orphan: its monitor is dead, or left it   |
//!   |  +- stranger                     has perhaps the number that was a worker's   |
//!   +-------------------------------------------------------------------------------+
//!              signals ^  |
//!                      |  v SIGCHLD, SIGTERM, SIGINT, SIGWINCH, pipe, lifeline, board
//!      pool.rs <- pool_loop.rs         one for each monitor with a pool
//!      (src)
//! ```
//!
//! A step is one thing that happens, whichever chance takes: a loop has a turn, a process does
//! something (`life.rs`), the clock moves, the operator asks, or there is trouble: a process is
//! stopped, let go on, signalled by a stranger; main is killed. Between two of them nothing is
//! in any order: a signal is pending until its process runs, two of a kind are one, a fork may
//! fail, or be answered seconds later. Words that are not true come as well: READY twice, late,
//! for another slot, for a number that was a worker's, by SIGVTALRM from an older generation.
//!
//! The clock stands still but for a step that moves it, and then it goes no further than a
//! second past the deadline of any loop that can run, so that none is late by the simulator's
//! doing; or it leaps, and every loop sees a stall.
//!
//! `run.rs` lets chance work for a while. Then the world becomes kind: nothing fails any more,
//! and either every slot has to be ready within its back-off and a reload has to work, or a stop
//! is asked for and all has to be gone by its deadlines. How unkind a run is, and to what, is
//! chance as well: what hides behind one trouble is found in a run without it.
//!
//! `main_loop.rs` and `pool_loop.rs` are the two loops of `src` without what decides nothing.
//! Each of their functions names the one in `src` that it stands for; they are to be read side
//! by side, and a change there is a change here.
//!
//! # Invariants
//!
//! `main_truth.rs` and `pool_truth.rs` keep a book of their own: of what the machines were told,
//! what they ordered, and what the kernel made of it. After each event, and at the end of each
//! turn:
//!
//! | name | what it says |
//! | --- | --- |
//! | `last_ready_generation_is_kept` | no signal to the generation that serves before another one is ready, unless for a stop |
//! | `failed_reload_leaves_the_old_untouched` | nor while another one is being tried |
//! | `only_ready_is_promoted`, `probation_is_served` | a new one takes over when it has said ready, has served its time beside the old one, and has no slot without a ready worker |
//! | `one_generation_starts`, `at_most_three_alive` | not counting those that were sent SIGKILL |
//! | `coalesced_reload_runs_once_more` | no reload is lost, and none makes two generations |
//! | `stop_starts_nothing_and_ends`, `main_leaves_last`, `a_pool_leaves_last` | a stop starts nothing, tells all, and is over in the time that is given to it |
//! | `exit_status_tells_of_a_kill` | a stop that needed SIGKILL is no success |
//! | `only_pinned_pids_are_signalled`, `strangers_are_not_signalled` | a number is named between its fork and its reaping, a group while a child of the sender is in it |
//! | `only_own_children_are_reaped`, `nothing_alive_is_forgotten` | |
//! | `each_signal_is_sent_once`, `signals_keep_their_order`, `no_signal_is_early`, `deadlines_are_monotonic` | SIGTERM, SIGINT, SIGKILL in their order and at their time: no later either, and a deadline moves back by a stall alone |
//! | `ready_is_said_by_a_starting_generation`, `ready_is_said_by_the_worker_itself`, `ready_counts_for_its_own_generation`, `ready_is_announced_once_when_every_slot_is` | no word of another counts |
//! | `no_start_is_early`, `wanted_start_waits_at_most_backoff_plus_one_second`, `a_start_has_a_deadline` | of generations and of workers |
//! | `a_slot_has_one_worker`, `a_removed_slot_is_not_filled` | one beside it while it is recycled |
//! | `workers_of_a_dead_main_are_gone` | a pool ends its workers by its own clock when main was killed |
//! | `restart_forgets_nothing` | the state that is read is the one that was written |
//! | `nothing_grows` | generations, processes of a pool, bytes of the state |
//! | `all_slots_are_ready_again`, `the_next_reload_works` | when the world is kind |
//! | `no_panic` | |
//!
//! Not covered, since the machines have no part in it: what stands in descriptors and files
//! (that a listening socket stays one open file, that no file of another is removed), what a
//! message over a socket may hold, queues and connections, `sys`, a kernel that does not list
//! children, a child of main that reads, probes or closes, and an application that reaps its
//! own workers. That programs of `-x` get their stop signal when both main and monitor are
//! killed is the kernel's doing, here as there.
//!
//! # Running it
//!
//! `make sim SEEDS=n FROM=seed` makes n runs of 10,000 steps and more, and prints what has
//! happened in them. A seed that breaks something is printed with its step, the invariant and
//! the last that has happened, and gets a line in `tests/sim/seeds`, which every run begins
//! with. `tests/sim/faults/run` plants the faults that stand beside it in a copy of the tree,
//! one at a time: two of signals, pids, deadlines, the handover in a restart, and the words of
//! the protocols. The head of each patch says which invariant is expected to find it.

mod dice;
mod kernel;
mod life;
mod main_loop;
mod main_truth;
mod pool_loop;
mod pool_truth;
mod run;
mod world;

use crate::run::Run;
use crate::world::{SHOWN, Tally};
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// The seeds that have found something, each with what it was.
const LIST: &str = include_str!("seeds");

/// So many runs look for a planted fault.
const SEEDS_OF_A_TRY: u64 = 200;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// What came of a seed: its steps, what has happened in them, and the invariant that was broken.
fn try_seed(seed: u64) -> (u64, Tally, Option<&'static str>) {
    let mut run = Run::new(seed);
    let panicked = catch_unwind(AssertUnwindSafe(|| run.go())).is_err();
    let broken = run.broken().cloned();
    let name = broken.as_ref().map(|broken| broken.name);
    let name = if panicked { Some("no_panic") } else { name };
    if let (Some(name), None) = (name, number("TRIES")) {
        say(&format!("seed {seed}, step {}: invariant {name}", run.steps));
        if env::var_os("BRIEF").is_none() {
            broken.iter().for_each(|broken| say(&broken.how));
            say(&format!("the last {SHOWN} of what happened:"));
            run.world.notes.last().for_each(|(at, note)| say(&format!("{at:>10} {note:?}")));
        }
    }
    (run.steps, run.world.tally, name)
}

#[expect(clippy::print_stdout, reason = "it tells what it has found")]
fn say(line: &str) {
    println!("{line}");
}

/// How long it takes until something is found: so many tries, each with seeds of its own.
fn measure(tries: u64) -> ExitCode {
    let (mut steps, mut names) = (Vec::new(), Vec::new());
    for first in (0..tries).map(|number| 1_000 * number + 1) {
        let mut sum = 0;
        for seed in first..first + SEEDS_OF_A_TRY {
            let (took, _, name) = try_seed(seed);
            sum += took;
            if let Some(name) = name {
                steps.push(sum);
                names.push(name);
                break;
            }
        }
    }
    steps.sort_unstable();
    names.sort_unstable();
    names.dedup();
    let (found, median) = (steps.len(), steps.get(steps.len() / 2));
    say(&format!("found in {found} of {tries} tries, median {median:?} steps, by {names:?}"));
    if found as u64 == tries { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    // `cargo test NAME` asks every target for that test.
    if env::args().skip(1).any(|word| !word.starts_with('-') && !"simulator".contains(&*word)) {
        return ExitCode::SUCCESS;
    }
    if let Some(tries) = number("TRIES") {
        return measure(tries);
    }
    let (from, seeds) = (number("FROM").unwrap_or(1), number("SEEDS").unwrap_or(20));
    let listed = LIST.lines().filter_map(|line| line.split(' ').next()?.parse().ok());
    let listed: Vec<u64> = if number("FROM").is_some() { Vec::new() } else { listed.collect() };
    let begun = Instant::now();
    let (mut steps, mut tally, mut broken) = (0, Tally::default(), 0);
    let most = number("STOP_AFTER").unwrap_or(3);
    for seed in listed.into_iter().chain(from..from + seeds) {
        let (took, happened, name) = try_seed(seed);
        steps += took;
        tally.add(&happened);
        broken += u64::from(name.is_some());
        if broken >= most {
            break;
        }
    }
    let rate = steps as f64 / begun.elapsed().as_secs_f64();
    say(&format!("{tally:?}"));
    say(&format!("simulator: {steps} steps, {rate:.0} a second, {broken} violations"));
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
