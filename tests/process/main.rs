//! What the processes promise, each promise by itself, on the real program.

#[path = "../harness/mod.rs"]
mod harness;

mod stop;
