//! Runs panzerctl, and a process that pretends to be main.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::files::panzerctl;
use super::spawn_lock;
use super::stream::Stream;

/// The result of a command that has ended.
pub struct CommandResult {
    /// Its exit status; 124 if timeout(1) has ended it.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl CommandResult {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let status = output.status.code().unwrap_or(-1);
        Self { status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// A panzerctl command line; timeout(1) ends it after 20 seconds.
fn command(pid_file: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.arg("20").arg(panzerctl()).arg("--pid").arg(pid_file).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts panzerctl.
pub fn begin(pid_file: &Path, words: &[&str]) -> Child {
    let _lock = spawn_lock();
    command(pid_file, words).spawn().expect("timeout is there")
}

/// Waits for its result.
pub fn finish(child: Child) -> CommandResult {
    CommandResult::of(&child.wait_with_output().expect("it is our child"))
}

/// Runs panzerctl, and waits for its result.
pub fn ctl(pid_file: &Path, words: &[&str]) -> CommandResult {
    finish(begin(pid_file, words))
}

/// Runs a Python script, with `input` as its standard input.
pub fn python(script: &str, words: &[&str], input: &str) -> CommandResult {
    let mut child = {
        let _lock = spawn_lock();
        let mut command = Command::new("timeout");
        command.args(["20", "python3", "-c", script]).args(words).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("timeout is there")
    };
    let mut pipe = child.stdin.take().expect("it is a pipe");
    // A script that has failed does not read; its result says why.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    finish(child)
}

/// A process that has locked a pid file and sends a given reply to each request.
pub struct FakeMain {
    child: Child,
    lines: Stream<String>,
}

impl FakeMain {
    /// Starts it: see `tests/fixtures/fake_main.py`.
    pub fn start(pid_file: &Path, content: &str, answer: &str, boards: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fake_main.py");
        let mut child = {
            let _lock = spawn_lock();
            let mut command = Command::new("python3");
            command.arg(script).arg(pid_file).args([content, answer]).args(boards);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().expect("python3 is there")
        };
        let out = child.stdout.take().expect("it is a pipe");
        let mut lines = Stream::read(out, |line| line);
        lines.find(|line| line == "up").expect("it begins");
        Self { child, lines }
    }

    /// Waits until it was sent this signal.
    pub fn expect(&mut self, signal: &str) {
        self.lines.find(|line| line == signal).unwrap_or_else(|_| panic!("no {signal}"));
    }

    /// Ends it; returns all signals and requests that it was sent.
    pub fn end(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        assert!(self.lines.read_to_end(), "it does not end");
        self.lines.all().iter().filter(|line| *line != "up" && *line != "bye").cloned().collect()
    }
}

impl Drop for FakeMain {
    fn drop(&mut self) {
        // It exits when its standard input ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
