//! The handler of main and of monitors, and what it has noted.
//!
//! It sets a flag, keeps the sender of the signal where that matters, writes the
//! wake-up byte and leaves `errno` as it was. What has to be judged while the sender
//! may still be there (its group, its session) is judged here, with one system call;
//! everything else is the loop's.

use super::{disposition, wake};
use crate::sys::signal::disposition::InterruptedCalls;
use crate::sys::{last_errno, process, restore_errno};
use crate::types::{Pid, Signal};
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

const ORDER: Ordering = Ordering::SeqCst;

/// A bit for each signal that has arrived.
static PENDING: AtomicU64 = AtomicU64::new(0);
/// How often SIGINT has arrived.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// How many of these our parent has sent.
static BY_PARENT: AtomicU32 = AtomicU32::new(0);
/// Bits of [`Hangup`].
static HANGUPS: AtomicU8 = AtomicU8::new(0);
/// The session of the generation that starts; 0 when none does.
static STARTING: AtomicI32 = AtomicI32::new(0);
/// The session whose SIGVTALRM was genuine; 0 when there was none.
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
    /// Any other process: it asks for a reload.
    Stranger = 4,
}

/// What has arrived since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub struct PendingSignals {
    pending: u64,
    hangups: u8,
    /// How many SIGINT.
    pub interrupts: u32,
    /// How many of these our parent has sent.
    pub interrupts_by_parent: u32,
    /// The session that said that it is ready by SIGVTALRM.
    pub ready: Option<Pid>,
}

impl PendingSignals {
    /// Adds what has arrived later.
    pub fn add(&mut self, later: &Self) {
        self.pending |= later.pending;
        self.hangups |= later.hangups;
        self.interrupts += later.interrupts;
        self.interrupts_by_parent += later.interrupts_by_parent;
        self.ready = later.ready.or(self.ready);
    }

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
    disposition::install(signal, note, InterruptedCalls::No);
}

/// Says whose SIGVTALRM counts: that of the session of `leader`.
pub fn expect_ready(leader: Option<Pid>) {
    STARTING.store(leader.map_or(0, Pid::raw), ORDER);
}

/// The signals that were noted and not yet taken: a bit for each.
pub(in crate::sys) fn noted() -> u64 {
    PENDING.load(ORDER)
}

/// Takes what has been noted. Empty the wake-up pipe before, not after.
pub fn take() -> PendingSignals {
    PendingSignals {
        pending: PENDING.swap(0, ORDER),
        hangups: HANGUPS.swap(0, ORDER),
        interrupts: INTERRUPTS.swap(0, ORDER),
        interrupts_by_parent: BY_PARENT.swap(0, ORDER),
        ready: Pid::new(READY.swap(0, ORDER)),
    }
}

/// Takes one signal alone; says whether it has arrived.
pub fn take_pending(signal: Signal) -> bool {
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
            let is_parent = Pid::new(sender).is_some() && Pid::new(sender) == process::parent();
            BY_PARENT.fetch_add(u32::from(code != libc::SI_KERNEL && is_parent), ORDER);
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
        Some(Ok(Some(session))) if ours == Ok(Some(session)) => Hangup::Session,
        Some(_) | None => Hangup::Stranger,
    }
}

/// A sender that is gone by now counts for the generation that starts: /bin/kill
/// has usually left before main can ask. One whose session has its leader outside
/// of our pid namespace is there, and a stranger.
fn judge_ready(sender: libc::pid_t) {
    // The kernel, or a process outside of our pid namespace: no process of ours.
    let Some(sender) = Pid::new(sender) else { return };
    let starting = STARTING.load(ORDER);
    let is_its = match process::session_of(Some(sender)) {
        Ok(session) => session.is_some_and(|session| session.raw() == starting),
        Err(_) => true,
    };
    if starting != 0 && is_its {
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
pub struct NotedDeaths {
    /// How many were noted by now: what comes meanwhile is for the next time.
    noted: u32,
}

/// Those noted since they were last asked for.
pub fn noted_deaths() -> NotedDeaths {
    NotedDeaths { noted: NOTED.load(ORDER) }
}

impl Iterator for NotedDeaths {
    type Item = Pid;

    fn next(&mut self) -> Option<Pid> {
        loop {
            let seen = SEEN.load(ORDER);
            if seen == self.noted {
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
