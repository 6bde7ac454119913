//! The process groups of programs: each is a wrapper, perhaps, and what it has
//! started, and ends as one.
//!
//! The pool is the reaper of orphans. A group is signalled only while its number is
//! pinned by a child of the pool: by its leader until that is reaped, and after that
//! by what the leader has left. waitid(P_PGID) says whether there is any; as long as
//! it names dead ones, they are reaped and it is asked again. A process whose parent
//! is alive is not seen, and what has called setsid(2) or setpgid(2) has left: such
//! a group counts as empty, and main ends them with the generation. kill(-PGID, 0)
//! would say nothing, for it succeeds on the dead.

use crate::monitor::monitor_loop::MonitorLoop;
use crate::monitor::pool::Group;
use crate::monitor::program::Programs;
use crate::sys::process::{self, Reaped};
use crate::sys::signal;
use crate::types::{Pid, Signal};

/// The most dead of a group that are reaped in one look.
const MOST: usize = 256;

impl MonitorLoop<Programs> {
    /// Whether a child of ours is left in the group of a worker that was reaped. Of
    /// very many dead ones some are left, which is as good: it is asked again.
    pub(super) fn left_in_group(&self, leader: Pid) -> Group {
        for _ in 0..MOST {
            match process::dead_child_in_group(leader) {
                // A worker that is in another one's group is reaped as a worker.
                Ok(Reaped::Dead(pid, _)) if self.rows.process(pid).is_none() => {
                    let _ = process::reap(pid);
                }
                Ok(Reaped::Dead(..) | Reaped::NoneDead) => return Group::Members,
                Ok(Reaped::NoChild) | Err(_) => return Group::Empty,
            }
        }
        Group::Members
    }

    /// Signals what is left of the group of a worker that was reaped, if anything is.
    pub(super) fn signal_rest(&self, leader: Pid, signal: Signal) {
        if self.left_in_group(leader) == Group::Members {
            // Pinned by what was just found. What runs as another user is not ours.
            let _ = signal::send_group(leader, signal);
        }
    }
}
