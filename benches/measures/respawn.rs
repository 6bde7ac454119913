//! From the death of a worker to its replacement's first instruction.
//!
//! The replacement reads the clock before anything else, and then connects to the bench and
//! reports it. No worker is killed before the last one is replaced and panzer has reported
//! that, so panzer's work after a fork does not delay the next one.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use panzer::Pid;
use panzer::sys::{Signal, signal};

use super::Table;
use super::fixture::{self, COUNT, clock};
use crate::load::TIMEOUT;
use crate::server::Server;

/// The limit of panzer's time, compared with the bare loop.
const LIMIT: f64 = 1.5;
/// The number of blocks that show how much the ratio varies.
const BLOCKS: usize = 10;
/// Time for all processes to become idle again after a replacement.
const REST: Duration = Duration::from_millis(2);

pub fn both(table: &mut Table) -> io::Result<()> {
    let times = table.choose(2_000, 200);
    let (births, bare_births) = (Births::open()?, Births::open()?);
    let (own, address) = (std::env::current_exe()?, births.address.to_string());
    let words = [own.as_os_str(), fixture::WORD.as_ref(), "pool".as_ref(), address.as_ref()];
    let mut server = Server::start(&["--delay", "0", "--probation", "0", "--quiet"], &words)?;
    let mut pool = births.fill()?;
    server.wait_for("a current generation", |event| event.name == "current")?;
    let bare = Bare::start(bare_births.address)?;
    let mut bare_workers = bare_births.fill()?;

    let (mut panzers, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..times {
        panzers.push(pool.replace_oldest()?);
        server.wait_for("a replacement", |event| event.name == "respawn")?;
        server.listen_until(Instant::now() + REST);
        bares.push(bare_workers.replace_oldest()?);
        server.listen_until(Instant::now() + REST);
    }
    drop(bare);
    judge(table, &panzers, &bares);
    drop(pool);
    server.signal("QUIT")?;
    server.wait_for_end()?;
    Ok(())
}

/// Notes the medians, their ratio, and how much the ratio of each tenth of the measurements
/// differs from it.
fn judge(table: &mut Table, panzers: &[Duration], bares: &[Duration]) {
    let ratio = |panzers: &[Duration], bares: &[Duration]| {
        median(panzers).as_secs_f64() / median(bares).as_secs_f64()
    };
    let size = panzers.len().div_ceil(BLOCKS);
    let blocks = panzers.chunks(size).zip(bares.chunks(size));
    let mut ratios: Vec<_> = blocks.map(|(panzers, bares)| ratio(panzers, bares)).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let micros = |times: &[Duration]| format!("{} µs", median(times).as_micros());
    table.note(&format!("respawn, median of {}", panzers.len()), micros(panzers));
    table.note("respawn, bare loop", micros(bares));
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    table.note("respawn, ratios of ten blocks", format_args!("{least:.2} to {most:.2}"));
    table.at_most("respawn, ratio of the medians", ratio(panzers, bares), LIMIT);
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

/// The listener for the reports of new workers.
struct Births {
    listener: TcpListener,
    address: SocketAddr,
}

impl Births {
    fn open() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Waits for one; returns its start time.
    fn receive(&self) -> io::Result<(u64, Worker)> {
        let (mut stream, _) = self.listener.accept()?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let (mut born, mut pid) = ([0; 8], [0; 4]);
        stream.read_exact(&mut born)?;
        stream.read_exact(&mut pid)?;
        let pid = Pid::new(i32::from_ne_bytes(pid));
        let pid = pid.ok_or_else(|| io::Error::other("a worker without a pid"))?;
        Ok((u64::from_ne_bytes(born), Worker { pid, _stream: stream }))
    }

    /// Waits for all workers of a pool.
    fn fill(self) -> io::Result<Pool> {
        let workers = (0..COUNT).map(|_| Ok(self.receive()?.1)).collect::<io::Result<_>>()?;
        Ok(Pool { maternity: self, workers })
    }
}

/// A living worker: only the bench ends it, so its pid is valid.
struct Worker {
    pid: Pid,
    _stream: TcpStream,
}

/// Workers, the oldest first.
struct Pool {
    maternity: Births,
    workers: Vec<Worker>,
}

impl Pool {
    /// Kills one and returns how long it took until its replacement ran.
    fn replace_oldest(&mut self) -> io::Result<Duration> {
        let oldest = self.workers.remove(0);
        let killed = clock();
        signal::send(oldest.pid, Signal::Kill)
            .map_err(|errno| io::Error::other(format!("kill: {errno}")))?;
        let (born, worker) = self.maternity.receive()?;
        self.workers.push(worker);
        Ok(Duration::from_nanos(born.saturating_sub(killed)))
    }
}

/// The bare loop, which ends with its standard input.
struct Bare(Child);

impl Bare {
    fn start(address: SocketAddr) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([fixture::WORD, "bare", &address.to_string()]);
        Ok(Self(command.stdin(Stdio::piped()).spawn()?))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
