//! Signals, sent by a shell that runs as long as the bench.
//!
//! Safe Rust has no kill(2). A process for each signal would take longer than what is
//! measured; the shell's built-in `kill` takes some microseconds.
//!
//! It ends when the bench does, however that ends, and then stops what is left of its process
//! group: every panzer that the bench has started.

use std::io::{self, BufRead, BufReader, Error, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Obeys the lines of its standard input to their end. Commands are the shell's own, and SIGTERM
/// reaches the rest of its group alone.
const SCRIPT: &str = r#"trap '' TERM INT; . /dev/stdin; kill -s TERM 0"#;

/// The only shell, started when it is first needed.
static SHELL: Mutex<Option<Shell>> = Mutex::new(None);

struct Shell {
    /// Ends with its standard input, which is when the bench ends.
    child: Child,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Shell {
    fn start() -> io::Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let words = child.stdin.take().expect("it was asked for");
        let answers = BufReader::new(child.stdout.take().expect("it was asked for"));
        Ok(Self { child, words, answers })
    }

    /// Whether the command succeeded.
    fn obeys(&mut self, command: &str) -> io::Result<bool> {
        self.words.write_all(format!("{command}; echo $?\n").as_bytes())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer == "0\n")
    }
}

/// Has a program stop by SIGTERM when the bench ends without having stopped it.
///
/// # Errors
///
/// If there is no shell.
pub fn end_with_bench(command: &mut Command) -> io::Result<()> {
    let group = with_shell(|shell| Ok(shell.child.id()))?;
    command.process_group(i32::try_from(group).map_err(Error::other)?);
    Ok(())
}

/// Sends a signal, named without `SIG`, to a process whose pid cannot have been reused;
/// blocks until it is sent.
///
/// # Errors
///
/// If the process is gone.
pub fn kill(pid: u32, signal: &str) -> io::Result<()> {
    kill_all(&[pid], signal)
}

/// Sends a signal to several such processes in turn.
///
/// # Errors
///
/// If one of them is gone; the others got it.
pub fn kill_all(pids: &[u32], signal: &str) -> io::Result<()> {
    let words: String = pids.iter().map(|pid| format!(" {pid}")).collect();
    if with_shell(|shell| shell.obeys(&format!("kill -s {signal}{words}")))? {
        return Ok(());
    }
    Err(Error::other(format!("no process{words}")))
}

fn with_shell<T>(ask: impl FnOnce(&mut Shell) -> io::Result<T>) -> io::Result<T> {
    let mut shell = SHELL.lock().unwrap_or_else(PoisonError::into_inner);
    ask(match &mut *shell {
        Some(shell) => shell,
        none => none.insert(Shell::start()?),
    })
}
