//! Panzer runs a server on all the processors of a machine, and replaces it
//! while it runs, without losing a connection.
//!
//! This crate is what an application embeds, and all of the `panzer` program.
//! A program is complete with these two: [`listen`], which opens a socket or
//! takes over the one that an earlier generation had opened, and [`Monitor`],
//! which forks the workers and keeps their number.
//!
//! ```no_run
//! struct Hello {
//!     listener: panzer::Listener,
//! }
//!
//! impl panzer::Worker for Hello {
//!     fn run(&mut self, context: &mut panzer::Context) -> panzer::Outcome {
//!         use std::io::Write as _;
//!         while let Some((connection, _peer)) = context.accept(&self.listener)? {
//!             let mut stream = std::net::TcpStream::from(connection);
//!             // A client that has hung up is no reason to end the worker.
//!             let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello\n");
//!         }
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let listener = panzer::listen("127.0.0.1:8080")?;
//!     panzer::Monitor::new(Hello { listener }).count(4).run()?;
//!     Ok(())
//! }
//! ```
//!
//! Started by itself it serves; started by `panzer` it can be reloaded.
//!
//! [`supervise`] puts `panzer` into the program: the file that was started keeps the
//! sockets, and starts itself as the monitor. [`Main`] is `panzer` alone, for a
//! program that wants to be one.
//!
//! # The source, in reading order
//!
//! ```text
//!    bin/panzer  bin/panzerctl  examples/      entry points
//!        │           │             │
//!    roles/   main · monitor · worker · ctl    one blocking loop each: wait, tell the plan, do what it says
//!        │           │                 │
//!    plan/ (pure)    words/ (pure)     keep/          plan: what to do about what happened
//!    decisions       formats           things held    words: parse and print; keep: sockets, board, log
//!        │           │                 │
//!        └───────► types ◄─────── sys/ (all the unsafe)   one small file per kernel facility
//! ```
//!
//! Arrows are the only imports. Begin with `types.rs`; then `plan/service`,
//! which is all that main decides, and `plan/pool.rs`, all that a monitor
//! decides. `roles/main` and `roles/monitor` do what those say. `words` and
//! `keep` are read where they are used; `sys` beside its manual pages.
//!
//! # Features
//!
//! The crate is `no_std` with `alloc`. The default feature `std` adds
//! conversions to and from the standard library's types, and nothing else.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod error;
mod keep;
mod plan;
mod roles;
// For this crate's own programs, tests and benches; it promises nothing.
#[doc(hidden)]
pub mod sys;
mod tape;
mod text;
mod types;
mod words;

pub use error::{Errno, Error, Result};
pub use keep::log::log;
#[doc(hidden)]
pub use roles::ctl::program as control;
pub use roles::listen::{Listener, listen, wait};
pub use roles::main::embed::{Main, supervise};
#[doc(hidden)]
pub use roles::main::program;
pub use roles::monitor::Monitor;
pub use roles::worker::{Connection, Context, Outcome, Peer, Worker};
pub use sys::clock::now;
pub use sys::fd::{Borrowed, Fd};
pub use sys::poll::Source;
pub use sys::process::ThreadsAllowed;
pub use types::{Level, Millis, Pid, Tick};

// The README's program is compiled as a test, so that it cannot grow stale.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
