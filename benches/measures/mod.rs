//! The measurements.

mod baseline;
pub mod fixture;
mod pool;
mod reports;
mod respawn;
mod scale;
mod table;
mod wakeups;

use std::io;

pub use table::Table;

/// One measurement.
pub struct Measure {
    /// The name that selects it.
    pub name: &'static str,
    /// Performs it and fills its lines of the table.
    pub perform: fn(&mut Table) -> io::Result<()>,
}

/// All of them, in the order in which they are performed.
pub const ALL: &[Measure] = &[
    Measure { name: "respawn-4", perform: |table| respawn::library(table, 4) },
    Measure { name: "respawn-64", perform: |table| respawn::library(table, 64) },
    Measure { name: "respawn-1000", perform: |table| respawn::library(table, 1_000) },
    Measure { name: "respawn-exec-4", perform: |table| respawn::programs(table, 4) },
    Measure { name: "respawn-exec-64", perform: |table| respawn::programs(table, 64) },
    Measure { name: "respawn-exec-1000", perform: |table| respawn::programs(table, 1_000) },
    Measure { name: "scale-10", perform: |table| scale::library(table, 10, 9) },
    Measure { name: "scale-100", perform: |table| scale::library(table, 100, 9) },
    Measure { name: "scale-1000", perform: |table| scale::library(table, 1_000, 5) },
    Measure { name: "scale-10000", perform: |table| scale::library(table, 10_000, 3) },
    Measure { name: "scale-exec-1000", perform: |table| scale::programs(table, 1_000, 5) },
    Measure { name: "wake-ups", perform: wakeups::idle },
];
