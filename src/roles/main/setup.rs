//! Before main's loop: its options, its sockets, its signals.
//!
//! Everything that can fail does so here, with one line and an exit status,
//! before anything is started.

use super::operator::Operator;
use super::restart::{self, Restart};
use super::trial::Handed;
use super::{Main, config, spawn};
use crate::error::{Error, Result, cannot};
use crate::keep::kills::Kills;
use crate::keep::listeners::{Listeners, Origin};
use crate::keep::log::{self, Events};
use crate::keep::socket;
use crate::plan::service::{Readiness, Rules, Service};
use crate::roles::monitor;
use crate::sys::fd::{self, Blocking, Fd};
use crate::sys::output::Output;
use crate::sys::signal::{self, Inherited, Wake};
use crate::sys::{clock, env, file, process, socket as kernel};
use crate::text;
use crate::types::{Account, Backoff, Generation, Level, Role, Signal, Tick};
use crate::words::address::Bind;
use crate::words::cli::Request;
use crate::words::options::{Number, Options, Path};
use crate::words::printable::Quoted;
use crate::words::{decimal, fdname, shown, usage};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

/// Runs the `panzer` program and returns its exit status.
///
/// `words` are the program's name and the words behind it. Blocks until main is
/// told to stop. Call it before anything else has changed a signal.
pub fn program(words: &'static [&'static CStr]) -> u8 {
    run(words, words)
}

/// The same in a process whose `own` words are others.
pub(super) fn run(own: &'static [&'static CStr], words: &'static [&'static CStr]) -> u8 {
    let blocked = signal::block_all();
    let inherited = Inherited::capture();
    fd::fill_standard();
    log::begin(Role::Main, Level::Info);
    if let Some(status) = monitor::program(own, inherited) {
        return status;
    }
    let mut status = 1;
    let begun = match Handed::take() {
        Err(error) => Err(error),
        Ok(None) => match start(inherited, own, words, &mut status) {
            Ok(Begun::Main(main)) => Ok(main),
            Ok(Begun::Said(text)) => return print(&text),
            Err(error) => Err(error),
        },
        Ok(Some(handed)) => {
            Main::new(None, inherited, CString::default(), own, words).and_then(|main| {
                if handed.is_trial() {
                    handed.answer(main);
                    process::exit_now(0);
                }
                main.resume(&handed)?;
                Ok(main)
            })
        }
    };
    match begun {
        Ok(main) => {
            drop(blocked);
            signal::unblock_all();
            main.run()
        }
        Err(error) => {
            complain(&error);
            status
        }
    }
}

/// What a start comes to.
enum Begun {
    /// Main is ready to run.
    Main(&'static mut Main),
    /// Nothing more than this was asked for.
    Said(Cow<'static, str>),
}

/// Reads the options and sets main up. With an error, `status` is what to leave with.
fn start(
    inherited: Inherited,
    own: &'static [&'static CStr],
    words: &'static [&'static CStr],
    status: &mut u8,
) -> Result<Begun> {
    let mut options = Options::default();
    let start = spawn::start_directory();
    let request = config::read(words, start.as_deref().unwrap_or(c"."), &mut options)
        .inspect_err(|_| *status = 2)?;
    match request {
        Request::Run => {}
        Request::Check => return Ok(Begun::Said(shown::show(&options).into())),
        Request::Help => return Ok(Begun::Said(usage::HELP.into())),
        Request::Version => return Ok(Begun::Said(usage::VERSION.into())),
    }
    log::begin(Role::Main, options.verbosity);
    let main = Main::new(Some(&options), inherited, start?, own, words)?;
    main.begin(options, status)?;
    Ok(Begun::Main(main))
}

fn print(text: &str) -> u8 {
    let out = fd::Borrowed::standard(fd::Standard::Output);
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match fd::write(out, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(_) => return 1,
        }
    }
    0
}

/// One line on standard error, for somebody who has just typed a command.
pub(super) fn complain(what: &Error) {
    let line = text::compose(format_args!("panzer: {what}\n"));
    // Nobody is left to be told.
    let _ = fd::write(fd::Borrowed::standard(fd::Standard::Error), line.as_bytes());
}

/// What the plan keeps to.
fn rules(options: &Options) -> Rules {
    Rules {
        timeout: options.span(Number::Timeout),
        // Of programs of its own each worker is to live so long.
        readiness: match options.ready_after().filter(|_| !options.exec()) {
            None => Readiness::Notify,
            Some(span) => Readiness::After(span),
        },
        ready_timeout: options.span(Number::ReadyTimeout),
        probation: options.span(Number::Probation),
        drain_delay: options.span(Number::DrainDelay),
        backoff: Backoff {
            delay: options.span(Number::Delay),
            max_delay: options.span(Number::MaxDelay),
        },
        give_up: options.effective(Number::GiveUp) as u32,
        seed: process::id().raw().unsigned_abs(),
    }
}

impl Main {
    /// Main with what it needs of the kernel. It is never taken down: the kernel
    /// takes everything back at the end of the process.
    fn new(
        options: Option<&Options>,
        inherited: Inherited,
        start: CString,
        own: &'static [&'static CStr],
        words: &'static [&'static CStr],
    ) -> Result<&'static mut Self> {
        // Before anything of ours is open, which could have the number that the
        // operator named.
        let usual = Options::default();
        let options = options.unwrap_or(&usual);
        let events = open_events(options)?;
        let wake = Wake::open().map_err(cannot("make a pipe"))?;
        let lifeline = fd::pipe(Blocking::Yes).map_err(cannot("make a pipe"))?;
        let now = clock::now();
        Ok(Box::leak(Box::new(Self {
            options: Options::default(),
            own,
            words,
            directory: CString::default(),
            id: process::id(),
            binary: restart::path_of_image(own, &start),
            start,
            inherited,
            plan: Service::new(rules(options), now),
            listeners: Listeners::default(),
            runs: Vec::new(),
            current: Generation(0),
            wake,
            lifeline,
            above: None,
            terminal: has_terminal(),
            since: now,
            now,
            status_at: Tick(0),
            closed: false,
            interrupts: 0,
            reason: None,
            events,
            kills: Kills::new(),
            dropped_told: 0,
            refused: (0, Tick(0)),
            finished: None,
            operator: Operator::default(),
            restart: Restart::default(),
        })))
    }

    /// Everything else that can fail before anything is started; `status` is
    /// what to leave with then.
    fn begin(&mut self, options: Options, status: &mut u8) -> Result<()> {
        process::set_name(c"panzer:main");
        process::adopt_orphans().map_err(cannot("become the reaper of orphans"))?;
        adopt_sockets(&mut self.listeners);
        // Before anything that another main, if one runs, could miss.
        self.operator.begin(options.path(Path::Pid), status)?;
        self.keep_to(options).inspect_err(|_| self.operator.leave())?;
        self.above = connect_above();
        catch_signals(self.inherited);
        Ok(())
    }

    /// Goes on where another image of this process has stopped.
    fn resume(&mut self, handed: &Handed) -> Result<()> {
        handed.read(self)?;
        process::set_name(c"panzer:main");
        log::begin(Role::Main, self.options.verbosity);
        self.above = connect_above();
        signal::expect_ready(self.runs.last().map(|run| run.leader));
        catch_signals(self.inherited);
        self.begin_anew();
        Ok(())
    }

    /// Does what `options` ask for, from the next generation on; nothing of it
    /// when a socket cannot be opened.
    pub(super) fn keep_to(&mut self, mut options: Options) -> Result<()> {
        bind_anew(&mut options, &self.start, &mut self.listeners)?;
        self.directory = spawn::from(&self.start, options.path(Path::Chdir));
        self.plan.configure(rules(&options));
        log::begin(Role::Main, options.verbosity);
        self.options = options;
        Ok(())
    }
}

/// The descriptor of `--event-fd`, if there is one.
fn open_events(options: &Options) -> Result<Events> {
    let Some(number) = options.number(Number::EventFd) else { return Ok(Events::default()) };
    let output = Output::named(number as i32).map_err(|errno| {
        Error::system(format_args!("cannot write events to descriptor {number}"), errno)
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
// Inlined into its one caller it would make that frame larger, and with it
// every access to the frame.
#[inline(never)]
fn adopt_sockets(listeners: &mut Listeners) {
    let number = |name, most| decimal::parse(env::var(name)?.to_bytes(), most);
    if number(c"LISTEN_PID", u32::MAX) != Some(process::id().raw().unsigned_abs()) {
        return;
    }
    let count = number(c"LISTEN_FDS", 1_024).unwrap_or(0);
    let names = env::var(c"LISTEN_FDNAMES").unwrap_or_default();
    let mut names = fdname::split(names.to_bytes());
    for number in 3..3 + count {
        let name = names.next().unwrap_or_default();
        let Some(fd) = fd::adopt(number) else { continue };
        let name = fdname::escape(&fdname::unescape(name)).unwrap_or_default();
        if let Err(what) = listeners.keep(fd, name, Origin::Adopted, true) {
            log::log(
                Level::Warn,
                format_args!("descriptor {number} of the service manager {what}: closed"),
            );
        }
    }
}

/// Has the paths of `options` be as seen from `start`, and opens the sockets of
/// `--bind` that are not open yet. Those that are not asked for any more stay
/// until no generation has them. Where one cannot be opened, none is.
pub(super) fn bind_anew(
    options: &mut Options,
    start: &CStr,
    listeners: &mut Listeners,
) -> Result<()> {
    spawn::look_from(start, options);
    let before = listeners.count();
    let mut seen: &[Bind] = &[];
    for bind in &options.bind {
        if !bind.chooses() && seen.iter().any(|other| other.address == bind.address) {
            return Err(Error::plain(format_args!("cannot listen on {bind} twice")));
        }
        seen = options.bind.get(..=seen.len()).unwrap_or_default();
    }
    for bind in &options.bind {
        if !listeners.has(bind, before) {
            // What fails leaves no path of a Unix socket behind.
            bind_socket(bind, options.account.as_ref(), listeners)
                .inspect_err(|_| listeners.close_from(before))?;
        }
    }
    listeners.want(&options.bind);
    Ok(())
}

fn bind_socket(bind: &Bind, owner: Option<&Account>, listeners: &mut Listeners) -> Result<()> {
    let fd = socket::open(&bind.address, owner)?;
    let origin = Origin::Bound(bind.clone());
    let kept = listeners.keep(fd, bind.carried(), origin, true);
    kept.map(drop).map_err(|what| Error::plain(format_args!("cannot listen on {bind}: it {what}")))
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
    [Signal::Ttou, Signal::Winch, Signal::Pipe, Signal::Xfsz].into_iter().for_each(signal::ignore);
    if !inherited.ignored(Signal::Hup) {
        signal::catch(Signal::Hup);
    }
}
