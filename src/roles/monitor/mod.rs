//! The monitor: what an application calls, and the pool it becomes.
//!
//! [`Monitor::run`] turns the process into the monitor of a pool: it forks the
//! workers, keeps their number, and comes back when a graceful stop is over.

mod busy;
mod exec;
mod fork;
mod keeper;
mod pool;
mod reap;
mod scale;
mod tell;

pub(in crate::roles) use exec::program;

use super::listen::given;
use super::worker::Worker;
use crate::error::{Error, Result};
use crate::keep::inherited::Settings;
use crate::keep::processors;
use crate::plan::pool::{Authority, Rules};
use crate::sys::process::{self, Threads, ThreadsAllowed};
use crate::sys::{clock, poll};
use crate::types::{Backoff, Millis, Slot};
use core::time::Duration;

/// How long main gives a generation unless the operator says otherwise.
const TIMEOUT: Millis = Millis(60_000);
/// How long a thread that was joined may still be seen by the kernel.
const AFTER_A_JOIN: Millis = Millis(10);

/// An application's pool of workers.
///
/// What the operator has set on `panzer`'s command line wins over what is set
/// here.
#[derive(Debug)]
pub struct Monitor<W> {
    worker: W,
    count: Option<u16>,
    timeout: Millis,
    backoff: Backoff,
    hang: Millis,
    lifetime: Millis,
    threads: Option<ThreadsAllowed>,
}

impl<W: Worker> Monitor<W> {
    /// A pool in which every worker runs a copy of `worker`.
    #[must_use]
    pub fn new(worker: W) -> Self {
        Self {
            worker,
            count: None,
            timeout: TIMEOUT,
            backoff: Backoff::default(),
            hang: Millis(0),
            lifetime: Millis(0),
            threads: None,
        }
    }

    /// The number of workers, 1 to 16,383; what is beyond is taken as the
    /// nearest. By default one for each processor that is online.
    #[must_use]
    pub fn count(mut self, count: u16) -> Self {
        self.count = Some(count.clamp(1, Slot::LAST));
        self
    }

    /// How long a graceful stop may take: SIGTERM at once, SIGINT after this,
    /// SIGKILL two seconds later. By default 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// How long the second replacement in a row waits in one slot; each
    /// further one waits twice as long. By default 0.1 s; 0 never waits.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.backoff.delay = delay.into();
        self
    }

    /// The longest wait of a replacement. By default 30 s.
    #[must_use]
    pub fn max_delay(mut self, max_delay: Duration) -> Self {
        self.backoff.max_delay = max_delay.into();
        self
    }

    /// How long a worker may be busy with one thing: from a connection that
    /// [`Context::accept`](crate::Context::accept) has returned, or from
    /// [`Context::busy`](crate::Context::busy), to the next call of either kind.
    /// One that is busy for longer has hung: it is sent SIGABRT, and SIGKILL a
    /// second later, and replaced. By default 0: for ever. Workers that are idle
    /// wake nobody for it.
    #[must_use]
    pub fn hang_timeout(mut self, timeout: Duration) -> Self {
        self.hang = timeout.into();
        self
    }

    /// After how long a worker is recycled: counted from when it was ready, and
    /// up to a tenth longer, so that not all are recycled at once. It is asked to
    /// leave as in a stop once another one is ready in its slot; of these there
    /// is one at a time. By default 0: never.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime.into();
        self
    }

    /// Forks although the process has more than one thread. The token is made
    /// by an `unsafe` function, which says what is given up.
    #[must_use]
    pub const fn allow_threads(mut self, token: ThreadsAllowed) -> Self {
        self.threads = Some(token);
        self
    }

    /// Forks the workers and keeps their number until told to stop; blocks
    /// until that stop is over.
    ///
    /// SIGTERM, or a first SIGINT, stops gracefully: workers finish what they
    /// have in hand. A SIGINT after either stops now. SIGTTIN logs the
    /// workers. SIGWINCH makes their number the one that `panzer` wants; without
    /// it nothing happens. While this runs, SIGTERM, SIGINT, SIGCHLD, SIGTTIN and
    /// SIGWINCH are the library's; afterwards they are as they were, but under
    /// `panzer` SIGTTIN is ignored.
    ///
    /// Only the library's own workers are reaped: children that the
    /// application has started itself remain its own.
    ///
    /// # Errors
    ///
    /// When the process has more than one thread; when a pipe or the shared
    /// memory cannot be made; when a worker had to be killed in the stop. A
    /// worker that cannot be forked is no error: it is tried again.
    pub fn run(mut self) -> Result<()> {
        if self.threads.is_none() {
            refuse_threads(
                "and a worker has only one of them; start threads in Worker::run, or see \
                 Monitor::allow_threads",
            )?;
        }
        given(|given| given.inherited.let_go_of_unclaimed());
        let (settings, authority) = above();
        let mut rules = rules(settings, self.count, self.timeout, self.backoff);
        rules.hang = settings.hang_timeout.unwrap_or(self.hang);
        rules.lifetime = settings.lifetime.unwrap_or(self.lifetime);
        let copies = fork::Copies::new(&mut self.worker)?;
        pool::Running::new(copies, rules, authority)?.run()
    }
}

/// What the operator has set, and who sees a stop through.
fn above() -> (Settings, Authority) {
    given(|given| {
        let settings = given.inherited.settings;
        // A second pool of the same program has no lifeline any more, and
        // so nobody above who would see its stop through.
        let lifeline = given.inherited.main.as_ref().and_then(|main| main.lifeline.as_ref());
        let authority = match lifeline {
            None => Authority::Own,
            Some(_) => Authority::Main { timeout: settings.timeout.unwrap_or(TIMEOUT) },
        };
        (settings, authority)
    })
}

/// What the pool keeps to: what the operator has set, or else this.
fn rules(settings: Settings, count: Option<u16>, timeout: Millis, backoff: Backoff) -> Rules {
    let delay = settings.delay.unwrap_or(backoff.delay);
    let max_delay = settings.max_delay.unwrap_or(backoff.max_delay);
    Rules {
        count: settings.count.or(count).unwrap_or_else(processors::by_default),
        timeout: settings.timeout.unwrap_or(timeout),
        backoff: Backoff { delay, max_delay },
        ready_after: settings.ready_after,
        hang: settings.hang_timeout.unwrap_or_default(),
        lifetime: settings.lifetime.unwrap_or_default(),
        seed: process::id().raw().unsigned_abs(),
    }
}

/// Says how many threads the process has if it has more than one, `and` what
/// that means: what a second one holds is held for ever in who is forked.
pub(super) fn refuse_threads(and: &str) -> Result<()> {
    let patience = clock::now().after(AFTER_A_JOIN);
    loop {
        match process::threads() {
            Threads::One => return Ok(()),
            Threads::Unknown => {
                return Err(Error::plain(format_args!(
                    "cannot fork: the kernel does not say how many threads the program has, {and}"
                )));
            }
            Threads::Many(_) if clock::now() < patience => {
                // A thread that was just joined needs a moment to be gone.
                let soon = clock::now().after(Millis(1));
                poll::wait(&mut [], Some(soon))
                    .map_err(|errno| Error::system(format_args!("cannot wait"), errno))?;
            }
            Threads::Many(count) => {
                return Err(Error::plain(format_args!(
                    "cannot fork: the program has {count} threads, {and}"
                )));
            }
        }
    }
}
