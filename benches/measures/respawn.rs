//! From the death of a worker to its replacement's first instruction.
//!
//! No worker is killed before the last one is replaced, all have reported that, and have had
//! a moment to become idle: so the work after a fork delays no other.

use std::io;

use super::Table;
use super::pool::Pool;
use super::table::{Spread, Target};

/// How many rounds there are, in which each pool takes its turn.
const ROUNDS: usize = 9;
/// How many workers are killed in a turn.
const KILLS: usize = 40;

/// Workers of the library, beside the bare loop and one that takes the same steps.
pub fn library(table: &mut Table, count: usize) -> io::Result<()> {
    let pools = vec![Pool::library(count)?, Pool::c("bare", count)?, Pool::c("same_steps", count)?];
    let [ours, bare, same] = &turns(pools)?[..] else { return Ok(()) };
    let what = format!("respawn, {count} workers");
    table.compare(&what, "µs", ours, ("same steps", same), Target::RatioAtMost(1.0));
    table.compare(&what, "µs", ours, ("bare", bare), Target::RatioAtMost(1.2));
    Ok(())
}

/// The medians of each pool's turns, round by round, in microseconds.
fn turns(mut pools: Vec<Pool>) -> io::Result<Vec<Vec<f64>>> {
    let mut medians = vec![Vec::new(); pools.len()];
    for _ in 0..ROUNDS {
        let mut times = vec![Vec::new(); pools.len()];
        for _ in 0..KILLS {
            for (pool, times) in pools.iter_mut().zip(&mut times) {
                times.push(pool.replace_oldest()?.as_secs_f64() * 1e6);
            }
        }
        for (medians, times) in medians.iter_mut().zip(&times) {
            medians.push(Spread::of(times).median);
        }
    }
    pools.into_iter().try_for_each(|pool| pool.drain().map(drop))?;
    Ok(medians)
}
