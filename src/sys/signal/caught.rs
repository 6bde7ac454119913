//! The handler of main and of monitors, and what it has noted.
//!
//! It sets a flag, keeps who sent the signal where that matters, writes the
//! wake-up byte and leaves `errno` as it was. What has to be judged while the
//! sender may still be there (its group, its session) is judged here, with
//! one system call; everything else is the loop's.

use super::disposition::{self, Restart};
use super::wake;
use crate::sys::{last_errno, process, restore_errno};
use crate::types::{Pid, Signal};
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

const ORDER: Ordering = Ordering::SeqCst;

/// A bit for each signal that has arrived.
static PENDING: AtomicU64 = AtomicU64::new(0);
/// How often SIGINT has arrived.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// Who sent the last SIGINT; 0 for the kernel.
static INTERRUPTED_BY: AtomicI32 = AtomicI32::new(0);
/// Bits of [`Hangup`].
static HANGUPS: AtomicU8 = AtomicU8::new(0);
/// The process group of the generation that starts; 0 when none does.
static STARTING: AtomicI32 = AtomicI32::new(0);
/// The group whose SIGVTALRM was genuine; 0 when there was none.
static READY: AtomicI32 = AtomicI32::new(0);

/// Deaths noted and not yet looked at.
const RING: usize = 64;
static DEATHS: [AtomicI32; RING] = [const { AtomicI32::new(0) }; RING];
/// How many were ever noted, and how many of these were looked at.
static NOTED: AtomicU32 = AtomicU32::new(0);
static SEEN: AtomicU32 = AtomicU32::new(0);

/// Where a SIGHUP came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// The kernel: the terminal is gone.
    Kernel = 1,
    /// A process of our own session, as a shell that ends.
    Session = 2,
    /// Anybody else: somebody asks for a reload.
    Stranger = 4,
}

/// What has arrived since the last look.
#[derive(Clone, Copy, Debug)]
pub struct Caught {
    pending: u64,
    hangups: u8,
    /// How many SIGINT.
    pub interrupts: u32,
    /// Who sent the last of them; `None` for the kernel.
    pub interrupted_by: Option<Pid>,
    /// The process group that said that it is ready by SIGVTALRM.
    pub ready: Option<Pid>,
}

impl Caught {
    /// Whether `signal` was among them.
    pub const fn has(&self, signal: Signal) -> bool {
        self.pending & 1 << signal.number() != 0
    }

    /// Whether a SIGHUP came from there.
    pub const fn hung_up(&self, by: Hangup) -> bool {
        self.hangups & by as u8 != 0
    }
}

/// Has `signal` noted from now on.
pub fn catch(signal: Signal) {
    disposition::install(signal, note, Restart::No);
}

/// Says whose SIGVTALRM counts: that of the process group `leader`.
pub fn expect_ready(leader: Option<Pid>) {
    STARTING.store(leader.map_or(0, Pid::raw), ORDER);
}

/// Takes what has been noted. Empty the wake-up pipe before, not after.
pub fn take() -> Caught {
    Caught {
        pending: PENDING.swap(0, ORDER),
        hangups: HANGUPS.swap(0, ORDER),
        interrupts: INTERRUPTS.swap(0, ORDER),
        interrupted_by: Pid::new(INTERRUPTED_BY.load(ORDER)),
        ready: Pid::new(READY.swap(0, ORDER)),
    }
}

/// Takes one signal alone; says whether it has arrived.
pub fn took(signal: Signal) -> bool {
    let bit = 1 << signal.number();
    PENDING.fetch_and(!bit, ORDER) & bit != 0
}

extern "C" fn note(number: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let errno = last_errno();
    // SAFETY: with SA_SIGINFO the kernel hands the handler a valid siginfo,
    // which stands until the handler returns.
    let info = unsafe { &*info };
    let code = info.si_code;
    // SAFETY: every origin that we ask about has stored si_pid; for any other
    // the bytes there are some number, which is judged like a stranger's pid.
    let sender = unsafe { info.si_pid() };
    match number {
        libc::SIGCHLD => note_death(sender),
        libc::SIGINT => {
            INTERRUPTS.fetch_add(1, ORDER);
            INTERRUPTED_BY.store(if code == libc::SI_KERNEL { 0 } else { sender }, ORDER);
        }
        libc::SIGHUP => {
            HANGUPS.fetch_or(judge_hangup(code, sender) as u8, ORDER);
        }
        libc::SIGVTALRM => judge_ready(sender),
        _ => {}
    }
    PENDING.fetch_or(1 << number, ORDER);
    wake::wake();
    restore_errno(errno);
}

fn judge_hangup(code: libc::c_int, sender: libc::pid_t) -> Hangup {
    if code == libc::SI_KERNEL {
        return Hangup::Kernel;
    }
    let ours = process::session_of(None);
    match Pid::new(sender).map(|sender| process::session_of(Some(sender))) {
        Some(session) if session.is_some() && session == ours => Hangup::Session,
        Some(_) | None => Hangup::Stranger,
    }
}

/// A sender that is gone by now counts for whoever starts: /bin/kill has
/// usually left before anybody can ask.
fn judge_ready(sender: libc::pid_t) {
    // The kernel, or somebody outside of our pid namespace: no process of ours.
    let Some(sender) = Pid::new(sender) else { return };
    let starting = STARTING.load(ORDER);
    let group = process::group_of(sender);
    if starting != 0 && group.is_none_or(|group| group.raw() == starting) {
        READY.store(starting, ORDER);
    }
}

fn note_death(pid: libc::pid_t) {
    let noted = NOTED.load(ORDER);
    if noted.wrapping_sub(SEEN.load(ORDER)) as usize >= RING {
        // The loop looks at all of its children after a SIGCHLD anyway.
        return;
    }
    DEATHS[noted as usize % RING].store(pid, ORDER);
    NOTED.store(noted.wrapping_add(1), ORDER);
}

/// The children of which a SIGCHLD has spoken.
///
/// One signal may stand for many deaths, so this is a hint where to look first.
#[derive(Debug)]
pub struct NotedDeaths;

/// Those noted since they were last asked for.
pub const fn noted_deaths() -> NotedDeaths {
    NotedDeaths
}

impl Iterator for NotedDeaths {
    type Item = Pid;

    fn next(&mut self) -> Option<Pid> {
        loop {
            let seen = SEEN.load(ORDER);
            if seen == NOTED.load(ORDER) {
                return None;
            }
            let pid = Pid::new(DEATHS[seen as usize % RING].load(ORDER));
            SEEN.store(seen.wrapping_add(1), ORDER);
            if pid.is_some() {
                return pid;
            }
        }
    }
}
