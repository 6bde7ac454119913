//! What a panzer is started with.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::event::Event;
use super::files::{TempDir, panzer};
use super::panzer::Panzer;
use super::spawn_lock;
use super::strace::Trace;
use super::stream::{self, Stream};

/// The variable by which the processes of one panzer are found.
const MARK: &str = "STARTED_BY_TEST";
/// How many were started: each one's mark.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// The options, the command and the environment of a panzer to be started.
///
/// The probation is 0 unless an option says more, so that a reload waits for
/// nothing but the new generation.
pub struct Setup {
    options: Vec<OsString>,
    command: Vec<OsString>,
    /// The panzer executable.
    program: OsString,
    variables: Vec<(OsString, OsString)>,
    directory: Option<OsString>,
    /// Words before panzer: a program that executes the rest of them.
    before: Vec<OsString>,
    /// More redirections by the shell: `0<&-`.
    redirections: String,
    stdin: Stdio,
    stderr: Option<Stdio>,
}

impl Setup {
    /// A panzer that runs `program` with these words.
    pub fn new(program: &Path, words: &[&str]) -> Self {
        let command = std::iter::once(program.into());
        Self {
            options: vec!["--event-fd=3".into(), "--probation=0".into()],
            command: command.chain(words.iter().map(OsString::from)).collect(),
            ..Self::embedded(&panzer(), &[])
        }
    }

    /// A program with main embedded, with these arguments. It has to use
    /// descriptor 3 for its events.
    pub fn embedded(program: &Path, words: &[&str]) -> Self {
        Self {
            options: Vec::new(),
            command: words.iter().map(OsString::from).collect(),
            program: program.into(),
            variables: Vec::new(),
            directory: None,
            before: Vec::new(),
            redirections: String::new(),
            stdin: Stdio::null(),
            stderr: None,
        }
    }

    /// Adds options, each word by itself.
    pub fn options(mut self, words: &[&str]) -> Self {
        self.options.extend(words.iter().map(OsString::from));
        self
    }

    /// Starts this executable instead of panzer's.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = path.into();
        self
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Starts it in this directory; by default in a new one, without a pid file
    /// and without a configuration file.
    pub fn directory(mut self, path: &Path) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Starts it through another program, which executes it.
    pub fn through(mut self, program: &Path, words: &[&str]) -> Self {
        self.before.push(program.into());
        self.before.extend(words.iter().map(OsString::from));
        self
    }

    /// Traces all its processes: the system calls that `options` select, to files
    /// in `dir` that begin with `name`.
    pub fn traced(self, dir: &Path, name: &str, options: &[&str]) -> (Self, Trace) {
        let (trace, words) = Trace::new(dir, name, options);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        (self.through(Path::new("strace"), &words), trace)
    }

    /// Adds redirections in the shell's syntax, after the one for the events.
    pub fn redirect(mut self, words: &str) -> Self {
        self.redirections = words.to_string();
        self
    }

    /// Gives it this as standard input, for [`redirect`](Self::redirect) to put
    /// where the test needs it.
    pub fn stdin(mut self, stdin: Stdio) -> Self {
        self.stdin = stdin;
        self
    }

    /// Gives it this as standard output and error; the test reads no log.
    pub fn stderr(mut self, stderr: Stdio) -> Self {
        self.stderr = Some(stderr);
        self
    }

    /// Starts it. The shell moves std's pipe for the standard output to descriptor 3,
    /// for the events, sends standard output to the log, and executes panzer, which
    /// keeps the shell's pid.
    pub fn start(self) -> Panzer {
        let become_it = format!(r#"exec "$0" "$@" 3>&1 1>&2 {}"#, self.redirections);
        let mut command = Command::new("sh");
        command.arg("-c").arg(become_it).args(self.before).arg(self.program);
        if !self.options.is_empty() {
            command.args(self.options).arg("--");
        }
        command.args(self.command);
        let mark = format!("{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        command.envs(self.variables).env(MARK, &mark);
        command.stdin(self.stdin).stdout(Stdio::piped());
        let is_heard = self.stderr.is_none();
        command.stderr(self.stderr.unwrap_or_else(Stdio::piped));
        let own = self.directory.is_none().then(TempDir::new);
        let directory = self.directory.or_else(|| own.as_ref().map(|own| own.path().into()));
        let directory = directory.expect("it has one, or was given one");
        command.current_dir(&directory).env("PWD", directory);
        let mut child = {
            let _lock = spawn_lock();
            command.spawn().expect("the shell is there")
        };
        // The command holds a copy of the descriptor given as stderr.
        drop(command);
        let events = child.stdout.take().expect("it is a pipe");
        let (events, log) = match child.stderr.take() {
            Some(log) if is_heard => stream::read(events, Event::parse, log),
            Some(_) | None => (Stream::read(events, Event::parse), Stream::empty()),
        };
        Panzer::new(child, events, log, format!("{MARK}={mark}"), own)
    }
}
