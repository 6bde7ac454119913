//! Before main's loop: its options, its sockets, its signals.
//!
//! Everything that can fail does so here, with one line and an exit status,
//! before anything is started.

use super::{MainProcess, check_command, notify_socket, read_options};
use crate::config::command_line::Invocation;
use crate::config::help;
use crate::config::option_table::{Options, PathOption};
use crate::error::{Error, Result, cannot};
use crate::main_process::control::Control;
use crate::main_process::executable::{self, OwnProgram};
use crate::main_process::generations::Generations;
use crate::main_process::launch::refuse_unsignalled;
use crate::main_process::listener_store::Listeners;
use crate::main_process::load_config::Loads;
use crate::main_process::open_listeners::{adopt_sockets, bind_anew, reclaim_sockets};
use crate::main_process::probe::InheritedState;
use crate::main_process::reexec::Reexec;
use crate::main_process::reporter::Reporter;
use crate::main_process::resources::{self, Resources};
use crate::main_process::service_manager::ServiceManager;
use crate::printable::Quoted;
use crate::shared::closer::Closing;
use crate::sys::signal::{self, OriginalDispositions};
use crate::sys::{clock, fd, process};
use crate::types::{Level, Role, Signal, Tick};
use crate::{log, monitor};
use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

/// The exit status when something is wrong with what was asked for.
const USAGE: u8 = 2;

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
    let inherited = OriginalDispositions::capture();
    fd::fill_standard();
    log::begin(Role::Main, Level::Info);
    if let Some(status) = monitor::program(own, inherited) {
        return status;
    }
    let mut status = 1;
    let started = match InheritedState::take() {
        Err(error) => Err(error),
        Ok(None) => start(inherited, own, words, &mut status),
        Ok(Some(state)) => resume(&state, inherited, own, words).map(Started::Ready),
    };
    match started {
        Ok(Started::Ready(main)) => {
            let status = main.run(&blocked);
            drop(blocked);
            // After a restart in place the earlier mask holds all of them back.
            signal::unblock_all();
            status
        }
        Ok(Started::Said(text)) => print(text),
        Ok(Started::Checked(options, start)) => {
            let (shown, is_well) = check_command::check(*options, &start);
            let printed = print(&shown);
            if is_well { printed } else { USAGE }
        }
        Err(error) => {
            log::plainly(&error);
            status
        }
    }
}

// The frame of a start, 8 KB, does not lie below the loop as long as main lives.
/// Goes on with what another image of this main has handed down; the child of a probe
/// answers, and ends here.
#[inline(never)]
fn resume(
    state: &InheritedState,
    inherited: OriginalDispositions,
    own: &'static [&'static CStr],
    words: &'static [&'static CStr],
) -> Result<&'static mut MainProcess> {
    let (resources, directory) = (Resources::empty_value(), CString::default());
    let main = Box::leak(MainProcess::assemble(resources, inherited, directory, own, words));
    if state.is_probe() {
        state.answer(main);
        process::exit_now(0);
    }
    main.resume(state)?;
    Ok(main)
}

/// What a start comes to.
enum Started {
    /// Main is ready to run.
    Ready(&'static mut MainProcess),
    /// Nothing more than this was asked for.
    Said(&'static str),
    /// What the options come to was asked for, seen from where main was started.
    Checked(Box<Options>, CString),
}

/// Reads the options and sets main up. With an error, `status` is what to leave with.
#[inline(never)]
fn start(
    inherited: OriginalDispositions,
    own: &'static [&'static CStr],
    words: &'static [&'static CStr],
    status: &mut u8,
) -> Result<Started> {
    let mut options = Options::default();
    let start = executable::start_directory();
    let mut notes = Vec::new();
    let seen_from = start.as_deref().unwrap_or(c".");
    let request = read_options::read(words, seen_from, &mut options, &mut notes)
        .inspect_err(|_| *status = 2)?;
    match request {
        Invocation::Run => {}
        Invocation::Check => {
            notes.iter().for_each(|note| log::plainly(&Error::plain(format_args!("{note}"))));
            return Ok(Started::Checked(Box::new(options), seen_from.into()));
        }
        Invocation::Help => return Ok(Started::Said(help::HELP)),
        Invocation::Version => return Ok(Started::Said(help::VERSION)),
    }
    log::begin(Role::Main, options.verbosity);
    notes.iter().for_each(|note| log::log(Level::Warn, format_args!("configuration: {note}")));
    let resources = Resources::new(&options)?;
    let main = Box::leak(MainProcess::assemble(resources, inherited, start?, own, words));
    main.begin(options, status)?;
    Ok(Started::Ready(main))
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

impl MainProcess {
    /// Main with what it needs of the kernel. To be leaked: the kernel takes everything
    /// back at the end of the process.
    pub(super) fn assemble(
        resources: Resources,
        inherited: OriginalDispositions,
        start: CString,
        own: &'static [&'static CStr],
        words: &'static [&'static CStr],
    ) -> Box<Self> {
        let Resources { events, readiness, wake, lifeline, supervisor, terminal } = resources;
        let now = clock::now();
        Box::new(Self {
            options: Options::default(),
            program: OwnProgram::new(own, words, start, inherited),
            supervisor,
            listeners: Listeners::default(),
            generations: Generations::new(),
            wake,
            lifeline,
            terminal,
            since: now,
            now,
            status_at: Tick(0),
            interrupts: 0,
            reporter: Reporter::new(events, readiness, now),
            closing: Closing::new(),
            reads: Loads::new(),
            finished: None,
            sources: Vec::new(),
            control: Control::default(),
            restart: Reexec::default(),
        })
    }

    /// Everything else that can fail before anything is started; `status` is
    /// what to leave with then.
    fn begin(&mut self, mut options: Options, status: &mut u8) -> Result<()> {
        process::set_name(c"panzer:main");
        process::adopt_orphans().map_err(cannot("become the reaper of orphaned processes"))?;
        adopt_sockets(&options, &mut self.listeners, &mut self.closing);
        // Before anything that another main, if one runs, could miss.
        self.control.begin(options.path(PathOption::Pid), status)?;
        let (start, listeners) = (&self.program.start, &mut self.listeners);
        reclaim_sockets(&mut options, start, listeners, &mut self.closing);
        self.reporter.above = ServiceManager::connect();
        // One that is in the way of a bind is open above too: without this each next start
        // would be handed it again.
        self.forget_above();
        self.apply_options(options).inspect_err(|_| self.control.leave())?;
        self.listeners.put_in_order(&self.options.bind);
        if let Some(path) = self.control.pid_path() {
            let path = executable::from(&self.program.start, Some(path));
            log::log(Level::Info, format_args!("pid file {}", Quoted(path.to_bytes())));
        }
        let beside = self.control.beside_pid_file(&self.program.start);
        let account = self.options.account.as_ref();
        notify_socket::remove_leftovers(beside.as_deref(), account);
        catch_signals(self.program.inherited);
        Ok(())
    }

    /// Goes on where another image of this process has stopped.
    fn resume(&mut self, inherited_state: &InheritedState) -> Result<()> {
        inherited_state.read(self)?;
        process::set_name(c"panzer:main");
        log::begin(Role::Main, self.options.verbosity);
        signal::expect_ready(self.generations.newest_leader());
        catch_signals(self.program.inherited);
        self.after_restart();
        Ok(())
    }

    /// Does what `options` ask for, from the next generation on; nothing of it
    /// when a socket cannot be opened.
    pub(super) fn apply_options(&mut self, mut options: Options) -> Result<()> {
        if let Some(account) = &options.account {
            refuse_unsignalled(account)?;
        }
        bind_anew(&mut options, &self.program.start, &mut self.listeners, &mut self.closing)?;
        self.program.directory =
            executable::from(&self.program.start, options.path(PathOption::Chdir));
        self.supervisor.configure(resources::rules(&options));
        log::begin(Role::Main, options.verbosity);
        self.options = options;
        Ok(())
    }
}

/// Installs the handlers, while everything is blocked.
fn catch_signals(inherited: OriginalDispositions) {
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
