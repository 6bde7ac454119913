//! How many threads there are: unshare(2), `/proc/self/task` of proc(5).

use super::{Errno, check, file};

/// The answer of [`threads`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Safe to fork.
    One,
    /// More than one; 0 when the number cannot be told.
    Many(u64),
    /// The kernel answers neither question.
    Unknown,
}

/// How many threads the process has, as far as can be told.
///
/// `unshare(CLONE_THREAD)` does nothing with one thread and says `EINVAL` with
/// more: unshare(2). Where a sandbox forbids it (`EPERM`), the link count of
/// `/proc/self/task` is two more than the number of threads.
#[must_use]
pub fn threads() -> Threads {
    // SAFETY: CLONE_THREAD alone changes nothing and touches no memory.
    match check(unsafe { libc::unshare(libc::CLONE_THREAD) }) {
        Ok(_) => Threads::One,
        Err(Errno(libc::EINVAL)) => {
            Threads::Many(file::links(c"/proc/self/task").saturating_sub(2))
        }
        Err(_) => match file::links(c"/proc/self/task").saturating_sub(2) {
            0 => Threads::Unknown,
            1 => Threads::One,
            more => Threads::Many(more),
        },
    }
}

/// Says that a program forks although it has more than one thread.
#[derive(Clone, Copy, Debug)]
pub struct ThreadsAllowed(());

impl ThreadsAllowed {
    /// Gives up what [`Monitor::run`](crate::Monitor::run) makes sure of: a
    /// worker has only the thread that forked it, so whatever lock another one
    /// holds at that moment (of the allocator, of a library) is held in the
    /// worker for ever, and what it protects may be half changed.
    ///
    /// # Examples
    ///
    /// A pool may then run in any thread. That thread is there as long as its
    /// workers, so that they are not told too early that their monitor is gone.
    ///
    /// ```standalone_crate
    /// # use panzer::sys::{Signal, process, signal};
    /// use panzer::{Context, Monitor, Source, ThreadsAllowed};
    ///
    /// let serve = |context: &mut Context| {
    ///     context.ready();
    /// #     signal::send(process::parent().ok_or("alone")?, Signal::Term)?;
    ///     while !context.is_stopping() {
    ///         panzer::wait(&mut [Source::readable(context.stop_fd())], None)?;
    ///     }
    ///     Ok(())
    /// };
    /// let pool = move || {
    ///     // SAFETY: the first thread waits for this one, and holds no lock.
    ///     let token = unsafe { ThreadsAllowed::new() };
    ///     Monitor::new(serve).count(2).allow_threads(token).run().is_ok()
    /// };
    /// assert!(std::thread::spawn(pool).join().is_ok_and(|is_well| is_well));
    /// ```
    ///
    /// # Safety
    ///
    /// No thread of the program can leave what a worker touches in such a state.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}
