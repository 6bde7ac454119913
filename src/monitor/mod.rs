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
pub mod pool;
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
use crate::shared::inherited::PoolSettings;
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
    own: PoolSettings,
    threads: Option<ThreadsAllowed>,
}

impl<W: Worker> Monitor<W> {
    /// A pool in which every worker runs a copy of `worker`.
    #[must_use]
    pub fn new(worker: W) -> Self {
        Self { worker, own: PoolSettings::default(), threads: None }
    }

    /// The number of workers, 1 to 16,383; what is beyond is taken as the
    /// nearest. By default one for each processor that is online.
    #[must_use]
    pub fn count(mut self, count: u16) -> Self {
        self.own.count = Some(count.clamp(1, Slot::LAST));
        self
    }

    /// How long a graceful stop may take: SIGTERM at once, SIGINT after this,
    /// SIGKILL two seconds later. By default 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.own.timeout = Some(timeout.into());
        self
    }

    /// How long the next worker waits after the second death in a row in one slot;
    /// each further one waits twice as long. By default 0.1 s; 0 never waits.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.own.delay = Some(delay.into());
        self
    }

    /// The longest of these waits. By default 30 s.
    #[must_use]
    pub fn max_delay(mut self, max_delay: Duration) -> Self {
        self.own.max_delay = Some(max_delay.into());
        self
    }

    /// How long a worker may be busy with one thing: from a connection that
    /// [`Context::accept`](crate::Context::accept) has returned, or from
    /// [`Context::busy`](crate::Context::busy), to the next call of either kind. One
    /// that is busy for longer has hung: it is sent SIGABRT, and SIGKILL a second
    /// later, and replaced. By default 0: for ever. Idle workers cause no wake-ups for
    /// it. What counts where several things are in hand,
    /// [`Counter::busy`](crate::Counter::busy) says.
    #[must_use]
    pub fn hang_timeout(mut self, timeout: Duration) -> Self {
        self.own.hang_timeout = Some(timeout.into());
        self
    }

    /// After how long a worker is recycled: counted from when it was ready, and
    /// up to a tenth longer, so that not all are recycled at once. It is asked to
    /// leave as in a stop once another one is ready in its slot; of these there
    /// is one at a time. By default 0: never.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.own.lifetime = Some(lifetime.into());
        self
    }

    /// How long a worker may take to be ready, from its fork. One that takes longer
    /// is told to leave as in a stop, and its slot waits as after a death. By default
    /// 60 s; 0: for ever.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.own.ready_timeout = Some(timeout.into());
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
        let (operator, authority) = above();
        let rules = rules(operator, self.own);
        let copies = forked::ForkedWorkers::new(&mut self.worker, self.threads.is_none())?;
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
fn above() -> (PoolSettings, Authority) {
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

/// What the pool keeps to: what the operator has set, else the application, else the
/// default.
fn rules(operator: PoolSettings, own: PoolSettings) -> PoolRules {
    let usual = Backoff::USUAL;
    PoolRules {
        count: operator.count.or(own.count).unwrap_or_else(cpus::by_default),
        timeout: operator.timeout.or(own.timeout).unwrap_or(TIMEOUT),
        backoff: Backoff {
            delay: operator.delay.or(own.delay).unwrap_or(usual.delay),
            max_delay: operator.max_delay.or(own.max_delay).unwrap_or(usual.max_delay),
        },
        ready_after: operator.ready_after,
        hang_timeout: operator.hang_timeout.or(own.hang_timeout).unwrap_or_default(),
        lifetime: operator.lifetime.or(own.lifetime).unwrap_or_default(),
        ready_timeout: operator.ready_timeout.or(own.ready_timeout).unwrap_or(READY_TIMEOUT),
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

#[cfg(test)]
mod tests {
    use super::{Monitor, rules};
    use crate::shared::inherited::PoolSettings;
    use crate::types::{Backoff, Millis};
    use crate::worker::{Context, Outcome};
    use core::time::Duration;

    #[test]
    fn operator_wins_over_application_and_application_over_default() {
        let no_worker = |_: &mut Context| -> Outcome { Ok(()) };
        let seconds = Duration::from_secs;
        let own = Monitor::new(no_worker)
            .count(7)
            .timeout(seconds(1))
            .delay(seconds(2))
            .max_delay(seconds(3))
            .hang_timeout(seconds(4))
            .lifetime(seconds(5))
            .ready_timeout(seconds(6))
            .own;
        let none = PoolSettings::default();
        let operator = PoolSettings {
            count: Some(8),
            timeout: Some(Millis(11)),
            delay: Some(Millis(12)),
            max_delay: Some(Millis(13)),
            hang_timeout: Some(Millis(14)),
            lifetime: Some(Millis(15)),
            ready_timeout: Some(Millis(16)),
            ..none
        };
        let times = |operator, own| {
            let rules = rules(operator, own);
            let Backoff { delay, max_delay } = rules.backoff;
            let (hang, lifetime) = (rules.hang_timeout, rules.lifetime);
            [rules.timeout, delay, max_delay, hang, lifetime, rules.ready_timeout]
                .map(|time| time.0)
        };
        assert_eq!(times(none, none), [60_000, 100, 30_000, 0, 0, 60_000]);
        assert_eq!(times(none, own), [1_000, 2_000, 3_000, 4_000, 5_000, 6_000]);
        assert_eq!(times(operator, own), [11, 12, 13, 14, 15, 16]);
        assert_eq!((rules(none, own).count, rules(operator, own).count), (7, 8));
    }
}
