//! How many processors there are for us.
//!
//! The machine has so many, the scheduler lets us use some of them (a mask),
//! and a control group may give us less time than that (a quota). A group can
//! only take away from what the one around it has, so all of them are asked.

use crate::cgroup::{self, Version};
use crate::log;
use crate::sys::{file, host};
use crate::types::{Level, Slot};
use alloc::ffi::CString;
use alloc::vec::Vec;

/// The largest file about control groups that is read.
const MOST: usize = 1 << 16;

/// The number of workers where it is not set: one for each processor that is online.
/// Warns when a quota allows less.
pub fn by_default() -> u16 {
    let online = host::processors().min(Slot::LAST);
    if let Some(quota) = quota()
        && quota < online
    {
        let (quota, online) = (u32::from(quota), u32::from(online));
        log::log(
            Level::Warn,
            format_args!(
                "cgroup quota allows {quota} of {online} processors, but the default is \
                 {online} workers; see --count auto"
            ),
        );
    }
    online
}

/// The number of workers of `--count auto`: the least of the processors that
/// are online, those that we may run on, and what the quota allows.
pub fn usable() -> u16 {
    let most = host::affinity().unwrap_or(1);
    quota().unwrap_or(most).min(most).clamp(1, Slot::LAST)
}

/// The processors that the control groups around us allow, rounded up; `None`
/// when they do not limit them, or cannot be asked.
fn quota() -> Option<u16> {
    let groups = file::read(c"/proc/self/cgroup", MOST).ok()?;
    let mut least = u64::MAX;
    for line in groups.split(|&byte| byte == b'\n') {
        let Some((version, mut group)) = cgroup::parse(line, b"cpu") else { continue };
        loop {
            if let Some(limit) = cgroup::processors(&limit_of(version, group)) {
                least = limit.min(least);
            }
            match cgroup::parent(group) {
                Some(parent) => group = parent,
                None => break,
            }
        }
    }
    // More than that are no limit.
    u16::try_from(least).ok()
}

/// The quota and the period of a group, as far as they can be read.
fn limit_of(version: Version, group: &[u8]) -> Vec<u8> {
    let (directory, files): (&[u8], &[&[u8]]) = match version {
        Version::One => (b"/sys/fs/cgroup/cpu", &[b"/cpu.cfs_quota_us", b"/cpu.cfs_period_us"]),
        Version::Two => (b"/sys/fs/cgroup", &[b"/cpu.max"]),
    };
    let mut limit = Vec::new();
    for name in files {
        // A group that is not there, as the outermost, limits nothing.
        if let Ok(path) = CString::new([directory, group, name].concat())
            && let Ok(text) = file::read(&path, MOST)
        {
            limit.extend_from_slice(&text);
        }
    }
    limit
}
