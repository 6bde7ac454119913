//! The last resort of a pool of programs: who ends them when main and monitor
//! are both killed.
//!
//! A library worker has a timer of its own for that. A program has none, and its
//! SIGTERM from the kernel is all that it would ever hear. So a process stands
//! beside the monitor, in a process group of its own, which sleeps until the
//! monitor is gone. As long as main lives it leaves to main who is left; once main
//! is gone too, they have as long as a stop takes, and then it kills them. It
//! leaves as soon as nobody is left, and is never asked to do anything.

use super::pool::BREATHER;
use crate::keep::board::Sheet;
use crate::sys::fd::{self, Blocking, Borrowed, Fd};
use crate::sys::poll::{self, Source};
use crate::sys::{self, clock, exec, pidfd, process};
use crate::types::{Millis, Pid, Signal, Tick};
use alloc::vec::Vec;

/// Starts it; it watches over the workers on `sheet` as long as the pipe that is
/// returned is open. Every signal is held back.
///
/// # Errors
///
/// Those of pipe(2) and fork(2).
pub(super) fn start(sheet: Sheet, lifeline: Borrowed<'_>, grace: Millis) -> sys::Result<Fd> {
    let (read, write) = fd::pipe(Blocking::Yes)?;
    let monitor = process::id();
    process::fork(|| {
        process::lead_group(None);
        process::set_name(c"panzer:keeper");
        // The write end above all, and sockets that are to be closed with the pool.
        exec::close_others([read.borrow(), lifeline]);
        let _ = fd::read(read.borrow(), &mut [0]);
        see_through(left(sheet, monitor), lifeline, grace);
        0
    })?;
    Ok(write)
}

/// The workers that a dead monitor has left behind: a number on the board may be
/// another's by now, but nobody else is in its group.
fn left(sheet: Sheet, monitor: Pid) -> Vec<Fd> {
    let held = |pid: Pid| {
        let held = pidfd::open(pid).ok()?;
        (process::group_of(pid) == Some(monitor)).then_some(held)
    };
    sheet.pids().filter_map(held).collect()
}

/// Waits until nobody is left, and kills whoever is when his time is over.
fn see_through(mut left: Vec<Fd>, lifeline: Borrowed<'_>, grace: Millis) {
    let mut due = None;
    while !left.is_empty() {
        let mut sources: Vec<_> = left.iter().map(|one| Source::readable(one.borrow())).collect();
        // Whoever has seen its end waits for it no longer.
        sources.extend(due.is_none().then(|| Source::readable(lifeline)));
        if poll::wait(&mut sources, due).is_err() {
            let _ = poll::wait(&mut [], Some(clock::now().after(BREATHER)));
            continue;
        }
        let now = clock::now();
        if due.is_none() && sources.last().is_some_and(Source::is_ready) {
            due = Some(now.after(grace));
        }
        if due.is_some_and(|due: Tick| due <= now) {
            for one in &left {
                // Whoever is gone already is as good.
                let _ = pidfd::send(one.borrow(), Signal::Kill);
            }
            return;
        }
        let ended: Vec<_> = sources.iter().map(Source::is_ready).collect();
        let mut ended = ended.into_iter();
        left.retain(|_| !ended.next().unwrap_or_default());
    }
}
