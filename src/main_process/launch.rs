//! Starting a generation: its environment, its descriptors, its process.

use super::{MainProcess, notify_socket};
use crate::config::env_file;
use crate::config::option_table::{Number, Options, PathOption};
use crate::environment::{add, joined, remove};
use crate::error::{Error, Result, cannot};
use crate::exec_result::ExecResult;
use crate::main_process::generation::RunningGeneration;
use crate::main_process::situation::WorkerLimits;
use crate::main_process::supervisor::Event;
use crate::protocol::fdnames;
use crate::seconds::Seconds;
use crate::shared::inbox::Inbox;
use crate::shared::scoreboard::{Flags, Scoreboard};
use crate::sys::exec::{DevNull, ExecStatus, Program};
use crate::sys::fd::{Borrowed, Standard};
use crate::sys::message::Credentials;
use crate::sys::{env, file, process, signal};
use crate::types::{Account, Generation, Level, Millis, Pid};
use crate::{printable, text};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

/// The largest environment file that is read.
pub(super) const ENV_FILE: usize = 1 << 16;

/// What of our own environment a monitor is not given, or is given anew.
const OURS: [&[u8]; 9] = [
    b"LISTEN_FDS=",
    b"LISTEN_PID=",
    b"LISTEN_PIDFDID=",
    b"LISTEN_FDNAMES=",
    b"NOTIFY_SOCKET=",
    b"WATCHDOG_",
    b"FDSTORE=",
    b"PWD=",
    b"PANZER_",
];

/// Gives the user of a generation its standard output and error, so that it can open
/// them as /dev/stdout and /dev/stderr.
fn give_output(account: &Account) {
    for standard in [Standard::Output, Standard::Error] {
        // What may not be given away can still be written.
        let _ = file::give_stream(Borrowed::standard(standard), account.user);
    }
}

/// Refuses a user whose processes main could not end, or that none can become.
pub(super) fn refuse_unsignalled(account: &Account) -> Result<()> {
    // A sandbox that forbids the question does not say no.
    if process::may_signal(account.user) == Ok(false) {
        let user = account.user;
        return Err(Error::plain(format_args!(
            "cannot run as user {user}: main lacks CAP_KILL and could not signal its processes; \
             --user needs root"
        )));
    }
    if process::may_become(account.user) == Ok(false) {
        let user = account.user;
        return Err(Error::plain(format_args!(
            "cannot run as user {user}: main lacks CAP_SETUID or CAP_SETGID; --user needs root"
        )));
    }
    Ok(())
}

fn worker_limits(options: &Options) -> WorkerLimits {
    WorkerLimits {
        hang: options.span(Number::HangTimeout),
        ready: options.span(Number::ReadyTimeout),
        backoff: options.span(Number::MaxDelay),
    }
}

impl MainProcess {
    /// Makes the process of a generation, with what stands in the env file, if there
    /// is one, and says what came of it.
    pub(super) fn spawn(&mut self, generation: Generation, env_file: Option<&[u8]>) -> Event {
        self.generations.prepare_start(self.now, &self.supervisor);
        match self.try_spawn(generation, env_file) {
            Ok(monitor) => {
                self.listeners.leave_out(generation);
                Event::Spawned { generation, monitor }
            }
            Err(error) => {
                self.reporter.note_reason(text::compose(format_args!("{error}")));
                Event::SpawnFailed { generation }
            }
        }
    }

    fn try_spawn(&mut self, generation: Generation, env_file: Option<&[u8]>) -> Result<Pid> {
        let beside = self.control.beside_pid_file(&self.program.start);
        let account = self.options.account.as_ref();
        let tell_abstract = |reason| self.reporter.tell_abstract(reason);
        let (notify, home, notify_name) =
            notify_socket::open(generation, beside.as_deref(), account, tell_abstract)?;
        let (leader, exec_status, board) =
            match self.start_monitor(generation, &notify_name, env_file) {
                Ok(made) => made,
                Err(error) => {
                    // It stands where others may have found it already.
                    self.closing.close_inbox(notify, Credentials::Told);
                    self.generations.remove_directory(home);
                    return Err(error);
                }
            };
        self.generations.add(RunningGeneration {
            generation,
            leader,
            monitor: Some(leader),
            since: self.now,
            notify: Inbox::new(notify),
            home,
            board,
            exec_status: Some(exec_status),
            exec: ExecResult::Ran,
            stop_signal: self.options.stop_signal(),
            limits: worker_limits(&self.options),
            is_pool: self.options.exec(),
            command: self.options.command[0].clone(),
            directory: self.program.directory.clone(),
            user: self.options.path(PathOption::User).unwrap_or_default().to_owned(),
            user_id: self.options.account.as_ref().map_or(0, |account| account.user),
            reason: None,
            status: None,
            lost: None,
            exit: None,
            told: Vec::new(),
            empty: false,
        });
        Ok(leader)
    }

    /// Makes the process of a generation, and the board that it is given.
    fn start_monitor(
        &self,
        generation: Generation,
        notify: &CStr,
        env_file: Option<&[u8]>,
    ) -> Result<(Pid, ExecStatus, Scoreboard)> {
        let board = Scoreboard::create().map_err(cannot("create a scoreboard"))?;
        if self.listeners.any_adopted() || self.listeners.fit_above(self.reporter.above.most_kept())
        {
            board.set_flag(Flags::Held).map_err(cannot("write a scoreboard"))?;
        }
        let environment = self.environment(generation, notify, env_file)?;
        let mut descriptors = self.listeners.descriptors();
        descriptors.push(board.descriptor());
        descriptors.push(self.lifeline.0.borrow());
        let command = &self.options.command;
        // Of programs of its own we are the monitor, in another process.
        let exec = self.options.exec().then(|| self.program.open_binary()).transpose()?;
        let words = exec.iter().map(|_| CString::from(c"panzer")).chain(command.iter().cloned());
        let words: Vec<_> = words.collect();
        let mut program = Program::new(&words, &environment, &self.program.directory);
        program = match &exec {
            Some(binary) => program.open(binary.borrow()),
            None => program.dies_by(self.options.stop_signal().signal()),
        };
        if let Some(account) = &self.options.account {
            give_output(account);
        }
        let null = DevNull::open().map_err(cannot("open /dev/null"))?;
        let account = self.options.account.as_ref();
        let blocked = signal::block_all();
        let (leader, exec_status) = program
            .spawn(null.borrow(), &descriptors, self.program.inherited, account, None, &blocked)
            .map_err(cannot("fork"))?;
        // Before any signal can come: whose SIGVTALRM counts.
        signal::expect_ready(Some(leader));
        drop(blocked);
        Ok((leader, exec_status, board))
    }

    /// Everything a monitor finds in its environment, but `LISTEN_PID`.
    fn environment(
        &self,
        generation: Generation,
        notify: &CStr,
        env_file: Option<&[u8]>,
    ) -> Result<Vec<CString>> {
        let mut entries = env::all();
        self.add_env_file(&mut entries, env_file)?;
        remove(&mut entries, &OURS);
        let sockets = self.listeners.names().count();
        entries.push(joined(&[b"NOTIFY_SOCKET=", notify.to_bytes()]));
        entries.push(joined(&[b"PWD=", self.program.directory.to_bytes()]));
        if sockets > 0 {
            add(&mut entries, "LISTEN_FDS", &sockets);
            add(&mut entries, "LISTEN_FDNAMES", &fdnames::join(self.listeners.names()));
        }
        add(&mut entries, "PANZER_MAIN", &process::id());
        add(&mut entries, "PANZER_GENERATION", &generation);
        add(&mut entries, "PANZER_BOARD", &(3 + sockets));
        add(&mut entries, "PANZER_LIFELINE", &(4 + sockets));
        self.add_settings(&mut entries);
        Ok(entries)
    }

    /// What the operator has set, and nothing else.
    fn add_settings(&self, entries: &mut Vec<CString>) {
        let options = &self.options;
        if let Some(count) = self.control.wanted_count(options) {
            add(entries, "PANZER_COUNT", &u32::from(count));
        }
        for (name, number) in [
            ("PANZER_TIMEOUT", Number::Timeout),
            ("PANZER_DELAY", Number::Delay),
            ("PANZER_MAX_DELAY", Number::MaxDelay),
            ("PANZER_HANG_TIMEOUT", Number::HangTimeout),
            ("PANZER_LIFETIME", Number::Lifetime),
            ("PANZER_READY_TIMEOUT", Number::ReadyTimeout),
        ] {
            if let Some(span) = options.number(number) {
                add(entries, name, &Seconds(Millis(span)));
            }
        }
        if options.number(Number::StopSignal).is_some() {
            add(entries, "PANZER_STOP_SIGNAL", &options.stop_signal().name());
        }
        if options.exec() {
            add(entries, "PANZER_EXEC", &"1");
            if let Some(span) = options.ready_after() {
                add(entries, "PANZER_READY", &Seconds(span));
            }
        }
        match options.verbosity {
            Level::Error | Level::Warn => add(entries, "PANZER_QUIET", &"1"),
            Level::Info => {}
            Level::Debug => add(entries, "PANZER_VERBOSE", &"1"),
        }
    }

    fn add_env_file(&self, entries: &mut Vec<CString>, env_file: Option<&[u8]>) -> Result<()> {
        let Some(bytes) = env_file else { return Ok(()) };
        let path = self.options.path(PathOption::EnvFile).unwrap_or_default();
        let name = printable::lossy(path.to_bytes());
        let mut add = |key: &[u8], value: &[u8]| {
            let start = [key, b"="].concat();
            remove(entries, &[&start]);
            entries.push(joined(&[&start, value]));
        };
        env_file::parse(bytes, &mut add)
            .map_err(|wrong| Error::plain(format_args!("cannot read {name}: {wrong}")))
    }
}
