//! The `panzer` program: see `panzer(1)`.
#![no_std]
#![no_main]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[path = "../rt.rs"]
mod rt;

use panzer::program::panzer as program;
