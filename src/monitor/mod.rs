//! The monitor: what an application calls, and the pool it becomes.
//!
//! [`Monitor::run`] turns the process into the monitor of a pool: it forks the
//! workers, keeps their number, and comes back when a graceful stop is over.
//!
//! * Decisions: [`pool`], with [`pool_events`].
//! * The loop: [`monitor_loop`], with [`reap_workers`], [`busy_workers`], [`pool_size`].
//! * How a worker is made: [`forked`], or for `--exec` [`mod@program`], with
//!   [`program_group`] and [`program_socket`].
//! * What it reports: [`pool_report`].

mod busy_workers;
mod forked;
mod monitor_loop;
mod pool;
mod pool_events;
mod pool_report;
mod pool_size;
mod program;
mod program_group;
mod program_socket;
mod reap_workers;

pub(crate) use crate::monitor::program::program;

use crate::cpus;
use crate::error::{Error, Result};
use crate::monitor::pool::{Authority, PoolRules};
use crate::shared::inherited::OperatorSettings;
use crate::shared::listener::given;
use crate::shared::scoreboard;
use crate::sys::threads::{self, Threads, ThreadsAllowed};
use crate::sys::{clock, poll, process};
use crate::types::{Backoff, Millis, Signal, Slot};
use crate::worker::Worker;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

/// How long main gives a generation unless the operator says otherwise.
const TIMEOUT: Millis = Millis(60_000);
/// How long a worker may take to be ready unless it was set.
const READY_TIMEOUT: Millis = Millis(60_000);
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
    ready_timeout: Millis,
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
            ready_timeout: READY_TIMEOUT,
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

    /// How long the next worker waits after the second death in a row in one slot;
    /// each further one waits twice as long. By default 0.1 s; 0 never waits.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.backoff.delay = delay.into();
        self
    }

    /// The longest of these waits. By default 30 s.
    #[must_use]
    pub fn max_delay(mut self, max_delay: Duration) -> Self {
        self.backoff.max_delay = max_delay.into();
        self
    }

    /// How long a worker may be busy with one thing: from a connection that
    /// [`Context::accept`](crate::Context::accept) has returned, or from
    /// [`Context::busy`](crate::Context::busy), to the next call of either kind. One
    /// that is busy for longer has hung: it is sent SIGABRT, and SIGKILL a second
    /// later, and replaced. By default 0: for ever. Idle workers cause no wake-ups for
    /// it.
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

    /// How long a worker may take to be ready, from its fork. One that takes longer
    /// is told to leave as in a stop, and its slot waits as after a death. By default
    /// 60 s; 0: for ever.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = timeout.into();
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
    /// When the process has more than one thread; when another pool runs in it (a
    /// worker's own cannot either); when a pipe or the shared
    /// memory cannot be made; when a worker had to be killed in the stop. A
    /// worker that cannot be forked is no error: it is tried again.
    pub fn run(mut self) -> Result<()> {
        if self.threads.is_none() {
            refuse_threads(
                "and a forked worker keeps only one; start threads in Worker::run, or see \
                 Monitor::allow_threads",
            )?;
        }
        let _running = Alone::begin()?;
        drop(given(|given| given.inherited.let_go_of_unclaimed()));
        let (settings, authority) = above();
        let mut rules = rules(settings, self.count, self.timeout, self.backoff);
        rules.hang = settings.hang_timeout.unwrap_or(self.hang);
        rules.lifetime = settings.lifetime.unwrap_or(self.lifetime);
        rules.ready_timeout = settings.ready_timeout.unwrap_or(self.ready_timeout);
        let copies = forked::ForkedWorkers::new(&mut self.worker)?;
        monitor_loop::MonitorLoop::new(copies, rules, authority)?.run()
    }
}

/// Whether a pool runs in this process.
static RUNS: AtomicBool = AtomicBool::new(false);

/// The one pool that runs in this process: handlers, the wake-up pipe and what was
/// handed down are the process's.
struct Alone(());

impl Alone {
    fn begin() -> Result<Self> {
        if RUNS.swap(true, Ordering::SeqCst) {
            return Err(Error::plain(format_args!(
                "cannot run a second pool in this process: Monitor::run has not returned yet"
            )));
        }
        Ok(Self(()))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        RUNS.store(false, Ordering::SeqCst);
    }
}

/// What the operator has set, and which process sees a stop through.
fn above() -> (OperatorSettings, Authority) {
    given(|given| {
        let settings = given.inherited.settings;
        // A second pool of the same program has no lifeline any more, and so no main
        // above that would see its stop through.
        let lifeline = given.inherited.main.as_ref().and_then(|main| main.lifeline.as_ref());
        if given.inherited.main.is_some()
            && let Some(main) = process::parent()
        {
            // Main may have taken us for a program that wants another signal. That
            // it is gone shows at the lifeline.
            let _ = process::follow_parent(main, Signal::Term);
        }
        let authority = match lifeline {
            None => Authority::Own,
            Some(_) => Authority::Main { timeout: settings.timeout.unwrap_or(TIMEOUT) },
        };
        (settings, authority)
    })
}

/// What the pool keeps to: what the operator has set, or else this.
fn rules(
    settings: OperatorSettings,
    count: Option<u16>,
    timeout: Millis,
    backoff: Backoff,
) -> PoolRules {
    let delay = settings.delay.unwrap_or(backoff.delay);
    let max_delay = settings.max_delay.unwrap_or(backoff.max_delay);
    PoolRules {
        count: settings.count.or(count).unwrap_or_else(cpus::by_default),
        timeout: settings.timeout.unwrap_or(timeout),
        backoff: Backoff { delay, max_delay },
        ready_after: settings.ready_after,
        hang: settings.hang_timeout.unwrap_or_default(),
        lifetime: settings.lifetime.unwrap_or_default(),
        ready_timeout: settings.ready_timeout.unwrap_or(READY_TIMEOUT),
        rows: scoreboard::ROWS.into(),
        seed: process::id().raw().unsigned_abs(),
    }
}

/// Says how many threads the process has if it has more than one, `and` what that
/// means: what a second one holds is held for ever in the forked process.
pub(super) fn refuse_threads(and: &str) -> Result<()> {
    let patience = clock::now().after(AFTER_A_JOIN);
    loop {
        match threads::threads() {
            Threads::One => return Ok(()),
            Threads::Unknown => {
                return Err(Error::plain(format_args!(
                    "cannot fork: cannot count the threads of this process (is /proc mounted?), {and}"
                )));
            }
            Threads::Many(_) if clock::now() < patience => {
                // A thread that was just joined needs a moment to be gone.
                let soon = clock::now().after(Millis(1));
                poll::wait(&mut [], Some(soon)).map_err(|errno| {
                    Error::system(format_args!("cannot wait for a thread to exit"), errno)
                })?;
            }
            Threads::Many(count) => {
                return Err(Error::plain(format_args!(
                    "cannot fork: this process has {count} threads, {and}"
                )));
            }
        }
    }
}
