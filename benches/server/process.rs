//! What the kernel says of a process: proc_pid_stat(5) and its neighbours.
//!
//! A process may go at any moment, so what is gone is `None` and no error.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// One unit of the times in `stat`, which is the same on every machine.
const CLOCK_TICK: Duration = Duration::from_millis(10);

/// What a process weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// How many descriptors it has.
    pub descriptors: usize,
    /// How many threads it has.
    pub threads: usize,
    /// How much memory is resident, in KiB.
    pub resident: u64,
    /// How much of that is its own, and not a file's, in KiB.
    pub anonymous: u64,
}

/// What one look at a process shows.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// `R`, `S`, `T`, `Z` …
    pub state: char,
    /// Its process group.
    pub group: u32,
    /// When it was started, in ticks since the machine was.
    pub started: u64,
}

/// The numbers of `stat`, from the state on, which the name cannot disturb.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(String::from).collect())
}

/// The state of a process: `R`, `S`, `T`, `Z` …; `None` when it is gone.
pub fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// What a process is now; `None` when it is gone.
pub fn look(pid: u32) -> Option<Look> {
    let stat = stat(pid)?;
    let (group, started) = (stat.get(2)?.parse().ok()?, stat.get(19)?.parse().ok()?);
    Some(Look { state: stat.first()?.chars().next()?, group, started })
}

/// The children of a process with one thread, as the kernel lists them: fast,
/// but one may be left out while another goes.
pub fn offspring(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The name that a process has given itself.
pub fn name(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_string())
}

/// The children of a process, in the order of their ids; zombies too.
pub fn children(pid: u32) -> Vec<u32> {
    let parent = pid.to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut children: Vec<u32> =
        pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.get(1) == Some(&parent))).collect();
    children.sort_unstable();
    children
}

/// A process and everything below it.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(children(parent));
        next += 1;
    }
    found
}

/// How long a process and all its reaped children have run on a processor.
pub fn processor_time(pid: u32) -> Duration {
    let stat = stat(pid).unwrap_or_default();
    let times = stat.iter().skip(11).take(4).filter_map(|time| time.parse::<u32>().ok());
    times.map(|ticks| CLOCK_TICK * ticks).sum()
}

/// How often a process has waited for something, and so was woken after.
pub fn naps(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(path(pid, "status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

/// How many descriptors a process has; 0 when it is gone.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(path(pid, "fd")).map_or(0, Iterator::count)
}

/// What a process weighs now.
pub fn weigh(pid: u32) -> Option<Weight> {
    let count = |what| Some(fs::read_dir(path(pid, what)).ok()?.count());
    let (descriptors, threads) = (count("fd")?, count("task")?);
    let (resident, anonymous) = (memory(pid, "Rss:")?, memory(pid, "Anonymous:")?);
    Some(Weight { descriptors, threads, resident, anonymous })
}

/// One sum over all mappings of a process, in KiB, to the page.
fn memory(pid: u32, what: &str) -> Option<u64> {
    let rollup = fs::read_to_string(path(pid, "smaps_rollup")).ok()?;
    let line = rollup.lines().find(|line| line.starts_with(what))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn path(pid: u32, what: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{what}"))
}
