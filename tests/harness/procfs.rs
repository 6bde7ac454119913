//! What /proc says about a process. proc(5)

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::TIMEOUT;

/// How soon to read again: /proc does not report changes.
const PACE: Duration = Duration::from_millis(1);

fn file(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

fn text(pid: u32, name: &str) -> Option<String> {
    let bytes = fs::read(file(pid, name)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name that ps(1) shows; empty when the process is gone.
pub fn name(pid: u32) -> String {
    text(pid, "comm").unwrap_or_default().trim_end().to_string()
}

/// One process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub pid: u32,
    /// The name that ps(1) shows.
    pub name: String,
    /// `R`, `S`, `T`, `Z` …
    pub state: char,
    /// Its parent.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// When it began, which tells it from the next one of that number.
    pub born: u64,
}

impl Row {
    /// Whether it is there and not a zombie.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The line of /proc/PID/stat; `None` when the process is gone.
pub fn row(pid: u32) -> Option<Row> {
    let stat = text(pid, "stat")?;
    // The name may hold spaces and brackets.
    let (before, rest) = stat.rsplit_once(')')?;
    let words: Vec<_> = rest.split_whitespace().collect();
    Some(Row {
        pid,
        name: before.split_once('(')?.1.to_string(),
        state: words.first()?.chars().next()?,
        parent: words.get(1)?.parse().ok()?,
        group: words.get(2)?.parse().ok()?,
        session: words.get(3)?.parse().ok()?,
        born: words.get(19)?.parse().ok()?,
    })
}

/// All processes of the system, in no order.
pub fn all_processes() -> Vec<Row> {
    let all = fs::read_dir("/proc").expect("/proc is mounted");
    all.filter_map(|entry| row(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// `R`, `S`, `T`, `Z` …; `None` when the process is gone.
pub fn state(pid: u32) -> Option<char> {
    row(pid).map(|row| row.state)
}

/// Whether the process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    row(pid).is_some_and(|row| row.is_alive())
}

/// The children of a process, zombies included, in no order.
pub fn children(pid: u32) -> Vec<u32> {
    all_processes().iter().filter(|row| row.parent == pid).map(|row| row.pid).collect()
}

/// Whether it is a process that works for main or a monitor for a moment: it reads,
/// receives or closes something.
pub fn is_helper(name: &str) -> bool {
    ["panzer:closer", "panzer:loader", "panzer:receiver"].contains(&name)
}

/// The descendants of a process among `all`, zombies included.
pub fn below(all: &[Row], pid: u32) -> Vec<Row> {
    let (mut found, mut next) = (Vec::<Row>::new(), vec![pid]);
    while let Some(parent) = next.pop() {
        let children = all.iter().filter(|row| row.parent == parent);
        next.extend(children.clone().map(|row| row.pid));
        found.extend(children.cloned());
    }
    found
}

/// The descendants of a process, zombies included.
pub fn descendants(pid: u32) -> Vec<u32> {
    below(&all_processes(), pid).iter().map(|row| row.pid).collect()
}

/// The processes that were started with this environment entry, as far as it may be read.
pub fn with_environment(entry: &str) -> Vec<u32> {
    let is_marked = |pid: u32| {
        let all = fs::read(file(pid, "environ")).unwrap_or_default();
        all.split(|byte| *byte == 0).any(|one| one == entry.as_bytes())
    };
    all_processes().iter().map(|row| row.pid).filter(|pid| is_marked(*pid)).collect()
}

/// Polls until `condition` is true; returns false after [`TIMEOUT`].
///
/// Only for what the kernel reports to the parent alone: that a process has
/// stopped, or ended. For anything else, wait for an event or a line.
pub fn until(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        if deadline < Instant::now() {
            return false;
        }
        thread::park_timeout(PACE);
    }
    true
}

/// The descriptors of a process, each with its target: `3 socket:[4711]`.
pub fn descriptors(pid: u32) -> Vec<String> {
    let Ok(all) = fs::read_dir(file(pid, "fd")) else { return Vec::new() };
    let show = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some(format!("{} {}", entry.file_name().to_str()?, target.display()))
    };
    let mut shown: Vec<_> = all.filter_map(|entry| show(entry.ok()?)).collect();
    shown.sort();
    shown
}

/// The number of threads of a process.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(file(pid, "task")).map_or(0, Iterator::count)
}

/// A line of /proc/PID/status, without its key.
pub fn status(pid: u32, key: &str) -> String {
    let status = text(pid, "status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
    line.unwrap_or_default().trim().to_string()
}

/// The system call in which a process waits, by number, and its third argument;
/// `None` when it waits in none.
pub fn call(pid: u32) -> Option<(String, String)> {
    let text = text(pid, "syscall")?;
    let mut words = text.split(' ').map(String::from);
    Some((words.next()?, words.nth(2)?))
}

/// Whether a process waits without a timeout: the third argument of poll(2) is -1.
pub fn waits_for_ever(pid: u32) -> bool {
    call(pid).is_some_and(|(_, timeout)| timeout.ends_with("ffffffff"))
}

/// The files that a process has mapped into its memory.
pub fn maps(pid: u32) -> String {
    text(pid, "maps").unwrap_or_default()
}
