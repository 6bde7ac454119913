//! strace(1), attached to processes that run already.

use std::io::{self, Error, ErrorKind};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::ear::Ear;
use super::event::Line;
use super::kill;

/// One that watches.
pub struct Strace {
    child: Child,
    ear: Ear<Line>,
    output: PathBuf,
}

impl Strace {
    /// Attaches to `pids`, and to all that they fork; blocks until all are
    /// watched. `None` where there is no strace.
    ///
    /// # Errors
    ///
    /// When it cannot attach.
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
        let mut this = Self { child, ear: Ear::new(stderr), output };
        for _ in pids {
            let attached = this.ear.wait_for(|line| line.text.ends_with(" attached"));
            attached.map_err(|_| Error::other("strace does not attach"))?;
        }
        Ok(Some(this))
    }

    /// Waits until everybody who is watched is gone; says where the trace is.
    ///
    /// # Errors
    ///
    /// Whatever waitpid(2) says.
    pub fn wait(mut self) -> io::Result<PathBuf> {
        self.child.wait()?;
        Ok(self.output.clone())
    }

    /// Detaches; says where the trace is.
    ///
    /// # Errors
    ///
    /// When strace is gone.
    pub fn detach(self) -> io::Result<PathBuf> {
        kill(self.child.id(), "INT")?;
        self.wait()
    }
}

/// One that is dropped detaches.
impl Drop for Strace {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill(self.child.id(), "INT");
            let _ = self.child.wait();
        }
    }
}
