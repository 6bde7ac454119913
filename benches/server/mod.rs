//! A panzer of our own: started, listened to, signalled, and always ended.
//!
//! What it does is known from its events, read from a pipe: nobody looks at the
//! process table and nobody naps. The pipe ends when panzer does, because no
//! other process has it.
//!
//! Signals go through the shell's `kill`, because safe Rust has no other way.
//! They go to panzer while it is our child and not reaped, and to monitors
//! whose death panzer has not yet told.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Error};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::load::PATIENCE;

/// Moves the events to the pipe that std made for the standard output, lets
/// that output go where the log goes, and becomes panzer under the same pid.
const REDIRECT: &str = r#"exec "$0" "$@" 3>&1 1>&2"#;

/// How long panzer may take to end everything when a run has failed.
const MERCY: Duration = Duration::from_secs(10);

/// One line of `--event-fd`.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened: `ready`, `current`, `died` …
    pub name: String,
    /// The generation that it happened to.
    pub generation: Option<u32>,
    /// The process that it happened to.
    pub pid: Option<u32>,
    /// The line as it came.
    pub line: String,
}

impl Event {
    fn parse(line: String) -> Self {
        let number = |key| value(&line, key).and_then(|number| number.parse().ok());
        let name = value(&line, "event").unwrap_or_default().trim_matches('"').to_string();
        Self { name, generation: number("gen"), pid: number("pid").filter(|pid| *pid > 1), line }
    }

    /// Whether it is the event `name` of this generation.
    pub fn is(&self, name: &str, generation: u32) -> bool {
        self.name == name && self.generation == Some(generation)
    }
}

/// The text of a value in a flat JSON object whose strings hold no comma.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{key}\":"))?;
    rest.split([',', '}']).next().map(str::trim)
}

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
    events: Receiver<Event>,
    /// Everything that it has told so far.
    told: Vec<Event>,
    log: PathBuf,
}

impl Server {
    /// Starts `panzer OPTIONS -- COMMAND`, with its pid file and log in `place`.
    ///
    /// # Errors
    ///
    /// When the shell or the log file cannot be had. That panzer itself cannot
    /// be started is told by the end of its events.
    pub fn start(place: &Place, options: &[&str], command: &[&OsStr]) -> io::Result<Self> {
        let log = place.join("log");
        let mut child = Command::new("sh")
            .args(["-c", REDIRECT])
            .arg(panzer())
            .args(["--event-fd", "3"])
            .args(options)
            .arg("--")
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        let pipe = child.stdout.take().expect("it was asked for");
        Ok(Self { child, events: listen(pipe), told: Vec::new(), log })
    }

    /// Blocks until panzer tells an event that `is_it`.
    ///
    /// # Errors
    ///
    /// When it ends or [`PATIENCE`] does; says what it told and logged.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> io::Result<Event> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    self.told.push(event.clone());
                    if is_it(&event) {
                        return Ok(event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.complaint(&format!("{PATIENCE:?} without {what}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.complaint(&format!("panzer ended before {what}")));
                }
            }
        }
    }

    /// The monitor of a generation, as far as panzer has told.
    pub fn monitor(&self, generation: u32) -> Option<u32> {
        let names = ["started", "ready", "current"];
        let is_it = |event: &&Event| names.iter().any(|name| event.is(name, generation));
        self.told.iter().filter(is_it).find_map(|event| event.pid)
    }

    /// Sends a signal, named without `SIG`, to panzer itself.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn signal(&self, signal: &str) -> io::Result<()> {
        kill(self.child.id(), signal)
    }

    /// Asks panzer to stop gracefully, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it is gone already or does not go within [`PATIENCE`].
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        self.signal("TERM")?;
        if !self.has_run_dry(PATIENCE) {
            return Err(self.complaint("panzer does not stop"));
        }
        self.child.wait()
    }

    /// Whether the events come to their end within `patience`.
    fn has_run_dry(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(_) => {}
                Err(error) => return error == RecvTimeoutError::Disconnected,
            }
        }
    }

    /// An error with all that panzer told, and the end of its log.
    fn complaint(&self, what: &str) -> Error {
        let told = self.told.iter().map(|event| event.line.as_str());
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let tail = |lines: Vec<&str>| lines[lines.len().saturating_sub(40)..].join("\n  ");
        let (told, log) = (tail(told.collect()), tail(log.lines().collect()));
        Error::other(format!("{what}\nevents:\n  {told}\nlog:\n  {log}"))
    }
}

/// A server that is dropped and not stopped ends now, with everything below it.
impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            if self.signal("QUIT").is_err() || !self.has_run_dry(MERCY) {
                let _ = self.child.kill();
            }
            let _ = self.child.wait();
        }
    }
}

/// Reads the events in a thread of its own, until the pipe ends.
fn listen(pipe: ChildStdout) -> Receiver<Event> {
    let (sender, events) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(Event::parse(line)).is_err() {
                return;
            }
        }
    });
    events
}

/// Sends a signal, named without `SIG`, to a process that cannot have been
/// replaced by a stranger: see above.
///
/// # Errors
///
/// When the process is gone.
pub fn kill(pid: u32, signal: &str) -> io::Result<()> {
    let script = r#"kill -s "$0" "$1""#;
    let status = Command::new("sh").args(["-c", script, signal]).arg(pid.to_string()).status()?;
    if status.success() { Ok(()) } else { Err(Error::other(format!("no process {pid}"))) }
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
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::other(format!("{} is not there: cargo build --example {name}", path.display())))
}
