//! Whether a generation serves: what main takes from its board and its words.
//!
//! A new generation is judged by what its slots have lost, one that is current by
//! its ready workers. A board is looked at in every turn: the datagrams that wake
//! main for it may be dropped.

use crate::config::option_table::Options;
use crate::exit_status::Cause;
use crate::main_process::generation::RunningGeneration;
use crate::main_process::generations::Generations;
use crate::main_process::reporter::Setback;
use crate::main_process::supervisor::{Event, Failure, Supervisor, is_losing};
use crate::printable::Quoted;
use crate::protocol::status_report::WorkerReport;
use crate::text::{self, Plural};
use crate::types::{Activity, Exit, Generation, Millis, Stage, Tick};
use alloc::string::String;

/// What programs exit with that do not know an option: getopt(3), and sysexits(3).
const USAGE: u8 = 2;
const EX_USAGE: u8 = 64;

/// How often a generation is looked at that has a slot without a ready worker.
const AGAIN: Millis = Millis(500);

impl RunningGeneration {
    /// Whether it has a ready worker. Of a program without a board only is known that
    /// it lives.
    pub fn has_ready_worker(&self) -> bool {
        match self.board.header() {
            Some(header) => header.ready > 0,
            None => self.monitor.is_some(),
        }
    }

    /// The ready ones of so many workers; `None` of a program without a board.
    pub fn workers(&self) -> Option<(u16, u16)> {
        self.board.header().map(|header| (header.ready, header.count))
    }

    /// Whether the board has such a worker; of a program without one, whether it lives.
    pub fn any_worker(&self, is_it: &dyn Fn(&WorkerReport) -> bool) -> bool {
        match self.board.header() {
            Some(header) => self.board.any_worker(&header, is_it),
            None => self.monitor.is_some(),
        }
    }

    /// Its workers, and what was in its slots last.
    fn slots(&self) -> impl Iterator<Item = WorkerReport> {
        let workers = self.board.header().map(|header| self.board.workers(&header));
        workers.into_iter().flatten()
    }

    /// Whether a worker that it has lost ended with status 0, as on purpose.
    fn has_left(&self) -> bool {
        self.slots().any(|worker| worker.exit.is_some_and(Exit::is_success))
    }

    /// How a worker that it has lost ended, as far as the board still has it.
    fn early_exit(&self) -> Option<Exit> {
        self.slots().find_map(|worker| worker.exit)
    }

    /// How the last worker that it has lost ended.
    fn last_loss(&self) -> Option<String> {
        let on_board = || {
            let header = self.board.header()?;
            self.board.workers(&header).into_iter().find_map(|worker| {
                let (slot, cause) = (worker.slot, Cause(worker.exit?, worker.reason));
                Some(text::compose(format_args!("worker {slot} {cause}")))
            })
        };
        self.lost.clone().or_else(on_board)
    }
}

impl Generations {
    /// What the board of a new generation shows.
    pub fn judge_attempt(&self, supervisor: &Supervisor) -> Option<Event> {
        let generation = supervisor.attempt()?;
        let header = self.get(generation)?.board.header()?;
        let count = header.count;
        Some(if is_losing(count, header.before_ready) || is_losing(count, header.since_ready) {
            Event::Losing { generation }
        } else if header.ready < count {
            Event::SlotUnready { generation }
        } else {
            Event::AllReady { generation }
        })
    }

    /// Whether one of them serves, as far as can be known.
    pub fn has_ready_worker(&self, supervisor: &Supervisor) -> bool {
        let serves = |running: &&RunningGeneration| {
            let stage = supervisor.stage_of(running.generation);
            matches!(stage, Some(Stage::Current | Stage::Probation))
        };
        self.iter().filter(serves).any(RunningGeneration::has_ready_worker)
    }

    /// How the current one has lost its last worker.
    pub fn last_loss(&self) -> Option<String> {
        self.get(self.current()).filter(|running| running.monitor.is_some())?.last_loss()
    }

    /// The workers of the current one, if a library monitor that takes signals keeps
    /// them.
    pub fn current_count(&self, supervisor: &Supervisor) -> Option<u16> {
        let current = self.current();
        if supervisor.stage_of(current) != Some(Stage::Current) {
            return None;
        }
        let running = self.get(current).filter(|running| running.monitor.is_some())?;
        running.board.header().filter(|header| header.handlers).map(|header| header.count)
    }

    /// What helps where programs leave on purpose: with status 0, which is a loss where
    /// ready is taken from time lived.
    fn cure(&self, generation: Generation, options: &Options) -> &'static str {
        let counts_them = options.ready_after().is_some();
        if counts_them && self.get(generation).is_some_and(RunningGeneration::has_left) {
            " (if the program exits on purpose, use --ready notify or --probation 0)"
        } else {
            ""
        }
    }

    /// What a generation waits for that is not ready.
    pub fn waits_for(&self, generation: Generation, options: &Options) -> String {
        let running = self.get(generation);
        let Some((running, (ready, count))) =
            running.and_then(|running| Some((running, running.workers()?)))
        else {
            return String::from("its monitor has not said READY=1 (see --ready)");
        };
        let is_ready = |activity| matches!(activity, Some(Activity::Idle | Activity::Busy));
        let slot = running.slots().find(|worker| !is_ready(worker.activity));
        let slot = slot.map_or(1, |worker| worker.slot.number());
        let what = match (running.is_pool, options.ready_after()) {
            (false, _) => "has not called accept or ready",
            (true, None) => "has not said READY=1 (see --ready)",
            (true, Some(_)) => "has not lived for as long as --ready asks",
        };
        let count = Plural(count.into(), "worker");
        let (ready, slot) = (u32::from(ready), u32::from(slot));
        text::compose(format_args!("{ready} of {count} ready, worker {slot} {what}"))
    }

    /// Why a generation has come to nothing, if that is not how its process ended.
    pub fn reason_of(
        &self,
        generation: Generation,
        setback: Setback,
        failure: Failure,
        options: &Options,
    ) -> Option<String> {
        let lost = self.get(generation).and_then(RunningGeneration::last_loss);
        let lost = lost.unwrap_or_else(|| String::from("unknown"));
        Some(match failure {
            Failure::NotSpawned | Failure::MonitorExited => return None,
            Failure::Late(limit) => {
                let waits = self.waits_for(generation, options);
                text::compose(format_args!("not ready within {limit} (--ready-timeout): {waits}"))
            }
            Failure::Losing if setback == Setback::FailedStart => {
                let exit = self.get(generation).and_then(RunningGeneration::early_exit);
                let advice = exit.map_or_else(String::new, |exit| advice(exit, options));
                text::compose(format_args!(
                    "workers exited before they were ready, last exit: {lost}{advice}"
                ))
            }
            Failure::Losing => {
                let cure = self.cure(generation, options);
                text::compose(format_args!("too many workers exited, last exit: {lost}{cure}"))
            }
            Failure::SlotUnready(limit) => text::compose(format_args!(
                "a slot had no ready worker for {limit} (--ready-timeout), last exit: {lost}"
            )),
            Failure::MonitorStopping => {
                String::from("its monitor is shutting down, not requested by main")
            }
        })
    }
}

/// What to do about a program that has ended before it was ready; empty where that is not
/// known.
pub(super) fn advice(exit: Exit, options: &Options) -> String {
    match exit {
        Exit::Status(0) => String::from(": COMMAND has to stay in the foreground"),
        Exit::Status(USAGE | EX_USAGE) => match options.misplaced() {
            Some(word) => text::compose(format_args!(
                ": COMMAND got {}, which comes after it; options of panzer come before COMMAND",
                Quoted(word)
            )),
            None => String::new(),
        },
        Exit::Status(_) | Exit::Signal { .. } => String::new(),
    }
}

/// When to look again at the board of a generation that is waited for: what says
/// that its slots are filled may be dropped.
pub(super) fn next_check(supervisor: &Supervisor, now: Tick) -> Option<Tick> {
    supervisor.is_refilling().then(|| now.after(AGAIN))
}
