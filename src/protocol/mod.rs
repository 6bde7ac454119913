//! What crosses a process boundary: both ends of each format in one file.
//!
//! Pure: no system call, no clock, no log. What comes from outside is taken apart
//! here, and refused here with one clear line.
//!
//! * [`sd_notify`]: what a process says over `NOTIFY_SOCKET`.
//! * [`fdnames`]: the names of `LISTEN_FDNAMES`.
//! * [`address`]: where a socket listens, as `--bind` takes it.
//! * [`control_protocol`]: requests and answers of the control socket.
//! * [`status_records`]: the answer to `status`; [`status_report`] is what panzerctl
//!   reads from it, and [`status_tree`], [`json`] and [`metrics`] show that.
//! * [`event_lines`]: the lines of `--event-fd`.

pub mod address;
// Main reads one half of it and writes the other; panzerctl the other way round.
#[allow(dead_code)]
pub mod control_protocol;
pub mod event_lines;
pub mod fdnames;
pub mod json;
pub mod metrics;
pub mod sd_notify;
// Main writes it, panzerctl reads it.
#[allow(dead_code)]
pub mod status_records;
pub mod status_report;
pub mod status_tree;
mod text_table;
