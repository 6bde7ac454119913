//! Pools that are measured beside each other: of the library, of programs, and of C.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, Error};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use panzer::Pid;
use panzer::sys::{Signal, signal};

use super::baseline;
use super::fixture;
use super::reports::{Reports, clock};
use crate::server::{self, Server, process};

/// Time for all processes to become idle again after a replacement.
const REST: Duration = Duration::from_millis(2);

/// What every panzer here is started with: the log is on, as in the field.
const OPTIONS: &[&str] = &["--delay", "0", "--probation", "0"];

/// A pool whose workers report, and wait to be ended.
pub struct Pool {
    reports: Reports,
    workers: VecDeque<Pid>,
    parent: Parent,
    pid_file: PathBuf,
    /// From its parent's first step to the last worker's first instruction.
    pub filled: Duration,
}

/// What keeps it full.
enum Parent {
    Panzer(Box<Server>),
    C(Child),
}

/// A pool whose workers start.
pub struct Filling {
    reports: Reports,
    server: Box<Server>,
    count: usize,
    pid_file: PathBuf,
    spawned: Option<u64>,
}

impl Filling {
    fn start(count: usize, options: &[&str], command: &[&OsStr], begin: Begin) -> io::Result<Self> {
        let (reports, number) = (Reports::open()?, count.to_string());
        let (fifo, pid_file) = (reports.path(), pid_file(&reports));
        let pid = pid_file.to_string_lossy();
        let options = [OPTIONS, &["--count", &number, "--pid", &pid], options].concat();
        let spawned = begin.moment(clock());
        let server = Server::start(&options, &[command, &[fifo.as_os_str()]].concat())?;
        let mut filling = Self { reports, server: Box::new(server), count, pid_file, spawned };
        filling.server.wait_for("a start", |event| event.name == "started")?;
        Ok(filling)
    }

    /// Where panzerctl finds it.
    pub fn pid_file(&self) -> &Path {
        &self.pid_file
    }

    /// Whether its generation is not current yet.
    pub fn is_going_on(&mut self) -> bool {
        self.server.listen_until(Instant::now());
        !self.server.events().iter().any(|event| event.name == "current")
    }

    /// Waits until every worker has reported and panzer knows.
    pub fn finish(mut self) -> io::Result<Pool> {
        while self.is_going_on() {
            self.server.next_event("a current generation")?;
        }
        Pool::fill(self.reports, self.count, Parent::Panzer(self.server), self.spawned)
    }
}

fn pid_file(reports: &Reports) -> PathBuf {
    reports.path().with_file_name("panzer.pid")
}

/// Reloads, and waits until the old generation is gone; returns when the new one was current.
fn reload(server: &mut Server) -> io::Result<Duration> {
    let asked = Instant::now();
    super::reload::reload(server)?;
    let last = server.events().iter().rfind(|event| event.name == "current");
    Ok(last.map_or(Duration::ZERO, |event| event.at - asked))
}

/// Since when a pool is filled.
#[derive(Clone, Copy)]
enum Begin {
    /// Its parent reports that it begins.
    Reported,
    /// It cannot say so: since the bench has begun to start it.
    Spawned,
}

impl Begin {
    fn moment(self, spawned: u64) -> Option<u64> {
        match self {
            Self::Reported => None,
            Self::Spawned => Some(spawned),
        }
    }
}

impl Pool {
    /// Workers of the library under panzer.
    pub fn library(count: usize) -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let words = [own.as_os_str(), fixture::WORD.as_ref(), "pool".as_ref()];
        Self::panzer(count, &[], &words, Begin::Reported)
    }

    /// Programs that panzer executes.
    pub fn programs(count: usize) -> io::Result<Self> {
        let program = baseline::program("program")?;
        Self::panzer(count, &["-x", "--ready", "0"], &[program.as_ref()], Begin::Spawned)
    }

    /// A program of `benches/baseline` that forks.
    pub fn c(name: &str, count: usize) -> io::Result<Self> {
        let reports = Reports::open()?;
        let above = reports.path().with_file_name("above");
        let socket = UnixDatagram::bind(&above)?;
        // Ends with the bench: what main reads of a monitor is read here.
        std::thread::spawn(move || while socket.recv(&mut [0; 512]).is_ok() {});
        Self::bare(reports, name, count, above.as_ref(), Begin::Reported)
    }

    /// The one that executes programs.
    pub fn c_programs(count: usize) -> io::Result<Self> {
        let program = baseline::program("program")?;
        Self::bare(Reports::open()?, "vfork_exec", count, program.as_ref(), Begin::Spawned)
    }

    /// The library's workers without panzer: the application's own boot.
    pub fn alone(count: usize) -> io::Result<Self> {
        let reports = Reports::open()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([fixture::WORD, "pool"]).arg(reports.path()).arg(count.to_string());
        Self::spawn(reports, command, count, Begin::Spawned)
    }

    /// Begins to fill a pool of the library's.
    pub fn begin(count: usize) -> io::Result<Filling> {
        let own = std::env::current_exe()?;
        let words = [own.as_os_str(), fixture::WORD.as_ref(), "pool".as_ref()];
        Filling::start(count, &[], &words, Begin::Reported)
    }

    fn panzer(
        count: usize,
        options: &[&str],
        command: &[&OsStr],
        begin: Begin,
    ) -> io::Result<Self> {
        Filling::start(count, options, command, begin)?.finish()
    }

    fn bare(
        reports: Reports,
        name: &str,
        count: usize,
        argument: &OsStr,
        begin: Begin,
    ) -> io::Result<Self> {
        let mut command = Command::new(baseline::program(name)?);
        command.arg(count.to_string()).arg(reports.path()).arg(argument);
        Self::spawn(reports, command, count, begin)
    }

    fn spawn(
        reports: Reports,
        mut command: Command,
        count: usize,
        begin: Begin,
    ) -> io::Result<Self> {
        server::end_with_bench(&mut command)?;
        let spawned = clock();
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        if let Some(mut log) = child.stderr.take() {
            std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        }
        Self::fill(reports, count, Parent::C(child), begin.moment(spawned))
    }

    fn fill(
        reports: Reports,
        count: usize,
        parent: Parent,
        spawned: Option<u64>,
    ) -> io::Result<Self> {
        let begun = match spawned {
            Some(moment) => moment,
            None => reports.next()?.born,
        };
        let (workers, pid_file) = (VecDeque::new(), pid_file(&reports));
        let mut pool = Self { reports, workers, parent, pid_file, filled: Duration::ZERO };
        pool.filled = pool.receive(count, begun)?;
        Ok(pool)
    }

    /// Where panzerctl finds it.
    pub fn pid_file(&self) -> &Path {
        &self.pid_file
    }

    /// Main and monitor, or the one of C.
    pub fn processes(&self) -> Vec<u32> {
        match &self.parent {
            Parent::Panzer(server) => {
                [Some(server.pid()), server.monitor(1)].into_iter().flatten().collect()
            }
            Parent::C(child) => vec![child.id()],
        }
    }

    /// Reloads; returns how long it took until the new generation was current, and waits for
    /// the end of the old one.
    pub fn reload(&mut self) -> io::Result<Duration> {
        let old = std::mem::take(&mut self.workers);
        let Parent::Panzer(server) = &mut self.parent else {
            return Err(Error::other("no panzer"));
        };
        let took = reload(server)?;
        self.receive(old.len(), 0)?;
        let _ = self.reports.next_until(Instant::now() + REST);
        Ok(took)
    }

    /// The processor time of what keeps it full: of main and monitor, or of the one of C.
    pub fn processor_time(&self) -> Duration {
        let time = |pid| process::run_time(pid).unwrap_or_default();
        match &self.parent {
            Parent::Panzer(server) => {
                time(server.pid()) + server.monitor(1).map(time).unwrap_or_default()
            }
            Parent::C(child) => time(child.id()),
        }
    }

    /// Waits for so many new workers; returns how long after `since` the last of them ran.
    fn receive(&mut self, count: usize, since: u64) -> io::Result<Duration> {
        let mut last = since;
        for _ in 0..count {
            let (born, pid) = self.reports.next_worker()?;
            self.workers.push_back(pid);
            last = last.max(born);
        }
        Ok(Duration::from_nanos(last - since))
    }

    /// Kills the oldest worker; returns how long it took until its replacement ran.
    pub fn replace_oldest(&mut self) -> io::Result<Duration> {
        let oldest = self.workers.pop_front().ok_or_else(|| Error::other("an empty pool"))?;
        let killed = clock();
        kill(oldest, Signal::Kill)?;
        let took = self.receive(1, killed)?;
        self.rest()?;
        Ok(took)
    }

    /// Kills every worker; returns how long it took until the last replacement ran.
    pub fn replace_all(&mut self) -> io::Result<Duration> {
        let old = std::mem::take(&mut self.workers);
        let killed = clock();
        old.iter().try_for_each(|pid| kill(*pid, Signal::Kill))?;
        self.receive(old.len(), killed)
    }

    /// Lets the last replacement come to its end everywhere, as far as it can be seen.
    fn rest(&mut self) -> io::Result<()> {
        if let Parent::Panzer(server) = &mut self.parent {
            server.wait_for("a replacement", |event| event.name == "respawn")?;
        }
        let _ = self.reports.next_until(Instant::now() + REST);
        Ok(())
    }

    /// Stops it; returns how long it took until no process was left.
    pub fn drain(self) -> io::Result<Duration> {
        let asked = clock();
        match self.parent {
            Parent::Panzer(mut server) => {
                server.signal("TERM")?;
                let ended = self.reports.end()?;
                server.wait_for_end()?;
                Ok(Duration::from_nanos(ended - asked))
            }
            Parent::C(mut child) => {
                let pid = i32::try_from(child.id()).ok().and_then(Pid::new);
                kill(pid.ok_or_else(|| Error::other("no pid"))?, Signal::Term)?;
                let ended = self.reports.end()?;
                child.wait()?;
                Ok(Duration::from_nanos(ended - asked))
            }
        }
    }
}

/// Sends a signal to a process that is not reaped yet: the bench alone ends them.
fn kill(pid: Pid, with: Signal) -> io::Result<()> {
    signal::send(pid, with).map_err(|errno| Error::other(format!("kill {}: {errno}", pid.raw())))
}
