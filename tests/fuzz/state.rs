//! What another image of main has handed down, and what the supervisor decides then.
//!
//! The first byte says how many of the next ones are events; the rest is the state.

use super::MainProcess;
use super::resources::Resources;
use super::supervisor::{Command, Event, Session, Supervisor};
use crate::exec_result::ExecResult;
use crate::fuzz::assert_shown;
use crate::persist::{Codec, Direction, Persist as _};
use crate::sys::signal::OriginalDispositions;
use crate::types::{Generation, Millis, Pid, Tick};
use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;

/// The process of the first generation that is started here.
const FIRST: i32 = 1_000_000;
/// More orders than follow from one event.
const MOST: usize = 64;

/// A main that has nothing yet.
fn blank() -> Box<MainProcess> {
    let (inherited, words) = (OriginalDispositions::empty_value(), &[]);
    MainProcess::assemble(Resources::empty_value(), inherited, c"/".into(), words, words)
}

/// What main has made of a state, and the one that it would hand down itself.
struct Tried {
    outcome: Result<(), alloc::string::String>,
    state: Vec<u8>,
    supervisor: Supervisor,
    now: Tick,
}

fn tried(bytes: &[u8]) -> Tried {
    let mut main = blank();
    let outcome = main.take_state(bytes.to_vec(), Direction::Try);
    let (supervisor, now) = (main.supervisor.clone(), main.now);
    // The descriptors are numbers of another process.
    let mut codec = Codec::of(Vec::new(), Direction::Disown);
    codec.number(super::saved_state::VERSION, u64::MAX);
    main.persist(&mut codec);
    let state = codec.bytes().to_vec();
    // There is one in a process, which another test may have.
    let MainProcess { wake, .. } = *main;
    let _ = ManuallyDrop::new(wake);
    Tried { outcome: outcome.map_err(|reason| reason.to_string()), state, supervisor, now }
}

/// The event that these two bytes stand for.
fn event(what: u8, which: u8, supervisor: &Supervisor, pid: Pid) -> Event {
    let newest = supervisor.next().0.saturating_sub(1);
    let generation = Generation(newest.saturating_sub(u32::from(which & 3)));
    let exec = if which & 4 == 0 { ExecResult::Ran } else { ExecResult::NotFound };
    let session = if which & 8 == 0 { Session::Empty } else { Session::Members };
    match what % 16 {
        0 => Event::Reload,
        1 => Event::Stop,
        2 => Event::StopNow,
        3 => Event::Spawned { generation, monitor: pid },
        4 => Event::SpawnFailed { generation },
        5 => Event::Runs { generation },
        6 => Event::Ready { generation },
        7 => Event::Losing { generation },
        8 => Event::SlotUnready { generation },
        9 => Event::AllReady { generation },
        10 => Event::MonitorStopping { generation },
        11 => Event::Gone { generation, exec, session },
        12 => Event::Empty { generation },
        13 => Event::Forced,
        14 => Event::Stalled { by: Millis(u64::from(which) << 12) },
        _ => Event::Timer,
    }
}

/// Whatever it is told then, it comes to an end, and signals no process but those that
/// it was handed or has started.
fn assert_goes_on(mut supervisor: Supervisor, mut now: Tick, events: &[u8]) {
    let mut own = Vec::new();
    let mut codec = Codec::empty_value();
    supervisor.persist(&mut codec);
    let handed = codec.bytes().to_vec();
    let is_handed = |pid: Pid| {
        let number = u64::from(pid.raw().unsigned_abs()).to_le_bytes();
        handed.as_chunks::<8>().0.contains(&number)
    };
    for (turn, pair) in (FIRST..).zip(events.as_chunks::<2>().0) {
        let pid = Pid::new(turn).expect("it is positive");
        let [what, which] = *pair;
        let event = event(what, which, &supervisor, pid);
        let mut commands = Vec::new();
        supervisor.step(now, event, &mut commands);
        own.push(pid);
        assert!(commands.len() <= MOST, "{commands:?}");
        for command in commands {
            match command {
                Command::Signal { monitor: pid, .. }
                | Command::SignalSession { leader: pid, .. } => {
                    assert!(own.contains(&pid) || is_handed(pid), "{pid} is a stranger");
                }
                Command::Spawn { .. }
                | Command::Promote { .. }
                | Command::FailStart { .. }
                | Command::RollBack { .. }
                | Command::Forget { .. }
                | Command::CloseListeners
                | Command::Finish { .. }
                | Command::Tell(_) => {}
            }
        }
        now = match supervisor.deadline() {
            Some(due) if which & 16 != 0 => due.max(now),
            Some(_) | None => now.after(Millis(u64::from(which))),
        };
    }
}

/// The target.
pub fn read(bytes: &[u8]) {
    let Some((&length, rest)) = bytes.split_first() else { return };
    let Some((events, state)) = rest.split_at_checked(length.into()) else { return };
    let first = tried(state);
    match first.outcome {
        Err(reason) => assert_shown(&reason),
        Ok(()) => {
            assert!(first.state == state, "what was taken is handed down as it was");
            if first.supervisor.is_settled() {
                assert_goes_on(first.supervisor, first.now, events);
            }
        }
    }
}
