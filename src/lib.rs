//! Panzer: a server on all processors, replaced while it runs.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod error;
mod plan;
#[doc(hidden)]
pub mod sys;
mod types;
#[allow(dead_code, reason = "the roles that use these formats come next")]
mod words;

pub use error::{Errno, Error, Result};
pub use types::{Generation, Level, Millis, Pid, Slot, Tick};
