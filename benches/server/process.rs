//! Processes in /proc: proc_pid_stat(5) and others.
//!
//! A process may exit at any moment, so one that is gone is `None` and no error.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// One unit of the times in `stat`, which is the same on every machine.
const CLOCK_TICK: Duration = Duration::from_millis(10);

/// The resources of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The number of its descriptors.
    pub descriptors: usize,
    /// The number of its threads.
    pub threads: usize,
    /// Its resident memory in KiB.
    pub resident: u64,
    /// The anonymous part of that in KiB.
    pub anonymous: u64,
}

/// One reading of a process.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// `R`, `S`, `T`, `Z` …
    pub state: char,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// Its start time, in ticks since boot.
    pub started: u64,
}

/// The fields of `stat` after the name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(String::from).collect())
}

/// The state of a process: `R`, `S`, `T`, `Z` …; `None` if it is gone.
pub fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// Reads a process; `None` if it is gone.
pub fn look(pid: u32) -> Option<Look> {
    let stat = stat(pid)?;
    let state = stat.first()?.chars().next()?;
    let (group, session) = (stat.get(2)?.parse().ok()?, stat.get(3)?.parse().ok()?);
    Some(Look { state, group, session, started: stat.get(19)?.parse().ok()? })
}

/// The children of a process with one thread, as the kernel lists them: fast, but one may be
/// missing while another exits.
pub fn listed_children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The name of a process.
pub fn name(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_string())
}

/// The children of a process by pid, including zombies.
pub fn children(pid: u32) -> Vec<u32> {
    let parent = pid.to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut children: Vec<u32> =
        pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.get(1) == Some(&parent))).collect();
    children.sort_unstable();
    children
}

/// A process and all processes below it.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(children(parent));
        next += 1;
    }
    found
}

/// The processor time of a process and all its reaped children.
pub fn processor_time(pid: u32) -> Duration {
    let stat = stat(pid).unwrap_or_default();
    let times = stat.iter().skip(11).take(4).filter_map(|time| time.parse::<u32>().ok());
    times.map(|ticks| CLOCK_TICK * ticks).sum()
}

/// The time that a process itself has run, of its first thread alone.
pub fn run_time(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(path(pid, "schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// The voluntary context switches of a process: how often it has waited.
pub fn voluntary_switches(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(path(pid, "status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

/// The number of descriptors of a process; 0 if it is gone.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(path(pid, "fd")).map_or(0, Iterator::count)
}

/// The resources of a process now.
pub fn weigh(pid: u32) -> Option<Weight> {
    let count = |what| Some(fs::read_dir(path(pid, what)).ok()?.count());
    let (descriptors, threads) = (count("fd")?, count("task")?);
    let (resident, anonymous) = (memory(pid, "Rss:")?, memory(pid, "Anonymous:")?);
    Some(Weight { descriptors, threads, resident, anonymous })
}

/// The memory of a process in KiB: resident, proportional, private, and how much of that is its
/// own: the rest is what no other process has mapped of its program at the moment.
pub fn kibibytes(pid: u32) -> Option<[u64; 4]> {
    let (clean, dirty) = (memory(pid, "Private_Clean:")?, memory(pid, "Private_Dirty:")?);
    Some([memory(pid, "Rss:")?, memory(pid, "Pss:")?, clean + dirty, dirty])
}

/// One sum over all mappings of a process, in KiB.
fn memory(pid: u32, what: &str) -> Option<u64> {
    let rollup = fs::read_to_string(path(pid, "smaps_rollup")).ok()?;
    let line = rollup.lines().find(|line| line.starts_with(what))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn path(pid: u32, what: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{what}"))
}
