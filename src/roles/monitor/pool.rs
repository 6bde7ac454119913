//! The monitor's loop: wait, tell the plan, do what it says.

use super::tell::Untold;
use crate::error::{Error, Result};
use crate::keep::board::{Sheet, Wish};
use crate::keep::kills::Kills;
use crate::keep::log;
use crate::plan::pause;
use crate::plan::pool::{Action, Authority, Event, Pool, Rules, Sender};
use crate::roles::listen::given;
use crate::sys::clock;
use crate::sys::fd::{Borrowed, Fd};
use crate::sys::file::{self, Mode};
use crate::sys::poll::{self, Source};
use crate::sys::process;
use crate::sys::signal::{self, Caught, Saved, Wake};
use crate::types::{Activity, Level, Millis, Pid, Signal, Slot, Tick};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

/// The signals that are the library's while a pool runs.
const OURS: [Signal; 5] = [Signal::Term, Signal::Int, Signal::Chld, Signal::Ttin, Signal::Winch];
/// How long to leave poll(2) alone when it has failed.
pub(super) const BREATHER: Millis = Millis(100);

/// What the workers of a pool are: how one is made, and how it is heard.
///
/// A type and no object, so that a program that has one kind alone does not
/// carry the other.
pub(super) trait Kind: Sized {
    /// Makes a worker for `slot`, or an heir of the one there, and says what
    /// came of it.
    fn make(pool: &mut Running<Self>, slot: Slot, heir: bool) -> Event;

    /// Adds where workers are heard.
    fn add_sources<'a>(&'a self, sources: &mut Vec<Source<'a>>);

    /// Takes in what workers have said.
    fn hear(pool: &mut Running<Self>, now: Tick);

    /// Takes note of what the worker `pid` does now, as the plan has it. Of one
    /// that is dead it says why it was none, if that is known.
    fn note(pool: &mut Running<Self>, now: Tick, pid: Pid, activity: Activity) -> Option<String>;
}

/// A pool that runs.
pub(super) struct Running<K> {
    pub(super) kind: K,
    pub(super) rules: Rules,
    pub(super) plan: Pool,
    pub(super) sheet: Sheet,
    pub(super) above: Option<Above>,
    /// The number of our generation; 0 when the program runs alone.
    pub(super) generation: u32,
    pub(super) nowhere: Borrowed<'static>,
    pub(super) wake: Wake,
    saved: Vec<Saved>,
    /// When the last turn began.
    pub(super) woke: Tick,
    /// The last look at all workers, and the next one if it is wanted.
    pub(super) swept: Tick,
    pub(super) sweep: Option<Tick>,
    /// The new number of workers that is reached, until main has been told.
    pub(super) scaled: Option<u16>,
    pub(super) untold: Vec<Untold>,
    pub(super) kills: Kills,
    /// Whether the stop, once it is over, had to kill a worker.
    finished: Option<bool>,
}

/// Main, as long as it lives.
pub(super) struct Above {
    pid: Pid,
    pub(super) lifeline: Fd,
}

pub(super) fn cannot_set_up(errno: crate::error::Errno) -> Error {
    Error::system(format_args!("cannot set up the monitor"), errno)
}

impl<K: Kind> Running<K> {
    /// Sets everything up; nothing is forked yet.
    pub(super) fn new(kind: K, rules: Rules, authority: Authority) -> Result<Self> {
        let main = given(|given| {
            let main = given.inherited.main.as_mut()?;
            Some((main.pid, main.generation, main.board.take(), main.lifeline.take()))
        });
        let (above, generation, board) = match main {
            Some((pid, generation, board, Some(lifeline))) => {
                (Some(Above { pid, lifeline }), generation, board)
            }
            Some((_, _, _, None)) | None => (None, 0, None),
        };
        let sheet = board.as_ref().map_or_else(Sheet::alone, |board| Sheet::map(board.borrow()));
        let sheet = sheet.map_err(cannot_set_up)?;
        let nowhere = file::open(c"/dev/null", Mode::ReadWrite).map_err(cannot_set_up)?;
        let nowhere: &'static Fd = Box::leak(Box::new(nowhere));
        let now = clock::now();
        Ok(Self {
            kind,
            rules,
            plan: Pool::new(rules, authority, now),
            sheet,
            above,
            generation,
            nowhere: nowhere.borrow(),
            wake: Wake::open().map_err(cannot_set_up)?,
            saved: Vec::new(),
            woke: now,
            swept: now,
            sweep: None,
            scaled: None,
            untold: Vec::new(),
            kills: Kills::new(),
            finished: None,
        })
    }

    /// Runs until the plan says that it is over.
    pub(super) fn run(&mut self) -> Result<()> {
        process::set_name(c"panzer:monitor");
        let blocked = signal::block_all();
        for signal in OURS {
            self.saved.push(signal::save(signal));
            signal::catch(signal);
        }
        self.sheet.begin(self.rules.count);
        // Main may have asked before there was a handler to ask.
        self.scale(clock::now());
        blocked.let_through(&OURS);
        let killed = loop {
            match self.finished {
                None => self.turn(),
                Some(killed) => break killed,
            }
        };
        // First, so that what the program holds back does not come to what it
        // does by default.
        drop(blocked);
        self.restore_dispositions();
        if killed {
            return Err(Error::plain(format_args!(
                "the stop is over, but a worker had to be killed"
            )));
        }
        Ok(())
    }

    /// The pool is over. Main may have looked at the board a moment ago and be
    /// about to ask for the status, which must stop nobody.
    fn restore_dispositions(&mut self) {
        let has_main = self.generation > 0;
        for saved in self.saved.drain(..) {
            if has_main && saved.signal() == Signal::Ttin {
                signal::ignore(Signal::Ttin);
            } else {
                saved.restore();
            }
        }
    }

    /// In a worker: what is not a worker's own signal is as it was before.
    pub(super) fn restore_other_dispositions(&self) {
        let own = |signal: Signal| matches!(signal, Signal::Term | Signal::Int);
        for saved in self.saved.iter().filter(|saved| !own(saved.signal())) {
            saved.restore();
        }
    }

    /// Waits once and takes in all that has happened.
    fn turn(&mut self) {
        let tell = self.tells_again_at();
        let deadline = [self.plan.deadline(), self.sweep, tell].into_iter().flatten().min();
        let main_gone = self.wait(deadline);
        let now = clock::now();
        let before = mem::replace(&mut self.woke, now);
        if let Some(by) = pause::lost(before, deadline, now) {
            self.step(now, Event::Overslept { by });
        }
        self.wake.empty();
        let died = signal::took(Signal::Chld);
        K::hear(self, now);
        self.reap(now, died);
        // After the dead: a stop that was sent before a death is seen with it.
        let caught = signal::take();
        if caught.has(Signal::Chld) {
            self.want_sweep(now);
        }
        if main_gone {
            self.lose_main(now);
        }
        self.obey(now, &caught);
        if self.plan.deadline().is_some_and(|deadline| deadline <= now) {
            self.step(now, Event::Timer);
        }
        self.watch();
        self.tell(now);
        self.tell_scaled();
    }

    /// Blocks until something happens; says whether main is gone.
    fn wait(&self, deadline: Option<Tick>) -> bool {
        let mut sources = Vec::with_capacity(3);
        sources.push(Source::readable(self.wake.source()));
        sources.extend(self.above.iter().map(|above| Source::readable(above.lifeline.borrow())));
        self.kind.add_sources(&mut sources);
        if let Err(errno) = poll::wait(&mut sources, deadline) {
            // Out of memory, which may pass; the workers serve on meanwhile.
            log::log(Level::Error, format_args!("cannot wait for the workers: {errno}"));
            let _ = poll::wait(&mut [], Some(clock::now().after(BREATHER)));
            return false;
        }
        self.above.is_some() && sources.get(1).is_some_and(Source::is_readable)
    }

    /// Whether main has died, asked of the kernel just now. Nobody ever writes
    /// into its lifeline.
    fn main_is_gone(&self) -> bool {
        let Some(above) = &self.above else { return false };
        let mut source = [Source::readable(above.lifeline.borrow())];
        poll::wait(&mut source, Some(Tick(0))).is_ok() && source.iter().any(Source::is_ready)
    }

    /// From now on nobody is above us.
    fn lose_main(&mut self, now: Tick) {
        if self.above.take().is_some() {
            log::log(Level::Warn, format_args!("main is gone: stopping"));
            self.begin_final_stop();
            self.step(now, Event::MainGone);
        }
    }

    /// Does what the signals say.
    fn obey(&mut self, now: Tick, caught: &Caught) {
        if caught.has(Signal::Ttin) {
            self.log_status(now);
        }
        if caught.has(Signal::Winch) {
            self.scale(now);
        }
        if caught.has(Signal::Term) {
            self.stop(now);
        }
        for _ in 0..caught.interrupts.min(2) {
            let main = self.above.as_ref().map(|above| above.pid);
            if main.is_some() && caught.interrupted_by == main {
                self.step(now, Event::StopNow { by: Sender::Main });
            } else if self.plan.is_stopping() {
                self.step(now, Event::StopNow { by: Sender::Stranger });
            } else {
                self.stop(now);
            }
        }
    }

    /// A graceful stop. Main's death comes as a SIGTERM too.
    fn stop(&mut self, now: Tick) {
        if self.main_is_gone() {
            return self.lose_main(now);
        }
        if self.above.is_none() || self.sheet.wants(Wish::Final) {
            self.begin_final_stop();
        }
        self.step(now, Event::Stop);
    }

    /// The port goes away with us: nobody new, and the workers are told to
    /// empty the queue. Where somebody above keeps the socket, neither.
    fn begin_final_stop(&self) {
        given(|given| {
            let held = self.sheet.wants(Wish::Held) || given.any_held();
            if !held {
                self.sheet.wish(Wish::Final);
            }
            given.let_go(self.above.is_none() && !held, self.nowhere);
        });
    }

    pub(super) fn step(&mut self, now: Tick, event: Event) {
        let (mut events, mut next) = (alloc::vec![event], 0);
        let mut actions = Vec::new();
        while let Some(&event) = events.get(next) {
            next += 1;
            self.plan.step(now, event, &mut actions);
            for action in mem::take(&mut actions) {
                if action == Action::Look {
                    events.extend(self.look());
                }
                events.extend(self.act(now, action));
            }
        }
    }

    /// Does one thing; says what came of it if the plan has to know.
    fn act(&mut self, now: Tick, action: Action) -> Option<Event> {
        match action {
            Action::Fork { slot, heir } => {
                if heir {
                    self.sheet.expect_heir();
                }
                let event = K::make(self, slot, heir);
                if let Event::Forked { slot, pid } = event {
                    self.welcome(now, slot, pid, heir);
                }
                return Some(event);
            }
            Action::Signal { pid, signal } => {
                // Not reaped, so it is ours; one that is dead already is as good.
                let _ = signal::send(pid, signal);
                K::note(self, now, pid, Activity::Draining);
            }
            Action::AnnounceReady => {
                let level = if self.above.is_some() { Level::Debug } else { Level::Info };
                log::log(level, format_args!("{} workers are ready", u32::from(self.rules.count)));
                given(super::super::listen::Given::announce_ready);
            }
            Action::Finish { killed } => {
                if killed {
                    self.sheet.killed();
                }
                self.finished = Some(killed);
            }
            Action::Look => {}
            Action::Tell(report) => self.note(now, report),
        }
        None
    }
}
