//! What the processes do that are not ours: applications, workers, programs, their children.
//! One call is one thing that one of them does, if it does anything.

use crate::kernel::{Kind, MAIN, Number, Process, Progress, State, bit};
use crate::pool_loop::PoolLoop;
use crate::world::{ExecFate, MonitorKind, Said, Word, World};
use panzer::Millis;
use panzer::machines::{ExecResult, Exit, Signal};

const FAILED: Exit = Exit::Status(1);

/// The end by a signal.
const fn ended_by(number: u8) -> Exit {
    Exit::Signal { number, core: false }
}

/// Something that happens to a process because it runs. A monitor that has become a pool is
/// returned.
pub fn live(world: &mut World, number: Number) -> Option<PoolLoop> {
    let process = *world.kernel.get(number);
    if process.state != State::Alive || process.stuck {
        return None;
    }
    if process.doomed {
        world.exit(number, ended_by(9));
        return None;
    }
    if process.stopped || obeys(world, number, process) {
        return None;
    }
    let chaos = world.chaos;
    if world.dice.hits(chaos.stuck / 8) {
        world.kernel.get_mut(number).stuck = process.kind != Kind::Main;
        return None;
    }
    if world.dice.hits(chaos.dies) && !matches!(process.kind, Kind::Init | Kind::Main) {
        let exit = world.dice.one_of(&[Exit::Status(0), FAILED, ended_by(11), ended_by(9)]);
        world.exit(number, exit);
        return None;
    }
    match process.kind {
        Kind::Init | Kind::Main => None,
        Kind::Monitor => monitor_lives(world, number, process),
        Kind::Worker | Kind::Program => {
            worker_lives(world, number, process);
            None
        }
        Kind::Helper | Kind::Stranger => {
            helper_lives(world, number, process);
            None
        }
    }
}

/// Takes a signal as what has no loop of ours takes it; says whether that was its end, or all
/// that it does now.
fn obeys(world: &mut World, number: Number, process: Process) -> bool {
    if process.catches {
        return false;
    }
    if process.kind == Kind::Worker && process.last_resort <= world.now() {
        world.exit(number, ended_by(9));
        return true;
    }
    let drains = match process.kind {
        Kind::Worker => true,
        Kind::Monitor | Kind::Program => process.progress != Progress::Forked && world.dice.coin(),
        Kind::Init | Kind::Main | Kind::Helper | Kind::Stranger => false,
    };
    for (signal, code) in [(Signal::Abrt, 6), (Signal::Int, 2), (Signal::Term, 15)] {
        if !world.kernel.take_pending(number, signal) || process.ignores & bit(signal) != 0 {
            continue;
        }
        if signal == Signal::Term && drains {
            world.kernel.get_mut(number).progress = Progress::Draining;
            return false;
        }
        let exit = if drains && signal == Signal::Int { Exit::Status(0) } else { ended_by(code) };
        world.exit(number, exit);
        return true;
    }
    false
}

/// A monitor that is no pool, or not yet.
fn monitor_lives(world: &mut World, number: Number, process: Process) -> Option<PoolLoop> {
    if process.catches {
        spawn_helper(world, number);
        return None;
    }
    let kind = world.of_monitor(number)?.kind;
    match process.progress {
        Progress::Forked => execute(world, number),
        Progress::Starting if world.dice.hits(world.chaos.mute) => {}
        Progress::Starting if kind == MonitorKind::Foreign => {
            if world.dice.coin() {
                say(world, number, Word::Ready);
            } else {
                world.kernel.post(number, MAIN, Signal::Vtalrm);
            }
            world.kernel.get_mut(number).progress = Progress::Serving;
        }
        Progress::Starting => {
            world.kernel.get_mut(number).progress = Progress::Serving;
            return PoolLoop::new(world, number);
        }
        Progress::Serving if world.dice.hits(world.chaos.forged) => {
            let word = world.dice.one_of(&[Word::Ready, Word::Stopping]);
            say(world, number, word);
        }
        Progress::Serving => spawn_helper(world, number),
        Progress::Draining if world.dice.hits(300) => world.exit(number, Exit::Status(0)),
        Progress::Draining => {}
    }
    None
}

/// What a process writes to the notify socket of its generation.
fn say(world: &mut World, number: Number, word: Word) {
    if let Some(shared) = world.of_monitor(number) {
        shared.inbox.push((number, word));
    }
}

fn any_failure(world: &mut World) -> ExecResult {
    let passes = ExecResult::Retryable;
    world.dice.one_of(&[passes, passes, ExecResult::NotExecutable, ExecResult::NotFound])
}

/// The exec of a monitor's program.
fn execute(world: &mut World, number: Number) {
    let fails = world.dice.hits(world.chaos.exec_fails);
    let result = any_failure(world);
    let Some(shared) = world.of_monitor(number) else { return };
    shared.exec = if fails { ExecFate::Failed(result) } else { ExecFate::Runs };
    if fails {
        world.exit(number, Exit::Status(127));
    } else {
        world.kernel.get_mut(number).progress = Progress::Starting;
    }
}

fn worker_lives(world: &mut World, number: Number, process: Process) {
    match process.progress {
        Progress::Forked if world.dice.hits(world.chaos.exec_fails) => {
            let result = any_failure(world);
            tell_monitor(world, process, Said::CannotRun(number, result));
            world.exit(number, Exit::Status(127));
        }
        Progress::Forked => {
            world.kernel.get_mut(number).progress = Progress::Starting;
            tell_monitor(world, process, Said::Runs(number));
        }
        Progress::Starting if world.dice.hits(world.chaos.mute) => {}
        Progress::Starting => {
            world.kernel.get_mut(number).progress = Progress::Serving;
            tell_monitor(world, process, Said::Ready(process.slot, number));
        }
        Progress::Serving => worker_serves(world, number, process),
        Progress::Draining => {
            if process.kind == Kind::Worker && process.parent_death_has_come(world) {
                end_in_time(world, number, process);
            }
            if world.dice.hits(200) {
                world.exit(number, Exit::Status(0));
            }
        }
    }
}

/// A library's worker whose monitor is gone ends itself: `install_worker_handlers`.
fn end_in_time(world: &mut World, number: Number, process: Process) {
    let timeout = world.shared.iter().find(|one| one.generation.0 == process.tree);
    let timeout = timeout.map_or(Millis(0), |shared| shared.rules.timeout);
    let end = world.now().after(timeout).after(Millis(2_000));
    let last_resort = &mut world.kernel.get_mut(number).last_resort;
    *last_resort = end.min(*last_resort);
}

impl Process {
    /// Whether its monitor is not its parent any more.
    fn parent_death_has_come(&self, world: &World) -> bool {
        world.kernel.get(self.parent).kind != Kind::Monitor
    }
}

fn worker_serves(world: &mut World, number: Number, process: Process) {
    let chaos = world.chaos;
    if world.dice.hits(chaos.busy) {
        let now = world.now();
        let busy = &mut world.kernel.get_mut(number).busy_since;
        *busy = if busy.is_some() { None } else { Some(now) };
        let is_busy = busy.is_some();
        let asks =
            world.shared.iter().any(|one| one.generation.0 == process.tree && one.asks_for_busy);
        if is_busy && asks {
            tell_monitor(world, process, Said::Busy(process.slot, number));
        }
    } else if world.dice.hits(chaos.forged) {
        forge(world, number, process);
    } else if world.dice.hits(chaos.helpers) {
        spawn_helper(world, number);
    } else if world.dice.hits(chaos.recycles) {
        // It has served as many requests as it was to.
        world.exit(number, Exit::Status(0));
    }
}

/// Words that are not true: for another worker, for one that was, again, or to main.
fn forge(world: &mut World, number: Number, process: Process) {
    let other = 3 + world.dice.below(90);
    let slot = 1 + world.dice.below(4) as u16;
    let said = world.dice.one_of(&[
        Said::Ready(process.slot, number),
        Said::Ready(slot, number),
        Said::Ready(process.slot, other),
        Said::Ready(slot, other),
        Said::Busy(slot, other),
        Said::Runs(other),
    ]);
    if world.dice.coin() {
        return tell_monitor(world, process, said);
    }
    let word = world.dice.one_of(&[Word::Ready, Word::Stopping]);
    if let Some(shared) = world.shared.iter_mut().find(|one| one.generation.0 == process.tree) {
        shared.inbox.push((number, word));
    }
    if world.dice.coin() {
        world.kernel.post(number, MAIN, Signal::Vtalrm);
    }
}

fn tell_monitor(world: &mut World, process: Process, said: Said) {
    let parent = process.parent;
    if let Some(shared) = world.shared.iter_mut().find(|one| one.monitor == parent && one.lives) {
        shared.pipe.push(said);
    }
}

/// A process starts another one, which may leave its group or its session.
fn spawn_helper(world: &mut World, number: Number) {
    if !world.dice.hits(world.chaos.helpers) {
        return;
    }
    let dice = &mut world.dice;
    let Some(helper) = world.kernel.fork(number, Kind::Helper, dice) else { return };
    let stubborn = bit(Signal::Term) | bit(Signal::Int);
    let ignores = if world.dice.hits(world.chaos.stubborn) { stubborn } else { 0 };
    world.kernel.get_mut(helper).ignores = ignores;
    match world.dice.below(8) {
        0 => world.kernel.lead_session(helper),
        1 | 2 => world.kernel.lead_group(helper),
        _ => {}
    }
}

fn helper_lives(world: &mut World, number: Number, process: Process) {
    let odds = if process.kind == Kind::Stranger { 60 } else { 25 };
    if world.dice.hits(odds) {
        world.exit(number, Exit::Status(0));
    } else if world.dice.hits(world.chaos.forged) {
        // What does not belong to this generation says that it is ready.
        world.kernel.post(number, MAIN, Signal::Vtalrm);
    } else if world.dice.hits(world.chaos.helpers) && process.group != number {
        // Out of the group that it was born in: that may be empty now, and has seen no death.
        if world.dice.coin() {
            world.kernel.lead_group(number);
        } else {
            world.kernel.lead_session(number);
        }
    } else if world.dice.hits(200) {
        spawn_helper(world, number);
    }
}
