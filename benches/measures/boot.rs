//! What a reload takes beyond the application's own boot.

use std::io;

use super::Table;
use super::pool::Pool;
use super::table::Target;

const ROUNDS: usize = 9;

/// From SIGUSR1 to current, beside the application started alone: from its execution to its
/// last worker's first instruction. One after the other, over and over.
pub fn reload(table: &mut Table, count: usize, target: Target) -> io::Result<()> {
    let mut pool = Pool::library(count)?;
    let (mut reloads, mut boots) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        reloads.push(pool.reload()?.as_secs_f64() * 1e3);
        let alone = Pool::alone(count)?;
        boots.push(alone.filled.as_secs_f64() * 1e3);
        alone.drain()?;
    }
    pool.drain()?;
    let what = format!("USR1 to current, {count} workers");
    table.compare(&what, "ms", &reloads, ("boot", &boots), Target::None);
    let beyond: Vec<_> = reloads.iter().zip(&boots).map(|(reload, boot)| reload - boot).collect();
    table.figure(&format!("beyond the boot, {count} workers"), "ms", &beyond, target);
    Ok(())
}
