//! From the death of a worker to its replacement's first instruction.
//!
//! No worker is killed before the last one is replaced, all have reported that, and have had
//! a moment to become idle: so the work after a fork delays no other.

use std::io;
use std::time::Duration;

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
    let limit = Target::RatioAtMost;
    table.compare(&what, "µs", &ours.latency, ("same steps", &same.latency), limit(1.0));
    table.compare(&what, "µs", &ours.latency, ("bare", &bare.latency), limit(1.2));
    let what = format!("processor time of it, {count} workers");
    table.compare(&what, "µs", &ours.processor, ("same steps", &same.processor), Target::None);
    Ok(())
}

/// Programs of `-x`, beside bare vfork and exec.
pub fn programs(table: &mut Table, count: usize) -> io::Result<()> {
    let pools = vec![Pool::programs(count)?, Pool::c_programs(count)?];
    let [ours, bare] = &turns(pools)?[..] else { return Ok(()) };
    let (name, target) = ("vfork, exec", Target::RatioAtMost(1.1));
    let what = format!("respawn -x, {count} workers");
    table.compare(&what, "µs", &ours.latency, (name, &bare.latency), target);
    let what = format!("processor time of it, -x, {count} workers");
    table.compare(&what, "µs", &ours.processor, (name, &bare.processor), target);
    Ok(())
}

/// What a pool needs for a replacement, round by round, in microseconds.
#[derive(Clone, Default)]
struct Turns {
    latency: Vec<f64>,
    processor: Vec<f64>,
}

fn turns(mut pools: Vec<Pool>) -> io::Result<Vec<Turns>> {
    let mut turns = vec![Turns::default(); pools.len()];
    for _ in 0..ROUNDS {
        let mut times = vec![Vec::new(); pools.len()];
        let before: Vec<_> = pools.iter().map(Pool::processor_time).collect();
        for _ in 0..KILLS {
            for (pool, times) in pools.iter_mut().zip(&mut times) {
                times.push(micros(pool.replace_oldest()?));
            }
        }
        for (index, turns) in turns.iter_mut().enumerate() {
            turns.latency.push(Spread::of(&times[index]).median);
            let took = pools[index].processor_time().saturating_sub(before[index]);
            turns.processor.push(micros(took) / times[index].len() as f64);
        }
    }
    pools.into_iter().try_for_each(|pool| pool.drain().map(drop))?;
    Ok(turns)
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
