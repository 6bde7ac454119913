//! Roles: one blocking loop each. Wait, tell the plan, do what it says.
//!
//! * [`main`]: the `panzer` program.
//! * [`ctl`]: the `panzerctl` program.
//! * [`monitor`]: what an application calls, and the pool it becomes.
//! * [`worker`]: what runs in each forked process.
//! * [`listen`]: the application's listening sockets.

pub mod ctl;
pub mod listen;
pub mod main;
pub mod monitor;
pub mod worker;
