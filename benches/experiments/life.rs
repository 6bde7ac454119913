//! The life of a server in phases, and how to come to a random moment of one.
//!
//! Where a moment has really fallen is told afterwards by the events: a phase
//! of a few milliseconds is over before a late one comes.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::{Scene, Trial};
use crate::load::PATIENCE;
use crate::server::{Event, process};

/// How long a new generation is on probation, for [`Phase::Probation`] to be met.
pub const PROBATION: &str = "0.03";
/// The longest wait in each phase; a start takes some milliseconds.
const START: Duration = Duration::from_millis(8);
const RELOAD: Duration = Duration::from_millis(10);
const TRIAL: Duration = Duration::from_millis(30);
const DRAIN: Duration = Duration::from_millis(15);
/// Without clients a drain is over at once.
const IDLE_DRAIN: Duration = Duration::from_millis(1);

/// A part of a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The first generation is not ready.
    Start,
    /// A later one is not.
    Reload,
    /// It is, and may still be rolled back.
    Probation,
    /// An old generation finishes what it has in hand.
    Drain,
    /// The last one does.
    Stop,
    /// Nothing of these.
    Rest,
}

/// All that are aimed at.
pub const PHASES: [Phase; 5] =
    [Phase::Start, Phase::Reload, Phase::Probation, Phase::Drain, Phase::Stop];

/// Brings a server that was just begun to a random moment of a phase.
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

/// Waits for the first generation, if it is not there yet.
fn wait_for_current(scene: &mut Scene) -> io::Result<()> {
    if !scene.server.told().iter().any(|event| event.name == "current") {
        scene.server.wait_for("a current generation", |event| event.name == "current")?;
    }
    Ok(())
}

/// Waits until panzer has taken its name: before its first line no program can
/// protect itself.
pub fn wait_for_first_line(main: u32) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while process::name(main).as_deref() != Some("panzer:main") {
        if Instant::now() > deadline || process::state(main) == Some('Z') {
            return Err(io::Error::other("panzer does not start"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// In which phase a server was at that moment.
pub fn phase_at(told: &[Event], moment: Instant) -> Phase {
    let (mut phase, mut has_served) = (Phase::Start, false);
    let mut draining = Vec::new();
    for event in told.iter().take_while(|event| event.at <= moment) {
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

/// How often each phase was met.
#[derive(Default)]
pub struct Hits(BTreeMap<Phase, u32>);

impl Hits {
    /// Once more.
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
