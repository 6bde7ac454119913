//! strace(1), attached to running processes.

use std::io::{self, Error, ErrorKind};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::event::Line;
use super::kill;
use super::line_reader::LineReader;

/// A running strace.
pub struct Strace {
    child: Child,
    reader: LineReader<Line>,
    output: PathBuf,
}

impl Strace {
    /// Attaches to `pids` and all their future children; blocks until all are traced. `None`
    /// without strace.
    ///
    /// # Errors
    ///
    /// If it cannot attach.
    pub fn attach(pids: &[u32], options: &[&str], output: PathBuf) -> io::Result<Option<Self>> {
        let mut command = Command::new("strace");
        command.args(["-f", "-o"]).arg(&output).args(options);
        for pid in pids {
            command.arg("-p").arg(pid.to_string());
        }
        let spawned =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = match spawned {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            spawned => spawned?,
        };
        let stderr = child.stderr.take().expect("it was asked for");
        let mut this = Self { child, reader: LineReader::new(stderr), output };
        for _ in pids {
            let attached = this.reader.wait_for(|line| line.text.ends_with(" attached"));
            attached.map_err(|_| Error::other("strace does not attach"))?;
        }
        Ok(Some(this))
    }

    /// Waits until all traced processes are gone; returns the path of the trace.
    ///
    /// # Errors
    ///
    /// The error of waitpid(2).
    pub fn wait(mut self) -> io::Result<PathBuf> {
        self.child.wait()?;
        Ok(self.output.clone())
    }

    /// Detaches; returns the path of the trace.
    ///
    /// # Errors
    ///
    /// If strace is gone.
    pub fn detach(self) -> io::Result<PathBuf> {
        kill(self.child.id(), "INT")?;
        self.wait()
    }
}

/// Dropping it detaches.
impl Drop for Strace {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill(self.child.id(), "INT");
            let _ = self.child.wait();
        }
    }
}
