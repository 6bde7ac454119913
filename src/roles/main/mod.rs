//! Main: keeps sockets and generations, loads nothing, never changes.
//!
//! One loop: wait, tell the plan what happened, do what it says. From the
//! moment the first generation is started nothing but its operator ends main.

mod hear;
mod run;
mod spawn;
mod status;
mod tell;

use crate::error::{Error, Result};
use crate::keep::listeners::{Listeners, Origin};
use crate::keep::log::{self, Events};
use crate::keep::socket;
use crate::plan::service::{Action, Event, Readiness, Rules, Service};
use crate::sys::fd::{self, Blocking, Fd};
use crate::sys::output::Output;
use crate::sys::poll::{self, Source};
use crate::sys::signal::{self, Hangup, Inherited, Wake};
use crate::sys::{clock, env, file, process};
use crate::types::{Backoff, Generation, Level, Millis, Pid, Role, Signal, Tick};
use crate::words::cli::{self, Request};
use crate::words::options::{Options, Ready};
use crate::words::{decimal, fdname, usage};
use alloc::ffi::CString;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::ManuallyDrop;
use run::Run;

/// Waking this much later than asked for means that nobody could run.
const LATE: Millis = Millis(1_000);
/// The least time between two answers to SIGTTIN.
const STATUS: Millis = Millis(100);

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
    match Main::new(options, inherited).map(ManuallyDrop::new) {
        Ok(mut main) => {
            drop(blocked);
            signal::unblock_all();
            main.run()
        }
        Err(error) => {
            complain(&error.to_string());
            1
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

/// The main process.
struct Main {
    options: Options,
    inherited: Inherited,
    directory: CString,
    plan: Service,
    listeners: Listeners,
    runs: Vec<Run>,
    /// The one that was promoted last.
    current: Generation,
    wake: Wake,
    /// The read end goes to every monitor; the write end ends with us.
    lifeline: (Fd, Fd),
    /// Where a service manager wants to hear of us.
    above: Option<Fd>,
    /// Whether there was a terminal that SIGHUP could tell the end of.
    terminal: bool,
    since: Tick,
    status_at: Tick,
    /// Whether the final stop has begun: nothing is stored any more.
    closed: bool,
    /// How many SIGINT have come.
    interrupts: u32,
    /// Why the last process could not be made, or has left, until it is told.
    reason: Option<String>,
    events: Events,
    dropped_told: u32,
    finished: Option<u8>,
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
    /// Everything that can fail before anything is started.
    fn new(options: Options, inherited: Inherited) -> Result<Self> {
        let cannot =
            |what: &'static str| move |errno| Error::system(format_args!("cannot {what}"), errno);
        let wake = Wake::open().map_err(cannot("make a pipe"))?;
        let lifeline = fd::pipe(Blocking::Yes).map_err(cannot("make a pipe"))?;
        process::set_name(c"panzer:main");
        process::adopt_orphans().map_err(cannot("become the reaper of orphans"))?;
        let output = match options.event_fd {
            Some(number) => Some(Output::named(number).map_err(|errno| {
                Error::system(format_args!("cannot write events to descriptor {number}"), errno)
            })?),
            None => None,
        };
        let mut listeners = Listeners::default();
        adopt_sockets(&mut listeners);
        let start = spawn::start_directory()?;
        bind_sockets(&options, &start, &mut listeners)?;
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
            above: env::var(c"NOTIFY_SOCKET")
                .and_then(|name| crate::sys::socket::connect_notify(name.to_bytes()).ok()),
            terminal: has_terminal(),
            since: now,
            status_at: Tick(0),
            closed: false,
            interrupts: 0,
            reason: None,
            events: Events::new(output),
            dropped_told: 0,
            finished: None,
        })
    }

    /// Runs until the plan says with which status to leave.
    fn run(&mut self) -> u8 {
        loop {
            if let Some(status) = self.finished {
                return status;
            }
            self.turn();
        }
    }

    /// Waits once and takes in all that has happened.
    fn turn(&mut self) {
        let deadline = self.plan.deadline();
        let asked = clock::now();
        self.wait(deadline);
        let now = clock::now();
        let expected = deadline.map_or(now, |deadline| deadline.max(asked));
        if now.since(expected) > LATE {
            self.step(now, Event::Overslept { by: now.since(expected) });
        }
        self.wake.empty();
        // The dead first, so that nobody is signalled who is not pinned any
        // more; but what they had said before counts before their death.
        let dead = self.reap();
        let caught = signal::take();
        self.hear(now);
        if let Some(leader) = caught.ready {
            self.ready_by_signal(now, leader);
        }
        for death in dead {
            self.bury(now, death);
        }
        self.note_empty_groups(now);
        self.check_losses(now);
        self.obey(now, &caught);
        if self.plan.deadline().is_some_and(|deadline| deadline <= now) {
            self.step(now, Event::Timer);
        }
    }

    fn wait(&self, deadline: Option<Tick>) {
        let mut sources = Vec::with_capacity(1 + 2 * self.runs.len());
        sources.push(Source::readable(self.wake.source()));
        for run in &self.runs {
            sources.push(Source::readable(run.notify.borrow()));
            if let Some(fate) = &run.fate {
                sources.push(Source::readable(fate.source()));
            }
        }
        if let Err(errno) = poll::wait(&mut sources, deadline) {
            // Out of memory, which may pass; the wake-up pipe alone still works.
            log::log(Level::Error, format_args!("cannot wait for everything: {errno}"));
            let soon = clock::now().after(Millis(100));
            let _ = poll::wait(&mut [Source::readable(self.wake.source())], Some(soon));
        }
    }

    /// Does what the signals say.
    fn obey(&mut self, now: Tick, caught: &signal::Caught) {
        let terminal_gone = caught.hung_up(Hangup::Kernel)
            || caught.hung_up(Hangup::Session) && self.terminal && !has_terminal();
        let by_hangup =
            caught.hung_up(Hangup::Stranger) || caught.hung_up(Hangup::Session) && !terminal_gone;
        if caught.has(Signal::Ttin) && now >= self.status_at {
            self.status_at = now.after(STATUS);
            self.log_status(now);
        }
        if caught.has(Signal::Usr2) {
            log::log(
                Level::Warn,
                format_args!("SIGUSR2: this version cannot restart itself in place"),
            );
        }
        if caught.has(Signal::Usr1) || by_hangup {
            self.step(now, Event::Reload);
        }
        if caught.has(Signal::Term) || terminal_gone {
            self.step(now, Event::Stop);
        }
        for _ in 0..caught.interrupts.min(2) {
            self.interrupted(now);
        }
        if caught.has(Signal::Quit) {
            self.step(now, Event::StopNow);
        }
    }

    /// The first SIGINT stops gracefully, the second one at once.
    fn interrupted(&mut self, now: Tick) {
        let event = if self.interrupts == 0 { Event::Stop } else { Event::StopNow };
        self.interrupts += 1;
        self.step(now, event);
    }

    /// Tells the plan, and does what it orders until it orders nothing more.
    fn step(&mut self, now: Tick, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut actions = Vec::new();
            self.plan.step(now, event, &mut actions);
            for action in actions {
                // Only a spawn has an answer, and a plan orders one at a time.
                next = self.act(now, action).or(next);
            }
        }
    }

    /// Does one thing; says what came of it if the plan has to know.
    // Inlined into its one caller it would make that frame larger, and with it
    // every access to the frame.
    #[inline(never)]
    fn act(&mut self, now: Tick, action: Action) -> Option<Event> {
        match action {
            Action::Spawn { generation } => return Some(self.spawn(now, generation)),
            Action::Signal { generation, monitor, signal } => {
                // One that was reaped in this turn is not pinned any more.
                if self.run_of(generation).is_some_and(|run| run.monitor == Some(monitor)) {
                    self.press(monitor, signal);
                }
            }
            Action::SignalGroup { leader, signal, .. } => self.press_group(leader, signal),
            Action::Promote { generation } => {
                self.current = generation;
                self.listeners.release(self.current, self.oldest());
            }
            Action::Discard { generation } => self.listeners.discard(generation),
            Action::Forget { generation } => {
                self.runs.retain(|run| run.generation != generation);
                self.listeners.release(self.current, self.oldest());
            }
            Action::CloseListeners => self.close_listeners(),
            Action::Finish { status } => self.finish(status),
            Action::Tell(report) => self.tell(now, report),
        }
        None
    }

    fn run_of(&mut self, generation: Generation) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.generation == generation)
    }

    /// The oldest generation of which anybody is left.
    fn oldest(&self) -> Generation {
        self.runs.iter().map(|run| run.generation).min().unwrap_or(self.current)
    }

    fn press(&self, monitor: Pid, signal: Signal) {
        if let Err(errno) = signal::send(monitor, signal) {
            log::log(Level::Error, format_args!("cannot signal monitor {monitor}: {errno}"));
        }
    }

    /// Signals a group only while a child of ours is in it, which pins its number.
    fn press_group(&self, leader: Pid, signal: Signal) {
        if process::has_child_in_group(leader) != Ok(true) {
            return;
        }
        if let Err(errno) = signal::send_group(leader, signal) {
            log::log(Level::Error, format_args!("cannot signal the group of {leader}: {errno}"));
        }
    }

    /// The final stop, before anybody is told: nobody new comes into a queue
    /// of ours, and every generation knows that it serves the last of it.
    fn close_listeners(&mut self) {
        if !self.listeners.any_adopted() {
            for run in &self.runs {
                run.wish_final();
            }
        }
        self.listeners.close_all();
        self.closed = true;
        self.tell_above(b"STOPPING=1");
    }
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
        let address = spawn::address_from(start, &bind.address);
        let fd = socket::open(&address)?;
        let name = bind.name.clone().unwrap_or_else(|| bind.address.to_string());
        let name = fdname::escape(name.as_bytes()).unwrap_or_default();
        listeners.keep(fd, name, Origin::Bound);
    }
    Ok(())
}

/// Whether this session has a terminal: /dev/tty opens.
fn has_terminal() -> bool {
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
