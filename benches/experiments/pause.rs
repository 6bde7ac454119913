//! SIGSTOP and SIGCONT: a stopped worker is not replaced.

use std::io;

use super::{Family, Program, Scene, Trial};
use crate::server;

pub fn worker(trial: &mut Trial) -> io::Result<()> {
    let times = trial.choose(1_000, 200);
    let options = &["--count", "4", "--delay", "0", "--quiet"];
    let mut scene = Scene::open(Program::Basic, Family::Tcp, options)?;
    let before = scene.workers()?;
    for _ in 0..times {
        let worker = trial.pick(&before);
        server::kill(worker, "STOP")?;
        server::kill(worker, "CONT")?;
    }
    // A worker wrongly taken for dead would be reported before this real death.
    let victim = trial.pick(&before);
    server::kill(victim, "KILL")?;
    scene.server.wait_for("a death", |event| event.is_of("died", victim))?;
    scene.server.wait_for("a replacement", |event| event.name == "respawn")?;
    let after = scene.workers()?;
    let kept = before.iter().filter(|pid| after.contains(pid)).count();
    let deaths = scene.server.events().iter().filter(|event| event.name == "died").count();
    trial.note(format_args!("{times} times SIGSTOP and SIGCONT"));
    trial.none("replaced", before.len() - 1 - kept);
    trial.none("deaths reported", deaths - 1);
    trial.require(after.len() == before.len(), format_args!("{} workers", after.len()));
    let status = scene.server.stop()?;
    trial.require(status.success(), status);
    Ok(())
}
