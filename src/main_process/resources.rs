//! What main needs of the kernel from its first moment to its last.

use crate::config::option_table::{Number, Options};
use crate::error::{Errno, Error, Result, cannot};
use crate::main_process::event_writer::Events;
use crate::main_process::supervisor::{Readiness, Supervisor, SupervisorRules};
use crate::persist::Persist;
use crate::sys::fd::{self, Blocking, Fd};
use crate::sys::output::Output;
use crate::sys::signal::Wake;
use crate::sys::{clock, file, process};
use crate::types::{Backoff, Millis};

/// How long failed starts have to have taken together before main gives up: a
/// database that is away for a moment fails them all at once.
const GIVE_UP_AFTER: Millis = Millis(5_000);

/// How long a start may take before it is told what it waits for.
const SLOW_START: Millis = Millis(10_000);

/// What main makes once in its life. Another image of it is handed all of it down:
/// there is nothing that the kernel could refuse it.
pub(super) struct Resources {
    pub events: Events,
    pub readiness: Option<Fd>,
    pub wake: Wake,
    pub lifeline: (Fd, Fd),
    pub supervisor: Supervisor,
    pub terminal: bool,
}

impl Resources {
    /// Makes all of it for a main that begins.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE` for a pipe, and what is wrong with the number of `--event-fd`
    /// or `--notify-fd`.
    pub fn new(options: &Options) -> Result<Self> {
        // First, before anything of ours is open that could have the number that
        // the operator named.
        let events = open_events(options)?;
        let readiness = adopt_readiness(options)?;
        let wake = Wake::open().map_err(cannot("create a pipe"))?;
        let lifeline = fd::pipe(Blocking::Yes).map_err(cannot("create a pipe"))?;
        let supervisor = Supervisor::new(rules(options), clock::now());
        Ok(Self { events, readiness, wake, lifeline, supervisor, terminal: has_terminal() })
    }

    /// Nothing, to be read over.
    pub fn empty_value() -> Self {
        Self {
            events: Events::default(),
            readiness: None,
            wake: Persist::empty_value(),
            lifeline: Persist::empty_value(),
            supervisor: Supervisor::new(rules(&Options::default()), clock::now()),
            terminal: false,
        }
    }
}

/// The descriptor of `--event-fd`, if there is one.
fn open_events(options: &Options) -> Result<Events> {
    let Some(number) = options.number(Number::EventFd) else { return Ok(Events::default()) };
    let output = Output::named(number as i32).map_err(|errno| {
        Error::system(format_args!("cannot write to --event-fd {number}"), errno)
    })?;
    Ok(Events::new(Some(output)))
}

/// The descriptor of `--notify-fd`, if there is one: it is main's to close.
fn adopt_readiness(options: &Options) -> Result<Option<Fd>> {
    let Some(number) = options.number(Number::NotifyFd) else { return Ok(None) };
    let fd = fd::adopt(number as u32).ok_or(Errno(libc::EBADF)).map_err(|errno| {
        Error::system(format_args!("--notify-fd {number} is not an open descriptor above 2"), errno)
    })?;
    Ok(Some(fd))
}

/// Programs that are ready when they have lived long enough take that time by themselves.
fn slow_start(options: &Options) -> Millis {
    let lives = options.ready_after().unwrap_or(Millis(0));
    SLOW_START.max(Millis(lives.0.saturating_mul(2)))
}

/// What the supervisor keeps to.
pub(super) fn rules(options: &Options) -> SupervisorRules {
    SupervisorRules {
        timeout: options.span(Number::Timeout),
        // Of programs of its own each worker is to live so long.
        readiness: match options.ready_after().filter(|_| !options.exec()) {
            None => Readiness::Notify,
            Some(span) => Readiness::After(span),
        },
        ready_timeout: options.span(Number::ReadyTimeout),
        slow_start: slow_start(options),
        probation: options.span(Number::Probation),
        drain_delay: options.span(Number::DrainDelay),
        backoff: Backoff {
            delay: options.span(Number::Delay),
            max_delay: options.span(Number::MaxDelay),
        },
        give_up: options.effective(Number::GiveUp) as u32,
        give_up_after: GIVE_UP_AFTER,
        seed: process::id().raw().unsigned_abs(),
    }
}

/// Whether this session has a terminal: /dev/tty opens.
pub(super) fn has_terminal() -> bool {
    file::open(c"/dev/tty", file::Mode::Read).is_ok()
}

#[cfg(test)]
mod tests {
    use super::slow_start;
    use crate::config::config_file;
    use crate::config::option_table::Options;
    use crate::types::Millis;

    #[test]
    fn start_is_slow_after_10_s_or_twice_the_time_to_live() {
        for (file, expected) in
            [("ready: notify", 10_000), ("exec: true", 10_000), ("exec: true\nready: 30", 60_000)]
        {
            let mut options = Options::default();
            config_file::apply(file.as_bytes(), &mut options).expect(file);
            assert_eq!(slow_start(&options), Millis(expected), "{file}");
        }
    }
}
