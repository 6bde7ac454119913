//! What the state of main means to a service manager above: the text of `STATUS=`,
//! whether its timeouts are to be extended, and whether main is well.
//!
//! Pure: no system call, no clock, no log.

use crate::persist::persisted;
use crate::protocol::status_report::WorkerReport;
use crate::text::{self, Plural};
use crate::types::{Activity, Generation, Millis, Stage, Tick};
use alloc::string::String;

/// What a start that is wanted may be late beyond its back-off: it waits for a place.
const LATE: Millis = Millis(2_000);
/// The generation of the first try.
const FIRST: Generation = Generation(1);
/// What an empty slot may be so beyond the longest back-off, a quarter of which is jitter.
const REFILL: Millis = Millis(2_000);

/// How main is, as far as a service manager is to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Situation {
    pub stop: StopProgress,
    /// The current generation.
    pub current: Option<Serving>,
    /// The generation that is to be current, and whether it is on probation.
    pub attempt: Option<(Generation, Stage)>,
    /// When the next one is to be started.
    pub next_start: Option<Tick>,
    /// How many generations drain within their deadlines.
    pub draining: usize,
    /// What ends a first start that fails again and again.
    pub patience: StartPatience,
}

/// What ends a first start that fails again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartPatience {
    /// Main does: `--give-up`.
    Limited,
    /// Nothing of main's own does.
    Endless,
}

/// Whether main stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopProgress {
    /// It does not.
    No,
    /// It will, and serves until then.
    Delayed(Tick),
    /// It does.
    Begun,
}

/// A generation that is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Serving {
    pub generation: Generation,
    /// The ready ones of so many workers; `None` of a program that has no board.
    pub workers: Option<(u16, u16)>,
}

/// What is waited for that a service manager's timeouts must not cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The first start.
    Start,
    /// A reload.
    Reload,
    /// The end of all.
    Stop,
}

persisted! { struct WorkerLimits { hang, ready, backoff } }
persisted! { enum Wait { 0 = Start, 1 = Reload, 2 = Stop } }

/// What there is to know of failures, for the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failures<'a> {
    /// The failed start, reload or generation since the last that is current; or empty.
    pub setback: &'a str,
    /// How the last worker ended; or empty.
    pub loss: &'a str,
}

/// How long a worker may be without a sign of life.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkerLimits {
    /// Busy with one thing; 0 is for ever.
    pub hang: Millis,
    /// Forked, and not ready.
    pub ready: Millis,
    /// The longest back-off of a slot.
    pub backoff: Millis,
}

impl Serving {
    /// Whether it serves, as far as is known.
    pub const fn is_ready(&self) -> bool {
        match self.workers {
            Some((ready, _)) => ready > 0,
            None => true,
        }
    }

    fn add_workers(&self, out: &mut String) {
        if let Some((ready, count)) = self.workers {
            let count = Plural(count.into(), "worker");
            text::add(out, format_args!("{} of {count} ready", u32::from(ready)));
        }
    }
}

fn with_reason(mut text: String, reason: &str) -> String {
    if !reason.is_empty() {
        text::add(&mut text, format_args!("; {reason}"));
    }
    text
}

impl Situation {
    /// The text of `STATUS=`.
    pub fn text(&self, failures: Failures<'_>, now: Tick) -> String {
        match (self.stop, self.current.filter(Serving::is_ready)) {
            (StopProgress::Delayed(until), _) => text::compose(format_args!(
                "stopping: serving for another {} (--drain-delay)",
                until.since(now)
            )),
            (StopProgress::Begun, _) if self.draining == 0 => {
                with_reason("stopping".into(), failures.setback)
            }
            (StopProgress::Begun, _) => {
                let count = Plural(self.draining as u64, "generation");
                let draining = text::compose(format_args!("stopping: {count} draining"));
                with_reason(draining, failures.setback)
            }
            (StopProgress::No, Some(serving)) => self.serving_text(serving, failures.setback),
            (StopProgress::No, None) => self.outage_text(failures, now),
        }
    }

    fn serving_text(&self, serving: Serving, setback: &str) -> String {
        let (mut out, generation) = (String::new(), serving.generation);
        let stage = match self.attempt {
            Some((_, Stage::Probation)) => "on probation",
            Some(_) | None => "starting",
        };
        match self.attempt {
            Some((next, _)) => text::add(&mut out, format_args!("generation {next} {stage}; ")),
            None if !setback.is_empty() => {
                text::add(&mut out, format_args!("{setback}; generation {generation} serves on"));
                if serving.workers.is_some_and(|(ready, count)| ready < count) {
                    out.push_str(", ");
                    serving.add_workers(&mut out);
                }
                return out;
            }
            None => {}
        }
        text::add(&mut out, format_args!("generation {generation}: "));
        match serving.workers {
            Some(_) => serving.add_workers(&mut out),
            None => out.push_str("current"),
        }
        out
    }

    /// Nothing serves.
    fn outage_text(&self, failures: Failures<'_>, now: Tick) -> String {
        let Failures { setback, loss } = failures;
        let mut out = String::new();
        let reason = match (self.attempt, self.next_start, self.current) {
            (Some((next, _)), _, None) if setback.is_empty() => {
                return text::compose(format_args!("generation {next} starting"));
            }
            (Some((next, _)), _, _) => {
                text::add(&mut out, format_args!("no worker ready: generation {next} starting"));
                setback
            }
            (None, Some(due), _) => {
                let wait = due.since(now);
                text::add(&mut out, format_args!("no worker ready: next start in {wait}"));
                setback
            }
            (None, None, Some(Serving { generation, .. })) => {
                let line = format_args!("no worker ready: generation {generation} replaces them");
                text::add(&mut out, line);
                loss
            }
            (None, None, None) => {
                out.push_str("no worker ready");
                setback
            }
        };
        with_reason(out, reason)
    }

    /// What main waits for within deadlines of its own, with what was announced. Not the
    /// drain of an old generation: no timeout above runs out meanwhile, and an extension
    /// would put off the watchdog too.
    pub fn wait(&self, is_first_start: bool, is_reloading: bool) -> Option<Wait> {
        let is_starting = match self.patience {
            StartPatience::Limited => self.attempt.is_some() || self.next_start.is_some(),
            // Only the first try has an end.
            StartPatience::Endless => self.attempt.is_some_and(|(tried, _)| tried == FIRST),
        };
        match self.stop {
            StopProgress::Delayed(_) => Some(Wait::Stop),
            StopProgress::Begun => (self.draining > 0).then_some(Wait::Stop),
            StopProgress::No if is_first_start => is_starting.then_some(Wait::Start),
            StopProgress::No if is_reloading => Some(Wait::Reload),
            StopProgress::No => None,
        }
    }

    /// Whether a generation that is wanted is within its back-off, or is being started: the
    /// supervisor has a deadline for each state of that.
    pub fn is_starting(&self, now: Tick) -> bool {
        self.attempt.is_some() || self.next_start.is_some_and(|due| now <= due.after(LATE))
    }
}

/// Whether a worker of the current generation is ready and does not hang, or its slot is
/// to have one within the limits.
pub(super) fn is_well(worker: &WorkerReport, limits: WorkerLimits, now: Tick) -> bool {
    let since = now.since(worker.active_since);
    match (worker.pid, worker.activity) {
        (Some(_), Some(Activity::Idle)) => true,
        (Some(_), Some(Activity::Busy)) => limits.hang == Millis(0) || since <= limits.hang,
        (Some(_), Some(Activity::Starting)) => now.since(worker.since) <= limits.ready,
        (Some(_), Some(Activity::Empty | Activity::Draining) | None) => false,
        (None, _) => since.0 <= limits.backoff.0 + limits.backoff.0 / 4 + REFILL.0,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Failures, Serving, Situation, StartPatience, StopProgress, Wait, WorkerLimits, is_well,
    };
    use crate::protocol::status_report::WorkerReport;
    use crate::types::{Activity, ExitReason, Generation, Millis, Pid, Slot, Stage, Tick};

    const NOW: Tick = Tick(100_000);
    const REST: Situation = Situation {
        stop: StopProgress::No,
        current: Some(serving(Some((8, 8)))),
        attempt: None,
        next_start: None,
        draining: 0,
        patience: StartPatience::Limited,
    };
    const NOTHING: Situation = Situation { current: None, ..REST };
    const FAILED: &str = "generation 8 failed: its monitor exited with status 7";

    const fn serving(workers: Option<(u16, u16)>) -> Serving {
        Serving { generation: Generation(7), workers }
    }

    /// rule: notify.status
    #[test]
    fn status_text_says_what_serves_and_what_failed() {
        let starts = Some((Generation(8), Stage::Starting));
        let tried = Some((Generation(8), Stage::Probation));
        let one = Some(serving(Some((1, 2))));
        let none = Some(serving(Some((0, 2))));
        let due = Some(Tick(104_000));
        for (situation, setback, expected) in [
            (REST, "", "generation 7: 8 of 8 workers ready"),
            (Situation { current: one, ..REST }, "", "generation 7: 1 of 2 workers ready"),
            (Situation { current: Some(serving(None)), ..REST }, "", "generation 7: current"),
            (
                Situation { attempt: starts, ..REST },
                FAILED,
                "generation 8 starting; generation 7: 8 of 8 workers ready",
            ),
            (
                Situation { attempt: tried, ..REST },
                "",
                "generation 8 on probation; generation 7: 8 of 8 workers ready",
            ),
            (
                REST,
                FAILED,
                "generation 8 failed: its monitor exited with status 7; generation 7 serves on",
            ),
            (
                Situation { current: one, ..REST },
                FAILED,
                "generation 8 failed: its monitor exited with status 7; generation 7 serves on, \
                 1 of 2 workers ready",
            ),
            (Situation { attempt: starts, ..NOTHING }, "", "generation 8 starting"),
            (
                Situation { attempt: starts, ..NOTHING },
                FAILED,
                "no worker ready: generation 8 starting; generation 8 failed: its monitor exited \
                 with status 7",
            ),
            (Situation { next_start: due, ..NOTHING }, "", "no worker ready: next start in 4 s"),
            (
                Situation { next_start: due, ..NOTHING },
                "it failed",
                "no worker ready: next start in 4 s; it failed",
            ),
            (
                Situation { current: none, ..REST },
                "it failed",
                "no worker ready: generation 7 replaces them; worker 1 exited with status 1",
            ),
            (NOTHING, "it failed", "no worker ready; it failed"),
        ] {
            let failures = Failures { setback, loss: "worker 1 exited with status 1" };
            assert_eq!(situation.text(failures, NOW), expected);
        }
    }

    /// rule: notify.status
    #[test]
    fn status_text_of_a_stop_says_for_what_it_waits() {
        for (stop, draining, setback, expected) in [
            (
                StopProgress::Delayed(Tick(105_000)),
                0,
                "",
                "stopping: serving for another 5 s (--drain-delay)",
            ),
            (StopProgress::Begun, 1, "", "stopping: 1 generation draining"),
            (StopProgress::Begun, 2, "", "stopping: 2 generations draining"),
            (StopProgress::Begun, 0, "", "stopping"),
            (StopProgress::Begun, 0, "it failed", "stopping; it failed"),
            (StopProgress::Begun, 1, "it failed", "stopping: 1 generation draining; it failed"),
        ] {
            let failures = Failures { setback, loss: "" };
            assert_eq!(Situation { stop, draining, ..REST }.text(failures, NOW), expected);
        }
    }

    /// rule: notify.extend
    #[test]
    fn timeouts_are_extended_only_while_something_is_waited_for() {
        let starts = Situation { attempt: Some((Generation(1), Stage::Starting)), ..NOTHING };
        let wanted = Situation { next_start: Some(NOW), ..NOTHING };
        let endless = Situation { patience: StartPatience::Endless, ..starts };
        let again = Situation { attempt: Some((Generation(2), Stage::Starting)), ..endless };
        let waits = Situation { attempt: None, next_start: Some(NOW), ..endless };
        let drains = Situation { draining: 1, ..REST };
        let delayed = Situation { stop: StopProgress::Delayed(NOW), ..REST };
        let stops = Situation { stop: StopProgress::Begun, current: None, ..drains };
        for (situation, is_first_start, is_reloading, expected) in [
            (REST, false, false, None),
            (REST, false, true, Some(Wait::Reload)),
            (starts, true, false, Some(Wait::Start)),
            (wanted, true, false, Some(Wait::Start)),
            (endless, true, false, Some(Wait::Start)),
            // With --give-up 0 there may be no end.
            (again, true, false, None),
            (waits, true, false, None),
            (NOTHING, true, false, None),
            // After a crash there is no timeout.
            (starts, false, false, None),
            (drains, false, false, None),
            (drains, false, true, Some(Wait::Reload)),
            (delayed, false, false, Some(Wait::Stop)),
            (stops, true, true, Some(Wait::Stop)),
            (Situation { draining: 0, ..stops }, false, false, None),
        ] {
            assert_eq!(situation.wait(is_first_start, is_reloading), expected, "{situation:?}");
        }
    }

    /// rule: notify.watchdog
    #[test]
    fn wanted_start_is_well_within_its_back_off() {
        for (due, expected) in [(97_999, false), (98_000, true), (900_000, true)] {
            let situation = Situation { next_start: Some(Tick(due)), ..NOTHING };
            assert_eq!(situation.is_starting(NOW), expected, "{due}");
        }
        let attempt = Some((Generation(1), Stage::Starting));
        assert!(Situation { attempt, ..NOTHING }.is_starting(NOW));
        assert!(!REST.is_starting(NOW) && !NOTHING.is_starting(NOW));
    }

    /// rule: notify.watchdog
    #[test]
    fn worker_is_well_that_is_ready_and_does_not_hang_or_is_awaited() {
        let limits =
            WorkerLimits { hang: Millis(5_000), ready: Millis(9_000), backoff: Millis(8_000) };
        let never = WorkerLimits { hang: Millis(0), ..limits };
        let pid = Pid::new(7);
        let report = |pid, activity, since, active_since| WorkerReport {
            slot: Slot::new(1).expect("a slot"),
            is_replacement: false,
            pid,
            restarts: 0,
            since: Tick(since),
            activity,
            active_since: Tick(active_since),
            exit: None,
            reason: ExitReason::Unknown,
            handled: None,
            connections: None,
        };
        let (idle, busy) = (Some(Activity::Idle), Some(Activity::Busy));
        let (starting, empty) = (Some(Activity::Starting), Some(Activity::Empty));
        for (worker, limits, expected) in [
            (report(pid, idle, 0, 0), limits, true),
            (report(pid, busy, 0, 95_000), limits, true),
            (report(pid, busy, 0, 94_999), limits, false),
            (report(pid, busy, 0, 0), never, true),
            (report(pid, starting, 91_000, 0), limits, true),
            (report(pid, starting, 90_999, 0), limits, false),
            (report(pid, Some(Activity::Draining), 0, 100_000), limits, false),
            (report(pid, None, 100_000, 100_000), limits, false),
            (report(None, empty, 0, 88_000), limits, true),
            (report(None, empty, 0, 87_999), limits, false),
        ] {
            assert_eq!(is_well(&worker, limits, NOW), expected, "{worker:?}");
        }
    }
}
