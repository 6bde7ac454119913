//! What a panzer and everybody below it asked the kernel for: strace(1).
//!
//! The tracer is nobody's parent (`-D`), so main keeps its pid; it has the
//! standard error too, and so the end of the log is also the end of the trace.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the traces of one panzer are, one file for each process.
pub struct Trace {
    prefix: PathBuf,
}

/// One system call of one process.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who asked.
    pub pid: u32,
    /// For what: `accept4`.
    pub name: String,
    /// The words between the brackets, as strace shows them.
    pub words: String,
    /// What the kernel answered: `0`, `-1 EAGAIN (…)`, `?` when it never did.
    pub answer: String,
}

impl Trace {
    /// The words with which strace writes what `options` select to files in
    /// `place` that begin with `name`; for [`Setup::through`].
    ///
    /// [`Setup::through`]: super::setup::Setup::through
    pub fn new(place: &Path, name: &str, options: &[&str]) -> (Self, Vec<String>) {
        let prefix = place.join(name);
        let output = prefix.display().to_string();
        let fixed = ["-D", "-ff", "-qqq", "-s", "200", "-o", &output];
        let words = fixed.iter().chain(options).map(ToString::to_string).collect();
        (Self { prefix }, words)
    }

    /// Every call of everybody, in the order of each process. Complete once the
    /// log has ended.
    pub fn calls(&self) -> Vec<Call> {
        let directory = self.prefix.parent().expect("it is in a place");
        let begin = format!("{}.", self.prefix.file_name().expect("it is named").display());
        let mut calls = Vec::new();
        for entry in fs::read_dir(directory).expect("the place is there").map_while(Result::ok) {
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
    /// cut off by a death has the answer `?`.
    fn parse(pid: u32, line: &str) -> Option<Self> {
        let (call, answer) = line.rsplit_once(" = ").unwrap_or((line, "?"));
        let (name, words) = call.split_once('(')?;
        if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return None;
        }
        let words = words.trim_end().trim_end_matches(')').to_string();
        Some(Self { pid, name: name.to_string(), words, answer: answer.trim().to_string() })
    }

    /// Whether the kernel did it.
    pub fn is_done(&self) -> bool {
        !self.answer.starts_with('-') && !self.answer.starts_with('?')
    }
}
