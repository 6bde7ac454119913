//! Decisions: what happened goes in, what to do comes out.
//!
//! A plan has two methods: `step(now, event, &mut actions)` and `deadline()`.
//! It has no clock, no log and no descriptor, so whatever can happen to it can
//! be tried in a test, in any order, in no time. The outcome of what a plan
//! orders comes back to it as an event: it never assumes that something worked.
//!
//! * [`service`]: main's generations.
//! * [`pool`]: a monitor's workers.
//! * [`backoff`]: when to try again.
//! * [`pause`]: what a time in which nobody could run does to deadlines.
//!
//! Pure: of this crate it knows `types` alone.

pub mod backoff;
pub mod pause;
pub mod pool;
pub mod service;
