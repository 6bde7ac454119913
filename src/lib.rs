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
//! # Under an async runtime, or in an event loop
//!
//! A worker is an ordinary process: a runtime is made in it, never before the fork, which
//! copies no threads. Of the library it needs three things, all of [`Context`]:
//!
//! * an [`Acceptor`], which is one descriptor to wait for, and knows what a stop asks: to
//!   let go of the queue at once where others serve it, and when the port goes away to
//!   serve all that waits first;
//! * a [`StopHandle`], which any task may ask whether this worker is to stop, for answers
//!   that say `Connection: close`;
//! * a [`Counter`], with which tasks say what they have in hand, for the status and
//!   [`Monitor::hang_timeout`], and how many connections the worker holds: with a guard of
//!   [`Counter::connection`] for each, all workers hold nearly the same number of connections.
//!   A loop without an [`Acceptor`] has [`Context::connections`] and [`Context::may_accept`].
//!
//! ```no_run
//! use std::{io::Write as _, net::TcpStream, task::Poll, thread};
//!
//! use panzer::{Context, Monitor, Source};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Non-blocking before the first fork: all processes share that setting.
//!     let listener = panzer::listen("127.0.0.1:8080")?.nonblocking()?;
//!     let worker = move |context: &mut Context| {
//!         let acceptor = context.acceptor(&listener)?;
//!         let counter = context.counter();
//!         context.ready(); // when all is set up
//!         thread::scope(|tasks| loop {
//!             match acceptor.try_accept()? {
//!                 Poll::Ready(Some((connection, _peer))) => {
//!                     let busy = counter.busy();
//!                     tasks.spawn(move || {
//!                         let mut stream = TcpStream::from(connection);
//!                         let _ = stream.set_nonblocking(false);
//!                         let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello\n");
//!                         drop(busy);
//!                     });
//!                 }
//!                 // Told to stop: the tasks finish what they have.
//!                 Poll::Ready(None) => return Ok(()),
//!                 Poll::Pending => {
//!                     panzer::wait(&mut [Source::readable(acceptor.descriptor())], None)?;
//!                 }
//!             }
//!         })
//!     };
//!     Monitor::new(worker).run()?;
//!     Ok(())
//! }
//! ```
//!
//! In tokio; the waiting may be cancelled at any time, and no connection is lost by that:
//!
//! ```text
//! let worker = move |context: &mut Context| {
//!     let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//!     runtime.block_on(serve(context, &listener))
//! };
//!
//! async fn serve(context: &mut Context, listener: &Listener) -> Outcome {
//!     let acceptor = context.acceptor(listener)?;
//!     // What waits for a descriptor, of any kind; nothing is read from it.
//!     let queue = UnixStream::from_std(acceptor.as_fd().try_clone_to_owned()?.into())?;
//!     let mut tasks = JoinSet::new();
//!     context.ready();
//!     while let Some((connection, _peer)) =
//!         queue.async_io(Interest::READABLE, || acceptor.accept()).await?
//!     {
//!         let stream = TcpStream::from_std(connection.into())?;
//!         // Before the task, or of a burst one worker takes all. It goes with the connection.
//!         let held = context.counter().connection();
//!         tasks.spawn(answer(stream, held, context.counter(), context.stop_handle()));
//!         while tasks.try_join_next().is_some() {}
//!     }
//!     // Told to stop. A runtime that is dropped cancels its tasks: wait for them.
//!     while tasks.join_next().await.is_some() {}
//!     Ok(())
//! }
//! ```
//!
//! A server that keeps connections open closes none at the moment when its client may send
//! the next request, which would be lost. From the stop on
//! ([`StopHandle::is_stopping`]) it:
//!
//! 1. answers every request with `Connection: close`, and closes after that answer;
//! 2. leaves an idle connection open for as long as its client may still use it, which is what
//!    the last answer has promised with `Keep-Alive: timeout=SECS`, or else longer than a
//!    client or a proxy pauses; that has to be shorter than `--timeout`;
//! 3. then closes those that are idle still, and returns when none is open.
//!
//! The graceful shutdown of axum, and that of hyper, close idle connections at once, and so lose
//! requests at each reload. `examples/axum` calls that of hyper after step 2. `examples/mio` is a
//! whole program for mio. `make test-async` reloads and stops both under load.
//!
//! SIGTERM is the library's: a runtime's own handler for it (`tokio::signal`) would take the
//! stop away. A server that takes nothing but a listener of std gets one by
//! `TcpListener::try_from(&listener)`, and its program then has to do what an
//! [`Acceptor`] does: `Listener` says what. The loop of such a server ends when a task that
//! waits for the [`StopHandle`]'s descriptor tells it.
//!
//! # Without the standard library
//!
//! With `default-features = false` the crate needs `alloc` and the C library alone. A program
//! without std brings what std would: C's `main`, a global allocator, a panic handler, and two
//! names that the prebuilt `alloc` refers to: copy `rt.rs` of `examples/small`, 70 lines, and
//! the profiles of its `Cargo.toml`. Without `panic = "abort"` there nothing builds; the other
//! lines make the file half as large. The library sets none of these. [`Connection::read`] and [`Connection::write_all`] are for such a
//! program, [`wait`] has a deadline for them, and [`log`](log()) says what goes wrong.
//! `make static` makes a `panzer` that needs no C library on the device either.
//! `make test-small` builds that example for musl, and says what Panzer adds to the same server
//! without it.
//!
//! # The source, in reading order
//!
//! A folder is a process, or a boundary between processes. A file imports only what
//! stands below its folder here, or in it, and no imports form a circle: `.ci/imports`
//! checks that.
//!
//! ```text
//! bin/              panzer, panzerctl
//! ctl/              panzerctl
//! main_process/     panzer:main       the loop; supervisor.rs decides
//! monitor/          panzer:monitor    the loop; pool.rs decides
//! worker/           a worker          Context, accept, drain
//! shared/           what more than one of these processes holds: listeners, the scoreboard
//! config/           the options: command line, file, --check, --help          (pure)
//! protocol/         what crosses a process boundary, both ends in one file    (pure)
//! log.rs ...        the log, an environment, the outcome of an exec, the processors
//! sys/              the kernel: all unsafe code, one file for each facility
//! types.rs ...      values, errors, back-off, stall                           (pure)
//! ```
//!
//! Begin with `types.rs`. Then `main_process/supervisor.rs` is all that main decides
//! about generations, and `monitor/pool.rs` all that a monitor decides about workers:
//! two state machines without a system call, each with its states drawn at its top.
//! `main_process/mod.rs` and `monitor/monitor_loop.rs` are the loops around them: wait,
//! report what has happened, perform what is decided. A file of `protocol`, `config` or
//! `shared` is read where it is used, one of `sys` beside the manual pages that its
//! first line names. `docs/design.md` has an order for an evening, the way of a reload
//! that is rolled back and of a worker that is replaced from file to file, the places
//! that a new option has, and the reasons; `docs/protocol.md` and `docs/failure-modes.md`
//! have what processes say to each other, and what happens when one dies.
//!
//! # Features
//!
//! The crate is `no_std` with `alloc`. The default feature `std` adds
//! conversions to and from the standard library's types, and nothing else. The
//! feature `internals` is for this crate's own tests and benches.
#![no_std]
#![cfg_attr(feature = "internals", allow(missing_docs, reason = "no application sees these"))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod backoff;
mod cgroup;
mod config;
mod cpus;
mod ctl;
mod decimal;
mod environment;
mod error;
mod exec_result;
mod exit_status;
// The targets of `make fuzz`, which know the inside of everything, and their test.
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
#[path = "../tests/fuzz/mod.rs"]
pub mod fuzz;
mod log;
mod log_line;
mod main_process;
mod monitor;
mod nearest;
mod persist;
mod printable;
mod protocol;
mod seconds;
mod shared;
mod split;
mod stall;
#[cfg(not(feature = "internals"))]
mod sys;
// For this crate's own tests and benches; it promises nothing, and much of it is
// dangerous in a program that does not know what main and monitors do with it.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod sys;
mod text;
mod types;
mod worker;

pub use error::{Errno, Error, Result};
pub use log::log;
pub use main_process::embed::{Main, supervise};
pub use monitor::Monitor;
pub use shared::listener::{Listener, listen, wait};
pub use sys::clock::now;
pub use sys::fd::{Borrowed, Fd};
pub use sys::poll::Source;
pub use sys::threads::ThreadsAllowed;
pub use types::{Level, Millis, Pid, Tick};
pub use worker::{
    Acceptor, BusyGuard, Connection, ConnectionGuard, Context, Counter, MayAccept, Outcome, Peer,
    StopHandle, Worker,
};

/// What the two programs of this crate are made of, beside their `rt.rs`. It promises
/// nothing.
#[doc(hidden)]
pub mod program {
    pub use crate::ctl::program as panzerctl;
    pub use crate::main_process::program as panzer;
    pub use crate::sys::heap::{Allocator, Reserve};
    pub use crate::sys::signal::abort;
}

/// The two state machines and the words that they are spoken to in: what tests/sim drives.
/// It promises nothing.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod machines {
    pub use crate::exec_result::ExecResult;
    pub use crate::main_process::supervisor;
    pub use crate::monitor::pool;
    pub use crate::persist::{Codec, Direction, Persist};
    pub use crate::stall::over;
    pub use crate::types::{Backoff, Exit, Generation, Losses, Signal, Slot, Stage};
}

// The README's program is compiled as a test, so that it cannot grow stale.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
