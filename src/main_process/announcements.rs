//! What a service manager above main is told of the first start, of reloads and of the
//! stop, and when: sd_notify(3).
//!
//! ```text
//! Starting ── the first generation is current: READY=1 ──► Running ◄────────┐
//!    │                                 a reload: RELOADING=1  │             │ over: READY=1
//!    │                                                        ▼             │
//!    │                                                     Reloading ───────┘
//!    └──────────────── a stop: STOPPING=1 ────────────► Stopping
//! ```
//!
//! A reload that is asked for while one is announced, or before the first generation is
//! current, is announced when that is over. Of several such, one is: it has the moment
//! of the last, and is over with the last. So each `RELOADING=1` is followed by one
//! `READY=1`, and nothing by either after `STOPPING=1`.
//!
//! Pure: no system call, no clock, no log.

use crate::persist::persisted;
use crate::text;
use crate::types::Generation;
use alloc::string::String;
use alloc::vec::Vec;

/// Something that is told above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announcement {
    /// The first start, or a reload, is over.
    Ready,
    /// A reload was asked for at this microsecond of the monotonic clock.
    Reloading(u64),
    /// A stop was asked for.
    Stopping,
}

impl Announcement {
    /// The datagram that says so.
    pub fn words(self) -> String {
        match self {
            Self::Ready => String::from("READY=1"),
            Self::Reloading(at) => text::compose(format_args!("RELOADING=1\nMONOTONIC_USEC={at}")),
            Self::Stopping => String::from("STOPPING=1"),
        }
    }
}

/// What the service manager takes main to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    Starting,
    Running,
    Reloading(PendingReload),
    Stopping,
}

/// A reload that is not over. It reads the configuration, then waits for a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PendingReload {
    /// When it was asked for, in microseconds of the monotonic clock.
    at: u64,
    /// The number of the configuration that is to be read, until that was read.
    load: Option<u32>,
    /// The generation that is to be current, until it is or has failed.
    generation: Option<Generation>,
}

/// What was announced, and what is to be announced next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcements {
    announced: Announced,
    next: Option<PendingReload>,
}

persisted! { struct Announcements { announced, next } }
persisted! { struct PendingReload { at, load, generation } }
persisted! { enum Announced { 0 = Starting, 1 = Running, 2 = Reloading(reload), 3 = Stopping } }

impl PendingReload {
    const fn is_over(&self) -> bool {
        self.load.is_none() && self.generation.is_none()
    }

    fn on_load(&mut self, load: u32, target: Option<Generation>) {
        if self.load.is_some_and(|last| load <= last) {
            self.generation = target.or(self.generation);
            self.load = self.load.filter(|&last| load < last);
        }
    }

    fn on_outcome(&mut self, generation: Generation) {
        self.generation = self.generation.filter(|&target| target > generation);
    }
}

impl Announcements {
    /// Nothing was announced.
    pub const fn new() -> Self {
        Self { announced: Announced::Starting, next: None }
    }

    /// A reload was asked for: the load of the configuration with this number.
    pub fn on_reload(&mut self, at: u64, load: u32, out: &mut Vec<Announcement>) {
        let waiting = self.next.and_then(|next| next.generation);
        self.next = Some(PendingReload { at, load: Some(load), generation: waiting });
        self.advance(out);
    }

    /// The load with this number is over: this generation is to be current; `None` if the
    /// configuration was refused.
    pub fn on_load(&mut self, load: u32, target: Option<Generation>, out: &mut Vec<Announcement>) {
        self.each_reload(|reload| reload.on_load(load, target));
        self.advance(out);
    }

    /// This generation is current.
    pub fn on_current(&mut self, generation: Generation, out: &mut Vec<Announcement>) {
        if self.announced == Announced::Starting {
            self.announced = Announced::Running;
            out.push(Announcement::Ready);
        }
        self.on_outcome(generation, out);
    }

    /// This generation has failed, or was rolled back.
    pub fn on_failed(&mut self, generation: Generation, out: &mut Vec<Announcement>) {
        self.on_outcome(generation, out);
    }

    fn on_outcome(&mut self, generation: Generation, out: &mut Vec<Announcement>) {
        self.each_reload(|reload| reload.on_outcome(generation));
        self.advance(out);
    }

    /// A stop was asked for, or has begun: what reloads is over.
    pub fn on_stop(&mut self, out: &mut Vec<Announcement>) {
        match self.announced {
            Announced::Starting | Announced::Running => {}
            Announced::Reloading(_) => out.push(Announcement::Ready),
            Announced::Stopping => return,
        }
        out.push(Announcement::Stopping);
        *self = Self { announced: Announced::Stopping, next: None };
    }

    /// Whether no generation was current yet, and no stop was asked for.
    pub const fn is_first_start(&self) -> bool {
        matches!(self.announced, Announced::Starting)
    }

    /// Whether a reload is announced that is not over.
    pub const fn is_reloading(&self) -> bool {
        matches!(self.announced, Announced::Reloading(_))
    }

    fn each_reload(&mut self, tell: impl Fn(&mut PendingReload)) {
        if let Announced::Reloading(reload) = &mut self.announced {
            tell(reload);
        }
        self.next.iter_mut().for_each(tell);
    }

    /// Announces what can be announced now.
    fn advance(&mut self, out: &mut Vec<Announcement>) {
        loop {
            match self.announced {
                Announced::Reloading(reload) if reload.is_over() => {
                    self.announced = Announced::Running;
                    out.push(Announcement::Ready);
                }
                Announced::Running => {
                    let Some(next) = self.next.take() else { return };
                    self.announced = Announced::Reloading(next);
                    out.push(Announcement::Reloading(next.at));
                }
                Announced::Stopping => return self.next = None,
                Announced::Starting | Announced::Reloading(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Announcement, Announcements};
    use crate::types::Generation;
    use alloc::vec::Vec;

    const READY: Announcement = Announcement::Ready;
    const STOPPING: Announcement = Announcement::Stopping;

    const fn reloading(at: u64) -> Announcement {
        Announcement::Reloading(at)
    }

    /// What happens to main.
    #[derive(Clone, Copy, Debug)]
    enum Happens {
        /// A reload is asked for at that moment, which reads that configuration.
        Asked(u64, u32),
        /// That configuration was read, and leads to that generation; 0 is none.
        Read(u32, u32),
        Current(u32),
        Failed(u32),
        Stop,
    }
    use Happens::{Asked, Current, Failed, Read, Stop};

    fn after(said: &mut Announcements, happens: Happens) -> Vec<Announcement> {
        let mut out = Vec::new();
        match happens {
            Asked(at, load) => said.on_reload(at, load, &mut out),
            Read(load, 0) => said.on_load(load, None, &mut out),
            Read(load, target) => said.on_load(load, Some(Generation(target)), &mut out),
            Current(generation) => said.on_current(Generation(generation), &mut out),
            Failed(generation) => said.on_failed(Generation(generation), &mut out),
            Stop => said.on_stop(&mut out),
        }
        out
    }

    /// Each line: what happens, and what is told then.
    fn check(script: &[(Happens, &[Announcement])]) {
        let mut said = Announcements::new();
        for (place, &(happens, told)) in script.iter().enumerate() {
            assert_eq!(after(&mut said, happens), told, "line {place}: {happens:?}");
        }
    }

    #[test]
    fn each_announcement_is_one_datagram() {
        for (announcement, words) in [
            (READY, "READY=1"),
            (reloading(7), "RELOADING=1\nMONOTONIC_USEC=7"),
            (STOPPING, "STOPPING=1"),
        ] {
            assert_eq!(announcement.words(), words);
        }
    }

    #[test]
    fn first_start_and_reload_are_known_until_they_are_over() {
        let mut said = Announcements::new();
        for (happens, expected) in [
            (Failed(1), (true, false)),
            (Current(2), (false, false)),
            (Asked(7, 1), (false, true)),
            (Read(1, 0), (false, false)),
            (Stop, (false, false)),
        ] {
            after(&mut said, happens);
            assert_eq!((said.is_first_start(), said.is_reloading()), expected, "{happens:?}");
        }
    }

    /// rule: notify.reloading
    #[test]
    fn ready_is_announced_at_first_current_and_after_each_reload() {
        check(&[
            (Failed(1), &[]),
            (Current(2), &[READY]),
            (Asked(7, 1), &[reloading(7)]),
            (Read(1, 3), &[]),
            (Current(3), &[READY]),
            (Asked(8, 2), &[reloading(8)]),
            (Read(2, 4), &[]),
            (Failed(4), &[READY]),
            (Asked(9, 3), &[reloading(9)]),
            (Read(3, 0), &[READY]),
            // One that no reload has asked for, after a crash.
            (Current(5), &[]),
        ]);
    }

    /// rule: notify.reloading
    #[test]
    fn reload_during_a_reload_is_announced_after_it_with_its_own_moment() {
        check(&[
            (Current(1), &[READY]),
            (Asked(1, 1), &[reloading(1)]),
            (Asked(2, 2), &[]),
            (Asked(3, 2), &[]),
            (Read(1, 2), &[]),
            (Read(2, 3), &[]),
            (Current(2), &[READY, reloading(3)]),
            (Failed(3), &[READY]),
        ]);
    }

    /// rule: notify.reloading
    #[test]
    fn reload_refused_during_a_reload_is_announced_whole_after_it() {
        check(&[
            (Current(1), &[READY]),
            (Asked(1, 1), &[reloading(1)]),
            (Read(1, 2), &[]),
            (Asked(2, 2), &[]),
            (Read(2, 0), &[]),
            (Current(2), &[READY, reloading(2), READY]),
        ]);
    }

    /// rule: notify.reloading
    #[test]
    fn reload_refused_after_another_has_waited_does_not_end_that() {
        check(&[
            (Current(1), &[READY]),
            (Asked(1, 1), &[reloading(1)]),
            (Read(1, 2), &[]),
            (Asked(2, 2), &[]),
            (Read(2, 3), &[]),
            (Asked(3, 3), &[]),
            (Read(3, 0), &[]),
            (Failed(2), &[READY, reloading(3)]),
            (Current(3), &[READY]),
        ]);
        check(&[
            (Current(1), &[READY]),
            (Asked(1, 1), &[reloading(1)]),
            (Read(1, 2), &[]),
            (Asked(2, 2), &[]),
            (Asked(3, 3), &[]),
            (Read(2, 3), &[]),
            (Read(3, 0), &[]),
            (Current(2), &[READY, reloading(3)]),
            (Current(3), &[READY]),
        ]);
    }

    /// rule: notify.reloading
    #[test]
    fn reload_before_the_first_current_generation_is_announced_after_ready() {
        check(&[(Asked(1, 1), &[]), (Read(1, 2), &[]), (Current(1), &[READY, reloading(1)])]);
        check(&[
            (Asked(1, 1), &[]),
            (Read(1, 2), &[]),
            (Failed(1), &[]),
            (Current(2), &[READY, reloading(1), READY]),
        ]);
    }

    /// rule: notify.stopping
    #[test]
    fn stop_ends_an_announced_reload_and_nothing_follows() {
        check(&[
            (Current(1), &[READY]),
            (Asked(1, 1), &[reloading(1)]),
            (Asked(2, 2), &[]),
            (Stop, &[READY, STOPPING]),
            (Stop, &[]),
            (Asked(3, 3), &[]),
            (Read(1, 2), &[]),
            (Current(2), &[]),
        ]);
        check(&[(Asked(1, 1), &[]), (Stop, &[STOPPING]), (Current(1), &[])]);
    }

    /// rule: notify.reloading
    #[test]
    fn each_reloading_is_followed_by_one_ready_whatever_happens() {
        let all = [Asked(0, 0), Read(1, 0), Read(1, 2), Current(2), Failed(2), Stop];
        let mut said = alloc::vec![(Announcements::new(), READY, 0_u64, 0_u32, 1_u32)];
        for _ in 0..7 {
            let mut further = Vec::new();
            for (before, last, at, load, generation) in said {
                for happens in all {
                    // Numbers as main gives them: each request a later moment, what is
                    // read in its order, and each generation after the last.
                    let (mut at, mut load, mut generation) = (at, load, generation);
                    let happens = match happens {
                        Asked(..) => {
                            at += 1;
                            Asked(at, load + 1)
                        }
                        Read(_, target) => {
                            load += 1;
                            Read(load, if target == 0 { 0 } else { generation })
                        }
                        Current(_) | Failed(_) => {
                            generation += 1;
                            match happens {
                                Current(_) => Current(generation - 1),
                                Asked(..) | Read(..) | Failed(_) | Stop => Failed(generation - 1),
                            }
                        }
                        Stop => Stop,
                    };
                    let (mut now, mut last) = (before, last);
                    for told in after(&mut now, happens) {
                        match (last, told) {
                            (Announcement::Reloading(_), READY)
                            | (READY, READY | STOPPING | Announcement::Reloading(_)) => {}
                            (before, told) => panic!("{told:?} after {before:?}"),
                        }
                        last = told;
                    }
                    further.push((now, last, at, load, generation));
                }
            }
            said = further;
        }
    }
}
