//! A pool is filled, all of its workers are killed at once, and it is stopped.

use std::io;

use super::Table;
use super::pool::Pool;
use super::table::Target;

/// The times of one kind of pool, round by round, in milliseconds.
#[derive(Default)]
struct Times {
    fill: Vec<f64>,
    back: Vec<f64>,
    drain: Vec<f64>,
    processor: Vec<f64>,
}

impl Times {
    fn add(&mut self, mut pool: Pool) -> io::Result<()> {
        self.fill.push(pool.filled.as_secs_f64() * 1e3);
        self.back.push(pool.replace_all()?.as_secs_f64() * 1e3);
        self.processor.push(pool.processor_time().as_secs_f64() * 1e3);
        self.drain.push(pool.drain()?.as_secs_f64() * 1e3);
        Ok(())
    }
}

/// Workers of the library, beside bare forks and the same steps; one pool at a time.
pub fn library(table: &mut Table, count: usize, rounds: usize) -> io::Result<()> {
    let (mut ours, mut bare, mut same) = (Times::default(), Times::default(), Times::default());
    for _ in 0..rounds {
        ours.add(Pool::library(count)?)?;
        bare.add(Pool::c("bare", count)?)?;
        same.add(Pool::c("same_steps", count)?)?;
    }
    // The targets are those of large pools.
    let target = if count < 1_000 { Target::None } else { Target::RatioAtMost(1.2) };
    for (name, theirs, target) in [("bare", &bare, target), ("same steps", &same, Target::None)] {
        let mut line = |what: &str, ours: &[f64], theirs: &[f64], target| {
            let what = format!("{what}, {count} workers");
            table.compare(&what, "ms", ours, (name, theirs), target);
        };
        line("fill", &ours.fill, &theirs.fill, target);
        line("all killed and back", &ours.back, &theirs.back, target);
        line("processor time of both", &ours.processor, &theirs.processor, Target::None);
        line("drain", &ours.drain, &theirs.drain, Target::None);
    }
    Ok(())
}

/// Programs of `-x`, beside bare vfork and exec; their start is that of all processes.
pub fn programs(table: &mut Table, count: usize, rounds: usize) -> io::Result<()> {
    let (mut ours, mut bare) = (Times::default(), Times::default());
    for _ in 0..rounds {
        ours.add(Pool::programs(count)?)?;
        bare.add(Pool::c_programs(count)?)?;
    }
    let target = Target::RatioAtMost(1.1);
    let mut line = |what: &str, ours: &[f64], bare: &[f64]| {
        let what = format!("{what}, -x, {count} workers");
        table.compare(&what, "ms", ours, ("vfork, exec", bare), target);
    };
    line("fill", &ours.fill, &bare.fill);
    line("all killed and back", &ours.back, &bare.back);
    line("processor time of both", &ours.processor, &bare.processor);
    Ok(())
}
