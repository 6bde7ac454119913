//! The experiments, and their common parts.
//!
//! An experiment is a function that does something many times, notes the results in its
//! [`Trial`], and checks what must hold. An error ends it and fails it.

mod crash;
mod death;
pub mod fixture;
mod growth;
mod hung_files;
mod idle;
mod lifetime;
mod pause;
mod phases;
mod queue;
mod reload;
mod restart;
mod shortage;
mod sigkill;
mod start;
mod stop;
mod stop_under_load;
mod storm;
mod stubborn;
mod terminal;
mod trial;
mod wrapper;

pub use trial::{Times, Trial};

use std::ffi::OsStr;
use std::io::{self, Error};
use std::path::PathBuf;
use std::time::Duration;

use crate::load::{Dialect, Load, Plan, Target};
use crate::server::{self, Event, Place, Server, process};

/// One experiment.
pub struct Experiment {
    /// The name that selects it.
    pub name: &'static str,
    /// The function that performs it.
    pub perform: fn(&mut Trial) -> io::Result<()>,
}

/// All of them, in the order in which they are performed.
pub const ALL: &[Experiment] = &[
    Experiment { name: "stop-basic-tcp", perform: stop::basic_tcp },
    Experiment { name: "stop-basic-unix", perform: stop::basic_unix },
    Experiment { name: "stop-http-tcp", perform: stop::http_tcp },
    Experiment { name: "stop-http-unix", perform: stop::http_unix },
    Experiment { name: "stop-as-root", perform: stop_under_load::as_root },
    Experiment { name: "stop-as-user", perform: stop_under_load::as_user },
    Experiment { name: "worker-term", perform: death::term },
    Experiment { name: "worker-accept", perform: death::term_at_accept },
    Experiment { name: "worker-kill", perform: death::kill },
    Experiment { name: "worker-kill-all", perform: death::kill_all },
    Experiment { name: "kill-main", perform: sigkill::main },
    Experiment { name: "kill-monitor", perform: sigkill::monitor },
    Experiment { name: "kill-both", perform: sigkill::both },
    Experiment { name: "reload-burst", perform: reload::burst },
    Experiment { name: "reload-status", perform: reload::status },
    Experiment { name: "growth", perform: growth::all },
    Experiment { name: "never-blocks", perform: hung_files::all },
    Experiment { name: "terminal", perform: terminal::library },
    Experiment { name: "terminal-exec", perform: terminal::programs },
    Experiment { name: "wrapper", perform: wrapper::deaths },
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

/// A client without a connection after this time gets none from a stopping server: a dropped
/// packet is sent again only after a second.
const CONNECT: Duration = Duration::from_millis(200);

/// The kinds of addresses.
#[derive(Clone, Copy)]
pub enum Family {
    /// An address on the loopback.
    Tcp,
    /// The same, bound by main before it starts a generation.
    Bound,
    /// A path of a Unix socket.
    Unix,
}

/// The serving programs.
#[derive(Clone, Copy)]
pub enum Program {
    /// Waits in a blocking accept, and answers at once.
    Basic,
    /// Has an event loop; every answer takes so many milliseconds.
    Http(u32),
}

/// A running server.
pub struct Scene {
    /// Panzer and all processes below it.
    pub server: Server,
    /// The address that it serves.
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
        let started = self.server.events().iter().rev().find(|event| event.name == "started");
        let pid = started.and_then(|event| event.pid);
        pid.ok_or_else(|| Error::other("no event names a monitor"))
    }

    /// The monitors that were started and whose death was not reported.
    pub fn monitors(&self) -> Vec<u32> {
        let events = self.server.events();
        let started = events.iter().filter(|event| event.name == "started");
        let is_alive = |pid: &u32| !events.iter().any(|event| event.is_of("died", *pid));
        started.filter_map(|event| event.pid).filter(is_alive).collect()
    }

    /// Its present workers.
    pub fn workers(&self) -> io::Result<Vec<u32>> {
        Ok(process::children(self.monitor()?))
    }

    /// Asks for a reload and waits for its end; returns the current generation.
    pub fn reload(&mut self) -> io::Result<u32> {
        self.server.signal("USR1")?;
        self.next_current()
    }

    /// Waits until the next generation is current.
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
        if !self.server.events().iter().any(|event| event.is_of("died", pid)) {
            self.server.wait_for("a monitor's end", |event| event.is_of("died", pid))?;
        }
        Ok(())
    }

    /// The protocol of this server.
    pub const fn dialect(&self) -> Dialect {
        match self.program {
            Program::Basic => Dialect::Line,
            Program::Http(_) => Dialect::Http,
        }
    }

    /// Starts so many clients that send requests in a loop, each on a new connection, and try
    /// to connect for this long.
    pub fn load(&self, clients: usize, timeout: Duration) -> Load {
        Load::start(&Plan {
            target: self.target.clone(),
            dialect: self.dialect(),
            timeout,
            clients,
            requests_per_connection: 1,
            limit: None,
            rest: Duration::ZERO,
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
