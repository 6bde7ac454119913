//! Reading files that may be on a file server that is away: a child does it, with
//! a deadline, and main serves on and answers meanwhile.
//!
//! ```text
//! reload asked for ──► a child reads the configuration ──► kept, generation wanted
//!        │ while one reads: once more after it          └─► failed, nothing changed
//! start ordered ─────► a child reads the env file ───────► process made
//!                      (only where there is one)        └─► the start has failed
//! ```
//!
//! A child that is late is sent SIGKILL and left: one that waits for a file server
//! does not even end by that. There are at most [`MOST_LEFT`] of those; until one
//! of them has ended, what would need another fails at once. Such a child has none
//! of main's descriptors, so that it holds up no port, no lock and no log.

use super::{MainProcess, file_reader, read_options};
use crate::config::option_table::{Number, Options, PathOption};
use crate::error::{Error, Result};
use crate::log::log;
use crate::main_process::control_socket::{ClientIndex, Waits};
use crate::main_process::executable;
use crate::main_process::file_reader::{Load, Read};
use crate::main_process::launch::ENV_FILE;
use crate::main_process::supervisor::Event;
use crate::persist::{Codec, Direction, Persist as _, persisted};
use crate::printable::Quoted;
use crate::protocol::address::Address;
use crate::shared::listening_socket::SocketPath;
use crate::sys::file;
use crate::sys::poll::Source;
use crate::text;
use crate::types::{Generation, Level, Pid, Tick};
use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

/// How many of them may hang at the same time.
const MOST_LEFT: usize = 4;

/// What children read for main.
#[derive(Debug)]
pub(super) struct Loads {
    configuration: Option<Load>,
    purpose: Purpose,
    /// The environment of this generation.
    environment: Option<Load>,
    generation: Generation,
    /// How many configurations were begun to be read.
    number: u32,
    /// Whether a reload was asked for since then.
    is_wanted_again: bool,
    /// Children that were given up and not reaped yet.
    left: Vec<Pid>,
}

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// A reload.
    Reload,
    /// Main has been restarted, and goes on with what it says now.
    Restarted,
}

persisted! {
    struct Loads {
        configuration, purpose, environment, generation, number, is_wanted_again, left,
    }
}
persisted! { enum Purpose { 0 = Reload, 1 = Restarted } }

impl Loads {
    /// Nothing is read.
    pub const fn new() -> Self {
        Self {
            configuration: None,
            purpose: Purpose::Reload,
            environment: None,
            generation: Generation(0),
            number: 0,
            is_wanted_again: false,
            left: Vec::new(),
        }
    }

    /// Whether a start waits for its environment: the supervisor waits for the answer.
    pub const fn is_starting(&self) -> bool {
        self.environment.is_some()
    }

    /// Whether main was restarted and has not read the configuration again yet.
    pub fn is_after_restart(&self) -> bool {
        self.configuration.is_some() && self.purpose == Purpose::Restarted
    }

    /// What to wait for.
    pub fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        self.each().map(|load| load.source())
    }

    /// When there is something to do here at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        self.each().map(|load| load.due()).min()
    }

    fn each(&self) -> impl Iterator<Item = &Load> {
        self.configuration.iter().chain(&self.environment)
    }

    /// A child of ours was reaped, perhaps one that was given up.
    pub fn note_death(&mut self, pid: Pid) {
        self.left.retain(|left| *left != pid);
        let at_work = self.configuration.iter_mut().chain(&mut self.environment);
        at_work.for_each(|load| load.note_death(pid));
    }

    /// Has a child read, if not too many hang already.
    fn begin(&self, now: Tick, read: impl FnOnce() -> Result<Vec<u8>>) -> Result<Load> {
        if self.left.len() >= MOST_LEFT {
            return Err(Error::plain(format_args!(
                "{MOST_LEFT} earlier children that read files still hang"
            )));
        }
        Load::begin(now, read)
    }

    /// What a child has read of the configuration, or why not, once that is known.
    fn poll_configuration(&mut self, now: Tick, path: &CStr) -> Option<Result<Vec<u8>>> {
        let late = || late(path, ", or looking at the pid file and the Unix sockets,");
        poll(&mut self.configuration, &mut self.left, now, late)
    }

    /// The same of the environment of a generation.
    fn poll_environment(&mut self, now: Tick, path: &CStr) -> Option<Result<Vec<u8>>> {
        poll(&mut self.environment, &mut self.left, now, || late(path, ""))
    }

    /// Nothing is read of the configuration any more; says for what something was.
    fn give_up_configuration(&mut self) -> Option<Purpose> {
        give_up(&mut self.configuration, &mut self.left).then_some(self.purpose)
    }

    /// Nothing is read of an environment any more; says of whose something was.
    fn give_up_environment(&mut self) -> Option<Generation> {
        give_up(&mut self.environment, &mut self.left).then_some(self.generation)
    }
}

/// What a child has read, or why not, once that is known. One that is late is given up.
fn poll(
    load: &mut Option<Load>,
    left: &mut Vec<Pid>,
    now: Tick,
    late: impl FnOnce() -> Error,
) -> Option<Result<Vec<u8>>> {
    match load.as_mut()?.look(now) {
        Read::Open => None,
        Read::Done(read) => {
            *load = None;
            Some(read)
        }
        Read::Late => {
            give_up(load, left);
            Some(Err(late()))
        }
    }
}

/// Gives a child up, if there is one; says whether there was.
fn give_up(load: &mut Option<Load>, left: &mut Vec<Pid>) -> bool {
    let Some(load) = load.take() else { return false };
    if load.end() {
        left.push(load.pid());
    }
    true
}

/// What is said of files that take too long.
fn late(path: &CStr, or: &str) -> Error {
    let name = Quoted(path.to_bytes());
    let limit = file_reader::PATIENCE;
    Error::plain(format_args!(
        "reading {name}{or} timed out after {limit}: is its file server unreachable?"
    ))
}

impl MainProcess {
    /// A reload that an operator asks for by a signal, or over the control socket.
    pub(super) fn reload(&mut self, client: Option<ClientIndex>) {
        if self.supervisor.is_stopping() {
            return;
        }
        if let Some(client) = client {
            self.control.wait_for(client, Waits::Load(self.reads.number.saturating_add(1)));
        }
        self.reporter.above.on_reload(self.reads.number.saturating_add(1));
        if self.reads.configuration.is_some() {
            // What it reads may be older than what this is asked for.
            self.reads.is_wanted_again = true;
        } else {
            self.begin_load(Purpose::Reload);
        }
    }

    /// Reads the configuration again after a restart of main.
    pub(super) fn load_after_restart(&mut self) {
        match self.reads.configuration {
            None => self.begin_load(Purpose::Restarted),
            // A reload is reading it already: that one will do.
            Some(_) => self.told_restarted(),
        }
    }

    fn begin_load(&mut self, purpose: Purpose) {
        self.reads.is_wanted_again = false;
        self.reads.purpose = purpose;
        if purpose == Purpose::Reload {
            self.reads.number = self.reads.number.saturating_add(1);
        }
        match self.reads.begin(self.now, || self.read_configuration()) {
            Ok(load) => self.reads.configuration = Some(load),
            Err(reason) => self.end_load(Err(reason)),
        }
    }

    /// In a child: what the command line and the configuration say now, and what is
    /// to be said of it.
    fn read_configuration(&self) -> Result<Vec<u8>> {
        let (mut options, mut notes) = (read_options::again(&self.options), Vec::new());
        read_options::read(self.program.words, &self.program.start, &mut options, &mut notes)?;
        self.look_ahead(&options);
        let mut codec = Codec::empty_value();
        options.persist(&mut codec);
        notes.persist(&mut codec);
        Ok(codec.bytes().to_owned())
    }

    /// In a child: looks at the paths that main looks at when it takes these options
    /// over, so that the child is what waits for the file server of one.
    fn look_ahead(&self, options: &Options) {
        for bind in &options.bind {
            if let Address::Unix(path) = &bind.address {
                let _ = file::identity_at(&executable::from(&self.program.start, Some(path)));
            }
        }
        let bound = self.listeners.each().filter_map(|shown| shown.path.map(SocketPath::name));
        for path in bound.chain(self.control.pid_path()) {
            let _ = file::identity_at(path);
        }
    }

    /// Looks what has come of what is read.
    pub(super) fn check_reads(&mut self) {
        if self.supervisor.is_stopping() {
            return self.give_up_loads();
        }
        let path = self.options.path(PathOption::Config).unwrap_or(read_options::USUAL);
        if let Some(read) = self.reads.poll_configuration(self.now, path) {
            self.end_load(read.and_then(decode));
        }
        self.look_at_environment();
    }

    /// A configuration was read, or was not.
    fn end_load(&mut self, read: Result<(Options, Vec<String>)>) {
        let purpose = self.reads.purpose;
        let kept = read.and_then(|(options, notes)| {
            notes.iter().for_each(|note| log(Level::Warn, format_args!("configuration: {note}")));
            self.take_over_options(options)
        });
        match purpose {
            Purpose::Restarted => {
                match kept {
                    Ok(()) => self.control.renew_files(&mut self.closing),
                    Err(reason) => {
                        log(
                            Level::Error,
                            format_args!("restart: keeping the old configuration: {reason}"),
                        );
                    }
                }
                self.told_restarted();
            }
            Purpose::Reload => self.end_reload(kept),
        }
        if self.reads.is_wanted_again && !self.supervisor.is_stopping() {
            self.begin_load(Purpose::Reload);
        }
    }

    /// Does what `options` ask for, which were read anew, from the next generation
    /// on.
    ///
    /// # Errors
    ///
    /// Why that cannot be; nothing is changed then.
    fn take_over_options(&mut self, mut options: Options) -> Result<()> {
        let fixed = [
            ("event-fd", options.number(Number::EventFd) == self.options.number(Number::EventFd)),
            (
                "notify-fd",
                options.number(Number::NotifyFd) == self.options.number(Number::NotifyFd),
            ),
            ("pid", options.path(PathOption::Pid) == self.options.path(PathOption::Pid)),
            ("exec", options.exec() == self.options.exec()),
        ];
        options.keep_exec(&self.options);
        let is_counted_anew = options.count() != self.options.count();
        self.apply_options(options)?;
        for (name, _) in fixed.iter().filter(|(_, is_same)| !is_same) {
            log(Level::Warn, format_args!("'{name}' cannot be changed by a reload"));
        }
        if is_counted_anew {
            self.control.forget_scale();
        }
        Ok(())
    }

    fn end_reload(&mut self, kept: Result<()>) {
        let number = self.reads.number;
        match kept {
            Ok(()) => {
                self.control.begin_reload(number, self.supervisor.next(), self.now);
                self.reporter.above.on_load(number, Some(self.supervisor.next()));
                self.control.renew_files(&mut self.closing);
                self.step(Event::Reload);
            }
            Err(reason) => {
                let refused = (&reason, self.supervisor.next());
                self.reporter.tell_reload_failed(number, refused, &mut self.control, self.now);
            }
        }
    }

    /// Makes the process of a generation, or begins to read what it needs; says
    /// what came of it, if that is known.
    pub(super) fn begin_start(&mut self, generation: Generation) -> Option<Event> {
        let Some(path) = self.options.path(PathOption::EnvFile) else {
            return Some(self.spawn(generation, None));
        };
        let read = || {
            file::read(path, ENV_FILE).map_err(|errno| {
                Error::system(format_args!("cannot read {}", Quoted(path.to_bytes())), errno)
                    .advise("--env-file names it")
            })
        };
        match self.reads.begin(self.now, read) {
            Ok(load) => {
                self.reads.generation = generation;
                self.reads.environment = Some(load);
                None
            }
            Err(reason) => Some(self.no_environment(generation, &reason)),
        }
    }

    fn look_at_environment(&mut self) {
        let path = self.options.path(PathOption::EnvFile).unwrap_or_default();
        let Some(read) = self.reads.poll_environment(self.now, path) else { return };
        let generation = self.reads.generation;
        let event = match read {
            Ok(bytes) => self.spawn(generation, Some(&bytes)),
            Err(reason) => self.no_environment(generation, &reason),
        };
        self.step(event);
        self.try_again();
    }

    fn no_environment(&mut self, generation: Generation, reason: &Error) -> Event {
        let path = self.options.path(PathOption::EnvFile).unwrap_or_default().to_bytes();
        let name = text::compose(format_args!("{}", Quoted(path)));
        let reason = text::compose(format_args!("{reason}"));
        let is_named = reason.as_bytes().windows(name.len()).any(|part| part == name.as_bytes());
        self.reporter.note_reason(match is_named {
            true => reason,
            false => text::compose(format_args!("cannot read {name}: {reason}")),
        });
        Event::SpawnFailed { generation }
    }

    /// Main is stopping: nothing is read any more.
    fn give_up_loads(&mut self) {
        if self.reads.give_up_configuration() == Some(Purpose::Restarted) {
            self.told_restarted();
        }
        if let Some(generation) = self.reads.give_up_environment() {
            self.reporter.note_reason(String::from("main is stopping"));
            self.step(Event::SpawnFailed { generation });
        }
        self.reads.is_wanted_again = false;
    }
}

/// What a child has read.
fn decode(bytes: Vec<u8>) -> Result<(Options, Vec<String>)> {
    let (mut options, mut notes) = (Options::default(), Vec::new());
    let mut codec = Codec::of(bytes, Direction::Read);
    options.persist(&mut codec);
    notes.persist(&mut codec);
    if codec.is_whole() {
        Ok((options, notes))
    } else {
        Err(Error::plain(format_args!("panzer:loader sent a corrupt reply")))
    }
}
