//! With what a panzer is started.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::alone;
use super::event::Event;
use super::panzer::Panzer;
use super::place::panzer;
use super::strace::Trace;
use super::told::{self, Told};

/// The variable by which those are known that were started together.
const MARK: &str = "STARTED_BY_TEST";
/// How many were started, so that each has a mark of its own.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// The options, the command and the surroundings of a panzer to be started.
///
/// The probation is 0 unless an option says more, so that a reload waits for
/// nothing but the new generation.
pub struct Setup {
    options: Vec<OsString>,
    command: Vec<OsString>,
    /// The panzer itself.
    program: OsString,
    variables: Vec<(OsString, OsString)>,
    directory: Option<OsString>,
    /// Words before panzer: a program that executes the rest of them.
    before: Vec<OsString>,
    /// What more the shell does to the descriptors: `0<&-`.
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
            ..Self::itself(&panzer(), &[])
        }
    }

    /// A program that is a panzer itself, with these words of its own. It has to
    /// know by itself that 3 is the descriptor for events.
    pub fn itself(program: &Path, words: &[&str]) -> Self {
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

    /// Starts this copy of panzer.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = path.into();
        self
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Starts it in this directory.
    pub fn directory(mut self, path: &Path) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Has it started by another program, which becomes it.
    pub fn through(mut self, program: &Path, words: &[&str]) -> Self {
        self.before.push(program.into());
        self.before.extend(words.iter().map(OsString::from));
        self
    }

    /// Has everybody traced: what `options` select, to files in `place` that
    /// begin with `name`.
    pub fn traced(self, place: &Path, name: &str, options: &[&str]) -> (Self, Trace) {
        let (trace, words) = Trace::new(place, name, options);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        (self.through(Path::new("strace"), &words), trace)
    }

    /// Redirects in the words of the shell, after the events have their pipe.
    pub fn redirect(mut self, words: &str) -> Self {
        self.redirections = words.to_string();
        self
    }

    /// Gives it this as standard input, for [`redirect`](Self::redirect) to put
    /// where it belongs.
    pub fn stdin(mut self, stdin: Stdio) -> Self {
        self.stdin = stdin;
        self
    }

    /// Gives it this as standard output and error; the test hears no log.
    pub fn stderr(mut self, stderr: Stdio) -> Self {
        self.stderr = Some(stderr);
        self
    }

    /// Starts it. The shell moves the events to the pipe that std has made for
    /// the standard output, lets that output go where the log goes, and becomes
    /// panzer under the same pid.
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
        if let Some(directory) = self.directory {
            command.current_dir(&directory).env("PWD", directory);
        }
        let mut child = {
            let _alone = alone();
            command.spawn().expect("the shell is there")
        };
        // The command holds our copy of what was given as stderr.
        drop(command);
        let events = child.stdout.take().expect("it was asked for");
        let (events, log) = match child.stderr.take() {
            Some(log) if is_heard => told::read(events, Event::parse, log),
            Some(_) | None => (Told::read(events, Event::parse), Told::silent()),
        };
        Panzer::new(child, events, log, format!("{MARK}={mark}"))
    }
}
