//! Reloads of a panzer on a terminal that its workers try to read.
//!
//! The kernel stops a background process that reads its controlling terminal; generations
//! have none.

use std::ffi::{OsStr, OsString};
use std::io;

use super::{CONNECT, Program, Scene, Trial, fixture};
use crate::load::Target;
use crate::server::{self, Place, Server, Watch};

/// Makes a new terminal the controlling one of this process and its standard input, and
/// executes the rest of its arguments. A child keeps the other end, and types lines as long
/// as any process has the terminal.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, sys, termios
screen, terminal = pty.openpty()
if os.fork() == 0:
    os.close(terminal)
    os.closerange(1, screen)
    os.closerange(screen + 1, 64)
    try:
        while True:
            os.read(screen, 4096)
    except OSError:
        os._exit(0)
os.close(screen)
os.setsid()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.dup2(terminal, 0)
os.close(terminal)
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// Executed instead of panzer, with events and log as in [`server::REDIRECT`]. Main's
/// standard input is the terminal, which makes it main's controlling one.
fn script() -> String {
    format!("exec python3 -c '{ON_A_TERMINAL}' \"$0\" \"$@\" 3>&1 1>&2")
}

const OPTIONS: &[&str] = &["--count", "2", "--probation", "0", "--delay", "0"];

/// Workers of the library.
pub fn library(trial: &mut Trial) -> io::Result<()> {
    reloads(trial, &[], |target| fixture::command(&["typist", &target.address()]))
}

/// Programs of `-x`.
pub fn programs(trial: &mut Trial) -> io::Result<()> {
    const SCRIPT: &str = r#"(read line; stty sane) </dev/tty 2>/dev/null; exec python3 "$0""#;
    let hello = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello.py");
    reloads(trial, &["--exec", "--ready", "notify"], |_| {
        Ok(["sh", "-c", SCRIPT, hello].iter().map(OsString::from).collect())
    })
}

fn reloads(
    trial: &mut Trial,
    options: &[&str],
    command: impl FnOnce(&Target) -> io::Result<Vec<OsString>>,
) -> io::Result<()> {
    let times = trial.choose(200, 10);
    let target = Target::Tcp(server::free_address()?);
    let address = target.address();
    let words = command(&target)?;
    let words: Vec<&OsStr> = words.iter().map(|word| word.as_os_str()).collect();
    let options = [OPTIONS, &["--bind", &address], options].concat();
    let server = Server::start_by(&script(), &options, &words)?;
    let mut scene = Scene { server, target, program: Program::Http(0), _place: Place::new()? };
    scene.server.wait_for("a current generation", |event| event.name == "current")?;
    let watch = Watch::start(scene.server.pid());
    let load = scene.load(4, CONNECT);
    let mut last = 1;
    for _ in 0..times {
        let old = scene.monitor()?;
        last = scene.reload()?;
        scene.wait_for_death(old)?;
    }
    let report = load.finish()?;
    trial.note(format_args!("{times} reloads on a terminal, {} requests", report.answers()));
    trial.none("failed", report.failures());
    trial.require(last == times + 1, format_args!("current at last {last}"));
    trial.watched(&watch.finish());
    let status = scene.server.stop()?;
    trial.require(status.success(), status);
    Ok(())
}
