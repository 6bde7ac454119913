//! Decisions: what to do about what happened.
//!
//! A plan is two methods: `step(now, event, &mut actions)` and `deadline()`.
//! It makes no system call, reads no clock and writes no log; the outcome of
//! what it orders comes back to it as an event. So every one of its states can
//! be walked through by a test.
//!
//! * [`service`]: main's generations.
//! * `pool`: a monitor's workers.
//! * `backoff`: when to try again.

pub mod backoff;
pub mod service;
