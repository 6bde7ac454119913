//! What no walk tells apart: its longest back-off is shorter than the second at which the
//! wait of an early exit with status 0 ends, it reports no busy worker without a hang
//! timeout, and it forgets the deaths of a slot that is recycled.

use crate::monitor::pool::{Authority, Command, Event, Group, Pool, PoolRules, Report};
use crate::types::{Backoff, Exit, Millis, Pid, Slot, Tick};
use alloc::vec::Vec;

const SLOT: Slot = Slot::new(1).expect("it is in range");

fn pid(raw: i32) -> Pid {
    Pid::new(raw).expect("it is positive")
}

/// One slot that is empty and due at 0.
fn rules() -> PoolRules {
    PoolRules {
        count: 1,
        timeout: Millis(60_000),
        backoff: Backoff { delay: Millis(100), max_delay: Millis(30_000) },
        ready_after: None,
        hang_timeout: Millis(0),
        lifetime: Millis(0),
        ready_timeout: Millis(0),
        rows: 999,
        seed: 1,
    }
}

fn step(pool: &mut Pool, now: Tick, event: Event) -> Vec<Command> {
    let mut commands = Vec::new();
    pool.step(now, event, &mut commands);
    commands
}

/// Forks the worker that is due, as `pid`, and says when that was.
fn start(pool: &mut Pool, pid: Pid) -> Tick {
    let now = pool.deadline().expect("the slot is due");
    assert_eq!(step(pool, now, Event::Timer), [Command::Fork { slot: SLOT }]);
    step(pool, now, Event::Forked { slot: SLOT, pid });
    now
}

/// A worker leaves in the moment in which it was started; how long the slot waits then.
fn wait_after(pool: &mut Pool, pid: Pid, exit: Exit) -> Millis {
    let now = start(pool, pid);
    step(pool, now, Event::Runs { slot: SLOT, pid });
    let exited = Event::Exited { slot: SLOT, pid, exit, group: Group::Empty };
    let commands = step(pool, now, exited);
    let [Command::Tell(Report::Died { next: Some(next), .. })] = commands[..] else {
        panic!("expected one report with the next start: {commands:?}")
    };
    next.since(now)
}

/// rule: backoff.delay
#[test]
fn early_exit_waits_longer_than_1s_unless_its_status_is_0_and_the_pool_was_ready() {
    let failure = Exit::Status(1);
    for (was_ready, exit) in [(false, Exit::Status(0)), (false, failure), (true, failure)] {
        let rules = PoolRules { ready_after: Some(Millis(1_000)), ..rules() };
        let mut pool = Pool::new(rules, Authority::Own, Tick(0));
        if was_ready {
            let now = start(&mut pool, pid(10));
            step(&mut pool, now, Event::Ready { slot: SLOT, pid: pid(10) });
            assert!(pool.was_ready());
            let group = Group::Empty;
            step(&mut pool, now, Event::Exited { slot: SLOT, pid: pid(10), exit, group });
        }
        let waits: Vec<_> = (11..23).map(|raw| wait_after(&mut pool, pid(raw), exit)).collect();
        assert!(waits.last() >= Some(&Millis(22_500)), "{was_ready} {exit:?}: {waits:?}");
    }
}

/// rule: hang.timeout
#[test]
fn busy_worker_is_left_alone_without_a_hang_timeout() {
    let mut pool = Pool::new(rules(), Authority::Own, Tick(0));
    start(&mut pool, pid(11));
    step(&mut pool, Tick(0), Event::Ready { slot: SLOT, pid: pid(11) });
    let busy = Event::Busy { slot: SLOT, pid: pid(11), since: Tick(0) };
    assert_eq!(step(&mut pool, Tick(1_000_000), busy), []);
    assert_eq!(pool.deadline(), None);
}

/// rule: lifetime.replacement
#[test]
fn deaths_before_a_worker_was_ready_delay_no_replacement_of_it() {
    let rules = PoolRules { lifetime: Millis(10_000), ..rules() };
    let mut pool = Pool::new(rules, Authority::Own, Tick(0));
    for raw in 11..16 {
        wait_after(&mut pool, pid(raw), Exit::Status(1));
    }
    let now = start(&mut pool, pid(16));
    step(&mut pool, now, Event::Ready { slot: SLOT, pid: pid(16) });
    let due = pool.deadline().expect("it is to be recycled");
    assert_eq!(step(&mut pool, due, Event::Timer), [Command::Fork { slot: SLOT }]);
    let failed = Report::ForkFailed { slot: SLOT, next: Some(due) };
    let commands = step(&mut pool, due, Event::ForkFailed { slot: SLOT });
    assert_eq!(commands, [Command::Tell(failed)], "the first failure waits for nothing");
}

/// rule: lifetime.replacement
#[test]
fn replacement_waits_1s_at_most_for_a_late_one_before_it() {
    let rules = PoolRules { lifetime: Millis(10_000), ready_timeout: Millis(2_000), ..rules() };
    let mut pool = Pool::new(rules, Authority::Own, Tick(0));
    start(&mut pool, pid(11));
    step(&mut pool, Tick(0), Event::Ready { slot: SLOT, pid: pid(11) });
    start(&mut pool, pid(12));
    let late = pool.deadline().expect("the replacement is to be ready");
    step(&mut pool, late, Event::Timer);
    assert_eq!(pool.deadline(), Some(late.after(Millis(1_000))));
}
