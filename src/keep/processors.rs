//! How many processors there are for us.
//!
//! The machine has so many, the scheduler lets us use some of them (a mask),
//! and a control group may give us less time than that (a quota). A group can
//! only take away from what the one around it has, so all of them are asked.

use super::log;
use crate::sys::{file, host};
use crate::types::{Level, Slot};
use crate::words::cgroup::{self, Version};
use alloc::ffi::CString;
use alloc::vec::Vec;

/// The largest file about control groups that is read.
const MOST: usize = 1 << 16;

/// The number of workers where nobody has said it: one for each processor that
/// is online. Warns when a quota allows less.
#[must_use]
pub fn by_default() -> u16 {
    let online = host::processors().min(Slot::LAST);
    if let Some(quota) = quota()
        && quota < online
    {
        let (quota, online) = (u32::from(quota), u32::from(online));
        log::log(
            Level::Warn,
            format_args!(
                "the control group allows {quota} of {online} processors, and there will be \
                 {online} workers; see --count auto"
            ),
        );
    }
    online
}

/// The number of workers of `--count auto`: the least of the processors that
/// are online, those that we may run on, and what the quota allows.
#[must_use]
pub fn usable() -> u16 {
    let ours = [host::affinity(), quota()].into_iter().flatten();
    ours.fold(host::processors(), u16::min).clamp(1, Slot::LAST)
}

/// The processors that the control groups around us allow, rounded up; `None`
/// when they do not limit them, or cannot be asked.
fn quota() -> Option<u16> {
    let groups = file::read(c"/proc/self/cgroup", MOST).ok()?;
    let mut least = None;
    for line in groups.split(|&byte| byte == b'\n') {
        let Some((version, mut group)) = cgroup::parse(line) else { continue };
        loop {
            let limit = cgroup::processors(&limit_of(version, group));
            least = limit.into_iter().chain(least).min();
            match cgroup::parent(group) {
                Some(parent) => group = parent,
                None => break,
            }
        }
    }
    least.map(|least| u16::try_from(least).unwrap_or(u16::MAX))
}

/// The quota and the period of a group, as far as they can be read.
fn limit_of(version: Version, group: &[u8]) -> Vec<u8> {
    match version {
        Version::Two => content(&[b"/sys/fs/cgroup", group, b"/cpu.max"]),
        Version::One => {
            let directory = b"/sys/fs/cgroup/cpu";
            let mut limit = content(&[directory, group, b"/cpu.cfs_quota_us"]);
            limit.extend(content(&[directory, group, b"/cpu.cfs_period_us"]));
            limit
        }
    }
}

/// What the file at that path holds; nothing if it cannot be read.
fn content(path: &[&[u8]]) -> Vec<u8> {
    let path = CString::new(path.concat()).unwrap_or_default();
    file::read(&path, MOST).unwrap_or_default()
}
