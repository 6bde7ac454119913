//! What is seen of main's plan from outside.

use super::member::Life;
use super::{Past, Service, Stop};
use crate::types::{Generation, Stage};

impl Service {
    /// What a generation is doing; `None` when nobody is left.
    pub fn stage_of(&self, generation: Generation) -> Option<Stage> {
        let member = self.members.iter().find(|member| member.generation == generation)?;
        Some(match member.life {
            Life::Spawning | Life::Starting | Life::Living => Stage::Starting,
            Life::Probation => Stage::Probation,
            Life::Current => Stage::Current,
            Life::Leaving(_) => Stage::Draining,
        })
    }

    /// The number of the generation that will be started next.
    pub const fn next(&self) -> Generation {
        self.next
    }

    /// Whether nothing is ordered that is still to be answered: between two turns.
    pub fn is_settled(&self) -> bool {
        self.members.iter().all(|member| member.life != Life::Spawning && member.leader.is_some())
    }

    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stop != Stop::No
    }

    /// Whether a generation is ready, and was not asked to leave.
    pub fn is_ready(&self) -> bool {
        self.members.iter().any(|it| matches!(it.life, Life::Probation | Life::Current))
    }

    /// Whether nothing was ever ready.
    pub const fn is_new(&self) -> bool {
        matches!(self.past, Past::NeverReady { .. })
    }
}
