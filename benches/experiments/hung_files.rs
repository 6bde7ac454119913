//! Main replies although other processes send harmful messages and file servers hang.
//!
//! For a minute each: files of FUSE that hang on close, a configuration that cannot be
//! read, connections that linger, and a flood of messages from another user. Needs root and
//! /dev/fuse, else it is skipped with a note.

use std::fs;
use std::io::{self, Error};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use panzer::sys::process;

use super::{Times, Trial};
use crate::server::{self, Place, Server};

/// How soon main must reply during an attack.
const LIMIT: Duration = Duration::from_secs(1);
/// The interval at which an attack is repeated.
const AGAIN: Duration = Duration::from_secs(2);
/// The file server of the process tests.
const FUSE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fuse.py");
/// Sends connections with unsent data that linger for ten minutes, and exits, so that main
/// could be the last process to close them. Their other end stays open.
const LINGERING: &str = r#"
import os, socket, struct, sys
to, main = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
main.connect(sys.argv[1])
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
for words in [b"FDSTORE=1", b"STATUS=here"] * 3:
    connection = socket.create_connection(to.getsockname())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
    connection.setblocking(False)
    try:
        while True:
            connection.send(b"." * 65536)
    except BlockingIOError:
        pass
    socket.send_fds(main, [words], [connection.detach()])
os._exit(0)
"#;
/// Sends descriptors as another user, as fast as it can.
const FLOOD: &str = r#"
import os, socket, sys, time
main = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
main.connect(sys.argv[1])
os.setgid(65534)
os.setuid(65534)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    socket.send_fds(main, [b"FDSTORE=1"], [0] * 253)
"#;

/// The attacks.
#[derive(Clone, Copy, Debug)]
enum Attack {
    Files,
    Configuration,
    Lingering,
    Flood,
}

pub fn all(trial: &mut Trial) -> io::Result<()> {
    if process::user() != 0 || !Path::new("/dev/fuse").exists() {
        trial.note("skipped: needs root and /dev/fuse");
        return Ok(());
    }
    let span = trial.choose(Duration::from_secs(60), Duration::from_secs(5));
    for attack in [Attack::Files, Attack::Configuration, Attack::Lingering, Attack::Flood] {
        let (times, failed) = during(attack, span)?;
        trial.within(LIMIT, &format!("status during {attack:?}"), &times);
        trial.none(&format!("status failed during {attack:?}"), failed);
    }
    Ok(())
}

fn during(attack: Attack, span: Duration) -> io::Result<(Times, usize)> {
    let place = Place::new()?;
    let names = ["conf", "hung"].map(|name| place.join(name));
    for name in &names {
        fs::create_dir(name)?;
    }
    fs::write(names[0].join("panzer.yml"), "count: 1\n")?;
    let link = place.join("link");
    symlink(&names[0], &link)?;
    let pid_file = place.join("web.pid");
    let options = [
        format!("--pid={}", pid_file.display()),
        format!("--config={}", link.join("panzer.yml").display()),
    ];
    let example = server::example("basic")?;
    let mut main = Server::start(&options.each_ref().map(String::as_str), &[example.as_ref()])?;
    main.wait_for("a current generation", |event| event.name == "current")?;
    let notify = place.join(&format!("web.{}.1/notify", main.pid()));
    let notify = notify.to_str().ok_or_else(|| Error::other("nameless"))?;
    let mut others = Others::default();
    if matches!(attack, Attack::Configuration) {
        others.python(&[FUSE, "directory", &names[1].to_string_lossy()])?;
        fs::remove_file(&link)?;
        symlink(&names[1], &link)?;
    }
    let end = Instant::now() + span;
    let (mut times, mut failed, mut again) = (Times::default(), 0, Instant::now());
    while Instant::now() < end {
        if again <= Instant::now() {
            again = Instant::now() + AGAIN;
            match attack {
                Attack::Files => others.python(&[FUSE, "file", notify, "FDSTORE=1"])?,
                Attack::Configuration => main.signal("USR1")?,
                Attack::Lingering => others.python(&["-c", LINGERING, notify])?,
                Attack::Flood => others.python(&["-c", FLOOD, notify, "2"])?,
            }
        }
        let asked = Instant::now();
        let status = ctl(&pid_file, "status")?;
        times.push(asked.elapsed());
        failed += usize::from(!status);
    }
    drop(others);
    fs::remove_file(&link)?;
    symlink(&names[0], &link)?;
    main.stop()?;
    Ok((times, failed))
}

fn ctl(pid_file: &Path, request: &str) -> io::Result<bool> {
    let mut command = Command::new(server::panzerctl());
    command.arg("--pid").arg(pid_file).args(["--timeout=10", request]);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).status()?.success())
}

/// Processes that end with their standard input.
#[derive(Default)]
struct Others(Vec<Child>);

impl Others {
    fn python(&mut self, words: &[&str]) -> io::Result<()> {
        let mut command = Command::new("python3");
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.0.push(command.spawn()?);
        Ok(())
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for other in &mut self.0 {
            drop(other.stdin.take());
        }
        for other in &mut self.0 {
            let _ = other.wait();
        }
    }
}
