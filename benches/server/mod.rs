//! A panzer of our own: started, listened to, signalled, and always ended.
//!
//! What it does is known from two pipes. One carries its events and ends when
//! panzer does, because no other process has it. The other is the standard error
//! of the whole tree: its end proves that nobody is left. Nobody naps, and
//! everything that waits has [`PATIENCE`].
//!
//! Signals go to panzer while it is our child and not reaped, and to monitors
//! and workers whose death panzer has not yet told.

mod ear;
mod event;
pub mod process;
mod shell;
mod strace;
mod watch;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Error};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::load::PATIENCE;
use ear::{Ear, Silence};

pub use event::{Event, Line};
pub use shell::{kill, kill_all};
pub use strace::Strace;
pub use watch::{Seen, Watch};

/// Moves the events to the pipe that std made for the standard output, lets
/// that output go where the log goes, and becomes panzer under the same pid.
pub const REDIRECT: &str = r#"exec "$0" "$@" 3>&1 1>&2"#;

/// How long panzer may take to end everything when a run has failed.
const MERCY: Duration = Duration::from_secs(10);

/// A directory of our own, gone when dropped.
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// Whatever mkdir(2) says.
    pub fn new() -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("panzer-bench-{}-{number}", id()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something in it.
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
    events: Ear<Event>,
    log: Ear<Line>,
}

impl Server {
    /// Starts `panzer OPTIONS -- COMMAND`.
    ///
    /// # Errors
    ///
    /// When the shell cannot be had. That panzer itself cannot be started is
    /// told by the end of its events.
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
        Self::listen_to(shell.args(options).arg("--").args(command))
    }

    /// Starts a program that is a panzer itself in this directory, where a
    /// configuration file has to say that 3 is the descriptor for events.
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub fn start_itself(directory: &Path, command: &[&OsStr]) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        let shell = shell.current_dir(directory).env("PWD", directory);
        Self::listen_to(shell.args(["-c", REDIRECT]).args(command))
    }

    fn listen_to(shell: &mut Command) -> io::Result<Self> {
        let mut child =
            shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let events = child.stdout.take().expect("it was asked for");
        let log = child.stderr.take().expect("it was asked for");
        Ok(Self { child, events: Ear::new(events), log: Ear::new(log) })
    }

    /// Blocks until panzer tells an event that `is_it`.
    ///
    /// # Errors
    ///
    /// When it ends or [`PATIENCE`] does; says what it told and logged.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> io::Result<Event> {
        self.events.wait_for(is_it).map_err(|silence| self.complaint(what, silence))
    }

    /// Blocks until somebody of the tree logs a line that `is_it`.
    ///
    /// # Errors
    ///
    /// As [`Server::wait_for`].
    pub fn wait_for_line(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> io::Result<Line> {
        let found = self.log.wait_for(|line| is_it(&line.text));
        found.map_err(|silence| self.complaint(what, silence))
    }

    /// Blocks until the next line of the log.
    ///
    /// # Errors
    ///
    /// As [`Server::wait_for`].
    pub fn next_line(&mut self, what: &str) -> io::Result<Line> {
        self.wait_for_line(what, |_| true)
    }

    /// Takes in events until `moment`, or their end.
    pub fn listen_until(&mut self, moment: Instant) {
        let _ = self.events.hear(moment, |_| false);
    }

    /// Blocks until nobody of the whole tree is left, and says since when.
    ///
    /// # Errors
    ///
    /// When somebody is after [`PATIENCE`]; says what they told and logged.
    pub fn wait_for_nobody(&mut self) -> io::Result<Instant> {
        let left = |silence| match silence {
            Silence::End => Ok(()),
            Silence::Patience => Err(silence),
        };
        let deadline = Instant::now() + PATIENCE;
        let events = self.events.hear(deadline, |_| false).map(drop).or_else(left);
        let log = self.log.hear(deadline, |_| false).map(drop).or_else(left);
        match events.and(log) {
            Ok(()) => Ok(self.log.ended_at().unwrap_or(deadline)),
            Err(silence) => Err(self.complaint("everybody's end", silence)),
        }
    }

    /// All that panzer has told, as far as it was waited for.
    pub fn told(&self) -> &[Event] {
        self.events.heard()
    }

    /// All that was logged, as far as it was waited for.
    pub fn logged(&self) -> &[Line] {
        self.log.heard()
    }

    /// The monitor of a generation, as far as panzer has told.
    pub fn monitor(&self, generation: u32) -> Option<u32> {
        let names = ["started", "ready", "current"];
        let is_it = |event: &&Event| names.iter().any(|name| event.is(name, generation));
        self.told().iter().filter(is_it).find_map(|event| event.pid)
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

    /// Asks panzer to stop gracefully, and waits until everybody is gone.
    ///
    /// # Errors
    ///
    /// When it is gone already or does not go within [`PATIENCE`].
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait_for_nobody()?;
        self.status()
    }

    /// How panzer ended; blocks until it has.
    ///
    /// # Errors
    ///
    /// Whatever waitpid(2) says.
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// An error with the end of what panzer told and of the log.
    fn complaint(&mut self, what: &str, silence: Silence) -> Error {
        let how = match silence {
            Silence::End => format!("the end came before {what}"),
            Silence::Patience => format!("{PATIENCE:?} without {what}"),
        };
        let now = Instant::now();
        let _ = (self.events.hear(now, |_| false), self.log.hear(now, |_| false));
        let told = self.told().iter().map(|event| event.line.as_str()).collect();
        let log = self.logged().iter().map(|line| line.text.as_str()).collect();
        let tail = |lines: Vec<&str>| lines[lines.len().saturating_sub(40)..].join("\n  ");
        Error::other(format!("{how}\nevents:\n  {}\nlog:\n  {}", tail(told), tail(log)))
    }
}

/// A server that is dropped and not stopped ends now, with everything below it.
impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let mercy = Instant::now() + MERCY;
            let has_ended = |server: &mut Self| {
                matches!(server.events.hear(mercy, |_| false), Err(Silence::End))
            };
            if self.signal("QUIT").is_err() || !has_ended(self) {
                let _ = self.child.kill();
            }
            let _ = self.child.wait();
        }
    }
}

/// An address on the loopback that nobody listened on a moment ago.
///
/// # Errors
///
/// When the kernel has none left.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// The program under test: `PANZER_BIN`, or the one that cargo built for us.
fn panzer() -> PathBuf {
    let built = || option_env!("CARGO_BIN_EXE_panzer").unwrap_or("panzer").into();
    std::env::var_os("PANZER_BIN").map_or_else(built, PathBuf::from)
}

/// The program that asks it: `PANZERCTL_BIN`, or the one that cargo built for us.
pub fn panzerctl() -> PathBuf {
    let built = || option_env!("CARGO_BIN_EXE_panzerctl").unwrap_or("panzerctl").into();
    std::env::var_os("PANZERCTL_BIN").map_or_else(built, PathBuf::from)
}

/// The example `name`: the variable `NAME_BIN`, or the one beside this program,
/// built anew where cargo runs us, so that it is never an old one.
///
/// # Errors
///
/// When there is none.
pub fn example(name: &str) -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os(format!("{}_BIN", name.to_uppercase())) {
        return Ok(path.into());
    }
    // target/PROFILE/deps/this-0123456789abcdef
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).unwrap_or(Path::new("."));
    if let Some(cargo) = std::env::var_os("CARGO") {
        let profile = match folder.file_name().and_then(OsStr::to_str) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let arguments = ["build", "--quiet", "--profile", profile, "--example", name];
        Command::new(cargo).args(arguments).status()?;
    }
    let path = folder.join("examples").join(name);
    let other = folder.with_file_name("debug").join("examples").join(name);
    [path, other].into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Error::other(format!("there is no example {name}: cargo build --example {name}"))
    })
}
