//! Processes that the kernel has killed for want of memory.
//!
//! It counts them for each control group, and does not say which they were. So a death
//! is explained by the count before it and the count after. What was killed is one of
//! all processes of the group, so the count is looked at often: what has risen since
//! the last look explains no more deaths than it has risen by.

use crate::cgroup::{self, Version};
use crate::sys::file;
use alloc::ffi::CString;
use core::mem;

/// The largest file about control groups that is read.
const MOST: usize = 1 << 16;

/// The count at the last look.
#[derive(Debug)]
pub struct OomKills {
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// The file that says it: the process may be moved to another group.
    path: CString,
    count: u64,
}

impl OomKills {
    /// Looks for the first time.
    pub fn new() -> Self {
        Self { seen: look() }
    }

    /// Looks again; says whether so many deaths are all explained by what has come
    /// since the last look. No death never is.
    pub fn explain(&mut self, deaths: usize) -> bool {
        let before = mem::replace(&mut self.seen, look());
        match (before, &self.seen) {
            (Some(before), Some(now)) if before.path == now.path => {
                deaths > 0 && now.count.saturating_sub(before.count) >= deaths as u64
            }
            (Some(_) | None, Some(_) | None) => false,
        }
    }
}

/// What the group of this process says, where the kernel counts.
fn look() -> Option<Seen> {
    let groups = file::read(c"/proc/self/cgroup", MOST).ok()?;
    groups.split(|&byte| byte == b'\n').find_map(|line| {
        let (version, group) = cgroup::parse(line, b"memory")?;
        // In a container the path may lead nowhere, and the outermost is its own.
        count_of(version, group).or_else(|| count_of(version, b""))
    })
}

fn count_of(version: Version, group: &[u8]) -> Option<Seen> {
    let (directory, name): (&[u8], &[u8]) = match version {
        Version::One => (b"/sys/fs/cgroup/memory", b"/memory.oom_control"),
        Version::Two => (b"/sys/fs/cgroup", b"/memory.events.local"),
    };
    let path = CString::new([directory, group, name].concat()).ok()?;
    let count = cgroup::oom_kills(&file::read(&path, MOST).ok()?)?;
    Some(Seen { path, count })
}
