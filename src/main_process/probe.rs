//! The probe of a new image: what main sees of it, and what the image does.
//!
//! An exit status proves nothing. The image has to say which version it is, and
//! the digest of what it would write itself after it has read the state: then
//! it has understood all of it.

use super::{MainProcess, open_listeners, read_options};
use crate::config::option_table::Options;
use crate::error::{Error, Result, cannot};
use crate::exit_status::Death;
use crate::main_process::executable::OwnProgram;
use crate::main_process::listener_store::Listeners;
use crate::persist::{Codec, Direction, Persist as _, persisted};
use crate::shared::closer::Closing;
use crate::sys::exec::{DevNull, ExecOutcome, ExecStatus, Program, StartStep};
use crate::sys::fd::{self, Blocking, Fd};
use crate::sys::poll::Source;
use crate::sys::{Errno, clock, env, memory, message, process, signal, socket, would_block};
use crate::types::{Exit, Level, Millis, Pid, Role, Signal, Tick};
use crate::{decimal, environment, log, printable, text};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;

/// How long an image has to answer.
const PATIENCE: Millis = Millis(2_000);
/// The largest state that is read, and the largest answer.
const MOST: usize = 1 << 24;
const LONGEST: usize = 1 << 16;
/// The descriptors of a probe.
const STATE: u32 = 3;
const ANSWER: u32 = 4;

/// An image that is being tried, in a process group of its own.
pub(super) struct Probe {
    pid: Pid,
    exec_status: ExecStatus,
    /// Where its file comes back that the child has opened.
    way: Fd,
    binary: Option<Fd>,
    /// Where it answers, and what it has said so far.
    answer: Fd,
    said: Vec<u8>,
    has_ended: bool,
    /// The digest of what it was given to read.
    digest: u64,
    due: Tick,
    /// How its process ended, once it was reaped.
    exit: Option<Exit>,
}

/// What an image says when it is tried.
struct ProbeReply {
    digest: u64,
    version: String,
    /// Why it could not go on, if it could not.
    reason: String,
}

persisted! { struct ProbeReply { digest, version, reason } }

impl Probe {
    /// Begins to try what stands at main's path.
    ///
    /// # Errors
    ///
    /// What is wrong with that path, or could not be made.
    pub fn begin(program: &OwnProgram, state: &Codec) -> Result<Self> {
        let written = state_file(state).map_err(cannot("write the state"))?;
        let (answer, their_end) = fd::pipe(Blocking::No).map_err(cannot("create a pipe"))?;
        let (way, their_way) = socket::pair().map_err(cannot("create a pair of sockets"))?;
        let words = program.own_words();
        let environment = environment(&[("PANZER_STATE", STATE), ("PANZER_PROBE", ANSWER)]);
        let null = DevNull::open().map_err(cannot("open /dev/null"))?;
        let blocked = signal::block_all();
        let (pid, exec_status) = Program::new(&words, &environment, c".")
            .hand_back(&program.binary, their_way.borrow())
            .spawn(
                null.borrow(),
                &[written.borrow(), their_end.borrow()],
                program.inherited,
                None,
                None,
                &blocked,
            )
            .map_err(cannot("fork"))?;
        drop(blocked);
        let (digest, due) = (state.digest(), clock::now().after(PATIENCE));
        let (binary, said, has_ended, exit) = (None, Vec::new(), false, None);
        Ok(Self { pid, exec_status, way, binary, answer, said, has_ended, digest, due, exit })
    }

    /// What to wait for.
    pub fn source(&self) -> Option<Source<'_>> {
        (!self.has_ended).then(|| Source::readable(self.answer.borrow()))
    }

    /// When it has to have answered.
    pub const fn due(&self) -> Tick {
        self.due
    }

    /// What was tried.
    pub const fn binary(&self) -> Option<&Fd> {
        self.binary.as_ref()
    }

    /// Its process, if that was not reaped yet.
    pub fn process(&self) -> Option<Pid> {
        self.exit.is_none().then_some(self.pid)
    }

    /// Takes what the child has opened, before it executed that: a descriptor that
    /// stands for the file alone, so that closing it never waits.
    fn take_binary_name(&mut self) {
        if let Ok(message) = message::receive(self.way.borrow()) {
            self.binary = message.descriptors.into_iter().next().or(self.binary.take());
        }
    }

    /// A child was reaped, perhaps this one. What is left in its group is ended at
    /// once: the number of an empty one may be that of the next monitor.
    pub fn note_death(&mut self, pid: Pid, exit: Exit) {
        if pid == self.pid {
            self.exit = Some(exit);
            self.end();
        }
    }

    /// Which version it is, or why it is not to take our place; `None` as long as
    /// that is not known.
    pub fn result(&mut self, now: Tick) -> Option<Result<String>> {
        self.listen();
        // It is over when its process is, which needs no ending any more then.
        let Some(exit) = self.exit else {
            return (now >= self.due).then(|| Err(self.late()));
        };
        self.take_binary_name();
        if let ExecOutcome::Failed(stage, errno) = self.exec_status.outcome() {
            return Some(Err(match errno {
                _ if stage == StartStep::Open => {
                    Error::system(format_args!("cannot open it"), errno)
                }
                // It was there to be opened.
                Errno(libc::ENOENT) => Error::plain(format_args!(
                    "cannot execute it: it is a script, or its loader is missing"
                )),
                errno => Error::system(format_args!("cannot execute it"), errno),
            }));
        }
        Some(match ProbeReply::read(&self.said) {
            Some(answer) if exit.is_success() => self.judge(&answer),
            Some(_) | None if self.said.len() >= LONGEST => {
                Err(Error::plain(format_args!("its reply is longer than {LONGEST} bytes")))
            }
            Some(_) | None => Err(Error::plain(format_args!("{} without replying", Death(exit)))),
        })
    }

    /// Why it is not done in time.
    fn late(&mut self) -> Error {
        self.take_binary_name();
        match self.binary {
            Some(_) => Error::plain(format_args!("probe timed out after {PATIENCE}")),
            None => Error::plain(format_args!(
                "probe timed out after {PATIENCE}: is its file server unreachable?"
            )),
        }
    }

    /// Takes in what it has said.
    fn listen(&mut self) {
        let mut piece = [0; 512];
        while !self.has_ended {
            match fd::read(self.answer.borrow(), &mut piece) {
                Err(errno) if would_block(errno) => return,
                // What goes on beyond that ends by SIGPIPE, once this end is closed.
                Ok(read @ 1..) if self.said.len() < LONGEST => {
                    self.said.extend_from_slice(piece.get(..read).unwrap_or_default());
                }
                Ok(_) | Err(_) => self.has_ended = true,
            }
        }
    }

    fn judge(&self, answer: &ProbeReply) -> Result<String> {
        let version = printable::lossy(answer.version.as_bytes());
        if !answer.reason.is_empty() {
            let reason = printable::lossy(answer.reason.as_bytes());
            return Err(Error::plain(format_args!("panzer {version} replied: {reason}")));
        }
        if answer.digest != self.digest {
            return Err(Error::plain(format_args!(
                "panzer {version} read the saved state differently"
            )));
        }
        Ok(version)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.end();
            // It may not lead its group yet; as long as it is not reaped it is ours.
            let _ = signal::send(self.pid, Signal::Kill);
        }
    }
}

impl Probe {
    /// Ends what is left of it. What has died is reaped as any orphan is.
    fn end(&self) {
        if process::has_child_in_group(self.pid) == Ok(true) {
            let _ = signal::send_group(self.pid, Signal::Kill);
        }
    }
}

impl ProbeReply {
    /// Reads one that is whole.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut codec = Codec::of(bytes.to_owned(), Direction::Read);
        let mut answer = Self::empty_value();
        answer.persist(&mut codec);
        codec.is_whole().then_some(answer)
    }
}

/// A file with a state, which cannot be changed.
pub(super) fn state_file(state: &Codec) -> crate::sys::SysResult<Fd> {
    memory::settled_file(c"panzer-state", state.bytes())
}

/// Our environment, and the numbers of what another image is given.
pub(super) fn environment(numbers: &[(&str, u32)]) -> Vec<CString> {
    let mut entries = env::all();
    // Where the number of threads is not known, ours were not taken away.
    environment::remove(&mut entries, &[b"PANZER_STATE=", b"PANZER_PROBE="]);
    for (name, number) in numbers {
        environment::add(&mut entries, name, number);
    }
    entries
}

/// Reads the configuration and opens its sockets, and lets go of them.
fn try_configuration(
    before: &Options,
    program: &OwnProgram,
    listeners: &mut Listeners,
    closing: &mut Closing,
) -> Result<()> {
    let mut options = read_options::again(before);
    read_options::read(program.words, &program.start, &mut options, &mut Vec::new())?;
    let before = listeners.count();
    open_listeners::bind_anew(&mut options, &program.start, listeners, closing)?;
    listeners.close_from(before);
    Ok(())
}

/// What another image of this process, or our parent, has handed down.
pub(super) struct InheritedState {
    state: Fd,
    /// Where to say whether we could go on; nowhere if we have to.
    answer: Option<Fd>,
}

impl InheritedState {
    /// Takes it out of the environment.
    ///
    /// # Errors
    ///
    /// When what stands there was not handed down: a process that is called so is no
    /// main of its own.
    pub fn take() -> Result<Option<Self>> {
        let (state, answer) = (env::take(c"PANZER_STATE"), env::take(c"PANZER_PROBE"));
        if state.is_none() && answer.is_none() {
            return Ok(None);
        }
        let adopt = |word: CString| {
            decimal::parse(word.to_bytes(), i32::MAX.unsigned_abs()).and_then(fd::adopt)
        };
        let is_probe = answer.is_some();
        match (state.and_then(adopt), answer.and_then(adopt)) {
            (Some(state), answer) if answer.is_some() == is_probe => {
                Ok(Some(Self { state, answer }))
            }
            _ => Err(Error::plain(format_args!(
                "PANZER_STATE or PANZER_PROBE is set, but names no descriptor of a main that is \
                 being restarted"
            ))),
        }
    }

    /// Whether this is a probe, which leaves everything alone.
    pub const fn is_probe(&self) -> bool {
        self.answer.is_some()
    }

    /// Reads the state into `main`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(&self, main: &mut MainProcess) -> Result<()> {
        let bytes = memory::read_settled(self.state.borrow(), MOST)
            .map_err(cannot("read the state of main"))?;
        main.take_state(bytes, if self.is_probe() { Direction::Try } else { Direction::Read })
    }

    /// Says to our parent whether we could go on where it stands.
    pub fn answer(&self, main: &mut MainProcess) {
        log::begin(Role::Main, Level::Error);
        let mut digest = 0;
        let read = self.read(main).and_then(|()| {
            digest = main.state().digest();
            try_configuration(&main.options, &main.program, &mut main.listeners, &mut main.closing)
        });
        let mut answer = ProbeReply {
            digest,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reason: match read {
                Ok(()) => String::new(),
                Err(reason) => text::compose(format_args!("{reason}")),
            },
        };
        let mut codec = Codec::empty_value();
        answer.persist(&mut codec);
        if let Some(fd) = &self.answer {
            // The reader may have given up.
            let _ = fd::write(fd.borrow(), codec.bytes());
        }
    }
}
