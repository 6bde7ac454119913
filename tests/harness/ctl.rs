//! Who asks with panzerctl, and who pretends to be main.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::alone;
use super::place::panzerctl;
use super::told::Told;

/// What came of a panzerctl.
pub struct Outcome {
    /// Its exit status; 124 when it did not end.
    pub status: i32,
    /// What it has shown.
    pub shown: String,
    /// What it has told on standard error.
    pub told: String,
}

impl Outcome {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let status = output.status.code().unwrap_or(-1);
        Self { status, shown: text(&output.stdout), told: text(&output.stderr) }
    }
}

/// The command that asks, which is ended if it should not end by itself.
pub fn command(pid_file: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.arg("20").arg(panzerctl()).arg("--pid").arg(pid_file).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts to ask.
pub fn begin(pid_file: &Path, words: &[&str]) -> Child {
    let _alone = alone();
    command(pid_file, words).spawn().expect("timeout is there")
}

/// Waits for what comes of it.
pub fn finish(child: Child) -> Outcome {
    Outcome::of(&child.wait_with_output().expect("it is our child"))
}

/// Asks, and waits for what comes of it.
pub fn ctl(pid_file: &Path, words: &[&str]) -> Outcome {
    finish(begin(pid_file, words))
}

/// Runs a script of Python's, with `input` as its standard input.
pub fn python(script: &str, words: &[&str], input: &str) -> Outcome {
    let mut child = {
        let _alone = alone();
        let mut command = Command::new("timeout");
        command.args(["20", "python3", "-c", script]).args(words).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("timeout is there")
    };
    let mut pipe = child.stdin.take().expect("it was asked for");
    // A script that has failed does not read; its outcome says why.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    finish(child)
}

/// A process that has a pid file locked, and answers what it is told to.
pub struct Pretender {
    child: Child,
    told: Told<String>,
}

impl Pretender {
    /// Starts one: see `tests/fixtures/pretender.py`.
    pub fn start(pid_file: &Path, content: &str, answer: &str, boards: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pretender.py");
        let mut child = {
            let _alone = alone();
            let mut command = Command::new("python3");
            command.arg(script).arg(pid_file).args([content, answer]).args(boards);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().expect("python3 is there")
        };
        let out = child.stdout.take().expect("it was asked for");
        let mut told = Told::read(out, |line| line);
        told.find(|line| line == "up").expect("it begins");
        Self { child, told }
    }

    /// Waits until it was sent this signal.
    pub fn expect(&mut self, signal: &str) {
        self.told.find(|line| line == signal).unwrap_or_else(|_| panic!("no {signal}"));
    }

    /// Ends it; everything that it was sent meanwhile.
    pub fn end(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        assert!(self.told.hear_out(), "it does not end");
        self.told.all().iter().filter(|line| *line != "up" && *line != "bye").cloned().collect()
    }
}

impl Drop for Pretender {
    fn drop(&mut self) {
        // Its standard input ends with us, and so does it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
