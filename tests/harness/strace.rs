//! The system calls of a panzer and its descendants: strace(1).
//!
//! The tracer is not main's parent (`-D`), so main keeps its pid; it has the same
//! standard error, so when the log has ended the trace is complete.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use panzer::sys::Signal;

use super::panzer::send;
use super::spawn_lock;

/// Where the traces of one panzer are, one file for each process.
pub struct Trace {
    prefix: PathBuf,
}

/// One system call of one process.
#[derive(Clone, Debug)]
pub struct Call {
    /// The process that made it.
    pub pid: u32,
    /// Its name: `accept4`.
    pub name: String,
    /// The arguments, as strace shows them.
    pub words: String,
    /// The result: `0`, `-1 EAGAIN (…)`, `?` when it did not return.
    pub answer: String,
}

/// A tracer of one process that runs already: it counts from here on, and not
/// what the process did while starting. Dropping this ends the tracer and lets
/// the process go on.
pub struct Attached {
    tracer: Child,
}

impl Attached {
    /// Traces `pid`, and none of its children, with these options; returns once it
    /// does.
    pub fn to(pid: u32, output: &Path, options: &[&str]) -> Self {
        let started = {
            let _lock = spawn_lock();
            Command::new("strace")
                .args(["-p", &pid.to_string(), "-o", &output.display().to_string()])
                .args(options)
                .stdin(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
        };
        let mut tracer = started.expect("strace is there");
        let mut line = String::new();
        let said = tracer.stderr.as_mut().expect("it is a pipe");
        BufReader::new(said).read_line(&mut line).expect("it is text");
        assert!(line.contains("attached"), "strace: {line}");
        Self { tracer }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if matches!(self.tracer.try_wait(), Ok(None)) {
            send(self.tracer.id(), Signal::Term);
            let _ = self.tracer.wait();
        }
    }
}

impl Trace {
    /// The words with which strace writes what `options` select to files in
    /// `dir` that begin with `name`; for [`Setup::through`].
    ///
    /// [`Setup::through`]: super::setup::Setup::through
    pub fn new(dir: &Path, name: &str, options: &[&str]) -> (Self, Vec<String>) {
        let prefix = dir.join(name);
        let output = prefix.display().to_string();
        let fixed = ["-D", "-ff", "-qqq", "-s", "200", "-o", &output];
        let words = fixed.iter().chain(options).map(ToString::to_string).collect();
        (Self { prefix }, words)
    }

    /// All calls of all processes, those of one process in order. Complete once
    /// the log has ended.
    pub fn calls(&self) -> Vec<Call> {
        let directory = self.prefix.parent().expect("it is in a directory");
        let begin = format!("{}.", self.prefix.file_name().expect("it is named").display());
        let mut calls = Vec::new();
        for entry in fs::read_dir(directory).expect("the directory exists").map_while(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(pid) = name.strip_prefix(&begin).and_then(|pid| pid.parse().ok()) else {
                continue;
            };
            let text = fs::read(entry.path()).expect("strace has written it");
            let text = String::from_utf8_lossy(&text);
            calls.extend(text.lines().filter_map(|line| Call::parse(pid, line)));
        }
        calls
    }
}

impl Call {
    /// Reads a line; none when it is a signal's or an exit's. A call that was
    /// interrupted by the process's death has the result `?`.
    fn parse(pid: u32, line: &str) -> Option<Self> {
        let (call, answer) = line.rsplit_once(" = ").unwrap_or((line, "?"));
        let (name, words) = call.split_once('(')?;
        if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return None;
        }
        let words = words.trim_end().trim_end_matches(')').to_string();
        Some(Self { pid, name: name.to_string(), words, answer: answer.trim().to_string() })
    }

    /// Whether it has succeeded.
    pub fn is_done(&self) -> bool {
        !self.answer.starts_with('-') && !self.answer.starts_with('?')
    }
}
