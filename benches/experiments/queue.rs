//! A thousand connections while all workers are stopped: none is refused.

use std::fs;
use std::io::{self, Error};
use std::time::{Duration, Instant};

use super::{Family, Program, Scene, Times, Trial};
use crate::load::Question;
use crate::server;

const CONNECTIONS: usize = 1_000;
/// How long no worker accepts.
const PAUSE: Duration = Duration::from_secs(2);

pub fn full(trial: &mut Trial) -> io::Result<()> {
    let (times, mut took) = (trial.choose(5, 1), Times::default());
    let (mut lost, mut overflows) = (0, 0);
    for _ in 0..times {
        let options = &["--count", "4", "--quiet"];
        let mut scene = Scene::open(Program::Basic, Family::Tcp, options)?;
        let workers = scene.workers()?;
        let before = count_overflows()?;
        server::kill_all(&workers, "STOP")?;
        let stopped = Instant::now();
        let questions: Vec<_> = (0..CONNECTIONS)
            .map(|_| Question::ask(&scene.target, scene.dialect()))
            .collect::<io::Result<_>>()?;
        scene.server.listen_until(stopped + PAUSE);
        server::kill_all(&workers, "CONT")?;
        let went_on = Instant::now();
        lost += questions.into_iter().filter_map(|question| question.answer().err()).count();
        took.push(went_on.elapsed());
        overflows += count_overflows()?.saturating_sub(before);
        scene.server.stop()?;
    }
    trial.note(format_args!("{times} times {CONNECTIONS} connections in {} s", PAUSE.as_secs()));
    trial.none("not answered", lost);
    trial.none("ListenOverflows", overflows);
    trial.note(format_args!("all answered after {took}"));
    Ok(())
}

/// How often a queue of this network namespace was full.
fn count_overflows() -> io::Result<usize> {
    let text = fs::read_to_string("/proc/net/netstat")?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let found = pairs.find(|(name, _)| *name == "ListenOverflows");
    let value = found.and_then(|(_, value)| value.parse().ok());
    value.ok_or_else(|| Error::other("the kernel does not count ListenOverflows"))
}
