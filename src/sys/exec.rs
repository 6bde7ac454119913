//! Starting a program: everything between fork(2) and execve(2).
//!
//! A [`Program`] has all that the child needs before there is a child, so
//! that nothing in the child allocates, locks or panics. What fails there is
//! named by its [`Stage`] through a close-on-exec pipe; a pipe that ends empty
//! says that the program runs.

use super::fd::{self, Blocking, Borrowed, Fd, Standard};
use super::process::{self, Alive};
use super::signal::{self, Blocked, Inherited};
use super::{Errno, Result, check, last_errno};
use crate::sys::call;
use crate::tape::taped;
use crate::types::{Account, Pid};
use alloc::borrow::ToOwned as _;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::ptr;

/// The step of the child that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
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
}

/// Where the variable begins that only the child knows the value of.
const LISTEN_PID: &[u8] = b"LISTEN_PID=";
/// Enough for any pid and the closing NUL.
const DIGITS: usize = 12;

/// A program ready to be started.
pub struct Program<'a> {
    files: Vec<CString>,
    /// The file itself, if it was opened before.
    open: Option<Borrowed<'a>>,
    /// Whether it stays in our process group.
    stays: bool,
    directory: &'a CStr,
    /// The strings that `argv` and `envp` point into.
    _words: [&'a [CString]; 2],
    argv: Vec<*const c_char>,
    /// Ends in one place for `LISTEN_PID` and a null.
    envp: Vec<*const c_char>,
    listen_pid: Vec<u8>,
}

fn pointers(words: &[CString], spare: usize) -> Vec<*const c_char> {
    let mut list = alloc::vec![ptr::null(); words.len() + spare];
    for (place, word) in list.iter_mut().zip(words) {
        *place = word.as_ptr();
    }
    list
}

/// Which files execvp(3) would try for `command`.
fn candidates(command: &CStr, path: Option<&[u8]>) -> Vec<CString> {
    let name = command.to_bytes();
    if name.contains(&b'/') {
        return alloc::vec![command.to_owned()];
    }
    let path = path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
    let mut files = Vec::new();
    for directory in path.split(|&byte| byte == b':') {
        let directory = if directory.is_empty() { b"." } else { directory };
        files.extend(CString::new([directory, b"/", name].concat()));
    }
    files
}

impl<'a> Program<'a> {
    /// A program from its words (the first one names the file), its whole
    /// environment (`LISTEN_PID` is added) and the directory it starts in.
    pub fn new(words: &'a [CString], environment: &'a [CString], directory: &'a CStr) -> Self {
        let path =
            environment.iter().rev().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
        let files = words.first().map(|command| candidates(command, path)).unwrap_or_default();
        let (argv, envp) = (pointers(words, 1), pointers(environment, 2));
        let listen_pid = [LISTEN_PID, &[0; DIGITS]].concat();
        let words = [words, environment];
        let (open, stays) = (None, false);
        Self { files, open, stays, directory, _words: words, argv, envp, listen_pid }
    }

    /// Has `file` executed, whatever stands at its path by then. It cannot be a
    /// script, whose interpreter would find it closed.
    pub const fn open(mut self, file: Borrowed<'a>) -> Self {
        self.open = Some(file);
        self
    }

    /// Leaves it in our process group.
    pub const fn beside_us(mut self) -> Self {
        self.stays = true;
        self
    }

    /// Executes the program in place of this one, of which it has the process and
    /// those descriptors that are not close-on-exec. Comes back only with the
    /// reason why that could not be done. execve(2), execveat(2)
    pub fn replace(&self) -> Errno {
        self.execute()
    }

    /// Starts the program, in a process group of its own unless it is to stay
    /// [beside us](Self::beside_us), with `descriptors` as 3, 4 and so on and no
    /// others but 0 to 2, of which 0 is /dev/null, as `account`, if there is one.
    ///
    /// Returns the child and the pipe to read its fate from. Does not wait for
    /// the exec: the directory may be on a file server that is away.
    ///
    /// # Errors
    ///
    /// `EAGAIN` or `ENOMEM` of fork(2), `EMFILE` or `ENFILE` of the pipe.
    pub fn spawn(
        &mut self,
        descriptors: &[Borrowed<'_>],
        inherited: Inherited,
        account: Option<&Account>,
        _blocked: &Blocked,
    ) -> Result<(Pid, Fate)> {
        let (read, write) = fd::pipe(Blocking::No)?;
        let nowhere = super::file::open(c"/dev/null", super::file::Mode::ReadWrite)?;
        let mut places = Vec::with_capacity(descriptors.len());
        let parent = process::id();
        let pid = process::fork_to_exec(|| {
            let mut place = Place {
                report: write.borrow(),
                file: self.open,
                nowhere: nowhere.borrow(),
                descriptors,
            };
            let (stage, errno) =
                self.become_it(&mut place, &mut places, inherited, account, parent);
            place.tell(stage, errno)
        })?;
        if !self.stays {
            process::lead_group(Some(pid));
        }
        Ok((pid, Fate { pipe: read }))
    }

    /// The child's way to the program; returns only if a step failed.
    fn become_it(
        &mut self,
        place: &mut Place<'_>,
        moved: &mut Vec<Fd>,
        inherited: Inherited,
        account: Option<&Account>,
        parent: Pid,
    ) -> (Stage, Errno) {
        if !self.stays {
            process::lead_group(None);
            // Until now we were in main's group: what was to stop that would stop
            // us for ever, because nobody lets our group go on.
            signal::forget_stops();
        }
        if let Err(errno) = place.arrange(moved) {
            return (Stage::Descriptors, errno);
        }
        self.open = place.file.map(|file| Borrowed::trusted(file.number()));
        if let Some(account) = account
            && let Err(errno) = process::become_user(account)
        {
            return (Stage::User, errno);
        }
        // After that, which would undo it; and whoever enters the directory and
        // executes the file is who is to use them.
        match process::follow_parent(parent) {
            Ok(Alive::Yes) => {}
            Ok(Alive::No) => return (Stage::Parent, Errno(libc::ESRCH)),
            Err(errno) => return (Stage::Parent, errno),
        }
        // SAFETY: the directory is a C string; chdir touches no other memory.
        if let Err(errno) = check(unsafe { libc::chdir(self.directory.as_ptr()) }) {
            return (Stage::Directory, errno);
        }
        self.sign();
        inherited.restore();
        signal::unblock_all();
        (Stage::Execute, self.execute())
    }

    /// Writes our pid behind `LISTEN_PID=` and puts it into the environment.
    fn sign(&mut self) {
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
        let (argv, envp) = (self.argv.as_ptr(), self.envp.as_ptr());
        if let Some(file) = self.open {
            let (this, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
            // SAFETY: the path is a C string, and both lists are null-ended
            // arrays of C strings that `self` borrows.
            unsafe { libc::syscall(libc::SYS_execveat, file.number(), this, argv, envp, flags) };
            return last_errno();
        }
        let mut reason = Errno(libc::ENOENT);
        for file in &self.files {
            // SAFETY: the file is a C string, and both lists are null-ended
            // arrays of C strings that `self` borrows.
            unsafe { libc::execve(file.as_ptr(), argv, envp) };
            match last_errno() {
                Errno(libc::ENOENT | libc::ENOTDIR) => {}
                Errno(libc::EACCES) => reason = Errno(libc::EACCES),
                errno => return errno,
            }
        }
        reason
    }
}

/// The child's descriptors before they are in place.
struct Place<'fd> {
    report: Borrowed<'fd>,
    /// What is to be executed, if it is open.
    file: Option<Borrowed<'fd>>,
    nowhere: Borrowed<'fd>,
    descriptors: &'fd [Borrowed<'fd>],
}

impl Place<'_> {
    /// The number behind the last descriptor of the program, where the report
    /// pipe goes, and behind that the file.
    const fn end(&self) -> libc::c_int {
        3 + self.descriptors.len() as libc::c_int
    }

    /// Puts everything in place: first out of the way, then where it belongs.
    fn arrange(&mut self, moved: &mut Vec<Fd>) -> Result<()> {
        let beyond = self.end() + 2;
        let report = copy_from(self.report, beyond)?;
        let file = self.file.map(|file| copy_from(file, beyond)).transpose()?;
        for descriptor in self.descriptors {
            moved.push(copy_from(*descriptor, beyond)?);
        }
        put(self.nowhere, Standard::Input as libc::c_int)?;
        for (number, descriptor) in (3..).zip(moved.iter()) {
            put(descriptor.borrow(), number)?;
        }
        let last = Borrowed::trusted(self.end());
        fd::replace(last, report.borrow())?;
        self.report = last;
        if let Some(file) = &file {
            let behind = Borrowed::trusted(self.end() + 1);
            fd::replace(behind, file.borrow())?;
            self.file = Some(behind);
        }
        drop((report, file));
        let last = self.file.unwrap_or(last);
        close_between(last.number() + 1, libc::c_int::MAX);
        Ok(())
    }

    /// Says what failed, to whoever reads the [`Fate`].
    fn tell(&self, stage: Stage, errno: Errno) -> u8 {
        let [a, b, c, d] = errno.0.to_le_bytes();
        let report = [stage as u8, a, b, c, d];
        // Whoever would read it may be gone; the status is all that is left then.
        let _ = fd::write(self.report, &report);
        let missing = stage == Stage::Execute && errno == Errno(libc::ENOENT);
        if missing { 127 } else { 126 }
    }
}

/// A copy of `fd`, close-on-exec, at `least` or above.
fn copy_from(fd: Borrowed<'_>, least: libc::c_int) -> Result<Fd> {
    // SAFETY: `fd` is open while borrowed; F_DUPFD_CLOEXEC touches no memory.
    check(unsafe { call::fcntl(fd.number(), libc::F_DUPFD_CLOEXEC, least as _) }).map(Fd::own)
}

/// Makes `number` mean what `fd` means, open over exec.
fn put(fd: Borrowed<'_>, number: libc::c_int) -> Result<()> {
    // SAFETY: `fd` is open while borrowed; dup2 touches no memory.
    check(unsafe { libc::dup2(fd.number(), number) })?;
    Ok(())
}

/// Closes every descriptor from `first` to `last`: close_range(2), Linux 5.9.
fn close_between(first: libc::c_int, last: libc::c_int) {
    if first > last {
        return;
    }
    // SAFETY: close_range takes three numbers; in this child nothing uses
    // these descriptors any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        return;
    }
    // A sandbox that does not know the call: one by one, as far as is usual.
    for number in first..=last.min(65_535) {
        // SAFETY: in this child nothing uses the number any more.
        unsafe { libc::close(number) };
    }
}

/// Closes every descriptor but these two, in a forked child that never comes to
/// use or to drop what else is open.
pub fn close_others(kept: [Borrowed<'_>; 2]) {
    let mut kept = kept.map(|fd| fd.number());
    kept.sort_unstable();
    let [low, high] = kept;
    close_between(0, low - 1);
    close_between(low + 1, high - 1);
    close_between(high + 1, libc::c_int::MAX);
}

/// What becomes of a program that was started.
#[derive(Debug)]
pub struct Fate {
    pipe: Fd,
}

taped! { struct Fate { pipe } }

/// The answer of a [`Fate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not yet known.
    Open,
    /// The program runs, or its process is gone without a word.
    Running,
    /// This step failed, for this reason.
    Failed(Stage, Errno),
}

impl Fate {
    /// Readable when the answer is there.
    pub const fn source(&self) -> Borrowed<'_> {
        self.pipe.borrow()
    }

    /// Reads the answer without waiting.
    pub fn outcome(&self) -> Outcome {
        let mut report = [0; 5];
        match fd::read(self.pipe.borrow(), &mut report) {
            Ok(5) => {}
            Err(Errno(libc::EAGAIN)) => return Outcome::Open,
            Ok(_) | Err(_) => return Outcome::Running,
        }
        let [stage, a, b, c, d] = report;
        let stage = [Stage::Descriptors, Stage::User, Stage::Parent, Stage::Directory]
            .into_iter()
            .find(|known| *known as u8 == stage)
            .unwrap_or(Stage::Execute);
        Outcome::Failed(stage, Errno(i32::from_le_bytes([a, b, c, d])))
    }
}
