//! The unit tests of the HTTP example, which stand with what they test.
//!
//! An example that is itself marked as a test is no longer built as a program
//! by `cargo test`, and the process tests need the program.

#![allow(dead_code)] // Only the example's main uses all of it.

#[path = "../examples/http/request.rs"]
mod request;
