//! The final stop while clients keep connecting: as root, and as an ordinary user, which may
//! not attach a socket filter on many kernels.
//!
//! 12 clients send requests in a loop, each on a new connection, until the port is closed.
//! Every accepted connection is answered, and each stop ends within its deadlines although
//! clients keep connecting.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{CONNECT, Times, Trial};
use crate::load::{Dialect, Load, Plan, Target};
use crate::server::{self, Server};

const CLIENTS: usize = 12;
/// From SIGTERM to SIGINT, and from that to SIGKILL.
const TIMEOUT: u64 = 10;
const GRACE: u64 = 2;
const OPTIONS: &[&str] = &["--count", "3", "--quiet", "--timeout", "10"];
/// How many answers come before the stop.
const WARM: u64 = 100;

/// Executes panzer unchanged.
const ROOT: &str = server::REDIRECT;
/// Executes panzer as a user without rights: setpriv(1).
const UNPRIVILEGED: &str =
    r#"exec setpriv --reuid=65534 --regid=65534 --clear-groups "$0" "$@" 3>&1 1>&2"#;

pub fn as_root(trial: &mut Trial) -> io::Result<()> {
    many(trial, ROOT)
}

pub fn as_user(trial: &mut Trial) -> io::Result<()> {
    many(trial, UNPRIVILEGED)
}

/// The servers in turn: an example, its protocol, and its address.
const SERVERS: [(&str, Dialect, &str); 4] = [
    ("basic", Dialect::Line, "127.0.0.1:0"),
    ("http", Dialect::Http, "127.0.0.1:0"),
    ("basic", Dialect::Line, "[::1]:0"),
    ("http", Dialect::Http, "[::1]:0"),
];

/// The sum of all stops.
#[derive(Default)]
struct Sum {
    answered: usize,
    lost: usize,
    warned: usize,
    bad_ends: usize,
    failures: Vec<String>,
    took: Times,
}

fn many(trial: &mut Trial, script: &str) -> io::Result<()> {
    let (times, mut sum) = (trial.choose(1_000, 12), Sum::default());
    for turn in 0..times {
        one(trial, script, SERVERS[turn % SERVERS.len()], &mut sum)?;
    }
    trial.note(format_args!("{times} stops under {CLIENTS} clients: {} answered", sum.answered));
    trial.none("lost", sum.lost);
    trial.none("warnings", sum.warned);
    trial.none("status not 0:", sum.bad_ends);
    trial.within(Duration::from_secs(TIMEOUT + GRACE), "stop", &sum.took);
    if sum.lost > 0 {
        trial.note(format_args!("seen: {}", sum.failures.join("; ")));
    }
    Ok(())
}

fn free(address: &str) -> io::Result<SocketAddr> {
    TcpListener::bind(address)?.local_addr()
}

fn one(
    trial: &mut Trial,
    script: &str,
    (example, dialect, address): (&str, Dialect, &str),
    sum: &mut Sum,
) -> io::Result<()> {
    let target = Target::Tcp(free(address)?);
    let words = [server::example(example)?, PathBuf::from(target.address())];
    let words: Vec<_> = words.iter().map(|word| word.as_os_str()).collect();
    let mut server = Server::start_by(script, OPTIONS, &words)?;
    server.wait_for("a current generation", |event| event.name == "current")?;
    let (clients, timeout) = (CLIENTS, CONNECT);
    let plan = Plan {
        target,
        dialect,
        timeout,
        clients,
        requests_per_connection: 1,
        limit: None,
        rest: Duration::ZERO,
    };
    let load = Load::start(&plan);
    load.wait_for(WARM)?;
    server.listen_until(Instant::now() + trial.moment(Duration::from_millis(5)));
    let asked = Instant::now();
    server.signal("TERM")?;
    let gone = server.wait_for_end()?;
    sum.took.push(gone.saturating_duration_since(asked));
    sum.bad_ends += usize::from(!server.status()?.success());
    sum.warned += server.logged().iter().filter(|line| line.text.contains(" WARN ")).count();
    let report = load.finish()?;
    sum.answered += report.answers();
    sum.lost += report.losses();
    if report.losses() > 0 {
        sum.failures.push(report.summary());
    }
    Ok(())
}
