//! Starting a generation: its environment, its descriptors, its process.

use super::Main;
use super::run::Run;
use crate::error::{Error, Result, cannot};
use crate::keep::board::{Board, Wish};
use crate::plan::service::{Event, Exec};
use crate::sys::exec::Program;
use crate::sys::fd::Fd;
use crate::sys::{env, file, process, signal, socket};
use crate::text;
use crate::types::{Generation, Level, Millis, Pid};
use crate::words::address::Address;
use crate::words::options::{Number, Options, Path};
use crate::words::seconds::Seconds;
use crate::words::{env_file, fdname, printable};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

/// The largest environment file that is read.
const ENV_FILE: usize = 1 << 16;

/// What of our own environment a monitor is not given, or is given anew.
const OURS: [&[u8]; 6] =
    [b"LISTEN_FDS=", b"LISTEN_PID=", b"LISTEN_FDNAMES=", b"NOTIFY_SOCKET=", b"PWD=", b"PANZER_"];

/// Where main was started: `$PWD` when it names that directory, so that links
/// on the way are kept.
pub(super) fn start_directory() -> Result<CString> {
    if let Some(pwd) = env::var(c"PWD")
        && pwd.to_bytes().starts_with(b"/")
        && file::same(&pwd, c".")
    {
        return Ok(pwd);
    }
    file::current_directory().map_err(cannot("tell the working directory"))
}

/// `path` as seen from `start`.
pub(super) fn from(start: &CStr, path: Option<&CStr>) -> CString {
    let Some(path) = path else { return start.to_owned() };
    if path.to_bytes().starts_with(b"/") {
        return path.to_owned();
    }
    joined(&[start.to_bytes(), b"/", path.to_bytes()])
}

/// Parts of which none holds a NUL, one after the other.
fn joined(parts: &[&[u8]]) -> CString {
    CString::new(parts.concat()).unwrap_or_default()
}

/// Has the options' relative paths be as seen from `start`.
pub(super) fn look_from(start: &CStr, options: &mut Options) {
    if let Some(file) = options.path(Path::EnvFile) {
        let file = from(start, Some(file));
        options.set_path(Path::EnvFile, file);
    }
    for bind in &mut options.bind {
        let carried = text::compose(format_args!("{}", bind.address));
        if let Address::Unix(path) = &mut bind.address {
            *path = from(start, Some(path));
            // The application knows it as it was written.
            bind.name.get_or_insert(carried);
        }
    }
}

/// Adds a variable whose value is of our own making.
pub(in crate::roles) fn add(
    entries: &mut Vec<CString>,
    name: &str,
    value: &dyn core::fmt::Display,
) {
    entries.push(joined(&[text::compose(format_args!("{name}={value}")).as_bytes()]));
}

/// Takes out every variable that begins in one of these ways.
pub(super) fn remove(entries: &mut Vec<CString>, starts: &[&[u8]]) {
    entries.retain(|entry| !starts.iter().any(|start| entry.to_bytes().starts_with(start)));
}

impl Main {
    /// Makes the process of a generation, and says what came of it.
    pub(super) fn spawn(&mut self, generation: Generation) -> Event {
        // Whom the kernel has killed before is not to explain how this one ends.
        self.kills.explain(0);
        let made = self.try_spawn(generation);
        self.operator.hold();
        match made {
            Ok(monitor) => Event::Spawned { generation, monitor },
            Err(error) => {
                self.reason = Some(text::compose(format_args!("{error}")));
                Event::SpawnFailed { generation }
            }
        }
    }

    fn try_spawn(&mut self, generation: Generation) -> Result<Pid> {
        let (notify, notify_name) =
            socket::notify_socket().map_err(cannot("make a notify socket"))?;
        let board = Board::create().map_err(cannot("make a board"))?;
        if self.listeners.any_adopted() {
            board.wish(Wish::Held).map_err(cannot("write a board"))?;
        }
        let environment = self.environment(generation, &notify_name)?;
        let mut descriptors = self.listeners.descriptors();
        descriptors.push(board.descriptor());
        descriptors.push(self.lifeline.0.borrow());
        let command = &self.options.command;
        // Of programs of its own we are the monitor, in another process.
        let exec = self.options.exec().then(|| self.own_image()).transpose()?;
        let words = exec.iter().map(|_| CString::from(c"panzer")).chain(command.iter().cloned());
        let words: Vec<_> = words.collect();
        let mut program = Program::new(&words, &environment, &self.directory);
        if let Some(image) = &exec {
            program = program.open(image.borrow());
        }
        let blocked = signal::block_all();
        let (leader, fate) = program
            .spawn(&descriptors, self.inherited, self.options.account.as_ref(), &blocked)
            .map_err(cannot("make a process"))?;
        // Before any signal can come: whose SIGVTALRM counts.
        signal::expect_ready(Some(leader));
        drop(blocked);
        self.runs.push(Run {
            generation,
            leader,
            monitor: Some(leader),
            since: self.now,
            notify,
            board,
            fate: Some(fate),
            exec: Exec::Done,
            command: command[0].clone(),
            directory: self.directory.clone(),
            user: self.options.path(Path::User).unwrap_or_default().to_owned(),
            user_id: self.options.account.as_ref().map_or(0, |account| account.user),
            why: None,
            status: None,
            exit: None,
            empty: false,
        });
        self.listeners.leave_out(generation);
        Ok(leader)
    }

    /// The image of this process, whatever stands at its path by now.
    fn own_image(&self) -> Result<Fd> {
        file::open(c"/proc/self/exe", file::Mode::Execute)
            .or_else(|_| file::open(&self.binary, file::Mode::Execute))
            .map_err(cannot("open the image of the monitor"))
    }

    /// Everything a monitor finds in its environment, but `LISTEN_PID`.
    fn environment(&self, generation: Generation, notify: &[u8]) -> Result<Vec<CString>> {
        let mut entries = env::all();
        self.add_env_file(&mut entries)?;
        remove(&mut entries, &OURS);
        let sockets = self.listeners.names().count();
        entries.push(joined(&[b"NOTIFY_SOCKET=@", notify]));
        entries.push(joined(&[b"PWD=", self.directory.to_bytes()]));
        add(&mut entries, "LISTEN_FDS", &sockets);
        add(&mut entries, "LISTEN_FDNAMES", &fdname::join(self.listeners.names()));
        add(&mut entries, "PANZER_MAIN", &process::id());
        add(&mut entries, "PANZER_GENERATION", &generation);
        add(&mut entries, "PANZER_BOARD", &(3 + sockets));
        add(&mut entries, "PANZER_LIFELINE", &(4 + sockets));
        self.add_settings(&mut entries);
        Ok(entries)
    }

    /// What the operator has set, and nothing that he has not.
    fn add_settings(&self, entries: &mut Vec<CString>) {
        let options = &self.options;
        if let Some(count) = self.wanted_count() {
            add(entries, "PANZER_COUNT", &u32::from(count));
        }
        for (name, number) in [
            ("PANZER_TIMEOUT", Number::Timeout),
            ("PANZER_DELAY", Number::Delay),
            ("PANZER_MAX_DELAY", Number::MaxDelay),
            ("PANZER_HANG_TIMEOUT", Number::HangTimeout),
            ("PANZER_LIFETIME", Number::Lifetime),
        ] {
            if let Some(span) = options.number(number) {
                add(entries, name, &Seconds(Millis(span)));
            }
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

    fn add_env_file(&self, entries: &mut Vec<CString>) -> Result<()> {
        let Some(path) = self.options.path(Path::EnvFile) else { return Ok(()) };
        let name = printable::lossy(path.to_bytes());
        let bytes = file::read(path, ENV_FILE)
            .map_err(|errno| Error::system(format_args!("cannot read {name}"), errno))?;
        let mut add = |key: &[u8], value: &[u8]| {
            let start = [key, b"="].concat();
            remove(entries, &[&start]);
            entries.push(joined(&[&start, value]));
        };
        env_file::parse(&bytes, &mut add)
            .map_err(|wrong| Error::plain(format_args!("cannot read {name}: {wrong}")))
    }
}
