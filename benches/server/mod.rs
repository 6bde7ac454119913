//! A panzer for a bench: started, observed, signalled, and always ended.
//!
//! Its activity is known from two pipes. One carries its events and ends with panzer, because
//! no other process has it open. The other is the standard error of the whole tree: its end
//! proves that no process is left. Nothing sleeps, and every wait ends after [`TIMEOUT`].
//!
//! Signals go to panzer while it is an unreaped child, and to monitors and workers whose
//! death panzer has not reported yet.

mod event;
mod line_reader;
pub mod process;
mod shell;
mod strace;
mod watch;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Error};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::load::TIMEOUT;
use line_reader::{LineReader, NoLine};

pub use event::{Event, Line};
pub use shell::{end_with_bench, kill, kill_all};
pub use strace::Strace;
pub use watch::{Seen, Watch};

/// Makes the pipe of the standard output the events' descriptor, sends the output to the
/// log, and executes panzer with the same pid.
pub const REDIRECT: &str = r#"exec "$0" "$@" 3>&1 1>&2"#;

/// How long panzer may take to stop when a run has failed.
const MERCY: Duration = Duration::from_secs(10);

/// A temporary directory, removed when dropped.
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// The error of mkdir(2).
    pub fn new() -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // Where a pid file is in earnest, in memory: beside it stand the sockets of programs,
        // and on a disk each of these takes longer to make than its program to start.
        let memory = PathBuf::from("/dev/shm");
        let above = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let path = above.join(format!("panzer-bench-{}-{number}", id()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A running panzer.
pub struct Server {
    child: Child,
    events: LineReader<Event>,
    log: LineReader<Line>,
    /// Its working directory, if it is its own: another panzer may have a pid file in the
    /// directory of the bench.
    _home: Option<Place>,
}

impl Server {
    /// Starts `panzer OPTIONS -- COMMAND`.
    ///
    /// # Errors
    ///
    /// If the shell cannot be started. If panzer itself cannot be started, its events end.
    pub fn start(options: &[&str], command: &[&OsStr]) -> io::Result<Self> {
        Self::start_by(REDIRECT, options, command)
    }

    /// The same, by a shell script that ends as [`REDIRECT`] does.
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub fn start_by(script: &str, options: &[&str], command: &[&OsStr]) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(panzer()).args(["--event-fd", "3"]);
        let home = Place::new()?;
        shell.current_dir(home.path()).env("PWD", home.path());
        Self::listen_to(shell.args(options).arg("--").args(command), Some(home))
    }

    /// Starts a program with an embedded main in this directory, where a configuration file
    /// must set descriptor 3 for the events.
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub fn start_itself(directory: &Path, command: &[&OsStr]) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        let shell = shell.current_dir(directory).env("PWD", directory);
        Self::listen_to(shell.args(["-c", REDIRECT]).args(command), None)
    }

    fn listen_to(shell: &mut Command, home: Option<Place>) -> io::Result<Self> {
        end_with_bench(shell)?;
        let mut child =
            shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let events = child.stdout.take().expect("it was asked for");
        let log = child.stderr.take().expect("it was asked for");
        Ok(Self { child, events: LineReader::new(events), log: LineReader::new(log), _home: home })
    }

    /// Blocks until an event of panzer that `is_it`.
    ///
    /// # Errors
    ///
    /// If panzer ends first, or after [`TIMEOUT`]; the error has its events and log.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> io::Result<Event> {
        self.events.wait_for(is_it).map_err(|no_line| self.complaint(what, no_line))
    }

    /// Blocks until the next event.
    ///
    /// # Errors
    ///
    /// As [`Server::wait_for`].
    pub fn next_event(&mut self, what: &str) -> io::Result<Event> {
        self.wait_for(what, |_| true)
    }

    /// Blocks until a process of the tree logs a line that `is_it`.
    ///
    /// # Errors
    ///
    /// As [`Server::wait_for`].
    pub fn wait_for_line(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> io::Result<Line> {
        let found = self.log.wait_for(|line| is_it(&line.text));
        found.map_err(|no_line| self.complaint(what, no_line))
    }

    /// Blocks until the next line of the log.
    ///
    /// # Errors
    ///
    /// As [`Server::wait_for`].
    pub fn next_line(&mut self, what: &str) -> io::Result<Line> {
        self.wait_for_line(what, |_| true)
    }

    /// Reads events until `moment`, or their end.
    pub fn listen_until(&mut self, moment: Instant) {
        let _ = self.events.read_until(moment, |_| false);
    }

    /// Blocks until no process of the tree is left, and returns since when.
    ///
    /// # Errors
    ///
    /// If a process is left after [`TIMEOUT`]; the error has events and log.
    pub fn wait_for_end(&mut self) -> io::Result<Instant> {
        let left = |no_line| match no_line {
            NoLine::End => Ok(()),
            NoLine::Patience => Err(no_line),
        };
        let deadline = Instant::now() + TIMEOUT;
        let events = self.events.read_until(deadline, |_| false).map(drop).or_else(left);
        let log = self.log.read_until(deadline, |_| false).map(drop).or_else(left);
        match events.and(log) {
            Ok(()) => Ok(self.log.ended_at().unwrap_or(deadline)),
            Err(no_line) => Err(self.complaint("the end of all processes", no_line)),
        }
    }

    /// All events read so far.
    pub fn events(&self) -> &[Event] {
        self.events.all()
    }

    /// All lines of the log read so far.
    pub fn logged(&self) -> &[Line] {
        self.log.all()
    }

    /// The monitor of a generation, by the events so far.
    pub fn monitor(&self, generation: u32) -> Option<u32> {
        let names = ["started", "ready", "current"];
        let is_it = |event: &&Event| names.iter().any(|name| event.is(name, generation));
        self.events().iter().filter(is_it).find_map(|event| event.pid)
    }

    /// The process id of panzer, which never changes.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, named without `SIG`, to panzer itself.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn signal(&self, signal: &str) -> io::Result<()> {
        kill(self.child.id(), signal)
    }

    /// Stops panzer gracefully, and waits until all processes are gone.
    ///
    /// # Errors
    ///
    /// If it is gone already, or does not end within [`TIMEOUT`].
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait_for_end()?;
        self.status()
    }

    /// The exit status of panzer; blocks until it ends.
    ///
    /// # Errors
    ///
    /// The error of waitpid(2).
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// An error with the last events and lines of the log.
    fn complaint(&mut self, what: &str, no_line: NoLine) -> Error {
        let how = match no_line {
            NoLine::End => format!("panzer ended before {what}"),
            NoLine::Patience => format!("{TIMEOUT:?} without {what}"),
        };
        let now = Instant::now();
        let _ = (self.events.read_until(now, |_| false), self.log.read_until(now, |_| false));
        let events = self.events().iter().map(|event| event.line.as_str()).collect();
        let log = self.logged().iter().map(|line| line.text.as_str()).collect();
        let tail = |lines: Vec<&str>| lines[lines.len().saturating_sub(40)..].join("\n  ");
        Error::other(format!("{how}\nevents:\n  {}\nlog:\n  {}", tail(events), tail(log)))
    }
}

/// Dropping a running server kills it, with all processes below it.
impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let deadline = Instant::now() + MERCY;
            let has_ended = |server: &mut Self| {
                matches!(server.events.read_until(deadline, |_| false), Err(NoLine::End))
            };
            if self.signal("QUIT").is_err() || !has_ended(self) {
                let _ = self.child.kill();
            }
            let _ = self.child.wait();
        }
    }
}

/// An address on the loopback interface that was free a moment ago.
///
/// # Errors
///
/// If there is none left.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// The absolute path of a program that a variable names.
fn whole(path: OsString) -> PathBuf {
    std::path::absolute(&path).unwrap_or_else(|_| path.into())
}

/// The program under test: `PANZER_BIN`, or the one that cargo has built.
fn panzer() -> PathBuf {
    let built = || option_env!("CARGO_BIN_EXE_panzer").unwrap_or("panzer").into();
    std::env::var_os("PANZER_BIN").map_or_else(built, whole)
}

/// Its client: `PANZERCTL_BIN`, or the one that cargo has built.
pub fn panzerctl() -> PathBuf {
    let built = || option_env!("CARGO_BIN_EXE_panzerctl").unwrap_or("panzerctl").into();
    std::env::var_os("PANZERCTL_BIN").map_or_else(built, whole)
}

/// The example `name`: the variable `NAME_BIN`, or the one beside this program, which is
/// built again under cargo, so that it is never an old one.
///
/// # Errors
///
/// If there is none.
pub fn example(name: &str) -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os(format!("{}_BIN", name.to_uppercase())) {
        return Ok(whole(path));
    }
    // target/PROFILE/deps/this-0123456789abcdef
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).unwrap_or(Path::new("."));
    if let Some(cargo) = std::env::var_os("CARGO") {
        build_example(&cargo, folder, name)?;
    }
    let path = folder.join("examples").join(name);
    let other = folder.with_file_name("debug").join("examples").join(name);
    [path, other]
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Error::other(format!("no example {name}: cargo build --example {name}")))
}

/// Builds an example into the folder of this program's profile.
fn build_example(cargo: &OsStr, folder: &Path, name: &str) -> io::Result<()> {
    let named = |folder: &Path| folder.file_name().and_then(OsStr::to_str).map(String::from);
    let profile = named(folder).filter(|name| name != "debug").unwrap_or_else(|| "dev".into());
    let above = folder.parent().unwrap_or(folder);
    // target/TRIPLE/PROFILE where the bench itself is built for another system.
    let triple = named(above).filter(|name| name.contains("-linux-"));
    let target = if triple.is_some() { above.parent().unwrap_or(above) } else { above };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--profile", &profile, "--example", name]);
    command.arg("--target-dir").arg(target);
    command.args(triple.iter().flat_map(|triple| ["--target", triple]));
    command.status().map(drop)
}
