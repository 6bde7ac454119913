//! What /proc has said meanwhile.
//!
//! A watcher is a thread of its own that looks at everybody below a main a
//! hundred times a second, while its test does something else. It keeps what no
//! event tells: how many there were at once, and who was seen in a state that
//! nobody should be in. It sees a sample: what it has seen was there, and what
//! it has not seen may have been.

use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::look::{self, Row};

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
    /// The most generations of which somebody was alive at once.
    pub generations: usize,
    /// In how many looks in a row the same zombie was seen, at most.
    pub zombie: usize,
    /// Who was seen stopped.
    pub stopped: Vec<Row>,
}

impl Watch {
    /// Watches everybody below `main`, and whoever was below it once.
    pub fn start(main: u32) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut watcher = Watcher { main, known: HashMap::new(), seen: Seen::default() };
            // Nobody tells that a process was forked: a sample needs a pace.
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                watcher.look();
            }
            watcher.seen
        });
        Self { stop, thread }
    }

    /// Ends it; everything it has seen.
    pub fn end(self) -> Seen {
        drop(self.stop);
        self.thread.join().expect("it only looks")
    }
}

struct Watcher {
    main: u32,
    /// Everybody of the last look, and for how many looks he was a zombie.
    known: HashMap<(u32, u64), usize>,
    seen: Seen,
}

impl Watcher {
    fn look(&mut self) {
        let all = look::everybody();
        let mut tree = look::below(&all, self.main);
        let is_known = |row: &Row| self.known.contains_key(&(row.pid, row.born));
        // Without main they have another parent.
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

    /// A generation is a process group, for its monitor may be gone; whoever is
    /// still in main's group has not come to his own yet.
    fn count(&mut self, tree: &[Row]) {
        let own = look::row(self.main).map(|main| main.group);
        let alive = || tree.iter().filter(|row| row.is_alive());
        let mut groups: Vec<_> = alive().map(|row| row.group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.retain(|group| Some(*group) != own);
        self.seen.looks += 1;
        self.seen.alive = self.seen.alive.max(alive().count());
        self.seen.generations = self.seen.generations.max(groups.len());
    }
}
