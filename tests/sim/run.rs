//! One run: what happens next is chance, until the world becomes kind and all has to be well,
//! or over.

use crate::dice::Dice;
use crate::kernel::{INIT, Kind, MAIN, NUMBERS, Number, Set, State, each};
use crate::life;
use crate::main_loop::{MainLoop, Request, Settings};
use crate::pool_loop::PoolLoop;
use crate::world::{Broken, Chaos, MonitorKind, Note, World};
use panzer::machines::{
    Backoff, Codec, Exit, Persist as _, Signal, Stage,
    pool::PoolRules,
    supervisor::{Readiness, SupervisorRules},
};
use panzer::{Millis, Tick};

/// The steps of a run, at least.
pub const STEPS: u64 = 10_000;
/// The saved state of a supervisor with one generation.
const STATE: usize = 320;

#[derive(Debug)]
pub struct Run {
    pub world: World,
    pub steps: u64,
    main: Option<MainLoop>,
    pools: Vec<PoolLoop>,
    longest_timeout: Millis,
}

impl Run {
    pub fn new(seed: u64) -> Self {
        Self::with(Dice::new(seed))
    }

    fn with(mut dice: Dice) -> Self {
        let chaos = chaos(&mut dice);
        let settings = settings(&mut dice, None);
        let mut world = World::new(dice, chaos);
        world.note(Note::Rules(settings.rules));
        let main = MainLoop::new(settings, world.now());
        let longest_timeout = longest(&settings);
        let (main, pools) = (Some(main), Vec::new());
        Self { world, steps: 0, main, pools, longest_timeout }
    }

    /// Goes on until something is broken, or it is enough.
    pub fn go(&mut self) {
        while self.is_whole() && self.steps < STEPS {
            let length = 200 + self.world.dice.below(3_000) as u64;
            let end = self.steps + length;
            while self.steps < end && self.is_whole() && !self.is_over() {
                self.step();
            }
            self.be_kind();
        }
    }

    pub const fn broken(&self) -> Option<&Broken> {
        self.world.broken.as_ref()
    }

    const fn is_whole(&self) -> bool {
        self.world.broken.is_none()
    }

    fn is_over(&self) -> bool {
        self.main.is_none() && self.pools.is_empty()
    }

    /// One thing happens, which counts unless there was nothing to do.
    fn step(&mut self) {
        let has_happened = match self.world.dice.below(64) {
            0..15 => self.main_turn(),
            15..32 => self.pool_turn(),
            32..52 => self.one_lives(),
            52..59 => self.let_time_pass(),
            59..62 => self.operate(),
            _ => self.trouble(),
        };
        self.steps += u64::from(has_happened);
    }

    fn main_turn(&mut self) -> bool {
        let Self { main: Some(main), world, .. } = self else { return false };
        let is_held = world.kernel.get(MAIN).stopped;
        let turns = !is_held && (main.wakes(world) || world.dice.hits(64));
        if turns {
            main.turn(world);
            self.note_end();
        }
        turns
    }

    /// Main has left, if it has.
    fn note_end(&mut self) {
        let Some(status) = self.main.as_ref().and_then(|main| main.finished) else { return };
        self.main = None;
        self.world.exit(MAIN, Exit::Status(status));
    }

    fn pool_turn(&mut self) -> bool {
        if self.pools.is_empty() {
            return false;
        }
        let place = self.world.dice.below(self.pools.len());
        self.turn_of(place, 64)
    }

    /// The pool at this place has a turn, if something wakes it, or so often without.
    fn turn_of(&mut self, place: usize, odds: u32) -> bool {
        let Self { pools, world, .. } = self;
        let pool = &mut pools[place];
        let process = world.kernel.get(pool.monitor);
        let is_held = process.stopped || process.stuck || process.doomed;
        let turns = !is_held && (pool.wakes(world) || world.dice.hits(odds));
        if turns {
            pool.turn(world);
            if let Some(status) = pool.status() {
                world.exit(pool.monitor, Exit::Status(status));
                pools.swap_remove(place);
            }
        }
        turns
    }

    /// Any process, alive or dead.
    fn any(&mut self) -> Number {
        let start = self.world.dice.below(NUMBERS) as u32;
        let place = self.world.kernel.present().rotate_right(start).trailing_zeros();
        (start + place) as usize % Set::BITS as usize
    }

    fn one_lives(&mut self) -> bool {
        let number = self.any();
        let process = self.world.kernel.get(number);
        let lives =
            number > MAIN && process.state == State::Alive && !process.stuck && !process.stopped;
        if lives {
            self.live(number);
        }
        lives
    }

    fn live(&mut self, number: Number) {
        let pool = life::live(&mut self.world, number);
        self.pools.extend(pool);
        self.drop_dead_pools();
    }

    fn drop_dead_pools(&mut self) {
        let Self { pools, world, .. } = self;
        pools.retain(|pool| world.kernel.is_alive(pool.monitor));
    }

    /// By when one of the loops has to have a turn.
    fn latest_turn(&self) -> Option<(Tick, Option<usize>)> {
        let kernel = &self.world.kernel;
        let main = self.main.iter().filter(|_| !kernel.get(MAIN).stopped);
        let main = main.map(|main| (main.latest_turn(), None));
        let runs = |pool: &PoolLoop| {
            let process = kernel.get(pool.monitor);
            !process.stopped && !process.stuck && !process.doomed
        };
        let pools = self.pools.iter().enumerate().filter(|(_, pool)| runs(pool));
        let pools = pools.map(|(place, pool)| (pool.latest_turn(), Some(place)));
        main.chain(pools).min()
    }

    /// The clock moves, but not beyond the moment at which a loop would have stalled.
    fn let_time_pass(&mut self) -> bool {
        let world = &mut self.world;
        if world.dice.hits(world.chaos.stalls) {
            let spans = [1_500, 5_000, 30_000, 3_600_000];
            world.kernel.now = world.now().after(Millis(world.dice.one_of(&spans)));
            world.note(Note::Says("no process could run for a while"));
            return true;
        }
        let spans: &[u64] = match world.dice.below(32) {
            0..26 => &[1, 1, 10, 30],
            26..30 => &[100, 300],
            _ => &[1_000, 5_000, 60_000],
        };
        let until = world.now().after(Millis(world.dice.one_of(spans)));
        self.pass_until(until);
        true
    }

    fn pass_until(&mut self, until: Tick) {
        let latest = self.latest_turn();
        let due = latest.map_or(until, |(at, _)| at.min(until));
        self.world.kernel.now = due.max(self.world.now());
        match latest {
            Some((at, None)) if at <= until => self.force_main(),
            Some((at, Some(place))) if at <= until => {
                self.turn_of(place, 1_024);
            }
            Some(_) | None => {}
        }
    }

    fn force_main(&mut self) {
        if let Some(main) = &mut self.main {
            main.turn(&mut self.world);
            self.note_end();
        }
    }

    /// The operator asks for something.
    fn operate(&mut self) -> bool {
        let Self { main: Some(main), world, .. } = self else { return false };
        if !world.dice.hits(world.chaos.operator) {
            return false;
        }
        match world.dice.below(100) {
            0..28 => world.kernel.post(INIT, MAIN, Signal::Usr1),
            28..50 => main.requests.push(Request::Reload),
            50..68 => {
                let count = 1 + world.dice.below(4) as u16;
                main.requests.push(Request::Scale(count));
            }
            68..84 => world.kernel.post(INIT, MAIN, Signal::Usr2),
            84..99 => {
                main.next_settings = settings(&mut world.dice, Some(main.settings.kind));
                self.longest_timeout = self.longest_timeout.max(longest(&main.next_settings));
            }
            _ => {
                let signal =
                    world.dice.one_of(&[Signal::Term, Signal::Int, Signal::Int, Signal::Quit]);
                world.kernel.post(INIT, MAIN, signal);
            }
        }
        true
    }

    /// Something unkind happens to one process.
    fn trouble(&mut self) -> bool {
        let victim = self.any();
        let (chaos, world) = (self.world.chaos, &mut self.world);
        match world.dice.below(6) {
            0 if world.dice.hits(chaos.stops) && victim != INIT => {
                let stopped = &mut world.kernel.get_mut(victim).stopped;
                *stopped = !*stopped;
                true
            }
            1 => {
                let process = world.kernel.get_mut(victim);
                std::mem::take(&mut process.stuck) || std::mem::take(&mut process.stopped)
            }
            2 if world.dice.hits(chaos.foreign_signals) && victim > MAIN => {
                let signals =
                    [Signal::Term, Signal::Int, Signal::Kill, Signal::Abrt, Signal::Winch];
                let signal = world.dice.one_of(&signals);
                world.note(Note::Signal { by: INIT, to: victim, signal });
                world.kernel.post(INIT, victim, signal);
                true
            }
            3 => self.let_a_stranger_come(),
            4 if world.dice.hits(chaos.slow_inbox) => delay_an_inbox(world),
            5 if world.dice.hits(chaos.main_is_killed) => self.kill_main(),
            _ => false,
        }
    }

    fn let_a_stranger_come(&mut self) -> bool {
        let world = &mut self.world;
        let strangers = each(world.kernel.children(INIT)).count();
        if strangers >= 8 {
            return false;
        }
        let stranger = world.kernel.fork(INIT, Kind::Stranger, &mut world.dice);
        stranger.into_iter().for_each(|stranger| world.kernel.lead_session(stranger));
        stranger.is_some()
    }

    fn kill_main(&mut self) -> bool {
        if self.main.take().is_none() {
            return false;
        }
        let world = &mut self.world;
        world.tally.mains_killed += 1;
        world.note(Note::Says("main is killed"));
        world.exit(MAIN, Exit::Signal { number: 9, core: false });
        // `own_lifeline`: a monitor that is stopped goes on.
        for pool in &self.pools {
            world.kernel.get_mut(pool.monitor).stopped = false;
        }
        true
    }
}

/// What has been said over one notify socket is being received by a child.
fn delay_an_inbox(world: &mut World) -> bool {
    if world.shared.is_empty() {
        return false;
    }
    let (place, now) = (world.dice.below(world.shared.len()), world.now());
    let late = Millis(world.dice.below(1_200) as u64);
    world.shared[place].settled_at = now.after(late);
    true
}

/// The world becomes kind.
impl Run {
    fn be_kind(&mut self) {
        let chaos = std::mem::take(&mut self.world.chaos);
        self.world.note(Note::Says("the world becomes kind"));
        for number in each(self.world.kernel.present()) {
            let process = self.world.kernel.get_mut(number);
            (process.stuck, process.stopped, process.busy_since) = (false, false, None);
        }
        self.make_room();
        let stops = self.world.dice.coin();
        let is_stopping = self.main.as_ref().is_some_and(|main| main.truth.is_stopping());
        if self.main.is_some() && !stops && !is_stopping {
            self.recover();
        } else if self.main.is_some() {
            self.stop();
        }
        self.world.chaos = chaos;
        if self.is_whole() && self.main.is_none() {
            self.end_alone();
            self.begin_again();
        }
    }

    /// No fork fails for want of a number: of what others have started, that ends.
    fn make_room(&mut self) {
        if self.world.kernel.present().count_ones() as usize > NUMBERS / 2 {
            for number in each(self.world.kernel.present()) {
                let process = self.world.kernel.get(number);
                if process.state == State::Alive && process.kind == Kind::Helper {
                    self.world.exit(number, Exit::Status(0));
                }
            }
        }
    }

    /// All slots are ready again, and a reload works.
    fn recover(&mut self) {
        self.settle("all_slots_are_ready_again", Self::is_well);
        if self.main.is_some() && self.is_whole() {
            let before = self.main.as_ref().map_or(0, |main| main.truth.promotions);
            self.world.kernel.post(INIT, MAIN, Signal::Usr1);
            self.settle("the_next_reload_works", |run| {
                run.main.as_ref().is_none_or(|main| main.truth.promotions > before) && run.is_well()
            });
        }
        self.expect_no_growth();
    }

    fn expect_no_growth(&mut self) {
        let Some(main) = self.main.as_mut().filter(|_| self.world.broken.is_none()) else { return };
        let mut codec = Codec::empty_value();
        main.supervisor.persist(&mut codec);
        let length = codec.bytes().len();
        self.world.expect(length <= STATE, "nothing_grows", || {
            format!("the saved state has {length} bytes: {:#?}", main.supervisor)
        });
    }

    /// Whether one generation serves with all its workers, and no other is left.
    fn is_well(&self) -> bool {
        let Some(main) = &self.main else { return true };
        let Some(shared) = self.world.shared.iter().find(|one| one.generation == main.current())
        else {
            return false;
        };
        let board = shared.board.as_ref();
        shared.lives
            && main.supervisor.stage_of(main.current()) == Some(Stage::Current)
            && (shared.kind == MonitorKind::Foreign
                || board.is_some_and(|board| board.ready == board.count))
            && main.supervisor.attempt().is_none()
            && main.supervisor.next_start().is_none()
            && main.supervisor.draining() == 0
            && self.world.shared.len() == 1
    }

    /// A stop was asked for, or is now.
    fn stop(&mut self) {
        self.world.kernel.post(INIT, MAIN, Signal::Term);
        self.settle("stop_starts_nothing_and_ends", |run| run.main.is_none());
        if self.is_whole() {
            self.expect_none_left("stop_starts_nothing_and_ends");
        }
    }

    /// Main is gone: what it has left ends by itself.
    fn end_alone(&mut self) {
        self.world.chaos = Chaos::default();
        self.settle("workers_of_a_dead_main_are_gone", |run| {
            run.pools.is_empty() && !run.is_left(Kind::Worker)
        });
    }

    fn is_left(&self, kind: Kind) -> bool {
        let kernel = &self.world.kernel;
        each(kernel.present())
            .any(|number| kernel.is_alive(number) && kernel.get(number).kind == kind)
    }

    fn expect_none_left(&mut self, name: &'static str) {
        for kind in [Kind::Monitor, Kind::Worker, Kind::Program] {
            let is_left = self.is_left(kind);
            self.world.expect(!is_left, name, || format!("a {kind:?} is left"));
        }
    }

    fn begin_again(&mut self) {
        let next = Self::with(self.world.dice.clone());
        let old = std::mem::replace(self, next);
        (self.steps, self.world.tally) = (old.steps, old.world.tally);
        self.world.tally.mains += 1;
    }

    /// Every process runs whenever it can, until `is_done`, in the time that all deadlines
    /// together have at most.
    fn settle(&mut self, name: &'static str, is_done: impl Fn(&Self) -> bool) {
        let begin = self.world.now();
        let most = self.patience();
        while !is_done(self) && self.is_whole() {
            self.all_live();
            let now = self.world.now();
            if now > begin.after(most) {
                let (main, pools, kernel) = (&self.main, &self.pools, &self.world.kernel);
                let how = format!("{most} since {begin:?}: {main:#?} {pools:#?} {kernel:?}");
                self.world.expect(false, name, || how);
            }
        }
    }

    /// Everything has a turn, and the clock goes to the next moment at which something is due.
    fn all_live(&mut self) {
        for number in each(self.world.kernel.present()).filter(|&number| number > MAIN) {
            self.live(number);
        }
        for place in (0..self.pools.len()).rev() {
            self.steps += u64::from(self.turn_of(place, 0));
        }
        self.steps += 1 + u64::from(self.main_turn());
        let until = self.world.now().after(Millis(100));
        self.pass_until(until);
    }

    /// Longer than a start that fails, another one after the longest back-off, its probation,
    /// and the drain of what it replaces.
    fn patience(&self) -> Millis {
        let Some(main) = &self.main else { return Millis(self.longest_timeout.0 * 2 + 20_000) };
        let (now, next) = (main.settings, main.next_settings);
        let of = |settings: &Settings| {
            let rules = settings.rules;
            let starts = rules.ready_timeout.0.min(20_000) + rules.probation.0;
            let waits = rules.backoff.max_delay.0 + settings.pool.backoff.max_delay.0;
            2 * starts + 3 * waits + rules.drain_delay.0
        };
        Millis(of(&now) + of(&next) + 3 * self.longest_timeout.0 + 30_000)
    }
}

fn longest(settings: &Settings) -> Millis {
    settings.rules.timeout.max(settings.pool.timeout)
}

/// What is unkind in this run: a part of it, in half of the runs seldom.
fn chaos(dice: &mut Dice) -> Chaos {
    let part = dice.one_of(&[1, 1, 8]);
    let mut odds = |most: usize| if dice.coin() { dice.below(most / part) as u32 } else { 0 };
    Chaos {
        fork_fails: odds(400),
        exec_fails: odds(300),
        dies: odds(30),
        mute: odds(1_000),
        stubborn: odds(400),
        stuck: odds(60),
        stops: odds(400),
        foreign_signals: odds(400),
        forged: odds(100),
        helpers: odds(200),
        stalls: odds(200),
        busy: odds(300),
        recycles: odds(60),
        slow_reads: odds(500),
        slow_inbox: odds(500),
        operator: 50 + odds(900),
        main_is_killed: odds(20),
    }
}

/// What the operator has set.
fn settings(dice: &mut Dice, kind: Option<MonitorKind>) -> Settings {
    let timeout = Millis(dice.one_of(&[0, 300, 1_000, 5_000, 10_000]));
    let max_delay = Millis(dice.one_of(&[0, 100, 1_000, 5_000]));
    let backoff = Backoff { delay: Millis(dice.one_of(&[0, 100, 1_000])), max_delay };
    let ready_timeout = Millis(dice.one_of(&[1_000, 5_000, 60_000]));
    let seed = dice.below(1_000) as u32;
    let lived = Readiness::After(Millis(dice.one_of(&[0, 1_000])));
    let rules = SupervisorRules {
        timeout,
        readiness: if dice.hits(700) { Readiness::Notify } else { lived },
        ready_timeout,
        slow_start: Millis(dice.one_of(&[500, 10_000])),
        probation: Millis(dice.one_of(&[0, 1_000, 5_000])),
        drain_delay: Millis(dice.one_of(&[0, 0, 0, 2_000])),
        backoff,
        give_up: dice.one_of(&[0, 0, 2, 5]),
        give_up_after: Millis(dice.one_of(&[0, 5_000])),
        seed,
    };
    let kinds =
        [MonitorKind::Library, MonitorKind::Library, MonitorKind::Programs, MonitorKind::Foreign];
    let kind = kind.unwrap_or_else(|| dice.one_of(&kinds));
    let count = 1 + dice.below(3) as u16;
    let lives = dice.hits(400) && kind == MonitorKind::Programs;
    let pool = PoolRules {
        count,
        timeout: if dice.coin() { timeout } else { Millis(dice.one_of(&[0, 500, 10_000])) },
        backoff,
        hang_timeout: Millis(dice.one_of(&[0, 0, 2_000])),
        lifetime: Millis(dice.one_of(&[0, 0, 3_000])),
        ready_after: lives.then_some(Millis(1_000)),
        ready_timeout: Millis(dice.one_of(&[0, 1_000, 60_000])),
        rows: dice.one_of(&[9, 12, 999]),
        seed,
    };
    Settings { rules, pool, kind }
}
