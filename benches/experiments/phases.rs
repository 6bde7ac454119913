//! The phases of a server, and how to reach a random moment of one.
//!
//! The phase that a moment really was in is known afterwards, by the events: a phase of a
//! few milliseconds may be over before.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::{Scene, Trial};
use crate::load::TIMEOUT;
use crate::server::{Event, process};

/// The probation of a new generation, long enough to hit [`Phase::Probation`].
pub const PROBATION: &str = "0.03";
/// The longest wait in each phase; a start takes some milliseconds.
const START: Duration = Duration::from_millis(8);
const RELOAD: Duration = Duration::from_millis(10);
const TRIAL: Duration = Duration::from_millis(30);
const DRAIN: Duration = Duration::from_millis(15);
/// Without clients a drain ends at once.
const IDLE_DRAIN: Duration = Duration::from_millis(1);

/// A phase of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The first generation is not ready.
    Start,
    /// A later generation is not ready.
    Reload,
    /// It is ready, and may still be rolled back.
    Probation,
    /// An old generation finishes its requests.
    Drain,
    /// The last generation does so.
    Stop,
    /// None of these.
    Rest,
}

/// All phases that are aimed at.
pub const PHASES: [Phase; 5] =
    [Phase::Start, Phase::Reload, Phase::Probation, Phase::Drain, Phase::Stop];

/// Brings a server that has just been started to a random moment of a phase.
pub fn bring(trial: &mut Trial, scene: &mut Scene, phase: Phase, is_busy: bool) -> io::Result<()> {
    let drain = if is_busy { DRAIN } else { IDLE_DRAIN };
    let (signal, event, longest) = match phase {
        Phase::Start => {
            scene.server.listen_until(Instant::now() + trial.moment(START));
            return Ok(());
        }
        Phase::Reload => ("USR1", "started", RELOAD),
        Phase::Probation => ("USR1", "probation", TRIAL),
        Phase::Drain => ("USR1", "draining", drain),
        Phase::Stop => ("TERM", "stopping", drain),
        Phase::Rest => return wait_for_current(scene),
    };
    wait_for_current(scene)?;
    scene.server.signal(signal)?;
    scene.server.wait_for(event, |seen| seen.name == event)?;
    scene.server.listen_until(Instant::now() + trial.moment(longest));
    Ok(())
}

/// Waits until the first generation is current.
fn wait_for_current(scene: &mut Scene) -> io::Result<()> {
    if !scene.server.events().iter().any(|event| event.name == "current") {
        scene.server.wait_for("a current generation", |event| event.name == "current")?;
    }
    Ok(())
}

/// Waits until panzer has set its process name: before its first instruction no program can
/// block signals.
pub fn wait_for_first_line(main: u32) -> io::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while process::name(main).as_deref() != Some("panzer:main") {
        if Instant::now() > deadline || process::state(main) == Some('Z') {
            return Err(io::Error::other("panzer does not start"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// The phase of a server at that moment.
pub fn phase_at(events: &[Event], moment: Instant) -> Phase {
    let (mut phase, mut has_served) = (Phase::Start, false);
    let mut draining = Vec::new();
    for event in events.iter().take_while(|event| event.at <= moment) {
        let is_over = matches!(phase, Phase::Stop);
        match event.name.as_str() {
            "stopping" => phase = Phase::Stop,
            "started" if has_served && !is_over => phase = Phase::Reload,
            "probation" if !is_over => phase = Phase::Probation,
            "current" | "failed" | "rolled_back" if !is_over => {
                has_served |= event.name == "current";
                phase = if has_served { Phase::Rest } else { Phase::Start };
            }
            "draining" => draining.push(event.generation),
            "died" if event.slot.is_none() => {
                draining.retain(|generation| *generation != event.generation);
            }
            _ => {}
        }
    }
    if phase == Phase::Rest && !draining.is_empty() { Phase::Drain } else { phase }
}

/// How often each phase was hit.
#[derive(Default)]
pub struct Hits(BTreeMap<Phase, u32>);

impl Hits {
    /// Counts one more.
    pub fn count(&mut self, phase: Phase) {
        *self.0.entry(phase).or_default() += 1;
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.iter().map(|(phase, count)| format!("{count} in {phase:?}"));
        write!(out, "({})", words.collect::<Vec<_>>().join(", "))
    }
}
