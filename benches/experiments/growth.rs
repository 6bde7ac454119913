//! Ten thousand reloads, failed reloads, deaths of monitors and workers, restarts and status
//! requests each: main is the same as after the first few of each, when it has touched all of
//! its own pages.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Error, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Program, Scene, Trial};
use crate::load::{TIMEOUT, Target};
use crate::server::{self, Place, Server, process};

const OPTIONS: &[&str] =
    &["--count", "2", "--probation", "0", "--delay", "0", "--give-up", "0", "--quiet"];
/// Main, a monitor and two workers.
const AT_REST: usize = 4;
/// How long without an event counts as quiet.
const QUIET: Duration = Duration::from_millis(50);
/// How much main's memory may grow, in KiB, because of fragmentation. It has grown by 12 to
/// 32 in hundreds of reloads, and then by nothing in thousands more.
const SLACK: u64 = 32;
/// How many of each come before the first measurement.
const WARM_UP: u32 = 50;

/// What is done ten thousand times.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Reload,
    FailedReload,
    Crash,
    Death,
    Restart,
    Status,
}

const ALL: [Deed; 6] =
    [Deed::Reload, Deed::FailedReload, Deed::Crash, Deed::Death, Deed::Restart, Deed::Status];

/// What must be the same in the end.
struct State {
    weight: process::Weight,
    processes: usize,
    files: Vec<String>,
}

/// Everything, one kind after the other, with a look at main after each.
pub fn all(trial: &mut Trial) -> io::Result<()> {
    let times = trial.choose(10_000, 100);
    let mut subject = Subject::new()?;
    for deed in ALL {
        subject.repeat(deed, WARM_UP)?;
    }
    let first = subject.look()?;
    for deed in ALL {
        let begun = Instant::now();
        subject.repeat(deed, times)?;
        let took = begun.elapsed().as_secs_f64();
        let last = subject.look()?;
        let (is_same, change) = compare(&first, &last);
        trial.require(is_same, format_args!("{times} times {deed:?} in {took:.0} s ({change})"));
    }
    let status = subject.scene.server.stop()?;
    trial.require(status.success(), status);
    let left = names(&subject.place)?;
    trial.require(left.is_empty(), format_args!("files left {left:?}"));
    Ok(())
}

/// Whether they are the same, and what each has.
fn compare(first: &State, last: &State) -> (bool, String) {
    let (from, to) = (first.weight, last.weight);
    let own = to.anonymous.saturating_sub(from.anonymous);
    let resident = to.resident.saturating_sub(from.resident);
    let change = format!(
        "descriptors {} -> {}, {} KiB own +{own}, {} resident +{resident}, processes {} -> {}, \
         files {} -> {}",
        from.descriptors,
        to.descriptors,
        from.anonymous,
        from.resident,
        first.processes,
        last.processes,
        first.files.len(),
        last.files.len(),
    );
    let is_same = from.descriptors == to.descriptors
        && own.max(resident) <= SLACK
        && first.processes == last.processes
        && first.files.len() == last.files.len();
    (is_same, change)
}

/// The names in a directory; the one of a generation has its number.
fn names(place: &Place) -> io::Result<Vec<String>> {
    let entries: io::Result<Vec<_>> = fs::read_dir(place.path())?.collect();
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    Ok(entries?.iter().map(name).collect())
}

/// A server whose next start can be made to fail.
struct Subject {
    scene: Scene,
    fault: PathBuf,
    place: Place,
}

/// Runs the rest of its arguments unless the file of the first one exists.
const UNLESS: &str = r#"[ -e "$0" ] && exit 1; exec "$@""#;

impl Subject {
    fn new() -> io::Result<Self> {
        let (place, fault_place) = (Place::new()?, Place::new()?);
        let (fault, pid_file) = (fault_place.join("fault"), place.join("panzer.pid"));
        let target = Target::Tcp(server::free_address()?);
        let (basic, address) = (server::example("basic")?, target.address());
        let words: [&OsStr; 6] = [
            "sh".as_ref(),
            "-c".as_ref(),
            UNLESS.as_ref(),
            fault.as_ref(),
            basic.as_ref(),
            address.as_ref(),
        ];
        let pid_file = format!("--pid={}", pid_file.display());
        let mut server = Server::start(&[OPTIONS, &[&pid_file]].concat(), &words)?;
        server.wait_for("a current generation", |event| event.name == "current")?;
        let scene = Scene { server, target, program: Program::Basic, _place: fault_place };
        Ok(Self { scene, fault, place })
    }

    fn repeat(&mut self, deed: Deed, times: u32) -> io::Result<()> {
        if matches!(deed, Deed::FailedReload) {
            File::create(&self.fault)?;
        }
        for _ in 0..times {
            self.perform(deed)?;
        }
        if matches!(deed, Deed::FailedReload) {
            fs::remove_file(&self.fault)?;
        }
        Ok(())
    }

    fn perform(&mut self, deed: Deed) -> io::Result<()> {
        let monitor = self.current()?;
        match deed {
            Deed::Reload => {
                self.scene.reload()?;
                self.scene.server.wait_for("its end", |event| event.is_of("died", monitor))?;
            }
            Deed::FailedReload => {
                self.scene.server.signal("USR1")?;
                self.scene.server.wait_for("a failure", |event| event.name == "failed")?;
            }
            Deed::Crash => {
                server::kill(monitor, "KILL")?;
                self.scene.next_current()?;
            }
            Deed::Death => self.lose_a_worker(monitor)?,
            Deed::Restart => {
                self.scene.server.signal("USR2")?;
                self.scene.server.wait_for("a restart", |event| event.name == "restarted")?;
            }
            Deed::Status => self.ask()?,
        }
        Ok(())
    }

    /// The monitor of the current generation; a failed one may have been started since.
    fn current(&self) -> io::Result<u32> {
        let current = self.scene.server.events().iter().rev().find(|event| event.name == "current");
        current.and_then(|event| event.pid).ok_or_else(|| Error::other("there is none"))
    }

    fn lose_a_worker(&mut self, monitor: u32) -> io::Result<()> {
        let worker = process::listed_children(monitor).first().copied();
        server::kill(worker.ok_or_else(|| Error::other("there is no worker"))?, "KILL")?;
        self.scene.server.wait_for("another worker", |event| event.name == "respawn")?;
        Ok(())
    }

    /// Reads the status, to its end.
    fn ask(&self) -> io::Result<()> {
        let mut main = UnixStream::connect(self.place.join("panzer.sock"))?;
        main.write_all(b"panzer/1 status\n")?;
        let mut answer = String::new();
        main.read_to_string(&mut answer)?;
        let last = answer.lines().last().unwrap_or_default();
        if last.starts_with("done") { Ok(()) } else { Err(Error::other(answer)) }
    }

    /// The weight of main at rest: the workers of a killed monitor exit a little after the next
    /// generation is current.
    fn look(&mut self) -> io::Result<State> {
        let (main, deadline) = (self.scene.server.pid(), Instant::now() + TIMEOUT);
        while process::tree(main).len() > AT_REST && Instant::now() < deadline {
            self.scene.server.listen_until(Instant::now() + QUIET);
        }
        self.scene.server.listen_until(Instant::now() + QUIET);
        let weight = process::weigh(main).ok_or_else(|| Error::other("main is gone"))?;
        let processes = process::tree(main).len();
        Ok(State { weight, processes, files: names(&self.place)? })
    }
}
