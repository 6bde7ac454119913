//! The measurements.

mod accept;
mod baseline;
mod boot;
mod control;
pub mod fixture;
mod hung;
mod keep_alive;
mod poll_loop;
mod pool;
mod reload;
mod reports;
mod respawn;
mod rest;
mod scale;
mod site;
mod table;
mod wakeups;

use std::io;
use std::time::Duration;

use reload::PACE;
use table::Target;

pub use table::Table;

/// Clients that do not rest.
const SATURATED: Duration = Duration::ZERO;

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
    Measure { name: "wake-ups-accept", perform: wakeups::one_connection },
    Measure { name: "wake-ups-http", perform: wakeups::event_driven },
    Measure { name: "accept", perform: accept::one_connection },
    Measure { name: "keep-alive-http-16", perform: |table| keep_alive::http(table, 16) },
    Measure { name: "keep-alive-http-64", perform: |table| keep_alive::http(table, 64) },
    Measure { name: "keep-alive-loop-16", perform: |table| keep_alive::poll_loop(table, 16) },
    Measure { name: "keep-alive-loop-64", perform: |table| keep_alive::poll_loop(table, 64) },
    Measure { name: "keep-alive-respawned", perform: keep_alive::respawned },
    Measure { name: "keep-alive-reloads-16", perform: |table| keep_alive::reloads(table, 16) },
    Measure { name: "keep-alive-reloads-64", perform: |table| keep_alive::reloads(table, 64) },
    Measure { name: "hung-stopped", perform: hung::stopped },
    Measure { name: "hung-busy", perform: hung::busy },
    Measure { name: "reload-one", perform: |table| reload::one_connection(table, SATURATED) },
    Measure { name: "reload-http", perform: |table| reload::http(table, SATURATED) },
    Measure { name: "reload-kept", perform: |table| reload::http_kept(table, SATURATED) },
    Measure { name: "restart", perform: |table| reload::restart(table, SATURATED) },
    Measure { name: "reload-paced-one", perform: |table| reload::one_connection(table, PACE) },
    Measure { name: "reload-paced-http", perform: |table| reload::http(table, PACE) },
    Measure { name: "reload-paced-kept", perform: |table| reload::http_kept(table, PACE) },
    Measure { name: "restart-paced", perform: |table| reload::restart(table, PACE) },
    Measure { name: "boot-4", perform: |table| boot::reload(table, 4, Target::AtMost(1.0)) },
    Measure { name: "boot-64", perform: |table| boot::reload(table, 64, Target::None) },
    Measure {
        name: "boot-1000",
        perform: |table| boot::reload(table, 1_000, Target::AtMost(20.0)),
    },
    Measure { name: "control", perform: control::cost },
    Measure { name: "ready", perform: control::ready },
    Measure { name: "footprint", perform: rest::footprint },
    Measure { name: "idle", perform: rest::idle },
];
