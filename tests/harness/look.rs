//! What /proc says of a process. proc(5)

use std::fs;
use std::path::PathBuf;

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

/// Everything behind the name in /proc/PID/stat: state, parent, group …
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = text(pid, "stat")?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_string).collect())
}

/// `R`, `S`, `T`, `Z` …; `None` when the process is gone.
pub fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// Whether the process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The children of a process, zombies included, in no order.
pub fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|child| stat(*child).is_some_and(|stat| stat[1] == pid.to_string())).collect()
}

/// Everybody below a process, zombies included.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut next = 0;
    while next < found.len() {
        found.extend(children(found[next]));
        next += 1;
    }
    found
}

/// The descriptors of a process, each with what it is: `3 socket:[4711]`.
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

/// The files that a process has mapped into its memory.
pub fn maps(pid: u32) -> String {
    text(pid, "maps").unwrap_or_default()
}
