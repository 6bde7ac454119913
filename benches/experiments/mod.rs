//! The experiments, and what they have in common.
//!
//! An experiment is a function that does something many times, notes in its
//! [`Trial`] what came of it, and requires what must hold. An error ends it
//! where it is, and fails it.

mod crash;
mod death;
pub mod fixture;
mod idle;
mod life;
mod lifetime;
mod murder;
mod pause;
mod queue;
mod reload;
mod restart;
mod shortage;
mod start;
mod stop;
mod storm;
mod stubborn;
mod trial;

pub use trial::{Times, Trial};

use std::ffi::OsStr;
use std::io::{self, Error};
use std::path::PathBuf;
use std::time::Duration;

use crate::load::{Dialect, Load, Plan, Target};
use crate::server::{self, Event, Place, Server, process};

/// One experiment.
pub struct Experiment {
    /// What it is selected by.
    pub name: &'static str,
    /// Does it.
    pub perform: fn(&mut Trial) -> io::Result<()>,
}

/// All of them, in the order in which they are performed.
pub const ALL: &[Experiment] = &[
    Experiment { name: "stop-basic-tcp", perform: stop::basic_tcp },
    Experiment { name: "stop-basic-unix", perform: stop::basic_unix },
    Experiment { name: "stop-http-tcp", perform: stop::http_tcp },
    Experiment { name: "stop-http-unix", perform: stop::http_unix },
    Experiment { name: "worker-term", perform: death::term },
    Experiment { name: "worker-accept", perform: death::term_at_accept },
    Experiment { name: "worker-kill", perform: death::kill },
    Experiment { name: "worker-kill-all", perform: death::kill_all },
    Experiment { name: "murder-main", perform: murder::main },
    Experiment { name: "murder-monitor", perform: murder::monitor },
    Experiment { name: "murder-both", perform: murder::both },
    Experiment { name: "reload-burst", perform: reload::burst },
    Experiment { name: "reload-status", perform: reload::status },
    Experiment { name: "reload-growth", perform: reload::growth },
    Experiment { name: "restart", perform: restart::random },
    Experiment { name: "restart-storm", perform: restart::storm },
    Experiment { name: "start-signals", perform: start::signals },
    Experiment { name: "start-status", perform: start::status },
    Experiment { name: "storm", perform: storm::all },
    Experiment { name: "stubborn", perform: stubborn::stop },
    Experiment { name: "crash-loop", perform: crash::both },
    Experiment { name: "queue", perform: queue::full },
    Experiment { name: "accept-emfile", perform: shortage::descriptors },
    Experiment { name: "pause", perform: pause::worker },
    Experiment { name: "lifetime", perform: lifetime::short },
    Experiment { name: "idle", perform: idle::nothing },
    Experiment { name: "idle-hang", perform: idle::watched },
];

/// Who has no connection to a server that goes away after so long has none: a
/// packet that was dropped is sent again only after a second.
const CONNECT: Duration = Duration::from_millis(200);

/// What the clients connect to.
#[derive(Clone, Copy)]
pub enum Family {
    /// An address on the loopback.
    Tcp,
    /// The same, which main binds before it starts anybody.
    Bound,
    /// A path.
    Unix,
}

/// The programs that serve.
#[derive(Clone, Copy)]
pub enum Program {
    /// Waits in a blocking accept, and answers at once.
    Basic,
    /// Has an event loop; every answer takes it so many milliseconds.
    Http(u32),
}

/// A server at work.
pub struct Scene {
    /// Panzer and all below it.
    pub server: Server,
    /// Where it serves.
    pub target: Target,
    program: Program,
    _place: Place,
}

impl Scene {
    /// Starts a server; does not wait for it.
    pub fn begin(program: Program, family: Family, options: &[&str]) -> io::Result<Self> {
        let place = Place::new()?;
        let target = match family {
            Family::Tcp | Family::Bound => Target::Tcp(server::free_address()?),
            Family::Unix => Target::Unix(place.join("socket")),
        };
        let address = target.address();
        let bind: &[&str] = match family {
            Family::Tcp | Family::Unix => &[],
            Family::Bound => &["--bind", &address],
        };
        let words = program.command(&target)?;
        let words: Vec<&OsStr> = words.iter().map(|word| word.as_os_str()).collect();
        let server = Server::start(&[options, bind].concat(), &words)?;
        Ok(Self { server, target, program, _place: place })
    }

    /// Starts a server and waits until it serves.
    pub fn open(program: Program, family: Family, options: &[&str]) -> io::Result<Self> {
        let mut scene = Self::begin(program, family, options)?;
        scene.server.wait_for("a current generation", |event| event.name == "current")?;
        Ok(scene)
    }

    /// The monitor that was started last.
    pub fn monitor(&self) -> io::Result<u32> {
        let started = self.server.told().iter().rev().find(|event| event.name == "started");
        let pid = started.and_then(|event| event.pid);
        pid.ok_or_else(|| Error::other("no event names a monitor"))
    }

    /// The monitors that were started and whose death was not told.
    pub fn monitors(&self) -> Vec<u32> {
        let told = self.server.told();
        let started = told.iter().filter(|event| event.name == "started");
        let is_alive = |pid: &u32| !told.iter().any(|event| event.is_of("died", *pid));
        started.filter_map(|event| event.pid).filter(is_alive).collect()
    }

    /// Its workers, as they are now.
    pub fn workers(&self) -> io::Result<Vec<u32>> {
        Ok(process::children(self.monitor()?))
    }

    /// Asks for a reload and waits until it is through; says which generation
    /// is current then.
    pub fn reload(&mut self) -> io::Result<u32> {
        self.server.signal("USR1")?;
        self.next_current()
    }

    /// Waits until the generation that comes next is current.
    pub fn next_current(&mut self) -> io::Result<u32> {
        let is_over =
            |event: &Event| ["current", "failed", "rolled_back"].contains(&event.name.as_str());
        let event = self.server.wait_for("a new generation", is_over)?;
        match event.generation {
            Some(generation) if event.name == "current" => Ok(generation),
            Some(_) | None => Err(Error::other(event.line)),
        }
    }

    /// Waits until the monitor `pid` was reaped.
    pub fn wait_for_death(&mut self, pid: u32) -> io::Result<()> {
        if !self.server.told().iter().any(|event| event.is_of("died", pid)) {
            self.server.wait_for("a monitor's end", |event| event.is_of("died", pid))?;
        }
        Ok(())
    }

    /// How to ask this server.
    pub const fn dialect(&self) -> Dialect {
        match self.program {
            Program::Basic => Dialect::Line,
            Program::Http(_) => Dialect::Http,
        }
    }

    /// So many clients that ask again and again, a connection for each request.
    /// They try to connect for so long.
    pub fn load(&self, clients: usize, patience: Duration) -> Load {
        Load::start(&Plan {
            target: self.target.clone(),
            dialect: self.dialect(),
            patience,
            clients,
            requests_per_connection: 1,
            limit: None,
        })
    }
}

impl Program {
    /// The command that serves `target`.
    fn command(self, target: &Target) -> io::Result<Vec<PathBuf>> {
        let address = PathBuf::from(target.address());
        Ok(match self {
            Self::Basic => vec![server::example("basic")?, address],
            Self::Http(delay) => {
                let delay = PathBuf::from(format!("HTTP_DELAY_MS={delay}"));
                vec!["/usr/bin/env".into(), delay, server::example("http")?, address]
            }
        })
    }
}
