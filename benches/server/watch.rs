//! Reads every process of a tree a hundred times a second.
//!
//! All processes below main belong to the tree, and those that once did, as long as they
//! live: the death of main makes them orphans. A generation is a session other than main's.
//! Main itself is a child of the bench.

use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::process::{self, Look};

/// The interval between two readings.
const PERIOD: Duration = Duration::from_millis(10);

/// A thread that watches until it is finished.
pub struct Watch {
    enough: Sender<()>,
    thread: JoinHandle<Seen>,
}

/// The result of a watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// How often there was a living process.
    pub looks: usize,
    /// The most processes at once, without zombies.
    pub processes: usize,
    /// The most generations at once with a living process.
    pub generations: usize,
    /// The longest time that a process was a zombie.
    pub zombie: Duration,
    /// How often a process was stopped.
    pub stopped: usize,
    /// The longest time that a process was in a process group without its leader.
    pub left: Duration,
}

impl Watch {
    /// Watches `main` and all processes below it. Main must not be reaped before this is
    /// finished, so that its pid is not reused.
    pub fn start(main: u32) -> Self {
        let (enough, is_enough) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut watcher = Watcher {
                main,
                known: HashMap::new(),
                left: HashMap::new(),
                seen: Seen::default(),
            };
            loop {
                watcher.look();
                if is_enough.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
                    return watcher.seen;
                }
            }
        });
        Self { enough, thread }
    }

    /// Ends it and returns the result.
    pub fn finish(self) -> Seen {
        drop(self.enough);
        self.thread.join().unwrap_or_default()
    }
}

impl Seen {
    /// Adds the result of another watch.
    pub fn absorb(&mut self, other: Self) {
        self.looks += other.looks;
        self.processes = self.processes.max(other.processes);
        self.generations = self.generations.max(other.generations);
        self.zombie = self.zombie.max(other.zombie);
        self.stopped += other.stopped;
        self.left = self.left.max(other.left);
    }
}

struct Watcher {
    main: u32,
    /// The start time of each process, which shows a reused pid, and since when it is a zombie.
    known: HashMap<u32, (u64, Option<Instant>)>,
    /// The processes in a group without its leader, and since when.
    left: HashMap<u32, Instant>,
    seen: Seen,
}

impl Watcher {
    /// Reads all processes once.
    fn look(&mut self) {
        let now = Instant::now();
        let crowd = self.processes();
        let own_session = process::look(self.main).map(|main| main.session);
        let (mut processes, mut sessions) = (0, BTreeSet::new());
        for (pid, look) in &crowd {
            if look.state == 'Z' {
                self.note_zombie(*pid, now);
                continue;
            }
            processes += 1;
            self.seen.stopped += usize::from(look.state == 'T');
            if Some(look.session) != own_session {
                sessions.insert(look.session);
            }
        }
        self.note_left(&crowd, own_session, now);
        self.seen.looks += usize::from(processes > 0);
        self.seen.processes = self.seen.processes.max(processes);
        self.seen.generations = self.seen.generations.max(sessions.len());
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

    /// The processes of a generation whose group has lost its leader.
    fn note_left(&mut self, crowd: &[(u32, Look)], own_session: Option<u32>, now: Instant) {
        let leads = |group| crowd.iter().any(|(pid, look)| *pid == group && look.state != 'Z');
        let lost = |look: &Look| {
            look.state != 'Z' && Some(look.session) != own_session && !leads(look.group)
        };
        let left: Vec<u32> =
            crowd.iter().filter(|(_, look)| lost(look)).map(|(pid, _)| *pid).collect();
        self.left.retain(|pid, _| left.contains(pid));
        for pid in left {
            let since = *self.left.entry(pid).or_insert(now);
            self.seen.left = self.seen.left.max(now.saturating_duration_since(since));
        }
    }

    /// All present processes, each once; forgets those that are gone.
    fn processes(&mut self) -> Vec<(u32, Look)> {
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
                pids.extend(process::listed_children(pid));
            }
        }
        crowd.into_iter().collect()
    }
}
