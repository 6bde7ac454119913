//! What main has for its operator: the pid file, the control socket, the clients that
//! wait for a reply, and what the operator has asked for.
//!
//! A client that asks for a reload waits for the generation that will be started next,
//! whatever it is started for: it is of what is installed now. So two that ask at the
//! same time wait for the same one, and one that asks while another one's generation is
//! starting waits for the one after.

use super::{executable, pidfile};
use crate::config::option_table::{Count, Options};
use crate::cpus;
use crate::environment::joined;
use crate::error::{Error, Result};
use crate::log::log;
use crate::main_process::control_socket::{ClientIndex, ControlSocket, Waits};
use crate::main_process::generations::Generations;
use crate::main_process::pidfile::{Holder, PidFile, Taken};
use crate::main_process::supervisor::Supervisor;
use crate::persist::persisted;
use crate::printable::Quoted;
use crate::protocol::control_protocol::{AnswerWord, Request, Scale, socket_beside};
use crate::protocol::status_records::ReloadOutcome;
use crate::shared::closer::Closing;
use crate::sys::fd::Fd;
use crate::sys::poll::Source;
use crate::sys::{self, Errno, file};
use crate::text::Plural;
use crate::types::{Generation, Level, Stage, Tick};
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt;

/// The exit status of a main that finds another one.
const RUNS_ALREADY: u8 = 3;
/// Where the pid file is when none is named.
pub(super) const DEFAULT: &CStr = c"tmp/panzer.pid";

/// The last reload that was asked for.
pub(super) struct LastReload {
    /// Its generation; `None` when it came to nothing before.
    pub generation: Option<Generation>,
    pub outcome: ReloadOutcome,
    /// When it was asked for, or when its outcome was known.
    pub at: Tick,
    pub reason: Option<String>,
}

/// The operator's side of main.
#[derive(Default)]
pub(super) struct Control {
    socket: Option<ControlSocket>,
    pid_file: Option<PidFile>,
    reload: Option<LastReload>,
    /// What a client is told of the last failure.
    failure: Option<String>,
    /// How many workers there are to be, once a number was asked for.
    scaled: Option<u16>,
}

/// What has become of a generation, for the clients that wait for it.
pub(super) struct GenerationProgress<'a> {
    pub generation: Generation,
    pub outcome: ReloadOutcome,
    /// What is said of it, behind its number.
    pub how: &'a str,
    /// Why it came to nothing; empty if it did not.
    pub reason: &'a str,
}

persisted! { struct LastReload { generation, outcome, at, reason } }
persisted! { struct Control { socket, pid_file, reload, failure, scaled } }

impl Control {
    /// Takes the pid file and makes the control socket beside it. Without a pid
    /// file there is no socket; without either everything else works.
    ///
    /// With an error, `status` is what main is to leave with.
    pub fn begin(&mut self, pid_file: Option<&CStr>, status: &mut u8) -> Result<()> {
        let path = match pid_file {
            Some(path) => path,
            None if !has_default_directory() => return Ok(()),
            None => DEFAULT,
        };
        let name = Quoted(path.to_bytes());
        let error = match pidfile::take(path) {
            Ok(Taken::Ours(file)) => {
                self.pid_file = Some(file);
                self.socket = open_control(path);
                return Ok(());
            }
            Ok(Taken::Held(holder)) => {
                let error = held(holder, name);
                if pid_file.is_some() || holder.is_main {
                    *status = RUNS_ALREADY;
                    return Err(error);
                }
                error
            }
            Ok(Taken::Strange) => Error::plain(format_args!(
                "refusing to overwrite {name}: not a pid file that panzer made as this user; \
                 remove it or choose another --pid"
            )),
            Err(errno) => Error::system(format_args!("cannot create pid file {name}"), errno)
                .advise(
                    "its directory has to be there, writable, and have room; --pid names another",
                ),
        };
        if pid_file.is_some() {
            return Err(error);
        }
        // The default is what nothing has asked for.
        log(Level::Warn, format_args!("{error}; running without pid file and control socket"));
        Ok(())
    }

    /// Makes the pid file and the control socket anew where a cleaner has taken
    /// them away. What stands in their place is left alone, with a warning.
    pub fn renew_files(&mut self, closing: &mut Closing) {
        let Some(file) = &mut self.pid_file else { return };
        let renewed = file.renew();
        tell_renewed("pid file", file.name(), renewed);
        let Some(socket) = &mut self.socket else {
            // That it could not be made was said at the start.
            self.socket = socket_of(file.name()).and_then(|path| ControlSocket::open(&path).ok());
            return;
        };
        let renewed = socket.renew(closing);
        tell_renewed("control socket", socket.name(), renewed);
    }

    /// Takes the socket and the pid file away. The lock ends with the process, and so
    /// do the connections: a client that waits for the end sees it.
    pub fn leave(&self) {
        if let Some(socket) = &self.socket {
            socket.remove();
        }
        if let Some(file) = &self.pid_file {
            file.remove();
        }
    }

    /// Where the pid file stands, if there is one.
    pub fn pid_path(&self) -> Option<&CStr> {
        self.pid_file.as_ref().map(PidFile::name)
    }

    /// The pid file without its ending, as every monitor sees it: what stands beside it
    /// begins so.
    pub fn beside_pid_file(&self, start: &CStr) -> Option<CString> {
        let path = executable::from(start, Some(self.pid_path()?));
        let bytes = path.to_bytes();
        Some(joined(&[bytes.strip_suffix(b".pid").unwrap_or(bytes)]))
    }

    /// When a client needs attention at the latest.
    pub fn deadline(&self) -> Option<Tick> {
        self.socket.as_ref().and_then(ControlSocket::deadline)
    }

    /// Adds what clients may do to what main waits for.
    pub fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>) {
        if let Some(socket) = &self.socket {
            socket.add_sources(sources);
        }
    }

    /// The next request, which is logged.
    pub fn next_request(
        &mut self,
        now: Tick,
        closing: &mut Closing,
    ) -> Option<(ClientIndex, Request)> {
        let socket = self.socket.as_mut()?;
        let (client, request) = socket.serve_clients(now, closing)?;
        socket.note(client, request);
        Some((client, request))
    }

    /// Lets go of the clients that are done or gone.
    pub fn sweep(&mut self, closing: &mut Closing) {
        if let Some(socket) = &mut self.socket {
            socket.sweep(closing);
        }
    }

    /// Tells one client something.
    pub fn say(&mut self, client: ClientIndex, word: AnswerWord, text: fmt::Arguments<'_>) {
        if let Some(socket) = &mut self.socket {
            socket.say(client, word, text);
        }
    }

    /// Gives one client records, and a scoreboard with them.
    pub fn show(&mut self, client: ClientIndex, records: &str, board: Option<Fd>) {
        if let Some(socket) = &mut self.socket {
            socket.show(client, records, board);
        }
    }

    /// Notes what a client waits for.
    pub fn wait_for(&mut self, client: ClientIndex, waits: Waits) {
        if let Some(socket) = &mut self.socket {
            socket.wait(client, waits);
        }
    }

    /// Tells all that wait for this; with a last line they wait no longer.
    pub fn answer(
        &mut self,
        word: AnswerWord,
        text: fmt::Arguments<'_>,
        is_it: &dyn Fn(Waits) -> bool,
    ) {
        if let Some(socket) = &mut self.socket {
            socket.announce(word, text, is_it);
        }
    }

    /// The clients that wait for this restart of main are told what came of it.
    pub fn answer_restart(&mut self, number: u32, word: AnswerWord, text: fmt::Arguments<'_>) {
        self.answer(word, text, &|waits| waits == Waits::Restart(number));
    }

    /// The load with this number has given a configuration: `next` is started with it.
    pub fn begin_reload(&mut self, number: u32, next: Generation, now: Tick) {
        if let Some(socket) = &mut self.socket {
            socket.wait_on(Waits::Load(number), Waits::Generation(next));
        }
        let (generation, outcome) = (Some(next), ReloadOutcome::Running);
        self.reload = Some(LastReload { generation, outcome, at: now, reason: None });
    }

    /// The load with this number was refused.
    pub fn fail_reload(&mut self, number: u32, reason: String, now: Tick) {
        self.answer(AnswerWord::Failed, format_args!("{reason}"), &|waits| {
            waits == Waits::Load(number)
        });
        let (generation, outcome) = (None, ReloadOutcome::Failed);
        self.reload = Some(LastReload { generation, outcome, at: now, reason: Some(reason) });
    }

    /// The last reload that was asked for.
    pub const fn last_reload(&self) -> Option<&LastReload> {
        self.reload.as_ref()
    }

    /// Takes in how far a generation has come.
    pub fn settle(&mut self, progress: &GenerationProgress<'_>, now: Tick) {
        let GenerationProgress { generation, outcome, how, reason } = *progress;
        if self.reload.as_ref().is_some_and(|last| last.generation == Some(generation)) {
            self.note_outcome(outcome, reason, now);
        }
        let word = match outcome {
            ReloadOutcome::Running => AnswerWord::Progress,
            ReloadOutcome::Current => AnswerWord::Done,
            ReloadOutcome::Failed | ReloadOutcome::RolledBack => AnswerWord::Failed,
        };
        self.answer(word, format_args!("generation {generation} {how}{reason}"), &|waits| {
            waits == Waits::Generation(generation)
        });
    }

    /// Keeps what came of the last reload, unless that is known already.
    fn note_outcome(&mut self, outcome: ReloadOutcome, reason: &str, now: Tick) {
        if let Some(last) = &mut self.reload
            && last.outcome == ReloadOutcome::Running
            && outcome != ReloadOutcome::Running
        {
            (last.outcome, last.at) = (outcome, now);
            last.reason = (!reason.is_empty()).then(|| String::from(reason));
        }
    }

    /// Main is stopping: the clients that wait for anything but the end are told that
    /// it will not come.
    pub fn fail_waiting_clients(&mut self, now: Tick) {
        self.note_outcome(ReloadOutcome::Failed, "main is stopping", now);
        self.answer(AnswerWord::Failed, format_args!("main is stopping"), &|waits| {
            waits != Waits::End
        });
    }

    /// The last replies before main leaves.
    pub fn answer_at_exit(&mut self, status: u8) {
        let word = if status == 0 { AnswerWord::Done } else { AnswerWord::Failed };
        let status = u32::from(status);
        self.answer(word, format_args!("main exits with status {status}"), &|_| true);
        self.leave();
    }

    /// Keeps the reason of a failure, for clients that ask why nothing serves.
    pub fn note_failure(&mut self, failure: String) {
        self.failure = Some(failure);
    }

    /// The reason of the last failure.
    pub fn last_failure(&self) -> Option<String> {
        self.failure.clone()
    }

    /// How many workers the operator wants, if it is not the application's to say.
    pub fn wanted_count(&self, options: &Options) -> Option<u16> {
        self.scaled.or(options.count().map(|count| match count {
            Count::Fixed(count) => count,
            Count::Auto => cpus::usable(),
        }))
    }

    /// The operator wants another number of workers than the current generation `has`.
    /// Says whether there is one that its monitor is to be told.
    pub fn scale(&mut self, client: ClientIndex, scale: Scale, has: Option<u16>) -> bool {
        let count = has.and_then(|has| scale.of(self.scaled.unwrap_or(has)));
        let Some(count) = count else {
            let reason = match has {
                Some(_) => "the number of workers must be from 1 to 16383",
                None => "the current generation has no pool of workers",
            };
            self.say(client, AnswerWord::Refused, format_args!("{reason}"));
            return false;
        };
        self.scaled = Some(count);
        let shown = Plural(count.into(), "worker");
        log(Level::Info, format_args!("scaling to {shown}"));
        self.fail_scale(format_args!("superseded by scale {}", u32::from(count)));
        self.wait_for(client, Waits::Workers(count));
        true
    }

    /// Writes the number that was asked for onto the boards, and has those monitors
    /// look that can. One that is current only now has perhaps said before that it has
    /// so many workers, and says it again. A client does not wait for what one was not told.
    pub fn tell_count(&mut self, generations: &Generations, supervisor: &Supervisor) {
        let Some(count) = self.scaled else { return };
        for running in generations.iter() {
            let generation = running.generation;
            if supervisor.stage_of(generation) == Some(Stage::Draining) {
                continue;
            }
            if let Err(errno) = running.tell_count(count) {
                let count = u32::from(count);
                log(
                    Level::Warn,
                    format_args!("scale {count}: cannot tell generation {generation}: {errno}"),
                );
                self.fail_scale(format_args!("cannot tell generation {generation}: {errno}"));
            }
        }
    }

    /// The current generation has so many workers now, all of them ready.
    pub fn settle_scale(&mut self, count: u16) {
        let shown = Plural(count.into(), "worker");
        self.answer(AnswerWord::Done, format_args!("{shown}"), &|waits| {
            waits == Waits::Workers(count)
        });
    }

    /// The configured number is another one, which counts from now on.
    pub fn forget_scale(&mut self) {
        self.scaled = None;
        self.fail_scale(format_args!("superseded: the configuration has another 'count' now"));
    }

    /// Tells the clients that wait for a number of workers that it will not be reached.
    fn fail_scale(&mut self, reason: fmt::Arguments<'_>) {
        self.answer(AnswerWord::Failed, reason, &|waits| matches!(waits, Waits::Workers(_)));
    }
}

/// What it means that another process has locked the pid file.
fn held(holder: Holder, name: Quoted<'_>) -> Error {
    match holder {
        Holder { pid: Some(pid), is_main: true } => {
            Error::plain(format_args!("already running: pid {pid} has locked {name}"))
        }
        Holder { pid: Some(pid), is_main: false } => Error::plain(format_args!(
            "pid file {name} is locked by pid {pid}, which is not a panzer of this user"
        )),
        // In another pid namespace.
        Holder { pid: None, .. } => Error::plain(format_args!(
            "pid file {name} is locked by a process outside this pid namespace"
        )),
    }
}

/// Whether there is a directory for the default pid file, be it behind a link.
fn has_default_directory() -> bool {
    match file::enters(c"tmp/.") {
        Ok(()) => true,
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) => {
            log(
                Level::Info,
                format_args!(
                    "no pid file and no control socket for panzerctl: no directory tmp/ (make it, \
                     or see --pid)"
                ),
            );
            false
        }
        Err(errno) => {
            log(
                Level::Warn,
                format_args!("no pid file and no control socket: cannot enter tmp/: {errno}"),
            );
            false
        }
    }
}

/// Tells what came of making something anew, unless there was no need.
fn tell_renewed(what: &str, path: &CStr, renewed: sys::SysResult<bool>) {
    let path = Quoted(path.to_bytes());
    match renewed {
        Ok(false) => {}
        Ok(true) => log(Level::Warn, format_args!("{what} {path} was missing: created again")),
        Err(errno) => log(
            Level::Warn,
            format_args!("{what} {path} is missing and cannot be created again: {errno}"),
        ),
    }
}

/// Where the control socket of a pid file stands.
fn socket_of(pid_file: &CStr) -> Option<CString> {
    CString::new(socket_beside(pid_file.to_bytes())).ok()
}

fn open_control(pid_file: &CStr) -> Option<ControlSocket> {
    let path = socket_of(pid_file)?;
    match ControlSocket::open(&path) {
        Ok(control) => Some(control),
        Err(errno) => {
            let path = Quoted(path.to_bytes());
            log(Level::Warn, format_args!("cannot create control socket {path}: {errno}"));
            None
        }
    }
}
