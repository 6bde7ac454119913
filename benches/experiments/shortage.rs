//! Workers without free descriptors: the queue waits, no worker uses a whole processor, and
//! all clients are served as soon as descriptors are free again.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{Times, Trial, fixture};
use crate::load::TIMEOUT;
use crate::server::{self, Server, process};

/// Limits the descriptors of all processes below it, and executes the rest of its arguments.
const FEW: &str = r#"ulimit -n 32 && exec "$0" "$@""#;
/// More connections than the workers have descriptors.
const CONNECTIONS: usize = 100;
/// How much of one processor all workers may use meanwhile, in percent.
const CPU: f64 = 5.0;
/// How long it may take until the next client is served; a worker without descriptors leaves
/// the queue alone for 100 ms at a time.
const RECOVERY: Duration = Duration::from_secs(1);

pub fn descriptors(trial: &mut Trial) -> io::Result<()> {
    let span = trial.choose(Duration::from_secs(10), Duration::from_secs(3));
    let address = server::free_address()?;
    let mut server = start(address)?;
    let monitor = server.monitor(1).ok_or_else(|| io::Error::other("nameless"))?;
    let workers = process::children(monitor);
    let clients: Vec<_> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(address)).collect::<io::Result<_>>()?;

    let (begun, before) = (Instant::now(), used(&workers));
    server.listen_until(begun + span);
    let spent = used(&workers).saturating_sub(before);
    let share = 100.0 * spent.as_secs_f64() / begun.elapsed().as_secs_f64();
    let (served, waiting): (Vec<_>, Vec<_>) = clients.into_iter().partition(is_served);
    let (served_count, waiting_count) = (served.len(), waiting.len());
    let both = served_count > 0 && waiting_count > 0;
    trial.note(format_args!("{} s out of descriptors", span.as_secs()));
    trial.require(both, format_args!("{served_count} served and {waiting_count} waiting"));
    trial.require(share < CPU, format_args!("{share:.2} % CPU of all workers"));

    drop(served);
    let (freed, mut took, mut lost) = (Instant::now(), Times::default(), 0);
    for (place, client) in waiting.into_iter().enumerate() {
        lost += usize::from(!is_answered(client));
        if place == 0 {
            took.push(freed.elapsed());
        }
    }
    trial.none("lost", lost);
    trial.within(RECOVERY, "served again after", &took);
    trial.note(format_args!("all after {} ms", freed.elapsed().as_millis()));
    let survivors = workers.iter().filter(|pid| process::children(monitor).contains(pid));
    let survivors = survivors.count();
    trial.require(survivors == 2, format_args!("{survivors} of 2 workers as before"));
    let status = server.stop()?;
    trial.require(status.success(), status);
    Ok(())
}

fn start(address: SocketAddr) -> io::Result<Server> {
    let address = address.to_string();
    let words = fixture::command(&["hoard", &address])?;
    let shell: [&OsStr; 3] = ["sh".as_ref(), "-c".as_ref(), FEW.as_ref()];
    let words: Vec<&OsStr> =
        shell.into_iter().chain(words.iter().map(|word| word.as_os_str())).collect();
    let mut server = Server::start(&["--count", "2", "--probation", "0"], &words)?;
    server.wait_for("a current generation", |event| event.name == "current")?;
    Ok(server)
}

/// The processor time of these processes.
fn used(workers: &[u32]) -> Duration {
    workers.iter().copied().map(process::processor_time).sum()
}

/// Whether the answer has arrived.
fn is_served(client: &TcpStream) -> bool {
    let is_there = client.set_nonblocking(true).is_ok() && client.peek(&mut [0]).is_ok();
    client.set_nonblocking(false).is_ok() && is_there
}

/// Waits for the answer, and hangs up.
fn is_answered(mut client: TcpStream) -> bool {
    let has_patience = client.set_read_timeout(Some(TIMEOUT)).is_ok();
    has_patience && client.read(&mut [0]).is_ok_and(|length| length == 1)
}
