//! The trial of a new image: what main sees of it, and what the image does.
//!
//! An exit status proves nothing. The image has to say which version it is, and
//! the digest of what it would write itself after it has read the state: then
//! it has understood all of it.

use super::{Main, config, setup, spawn};
use crate::error::{Error, Result, cannot};
use crate::keep::log;
use crate::sys::exec::{Fate, Outcome, Program};
use crate::sys::fd::{self, Blocking, Borrowed, Fd};
use crate::sys::poll::Source;
use crate::sys::{Errno, clock, env, file, memory, process, signal, would_block};
use crate::tape::{Tape, Taped as _, Way, taped};
use crate::text;
use crate::types::{Exit, Level, Millis, Pid, Role, Signal, Tick};
use crate::words::death::Death;
use crate::words::decimal;
use crate::words::printable::{self, Quoted};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;

/// How long an image has to answer.
const PATIENCE: Millis = Millis(2_000);
/// The largest state that is read, and the largest answer.
const MOST: usize = 1 << 24;
const LONGEST: usize = 4_096;
/// The descriptors of a trial.
const STATE: u32 = 3;
const ANSWER: u32 = 4;

/// An image that is being tried, in a process group of its own.
pub(super) struct Trial {
    pid: Pid,
    fate: Fate,
    image: Fd,
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
struct Answer {
    digest: u64,
    version: String,
    /// Why it could not go on, if it could not.
    why: String,
}

taped! { struct Answer { digest, version, why } }

impl Trial {
    /// Begins to try what stands at main's path.
    ///
    /// # Errors
    ///
    /// What is wrong with that path, or could not be made; and when no image would
    /// take the state, which is better known before than after the exec.
    pub fn begin(main: &mut Main) -> Result<Self> {
        if !main.is_possible() {
            return Err(Error::plain(format_args!("its state is one that no image would take")));
        }
        let name = Quoted(main.binary.to_bytes());
        let image = file::open(&main.binary, file::Mode::Execute)
            .map_err(|errno| Error::system(format_args!("cannot open {name}"), errno))?;
        let state = main.state();
        let written = state_file(&state).map_err(cannot("write the state"))?;
        let (answer, their_end) = fd::pipe(Blocking::No).map_err(cannot("make a pipe"))?;
        let words = main.own_words();
        let environment = environment(&[("PANZER_STATE", STATE), ("PANZER_TRIAL", ANSWER)]);
        let blocked = signal::block_all();
        let (pid, fate) = Program::new(&words, &environment, c".")
            .open(image.borrow())
            .spawn(&[written.borrow(), their_end.borrow()], main.inherited, None, &blocked)
            .map_err(cannot("make a process"))?;
        drop(blocked);
        let (digest, due) = (state.digest(), clock::now().after(PATIENCE));
        let (said, has_ended, exit) = (Vec::new(), false, None);
        Ok(Self { pid, fate, image, answer, said, has_ended, digest, due, exit })
    }

    /// What to wait for.
    pub fn source(&self) -> Option<Source<'_>> {
        (!self.has_ended).then(|| Source::readable(self.answer.borrow()))
    }

    /// When it has to have answered.
    pub const fn due(&self) -> Tick {
        self.due
    }

    /// What is tried.
    pub const fn image(&self) -> Borrowed<'_> {
        self.image.borrow()
    }

    /// A child was reaped, perhaps this one. Whoever is left in its group is ended
    /// at once: the number of an empty one may be that of the next monitor.
    pub fn note_death(&mut self, pid: Pid, exit: Exit) {
        if pid == self.pid {
            self.exit = Some(exit);
            self.end();
        }
    }

    /// Which version it is, or why it is not to take our place; `None` as long as
    /// that is not known.
    pub fn verdict(&mut self, now: Tick) -> Option<Result<String>> {
        self.listen();
        // It is over when its process is, which nobody has to end any more then.
        let Some(exit) = self.exit else {
            let late = || Error::plain(format_args!("it is not done within {PATIENCE}"));
            return (now >= self.due).then(|| Err(late()));
        };
        if let Outcome::Failed(_, errno) = self.fate.outcome() {
            return Some(Err(match errno {
                // It was there to be opened.
                Errno(libc::ENOENT) => Error::plain(format_args!(
                    "cannot execute it: it is a script, or its loader is missing"
                )),
                errno => Error::system(format_args!("cannot execute it"), errno),
            }));
        }
        Some(match Answer::read(&self.said) {
            Some(answer) if exit.is_success() => self.judge(&answer),
            Some(_) | None => {
                Err(Error::plain(format_args!("it left without an answer: {}", Death(exit))))
            }
        })
    }

    /// Takes in what it has said.
    fn listen(&mut self) {
        let mut piece = [0; 512];
        while !self.has_ended {
            match fd::read(self.answer.borrow(), &mut piece) {
                Err(errno) if would_block(errno) => return,
                Ok(read @ 1..) if self.said.len() < LONGEST => {
                    self.said.extend_from_slice(piece.get(..read).unwrap_or_default());
                }
                Ok(_) | Err(_) => self.has_ended = true,
            }
        }
    }

    fn judge(&self, answer: &Answer) -> Result<String> {
        let version = printable::lossy(answer.version.as_bytes());
        if !answer.why.is_empty() {
            let why = printable::lossy(answer.why.as_bytes());
            return Err(Error::plain(format_args!("panzer {version} says: {why}")));
        }
        if answer.digest != self.digest {
            return Err(Error::plain(format_args!("panzer {version} misunderstands the state")));
        }
        Ok(version)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.end();
            // It may have left its group; as long as it is not reaped it is ours.
            let _ = signal::send(self.pid, Signal::Kill);
        }
    }
}

impl Trial {
    /// Ends whatever is left of it. Who has died is reaped as any orphan is.
    fn end(&self) {
        if process::has_child_in_group(self.pid) == Ok(true) {
            let _ = signal::send_group(self.pid, Signal::Kill);
        }
    }
}

impl Answer {
    /// Reads one that is whole.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut tape = Tape::of(bytes.to_owned(), Way::Read);
        let mut answer = Self::blank();
        answer.tape(&mut tape);
        tape.is_whole().then_some(answer)
    }
}

/// A file with a state, which nobody can change.
pub(super) fn state_file(state: &Tape) -> crate::sys::Result<Fd> {
    memory::settled_file(c"panzer-state", state.bytes())
}

impl Main {
    /// The words with which another image is executed: ours, but that the first
    /// names the file, for the kernel tells nobody the path of a descriptor.
    pub(super) fn own_words(&self) -> Vec<CString> {
        let mut words: Vec<_> = self.own.iter().map(|&word| word.to_owned()).collect();
        if let Some(first) = words.first_mut() {
            first.clone_from(&self.binary);
        }
        words
    }
}

/// Our environment, and the numbers of what another image is given.
pub(super) fn environment(numbers: &[(&str, u32)]) -> Vec<CString> {
    let mut entries = env::all();
    // Where nobody says how many threads there are, ours were not taken away.
    spawn::remove(&mut entries, &[b"PANZER_STATE=", b"PANZER_TRIAL="]);
    for (name, number) in numbers {
        spawn::add(&mut entries, name, number);
    }
    entries
}

impl Main {
    /// Reads the configuration and opens its sockets, and lets go of them.
    fn try_configuration(&mut self) -> Result<()> {
        let mut options = config::again(&self.options);
        config::read(self.words, &self.start, &mut options)?;
        let before = self.listeners.count();
        setup::bind_anew(&mut options, &self.start, &mut self.listeners)?;
        self.listeners.close_from(before);
        Ok(())
    }
}

/// What another image of this process, or our parent, has handed down.
pub(super) struct Handed {
    state: Fd,
    /// Where to say whether we could go on; nowhere if we have to.
    answer: Option<Fd>,
}

impl Handed {
    /// Takes it out of the environment.
    ///
    /// # Errors
    ///
    /// When what stands there was not handed down: whoever is called so is no main
    /// of his own.
    pub fn take() -> Result<Option<Self>> {
        let (state, answer) = (env::take(c"PANZER_STATE"), env::take(c"PANZER_TRIAL"));
        if state.is_none() && answer.is_none() {
            return Ok(None);
        }
        let adopt = |word: CString| {
            decimal::parse(word.to_bytes(), i32::MAX.unsigned_abs()).and_then(fd::adopt)
        };
        let is_trial = answer.is_some();
        match (state.and_then(adopt), answer.and_then(adopt)) {
            (Some(state), answer) if answer.is_some() == is_trial => {
                Ok(Some(Self { state, answer }))
            }
            _ => Err(Error::plain(format_args!(
                "PANZER_STATE or PANZER_TRIAL names what main has not handed down"
            ))),
        }
    }

    /// Whether this is a trial, which leaves everything alone.
    pub const fn is_trial(&self) -> bool {
        self.answer.is_some()
    }

    /// Reads the state into `main`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(&self, main: &mut Main) -> Result<()> {
        let bytes = memory::read_settled(self.state.borrow(), MOST)
            .map_err(cannot("read the state of main"))?;
        main.take_state(bytes, if self.is_trial() { Way::Try } else { Way::Read })
    }

    /// Says to our parent whether we could go on where it stands.
    pub fn answer(&self, main: &mut Main) {
        log::begin(Role::Main, Level::Error);
        let mut digest = 0;
        let read = self.read(main).and_then(|()| {
            digest = main.state().digest();
            main.try_configuration()
        });
        let mut answer = Answer {
            digest,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            why: match read {
                Ok(()) => String::new(),
                Err(why) => text::compose(format_args!("{why}")),
            },
        };
        let mut tape = Tape::blank();
        answer.tape(&mut tape);
        if let Some(fd) = &self.answer {
            // Whoever would read it may have given up.
            let _ = fd::write(fd.borrow(), tape.bytes());
        }
    }
}
