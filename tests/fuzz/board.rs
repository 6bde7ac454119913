//! A scoreboard, which an application writes as it likes: main reads its own, and
//! panzerctl a copy.

use super::json;
use crate::protocol::status_report::{StatusReport, WorkerReport};
use crate::protocol::{json as status_json, metrics, status_tree};
use crate::shared::scoreboard::{ROWS, Scoreboard};
use crate::shared::scoreboard_copy;
use crate::sys::fd;
use crate::sys::memory;
use crate::types::Slot;
use alloc::vec::Vec;

/// What main answers beside a board.
const ANSWER: [&[u8]; 2] = [
    b"main version=0.1.0 pid=12 now=81203 up=5012 state=running count=2 dropped=0",
    b"generation number=2 state=current leader=13 monitor=13 since=80000 board=yes",
];

/// That these are the workers of a board: by their slots, in each the oldest first.
fn assert_workers(workers: &[WorkerReport], count: u16) {
    assert!(workers.len() <= usize::from(ROWS));
    for worker in workers {
        assert!(worker.pid.is_some() || worker.slot.number() <= count);
    }
    for pair in workers.windows(2) {
        let (first, second) = (&pair[0], &pair[1]);
        assert!(first.slot <= second.slot);
        let is_same = first.slot == second.slot;
        assert_eq!(second.is_replacement, is_same);
        if is_same {
            assert!(first.pid.is_some() && second.pid.is_some() && first.pid != second.pid);
            assert!(first.since <= second.since);
        }
    }
    assert!(workers.first().is_none_or(|worker| !worker.is_replacement));
}

/// That a status with them can be shown.
pub fn assert_shown(report: &StatusReport) {
    let tree = status_tree::render(report, false);
    assert!(!tree.replace('\n', "").contains(char::is_control), "{tree:?}");
    assert!(tree.lines().all(|line| line.chars().count() <= 80), "{tree}");
    let text = status_json::render(report);
    assert_eq!(text.find(char::is_control), Some(text.len() - 1), "{text}");
    json::assert_valid(&text);
    let metrics = metrics::render(report);
    assert!(metrics.lines().all(|line| line.starts_with("panzer_") || line.starts_with("# ")));
    assert!(metrics.ends_with("# EOF\n"));
}

pub fn read(bytes: &[u8]) {
    let board = Scoreboard::create().expect("there is memory");
    fd::write_at(board.descriptor(), bytes, 0).expect("it is ours");
    let seen_by_main = board.header().map(|header| {
        assert!(header.count <= Slot::LAST && header.ready <= header.count && header.rows <= ROWS);
        let workers = board.workers(&header);
        assert_workers(&workers, header.count);
        assert_eq!(board.any_worker(&header, &|_| true), !workers.is_empty());
        (workers, header.rows)
    });
    let copy = memory::settled_file(c"copy", bytes).expect("there is memory");
    let seen_by_ctl = scoreboard_copy::read(copy.borrow());
    let Some((workers, rows)) = seen_by_main else {
        return assert!(seen_by_ctl.is_err());
    };
    let copied = board.snapshot(rows).map(|copy| scoreboard_copy::read(copy.borrow()));
    assert_eq!(copied, Ok(Ok(workers.clone())), "a copy shows the same");
    let mut report = StatusReport::default();
    ANSWER.iter().for_each(|line| report.take(line));
    report.generations[0].workers = Some(Ok(workers));
    report.memory = report.pids().into_iter().map(|pid| (pid, u64::MAX)).collect::<Vec<_>>();
    assert_shown(&report);
}
