//! How much of the processors a control group may use, and how many of it the
//! kernel has killed for want of memory: cgroups(7).
//!
//! /proc/self/cgroup names the groups of a process, one a line: `0::/path` in the one
//! hierarchy of version 2, `4:cpu,cpuacct:/path` in one of version 1. A limit is a
//! quota and the period in which it may be used, both in microseconds: `50000 100000`
//! in `cpu.max`, or one number in each of `cpu.cfs_quota_us` and `cpu.cfs_period_us`.
//! Any other word, `max` or `-1`, means that there is none. Processes that the kernel
//! has killed are counted in the line `oom_kill` of `memory.events.local`, or of
//! `memory.oom_control`.

use crate::decimal;
use crate::split::take;

/// A hierarchy of groups, in which a controller limits something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One of its own: `cpu.cfs_quota_us` and `cpu.cfs_period_us`.
    One,
    /// The one of all controllers: `cpu.max`.
    Two,
}

/// The group that a line of /proc/self/cgroup names, if `controller` may be
/// there.
pub fn parse<'l>(line: &'l [u8], controller: &[u8]) -> Option<(Version, &'l [u8])> {
    let mut path = line;
    let (number, controllers) = (take(&mut path, b':'), take(&mut path, b':'));
    if path.is_empty() {
        return None;
    }
    if number == b"0" && controllers.is_empty() {
        return Some((Version::Two, path));
    }
    controllers
        .split(|&byte| byte == b',')
        .any(|name| name == controller)
        .then_some((Version::One, path))
}

/// The group that `path` is in; `None` when it is the outermost.
pub fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    path.get(..slash)
}

/// The processors that a quota and its period allow together, rounded up and
/// at least one; `None` when there is no limit.
pub fn processors(limit: &[u8]) -> Option<u64> {
    let mut words = limit.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut number = || decimal::parse_long(words.next()?, u64::MAX);
    let (quota, period) = (number()?, number()?);
    (period > 0).then(|| quota.div_ceil(period).max(1))
}

/// How many the kernel has killed in a group, by what such a file says; `None`
/// when it does not say.
pub fn oom_kills(file: &[u8]) -> Option<u64> {
    let count = file.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"oom_kill "));
    decimal::parse_long(count?, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Version, oom_kills, parent, parse, processors};

    /// rule: log.out-of-memory
    #[test]
    fn oom_kills_are_counted_in_both_cgroup_versions() {
        let one = b"oom_kill_disable 0\nunder_oom 1\noom_kill 7\n";
        let two = b"low 0\nhigh 3\nmax 912\noom 5\noom_kill 4\noom_group_kill 1\n";
        assert_eq!((oom_kills(one), oom_kills(two)), (Some(7), Some(4)));
        assert_eq!(oom_kills(b"oom_kill 18446744073709551615"), Some(u64::MAX));
    }

    /// rule: log.out-of-memory
    #[test]
    fn missing_oom_kill_count_is_none() {
        for file in [
            &b""[..],
            b"oom_kill_disable 0\nunder_oom 0\n",
            b"oom_kill\n",
            b"oom_kill x\n",
            b"oom_kill -1\n",
            b"oom_kill 18446744073709551616\n",
        ] {
            assert_eq!(oom_kills(file), None, "{file:?}");
        }
    }

    #[test]
    fn group_of_the_memory_controller_is_parsed() {
        assert_eq!(parse(b"4:memory:/x", b"memory"), Some((Version::One, &b"/x"[..])));
        assert_eq!(parse(b"0::/x", b"memory"), Some((Version::Two, &b"/x"[..])));
        assert_eq!(parse(b"4:cpu:/x", b"memory"), None);
    }

    #[test]
    fn group_of_the_cpu_controller_is_parsed_in_both_versions() {
        let cpu = |line| parse(line, b"cpu");
        assert_eq!(cpu(b"0::/user.slice/a b"), Some((Version::Two, &b"/user.slice/a b"[..])));
        assert_eq!(cpu(b"0::/a:b"), Some((Version::Two, &b"/a:b"[..])));
        for line in [&b"1:cpu:/x"[..], b"4:cpu,cpuacct:/x", b"12:cpuacct,cpu:/x"] {
            assert_eq!(cpu(line), Some((Version::One, &b"/x"[..])));
        }
    }

    #[test]
    fn line_of_another_controller_has_no_group() {
        for line in [
            &b""[..],
            b"0:",
            b"2:cpuacct:/x",
            b"3:cpuset:/x",
            b"9:name=systemd:/x",
            b"10::/x",
            b"cpu:/x",
        ] {
            assert_eq!(parse(line, b"cpu"), None, "{line:?}");
        }
    }

    #[test]
    fn every_group_but_the_root_has_a_parent() {
        assert_eq!(parent(b"/a/b"), Some(&b"/a"[..]));
        assert_eq!(parent(b"/a"), Some(&b""[..]));
        assert_eq!(parent(b"/"), Some(&b""[..]));
        assert_eq!(parent(b""), None);
    }

    #[test]
    fn quota_is_rounded_up_to_whole_processors() {
        for (limit, expected) in [
            (&b"100000 100000\n"[..], 1),
            (b"100001 100000\n", 2),
            (b"1000 100000", 1),
            (b"250000\n100000\n", 3),
            (b"0 100000", 1),
            (b"18446744073709551615 1", u64::MAX),
        ] {
            assert_eq!(processors(limit), Some(expected), "{limit:?}");
        }
    }

    #[test]
    fn malformed_quota_is_no_limit() {
        for limit in [
            &b"max 100000\n"[..],
            b"-1\n100000\n",
            b"",
            b"100000",
            b"100000 0",
            b"100000 x",
            b"99999999999999999999 1",
        ] {
            assert_eq!(processors(limit), None, "{limit:?}");
        }
    }
}
