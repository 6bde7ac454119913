//! Samples of /proc while a test does something else.
//!
//! A watcher is a thread that looks at all descendants of a main a hundred times
//! a second. It keeps what no event reports: how many there were at once, and
//! which were seen in a state that should not occur. These are samples: what was
//! seen was there, but what was not seen may have been there too, except at the end.

use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::procfs::{self, Row};

/// From one look to the next.
const PACE: Duration = Duration::from_millis(10);

/// A watcher at work.
pub struct Watch {
    /// Ends the thread when it is dropped.
    stop: Sender<()>,
    thread: JoinHandle<Seen>,
}

/// What a watcher has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often it has looked.
    pub looks: usize,
    /// The most processes below main that were alive at once.
    pub alive: usize,
    /// The most generations of which a process was alive at once.
    pub generations: usize,
    /// In how many looks in a row one zombie was seen, at most.
    pub zombie: usize,
    /// The processes that were seen stopped.
    pub stopped: Vec<Row>,
}

impl Watch {
    /// Watches all descendants of `main`, and those that were once.
    pub fn start(main: u32) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut watcher = Watcher { main, known: HashMap::new(), seen: Seen::default() };
            // A fork is not reported, so samples are taken at a fixed rate.
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                watcher.look();
            }
            // What is there at the end was seen, however slow the looks were.
            watcher.look();
            watcher.seen
        });
        Self { stop, thread }
    }

    /// Ends it; returns everything that it has seen.
    pub fn end(self) -> Seen {
        drop(self.stop);
        self.thread.join().expect("it only looks")
    }
}

struct Watcher {
    main: u32,
    /// The processes of the last look, and for how many looks each was a zombie.
    known: HashMap<(u32, u64), usize>,
    seen: Seen,
}

impl Watcher {
    fn look(&mut self) {
        let all = procfs::all_processes();
        let mut tree = procfs::below(&all, self.main);
        let is_known = |row: &Row| self.known.contains_key(&(row.pid, row.born));
        // Once main has exited they have another parent.
        let left = all.into_iter().filter(|row| is_known(row) && !tree.contains(row));
        tree.extend(left.collect::<Vec<_>>());
        self.count(&tree);
        let zombies = |row: &Row| match self.known.get(&(row.pid, row.born)) {
            _ if row.is_alive() => 0,
            Some(looks) => looks + 1,
            None => 1,
        };
        self.known = tree.iter().map(|row| ((row.pid, row.born), zombies(row))).collect();
        let longest = self.known.values().copied().max().unwrap_or(0);
        self.seen.zombie = self.seen.zombie.max(longest);
        self.seen.stopped.extend(tree.into_iter().filter(|row| row.state == 'T'));
    }

    /// A generation is counted by its session, for its monitor may have exited; a
    /// process that is still in main's session has not made its own yet, or reads or
    /// receives for main.
    fn count(&mut self, tree: &[Row]) {
        let own = procfs::row(self.main).map(|main| main.session);
        let alive = || tree.iter().filter(|row| row.is_alive());
        let mut sessions: Vec<_> = alive().map(|row| row.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        sessions.retain(|session| Some(*session) != own);
        self.seen.looks += 1;
        self.seen.alive = self.seen.alive.max(alive().count());
        self.seen.generations = self.seen.generations.max(sessions.len());
    }
}
