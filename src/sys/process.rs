//! Processes: fork(2), waitid(2), prctl(2), getpid(2).

use super::{Errno, SysResult, capability, check, insist, last_errno, retry_eintr};
use crate::types::{Account, Exit, Pid, Signal};
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr;

/// This process.
#[must_use]
pub fn id() -> Pid {
    // SAFETY: getpid always succeeds and touches no memory.
    let ask = || Pid::new(unsafe { libc::getpid() }).ok_or(Errno(libc::EAGAIN));
    insist(ask).expect("getpid(2) is positive")
}

/// Our parent; `None` when it is outside of our pid namespace.
#[must_use]
pub fn parent() -> Option<Pid> {
    // SAFETY: getppid always succeeds and touches no memory.
    Pid::new(unsafe { libc::getppid() })
}

/// The process group of `pid`; `None` when it is gone.
#[must_use]
pub fn group_of(pid: Pid) -> Option<Pid> {
    // SAFETY: getpgid touches no memory; it is a bare system call.
    Pid::new(unsafe { libc::getpgid(pid.raw()) })
}

/// The session of `pid`, or our own; `None` when its leader is outside of our pid
/// namespace, as in a container that was entered from outside. getsid(2)
///
/// # Errors
///
/// `ESRCH` when `pid` is gone.
pub fn session_of(pid: Option<Pid>) -> SysResult<Option<Pid>> {
    // SAFETY: getsid touches no memory; it is a bare system call.
    Ok(Pid::new(check(unsafe { libc::getsid(pid.map_or(0, Pid::raw)) })?))
}

/// Whether this process may signal those of `user`: as one of the same user, or
/// with `CAP_KILL`. kill(2)
///
/// # Errors
///
/// `EPERM` or `ENOSYS` where a sandbox forbids the question.
pub fn may_signal(user: u32) -> SysResult<bool> {
    // SAFETY: getuid always succeeds and touches no memory.
    let real = unsafe { libc::getuid() };
    Ok(real == user || self::user() == user || capability::may_signal_all()?)
}

/// Whether what this process starts may become `user`: with `CAP_SETGID`, which setgroups(2)
/// wants of the same user too, and `CAP_SETUID`.
///
/// # Errors
///
/// `EPERM` or `ENOSYS` where a sandbox forbids the question.
pub fn may_become(user: u32) -> SysResult<bool> {
    Ok(capability::may_become_groups()?
        && (self::user() == user || capability::may_become_users()?))
}

/// The user whose rights this process has.
#[must_use]
pub fn user() -> u32 {
    // SAFETY: geteuid always succeeds and touches no memory.
    unsafe { libc::geteuid() }
}

/// Becomes `account` for good and makes sure of it: setgroups(2), setresgid(2),
/// setresuid(2), and no ambient capabilities: capabilities(7).
///
/// Makes system calls alone: the C library's functions of these names take a
/// lock, to have every thread do it.
///
/// # Errors
///
/// `EPERM` when we may not, or have not become it all the same; `EINVAL` for a
/// number that our user namespace does not have.
pub fn become_user(account: &Account) -> SysResult<()> {
    /// More groups than a user has, and few enough for the stack.
    const MOST: usize = 1_024;
    let Account { user, group, ref groups } = *account;
    // SAFETY: `groups` is readable for as many numbers as its length says.
    let mut done =
        unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } == 0;
    // SAFETY: setresgid takes three numbers and touches no memory.
    done = done && unsafe { libc::syscall(libc::SYS_setresgid, group, group, group) } == 0;
    // SAFETY: setresuid takes three numbers and touches no memory.
    done = done && unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) } == 0;
    if !done {
        return Err(last_errno());
    }
    // What a service manager has given to another user than root stays when the user goes.
    // With an inheritable capability the ambient one goes.
    capability::clear_inheritable()?;
    // Each of these fills the beginning. Only the last can fail, for more groups
    // than that, and then nothing was made sure of.
    let mut seen = [0; MOST];
    let [real, effective, saved, ..] = &mut seen;
    // SAFETY: each of the three is writable for the one number.
    unsafe { libc::getresuid(real, effective, saved) };
    let mut is_it = are(&seen, 3, &[user]);
    let [real, effective, saved, ..] = &mut seen;
    // SAFETY: each of the three is writable for the one number.
    unsafe { libc::getresgid(real, effective, saved) };
    is_it = is_it && are(&seen, 3, &[group]);
    // SAFETY: `seen` is writable for as many numbers as that says.
    let count = unsafe { libc::getgroups(MOST as libc::c_int, seen.as_mut_ptr()) };
    is_it = is_it && count as usize == groups.len() && are(&seen, groups.len(), groups);
    if is_it { Ok(()) } else { Err(Errno(libc::EPERM)) }
}

/// Whether each of the first numbers is one of `those`.
fn are(numbers: &[u32], first: usize, those: &[u32]) -> bool {
    numbers.iter().take(first).all(|number| those.contains(number))
}

/// Whether the calling thread is the one the process began with.
pub(super) fn in_first_thread() -> bool {
    // SAFETY: gettid takes no arguments and touches no memory.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    thread == libc::c_long::from(id().raw())
}

/// Signals the thread the process began with. Async-signal-safe.
pub(super) fn interrupt_first_thread(signal: libc::c_int) {
    let process = id().raw();
    // SAFETY: tgkill takes three numbers and touches no memory.
    unsafe { libc::syscall(libc::SYS_tgkill, process, process, signal) };
}

/// Ends the process when a panic would unwind past it.
///
/// The frames above a fork are the parent's, and run in the parent alone.
struct ExitOnUnwind;

impl Drop for ExitOnUnwind {
    fn drop(&mut self) {
        exit_now(101)
    }
}

/// Forks, runs `child` in the new process, and ends that process with the
/// status it returns, without running the parent's destructors or atexit(3).
///
/// The child never comes back to the caller, not even by panicking (status
/// 101). Hold `signal::block_all` over the call, and have the child drop it
/// when its own handlers are in place. The caller has made sure that
/// [`threads`](super::threads::threads) says one, or knows what it does.
///
/// # Errors
///
/// `EAGAIN` at the process limit and `ENOMEM` when the kernel cannot copy the
/// tables; both are worth retrying later.
pub fn fork(child: impl FnOnce() -> u8) -> SysResult<Pid> {
    // SAFETY: with one thread no lock is held by a thread that the child lacks;
    // with more, the token of `allow_threads` says that the program knows.
    let forked = check(unsafe { libc::fork() })?;
    go_on(forked, child)
}

/// The same by clone(2), for a `child` that makes system calls alone until it
/// has executed another program.
///
/// fork(3) would put the C library in order for a child that uses it. In this
/// one its locks may be held for ever, and what it remembers of the thread is
/// the parent's.
///
/// # Errors
///
/// Those of [`fork`].
pub fn fork_to_exec(child: impl FnOnce() -> u8) -> SysResult<Pid> {
    go_on(check(clone_copy(libc::SIGCHLD.into()))?, child)
}

/// What [`fork_with_few`] needs beside its child, made once.
#[derive(Debug)]
pub struct ForkStack(Vec<u8>);

impl Default for ForkStack {
    fn default() -> Self {
        const SIZE: usize = 64 << 10;
        Self(alloc::vec![0; SIZE])
    }
}

/// What the process between this one and its child works on.
struct Between<F> {
    first: libc::c_int,
    child: Option<F>,
    forked: SysResult<libc::c_int>,
}

/// The same as [`fork_to_exec`] where this process has very many descriptors: the child
/// has those below `first` alone. It costs nothing for each of the others, which fork(2)
/// would copy and the child close.
///
/// A process between the two shares memory and descriptors with this one, which waits for
/// it: clone(2) with `CLONE_VFORK`. It makes a table of its own, close_range(2) with
/// `CLOSE_RANGE_UNSHARE`, forks the child as ours, with `CLONE_PARENT`, and ends. It
/// touches no file. Its death is one SIGCHLD more.
///
/// # Errors
///
/// Those of [`fork`]; `ENOSYS` and `EPERM` where a sandbox forbids close_range(2).
pub fn fork_with_few(
    first: libc::c_int,
    stack: &mut ForkStack,
    child: impl FnOnce() -> u8,
) -> SysResult<Pid> {
    let mut between = Between { first, child: Some(child), forked: Err(Errno(libc::EAGAIN)) };
    let pid = clone_between(&mut between, stack)?;
    // It has ended but for its last steps; every signal is held back.
    // SAFETY: a null pointer says that its status is not wanted.
    unsafe { libc::waitpid(pid.raw(), ptr::null_mut(), 0) };
    let forked = between.forked?;
    Ok(Pid::new(forked).expect("fork(2) gives the parent a positive number"))
}

fn clone_between<F: FnOnce() -> u8>(
    between: &mut Between<F>,
    stack: &mut ForkStack,
) -> SysResult<Pid> {
    extern "C" fn run<F: FnOnce() -> u8>(between: *mut libc::c_void) -> libc::c_int {
        // SAFETY: it points to the value of the caller, which waits and has lent it to us.
        let between = unsafe { &mut *between.cast::<Between<F>>() };
        between.forked = fork_small(between.first, &mut between.child);
        0
    }
    // It grows down from its end, which is to be at a multiple of 16.
    let top = stack.0.as_mut_ptr_range().end.map_addr(|address| address & !15);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: the stack is ours alone, and as `between` it is lent until the process has
    // ended: that is what CLONE_VFORK waits for.
    let pid = unsafe { libc::clone(run::<F>, top.cast(), flags, ptr::from_mut(between).cast()) };
    Ok(Pid::new(check(pid)?).expect("fork(2) gives the parent a positive number"))
}

/// The work of the process between; in the child it does not return.
fn fork_small<F: FnOnce() -> u8>(
    first: libc::c_int,
    child: &mut Option<F>,
) -> SysResult<libc::c_int> {
    let (last, unshare) = (libc::c_int::MAX, libc::CLOSE_RANGE_UNSHARE);
    // SAFETY: close_range takes three numbers. The table is this process's own from here
    // on, and what it leaves out is used neither in it nor in the child.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, unshare) } as libc::c_int)?;
    let flags = libc::c_long::from(libc::CLONE_PARENT);
    let forked = check(clone_copy(flags))?;
    if let (0, Some(child)) = (forked, child.take()) {
        go_on(forked, child)?;
    }
    Ok(forked)
}

/// clone(2) of this process with its memory copied, as fork(2) does.
fn clone_copy(flags: libc::c_long) -> libc::c_int {
    let [first, second] = if cfg!(target_arch = "s390x") { [0, flags] } else { [flags, 0] };
    let none = 0_usize;
    // SAFETY: the child is a copy of this process, stack included, as after fork(2); no
    // pointer is passed.
    let forked = unsafe { libc::syscall(libc::SYS_clone, first, second, none, none, none) };
    forked as libc::c_int
}

/// What is common to both forks: `forked` is what the system call has said.
fn go_on(forked: libc::c_int, child: impl FnOnce() -> u8) -> SysResult<Pid> {
    if forked == 0 {
        let _guard = ExitOnUnwind;
        exit_now(child())
    }
    Ok(Pid::new(forked).expect("fork(2) gives the parent a positive number"))
}

/// Ends the process at once: _exit(2).
pub fn exit_now(status: u8) -> ! {
    // SAFETY: _exit does not return and touches no memory of ours.
    unsafe { libc::_exit(libc::c_int::from(status)) }
}

/// One answer of the kernel about children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child is dead, and unless it was only looked at no longer known to the
    /// kernel.
    Dead(Pid, Exit),
    /// There are children, and none of them is dead.
    NoneDead,
    /// There is no such child.
    NoChild,
}

/// Reaps one dead child, whichever, without waiting.
///
/// For a process that all orphans below it come to. One SIGCHLD may stand for
/// many deaths: call this until it says something other than `Dead`.
///
/// # Errors
///
/// None that waitid(2) knows for these arguments.
pub fn reap_any() -> SysResult<Reaped> {
    wait_for(libc::P_ALL, 0, libc::WEXITED)
}

/// Reaps the child `pid` if it is dead, without waiting.
///
/// # Errors
///
/// None that waitid(2) knows for these arguments.
pub fn reap(pid: Pid) -> SysResult<Reaped> {
    wait_for(libc::P_PID, pid.raw(), libc::WEXITED)
}

/// Whether `pid` is a child of ours, dead or alive: then it is no stranger.
///
/// # Errors
///
/// None that waitid(2) knows for these arguments.
pub fn is_child(pid: Pid) -> SysResult<bool> {
    let answer = wait_for(libc::P_PID, pid.raw(), libc::WEXITED | libc::WNOWAIT)?;
    Ok(answer != Reaped::NoChild)
}

/// Whether we have a child, dead or alive, in the group `leader`: then no
/// stranger can have taken the group's number.
///
/// # Errors
///
/// None that waitid(2) knows for these arguments.
pub fn has_child_in_group(leader: Pid) -> SysResult<bool> {
    Ok(dead_child_in_group(leader)? != Reaped::NoChild)
}

/// Which child is dead, whichever, without reaping it.
///
/// # Errors
///
/// None that waitid(2) knows for these arguments.
pub fn dead_child() -> SysResult<Reaped> {
    wait_for(libc::P_ALL, 0, libc::WEXITED | libc::WNOWAIT)
}

/// Whether this child is dead, or none of ours any more, without reaping it.
pub fn is_dead(pid: Pid) -> bool {
    let state = wait_for(libc::P_PID, pid.raw(), libc::WEXITED | libc::WNOWAIT);
    state.is_ok_and(|state| state != Reaped::NoneDead)
}

/// Which child in the group `leader` is dead, without reaping it.
///
/// `NoneDead` says that one is alive, which keeps the group's number from strangers
/// until it is reaped. A process in the group whose parent lives is not seen.
///
/// # Errors
///
/// None that waitid(2) knows for these arguments.
pub fn dead_child_in_group(leader: Pid) -> SysResult<Reaped> {
    wait_for(libc::P_PGID, leader.raw(), libc::WEXITED | libc::WNOWAIT)
}

fn wait_for(kind: libc::idtype_t, id: i32, what: libc::c_int) -> SysResult<Reaped> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let id = id.unsigned_abs();
    // SAFETY: `info` is writable for the one siginfo that waitid stores.
    let call = || check(unsafe { libc::waitid(kind, id, info.as_mut_ptr(), what | libc::WNOHANG) });
    match retry_eintr(call) {
        Ok(_) => {}
        Err(Errno(libc::ECHILD)) => return Ok(Reaped::NoChild),
        Err(errno) => return Err(errno),
    }
    // SAFETY: zeroed before, and waitid stores a whole one or nothing.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid stores si_pid, or left the zero that was there.
    let Some(pid) = Pid::new(unsafe { info.si_pid() }) else {
        return Ok(Reaped::NoneDead);
    };
    // SAFETY: waitid stored si_status together with si_pid.
    let status = unsafe { info.si_status() };
    let number = u8::try_from(status & 0x7f).unwrap_or(0);
    let exit = match info.si_code {
        libc::CLD_KILLED => Exit::Signal { number, core: false },
        libc::CLD_DUMPED => Exit::Signal { number, core: true },
        _ => Exit::Status(status.to_le_bytes()[0]),
    };
    Ok(Reaped::Dead(pid, exit))
}

/// Leads a process group of our own: setpgid(2).
///
/// For a child right after its fork. Until it has come here it is in the group of
/// its parent, which must not take its number for a group's: see
/// [`signal::send_program`](super::signal::send_program).
pub fn lead_group() {
    // SAFETY: setpgid takes two numbers and touches no memory.
    unsafe { libc::setpgid(0, 0) };
}

/// Leads a session of our own, and a process group in it: setsid(2).
///
/// A new session has no controlling terminal. It cannot fail in a process that
/// was just forked, which leads no group.
pub fn lead_session() {
    // SAFETY: setsid takes no arguments and touches no memory.
    unsafe { libc::setsid() };
}

fn control(option: libc::c_int, argument: libc::c_ulong) -> SysResult<()> {
    // SAFETY: the options that we pass take a number, or (PR_SET_NAME) the
    // address of a C string that its caller keeps alive.
    check(unsafe { libc::prctl(option, argument, 0, 0, 0) })?;
    Ok(())
}

/// Has orphans below us become our children: `PR_SET_CHILD_SUBREAPER`.
///
/// # Errors
///
/// `EINVAL` before Linux 3.4.
pub fn adopt_orphans() -> SysResult<()> {
    control(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// Has the kernel send `signal` when the thread that forked us ends, and says
/// whether it has ended already: `PR_SET_PDEATHSIG`.
///
/// setuid(2) and its kin clear it; call this after them.
///
/// # Errors
///
/// None that prctl(2) knows for a valid signal.
pub fn follow_parent(parent_is: Pid, signal: Signal) -> SysResult<Alive> {
    let number = signal.number().unsigned_abs();
    control(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(number))?;
    Ok(if parent() == Some(parent_is) { Alive::Yes } else { Alive::No })
}

/// Has the kernel end us at once when the thread that forked us ends, if it is still
/// there: for a child that is not needed without it.
pub fn die_with_parent() {
    let number = libc::SIGKILL.unsigned_abs();
    // It cannot fail for a valid signal.
    let _ = control(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(number));
}

/// Whether a process was still there after we asked to be told of its death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alive {
    /// It was.
    Yes,
    /// It died before.
    No,
}

/// Names the process as ps(1) shows it, at most 15 bytes: `PR_SET_NAME`.
pub fn set_name(name: &CStr) {
    // The name is copied before the call returns. It cannot fail.
    let _ = insist(|| control(libc::PR_SET_NAME, name.as_ptr().addr() as libc::c_ulong));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{clock, fd, poll, signal};
    use crate::types::Millis;

    #[test]
    fn child_with_few_descriptors_is_ours_and_has_none_above() {
        let (read, write) = fd::pipe(fd::Blocking::No).expect("a pipe");
        let first = read.number().max(write.number()) + 1;
        let above = first + 400;
        // SAFETY: the pipe is open; F_DUPFD_CLOEXEC touches no memory.
        let other = unsafe { libc::fcntl(write.number(), libc::F_DUPFD_CLOEXEC, above) };
        assert!(other >= above);
        let is_open = |number: libc::c_int| {
            // SAFETY: F_GETFD touches no memory; a closed number is EBADF.
            unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
        };
        let (own, mut stack) = (id(), ForkStack::default());
        let blocked = signal::block_all();
        let forked = fork_with_few(first, &mut stack, || {
            let is_well = parent() == Some(own) && is_open(write.number()) && !is_open(other);
            u8::from(!is_well)
        });
        drop(blocked);
        let pid = forked.expect("there is room for a process");
        let due = clock::now().after(Millis(20_000));
        let exit = loop {
            match reap(pid) {
                Ok(Reaped::Dead(_, exit)) => break exit,
                _ => assert!(due > clock::now(), "{pid} does not end"),
            }
            let _ = poll::wait(&mut [], Some(clock::now().after(Millis(1))));
        };
        assert_eq!((exit, is_open(other)), (Exit::Status(0), true));
        // SAFETY: the number is the test's own.
        unsafe { libc::close(other) };
    }
}
