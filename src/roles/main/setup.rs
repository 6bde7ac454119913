//! Before main's loop: its options, its sockets, its signals.
//!
//! Everything that can fail does so here, with one line and an exit status,
//! before anything is started.

use super::operator::Operator;
use super::{Main, spawn};
use crate::error::{Error, Result};
use crate::keep::listeners::{Listeners, Origin};
use crate::keep::log::{self, Events};
use crate::keep::socket;
use crate::plan::service::{Readiness, Rules, Service};
use crate::sys::fd::{self, Blocking, Fd};
use crate::sys::output::Output;
use crate::sys::signal::{self, Inherited, Wake};
use crate::sys::{clock, env, file, process, socket as kernel};
use crate::types::{Backoff, Generation, Level, Role, Signal, Tick};
use crate::words::address::Bind;
use crate::words::cli::{self, Request};
use crate::words::options::{Options, Ready};
use crate::words::printable::Quoted;
use crate::words::{decimal, fdname, usage};
use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::ManuallyDrop;

/// Runs the `panzer` program and returns its exit status.
///
/// `args` are the words behind the program's name. Blocks until main is told
/// to stop. Call it before anything else has changed a signal.
#[must_use]
pub fn program(args: &[&CStr]) -> u8 {
    let blocked = signal::block_all();
    let inherited = Inherited::capture();
    fd::fill_standard();
    log::begin(Role::Main, Level::Info);
    let options = match cli::parse(args) {
        Ok(Request::Run(options)) => options,
        Ok(Request::Help) => return print(usage::HELP),
        Ok(Request::Version) => return print(usage::VERSION),
        Err(usage) => {
            complain(&usage.to_string());
            return 2;
        }
    };
    log::begin(Role::Main, options.verbosity);
    // The kernel takes everything back at the end of the process.
    let mut status = 1;
    match Main::new(options, inherited, &mut status).map(ManuallyDrop::new) {
        Ok(mut main) => {
            drop(blocked);
            signal::unblock_all();
            main.run()
        }
        Err(error) => {
            complain(&error.to_string());
            status
        }
    }
}

fn print(text: &str) -> u8 {
    let out = fd::Borrowed::standard(fd::Standard::Output);
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match fd::write(out, rest) {
            Ok(written) => rest = &rest[written..],
            Err(_) => return 1,
        }
    }
    0
}

/// One line on standard error, for somebody who has just typed a command.
fn complain(what: &str) {
    let line = alloc::format!("panzer: {what}\n");
    // Nobody is left to be told.
    let _ = fd::write(fd::Borrowed::standard(fd::Standard::Error), line.as_bytes());
}

fn rules(options: &Options) -> Rules {
    Rules {
        timeout: options.timeout(),
        readiness: match options.ready {
            Ready::Notify => Readiness::Notify,
            Ready::After(span) => Readiness::After(span),
        },
        ready_timeout: options.ready_timeout,
        probation: options.probation,
        drain_delay: options.drain_delay,
        backoff: Backoff { delay: options.delay(), max_delay: options.max_delay() },
        give_up: options.give_up,
        seed: process::id().raw().unsigned_abs(),
    }
}

impl Main {
    /// Everything that can fail before anything is started; `status` is what to
    /// leave with then.
    pub(super) fn new(options: Options, inherited: Inherited, status: &mut u8) -> Result<Self> {
        let cannot =
            |what: &'static str| move |errno| Error::system(format_args!("cannot {what}"), errno);
        // Before anything of ours is open, which could have the number that the
        // operator named.
        let events = open_events(&options)?;
        let wake = Wake::open().map_err(cannot("make a pipe"))?;
        let lifeline = fd::pipe(Blocking::Yes).map_err(cannot("make a pipe"))?;
        process::set_name(c"panzer:main");
        process::adopt_orphans().map_err(cannot("become the reaper of orphans"))?;
        let mut listeners = Listeners::default();
        adopt_sockets(&mut listeners);
        let start = spawn::start_directory()?;
        // Before anything that another main, if one runs, could miss.
        let mut operator = Operator::default();
        operator.begin(options.pid.as_deref(), status)?;
        bind_sockets(&options, &start, &mut listeners).inspect_err(|_| operator.leave())?;
        catch_signals(inherited);
        let now = clock::now();
        Ok(Self {
            plan: Service::new(rules(&options), now),
            directory: spawn::from(&start, options.chdir.as_deref()),
            options: spawn::from_start(options, &start),
            inherited,
            listeners,
            runs: Vec::new(),
            current: Generation(0),
            wake,
            lifeline,
            above: connect_above(),
            terminal: has_terminal(),
            since: now,
            status_at: Tick(0),
            closed: false,
            interrupts: 0,
            reason: None,
            events,
            dropped_told: 0,
            refused: (0, Tick(0)),
            finished: None,
            operator,
        })
    }
}

/// The descriptor of `--event-fd`, if there is one.
fn open_events(options: &Options) -> Result<Events> {
    let Some(number) = options.event_fd else { return Ok(Events::default()) };
    let output = Output::named(number).map_err(|errno| {
        Error::system(
            format_args!("cannot write events to descriptor {}", number.unsigned_abs()),
            errno,
        )
    })?;
    Ok(Events::new(Some(output)))
}

/// The service manager that wants to hear of us, if there is one.
fn connect_above() -> Option<Fd> {
    let name = env::var(c"NOTIFY_SOCKET")?;
    let connected = kernel::connect_notify(name.to_bytes());
    if let Err(errno) = connected {
        let name = Quoted(name.to_bytes());
        log::log(Level::Warn, format_args!("cannot reach the service manager at {name}: {errno}"));
    }
    connected.ok()
}

/// Takes over the sockets of a service manager: sd_listen_fds(3).
fn adopt_sockets(listeners: &mut Listeners) {
    let pid = env::var(c"LISTEN_PID");
    let count = env::var(c"LISTEN_FDS");
    let names = env::var(c"LISTEN_FDNAMES").unwrap_or_default();
    let pid = pid.and_then(|pid| decimal::parse(pid.to_bytes(), u32::MAX));
    if pid != Some(process::id().raw().unsigned_abs()) {
        return;
    }
    let count = count.and_then(|count| decimal::parse(count.to_bytes(), 1_024)).unwrap_or(0);
    let mut names = fdname::split(names.to_bytes());
    for number in 3..3 + count {
        let name = names.next().unwrap_or_default();
        let Some(fd) = fd::adopt(number) else { continue };
        let name = fdname::escape(&fdname::unescape(name)).unwrap_or_default();
        if let Some(what) = listeners.keep(fd, name, Origin::Adopted).objection() {
            log::log(
                Level::Warn,
                format_args!("descriptor {number} of the service manager {what}: closed"),
            );
        }
    }
}

fn bind_sockets(options: &Options, start: &CStr, listeners: &mut Listeners) -> Result<()> {
    for bind in &options.bind {
        // A start that fails leaves no path of a Unix socket behind.
        bind_socket(bind, start, listeners).inspect_err(|_| listeners.close_all())?;
    }
    Ok(())
}

fn bind_socket(bind: &Bind, start: &CStr, listeners: &mut Listeners) -> Result<()> {
    let fd = socket::open(&spawn::address_from(start, &bind.address))?;
    let name = bind.name.clone().unwrap_or_else(|| bind.address.to_string());
    let name = fdname::escape(name.as_bytes()).unwrap_or_default();
    match listeners.keep(fd, name, Origin::Bound).objection() {
        Some(what) => Err(Error::plain(format_args!("cannot listen on {bind}: it {what}"))),
        None => Ok(()),
    }
}

/// Whether this session has a terminal: /dev/tty opens.
pub(super) fn has_terminal() -> bool {
    file::open(c"/dev/tty", file::Mode::Read).is_ok()
}

/// Installs the handlers, while everything is blocked.
fn catch_signals(inherited: Inherited) {
    const CAUGHT: [Signal; 8] = [
        Signal::Int,
        Signal::Quit,
        Signal::Usr1,
        Signal::Usr2,
        Signal::Term,
        Signal::Chld,
        Signal::Ttin,
        Signal::Vtalrm,
    ];
    CAUGHT.into_iter().for_each(signal::catch);
    [Signal::Ttou, Signal::Winch, Signal::Pipe].into_iter().for_each(signal::ignore);
    if !inherited.ignored(Signal::Hup) {
        signal::catch(Signal::Hup);
    }
}
