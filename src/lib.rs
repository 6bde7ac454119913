//! Panzer: a server on all processors, replaced while it runs.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod error;
mod keep;
mod plan;
mod roles;
#[doc(hidden)]
pub mod sys;
mod types;
mod words;

pub use error::{Errno, Error, Result};
pub use keep::log::log;
pub use roles::listen::wait;
pub use roles::listen::{Listener, listen};
#[doc(hidden)]
pub use roles::main::program;
pub use roles::monitor::Monitor;
pub use roles::worker::{Connection, Context, Outcome, Peer, Worker};
pub use sys::clock::now;
pub use sys::fd::{Borrowed, Fd};
pub use sys::poll::Source;
pub use sys::process::ThreadsAllowed;
pub use types::{Level, Millis, Pid, Tick};
