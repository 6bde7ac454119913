//! Starting a program: everything between fork(2) and execve(2).
//!
//! A [`Program`] has all that the child needs before there is a child, so
//! that nothing in the child allocates, locks or panics. What fails there is
//! named by its [`StartStep`] through a close-on-exec pipe; a pipe that ends empty
//! says that the program runs.

pub(super) mod place;

use super::{Errno, SysResult, check, fd, file, last_errno, message, process, signal};
use crate::persist::persisted;
use crate::sys::fd::{Blocking, Borrowed, Fd};
use crate::sys::message::SendWait;
use crate::sys::process::Alive;
use crate::sys::release::{Release, candidates};
use crate::sys::signal::{Blocked, OriginalDispositions};
use crate::types::{Account, Pid, Signal};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::ptr;
use place::ChildDescriptors;

/// The step of the child that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartStep {
    /// Putting the descriptors in place.
    Descriptors,
    /// Becoming the user that was asked for.
    User,
    /// Tying our life to main's.
    Parent,
    /// Entering the working directory.
    Directory,
    /// Executing the file.
    Execute,
    /// Nothing failed yet: a path of the [`Release`] names something else by now.
    Moved,
    /// Opening the file.
    Open,
}

/// Where the variable begins that only the child knows the value of.
const LISTEN_PID: &[u8] = b"LISTEN_PID=";
/// Where the one begins without which that one means nothing.
const LISTEN_FDS: &[u8] = b"LISTEN_FDS=";
/// Enough for any pid and the closing NUL.
const DIGITS: usize = 12;

/// What a process needs to start programs when it has very many descriptors: a number
/// below all of those, taken early, and a stack.
#[derive(Debug)]
pub struct Launcher {
    low: Fd,
    stack: process::ForkStack,
}

impl Launcher {
    /// Takes the lowest number that is free, at 3 or above, with what `null` means.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn new(null: Borrowed<'_>) -> SysResult<Self> {
        Ok(Self { low: fd::duplicate(null)?, stack: process::ForkStack::default() })
    }
}

/// What a program leads, whose number is its own.
#[derive(Clone, Copy)]
enum Apart {
    Session,
    Group,
}

/// A program ready to be started.
pub struct Program<'a> {
    files: Vec<CString>,
    /// The file itself, if it was opened before.
    open: Option<Borrowed<'a>>,
    /// Where the child opens it, if it does; then `open` is where it hands it back.
    path: Option<&'a CStr>,
    /// What it was when its generation started.
    release: Option<&'a Release>,
    apart: Apart,
    /// What it gets when we die.
    death: Signal,
    directory: &'a CStr,
    /// The strings that `argv` and `envp` point into.
    _words: [&'a [CString]; 2],
    argv: Vec<*const c_char>,
    /// Ends in one place for `LISTEN_PID` and a null.
    envp: Vec<*const c_char>,
    /// Empty where no sockets are handed down.
    listen_pid: Vec<u8>,
}

fn pointers(words: &[CString], spare: usize) -> Vec<*const c_char> {
    let mut list = alloc::vec![ptr::null(); words.len() + spare];
    for (place, word) in list.iter_mut().zip(words) {
        *place = word.as_ptr();
    }
    list
}

impl<'a> Program<'a> {
    /// A program from its words (the first one names the file), its whole
    /// environment (`LISTEN_PID` is added where it has `LISTEN_FDS`) and the directory
    /// it starts in.
    pub fn new(words: &'a [CString], environment: &'a [CString], directory: &'a CStr) -> Self {
        let files = candidates(words, environment);
        let (argv, envp) = (pointers(words, 1), pointers(environment, 2));
        let listens = environment.iter().any(|entry| entry.to_bytes().starts_with(LISTEN_FDS));
        let listen_pid = if listens { [LISTEN_PID, &[0; DIGITS]].concat() } else { Vec::new() };
        let words = [words, environment];
        let death = Signal::Term;
        let (open, path, release, apart) = (None, None, None, Apart::Session);
        Self {
            files,
            open,
            path,
            release,
            apart,
            death,
            directory,
            _words: words,
            argv,
            envp,
            listen_pid,
        }
    }

    /// Has `file` executed, whatever stands at its path by then. It cannot be a
    /// script, whose interpreter would find it closed.
    pub const fn open(mut self, file: Borrowed<'a>) -> Self {
        self.open = Some(file);
        self
    }

    /// Has the child open the file at `path`, send it over the socket `way`, and
    /// execute it: the path may be on a file server that is away. What arrives was
    /// opened by this program, for the child closes its end when it becomes the
    /// other one.
    pub const fn hand_back(mut self, path: &'a CStr, way: Borrowed<'a>) -> Self {
        (self.path, self.open) = (Some(path), Some(way));
        self
    }

    /// Has the file and the words of `release` executed, whatever stands at their
    /// paths by then, as far as that can be: a script is executed by its path.
    pub const fn of(mut self, release: &'a Release) -> Self {
        self.open = Some(release.file());
        self.release = Some(release);
        self
    }

    /// Leaves it in our session, in a process group of its own.
    pub const fn in_our_session(mut self) -> Self {
        self.apart = Apart::Group;
        self
    }

    /// Has it get this signal when we die, and not SIGTERM: `PR_SET_PDEATHSIG`.
    pub const fn dies_by(mut self, signal: Signal) -> Self {
        self.death = signal;
        self
    }

    /// Executes the program in place of this one, of which it has the process and
    /// those descriptors that are not close-on-exec. Comes back only with the
    /// reason why that could not be done. execve(2), execveat(2)
    pub fn replace(&self) -> Errno {
        self.execute()
    }

    /// Starts the program, as the leader of a session, or of a process group
    /// [in our session](Self::in_our_session), with `descriptors` as 3, 4 and so on and no
    /// others but 0 to 2, of which 0 is `null`, as `account`, if there is one.
    ///
    /// With a `launcher` the child is forked [with few](process::fork_with_few), which
    /// costs less where this process has very many descriptors.
    ///
    /// Returns the child and the pipe to read its fate from. Does not wait for
    /// the exec: the directory may be on a file server that is away.
    ///
    /// # Errors
    ///
    /// `EAGAIN` or `ENOMEM` of fork(2), `EMFILE` or `ENFILE` of the pipe.
    pub fn spawn(
        &mut self,
        null: Borrowed<'_>,
        descriptors: &[Borrowed<'_>],
        inherited: OriginalDispositions,
        account: Option<&Account>,
        launcher: Option<&mut Launcher>,
        _blocked: &Blocked,
    ) -> SysResult<(Pid, ExecStatus)> {
        let (read, write) = fd::pipe(Blocking::No)?;
        let mut places = Vec::with_capacity(descriptors.len());
        let parent = process::id();
        let open = self.open;
        // Compiled once for both ways.
        let child: &mut dyn FnMut(Borrowed<'_>) -> u8 = &mut |report| {
            let mut place = ChildDescriptors { report, file: open, nowhere: null, descriptors };
            let (stage, errno) =
                self.become_program(&mut place, &mut places, inherited, account, parent);
            place.tell(stage, errno)
        };
        if let Some(Launcher { low, stack }) = launcher
            && fd::replace(low.borrow(), write.borrow()).is_ok()
        {
            let report = low.borrow();
            let mut highest = report.number().max(null.number());
            for fd in descriptors.iter().chain(&open) {
                highest = highest.max(fd.number());
            }
            let forked = process::fork_with_few(highest + 1, stack, || child(report));
            // The number is open, so it can.
            let _ = fd::replace(low.borrow(), null);
            if let Ok(pid) = forked {
                return Ok((pid, ExecStatus { pipe: read }));
            }
        }
        let pid = process::fork_to_exec(|| child(write.borrow()))?;
        Ok((pid, ExecStatus { pipe: read }))
    }

    /// The child's way to the program; returns only if a step failed.
    fn become_program(
        &mut self,
        place: &mut ChildDescriptors<'_>,
        moved: &mut Vec<Fd>,
        inherited: OriginalDispositions,
        account: Option<&Account>,
        parent: Pid,
    ) -> (StartStep, Errno) {
        match self.apart {
            // A session's first group is an orphan: a terminal's signal stops nothing there.
            Apart::Session => process::lead_session(),
            // Until now we were in our parent's group: what was to stop that would stop
            // us for ever, because our group is never told to go on.
            Apart::Group => {
                process::lead_group();
                signal::forget_stops();
            }
        }
        if let Err(errno) = place.arrange(moved) {
            return (StartStep::Descriptors, errno);
        }
        // SAFETY: `arrange` has put the file at its number, and what is executed or ends
        // comes before anything that would close it.
        self.open = place.file.map(|file| unsafe { Borrowed::trusted(file.number()) });
        if let Some(account) = account
            && let Err(errno) = process::become_user(account)
        {
            return (StartStep::User, errno);
        }
        // After that, which would undo it; and the directory is entered and the file
        // executed as the user that is to use them.
        match process::follow_parent(parent, self.death) {
            Ok(Alive::Yes) => {}
            Ok(Alive::No) => return (StartStep::Parent, Errno(libc::ESRCH)),
            Err(errno) => return (StartStep::Parent, errno),
        }
        // SAFETY: the directory is a C string; chdir touches no other memory.
        if let Err(errno) = check(unsafe { libc::chdir(self.directory.as_ptr()) }) {
            return (StartStep::Directory, errno);
        }
        self.restore_and_execute(place, inherited)
    }

    /// Has the child be what the program is to find, its words, `LISTEN_PID` and the
    /// signals, and executes it.
    fn restore_and_execute(
        &mut self,
        place: &ChildDescriptors<'_>,
        inherited: OriginalDispositions,
    ) -> (StartStep, Errno) {
        if let Some(release) = self.release
            && release.is_moved()
        {
            self.look_for(release);
            place.tell(StartStep::Moved, Errno(0));
        }
        self.sign();
        inherited.restore();
        signal::unblock_all();
        match (self.path, self.open) {
            (Some(path), Some(way)) => self.open_and_execute(path, way),
            (Some(_) | None, _) => (StartStep::Execute, self.execute()),
        }
    }

    /// Opens the file, hands it back, and executes it.
    fn open_and_execute(&self, path: &CStr, way: Borrowed<'_>) -> (StartStep, Errno) {
        let file = match file::open(path, file::Mode::Execute) {
            Ok(file) => file,
            Err(errno) => return (StartStep::Open, errno),
        };
        match message::send(way, b"!", Some(file.borrow()), SendWait::Never) {
            Ok(_) => (StartStep::Execute, self.execute_open(file.borrow())),
            Err(errno) => (StartStep::Open, errno),
        }
    }

    /// Has the words that lead elsewhere by now lead to what they led to.
    fn look_for(&mut self, release: &'a Release) {
        for (index, word) in release.words() {
            if let Some(place) = self.argv.get_mut(index) {
                *place = word.as_ptr();
            }
        }
    }

    /// Writes our pid behind `LISTEN_PID=` and puts it into the environment, if it
    /// belongs there.
    fn sign(&mut self) {
        if self.listen_pid.is_empty() {
            return;
        }
        let pid = process::id().raw();
        let mut places = self.listen_pid.iter_mut().skip(LISTEN_PID.len());
        let mut unit = 1_000_000_000;
        while unit > 0 {
            if unit <= pid
                && let Some(place) = places.next()
            {
                *place = b'0' + (pid / unit % 10) as u8;
            }
            unit /= 10;
        }
        if let [.., place, _] = &mut self.envp[..] {
            *place = self.listen_pid.as_ptr().cast();
        }
    }

    /// Tries each file, as execvp(3) does; returns the reason that counts.
    fn execute(&self) -> Errno {
        if let Some(release) = self.release {
            return self.execute_release(release);
        }
        if let Some(file) = self.open {
            return self.execute_open(file);
        }
        let mut reason = Errno(libc::ENOENT);
        for file in &self.files {
            match self.execute_at(file) {
                Errno(libc::ENOENT | libc::ENOTDIR) => {}
                Errno(libc::EACCES) => reason = Errno(libc::EACCES),
                errno => return errno,
            }
        }
        reason
    }

    /// Executes the file by its path where that leads to it: then the process has
    /// its usual name, which it would have by the descriptor from Linux 6.14 on
    /// alone. By the descriptor neither a script nor another file with an
    /// interpreter can be executed (`ENOENT`).
    fn execute_release(&self, release: &Release) -> Errno {
        let path = release.path();
        if let Some(file) = self.open
            && !release.is_at(path)
        {
            let errno = self.execute_open(file);
            if errno != Errno(libc::ENOENT) {
                return errno;
            }
        }
        self.execute_at(path)
    }

    fn execute_open(&self, file: Borrowed<'_>) -> Errno {
        let (argv, envp) = (self.argv.as_ptr(), self.envp.as_ptr());
        let (this, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
        // SAFETY: the path is a C string, and both lists are null-ended arrays of
        // C strings that `self` borrows.
        unsafe { libc::syscall(libc::SYS_execveat, file.number(), this, argv, envp, flags) };
        last_errno()
    }

    fn execute_at(&self, file: &CStr) -> Errno {
        // SAFETY: the file is a C string, and both lists are null-ended arrays of
        // C strings that `self` borrows.
        unsafe { libc::execve(file.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        last_errno()
    }
}

/// /dev/null, the standard input of what is started.
///
/// A descriptor of its own to open, so that an error names it: a container may
/// lack the device, and `ENOENT` alone says nothing.
pub struct DevNull(Fd);

impl DevNull {
    /// Opens the device.
    ///
    /// # Errors
    ///
    /// `ENOENT` where there is none, `EACCES`, `EMFILE`, `ENFILE`.
    pub fn open() -> SysResult<Self> {
        super::file::open(c"/dev/null", super::file::Mode::ReadWrite).map(Self)
    }

    /// Lends it out.
    pub const fn borrow(&self) -> Borrowed<'_> {
        self.0.borrow()
    }
}

/// What becomes of a program that was started.
#[derive(Debug)]
pub struct ExecStatus {
    pipe: Fd,
}

persisted! { struct ExecStatus { pipe } }

/// The answer of a [`ExecStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecOutcome {
    /// Not yet known.
    Open,
    /// A path of the release names something else by now; the answer is to come.
    Moved,
    /// The program runs, or its process is gone without a word.
    Running,
    /// This step failed, for this reason.
    Failed(StartStep, Errno),
}

impl ExecStatus {
    /// Readable when the answer is there.
    pub const fn source(&self) -> Borrowed<'_> {
        self.pipe.borrow()
    }

    /// Reads the answer without waiting.
    pub fn outcome(&self) -> ExecOutcome {
        let mut report = [0; 5];
        match fd::read(self.pipe.borrow(), &mut report) {
            Ok(5) => {}
            Err(Errno(libc::EAGAIN)) => return ExecOutcome::Open,
            Ok(_) | Err(_) => return ExecOutcome::Running,
        }
        let [stage, a, b, c, d] = report;
        if stage == StartStep::Moved as u8 {
            return ExecOutcome::Moved;
        }
        let stage = [
            StartStep::Descriptors,
            StartStep::User,
            StartStep::Parent,
            StartStep::Directory,
            StartStep::Open,
        ]
        .into_iter()
        .find(|known| *known as u8 == stage)
        .unwrap_or(StartStep::Execute);
        ExecOutcome::Failed(stage, Errno(i32::from_le_bytes([a, b, c, d])))
    }
}
