//! Looks at every process of a tree, a hundred times a second.
//!
//! Everybody below main belongs to the tree, and everybody who once was, for as
//! long as he lives: whoever main's death has made an orphan. A generation is a
//! process group that is not main's. Main itself is nobody's zombie but ours.

use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::process::{self, Look};

/// From one look to the next.
const PERIOD: Duration = Duration::from_millis(10);

/// Somebody who watches until he is told that it is enough.
pub struct Watch {
    enough: Sender<()>,
    thread: JoinHandle<Seen>,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// How often there was somebody to look at.
    pub looks: usize,
    /// The most processes at once, without zombies.
    pub processes: usize,
    /// The most generations at once that had anybody alive.
    pub generations: usize,
    /// The longest that anybody was seen to be a zombie.
    pub zombie: Duration,
    /// How often somebody was seen stopped.
    pub stopped: usize,
}

impl Watch {
    /// Watches `main` and all below it. Main must not be reaped before this is
    /// finished, so that its number stays its own.
    pub fn start(main: u32) -> Self {
        let (enough, is_enough) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut watcher = Watcher { main, known: HashMap::new(), seen: Seen::default() };
            loop {
                watcher.look();
                if is_enough.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
                    return watcher.seen;
                }
            }
        });
        Self { enough, thread }
    }

    /// Ends it and says what was seen.
    pub fn finish(self) -> Seen {
        drop(self.enough);
        self.thread.join().unwrap_or_default()
    }
}

impl Seen {
    /// What was seen in two watches, all together.
    pub fn absorb(&mut self, other: Self) {
        self.looks += other.looks;
        self.processes = self.processes.max(other.processes);
        self.generations = self.generations.max(other.generations);
        self.zombie = self.zombie.max(other.zombie);
        self.stopped += other.stopped;
    }
}

struct Watcher {
    main: u32,
    /// When each was started, which tells it from one who has got its number
    /// after it; and since when it is a zombie.
    known: HashMap<u32, (u64, Option<Instant>)>,
    seen: Seen,
}

impl Watcher {
    /// Looks at everybody once.
    fn look(&mut self) {
        let now = Instant::now();
        let crowd = self.everybody();
        let own_group = process::look(self.main).map(|main| main.group);
        let (mut processes, mut groups) = (0, BTreeSet::new());
        for (pid, look) in &crowd {
            if look.state == 'Z' {
                self.note_zombie(*pid, now);
                continue;
            }
            processes += 1;
            self.seen.stopped += usize::from(look.state == 'T');
            if Some(look.group) != own_group {
                groups.insert(look.group);
            }
        }
        self.seen.looks += usize::from(processes > 0);
        self.seen.processes = self.seen.processes.max(processes);
        self.seen.generations = self.seen.generations.max(groups.len());
    }

    fn note_zombie(&mut self, pid: u32, now: Instant) {
        if pid == self.main {
            return;
        }
        if let Some((_, since)) = self.known.get_mut(&pid) {
            let lain = now.saturating_duration_since(*since.get_or_insert(now));
            self.seen.zombie = self.seen.zombie.max(lain);
        }
    }

    /// Everybody who is there, each once; forgets who is gone.
    fn everybody(&mut self) -> Vec<(u32, Look)> {
        let mut pids: Vec<u32> = self.known.keys().copied().chain([self.main]).collect();
        let mut crowd: HashMap<u32, Look> = HashMap::new();
        while let Some(pid) = pids.pop() {
            if crowd.contains_key(&pid) {
                continue;
            }
            let look = process::look(pid);
            let (known, found) = (self.known.get(&pid), look.map(|look| look.started));
            let is_other = known.is_some_and(|(started, _)| Some(*started) != found);
            if is_other {
                self.known.remove(&pid);
            } else if let Some(look) = look {
                self.known.entry(pid).or_insert((look.started, None));
                crowd.insert(pid, look);
                pids.extend(process::offspring(pid));
            }
        }
        crowd.into_iter().collect()
    }
}
