//! Whether a generation serves: what main takes from its board and its words.
//!
//! A new generation is judged by what its slots have lost, one that is current by
//! its ready workers. A board is looked at in every turn: the datagrams that wake
//! main for it may be dropped.

use super::MainProcess;
use crate::exit_status::Cause;
use crate::main_process::generation::RunningGeneration;
use crate::main_process::supervisor::{Event, Failure, is_losing};
use crate::text;
use crate::types::{Exit, Generation, Millis, Pid, Slot, Stage, Tick};
use alloc::string::String;

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

    /// Whether a worker that it has lost ended with status 0, as on purpose.
    fn has_left(&self) -> bool {
        let workers = self.board.header().map(|header| self.board.workers(&header));
        workers.into_iter().flatten().any(|worker| worker.exit.is_some_and(Exit::is_success))
    }

    /// How the last worker that it has lost ended.
    fn last_loss(&self) -> Option<String> {
        let on_board = || {
            let header = self.board.header()?;
            self.board.workers(&header).into_iter().find_map(|worker| {
                let (slot, cause) = (worker.slot, Cause(worker.exit?, worker.why));
                Some(text::compose(format_args!("worker {slot} {cause}")))
            })
        };
        self.lost.clone().or_else(on_board)
    }
}

impl MainProcess {
    /// When to look again at the board of a generation that is waited for: what says
    /// that its slots are filled may be dropped.
    pub(super) fn next_scoreboard_check(&self) -> Option<Tick> {
        self.supervisor.is_short().then(|| self.now.after(AGAIN))
    }

    /// Tells the supervisor what the board of a new generation shows.
    pub(super) fn check_scoreboards(&mut self) {
        let Some(generation) = self.supervisor.attempt() else { return };
        let Some(header) = self.generation_mut(generation).and_then(|run| run.board.header())
        else {
            return;
        };
        let count = header.count;
        if is_losing(count, header.before_ready) || is_losing(count, header.since_ready) {
            self.step(Event::Losing { generation });
        } else if header.ready < count {
            self.step(Event::Short { generation });
        } else {
            self.step(Event::Full { generation });
        }
    }

    /// A worker of a generation died unasked.
    pub(super) fn note_loss(&mut self, generation: Generation, slot: Slot, why: &str) {
        if let Some(run) = self.generation_mut(generation) {
            run.lost = Some(text::compose(format_args!("worker {slot} {why}")));
        }
    }

    /// A process of a generation says that it stops. Only its monitor knows that: a
    /// worker that has found the socket speaks for itself.
    pub(super) fn note_stopping(&mut self, generation: Generation, sender: Option<Pid>) {
        let Some(run) = self.generation_mut(generation) else { return };
        if run.monitor.is_some() && run.monitor == sender {
            self.step(Event::Stops { generation });
        }
    }

    /// Whether a generation serves, as far as can be known.
    pub(super) fn has_ready_worker(&self) -> bool {
        let serves = |run: &&RunningGeneration| {
            let stage = self.supervisor.stage_of(run.generation);
            matches!(stage, Some(Stage::Current | Stage::Probation))
        };
        self.generations.iter().filter(serves).any(RunningGeneration::has_ready_worker)
    }

    /// Why nothing serves: how the current generation has lost its last worker, or
    /// what has failed before.
    pub(super) fn last_failure(&self) -> Option<String> {
        let lost = |run: &RunningGeneration| {
            let is_it = run.generation == self.current && run.monitor.is_some();
            if is_it { run.last_loss() } else { None }
        };
        self.generations.iter().find_map(lost).or_else(|| self.control.last_failure())
    }

    /// What helps where programs leave on purpose: with status 0, which is a loss where
    /// ready is taken from time lived.
    fn cure(&mut self, generation: Generation) -> &'static str {
        let counts_them = self.options.ready_after().is_some();
        if counts_them && self.generation_mut(generation).is_some_and(|run| run.has_left()) {
            " (if the program exits on purpose, use --ready notify or --probation 0)"
        } else {
            ""
        }
    }

    /// Why a generation has come to nothing.
    pub(super) fn reason_of(
        &mut self,
        generation: Generation,
        was_ready: bool,
        failure: Failure,
    ) -> String {
        let lost = self.generation_mut(generation).and_then(|run| run.last_loss());
        let lost = lost.unwrap_or_else(|| String::from("not known"));
        match failure {
            Failure::NotSpawned | Failure::Left => self.reporter.take_reason(),
            Failure::Late(limit) => {
                text::compose(format_args!("not ready within {limit} (--ready-timeout)"))
            }
            Failure::Losing if !was_ready => {
                text::compose(format_args!("workers exited before they were ready, last: {lost}"))
            }
            Failure::Losing => {
                let cure = self.cure(generation);
                text::compose(format_args!("too many workers exited, last: {lost}{cure}"))
            }
            Failure::Short(limit) => text::compose(format_args!(
                "a slot had no ready worker for {limit} (--ready-timeout), last exit: {lost}"
            )),
            Failure::Stops => String::from("its monitor is shutting down, not requested by main"),
        }
    }
}
