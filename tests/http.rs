//! The unit tests of the HTTP example, which are in the example's files.
//!
//! `cargo test` does not build an example as a program if the example is itself marked as
//! a test, and the process tests need the program.

#![allow(dead_code)] // Only the example's main uses all of it.

#[path = "../examples/http/request.rs"]
mod request;
